//! Settings as a configuration file would write them, with nothing left out.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::groups;
use super::model::{
    BackendSpec, Endpoints, GroupSpec, HeartSettings, LaunchForm, LoggingSettings, ServiceSettings,
    Transport,
};
use super::policy::{GroupStrategy, HealthCheck, Readiness};
use super::quantity::{format_duration, format_size};
use super::service;

/// The defaults of the schema's tables, by the names of the tables.
pub(super) fn default_values() -> Vec<(&'static str, Map<String, Value>)> {
    let spec = BackendSpec::script("script.py");
    let backend = backend(&spec);
    let table = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let mut defaults = vec![
        (
            "Endpoints",
            table(&endpoints(&Endpoints {
                client_handshake: service::CLIENT_HANDSHAKE.into(),
                cli_management: service::CLI_MANAGEMENT.into(),
            })),
        ),
        ("Logging", table(&logging(&LoggingSettings::default()))),
        (
            "Service",
            table(&json!({
                "interpreter": service::INTERPRETER,
                "model_socket_dir": service::MODEL_SOCKET_DIR,
                "spawns_at_once": service::SPAWNS_AT_ONCE,
                "drain_timeout": format_duration(service::DRAIN_TIMEOUT),
            })),
        ),
        ("Heart", table(&heart(&HeartSettings::default()))),
        ("Model", table(&json!({ "autostart": false, "after": [] }))),
        (
            "Group",
            table(&json!({
                "strategy": GroupStrategy::default(),
                "intensity": groups::INTENSITY,
                "period": format_duration(groups::PERIOD),
            })),
        ),
        ("Backend", table(&json!({ "kind": "zmq", "pass_model_name": true, "embedded": false }))),
        ("ReadyTable", table(&json!({ "status": 200 }))),
    ];
    for (name, key) in [
        ("Start", "start"),
        ("Health", "health"),
        ("Restart", "restart"),
        ("Stop", "stop"),
        ("Log", "log"),
    ] {
        let mut values = table(&backend[key]);
        // by the kind of the backend
        values.shift_remove("check");
        defaults.push((name, values));
    }
    defaults
}

/// The `endpoints` section.
pub(super) fn endpoints(endpoints: &Endpoints) -> Value {
    json!({ "client_handshake": endpoints.client_handshake, "cli_management": endpoints.cli_management })
}

/// The `logging` section.
pub(super) fn logging(logging: &LoggingSettings) -> Value {
    json!({
        "level": logging.level.to_string(),
        "form": logging.form.to_string(),
        "format": logging.format,
        "date_format": logging.date_format,
    })
}

/// The `service` section.
pub(super) fn service_table(service: &ServiceSettings) -> Value {
    let mut table = json!({
        "interpreter": service.interpreter,
        "model_socket_dir": service.model_socket_dir.to_string_lossy(),
        "log_dir": service.log_dir.to_string_lossy(),
        "runtime_dir": service.runtime_dir.to_string_lossy(),
        "cgroup": service.cgroup.to_string(),
        "spawns_at_once": service.spawns_at_once,
        "drain_timeout": format_duration(service.drain_timeout),
        "heart": heart(&service.heart),
    });
    let text =
        |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    insert(&mut table, "backend_path", text(&service.backend_path));
    insert(&mut table, "symphony_binary", text(&service.symphony_binary));
    table
}

fn heart(heart: &HeartSettings) -> Value {
    json!({
        "wedge_timeout": format_duration(heart.wedge_timeout),
        "restarts": heart.restarts,
        "period": format_duration(heart.period),
        "adoption_grace": format_duration(heart.adoption_grace),
        "upgrade_timeout": format_duration(heart.upgrade_timeout),
    })
}

/// A group, with every key.
pub(super) fn group(group: &GroupSpec) -> Value {
    json!({
        "name": group.name,
        "strategy": group.strategy,
        "members": group.members,
        "intensity": group.intensity,
        "period": format_duration(group.period),
    })
}

