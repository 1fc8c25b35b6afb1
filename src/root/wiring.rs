//! Where the parts of the tree find each other. Written by the factories that start them, read by those started later.
//!
//! A part that is replaced writes its new address here, and by the rest-for-one rule everything that read the old one
//! is started after it. The values lie in watch channels, of which nobody waits: factories must be free to travel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::{Actor, Addr};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::events::EventLog;
use crate::gateway::doors::ControlHandle;
use crate::gateway::heart_view::HeartFacts;
use crate::gateway::open_sockets::OpenSockets;
use crate::gateway::zmq::ZmqGateway;
use crate::instance::desk::ModelDesk;
use crate::instance::services::Services;
use crate::launcher::Launcher;
use crate::launcher::table::ProcessTable;
use crate::probe::Prober;
use crate::registry::Registry;
use crate::registry::catalogue::Catalogue;
use crate::settings::model::Settings;
use crate::supervision::Supervisor;

/// The address of the present holder of a part.
#[derive(Debug)]
pub struct Place<A: Actor>(watch::Sender<Option<Addr<A>>>);

impl<A: Actor> Default for Place<A> {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl<A: Actor> Place<A> {
    /// A new holder.
    pub fn set(&self, addr: Addr<A>) {
        self.0.send_replace(Some(addr));
    }

    /// The present holder.
    ///
    /// # Errors
    /// When the part was not started yet, which the start order excludes.
    pub fn get(&self) -> Result<Addr<A>, String> {
        let name = std::any::type_name::<A>();
        self.0.borrow().clone().ok_or_else(|| format!("{name} is not started yet"))
    }
}

/// See the module.
pub struct Wiring {
    /// The settings in force.
    pub settings: watch::Sender<Arc<Settings>>,
    /// The time.
    pub clock: Clock,
    /// Owns the processes; outlives all actors.
    pub launcher: Arc<dyn Launcher>,
    /// Asks backends; outlives all actors.
    pub prober: Arc<dyn Prober>,
    /// The way to the main loop.
    pub control: ControlHandle,
    /// Whether parts may be made to panic from outside.
    pub allow_chaos: bool,
    /// The parent process of the service.
    pub heart: HeartFacts,
    /// Whether a gateway has its sockets open.
    pub open_sockets: OpenSockets,
    /// The longest that any instance may take to stop, by all settings that were ever in force: one that a reload took out, or
    /// gave a shorter grace, may still be stopping by its old one. In milliseconds.
    pub longest_stop_ms: AtomicU64,
    /// The last event number, over replacements of the log.
    pub last_event: Arc<AtomicU64>,
    /// The number after which the events of this core begin.
    pub events_begin: u64,
    /// See the type.
    pub table: Place<ProcessTable>,
    /// See the type.
    pub events: Place<EventLog>,
    /// See the type.
    pub registry: Place<Registry>,
    /// See the type.
    pub desk: Place<ModelDesk>,
    /// The supervisor of all instances.
    pub instances: Place<Supervisor>,
    /// See the type.
    pub zmq: Place<ZmqGateway>,
}

impl Wiring {
    /// Settings come into force.
    pub fn use_settings(&self, settings: Arc<Settings>) {
        let longest_ms = settings.longest_stop().as_millis();
        let longest_ms = u64::try_from(longest_ms).unwrap_or(u64::MAX);
        self.longest_stop_ms.fetch_max(longest_ms, Ordering::Relaxed);
        self.settings.send_replace(settings);
    }

    /// The models that may be loaded.
    pub fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.settings.borrow().models.clone())
    }

    /// What instances need.
    ///
    /// # Errors
    /// When a part before them is not started.
    pub fn services(&self) -> Result<Services, String> {
        Ok(Services {
            table: self.table.get()?,
            prober: self.prober.clone(),
            changed: self.registry.get()?.recipient(),
            gone: self.registry.get()?.recipient(),
            events: self.events.get()?.recipient(),
            clock: self.clock,
            settings: Arc::new(self.settings.borrow().service.clone()),
        })
    }
}
