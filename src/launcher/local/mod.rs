//! Processes of this machine: the [`Launcher`] that the service runs on.
//!
//! ```text
//!  ProcessTable ── orders ──▶ spawner thread ── orders ──▶ output thread
//!       ▲                     owns every child             follows, rotates and reads logs, measures
//!       └────── reports ────────────┴─────────────────────────────┘
//! ```
//!
//! The spawner thread lives as long as the launcher, whatever happens to actors: processes are its children, and it alone
//! starts, signals and reaps them. A pid is signalled only while it is an unreaped child, so it can be nobody else's.

mod bell;
mod budget;
mod cgroup;
mod child;
mod failure;
mod follower;
mod keeper;
mod lines;
mod log_file;
mod log_read;
mod machine;
mod marks;
mod notices;
mod orders;
mod orphans;
mod outlive;
mod output;
mod past;
mod process_file;
mod procfs;
mod program;
mod recorded;
mod reporter;
mod shim;
mod socket_file;
mod spawner;
mod start;
mod state_place;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::Recipient;

use self::cgroup::Cgroups;
use self::machine::Machine;
use self::orders::{Order, SpawnerHandle};
use self::output::{OutputHandle, OutputOrder, OutputThread};
pub use self::recorded::illegible;
use self::spawner::{Parts, Spawner};
pub use self::state_place::notify_path;
use super::{
    GroupSignal, InstanceRecord, Launcher, LauncherNotice, ProcessCommand, Report, SpawnError,
    SpawnOrder, TailOrder,
};
use crate::clock::{Clock, Started};
use crate::heart::link::{HeartLink, Held};
use crate::ids::{InstanceId, ProcessKey};
use crate::limits;
use crate::settings::policy::{CgroupChoice, LogFilePolicy, ResourceLimits};
use crate::state::files::ServiceFile;

/// What keeps a process of this command from being started on this machine now: a program that is not found or may not be
/// executed, a working directory that is not there. Starts nothing; may wait for a slow disk.
pub fn obstacle(command: &ProcessCommand) -> Option<SpawnError> {
    start::obstacle(command)
}

/// Why a configured cgroup is not there. What is looked for by itself (`auto`) is no obstacle: it depends on where the
/// service will be started, and limits hold without it. Makes nothing.
pub fn cgroup_obstacle(choice: &CgroupChoice) -> Option<String> {
    cgroup::obstacle(choice)
}

/// How a [`LocalLauncher`] works.
#[derive(Debug)]
pub struct LocalOptions {
    /// Whether backends get cgroups of their own. They are entered by the exec shim, so it must be there.
    pub cgroup: CgroupChoice,
    /// Whether the output of backends is also written to the service's own log, line by line (target `symphony-backend`).
    pub report_lines: bool,
    /// Where it writes down what lives, and takes over what an earlier one wrote down. `None`: nothing is written, and its
    /// processes end with it.
    pub state: Option<StateOptions>,
}

/// What is written down, and what is needed to take it over.
#[derive(Debug)]
pub struct StateOptions {
    /// The service's private folder. It must be there, and no other launcher may use it.
    pub runtime_dir: PathBuf,
    /// Instances of the present configuration.
    pub known: BTreeMap<InstanceId, KnownInstance>,
    /// Those that are to be loaded at the start of the service. What remains to be loaded is in
    /// [`LocalLauncher::continuation`].
    pub awaited: BTreeSet<InstanceId>,
    /// The last number of an event, which is set beyond all that were used.
    pub last_event: Arc<AtomicU64>,
    /// The process that started this one and inherits its processes.
    pub heart: Option<HeartAccess>,
}

/// An instance that may be on record, or have a process that is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownInstance {
    /// Its model's name.
    pub model: String,
    /// The model's name in log lines.
    pub label: String,
    /// Where its output goes.
    pub log_path: PathBuf,
    /// How that file is rotated.
    pub log: LogFilePolicy,
    /// Its limits.
    pub limits: ResourceLimits,
}

/// A heart, as a launcher needs it.
#[derive(Debug)]
pub struct HeartAccess {
    /// The way to it.
    pub link: HeartLink,
    /// Its process: the parent of what an earlier core started.
    pub pid: u32,
    /// What earlier cores left with it; those that belong to the launcher are taken out.
    pub held: Held,
}

/// A service that goes on after its core was replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct Continuation {
    /// When it was started.
    pub since: Started,
    /// Instances that are to be loaded because of the configuration and were not taken in hand yet.
    pub awaited: BTreeSet<InstanceId>,
}

/// The heart that started this process stands in the same cgroup.
fn heart_pid(options: &LocalOptions) -> Option<u32> {
    Some(options.state.as_ref()?.heart.as_ref()?.pid)
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self { cgroup: CgroupChoice::Off, report_lines: true, state: None }
    }
}

/// Starts and watches processes of this machine, on two threads of its own.
///
/// Dropping it kills what is left, as [`Launcher::end`] does. Where a heart lives, who drops it has failed before an orderly end
/// (a panic of the main thread), and processes are left to the next core, as [`Launcher::let_go`] does.
#[derive(Debug)]
pub struct LocalLauncher {
    spawner: SpawnerHandle,
    output: OutputHandle,
    heart: Option<HeartLink>,
    continuation: Option<Continuation>,
    /// Taken once, by whoever ends the launcher first; held for that moment only.
    threads: Mutex<Option<Threads>>,
}

