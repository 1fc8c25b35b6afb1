//! What is decided by configuration about one backend: when it is ready, healthy, restarted, stopped, limited.
//!
//! Defaults are those of the supervision contract (`docs/configuration.md` shows them with their keys).

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a backend that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartClass {
    /// Always.
    #[default]
    Permanent,
    /// Unless it ended cleanly: code 0, a listed code, or a signal that we sent.
    Transient,
    /// Never.
    Temporary,
}

/// What happens when the restarts are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GiveUp {
    /// Wait out a cool-off, then try one start.
    #[default]
    Park,
    /// Exit up the tree.
    Escalate,
    /// Go on at the largest backoff.
    Retry,
}

/// Whom a failed member of a group takes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupStrategy {
    /// Nobody: failures are counted together, no more.
    #[default]
    OneForOne,
    /// All other members: they live and die together.
    OneForAll,
    /// The members after it in the list, which depend on it.
    RestForOne,
}

impl GroupStrategy {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneForOne => "one_for_one",
            Self::OneForAll => "one_for_all",
            Self::RestForOne => "rest_for_one",
        }
    }
}

/// When and how often a backend is restarted.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartPolicy {
    /// The class.
    pub class: RestartClass,
    /// Restarts in a row without [`RestartPolicy::reset_after`] of readiness between them.
    pub max_consecutive_failures: u32,
    /// Being ready this long forgives the failures so far.
    pub reset_after: Duration,
    /// The delay before the second restart in a row; the first has none.
    pub backoff_min: Duration,
    /// Each further delay is this many times the one before.
    pub backoff_factor: f64,
    /// The largest delay.
    pub backoff_max: Duration,
    /// Delays are spread by this share in both directions: 0.2 is ±20 %.
    pub jitter: f64,
    /// Restarts allowed in [`RestartPolicy::window_period`], whatever readiness lay between.
    pub window_max: u32,
    /// The sliding window.
    pub window_period: Duration,
    /// What happens when either count is used up.
    pub on_give_up: GiveUp,
    /// The first rest of a parked backend; it doubles each time.
    pub cool_off: Duration,
    /// The longest rest.
    pub cool_off_max: Duration,
    /// Exit codes, besides 0, that a transient backend ends cleanly with.
    pub clean_codes: Vec<i32>,
    /// Exit codes that no restart can mend: parked at once.
    pub fatal_codes: Vec<i32>,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            class: RestartClass::Permanent,
            max_consecutive_failures: 5,
            reset_after: Duration::from_secs(10),
            backoff_min: Duration::from_millis(500),
            backoff_factor: 2.0,
            backoff_max: Duration::from_secs(60),
            jitter: 0.2,
            window_max: 20,
            window_period: Duration::from_secs(30 * 60),
            on_give_up: GiveUp::Park,
            cool_off: Duration::from_secs(300),
            cool_off_max: Duration::from_secs(3600),
            clean_codes: Vec::new(),
            fatal_codes: Vec::new(),
        }
    }
}

/// How a backend says that it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It answers the ZeroMQ handshake on its endpoint.
    Handshake,
    /// It answers `GET path` with `status`.
    Http {
        /// The path, beginning with a slash.
        path: String,
        /// The status that means ready.
        status: u16,
    },
    /// It takes TCP connections on its port.
    Tcp,
    /// It writes a newline to the descriptor of this number (as s6 does).
    Fd {
        /// The number in the child, 3 or more.
        number: i32,
    },
    /// It sends `READY=1` to `$NOTIFY_SOCKET` (as systemd services do).
    Notify,
    /// It counts as ready when it has lived this long.
    Delay(Duration),
}

/// How fast a backend must come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartPolicy {
    /// What tells that it is ready.
    pub ready: Readiness,
    /// No output, progress line or CPU time for this long fails the start.
    pub stall_timeout: Duration,
    /// The longest start in all.
    pub total_timeout: Duration,
}

impl Default for StartPolicy {
    fn default() -> Self {
        Self {
            ready: Readiness::Handshake,
            stall_timeout: Duration::from_secs(300),
            total_timeout: Duration::from_secs(3600),
        }
    }
}

