//! What an instance needs of the rest of the service.

use std::sync::Arc;

use actix::{Addr, Recipient};

use crate::clock::Clock;
use crate::events::messages::Record;
use crate::launcher::table::ProcessTable;
use crate::probe::Prober;
use crate::registry::messages::{InstanceChanged, InstanceGone};
use crate::settings::model::ServiceSettings;

/// The ends an instance sends to.
#[derive(Clone)]
pub struct Services {
    /// Starts, signals and remembers processes.
    pub table: Addr<ProcessTable>,
    /// Asks backends for readiness and health.
    pub prober: Arc<dyn Prober>,
    /// Is told every change.
    pub changed: Recipient<InstanceChanged>,
    /// Is told when an instance is gone for good.
    pub gone: Recipient<InstanceGone>,
    /// Keeps the timeline.
    pub events: Recipient<Record>,
    /// The time.
    pub clock: Clock,
    /// Folders and the interpreter.
    pub settings: Arc<ServiceSettings>,
}
