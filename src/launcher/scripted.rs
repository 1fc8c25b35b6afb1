//! A launcher without processes, for tests in virtual time and for programs that embed the tree.
//!
//! It records every call and answers by a script: by default a spawn succeeds, a stop signal ends the process at once, KILL
//! too. A test may also report by itself what happens to a process.

use std::collections::{BTreeMap, HashMap};
use std::io::{PipeWriter, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Recipient;

use super::exit_cause::ExitCause;
use super::{
    ExitStatus, GroupSignal, InstanceRecord, Launcher, LauncherNotice, ProcessCommand,
    ProcessIdentity, ReadyChannel, ReadyEnd, Report, SpawnError, SpawnOrder, TailOrder,
};
use crate::ids::{InstanceId, ProcessKey};
use crate::settings::policy::StopSignal;

/// The pid of the first process; the others count up from here.
pub const FIRST_PID: u32 = 1000;

/// A call that was made to the launcher.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// [`Launcher::subscribe`].
    Subscribe,
    /// [`Launcher::spawn`], with what was to be executed.
    Spawn(ProcessKey, ProcessCommand),
    /// [`Launcher::signal`].
    Signal(ProcessKey, GroupSignal),
    /// [`Launcher::sample`].
    Sample(ProcessKey),
    /// [`Launcher::tail`].
    Tail(TailOrder),
    /// [`Launcher::keep`].
    Keep(Box<InstanceRecord>),
    /// [`Launcher::forget`].
    Forget(InstanceId),
    /// [`Launcher::inventory`].
    Inventory,
    /// [`Launcher::remove_socket`].
    RemoveSocket(PathBuf),
    /// [`Launcher::end`].
    End,
}

/// How processes behave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// Spawns fail with this.
    pub fail_spawns: Option<SpawnError>,
    /// Spawns are not answered until the test calls [`ScriptedLauncher::answer_spawn`].
    pub hold_spawns: bool,
    /// Stop signals are without effect.
    pub ignore_stop: bool,
    /// KILL is without effect, as with a process that the kernel holds.
    pub ignore_kill: bool,
    /// Samples are not answered.
    pub ignore_sample: bool,
}

/// What [`Launcher::sample`] is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measure {
    /// CPU time so far.
    pub cpu_time: Duration,
    /// Output so far.
    pub output_bytes: u64,
    /// Resident memory.
    pub resident_bytes: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct ScriptedLauncher {
    /// A lock only because the trait asks for `Send + Sync`; tests use it from one thread.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    subscriber: Option<Recipient<Report>>,
    calls: Vec<Call>,
    script: Script,
    scripts: HashMap<InstanceId, Script>,
    measures: HashMap<InstanceId, Measure>,
    held: Vec<(ProcessKey, ReadyChannel)>,
    processes: BTreeMap<ProcessKey, Process>,
    records: BTreeMap<InstanceId, InstanceRecord>,
    log_lines: HashMap<PathBuf, Vec<String>>,
    spawned: u32,
}

#[derive(Debug)]
struct Process {
    identity: ProcessIdentity,
    ready: ChildEnd,
}

/// The child's end of a readiness channel.
#[derive(Debug)]
enum ChildEnd {
    None,
    Pipe(PipeWriter),
    Notify(UnixDatagram),
}

impl ScriptedLauncher {
    /// A launcher with the default script.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how all processes behave from now on that have no script of their own.
    pub fn set_script(&self, script: Script) {
        self.lock().script = script;
    }

    /// Sets how the processes of one instance behave from now on.
    pub fn set_script_of(&self, instance: &InstanceId, script: Script) {
        self.lock().scripts.insert(instance.clone(), script);
    }

    /// Sets what samples of one instance tell.
    pub fn set_measure(&self, instance: &InstanceId, measure: Measure) {
        self.lock().measures.insert(instance.clone(), measure);
    }

    /// Sets what a log holds.
    pub fn set_log(&self, path: PathBuf, lines: Vec<String>) {
        self.lock().log_lines.insert(path, lines);
    }