/// How a ready backend is asked for its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthCheck {
    /// Only its exit is watched.
    None,
    /// `ping` over ZeroMQ, or the handshake where the backend has no `ping`.
    Ping,
    /// `GET path` is answered with a status of 2xx.
    Http {
        /// The path, beginning with a slash.
        path: String,
    },
    /// A TCP connection is taken.
    Tcp,
}

/// How often health is asked for and what silence means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPolicy {
    /// How to ask.
    pub check: HealthCheck,
    /// Time between two questions.
    pub every: Duration,
    /// Time to answer one.
    pub timeout: Duration,
    /// Missed answers in a row that mean a hang.
    pub misses: u32,
    /// Judgement on a backend that misses answers but shows work (traffic, CPU time) is held back this long at most.
    pub hang_timeout: Duration,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            check: HealthCheck::Ping,
            every: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            misses: 3,
            hang_timeout: Duration::from_secs(120),
        }
    }
}

/// A signal that may be configured to end a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGKILL.
    Kill,
}

/// How a backend is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopPolicy {
    /// The first signal, sent to the whole process group and followed by CONT.
    pub signal: StopSignal,
    /// Time to end by itself; then KILL to the group.
    pub grace: Duration,
    /// Time for the kernel to carry out the KILL; then the process is reported as unkillable.
    pub kill_grace: Duration,
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self {
            signal: StopSignal::Term,
            grace: Duration::from_secs(10),
            kill_grace: Duration::from_secs(5),
        }
    }
}

/// Whether backends are started in cgroups of their own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CgroupChoice {
    /// Below the cgroup of the service, where that was given to it.
    Auto,
    /// Never.
    #[default]
    Off,
    /// Below this one, a path as in `/proc/PID/cgroup`; it must be there.
    At(String),
}

impl std::str::FromStr for CgroupChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || text.split('/').skip(1);
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            "/" => Err("the root cgroup is the machine's: name one below it".to_owned()),
            path if path.starts_with('/') => {
                if path.contains('\0') || parts().any(|part| matches!(part, "" | "." | "..")) {
                    return Err(format!(
                        "'{}' is no plain path of a cgroup",
                        path.escape_default()
                    ));
                }
                Ok(Self::At(path.to_owned()))
            }
            other => Err(format!(
                "'{}' is neither \"auto\" nor \"off\" nor the path of a cgroup as in \"/symphony\"",
                other.escape_default()
            )),
        }
    }
}

impl std::fmt::Display for CgroupChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::At(path) => path,
        })
    }
}

/// Limits of one backend, all optional, set before its program begins: memory and processes by cgroup where there is one,
/// all else by rlimit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Bytes: of memory in use where a cgroup holds it, else of address space.
    pub memory: Option<u64>,
    /// CPU seconds.
    pub cpu_time: Option<Duration>,
    /// Open descriptors.
    pub open_files: Option<u64>,
    /// Processes: its own where a cgroup holds it, else all of its user.
    pub processes: Option<u64>,
    /// Added to the nice value.
    pub nice: Option<i32>,
    /// The user it runs as, by name; `None`: the service's.
    pub user: Option<String>,
}

impl ResourceLimits {
    /// Whether anything is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// How much of a backend's output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFilePolicy {
    /// Bytes of one file before it is rotated.
    pub max_bytes: u64,
    /// Rotated files kept beside the current one.
    pub keep: u32,
}

impl Default for LogFilePolicy {
    fn default() -> Self {
        Self { max_bytes: 16 * 1024 * 1024, keep: 3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_a_plain_path_or_a_word() {
        let read = |text: &str| text.parse::<CgroupChoice>();
        assert_eq!(read("auto"), Ok(CgroupChoice::Auto));
        assert_eq!(read("off"), Ok(CgroupChoice::Off));
        assert_eq!(read("/a/b"), Ok(CgroupChoice::At("/a/b".into())));
        for bad in ["", "on", "/", "a/b", "/a/", "//a", "/a/../b", "/a/./b", "/a\0b", "/a//b"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(read("/a/b").map(|choice| choice.to_string()), Ok("/a/b".into()));
    }
}
