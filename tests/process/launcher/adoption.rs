//! A launcher after another one: what it takes over, and what becomes of what is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use symphony::heart::channel::{Channel, Packet};
use symphony::heart::link::{Connection, HeartLink};
use symphony::heart::protocol::{Ended, FromCore, FromHeart, Welcome};
use symphony::ids::{Generation, InstanceId, ModelName, ProcessKey};
use symphony::launcher::local::{
    HeartAccess, KnownInstance, LocalLauncher, LocalOptions, StateOptions,
};
use symphony::launcher::{
    ExitStatus, GroupSignal, InstanceRecord, Launcher, ReadyChannel, ReadyEnd, Report, TurnRecord,
};
use symphony::settings::policy::StopSignal;
use symphony::state::files::ServiceFile;

use crate::bench::{Bench, PATIENCE, runs, wait_until};

fn instance(model: &str) -> InstanceId {
    InstanceId::of_model(&ModelName::try_new(model).unwrap())
}

/// The one model of most of these tests.
fn key() -> ProcessKey {
    ProcessKey { instance: instance("a"), generation: Generation(1) }
}

/// A service's folder, over its launchers.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn state(&self) -> std::path::PathBuf {
        self.0.path().join("state")
    }

    fn options(&self) -> StateOptions {
        let known = KnownInstance {
            model: "a".into(),
            label: "a".into(),
            log_path: self.0.path().join("a.log"),
            log: Default::default(),
            limits: Default::default(),
        };
        StateOptions {
            runtime_dir: self.0.path().to_owned(),
            known: BTreeMap::from([(instance("a"), known)]),
            awaited: BTreeSet::new(),
            last_event: Arc::default(),
            heart: None,
        }
    }

    fn bench(&self) -> Bench {
        bench(self.options())
    }

    /// With a heart that is played by the test.
    fn bench_with_heart(&self) -> (Bench, Channel) {
        let (heart, link) = linked();
        let access = HeartAccess { link, pid: 1, held: Default::default() };
        (bench(StateOptions { heart: Some(access), ..self.options() }), heart)
    }

    /// The instances that are written down. Only looks: whoever opens the folder tidies it up.
    fn instances(&self) -> usize {
        let entries = std::fs::read_dir(self.state()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.ends_with(".json") && name != "service.json").count()
    }

    /// What the service is called.
    fn service(&self) -> Option<ServiceFile> {
        let bytes = std::fs::read(self.state().join("service.json")).ok()?;
        Some(symphony::state::envelope::open(&bytes).unwrap())
    }

    /// A process that looks as if a launcher before had started it, and whose parent is not this test.
    fn orphan(&self, script: &str) -> u32 {
        let service = self.service().expect("a service").id;
        let pid_file = self.0.path().join("pid");
        // the session leader leads its group, too; whoever starts it ends at once
        let line = format!("setsid sh -c 'echo $$ >{}; {script}' &", pid_file.display());
        let started = Command::new("sh")
            .args(["-c", &line])
            .env("SYMPHONY_SERVICE", service)
            .env("SYMPHONY_INSTANCE_ID", instance("a").as_str())
            .env("SYMPHONY_GENERATION", "1")
            .env("SYMPHONY_ENDPOINT", "ipc:///nowhere/socket")
            .stdout(std::fs::File::create(self.0.path().join("a.log")).unwrap())
            .stderr(std::process::Stdio::null())
            .status();
        assert!(started.unwrap().success());
        let mut pid = None;
        wait_until("the orphan", || {
            let text = std::fs::read_to_string(&pid_file).unwrap_or_default();
            pid = text.trim_end().parse().ok().filter(|_| text.ends_with('\n'));
            pid.is_some()
        });
        pid.unwrap()
    }

    /// What an orphan started and told the pid of.
    fn helper(&self) -> u32 {
        let mut pid = None;
        wait_until("the pid of a helper", || {
            let text = std::fs::read_to_string(self.0.path().join("a.log")).unwrap();
            pid = text.trim_end().parse().ok().filter(|_| text.ends_with('\n'));
            pid.is_some()
        });
        pid.unwrap()
    }
}

fn bench(state: StateOptions) -> Bench {
    Bench::with(LocalOptions { state: Some(state), ..LocalOptions::default() })
}

fn linked() -> (Channel, HeartLink) {
    let (core, heart) = Channel::pair().unwrap();
    heart.tell(&FromHeart::Welcome(Welcome::default()), None).unwrap();
    let hello = FromCore::Hello { version: "1".into(), pid: 1, state_version: 1 };
    let link = Connection::over(core, &hello).unwrap().begin(|| {}).unwrap();
    heart.wait_at_most(Some(PATIENCE)).unwrap();
    (heart, link)
}

