//! Panics on request, where the service was started for that: `symphony chaos` proves with them on a real service that the
//! end of any actor costs no process.

use std::sync::Arc;

use actix::Addr;
use tokio::sync::oneshot;

use super::wiring::{Place, Wiring};
use crate::gateway::doors::Part;
use crate::ids::ModelName;
use crate::instance::{FindLive, Present};
use crate::limits;
use crate::supervision::crash::CrashForTest;

/// The answer of a service that was not started with `--allow-chaos`.
const NOT_ALLOWED: &str = "chaos is not allowed here: start the service with --allow-chaos";

/// No part: the thread of all of them. It does not panic, but stands still.
const MAIN_THREAD: &str = "main_thread";

/// Makes a part panic and answers, in the order in which the answer still gets out.
pub async fn make(part: Part, wiring: Arc<Wiring>, answer: oneshot::Sender<Result<(), String>>) {
    // whoever asked may have left
    match part {
        _ if !wiring.allow_chaos => drop(answer.send(Err(NOT_ALLOWED.to_owned()))),
        Part::Named(name) if name == "zmq_gateway" => {
            let gateway = wiring.zmq.get();
            drop(answer.send(gateway.as_ref().map(drop).map_err(Clone::clone)));
            tokio::time::sleep(limits::CHAOS_ANSWER_LEAVES).await;
            if let Ok(gateway) = gateway {
                gateway.do_send(CrashForTest);
            }
        }
        Part::Named(name) if name == MAIN_THREAD => wedge(&wiring, answer).await,
        Part::Named(name) => drop(answer.send(named(&name, &wiring))),
        Part::Instance(model) => drop(answer.send(instance(&model, &wiring).await)),
    }
}

/// Panics where the loop around the tree itself is meant: nothing inside catches that.
pub fn of_main_loop(part: &Part, wiring: &Wiring) {
    let is_meant = matches!(part, Part::Named(name) if name == "main_loop");
    if is_meant && wiring.allow_chaos && has_heart(wiring) {
        panic!("crashed on request");
    }
}

/// Whether this service would be replaced.
fn has_heart(wiring: &Wiring) -> bool {
    wiring.heart.now().is_some_and(|heart| !heart.is_lost)
}

/// Holds up the thread of all actors for ever. Nothing inside mends that, so there must be a heart that does.
async fn wedge(wiring: &Wiring, answer: oneshot::Sender<Result<(), String>>) {
    if !has_heart(wiring) {
        drop(answer.send(Err("no heart would replace this service".to_owned())));
        return;
    }
    drop(answer.send(Ok(())));
    tokio::time::sleep(limits::CHAOS_ANSWER_LEAVES).await;
    tracing::warn!("standing still on request");
    loop {
        std::hint::spin_loop();
    }
}

fn named(name: &str, wiring: &Wiring) -> Result<(), String> {
    match name {
        "process_table" => crash(&wiring.table),
        "event_log" => crash(&wiring.events),
        "registry" => crash(&wiring.registry),
        "model_desk" => crash(&wiring.desk),
        "instance_supervisor" => crash(&wiring.instances),
        "prober" => {
            wiring.prober.crash_for_test();
            Ok(())
        }
        _ => Err(format!(
            "no part {name:?} can be made to panic; there are process_table, event_log, registry, model_desk, \
             instance_supervisor, zmq_gateway, prober, and instance with model_name"
        )),
    }
}

fn crash<A>(place: &Place<A>) -> Result<(), String>
where
    A: actix::Actor<Context = actix::Context<A>> + actix::Handler<CrashForTest>,
{
    place.get()?.do_send(CrashForTest);
    Ok(())
}

async fn instance(model: &str, wiring: &Wiring) -> Result<(), String> {
    let name = ModelName::try_new(model).map_err(|error| error.to_string())?;
    let found = wiring.desk.get()?.send(FindLive(name)).await;
    let addr: Addr<_> = match found {
        Ok(Some(Present::Runs(addr))) => addr,
        _ => return Err(format!("model {model} has no actor just now")),
    };
    addr.do_send(CrashForTest);
    Ok(())
}
