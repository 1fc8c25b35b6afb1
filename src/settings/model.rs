//! The validated settings: what the rest of the service works with. Values of these types hold no fault.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::policy::{
    CgroupChoice, GroupStrategy, HealthPolicy, LogFilePolicy, ResourceLimits, RestartPolicy,
    StartPolicy, StopPolicy,
};
use crate::ids::{GroupName, InstanceId, ModelName};

/// Everything that is configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The two management sockets.
    pub endpoints: Endpoints,
    /// Folders, the interpreter, deadlines of the whole service.
    pub service: ServiceSettings,
    /// What the service logs, and how.
    pub logging: LoggingSettings,
    /// The models that may be loaded, in file order.
    pub models: Vec<Arc<ModelSpec>>,
    /// Models whose failures concern each other, in file order. Each member names its group, too ([`ModelSpec::group`]).
    pub groups: Vec<Arc<GroupSpec>>,
    /// The file all this came from; `None` for the built-in default.
    pub source: Option<PathBuf>,
    /// Things worth telling that are no faults (unknown keys of a seed file).
    pub warnings: Vec<String>,
}

/// The ZeroMQ addresses of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Clients ask here for protocols and models.
    pub client_handshake: String,
    /// The command line and other managers ask here.
    pub cli_management: String,
}

/// What concerns the service as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Where script backends lie. `None`: nothing was configured and nothing was found.
    pub backend_path: Option<PathBuf>,
    /// Runs script backends: `python3` unless configured.
    pub interpreter: String,
    /// Folder of the models' sockets: `/tmp` unless configured.
    pub model_socket_dir: PathBuf,
    /// Folder of the models' log files.
    pub log_dir: PathBuf,
    /// Folder for short-lived private files (notify sockets); made with mode 0700, removed at a clean stop.
    pub runtime_dir: PathBuf,
    /// The `symphony` binary, used for `exec-shim` and the embedded backend. `None`: the running program.
    pub symphony_binary: Option<PathBuf>,
    /// Whether backends get cgroups of their own.
    pub cgroup: CgroupChoice,
    /// Spawns handed to the kernel at one time.
    pub spawns_at_once: usize,
    /// Time for requests under way before the instances are stopped.
    pub drain_timeout: Duration,
    /// How the parent process of the service judges it.
    pub heart: HeartSettings,
}

/// How the heart, the parent process of a service that was started by `start-service`, judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartSettings {
    /// A core that makes no progress for so long is killed and replaced.
    pub wedge_timeout: Duration,
    /// Restarts of the core that are allowed in `period`; the next one ends the service and its models.
    pub restarts: u32,
    /// The length of that window.
    pub period: Duration,
    /// How long models live on when heart and core are both gone.
    pub adoption_grace: Duration,
    /// How long the core of another program may take to get ready before the old one comes back.
    pub upgrade_timeout: Duration,
}

/// What the service logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingSettings {
    /// The least level that is written.
    pub level: LogLevel,
    /// Text by pattern, or JSON.
    pub form: LogForm,
    /// Python `logging` pattern: `%(asctime)s [%(levelname)8s] %(name)s: %(message)s`.
    pub format: String,
    /// `strftime` pattern of `%(asctime)s`.
    pub date_format: String,
}

/// The four levels of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happens.
    Info,
    /// What somebody should look at.
    Warning,
    /// What failed.
    Error,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogForm {
    /// By the configured pattern.
    Text,
    /// One JSON object a line.
    Json,
}

/// A model that may be loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Its short name, the first thing a request is matched with.
    pub name: ModelName,
    /// Its full name (a hub name, a path), the second.
    pub fullname: Option<String>,
    /// The backend's key in `model_backends`.
    pub model_type: String,
    /// How to run it. `None`: its type has no backend, which is told when it is loaded.
    pub backend: Option<Arc<BackendSpec>>,
    /// Value of `{path}` in a command line.
    pub path: Option<String>,
    /// Loaded when the service starts.
    pub autostart: bool,
    /// Models that must be ready before its process is started.
    pub after: Vec<ModelName>,
    /// The group that it is a member of.
    pub group: Option<Arc<GroupSpec>>,
}

/// Models whose failures concern each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSpec {
    /// Its name, unique among groups.
    pub name: GroupName,
    /// Whom a failed member takes along.
    pub strategy: GroupStrategy,
    /// Its models, in the order in which they are started.
    pub members: Vec<ModelName>,
    /// Restarts of failed members that are allowed in [`GroupSpec::period`], over all members.
    pub intensity: u32,
    /// The sliding window.
    pub period: Duration,
}