/// The next thing that is told to the heart, with the descriptor that came along.
fn heard(heart: &Channel) -> (FromCore, Option<std::os::fd::OwnedFd>) {
    match heart.hear().unwrap() {
        Packet::Told(FromCore::Hello { .. }, _) => heard(heart),
        Packet::Told(message, along) => (message, along),
        other => panic!("{other:?}"),
    }
}

fn record(model: &str, state: &str) -> InstanceRecord {
    InstanceRecord {
        instance: instance(model),
        model: model.into(),
        generation: Generation(1),
        endpoint: "ipc:///nowhere/socket".into(),
        state: state.into(),
        wanted: true,
        restarts: 3,
        consecutive_failures: 1,
        park_level: 0,
        window: Vec::new(),
        wait_until: None,
        started_at: None,
        protocols: vec!["ping".into()],
        reason: None,
        last_exit: None,
        turn: TurnRecord::default(),
        order: None,
    }
}

type Inventory = (Vec<(ProcessKey, u32)>, Vec<InstanceRecord>, Vec<(ProcessKey, ReadyEnd)>);

fn inventory(bench: &Bench) -> Inventory {
    bench.launcher.inventory();
    match bench.expect("an inventory", |report| matches!(report, Report::Inventory { .. })) {
        Report::Inventory { processes, records, ready } => {
            let processes = processes.into_iter().map(|(key, identity)| (key, identity.pid));
            (processes.collect(), records, ready)
        }
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn who_lets_go_leaves_everything_to_the_next() {
    let place = Place::new();
    let first = place.bench();
    let process =
        first.start(first.shell("a", "echo one; read line </dev/null; sleep 600; exit 7"));
    assert_eq!(process.first_line(), "one");
    first.launcher.keep(record("a", "ready"));
    first.launcher.keep(record("b", "parked"));
    first.launcher.let_go(PATIENCE);
    assert!(runs(process.pid));

    let next = place.bench();
    assert!(next.launcher.continuation().is_some());
    assert!(next.notice("adopted").contains(&format!("pid {} ", process.pid)));
    let (processes, records, _) = inventory(&next);
    assert_eq!(processes, [(process.key.clone(), process.pid)]);
    let models: Vec<_> =
        records.iter().map(|record| (record.model.as_str(), record.restarts)).collect();
    assert_eq!(models, [("a", 3), ("b", 3)]);
    let started = records[0].started_at.expect("known from the process");
    assert!(started.at > Default::default());
    // a second process of it is refused, signals reach it, and its end is told with its last words
    assert!(next.refused(next.shell("a", "true")).to_string().contains("not gone yet"));
    process.signal(Signal::TERM);
    let (status, output) = next.exit_of(&process.key);
    assert_eq!(status, ExitStatus::Signal { number: 15, core_dumped: false });
    assert_eq!(output, ["one"]);
    assert_eq!(next.launcher.end(PATIENCE), 0);
    assert!(!place.state().exists(), "an orderly end leaves nothing");
}

#[test]
fn one_launcher_at_a_time_uses_a_folder() {
    let place = Place::new();
    let first = place.bench();
    let process = first.start(first.order("a", "sleep", &["600"]));
    let options = LocalOptions { state: Some(place.options()), ..LocalOptions::default() };
    let refused = LocalLauncher::start(options).unwrap_err().to_string();
    assert!(refused.contains("another service uses it"), "{refused}");
    assert!(runs(process.pid));
    assert_eq!(first.live(), [process.key]);
}

#[test]
fn a_thousand_instances_are_written_down_and_read_again() {
    let place = Place::new();
    let first = place.bench();
    for round in 0..3 {
        for number in 0..1000 {
            let restarts = round;
            first
                .launcher
                .keep(InstanceRecord { restarts, ..record(&format!("m{number}"), "parked") });
        }
    }
    first.launcher.let_go(PATIENCE);
    let files = std::fs::read_dir(place.state()).unwrap().count();
    assert_eq!(files, 1001, "and one of the service");
    let next = place.bench();
    let (_, records, _) = inventory(&next);
    assert_eq!(records.len(), 1000);
    assert!(records.iter().all(|record| record.restarts == 2), "the last word counts");
    assert_eq!(next.launcher.end(PATIENCE), 0);
    assert!(!place.state().exists());
}

#[test]
fn a_lost_folder_is_made_again_with_all_that_is_in_it() {
    let place = Place::new();
    let bench = place.bench();
    bench.launcher.keep(record("a", "parked"));
    wait_until("the first record", || place.instances() == 1);
    std::fs::remove_dir_all(place.state()).unwrap();
    bench.launcher.keep(record("b", "parked"));
    wait_until("both records", || place.instances() == 2);
    wait_until("the file of the service", || place.service().is_some());
}

#[test]
fn what_cannot_be_written_is_told_once_delays_nothing_and_is_written_when_it_can_be() {
    let place = Place::new();
    let bench = place.bench();
    bench.launcher.keep(record("a", "parked"));
    wait_until("the first record", || place.instances() == 1);
    // no folder can be made where a file is
    std::fs::rename(place.state(), place.0.path().join("moved")).unwrap();
    std::fs::write(place.state(), "in the way").unwrap();
    bench.launcher.keep(record("b", "parked"));
    assert!(bench.notice("state_unsaved").contains("state"));
    // starts and exits go on as ever
    assert_eq!(bench.run(bench.shell("c", "exit 3")).0, ExitStatus::Code(3));
    bench.launcher.keep(record("d", "parked"));
    std::fs::remove_file(place.state()).unwrap();
    // the next notice: it was told once
    let next = bench.notices.recv_timeout(PATIENCE).unwrap();
    assert_eq!(next.kind, "state_saved", "{next:?}");
    wait_until("all records", || place.instances() == 3);
}

#[test]
fn a_service_that_was_never_there_is_no_continuation() {
    let place = Place::new();
    let bench = place.bench();
    assert!(bench.launcher.continuation().is_none());
    assert!(bench.notices.try_recv().is_err());
    drop(bench);
    assert!(!place.state().exists());
}

#[test]
fn an_end_of_no_child_of_ours_is_told_as_far_as_it_is_known_and_takes_the_group_along() {
    let place = Place::new();
    place.bench().launcher.let_go(PATIENCE);
    let pid = place.orphan("sleep 600 & echo $! >&1; wait");
    let bench = place.bench();
    assert!(bench.notice("adopted").contains(&format!("pid {pid} ")));
    let (processes, records, _) = inventory(&bench);
    assert_eq!(processes, [(key(), pid)]);
    assert_eq!((records[0].state.as_str(), records[0].model.as_str()), ("starting", "a"));
    assert_eq!(records[0].endpoint, "ipc:///nowhere/socket");
    let helper = place.helper();
    assert!(runs(helper));
    let leader = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(leader, Signal::KILL).unwrap();
    // the status stands in its zombie, for as long as whoever inherited it leaves it there
    let status = bench.exit_of(&key()).0;
    let killed = ExitStatus::Signal { number: 9, core_dumped: false };
    assert!([ExitStatus::Unknown, killed].contains(&status), "{status:?}");
    wait_until("the end of the helper", || !runs(helper));
    assert_eq!(bench.live(), []);
}

#[test]
fn signals_reach_the_group_of_a_process_that_is_no_child() {
    let place = Place::new();
    place.bench().launcher.let_go(PATIENCE);
    let pid = place.orphan("sleep 600 & echo $! >&1; wait");
    let bench = place.bench();
    assert_eq!(inventory(&bench).0, [(key(), pid)]);
    let helper = place.helper();
    bench.launcher.signal(&key(), GroupSignal::Stop(StopSignal::Term));
    bench.exit_of(&key());
    wait_until("the end of the helper", || !runs(helper));
    // a signal that comes late hits nobody
    bench.launcher.signal(&key(), GroupSignal::Kill);
    assert_eq!(bench.live(), []);
}

#[test]
fn the_heart_is_asked_how_a_process_ended_that_it_inherited() {
    let place = Place::new();
    place.bench().launcher.let_go(PATIENCE);
    let pid = place.orphan("exec sleep 600");
    let (bench, heart) = place.bench_with_heart();
    assert_eq!(inventory(&bench).0, [(key(), pid)]);
    let pid_of = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid_of, Signal::KILL).unwrap();
    let (FromCore::Collect { pid: asked, start_ticks }, _) = heard(&heart) else {
        panic!("not asked")
    };
    assert_eq!(asked, pid);
    assert_eq!(bench.live(), [key()], "no successor is started before it is known");
    let ended = Some(Ended::Code(3));
    heart.tell(&FromHeart::Collected { pid, start_ticks, ended }, None).unwrap();
    assert_eq!(bench.exit_of(&key()).0, ExitStatus::Code(3));
}

#[test]
fn a_heart_that_says_nothing_holds_nothing_up() {
    let place = Place::new();
    place.bench().launcher.let_go(PATIENCE);
    let pid = place.orphan("exec sleep 600");
    let (bench, _heart) = place.bench_with_heart();
    assert_eq!(inventory(&bench).0, [(key(), pid)]);
    let pid_of = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid_of, Signal::KILL).unwrap();
    // not by the heart; its zombie, where it is still there, tells it
    let killed = ExitStatus::Signal { number: 9, core_dumped: false };
    assert!([ExitStatus::Unknown, killed].contains(&bench.exit_of(&key()).0));
}

