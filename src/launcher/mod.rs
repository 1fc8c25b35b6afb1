//! Where OS processes live: the [`Launcher`] trait, what it is asked and what it reports.
//!
//! A launcher outlives every actor. The [`ProcessTable`](table::ProcessTable) is the one actor that talks to it.
//! It knows programs, signals and files; it does not know what a model speaks.
//!
//! - [`local`] runs processes of this machine; [`scripted`] is its fake for tests in virtual time
//! - [`account`] is the user that a backend runs as, [`exit_cause`] says which limit ended a process, [`transience`] which
//!   errors are worth another try
//! - [`table`] is the actor, [`table_messages`] what it may be asked, [`admission`] which spawn may go out now, [`adoption`] what
//!   becomes of processes that an earlier core left

pub mod account;
pub mod admission;
pub mod adoption;
pub mod exit_cause;
pub mod local;
pub mod scripted;
pub mod table;
pub mod table_messages;
#[cfg(test)]
pub(crate) mod testing;
pub mod transience;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};
use serde::{Deserialize, Serialize};

use self::exit_cause::ExitCause;
use crate::clock::{Moment, Started};
use crate::ids::{Generation, GroupName, InstanceId, ProcessKey};
use crate::settings::policy::{LogFilePolicy, ResourceLimits, StopSignal};

/// Starts, signals and watches OS processes, away from the actors' thread.
///
/// No call blocks: each is an order, and what comes of it arrives as a [`Report`] at the subscriber.
/// For every accepted spawn there is exactly one [`Report::Spawned`] or [`Report::SpawnFailed`], and for every
/// spawned process exactly one [`Report::Exited`], after all processes of its group got a KILL.
pub trait Launcher: Send + Sync {
    /// From now on reports go to `subscriber` (a replaced process table subscribes again).
    fn subscribe(&self, subscriber: Recipient<Report>);
    /// Starts a process.
    fn spawn(&self, order: SpawnOrder);
    /// Sends a signal. A process that is gone is no error.
    fn signal(&self, key: &ProcessKey, signal: GroupSignal);
    /// Asks for [`Report::Sampled`].
    fn sample(&self, key: &ProcessKey);
    /// Asks for [`Report::Output`]: the last lines of an instance's log file.
    fn tail(&self, order: TailOrder);
    /// Keeps a record of an instance, replacing the one before; it outlives the actors.
    fn keep(&self, record: InstanceRecord);
    /// Forgets an instance's record.
    fn forget(&self, instance: &InstanceId);
    /// Asks for [`Report::Inventory`].
    fn inventory(&self);
    /// Removes a socket file that belonged to an instance. Anything but a socket is left alone.
    fn remove_socket(&self, path: PathBuf);
    /// What nobody asked for is told to `to` from now on, first what was not told to anybody yet.
    fn tell_notices(&self, to: Recipient<LauncherNotice>);
    /// Ends the launcher's threads and leaves the processes to whoever comes after it: all that is known of them is
    /// written down. Blocks until that is done, at most `limit`. A launcher that writes nothing down does as
    /// [`Launcher::end`].
    fn let_go(&self, limit: Duration);
    /// Kills what is left and ends the launcher's threads. Blocks until that is done, at most `limit`;
    /// answers how many processes were left.
    fn end(&self, limit: Duration) -> usize;
}

/// Exit codes of the exec shim for a program that cannot be executed, as in a shell: anything but a missing one, and a
/// missing one. No restart mends them.
pub const SHIM_FAILED: [u8; 2] = [126, 127];

/// Exit code of the exec shim where another try may do (EX_TEMPFAIL of sysexits.h): the program is just being written,
/// there is no memory or no process left, users cannot be looked up.
pub const SHIM_NOT_NOW: u8 = 75;

/// What the exec shim's own line of output begins with: a program may end with the same codes.
pub const SHIM_PREFIX: &str = "symphony exec-shim: ";

