//! What a gateway may reach of the service: the ends it sends typed messages to.

use std::path::PathBuf;

use actix::Recipient;
use tokio::sync::{mpsc, oneshot};

use super::heart_view::HeartFacts;
use super::open_sockets::OpenSockets;
use crate::clock::Clock;
use crate::events::messages::ReadEvents;
use crate::instance::messages::{LoadModel, ReadLog, RestartModel, UnloadModel};
use crate::registry::messages::AskDirect;
use crate::settings::diff::ReloadOutcome;
use crate::supervision::tree::TreeNode;
use crate::upgrade::outcome::Upgraded;

/// The rest of the service as a gateway sees it.
#[derive(Clone)]
pub struct Doors {
    /// Facts that do not change while the service runs.
    pub facts: ServiceFacts,
    /// The registry, for answers that go straight into an outbox.
    pub registry: Recipient<AskDirect>,
    /// The desk: load.
    pub load: Recipient<LoadModel>,
    /// The desk: unload.
    pub unload: Recipient<UnloadModel>,
    /// The desk: restart.
    pub restart: Recipient<RestartModel>,
    /// The desk: logs.
    pub read_log: Recipient<ReadLog>,
    /// The event log.
    pub events: Recipient<ReadEvents>,
    /// The service as a whole.
    pub control: ControlHandle,
    /// Where a gateway tells that it holds sockets.
    pub open_sockets: OpenSockets,
}

/// Facts about the running service.
#[derive(Debug, Clone)]
pub struct ServiceFacts {
    /// Of the package.
    pub version: &'static str,
    /// The program that runs; another one may lie there by now.
    pub binary: String,
    /// Of the core process.
    pub pid: u32,
    /// Its origin is the start of the service.
    pub clock: Clock,
    /// As configured.
    pub client_endpoint: String,
    /// As configured.
    pub cli_endpoint: String,
    /// The folder of the models' log files.
    pub log_dir: PathBuf,
    /// The private folder of the service.
    pub runtime_dir: PathBuf,
    /// Whether the service was started to be tried by `chaos`: then parts of it may be made to panic.
    pub allow_chaos: bool,
    /// The parent process of the service.
    pub heart: HeartFacts,
}

/// A wish that concerns the whole service.
#[derive(Debug)]
pub enum Control {
    /// Shut down in order.
    Stop,
    /// Read the configuration again and apply what changed.
    Reload(oneshot::Sender<Result<ReloadOutcome, String>>),
    /// The supervision tree as it stands.
    Tree(oneshot::Sender<TreeNode>),
    /// Let another binary take over, by default the one at the path that this one was started from. What came of it is told
    /// by the next service; the answer here is why it did not come to that.
    Upgrade(Option<PathBuf>, oneshot::Sender<String>),
    /// What became of the last upgrade.
    UpgradeOutcome(oneshot::Sender<Result<Upgraded, String>>),
    /// Make a part of the service panic.
    Panic(Part, oneshot::Sender<Result<(), String>>),
}

/// A part of the service that may be made to panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The actor of this model.
    Instance(String),
    /// A part of the tree, or the prober, by its name.
    Named(String),
}

/// The way to the service's main loop. Bounded: wishes of this kind are rare, and a flood of them is refused.
#[derive(Debug, Clone)]
pub struct ControlHandle(mpsc::Sender<Control>);

/// Wishes waiting for the main loop; more than a handful at one time is a flood.
const CONTROL_QUEUE: usize = 64;

impl ControlHandle {
    /// A handle and the receiving end.
    pub fn channel() -> (Self, mpsc::Receiver<Control>) {
        let (sender, receiver) = mpsc::channel(CONTROL_QUEUE);
        (Self(sender), receiver)
    }

    /// Asks for an orderly shutdown. Answers whether the wish was taken.
    pub fn stop(&self) -> bool {
        self.0.try_send(Control::Stop).is_ok()
    }

    /// Applies the changed configuration.
    ///
    /// # Errors
    /// The faults of the file (nothing was changed then), or that the service is too busy or going down.
    pub async fn reload(&self) -> Result<ReloadOutcome, String> {
        let (answer, wait) = oneshot::channel();
        self.0.try_send(Control::Reload(answer)).map_err(|_| BUSY.to_owned())?;
        wait.await.unwrap_or_else(|_| Err(BUSY.to_owned()))
    }

    /// The supervision tree.
    ///
    /// # Errors
    /// When the service is too busy or going down.
    pub async fn tree(&self) -> Result<TreeNode, String> {
        let (answer, wait) = oneshot::channel();
        self.0.try_send(Control::Tree(answer)).map_err(|_| BUSY.to_owned())?;
        wait.await.map_err(|_| BUSY.to_owned())
    }

    /// Lets another binary take over. Answers only why it does not: when the service lets go, whoever asks is gone before.
    pub async fn upgrade(&self, binary: Option<PathBuf>) -> String {
        let (answer, wait) = oneshot::channel();
        match self.0.try_send(Control::Upgrade(binary, answer)) {
            Ok(()) => wait.await.unwrap_or_else(|_| BUSY.to_owned()),
            Err(_) => BUSY.to_owned(),
        }
    }

    /// What became of the last upgrade, where this service began with one.
    ///
    /// # Errors
    /// Why it failed; also when there was none, or the service is too busy or going down.
    pub async fn upgrade_outcome(&self) -> Result<Upgraded, String> {
        let (answer, wait) = oneshot::channel();
        self.0.try_send(Control::UpgradeOutcome(answer)).map_err(|_| BUSY.to_owned())?;
        wait.await.unwrap_or_else(|_| Err(BUSY.to_owned()))
    }

    /// Makes a part of the service panic.
    ///
    /// # Errors
    /// When the service was not started for that, there is no such part, or the service is too busy or going down.
    pub async fn panic(&self, part: Part) -> Result<(), String> {
        let (answer, wait) = oneshot::channel();
        self.0.try_send(Control::Panic(part, answer)).map_err(|_| BUSY.to_owned())?;
        wait.await.unwrap_or_else(|_| Err(BUSY.to_owned()))
    }
}

const BUSY: &str = "the service is busy or shutting down, try again later";
