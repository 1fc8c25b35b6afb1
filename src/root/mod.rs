//! The top of the tree: what is started in which order, and what a failure takes along.
//!
//! ```text
//! root (rest_for_one, 3 in 300 s)
//! ├─ process_table        reports, orders, records
//! ├─ event_log            the timeline
//! ├─ registry             who is where
//! ├─ model_desk           requests by model name
//! ├─ instance_supervisor  (dynamic) one InstanceActor per backend
//! └─ gateway_supervisor   (one_for_one) zmq_gateway
//! ```
//!
//! None of them owns a process: a crash anywhere here costs none. What stands below a crashed part is started again
//! and takes up the instances from the records that the launcher keeps.

pub mod panics;
pub mod picture;
pub mod relay;
pub mod shutdown;
pub mod wiring;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};

use self::relay::NoticeRelay;
use self::wiring::Wiring;
use crate::events::EventLog;
use crate::gateway::doors::{Doors, ServiceFacts};
use crate::gateway::zmq::{GatewayOptions, ZmqGateway};
use crate::instance::desk::{ModelDesk, SupervisorUp};
use crate::launcher::table::ProcessTable;
use crate::registry::Registry;
use crate::supervision::child::{RunningChild, launch, launch_with_slot};
use crate::supervision::supervisor::SupervisionNotice;
use crate::supervision::{
    ChildRules, ChildSpec, ExitSlot, Start, Strategy, Supervisor, SupervisorFlags, SupervisorSpec,
};
use crate::upgrade::own_binary;

/// The child id of the instance supervisor.
pub const INSTANCES: &str = "instance_supervisor";
const GATEWAYS: &str = "gateway_supervisor";

/// Actor crashes at the top are bugs, not weather: a few in five minutes, then the service gives up and says so.
const ROOT: SupervisorFlags = SupervisorFlags {
    strategy: Strategy::RestForOne,
    intensity: 3,
    period: Duration::from_secs(300),
    auto_shutdown: crate::supervision::AutoShutdown::Never,
    max_children: None,
};

/// Crashes of instance actors, over all of them: ten a minute is a bug that a fresh supervisor may still outlive.
const INSTANCE_FLAGS: SupervisorFlags = SupervisorFlags {
    strategy: Strategy::Dynamic,
    intensity: 10,
    period: Duration::from_secs(60),
    auto_shutdown: crate::supervision::AutoShutdown::Never,
    max_children: Some(crate::limits::MODELS + crate::limits::GROUPS),
};

/// A gateway fails when a socket does; binding again is tried a few times before the root hears of it.
const GATEWAY_FLAGS: SupervisorFlags = SupervisorFlags {
    strategy: Strategy::OneForOne,
    intensity: 5,
    period: Duration::from_secs(60),
    auto_shutdown: crate::supervision::AutoShutdown::Never,
    max_children: None,
};

/// Starts the tree; answers when all of it runs.
///
/// # Errors
/// The part that could not start, and why; what was started before it is stopped again.
pub async fn start(wiring: &Arc<Wiring>) -> Result<(Addr<Supervisor>, RunningChild), String> {
    let relay = NoticeRelay(wiring.clone()).start();
    wiring.prober.tell_crashes(relay.clone().recipient());
    let observer = relay.clone().recipient::<SupervisionNotice>();
    let spec = SupervisorSpec {
        name: "root".to_owned(),
        flags: ROOT,
        children: vec![
            process_table(wiring.clone()),
            event_log(wiring.clone()),
            registry(wiring.clone()),
            model_desk(wiring.clone()),
            instance_supervisor(wiring.clone(), observer.clone()),
            gateway_supervisor(wiring.clone(), observer.clone()),
        ],
        observer: Some(observer),
        clock: wiring.clock,
    };
    let started = Supervisor::start(spec).await?;
    // now there is an event log that takes them
    wiring.launcher.tell_notices(relay.recipient());
    Ok(started)
}

/// A part of the service that is replaced when it makes no progress.
fn watched(name: &str) -> ChildRules {
    ChildRules { heartbeat: Some(crate::limits::ACTOR_HEARTBEAT), ..ChildRules::worker(name) }
}

