//! The sections of the service itself: `endpoints`, `logging`, `service`.

use std::path::PathBuf;
use std::time::Duration;

use super::anchor::Anchors;
use super::endpoint::{Endpoint, socket_path_fits};
use super::fault::Faults;
use super::heart;
use super::lookup::{ServiceFolders, backend_path};
use super::model::{Endpoints, LoggingSettings, ServiceSettings};
use super::path::KeyPath;
use super::policy::CgroupChoice;
use super::raw::{RawEndpoints, RawLogging, RawService};
use super::reader::Reader;

/// Where clients ask unless configured: where they always did.
pub(super) const CLIENT_HANDSHAKE: &str = "ipc:///tmp/symphony-ipc";
/// Where managers ask unless configured.
pub(super) const CLI_MANAGEMENT: &str = "ipc:///tmp/symphony-cli";
/// Runs script backends unless configured.
pub(super) const INTERPRETER: &str = "python3";
/// Where the models' sockets are made unless configured.
pub(super) const MODEL_SOCKET_DIR: &str = "/tmp";
/// Spawns at one time unless configured.
pub(super) const SPAWNS_AT_ONCE: usize = 4;
/// How long requests under way may hold up a shutdown unless configured.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The file name of a model's socket: the contract's `symphony-model-` and eight hex digits.
const MODEL_SOCKET_NAME: &str = "symphony-model-00000000";

/// The `endpoints` section.
pub(super) fn endpoints(
    raw: &RawEndpoints,
    anchors: &Anchors<'_>,
    faults: &mut Faults,
    warnings: &mut Vec<String>,
) -> Endpoints {
    let section = KeyPath::of(&["endpoints"]);
    let mut read = |key: &str, text: &Option<String>, default: &str| -> Option<Endpoint> {
        let text = text.as_deref().unwrap_or(default);
        match Endpoint::parse(text, &anchors.sources.working_dir) {
            Ok(endpoint) => {
                if endpoint.is_open_to_others() {
                    warnings.push(format!(
                        "{}: other machines may reach {text}, and whoever reaches it may manage this service",
                        section.key(key)
                    ));
                }
                Some(endpoint)
            }
            Err(message) => {
                faults.push(section.key(key), message);
                None
            }
        }
    };
    let client = read("client_handshake", &raw.client_handshake, CLIENT_HANDSHAKE);
    let cli = read("cli_management", &raw.cli_management, CLI_MANAGEMENT);
    if let (Some(client), Some(cli)) = (&client, &cli)
        && client.same_as(cli)
    {
        faults.push(section.key("cli_management"), "is the address of client_handshake, too");
    }
    let text =
        |endpoint: Option<Endpoint>| endpoint.map(|endpoint| endpoint.text).unwrap_or_default();
    Endpoints { client_handshake: text(client), cli_management: text(cli) }
}

/// The `logging` section.
pub(super) fn logging(raw: &RawLogging, faults: &mut Faults) -> LoggingSettings {
    let default = LoggingSettings::default();
    let section = KeyPath::of(&["logging"]);
    let mut note = |key: &str, message: String| faults.push(section.key(key), message);
    let level = raw.level.as_deref().map(str::parse).transpose();
    let form = raw.form.as_deref().map(str::parse).transpose();
    LoggingSettings {
        level: level
            .unwrap_or_else(|message| {
                note("level", message);
                None
            })
            .unwrap_or(default.level),
        form: form
            .unwrap_or_else(|message| {
                note("form", message);
                None
            })
            .unwrap_or(default.form),
        format: raw.format.clone().unwrap_or(default.format),
        date_format: raw.date_format.clone().unwrap_or(default.date_format),
    }
}

/// The `service` section; its folders are made of the command line endpoint, the backend path is looked for.
pub(super) fn service(
    raw: &RawService,
    cli_endpoint: &str,
    anchors: &Anchors<'_>,
    faults: &mut Faults,
) -> ServiceSettings {
    let folders = ServiceFolders::of(cli_endpoint, anchors.sources);
    let section = KeyPath::of(&["service"]);
    let mut reader = Reader { values: anchors.values, table: section, below: None, faults };
    let mut path = |key: &str, text: &Option<String>| -> Option<PathBuf> {
        let at = reader.at(&[key]);
        anchors.resolve(&at, text.as_ref()?).map_err(|message| reader.faults.push(at, message)).ok()
    };
    let configured_backend_path = path("backend_path", &raw.backend_path);
    let model_socket_dir = path("model_socket_dir", &raw.model_socket_dir);
    let log_dir = path("log_dir", &raw.log_dir);
    let runtime_dir = path("runtime_dir", &raw.runtime_dir);
    let symphony_binary = path("symphony_binary", &raw.symphony_binary);
    let model_socket_dir = model_socket_dir.unwrap_or_else(|| PathBuf::from(MODEL_SOCKET_DIR));
    if let Err(message) =
        socket_path_fits(&model_socket_dir.join(MODEL_SOCKET_NAME).to_string_lossy())
    {
        reader.fault(
            &["model_socket_dir"],
            format!("the sockets of models do not fit in: {message}"),
        );
    }
    let interpreter = raw.interpreter.as_deref().unwrap_or(INTERPRETER);
    let at = reader.at(&["interpreter"]);
    let interpreter = anchors.resolve_program(&at, interpreter).unwrap_or_else(|message| {
        reader.faults.push(at, message);
        INTERPRETER.into()
    });
    let cgroup = raw.cgroup.as_deref().map_or(Ok(CgroupChoice::Auto), str::parse);
    let cgroup = cgroup.unwrap_or_else(|message| {
        reader.fault(&["cgroup"], message);
        CgroupChoice::Auto
    });
    let drain_timeout = reader.duration(&["drain_timeout"], raw.drain_timeout.as_ref());
    let heart = heart::read(&raw.heart, &mut reader);
    ServiceSettings {
        backend_path: configured_backend_path.or_else(|| backend_path(anchors.sources)),
        interpreter,
        model_socket_dir,
        log_dir: log_dir.unwrap_or(folders.log_dir),
        runtime_dir: runtime_dir.unwrap_or(folders.runtime_dir),
        symphony_binary,
        cgroup,
        spawns_at_once: raw.spawns_at_once.unwrap_or(SPAWNS_AT_ONCE),
        drain_timeout: drain_timeout.unwrap_or(DRAIN_TIMEOUT),
        heart,
    }
}
