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
mod lines;
mod log_file;
mod log_read;
mod machine;
mod orphans;
mod outlive;
mod output;
mod procfs;
mod program;
mod reporter;
mod shim;
mod socket_file;
mod spawner;
mod start;

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::Recipient;

use self::cgroup::Cgroups;
use self::machine::Machine;
use self::output::{OutputHandle, OutputOrder, OutputThread};
use self::spawner::{Order, Spawner, SpawnerHandle};
use super::{
    GroupSignal, InstanceRecord, Launcher, ProcessCommand, Report, SpawnError, SpawnOrder,
    TailOrder,
};
use crate::ids::{InstanceId, ProcessKey};
use crate::limits;
use crate::settings::policy::CgroupChoice;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOptions {
    /// Whether backends get cgroups of their own. They are entered by the exec shim, so it must be there.
    pub cgroup: CgroupChoice,
    /// Whether the output of backends is also written to the service's own log, line by line (target `symphony-backend`).
    pub report_lines: bool,
    /// The heart that started this process, which stands in the same cgroup.
    pub heart_pid: Option<u32>,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self { cgroup: CgroupChoice::Off, report_lines: true, heart_pid: None }
    }
}

/// Starts and watches processes of this machine, on two threads of its own.
///
/// Dropping it kills what is left, as [`Launcher::end`] does.
#[derive(Debug)]
pub struct LocalLauncher {
    spawner: SpawnerHandle,
    output: OutputHandle,
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
    /// When threads or descriptors cannot be had, exits of children could not be noticed, or a configured cgroup cannot be used.
    pub fn start(options: LocalOptions) -> io::Result<Self> {
        let machine = Machine::prepare()?;
        let cgroups =
            Cgroups::prepare(&options.cgroup, options.heart_pid).map_err(io::Error::other)?;
        if cgroups.is_used() || options.cgroup == CgroupChoice::Auto {
            tracing::info!(target: "symphony-mgmt", "{}", cgroups.describe());
        }
        let (output_thread, output) = OutputThread::prepare(options.report_lines)?;
        let (spawner_thread, spawner) = Spawner::prepare(machine, cgroups, output.clone())?;
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
        Ok(Self { spawner, output, threads: Mutex::new(Some(threads)) })
    }

    /// Makes both threads panic, as [`CrashForTest`](crate::supervision::crash::CrashForTest) does an actor.
    #[doc(hidden)]
    pub fn crash_for_test(&self) {
        self.order(Order::Crash);
        self.output.send(OutputOrder::Crash);
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

    /// Answers how many processes were not gone when `limit` was over (the kernel holds them); 0 is the rule.
    fn end(&self, limit: Duration) -> usize {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Threads { spawner, output }) = threads else { return 0 };
        self.spawner.refuse_spawns();
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        self.order(Order::End { limit, done });
        let left = wait.recv_timeout(limit + limits::LAUNCHER_END_MARGIN);
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
}

impl Drop for LocalLauncher {
    fn drop(&mut self) {
        self.end(limits::LAUNCHER_END);
    }
}