/// As a program: the one that is running. The launcher puts in its path at each start, so that it is found also after
/// its file was replaced.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// A process to start.
#[derive(Debug)]
pub struct SpawnOrder {
    /// Whose process, which start.
    pub key: ProcessKey,
    /// Program, arguments, variables, working directory: everything is decided.
    pub command: ProcessCommand,
    /// Where its output goes.
    pub log_path: PathBuf,
    /// How that file is rotated.
    pub log: LogFilePolicy,
    /// The model's name in log lines.
    pub label: String,
    /// Limits, set by the exec shim.
    pub limits: ResourceLimits,
    /// What the child gets to say that it is ready.
    pub ready_channel: ReadyChannel,
    /// A socket file a dead predecessor may have left; removed before the start where nobody answers on it.
    pub socket_path: Option<PathBuf>,
    /// The `symphony` binary for the exec shim; `None`: the running program.
    pub shim: Option<PathBuf>,
}

/// A program with everything it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessCommand {
    /// A path, or a name looked up in `PATH`.
    pub program: PathBuf,
    /// Arguments.
    pub args: Vec<String>,
    /// Variables set or replaced.
    pub env: BTreeMap<String, String>,
    /// Variables passed on from the service; `None`: all.
    pub env_allow: Option<Vec<String>>,
    /// Working directory; `None`: the service's.
    pub working_dir: Option<PathBuf>,
}

/// A channel for readiness that the launcher sets up for the child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadyChannel {
    /// None: readiness is probed from outside.
    None,
    /// A pipe whose writing end the child has under this number.
    Fd {
        /// Descriptor number in the child.
        number: i32,
    },
    /// A datagram socket named by `NOTIFY_SOCKET`.
    Notify {
        /// Where it is bound.
        path: PathBuf,
    },
}

/// Signals that are sent to a whole process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupSignal {
    /// The configured stop signal, followed by CONT so that a frozen process sees it.
    Stop(StopSignal),
    /// KILL.
    Kill,
}

/// Asks for the end of an instance's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailOrder {
    /// Echoed in the answer.
    pub ticket: u64,
    /// The file.
    pub log_path: PathBuf,
    /// Lines at most.
    pub lines: usize,
    /// Only what lies behind this offset; the answer tells the next one.
    pub after_offset: Option<u64>,
}

/// What a launcher tells.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Report {
    /// A process runs.
    Spawned {
        /// Which.
        key: ProcessKey,
        /// Who it is to the system.
        identity: ProcessIdentity,
        /// The reading end of what [`ReadyChannel`] asked for.
        ready: Option<ReadyEnd>,
    },
    /// A process could not be started.
    SpawnFailed {
        /// Which.
        key: ProcessKey,
        /// Why.
        error: SpawnError,
    },
    /// The system refused a signal: this service may not send it.
    SignalRefused {
        /// To which process.
        key: ProcessKey,
        /// The system's word.
        reason: String,
    },
    /// A process is gone, and its group with it.
    Exited {
        /// Which.
        key: ProcessKey,
        /// How it ended.
        status: ExitStatus,
        /// What is known of it beyond that.
        cause: Option<ExitCause>,
        /// The last lines it wrote.
        output: Vec<String>,
    },
    /// What a process has used so far.
    Sampled {
        /// Which.
        key: ProcessKey,
        /// CPU time of it and its descendants.
        cpu_time: Duration,
        /// Bytes in its log since it started.
        output_bytes: u64,
        /// Resident memory in bytes of the process itself.
        resident_bytes: u64,
    },
    /// The end of a log.
    Output {
        /// From the order.
        ticket: u64,
        /// The lines, or why there are none.
        lines: Result<Vec<String>, String>,
        /// Offset behind the last line, for the next order.
        next_offset: u64,
    },
    /// All that lives and all that is remembered.
    Inventory {
        /// Running processes.
        processes: Vec<(ProcessKey, ProcessIdentity)>,
        /// Records by [`Launcher::keep`].
        records: Vec<InstanceRecord>,
        /// Readiness channels of processes that an earlier core started and that may not be ready yet.
        ready: Vec<(ProcessKey, ReadyEnd)>,
    },
}

/// Something that a launcher found out by itself; it becomes an event.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct LauncherNotice {
    /// The instance it is about; `None`: all of them.
    pub instance: Option<InstanceId>,
    /// Its model, where that is known.
    pub model: Option<String>,
    /// Which start of it.
    pub generation: Option<Generation>,
    /// The kind of the event.
    pub kind: &'static str,
    /// The cause, in words.
    pub cause: String,
}