    /// Puts a record there, as if an earlier life of the tree had left it.
    pub fn set_record(&self, record: InstanceRecord) {
        self.lock().records.insert(record.instance.clone(), record);
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// The keys of all spawns ordered so far.
    pub fn spawns(&self) -> Vec<ProcessKey> {
        self.calls()
            .into_iter()
            .filter_map(|call| match call {
                Call::Spawn(key, _) => Some(key),
                _ => None,
            })
            .collect()
    }

    /// Processes that live.
    pub fn live(&self) -> Vec<ProcessKey> {
        self.lock().processes.keys().cloned().collect()
    }

    /// What is remembered of an instance.
    pub fn record(&self, instance: &InstanceId) -> Option<InstanceRecord> {
        self.lock().records.get(instance).cloned()
    }

    /// Answers a spawn that [`Script::hold_spawns`] held back. Does nothing where there is none.
    pub fn answer_spawn(&self, key: &ProcessKey, answer: Result<(), SpawnError>) {
        let mut inner = self.lock();
        let Some(place) = inner.held.iter().position(|(held, _)| held == key) else { return };
        let (key, channel) = inner.held.remove(place);
        match answer {
            Ok(()) => inner.begin(key, &channel),
            Err(error) => inner.report(Report::SpawnFailed { key, error }),
        }
    }

    /// A process ends. Does nothing where it does not live.
    pub fn exit(&self, key: &ProcessKey, status: ExitStatus, output: Vec<String>) {
        self.lock().exit(key, status, output);
    }

    /// A process ends at a limit. Does nothing where it does not live.
    pub fn exit_because(&self, key: &ProcessKey, status: ExitStatus, cause: ExitCause) {
        self.lock().exit_because(key, status, Some(cause), Vec::new());
    }

    /// A process says on its readiness channel that it is ready. Answers whether it could.
    pub fn say_ready(&self, key: &ProcessKey) -> bool {
        match self.lock().processes.get_mut(key).map(|process| &mut process.ready) {
            Some(ChildEnd::Pipe(pipe)) => pipe.write_all(b"\n").is_ok(),
            Some(ChildEnd::Notify(socket)) => socket.send(b"READY=1\n").is_ok(),
            Some(ChildEnd::None) | None => false,
        }
    }

    /// Sends any report to the subscriber.
    pub fn report(&self, report: Report) {
        self.lock().report(report);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn script_of(&self, instance: &InstanceId) -> &Script {
        self.scripts.get(instance).unwrap_or(&self.script)
    }

    fn report(&self, report: Report) {
        if let Some(subscriber) = &self.subscriber {
            subscriber.do_send(report);
        }
    }

    fn begin(&mut self, key: ProcessKey, channel: &ReadyChannel) {
        let (ready, child_end) = match open_channel(channel) {
            Ok(ends) => ends,
            Err(error) => {
                let program = "scripted".to_owned();
                let error = SpawnError::Transient { program, reason: error.to_string() };
                return self.report(Report::SpawnFailed { key, error });
            }
        };
        let identity = ProcessIdentity {
            pid: FIRST_PID + self.spawned,
            start_ticks: u64::from(self.spawned),
            boot_id: "scripted".into(),
        };
        self.spawned += 1;
        self.processes
            .insert(key.clone(), Process { identity: identity.clone(), ready: child_end });
        self.report(Report::Spawned { key, identity, ready });
    }

    fn exit(&mut self, key: &ProcessKey, status: ExitStatus, output: Vec<String>) {
        self.exit_because(key, status, None, output);
    }

    fn exit_because(
        &mut self,
        key: &ProcessKey,
        status: ExitStatus,
        cause: Option<ExitCause>,
        output: Vec<String>,
    ) {
        if self.processes.remove(key).is_some() {
            self.report(Report::Exited { key: key.clone(), status, cause, output });
        }
    }
}

fn open_channel(channel: &ReadyChannel) -> std::io::Result<(Option<ReadyEnd>, ChildEnd)> {
    Ok(match channel {
        ReadyChannel::None => (None, ChildEnd::None),
        ReadyChannel::Fd { .. } => {
            let (reader, writer) = std::io::pipe()?;
            (Some(ReadyEnd::Pipe(reader.into())), ChildEnd::Pipe(writer))
        }
        ReadyChannel::Notify { .. } => {
            let (reader, writer) = UnixDatagram::pair()?;
            reader.set_nonblocking(true)?;
            (Some(ReadyEnd::Notify(reader)), ChildEnd::Notify(writer))
        }
    })
}

impl Launcher for ScriptedLauncher {
    fn subscribe(&self, subscriber: Recipient<Report>) {
        let mut inner = self.lock();
        inner.calls.push(Call::Subscribe);
        inner.subscriber = Some(subscriber);
    }

    fn spawn(&self, order: SpawnOrder) {
        let mut inner = self.lock();
        let SpawnOrder { key, command, ready_channel, .. } = order;
        inner.calls.push(Call::Spawn(key.clone(), command));
        let script = inner.script_of(&key.instance).clone();
        if script.hold_spawns {
            inner.held.push((key, ready_channel));
        } else if let Some(error) = script.fail_spawns {
            inner.report(Report::SpawnFailed { key, error });
        } else {
            inner.begin(key, &ready_channel);
        }
    }

    fn signal(&self, key: &ProcessKey, signal: GroupSignal) {
        let mut inner = self.lock();
        inner.calls.push(Call::Signal(key.clone(), signal));
        let script = inner.script_of(&key.instance);
        let (ignored, number) = match signal {
            GroupSignal::Kill | GroupSignal::Stop(StopSignal::Kill) => (script.ignore_kill, 9),
            GroupSignal::Stop(stop) => (script.ignore_stop, number_of(stop)),
        };
        if !ignored {
            inner.exit(key, ExitStatus::Signal { number, core_dumped: false }, Vec::new());
        }
    }

    fn sample(&self, key: &ProcessKey) {
        let mut inner = self.lock();
        inner.calls.push(Call::Sample(key.clone()));
        let answers = !inner.script_of(&key.instance).ignore_sample;
        if answers && inner.processes.contains_key(key) {
            let measure = inner.measures.get(&key.instance).copied().unwrap_or_default();
            inner.report(Report::Sampled {
                key: key.clone(),
                cpu_time: measure.cpu_time,
                output_bytes: measure.output_bytes,
                resident_bytes: measure.resident_bytes,
            });
        }
    }

    fn tail(&self, order: TailOrder) {
        let mut inner = self.lock();
        inner.calls.push(Call::Tail(order.clone()));
        let lines = match inner.log_lines.get(&order.log_path) {
            Some(lines) => Ok(lines[lines.len().saturating_sub(order.lines)..].to_vec()),
            None => Err("No such file or directory".to_owned()),
        };
        let next_offset = order.after_offset.unwrap_or(0);
        inner.report(Report::Output { ticket: order.ticket, lines, next_offset });
    }

    fn keep(&self, record: InstanceRecord) {
        let mut inner = self.lock();
        inner.calls.push(Call::Keep(Box::new(record.clone())));
        inner.records.insert(record.instance.clone(), record);
    }

    fn forget(&self, instance: &InstanceId) {
        let mut inner = self.lock();
        inner.calls.push(Call::Forget(instance.clone()));
        inner.records.remove(instance);
    }

    fn inventory(&self) {
        let mut inner = self.lock();
        inner.calls.push(Call::Inventory);
        let processes = inner
            .processes
            .iter()
            .map(|(key, process)| (key.clone(), process.identity.clone()))
            .collect();
        let records = inner.records.values().cloned().collect();
        inner.report(Report::Inventory { processes, records, ready: Vec::new() });
    }

    fn remove_socket(&self, path: PathBuf) {
        self.lock().calls.push(Call::RemoveSocket(path));
    }

    fn tell_notices(&self, _: Recipient<LauncherNotice>) {}

    fn let_go(&self, limit: Duration) {
        self.end(limit);
    }

    fn end(&self, _limit: Duration) -> usize {
        let mut inner = self.lock();
        inner.calls.push(Call::End);
        for key in inner.processes.keys().cloned().collect::<Vec<_>>() {
            if !inner.script_of(&key.instance).ignore_kill {
                let killed = ExitStatus::Signal { number: 9, core_dumped: false };
                inner.exit(&key, killed, Vec::new());
            }
        }
        inner.processes.len()
    }
}

fn number_of(signal: StopSignal) -> i32 {
    use signal_hook::consts;
    match signal {
        StopSignal::Term => consts::SIGTERM,
        StopSignal::Int => consts::SIGINT,
        StopSignal::Quit => consts::SIGQUIT,
        StopSignal::Hup => consts::SIGHUP,
        StopSignal::Usr1 => consts::SIGUSR1,
        StopSignal::Usr2 => consts::SIGUSR2,
        StopSignal::Kill => 9,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::launcher::testing::{key, sleeping_order};

    fn fd_order(model: &str) -> SpawnOrder {
        let ready_channel = ReadyChannel::Fd { number: 3 };
        SpawnOrder { ready_channel, ..sleeping_order(model, 1) }
    }

    #[test]
    fn stubborn_processes_live_until_the_test_ends_them() {
        let launcher = ScriptedLauncher::new();
        launcher.set_script(Script { ignore_stop: true, ignore_kill: true, ..Script::default() });
        launcher.spawn(sleeping_order("a", 1));
        launcher.signal(&key("a", 1), GroupSignal::Stop(StopSignal::Term));
        launcher.signal(&key("a", 1), GroupSignal::Kill);
        assert_eq!(launcher.live(), [key("a", 1)]);
        assert_eq!(launcher.end(Duration::ZERO), 1);
        launcher.exit(&key("a", 1), ExitStatus::Code(0), Vec::new());
        assert_eq!(launcher.end(Duration::ZERO), 0);
    }

    #[test]
    fn readiness_is_said_on_a_real_channel() {
        let (ready, child_end) = open_channel(&ReadyChannel::Fd { number: 3 }).unwrap();
        let launcher = ScriptedLauncher::new();
        launcher.spawn(fd_order("a"));
        if let Some(process) = launcher.lock().processes.get_mut(&key("a", 1)) {
            process.ready = child_end;
        }
        assert!(launcher.say_ready(&key("a", 1)));
        assert!(!launcher.say_ready(&key("b", 1)), "it does not live");
        let Some(ReadyEnd::Pipe(pipe)) = ready else { panic!("a pipe was asked for") };
        launcher.exit(&key("a", 1), ExitStatus::Code(0), Vec::new());
        let mut said = String::new();
        std::fs::File::from(pipe).read_to_string(&mut said).unwrap();
        assert_eq!(said, "\n", "and the channel closes with the process");
    }
}
