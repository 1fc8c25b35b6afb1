//! The configuration file as it is written: the one source of its keys, its schema and its reference.
//!
//! A doc comment here is the description of a key in `symphony config schema`. Every key is optional to serde; which
//! ones must be there is decided later, so that a missing key does not hide the other faults.

mod backend;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use backend::{
    HealthWord, KindWord, RawBackendTable, RawHealth, RawLimits, RawLog, RawReady, RawReadyTable,
    RawRestart, RawStart, RawStop, ReadyWord,
};

use super::logging::{FORM_FORMAT, LEVEL_FORMAT};
use super::policy::GroupStrategy;
use super::quantity::DurationText;
use crate::limits;

/// The configuration of Symphony.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, title = "Symphony configuration")]
pub(super) struct RawSettings {
    /// The folder of the script backends; the same as `service.backend_path`.
    pub backend_path: Option<String>,
    /// The ZeroMQ addresses of the service.
    pub endpoints: RawEndpoints,
    /// What the service logs, and how.
    pub logging: RawLogging,
    /// Folders, the interpreter and deadlines of the service as a whole.
    pub service: RawService,
    /// How each type of model is run: the name of a script, or a table.
    pub model_backends: BTreeMap<String, RawBackend>,
    /// The models that may be loaded.
    #[schemars(length(max = limits::MODELS))]
    pub supported_models: Vec<RawModel>,
    /// Models whose failures concern each other.
    #[schemars(length(max = limits::GROUPS))]
    pub groups: Vec<RawGroup>,
}

/// The ZeroMQ addresses of the service.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Endpoints")]
pub(super) struct RawEndpoints {
    /// Where clients ask for protocols and models: `ipc://` with a path, or `tcp://host:port`.
    pub client_handshake: Option<String>,
    /// Where the command line and other managers ask.
    pub cli_management: Option<String>,
}

/// What the service logs, and how.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Logging")]
pub(super) struct RawLogging {
    /// The least level that is written: DEBUG, INFO, WARNING or ERROR, in any case.
    #[schemars(extend("format" = LEVEL_FORMAT))]
    pub level: Option<String>,
    /// Text by the pattern `format`, or JSON: one object a line.
    #[schemars(extend("format" = FORM_FORMAT))]
    pub form: Option<String>,
    /// A line of text, in the words of Python's `logging`.
    pub format: Option<String>,
    /// The `strftime` pattern of `%(asctime)s`.
    pub date_format: Option<String>,
}

/// Folders, the interpreter and deadlines of the service as a whole.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Service")]
pub(super) struct RawService {
    /// The folder of the script backends.
    #[schemars(length(min = 1))]
    pub backend_path: Option<String>,
    /// The program that runs script backends.
    #[schemars(length(min = 1))]
    pub interpreter: Option<String>,
    /// The folder of the models' sockets.
    #[schemars(length(min = 1))]
    pub model_socket_dir: Option<String>,
    /// The folder of the models' log files.
    #[schemars(length(min = 1))]
    pub log_dir: Option<String>,
    /// The folder of short-lived private files, removed at a clean stop.
    #[schemars(length(min = 1))]
    pub runtime_dir: Option<String>,
    /// The `symphony` program that runs the embedded backend and sets limits; the running program unless set.
    #[schemars(length(min = 1))]
    pub symphony_binary: Option<String>,
    /// Whether backends get cgroups of their own: "auto" (where one was delegated to the service), "off", or the path of a cgroup.
    pub cgroup: Option<String>,
    /// Backends that are being spawned at one time; the others wait their turn.
    #[schemars(range(min = 1, max = limits::SPAWNS_AT_ONCE_MAX))]
    pub spawns_at_once: Option<usize>,
    /// How long requests under way may hold up a shutdown.
    pub drain_timeout: Option<DurationText>,
    /// How the parent process of the service judges it; for a service that was started by `start-service`.
    pub heart: RawHeart,
}

/// How the parent process of the service judges it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Heart")]
pub(super) struct RawHeart {
    /// A service that makes no progress for so long is killed and replaced; its models run on.
    pub wedge_timeout: Option<DurationText>,
    /// Such restarts that are allowed in `period`; the next failure ends the service and its models.
    #[schemars(range(max = limits::WINDOW_RESTARTS))]
    pub restarts: Option<u32>,
    /// The length of that sliding window.
    pub period: Option<DurationText>,
    /// How long models live on when the service was killed with its parent process, until they are ended or taken over by a new start.
    pub adoption_grace: Option<DurationText>,
    /// How long the service of a new program may take to get ready in an upgrade, before the old one comes back.
    pub upgrade_timeout: Option<DurationText>,
}

/// How a type of model is run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "BackendOrScript")]
#[serde(untagged)]
#[expect(dead_code, reason = "it is the schema of what is merged and read as a table")]
pub(super) enum RawBackend {
    /// The name of a script below the backend path.
    Script(String),
    /// A command, a script or the embedded engine, with everything that is decided about it.
    Table(Box<RawBackendTable>),
}

/// A model that may be loaded. Every key of a backend's table may stand here, too, and goes over the one there.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Model", extend("required" = ["name", "type"]))]
pub(super) struct RawModel {
    /// Its short name, unique.
    pub name: Option<String>,
    /// Its full name: a hub name or a path.
    pub fullname: Option<String>,
    /// The key of its backend in `model_backends`.
    #[serde(rename = "type")]
    pub model_type: Option<String>,
    /// What `{path}` stands for in a command.
    #[schemars(length(min = 1))]
    pub path: Option<String>,
    /// Whether it is loaded when the service starts.
    pub autostart: Option<bool>,
    /// Models that must be ready before its process is started; they are loaded if need be.
    #[schemars(length(max = limits::MEMBERS))]
    pub after: Option<Vec<String>>,
    /// What goes over the backend's table.
    #[serde(flatten)]
    #[expect(
        dead_code,
        reason = "it is the schema of what is laid over a backend's table and read as one"
    )]
    pub overrides: RawBackendTable,
}

/// The keys of a model that are not those of a backend.
pub(super) const MODEL_KEYS: [&str; 6] = ["name", "fullname", "type", "path", "autostart", "after"];

/// Models whose failures concern each other, whose failures are counted together.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Group", extend("required" = ["name", "members"]))]
pub(super) struct RawGroup {
    /// Its name, unique among groups.
    pub name: Option<String>,
    /// Whom a failed member takes along.
    pub strategy: Option<GroupStrategy>,
    /// The names of its models, in the order in which they are started. A model is in one group at most.
    #[schemars(length(min = 1, max = limits::MEMBERS))]
    pub members: Option<Vec<String>>,
    /// Restarts of failed members that are allowed in `period`, over all members; the next failure gives the group up.
    #[schemars(range(max = limits::WINDOW_RESTARTS))]
    pub intensity: Option<u32>,
    /// The length of the group's sliding window.
    pub period: Option<DurationText>,
}