#[test]
fn the_channel_of_a_start_is_held_by_the_heart_until_it_is_ready() {
    let place = Place::new();
    let (first, heart) = place.bench_with_heart();
    let mut order = first.shell("a", "sleep 600 & wait; echo >&7; sleep 600");
    order.ready_channel = ReadyChannel::Fd { number: 7 };
    let process = first.start(order);
    let (held, descriptor) = heard(&heart);
    let name = format!("ready/{}/1", process.key.instance);
    assert_eq!(held, FromCore::Hold { name: name.clone() });
    first.launcher.keep(record("a", "starting"));
    drop(process.ready);
    first.launcher.let_go(PATIENCE);

    // the next core gets it back, and reads what is said from then on
    let (second_heart, link) = linked();
    let held = [(name.clone(), descriptor.expect("it came along"))].into();
    let access = HeartAccess { link, pid: 1, held };
    let next = bench(StateOptions { heart: Some(access), ..place.options() });
    let (_, _, ready) = inventory(&next);
    let [(of, ReadyEnd::Pipe(pipe))] = &ready[..] else { panic!("{ready:?}") };
    assert_eq!(*of, process.key);
    let children = format!("/proc/{0}/task/{0}/children", process.pid);
    let mut sleeper = None;
    wait_until("what it waits for", || {
        let pids = std::fs::read_to_string(&children).unwrap();
        sleeper = pids.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
        sleeper.is_some()
    });
    let sleeper = sleeper.unwrap();
    rustix::process::kill_process(sleeper, Signal::KILL).unwrap();
    let mut sign = [0];
    let mut reading = std::fs::File::from(pipe.try_clone().unwrap());
    std::io::Read::read_exact(&mut reading, &mut sign).unwrap();
    assert_eq!(sign, *b"\n");
    // this heart has it, too, until the record says that it is ready
    assert_eq!(heard(&second_heart).0, FromCore::Hold { name: name.clone() });
    next.launcher.keep(record("a", "ready"));
    assert_eq!(heard(&second_heart).0, FromCore::Release { name });
    assert!(inventory(&next).2.is_empty());
    assert!(pipe.as_fd().try_clone_to_owned().is_ok());
}