#[derive(Debug)]
struct Threads {
    spawner: JoinHandle<()>,
    output: JoinHandle<()>,
}

impl LocalLauncher {
    /// Starts the threads. Lifts the limit of open files of this process, for a thousand backends and more.
    ///
    /// # Errors
    /// When threads or descriptors cannot be had, exits of children could not be noticed, a configured cgroup cannot be used, or
    /// another launcher uses the folder of its state.
    pub fn start(options: LocalOptions) -> io::Result<Self> {
        let mut options = options;
        let mut machine = Machine::prepare()?;
        let cgroups =
            Cgroups::prepare(&options.cgroup, heart_pid(&options)).map_err(io::Error::other)?;
        if cgroups.is_used() || options.cgroup == CgroupChoice::Auto {
            tracing::info!(target: "symphony-mgmt", "{}", cgroups.describe());
        }
        let (output_thread, output) = OutputThread::prepare(options.report_lines)?;
        let clock = Clock::since_boot();
        let taken = options.state.as_mut().map(|state| past::take_over(state, &mut machine, clock));
        let taken = taken.transpose()?;
        let continuation = taken.as_ref().and_then(|(_, place, continues)| {
            let ServiceFile { started, awaited, .. } = &place.service;
            continues.then(|| Continuation { since: *started, awaited: awaited.clone() })
        });
        let heart = options.state.and_then(|state| state.heart).map(|heart| heart.link);
        let parts = Parts { machine, cgroups, output: output.clone(), heart: heart.clone(), clock };
        let (mut spawner_thread, spawner) = Spawner::prepare(parts)?;
        if let Some((past, place, _)) = taken {
            spawner_thread.take_over(past, place)?;
        }
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let output_join = thread("output").spawn(|| output_thread.run())?;
        let spawner_join = match thread("spawner").spawn(|| spawner_thread.run()) {
            Ok(join) => join,
            Err(error) => {
                output.send(OutputOrder::End);
                return Err(error);
            }
        };
        let threads = Threads { spawner: spawner_join, output: output_join };
        Ok(Self { spawner, output, heart, continuation, threads: Mutex::new(Some(threads)) })
    }

    /// The service that this launcher goes on with; `None` at its first start.
    pub fn continuation(&self) -> Option<&Continuation> {
        self.continuation.as_ref()
    }

    /// Makes both threads panic, as [`CrashForTest`](crate::supervision::crash::CrashForTest) does an actor.
    #[doc(hidden)]
    pub fn crash_for_test(&self) {
        self.order(Order::Crash);
        self.output.send(OutputOrder::Crash);
    }

    /// Ends the threads by an order.
    fn stop(
        &self,
        limit: Duration,
        order: impl FnOnce(Duration, SyncSender<usize>) -> Order,
    ) -> usize {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Threads { spawner, output }) = threads else { return 0 };
        self.spawner.refuse_spawns();
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        self.order(order(limit, done));
        let margin = limits::LAUNCHER_END_MARGIN + limits::STATE_END;
        let left = wait.recv_timeout(limit + margin);
        self.output.send(OutputOrder::End);
        match left {
            Ok(left) => {
                for thread in [spawner, output] {
                    if thread.join().is_err() {
                        tracing::error!(target: "symphony-mgmt", "a thread of the launcher panicked");
                    }
                }
                left
            }
            Err(error) => {
                // held inside a system call (a program on a dead network drive): the process must still be able to end
                tracing::error!(target: "symphony-mgmt", %error, "the spawner thread does not end");
                self.spawner.living()
            }
        }
    }

    fn order(&self, order: Order) {
        if !self.spawner.send(order) {
            tracing::debug!(target: "symphony-mgmt", "an order came after the end of the launcher");
        }
    }
}

impl Launcher for LocalLauncher {
    fn subscribe(&self, subscriber: Recipient<Report>) {
        self.order(Order::Subscribe(subscriber));
    }

    fn spawn(&self, order: SpawnOrder) {
        self.order(Order::Spawn(Box::new(order)));
    }

    fn signal(&self, key: &ProcessKey, signal: GroupSignal) {
        self.order(Order::Signal(key.clone(), signal));
    }

    fn sample(&self, key: &ProcessKey) {
        self.order(Order::Sample(key.clone()));
    }

    fn tail(&self, order: TailOrder) {
        self.order(Order::Tail(order));
    }

    fn keep(&self, record: InstanceRecord) {
        self.order(Order::Keep(Box::new(record)));
    }

    fn forget(&self, instance: &InstanceId) {
        self.order(Order::Forget(instance.clone()));
    }

    fn inventory(&self) {
        self.order(Order::Inventory);
    }

    fn remove_socket(&self, path: PathBuf) {
        self.order(Order::RemoveSocket(path));
    }

    fn tell_notices(&self, to: Recipient<LauncherNotice>) {
        self.order(Order::TellNotices(to));
    }

    fn let_go(&self, limit: Duration) {
        self.stop(limit, |limit, done| Order::LetGo { limit, done });
    }

    /// Answers how many processes were not gone when `limit` was over (the kernel holds them); 0 is the rule.
    fn end(&self, limit: Duration) -> usize {
        self.stop(limit, |limit, done| Order::End { limit, done })
    }
}

impl Drop for LocalLauncher {
    fn drop(&mut self) {
        if self.heart.as_ref().is_some_and(|heart| !heart.is_lost()) {
            return self.let_go(limits::LAUNCHER_END);
        }
        self.end(limits::LAUNCHER_END);
    }
}
