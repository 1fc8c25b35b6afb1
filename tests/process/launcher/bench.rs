//! A launcher in a private folder, with an ear for its reports.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::prelude::*;
use symphony::clock::Clock;
use symphony::ids::{Generation, InstanceId, ModelName, ProcessKey};
use symphony::launcher::exit_cause::ExitCause;
use symphony::launcher::local::{LocalLauncher, LocalOptions};
use symphony::launcher::{
    ExitStatus, Launcher, LauncherNotice, ProcessCommand, ReadyChannel, ReadyEnd, Report,
    SpawnError, SpawnOrder,
};
use symphony::settings::policy::{LogFilePolicy, ResourceLimits};

/// Far more than any machine needs: only a fault takes that long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Passes reports and notices to the test's thread.
struct Ear(Sender<Report>, Sender<LauncherNotice>);

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<Report> for Ear {
    type Result = ();
    fn handle(&mut self, report: Report, _: &mut Self::Context) {
        // the test may be over
        let _ = self.0.send(report);
    }
}

impl Handler<LauncherNotice> for Ear {
    type Result = ();
    fn handle(&mut self, notice: LauncherNotice, _: &mut Self::Context) {
        let _ = self.1.send(notice);
    }
}

/// A launcher and its reports. Dropping it leaves nothing behind.
pub struct Bench {
    pub launcher: LocalLauncher,
    pub folder: tempfile::TempDir,
    pub notices: Receiver<LauncherNotice>,
    reports: Receiver<Report>,
    unread: Mutex<VecDeque<Report>>,
    system: System,
    thread: Option<JoinHandle<()>>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(LocalOptions::default())
    }

    pub fn with(options: LocalOptions) -> Self {
        let launcher = LocalLauncher::start(options).expect("the launcher starts");
        let (sender, reports) = channel();
        let (told, notices) = channel();
        let (ready, wait) = channel();
        let thread = std::thread::spawn(move || {
            let runner = System::new();
            runner.block_on(async {
                let ear = Ear(sender, told).start();
                let ears = (ear.clone().recipient(), ear.recipient());
                ready.send((System::current(), ears)).expect("the test waits");
            });
            runner.run().expect("the system ends well");
        });
        let (system, (ear, other_ear)) = wait.recv().expect("the system starts");
        launcher.subscribe(ear);
        launcher.tell_notices(other_ear);
        let folder = tempfile::tempdir().expect("a private folder");
        let unread = Mutex::default();
        Self { launcher, folder, notices, reports, unread, system, thread: Some(thread) }
    }

    /// An order for `model`'s first process.
    pub fn order(&self, model: &str, program: &str, args: &[&str]) -> SpawnOrder {
        let name = ModelName::try_new(model).expect("a valid name");
        let instance = InstanceId::of_model(&name);
        SpawnOrder {
            log_path: self.folder.path().join("logs").join(format!("{instance}.log")),
            key: ProcessKey { instance, generation: Generation(1) },
            command: ProcessCommand {
                program: program.into(),
                args: args.iter().map(|arg| (*arg).to_owned()).collect(),
                env: Default::default(),
                env_allow: None,
                working_dir: None,
            },
            log: LogFilePolicy::default(),
            label: model.to_owned(),
            limits: ResourceLimits::default(),
            ready_channel: ReadyChannel::None,
            socket_path: None,
            shim: Some(PathBuf::from(env!("CARGO_BIN_EXE_symphony"))),
        }
    }

    /// An order for a shell with this script.
    pub fn shell(&self, model: &str, script: &str) -> SpawnOrder {
        self.order(model, "/bin/sh", &["-c", script])
    }

    /// Orders a start and waits for the answer.
    pub fn try_start(&self, order: SpawnOrder) -> Result<Process, SpawnError> {
        let (key, log_path) = (order.key.clone(), order.log_path.clone());
        self.launcher.spawn(order);
        let (pid, ready) = self.spawn_answer(&key)?;
        Ok(Process { key, pid, ready, log_path })
    }

    /// Starts a process that must start.
    pub fn start(&self, order: SpawnOrder) -> Process {
        self.try_start(order).unwrap_or_else(|error| panic!("it must start: {error}"))
    }

    /// Orders a start that must fail.
    pub fn refused(&self, order: SpawnOrder) -> SpawnError {
        match self.try_start(order) {
            Ok(process) => panic!("{} must not start, but has pid {}", process.key, process.pid),
            Err(error) => error,
        }
    }

    fn spawn_answer(&self, wanted: &ProcessKey) -> Result<(u32, Option<ReadyEnd>), SpawnError> {
        let report = self.expect("an answer to a spawn", |report| {
            matches!(report, Report::Spawned { key, .. } | Report::SpawnFailed { key, .. } if key == wanted)
        });
        match report {
            Report::Spawned { identity, ready, .. } => Ok((identity.pid, ready)),
            Report::SpawnFailed { error, .. } => Err(error),
            other => unreachable!("{other:?}"),
        }
    }

    /// Waits for the end of a process.
    pub fn exit_of(&self, wanted: &ProcessKey) -> (ExitStatus, Vec<String>) {
        let (status, _, output) = self.end_of(wanted);
        (status, output)
    }

    /// Waits for the end of a process, and tells what is known of it.
    pub fn end_of(&self, wanted: &ProcessKey) -> (ExitStatus, Option<ExitCause>, Vec<String>) {
        let report = self.expect(
            "an exit",
            |report| matches!(report, Report::Exited { key, .. } if key == wanted),
        );
        match report {
            Report::Exited { status, cause, output, .. } => (status, cause, output),
            other => unreachable!("{other:?}"),
        }
    }

    /// Starts a process and waits for its end.
    pub fn run(&self, order: SpawnOrder) -> (ExitStatus, Vec<String>) {
        let process = self.start(order);
        self.exit_of(&process.key)
    }

    /// Starts a process and waits for its end; tells why it ended.
    pub fn run_to_its_cause(&self, order: SpawnOrder) -> Option<ExitCause> {
        let process = self.start(order);
        self.end_of(&process.key).1
    }

    /// CPU time, output and memory of a process.
    pub fn sample(&self, wanted: &ProcessKey) -> (Duration, u64, u64) {
        self.launcher.sample(wanted);
        let report = self.expect(
            "a sample",
            |report| matches!(report, Report::Sampled { key, .. } if key == wanted),
        );
        match report {
            Report::Sampled { cpu_time, output_bytes, resident_bytes, .. } => {
                (cpu_time, output_bytes, resident_bytes)
            }
            other => unreachable!("{other:?}"),
        }
    }

    /// Keys of all that lives, as the launcher knows it; a full round through its thread.
    pub fn live(&self) -> Vec<ProcessKey> {
        self.launcher.inventory();
        let report =
            self.expect("an inventory", |report| matches!(report, Report::Inventory { .. }));
        match report {
            Report::Inventory { processes, .. } => {
                processes.into_iter().map(|(key, _)| key).collect()
            }
            other => unreachable!("{other:?}"),
        }
    }

    /// Waits for a notice of this kind, and tells its cause; others before it are of no interest.
    pub fn notice(&self, kind: &str) -> String {
        loop {
            match self.notices.recv_timeout(PATIENCE) {
                Ok(notice) if notice.kind == kind => return notice.cause,
                Ok(_) => {}
                Err(error) => panic!("no notice {kind} came ({error})"),
            }
        }
    }

    /// The first report that fits; others stay for later questions.
    pub fn expect(&self, what: &str, fits: impl Fn(&Report) -> bool) -> Report {
        let mut unread = self.unread.lock().expect("one test, one thread");
        if let Some(place) = unread.iter().position(&fits) {
            return unread.remove(place).expect("it was found there");
        }
        loop {
            match self.reports.recv_timeout(PATIENCE) {
                Ok(report) if fits(&report) => return report,
                Ok(report) => unread.push_back(report),
                Err(error) => panic!("no {what} came ({error}), but {unread:?}"),
            }
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.launcher.end(PATIENCE);
        self.system.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the system's thread panicked");
        }
    }
}