/// The table of a backend, with every key.
pub(super) fn backend(spec: &BackendSpec) -> Value {
    let mut table = match &spec.launch {
        LaunchForm::Script { script, pass_model_name } => {
            json!({ "script": script, "pass_model_name": pass_model_name })
        }
        LaunchForm::Command { argv } => json!({ "command": argv }),
        LaunchForm::Embedded => json!({ "embedded": true }),
        // cannot come from a file, and no file can say it
        LaunchForm::Custom(kind) => json!({ "custom": kind.name() }),
    };
    let kind = match spec.transport {
        Transport::Zmq => "zmq",
        Transport::Http => "http",
    };
    let (check, path) = match &spec.health.check {
        HealthCheck::None => ("none", None),
        HealthCheck::Ping => ("ping", None),
        HealthCheck::Http { path } => ("http", Some(path.as_str())),
        HealthCheck::Tcp => ("tcp", None),
    };
    let restart = &spec.restart;
    merge(
        &mut table,
        json!({
            "kind": kind,
            "ready": ready(&spec.start.ready),
            "start": {
                "stall_timeout": format_duration(spec.start.stall_timeout),
                "total_timeout": format_duration(spec.start.total_timeout),
            },
            "health": {
                "check": check,
                "every": format_duration(spec.health.every),
                "timeout": format_duration(spec.health.timeout),
                "misses": spec.health.misses,
                "hang_timeout": format_duration(spec.health.hang_timeout),
            },
            "restart": {
                "class": restart.class,
                "max_consecutive_failures": restart.max_consecutive_failures,
                "reset_after": format_duration(restart.reset_after),
                "backoff_min": format_duration(restart.backoff_min),
                "backoff_factor": restart.backoff_factor,
                "backoff_max": format_duration(restart.backoff_max),
                "jitter": restart.jitter,
                "window_max": restart.window_max,
                "window_period": format_duration(restart.window_period),
                "on_give_up": restart.on_give_up,
                "cool_off": format_duration(restart.cool_off),
                "cool_off_max": format_duration(restart.cool_off_max),
                "clean_codes": restart.clean_codes,
                "fatal_codes": restart.fatal_codes,
            },
            "stop": {
                "signal": spec.stop.signal,
                "grace": format_duration(spec.stop.grace),
                "kill_grace": format_duration(spec.stop.kill_grace),
            },
            "log": { "max_size": format_size(spec.log.max_bytes), "keep": spec.log.keep },
            "limits": {},
            "env": spec.env,
        }),
    );
    insert(&mut table["health"], "path", path);
    insert(&mut table, "env_allow", spec.env_allow.clone());
    insert(
        &mut table,
        "working_dir",
        spec.working_dir.as_ref().map(|path| path.to_string_lossy().into_owned()),
    );
    let limits = &mut table["limits"];
    insert(limits, "memory", spec.limits.memory.map(format_size));
    insert(limits, "cpu_time", spec.limits.cpu_time.map(format_duration));
    insert(limits, "open_files", spec.limits.open_files);
    insert(limits, "processes", spec.limits.processes);
    insert(limits, "nice", spec.limits.nice);
    insert(limits, "user", spec.limits.user.clone());
    table
}

fn ready(ready: &Readiness) -> Value {
    match ready {
        Readiness::Handshake => "handshake".into(),
        Readiness::Http { path, status } => json!({ "http": path, "status": status }),
        Readiness::Tcp => "tcp".into(),
        Readiness::Fd { number } => json!({ "fd": number }),
        Readiness::Notify => "notify".into(),
        Readiness::Delay(span) => json!({ "delay": format_duration(*span) }),
    }
}

/// Adds an entry, where there is a value.
pub(super) fn insert(table: &mut Value, key: &str, value: Option<impl Into<Value>>) {
    if let (Some(table), Some(value)) = (table.as_object_mut(), value) {
        table.insert(key.to_owned(), value.into());
    }
}

/// Adds all entries of a table.
pub(super) fn merge(table: &mut Value, more: Value) {
    if let (Some(table), Value::Object(more)) = (table.as_object_mut(), more) {
        table.extend(more);
    }
}
