//! The table of a backend.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::limits;
use crate::settings::policy::{GiveUp, RestartClass, StopSignal};
use crate::settings::quantity::{DurationText, SizeText};

/// A command, a script or the embedded engine, with everything that is decided about it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Backend")]
pub(in crate::settings) struct RawBackendTable {
    /// A program and its arguments, with placeholders; never read by a shell.
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
    /// The name of a script below the backend path.
    pub script: Option<String>,
    /// True: the engine that is built into Symphony.
    pub embedded: Option<bool>,
    /// What it speaks.
    pub kind: Option<KindWord>,
    /// For a script: whether `--model-name FULLNAME` is added when the full name is known.
    pub pass_model_name: Option<bool>,
    /// Its working directory.
    #[schemars(length(min = 1))]
    pub working_dir: Option<String>,
    /// Variables set for it.
    pub env: BTreeMap<String, String>,
    /// Variables of the service that are passed on; all of them unless set.
    pub env_allow: Option<Vec<String>>,
    /// What tells that it can be used: a word, or a table with one of `http`, `fd`, `delay`.
    pub ready: Option<RawReady>,
    /// How fast it must come up.
    pub start: RawStart,
    /// How its health is watched.
    pub health: RawHealth,
    /// When it is restarted.
    pub restart: RawRestart,
    /// How it is ended.
    pub stop: RawStop,
    /// What it may use.
    pub limits: RawLimits,
    /// How much of its output is kept.
    pub log: RawLog,
}

/// What a backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "Kind")]
#[serde(rename_all = "lowercase")]
pub(in crate::settings) enum KindWord {
    /// ZeroMQ on an ipc path.
    Zmq,
    /// HTTP on a TCP port.
    Http,
}

/// What tells that a backend can be used.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "Ready")]
#[serde(untagged)]
pub(in crate::settings) enum RawReady {
    /// A kind that needs nothing else.
    Word(ReadyWord),
    /// A kind with its particulars.
    Table(RawReadyTable),
}

/// A kind of readiness that needs nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::settings) enum ReadyWord {
    /// The ZeroMQ handshake is answered.
    Handshake,
    /// `GET /health` is answered with 200.
    Http,
    /// A TCP connection is taken.
    Tcp,
    /// `READY=1` arrives at `$NOTIFY_SOCKET`, as systemd services do it.
    Notify,
}

/// A kind of readiness with its particulars: exactly one of `http`, `fd`, `delay`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "ReadyTable")]
pub(in crate::settings) struct RawReadyTable {
    /// The path that is asked for.
    pub http: Option<String>,
    /// With `http`: the status that means ready.
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
    /// The number of the descriptor on which a newline means ready, as s6 does it.
    #[schemars(range(min = 3, max = 255))]
    pub fd: Option<i32>,
    /// Having lived this long means ready.
    pub delay: Option<DurationText>,
}

/// How fast a backend must come up.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Start")]
pub(in crate::settings) struct RawStart {
    /// Without output or CPU time for this long a start has failed.
    pub stall_timeout: Option<DurationText>,
    /// The longest start in all.
    pub total_timeout: Option<DurationText>,
}

/// How a backend's health is watched, once it is ready.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Health")]
pub(in crate::settings) struct RawHealth {
    /// How it is asked.
    pub check: Option<HealthWord>,
    /// With `check = "http"`: the path that is asked for.
    pub path: Option<String>,
    /// Time between two questions.
    pub every: Option<DurationText>,
    /// Time to answer one.
    pub timeout: Option<DurationText>,
    /// Missed answers in a row that mean a hang.
    #[schemars(range(min = 1, max = 1000))]
    pub misses: Option<u32>,
    /// How long at most judgement is held back on a backend that misses answers but shows work.
    pub hang_timeout: Option<DurationText>,
}

/// How a backend is asked for its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "HealthCheck")]
#[serde(rename_all = "lowercase")]
pub(in crate::settings) enum HealthWord {
    /// Not at all: only its exit is watched.
    None,
    /// `ping` over ZeroMQ, or the handshake where it has no `ping`.
    Ping,
    /// `GET path` is answered with 2xx.
    Http,
    /// A TCP connection is taken.
    Tcp,
}

/// When a backend is restarted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Restart")]
pub(in crate::settings) struct RawRestart {
    /// After which exits.
    pub class: Option<RestartClass>,
    /// Restarts in a row without `reset_after` of readiness between them.
    #[schemars(range(max = 1_000_000))]
    pub max_consecutive_failures: Option<u32>,
    /// Being ready this long forgives the failures so far.
    pub reset_after: Option<DurationText>,
    /// The delay before the second restart in a row; the first has none.
    pub backoff_min: Option<DurationText>,
    /// Each further delay is this many times the one before.
    #[schemars(range(min = 1.0, max = limits::BACKOFF_FACTOR_MAX))]
    pub backoff_factor: Option<f64>,
    /// The longest delay.
    pub backoff_max: Option<DurationText>,
    /// Delays are spread by this share in both directions: 0.2 is ±20 %.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub jitter: Option<f64>,
    /// Restarts allowed in `window_period`, whatever readiness lay between.
    #[schemars(range(max = limits::WINDOW_RESTARTS))]
    pub window_max: Option<u32>,
    /// The length of the sliding window.
    pub window_period: Option<DurationText>,
    /// What happens when either count is used up.
    pub on_give_up: Option<GiveUp>,
    /// The first rest of a parked backend; it doubles each time.
    pub cool_off: Option<DurationText>,
    /// The longest rest.
    pub cool_off_max: Option<DurationText>,
    /// Exit codes, besides 0, that a transient backend ends cleanly with.
    #[schemars(length(max = 256), inner(range(min = 0, max = 255)))]
    pub clean_codes: Option<Vec<i32>>,
    /// Exit codes that no restart can mend.
    #[schemars(length(max = 256), inner(range(min = 0, max = 255)))]
    pub fatal_codes: Option<Vec<i32>>,
}

/// How a backend is ended.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Stop")]
pub(in crate::settings) struct RawStop {
    /// The first signal to its process group.
    pub signal: Option<StopSignal>,
    /// Time to end by itself; then it is killed.
    pub grace: Option<DurationText>,
    /// Time for the kernel to carry that out; then it is reported as unkillable.
    pub kill_grace: Option<DurationText>,
}

/// What a backend may use; nothing is limited unless set.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Limits")]
pub(in crate::settings) struct RawLimits {
    /// Address space.
    pub memory: Option<SizeText>,
    /// CPU time, in whole seconds.
    pub cpu_time: Option<DurationText>,
    /// Open descriptors.
    #[schemars(range(min = 8, max = 1_048_576))]
    pub open_files: Option<u64>,
    /// Processes of its user.
    #[schemars(range(min = 1, max = 4_194_304))]
    pub processes: Option<u64>,
    /// Added to the nice value.
    #[schemars(range(min = -20, max = 19))]
    pub nice: Option<i32>,
    /// The user that it runs as, by name; the service's unless set.
    #[schemars(length(min = 1))]
    pub user: Option<String>,
}

/// How much of a backend's output is kept.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, rename = "Log")]
pub(in crate::settings) struct RawLog {
    /// Size of a log file before it is rotated.
    pub max_size: Option<SizeText>,
    /// Rotated files that are kept.
    #[schemars(range(max = limits::LOG_FILES_KEPT_MAX))]
    pub keep: Option<u32>,
}
