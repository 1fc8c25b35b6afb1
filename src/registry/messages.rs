//! What the registry is told and asked.

use std::sync::Arc;

use actix::Message;

use crate::clock::Started;
use crate::ids::{Generation, InstanceId, ModelName};
use crate::instance::state::State;
pub use crate::launcher::LastExit;

/// One instance as the rest of the service sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceView {
    /// The instance.
    pub instance: InstanceId,
    /// The model it serves.
    pub model: ModelName,
    /// The model's full name.
    pub fullname: Option<String>,
    /// The model's type, a key of `model_backends`.
    pub model_type: String,
    /// Which start this is.
    pub generation: Generation,
    /// Its endpoint, reserved from the first start on and kept over restarts.
    pub endpoint: String,
    /// Where its life stands.
    pub state: State,
    /// The running process.
    pub pid: Option<u32>,
    /// When that process was started.
    pub started_at: Option<Started>,
    /// Restarts since it was loaded.
    pub restarts: u64,
    /// How its last process ended.
    pub last_exit: Option<Arc<LastExit>>,
    /// What the running process speaks.
    pub protocols: Vec<String>,
    /// Why it is in this state, where that needs a word (waiting, unhealthy, parked).
    pub reason: Option<String>,
    /// What a loading process said of its progress.
    pub progress: Option<String>,
    /// The group that its model is a member of.
    pub group: Option<String>,
    /// Its process was started by another configuration than the present one.
    pub outdated: bool,
}

/// An instance changed, or introduces itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct InstanceChanged(pub Arc<InstanceView>);

/// An instance is gone; counts only when its generation is the one that is known.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct InstanceGone {
    /// The instance.
    pub instance: InstanceId,
    /// The last generation it had.
    pub generation: Generation,
}

/// All known instances, in the order of the configuration.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Arc<InstanceView>>")]
pub struct ListInstances;

/// One instance by the model's name.
#[derive(Debug, Message)]
#[rtype(result = "Option<Arc<InstanceView>>")]
pub struct FindInstance(pub ModelName);

/// A question of a gateway whose answer goes straight into its outbox, without a detour over a future.
///
/// The answer function runs on the core's thread: it must only format and enqueue.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AskDirect {
    /// Called once with the registry's view of the world.
    pub answer: DirectAnswer,
}

/// Formats an answer and enqueues it.
pub type DirectAnswer = Box<dyn FnOnce(&dyn RegistryView) + Send>;

/// What a direct question may read.
pub trait RegistryView {
    /// All known instances, in the order of the configuration.
    fn instances(&self) -> &[Arc<InstanceView>];
    /// The protocols of all ready instances, in the order of the contract.
    fn ready_protocols(&self) -> &[String];
    /// The models that may be loaded.
    fn catalogue(&self) -> &super::catalogue::Catalogue;
}