/// The reading end of a readiness channel.
#[derive(Debug)]
pub enum ReadyEnd {
    /// A pipe.
    Pipe(OwnedFd),
    /// A bound datagram socket, non-blocking; its file is removed by whoever drops it last (the launcher, at exit).
    Notify(std::os::unix::net::UnixDatagram),
}

impl ReadyEnd {
    /// A second hold on the same channel.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(match self {
            Self::Pipe(pipe) => Self::Pipe(pipe.try_clone()?),
            Self::Notify(socket) => Self::Notify(socket.try_clone()?),
        })
    }
}

/// A process as the system knows it: a pid alone may be another's tomorrow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process id, and id of its group.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`, in clock ticks since boot.
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Signal {
        /// Its number.
        number: i32,
        /// Whether a core was dumped.
        core_dumped: bool,
    },
    /// Nobody could tell: a process that an earlier core started, and no heart.
    Unknown,
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal { number, core_dumped } => {
                write!(f, "signal {number}{}", if *core_dumped { " (core dumped)" } else { "" })
            }
            Self::Unknown => f.write_str("unknown exit"),
        }
    }
}

/// Why a process could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// Nothing of that name, no permission, no executable format: no restart can mend it.
    #[error("cannot execute {program}: {reason}")]
    Fatal {
        /// The program.
        program: String,
        /// The system's word.
        reason: String,
    },
    /// No processes, memory or descriptors left just now: worth another try.
    #[error("cannot start {program} now: {reason}")]
    Transient {
        /// The program.
        program: String,
        /// The system's word.
        reason: String,
    },
}

/// What is remembered of an instance while its actor may come and go. Plain data: it is also what a state file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// The instance.
    pub instance: InstanceId,
    /// The model's name.
    pub model: String,
    /// Its last generation.
    pub generation: Generation,
    /// Its endpoint, the same over all restarts.
    pub endpoint: String,
    /// Its state by name.
    pub state: String,
    /// Whether it is to run: while it is being stopped, whether it is started again afterwards.
    pub wanted: bool,
    /// Restarts so far.
    pub restarts: u64,
    /// Failures since it was last ready for long.
    pub consecutive_failures: u32,
    /// How often it was parked in a row.
    pub park_level: u32,
    /// Restarts inside the sliding window.
    pub window: Vec<Moment>,
    /// When the present wait (backoff, cool-off) ends.
    pub wait_until: Option<Moment>,
    /// When the present process was started.
    pub started_at: Option<Started>,
    /// Protocols of the present process.
    pub protocols: Vec<String>,
    /// The present reason, as `status` tells it.
    pub reason: Option<String>,
    /// How its last process ended.
    pub last_exit: Option<Arc<LastExit>>,
    /// What it has to do with others.
    #[serde(default)]
    pub turn: TurnRecord,
    /// The digest of the order that its present process was started by.
    #[serde(default)]
    pub order: Option<String>,
}

/// What is remembered of an instance's place among those that it comes up with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TurnRecord {
    /// It starts, and waits for those before it.
    pub awaited: bool,
    /// Its process is being ended because of another member of its group, and to what end.
    pub ends_for: Option<EndsFor>,
    /// The group that the following is about.
    pub group: Option<GroupName>,
    /// In which round of its group its last process was started.
    pub round: Option<u64>,
    /// Its failures that its group may still count.
    pub failures: Vec<Moment>,
    /// When somebody restarted it by hand, which forgets the failures of the whole group.
    pub fresh_since: Option<Moment>,
}

/// What becomes of an instance whose process is ended because of another member of its group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EndsFor {
    /// It is started again with the others.
    Restart {
        /// Why.
        cause: String,
    },
    /// It is parked.
    Park {
        /// Why.
        why: String,
        /// For how long.
        cool_off: Duration,
    },
}

/// How a process ended, as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastExit {
    /// Which start ended.
    pub generation: Generation,
    /// Code or signal; `None` when it could not even be started.
    pub status: Option<ExitStatus>,
    /// The reason as Symphony sees it: `exit 3 before ready`, `hang: 3 pings missed`, `asked to stop`.
    pub reason: String,
    /// The last lines it wrote.
    pub output: Vec<String>,
    /// When, seconds since 1970.
    pub at: f64,
}
