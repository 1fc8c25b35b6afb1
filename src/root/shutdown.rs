//! The end of the service, in order: no more intake, instances down side by side, the tree in reverse, the rest.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::Addr;

use super::wiring::Wiring;
use crate::events::messages::Record;
use crate::gateway::zmq::ZmqGateway;
use crate::gateway::zmq::messages::{CloseIntake, Observe};
use crate::instance::desk::StopAll;
use crate::limits;
use crate::supervision::{StopActor, Supervisor};

/// Stops everything that runs below the tree. `hurry` comes true when somebody asked a second time: then nothing is
/// waited for any more.
pub async fn stop_instances(wiring: &Wiring, hurry: impl Future<Output = ()>) {
    if let Ok(events) = wiring.events.get() {
        events.do_send(Record {
            subject: "service".to_owned(),
            model: None,
            generation: None,
            kind: "service_stopping",
            cause: None,
        });
    }
    let Ok(desk) = wiring.desk.get() else { return };
    let (limit, drain_timeout) = {
        let settings = wiring.settings.borrow();
        let longest = Duration::from_millis(wiring.longest_stop_ms.load(Ordering::Relaxed));
        (longest + limits::STOP_SLACK, settings.service.drain_timeout)
    };
    let in_order = async {
        if let Ok(gateway) = wiring.zmq.get() {
            // a gateway that is just being replaced takes nothing in anyhow
            let _ = gateway.send(CloseIntake).await;
            drain(&gateway, drain_timeout).await;
        }
        let _ = tokio::time::timeout(limit, desk.send(StopAll { kill: false })).await;
    };
    tokio::select! {
        () = in_order => {}
        () = hurry => {
            tracing::warn!("asked a second time: killing what is left");
            let kill = desk.send(StopAll { kill: true });
            let _ = tokio::time::timeout(limits::KILL_ALL, kill).await;
        }
    }
}

/// Waits until the requests under way are answered. Those that wait for a model are not among them: they are answered
/// when it is stopped.
async fn drain(gateway: &Addr<ZmqGateway>, limit: Duration) {
    let drained = async {
        while let Ok(state) = gateway.send(Observe).await {
            if state.credits_in_use == 0 {
                break;
            }
            tokio::time::sleep(limits::DRAIN_CHECK_EVERY).await;
        }
    };
    if tokio::time::timeout(limit, drained).await.is_err() {
        tracing::warn!("requests under way were not answered within the drain timeout");
    }
}

/// Stops the tree itself. Its exit is awaited by whoever holds it.
pub fn stop_tree(root: &Addr<Supervisor>) {
    root.do_send(StopActor);
}