impl GroupSpec {
    /// The members that a load of `model` brings up besides it, in order: whom it cannot do without.
    pub fn needed_by(&self, model: &ModelName) -> &[ModelName] {
        match (self.strategy, self.place(model)) {
            (GroupStrategy::OneForAll, _) => &self.members,
            (GroupStrategy::RestForOne, Some(place)) => &self.members[..=place],
            (GroupStrategy::OneForOne, Some(place)) => &self.members[place..=place],
            (_, None) => &[],
        }
    }

    /// The members that end with `model` when it is unloaded, in the order of the list, and it with them.
    pub fn ended_with(&self, model: &ModelName) -> &[ModelName] {
        match (self.strategy, self.place(model)) {
            (GroupStrategy::OneForAll, _) => &self.members,
            (GroupStrategy::RestForOne, Some(place)) => &self.members[place..],
            (GroupStrategy::OneForOne, Some(place)) => &self.members[place..=place],
            (_, None) => &[],
        }
    }

    /// The place of a member in the list.
    pub fn place(&self, model: &ModelName) -> Option<usize> {
        self.members.iter().position(|member| member == model)
    }
}

impl ModelSpec {
    /// The instance that serves it.
    pub fn instance_id(&self) -> InstanceId {
        InstanceId::of_model(&self.name)
    }
}

/// How a kind of backend is run and supervised.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendSpec {
    /// What is executed.
    pub launch: LaunchForm,
    /// What it speaks.
    pub transport: Transport,
    /// When it counts as ready.
    pub start: StartPolicy,
    /// How its health is watched.
    pub health: HealthPolicy,
    /// When it is restarted.
    pub restart: RestartPolicy,
    /// How it is ended.
    pub stop: StopPolicy,
    /// What it may use.
    pub limits: ResourceLimits,
    /// Variables set for it.
    pub env: BTreeMap<String, String>,
    /// Variables of the service passed on to it; `None`: all.
    pub env_allow: Option<Vec<String>>,
    /// Its working directory; scripts use the backend path unless this is set.
    pub working_dir: Option<PathBuf>,
    /// Its log file.
    pub log: LogFilePolicy,
}

/// What is executed.
#[derive(Clone)]
pub enum LaunchForm {
    /// `interpreter -u {backend_path}/{script} --ipc-endpoint E [--model-name FULLNAME]`.
    Script {
        /// File name below the backend path.
        script: String,
        /// Whether `--model-name` is added when the full name is known.
        pass_model_name: bool,
    },
    /// A command line with placeholders, never read by a shell.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// `symphony backend`, the embedded engine.
    Embedded,
    /// A kind written by the embedding program.
    Custom(Arc<dyn BackendKind>),
}

impl PartialEq for LaunchForm {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Script { script: a, pass_model_name: b },
                Self::Script { script: c, pass_model_name: d },
            ) => a == c && b == d,
            (Self::Command { argv: a }, Self::Command { argv: b }) => a == b,
            (Self::Embedded, Self::Embedded) => true,
            (Self::Custom(a), Self::Custom(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl fmt::Debug for LaunchForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script { script, .. } => write!(f, "Script({script})"),
            Self::Command { argv } => write!(f, "Command({argv:?})"),
            Self::Embedded => f.write_str("Embedded"),
            Self::Custom(kind) => write!(f, "Custom({})", kind.name()),
        }
    }
}

/// A way to run a model that an embedding program brings along.
///
/// Readiness, health, restart and stop stay with the [`BackendSpec`] it is used in.
pub trait BackendKind: Send + Sync {
    /// Its name in logs.
    fn name(&self) -> &str;

    /// The command for one start. Called on the actor's thread: it must not block.
    ///
    /// # Errors
    /// The reason why this model cannot be started; it is shown to whoever asked for the model.
    fn command_line(&self, start: &StartFacts<'_>) -> Result<CommandLine, String>;
}

/// What is known about a start when its command line is made.
#[derive(Debug, Clone, Copy)]
pub struct StartFacts<'a> {
    /// The model.
    pub model: &'a ModelSpec,
    /// The instance.
    pub instance: &'a InstanceId,
    /// `ipc://…` or `http://127.0.0.1:port`.
    pub endpoint: &'a str,
    /// The port of an HTTP backend.
    pub port: Option<u16>,
}

/// A program and what it is given; never read by a shell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine {
    /// The program: a path, or a name looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables set on top of the configured ones.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub working_dir: Option<PathBuf>,
}

/// What a backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// ZeroMQ on an ipc path.
    Zmq,
    /// HTTP on a TCP port.
    Http,
}