#[test]
fn what_was_forgotten_and_still_lived_is_ended_by_the_next() {
    let place = Place::new();
    let first = place.bench();
    let process = first.start(first.order("a", "sleep", &["600"]));
    first.launcher.forget(&process.key.instance);
    first.launcher.let_go(PATIENCE);
    let next = place.bench();
    assert!(next.notice("leftover_ended").contains(&format!("pid {} ", process.pid)));
    wait_until("its end", || !runs(process.pid));
}

#[test]
fn what_starts_with_the_service_is_loaded_once() {
    let place = Place::new();
    let with = |models: &[&str]| {
        let awaited = models.iter().map(|model| instance(model)).collect();
        bench(StateOptions { awaited, ..place.options() })
    };
    let first = with(&["a", "b", "gone"]);
    // taken in hand, and forgotten again: somebody unloaded it
    first.launcher.keep(record("a", "starting"));
    first.launcher.forget(&instance("a"));
    first.launcher.let_go(PATIENCE);
    // this one was killed before it came to that model, and another one is new
    let next = with(&["a", "b", "new"]);
    let awaited = &next.launcher.continuation().expect("it goes on").awaited;
    assert_eq!(*awaited, BTreeSet::from([instance("b"), instance("new")]));
}

#[test]
fn a_folder_that_others_may_write_in_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    std::fs::create_dir(place.state()).unwrap();
    std::fs::set_permissions(place.state(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let options = LocalOptions { state: Some(place.options()), ..LocalOptions::default() };
    let refused = LocalLauncher::start(options).unwrap_err().to_string();
    assert!(refused.contains(&place.state().display().to_string()), "{refused}");
}