/// A process that was started.
pub struct Process {
    pub key: ProcessKey,
    pub pid: u32,
    pub ready: Option<ReadyEnd>,
    pub log_path: PathBuf,
}

impl Process {
    /// Sends a signal from outside, as an administrator or the kernel would.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid as i32).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it lives");
    }

    /// Waits until it has written a line, and gives its first.
    pub fn first_line(&self) -> String {
        let mut line = None;
        wait_until("a line of output", || {
            let text = std::fs::read_to_string(&self.log_path).unwrap_or_default();
            line = text.split_once('\n').map(|(first, _)| first.to_owned());
            line.is_some()
        });
        line.expect("waited for")
    }
}

/// Polls a condition up to a generous limit.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !condition() {
        assert!(clock.now().since_origin() < PATIENCE, "waited too long for {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Whether a process runs: a zombie is dead, only its reaper is late.
pub fn runs(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The letter of a process's state; `None` when there is no such process.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// What the service's own log received so far.
pub fn service_log() -> String {
    LOG.get_or_init(install_log).lock().expect("no writer panics").clone()
}

/// Catches the service's own log from now on.
pub fn catch_service_log() {
    LOG.get_or_init(install_log);
}

static LOG: OnceLock<Mutex<String>> = OnceLock::new();

struct LogWriter;

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(log) = LOG.get() {
            log.lock().expect("no writer panics").push_str(&String::from_utf8_lossy(bytes));
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn install_log() -> Mutex<String> {
    tracing_subscriber::fmt().with_ansi(false).with_writer(|| LogWriter).init();
    Mutex::default()
}