fn process_table(wiring: Arc<Wiring>) -> ChildSpec {
    let made = wiring.clone();
    ChildSpec::actor(
        watched("process_table"),
        move |_| {
            let spawns_at_once = made.settings.borrow().service.spawns_at_once;
            ProcessTable::new(made.launcher.clone(), spawns_at_once)
        },
        move |addr| wiring.table.set(addr),
    )
}

fn event_log(wiring: Arc<Wiring>) -> ChildSpec {
    let made = wiring.clone();
    ChildSpec::actor(
        watched("event_log"),
        move |_| EventLog::new(made.clock, made.last_event.clone(), made.events_begin),
        move |addr| wiring.events.set(addr),
    )
}

fn registry(wiring: Arc<Wiring>) -> ChildSpec {
    let made = wiring.clone();
    ChildSpec::actor(
        watched("registry"),
        move |_| Registry::new(made.catalogue()),
        move |addr| wiring.registry.set(addr),
    )
}

fn model_desk(wiring: Arc<Wiring>) -> ChildSpec {
    ChildSpec::new(watched("model_desk"), move || {
        let wiring = wiring.clone();
        async move {
            let services = wiring.services()?;
            let (addr, child) = launch(|_| ModelDesk::new(wiring.catalogue(), services));
            wiring.desk.set(addr);
            Ok(Start::Running(child))
        }
    })
}

fn instance_supervisor(
    wiring: Arc<Wiring>,
    observer: actix::Recipient<SupervisionNotice>,
) -> ChildSpec {
    ChildSpec::new(ChildRules::supervisor(INSTANCES), move || {
        let wiring = wiring.clone();
        let observer = observer.clone();
        async move {
            let desk = wiring.desk.get()?;
            let (addr, child) = Supervisor::start(SupervisorSpec {
                name: INSTANCES.to_owned(),
                flags: INSTANCE_FLAGS,
                children: Vec::new(),
                observer: Some(observer),
                clock: wiring.clock,
            })
            .await?;
            wiring.instances.set(addr.clone());
            desk.do_send(SupervisorUp(addr));
            Ok(Start::Running(child))
        }
    })
}

fn gateway_supervisor(
    wiring: Arc<Wiring>,
    observer: actix::Recipient<SupervisionNotice>,
) -> ChildSpec {
    ChildSpec::new(ChildRules::supervisor(GATEWAYS), move || {
        let wiring = wiring.clone();
        let observer = observer.clone();
        async move {
            let clock = wiring.clock;
            let (_, child) = Supervisor::start(SupervisorSpec {
                name: GATEWAYS.to_owned(),
                flags: GATEWAY_FLAGS,
                children: vec![zmq_gateway(wiring)],
                observer: Some(observer),
                clock,
            })
            .await?;
            Ok(Start::Running(child))
        }
    })
}

fn zmq_gateway(wiring: Arc<Wiring>) -> ChildSpec {
    ChildSpec::new(watched("zmq_gateway"), move || {
        let wiring = wiring.clone();
        async move {
            let doors = doors(&wiring)?;
            let slot = ExitSlot::default();
            let opened = ZmqGateway::open(doors, GatewayOptions::default(), slot.clone()).await;
            let gateway = opened.map_err(|error| error.to_string())?;
            let (addr, child) = launch_with_slot(gateway, slot);
            wiring.zmq.set(addr);
            Ok(Start::Running(child))
        }
    })
}

fn doors(wiring: &Wiring) -> Result<Doors, String> {
    let desk = wiring.desk.get()?;
    let settings = wiring.settings.borrow();
    Ok(Doors {
        open_sockets: wiring.open_sockets.clone(),
        facts: ServiceFacts {
            version: env!("CARGO_PKG_VERSION"),
            binary: own_binary().display().to_string(),
            pid: std::process::id(),
            clock: wiring.clock,
            client_endpoint: settings.endpoints.client_handshake.clone(),
            cli_endpoint: settings.endpoints.cli_management.clone(),
            log_dir: settings.service.log_dir.clone(),
            runtime_dir: settings.service.runtime_dir.clone(),
            allow_chaos: wiring.allow_chaos,
            heart: wiring.heart.clone(),
        },
        registry: wiring.registry.get()?.recipient(),
        load: desk.clone().recipient(),
        unload: desk.clone().recipient(),
        restart: desk.clone().recipient(),
        read_log: desk.recipient(),
        events: wiring.events.get()?.recipient(),
        control: wiring.control.clone(),
    })
}
