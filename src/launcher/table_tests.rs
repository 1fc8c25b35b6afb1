//! The process table before a scripted launcher, in virtual time.

use std::time::Duration;

use actix::{Addr, Message};

use super::*;
use crate::launcher::ExitStatus;
use crate::launcher::scripted::{Call, Script, ScriptedLauncher};
use crate::launcher::testing::{key, sleeping_order};
use crate::settings::policy::StopSignal;

/// Takes the reports of one instance.
#[derive(Default)]
struct Listener {
    heard: Vec<String>,
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Report> for Listener {
    type Result = ();
    fn handle(&mut self, report: Report, _: &mut Self::Context) {
        self.heard.push(told(&report));
    }
}

#[derive(Message)]
#[rtype(result = "Vec<String>")]
struct Heard;

impl Handler<Heard> for Listener {
    type Result = Vec<String>;
    fn handle(&mut self, _: Heard, _: &mut Self::Context) -> Vec<String> {
        self.heard.clone()
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

impl Handler<Crash> for Listener {
    type Result = ();
    fn handle(&mut self, _: Crash, ctx: &mut Self::Context) {
        actix::ActorContext::terminate(ctx);
    }
}

fn told(report: &Report) -> String {
    match report {
        Report::Spawned { key, .. } => format!("spawned {}", key.generation),
        Report::SpawnFailed { key, error } => format!("failed {}: {error}", key.generation),
        Report::Exited { key, status, .. } => format!("exited {}: {status}", key.generation),
        other => format!("{other:?}"),
    }
}

struct Bench {
    launcher: Arc<ScriptedLauncher>,
    table: Addr<ProcessTable>,
}

impl Bench {
    fn new(spawns_at_once: usize) -> Self {
        let launcher = Arc::new(ScriptedLauncher::new());
        let table = ProcessTable::new(launcher.clone(), spawns_at_once).start();
        Self { launcher, table }
    }

    async fn attach(&self, model: &str) -> (Addr<Listener>, Attached) {
        let listener = Listener::default().start();
        let attach =
            Attach { instance: key(model, 1).instance, reports: listener.clone().recipient() };
        (listener, self.table.send(attach).await.unwrap())
    }

    async fn spawn(&self, model: &str, generation: u64) {
        self.table.send(Spawn(sleeping_order(model, generation))).await.unwrap();
        self.settle().await;
    }

    async fn live(&self) -> Vec<ProcessKey> {
        let inventory = self.table.send(ReadInventory).await.unwrap();
        inventory.live.into_iter().map(|(key, _)| key).collect()
    }

    /// All that was sent so far is handled: the mailboxes are empty when a question comes back twice.
    async fn settle(&self) {
        for _ in 0..2 {
            self.table.send(ReadInventory).await.unwrap();
        }
    }
}

async fn heard(listener: &Addr<Listener>) -> Vec<String> {
    listener.send(Heard).await.unwrap()
}

/// Runs a test on paused time.
fn in_virtual_time(test: impl Future<Output = ()>) {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    actix::System::with_tokio_rt(runtime).block_on(test);
}

#[test]
fn reports_reach_the_attached_actor() {
    in_virtual_time(async {
        let bench = Bench::new(4);
        let (listener, attached) = bench.attach("a").await;
        assert!(attached.record.is_none() && attached.live.is_none());
        assert!(attached.missed.is_empty());
        bench.spawn("a", 1).await;
        let signal = GroupSignal::Stop(StopSignal::Term);
        bench.table.send(Signal { key: key("a", 1), signal }).await.unwrap();
        bench.settle().await;
        assert_eq!(heard(&listener).await, ["spawned 1", "exited 1: signal 15"]);
    });
}

#[test]
fn reports_for_a_dead_actor_wait_for_its_successor() {
    in_virtual_time(async {
        let bench = Bench::new(4);
        let (listener, _) = bench.attach("a").await;
        bench.spawn("a", 1).await;
        listener.send(Crash).await.unwrap();
        bench.launcher.exit(&key("a", 1), ExitStatus::Code(3), Vec::new());
        bench.settle().await;

        let (successor, attached) = bench.attach("a").await;
        assert!(attached.live.is_none());
        assert_eq!(attached.missed.iter().map(told).collect::<Vec<_>>(), ["exited 1: exit 3"]);
        bench.spawn("a", 2).await;
        assert_eq!(heard(&successor).await, ["spawned 2"]);
    });
}

#[test]
fn reports_that_nobody_takes_are_bounded() {
    in_virtual_time(async {
        let bench = Bench::new(4);
        for generation in 1..=limits::UNCLAIMED_REPORTS as u64 {
            bench.spawn("a", generation).await;
            bench.launcher.exit(&key("a", generation), ExitStatus::Code(1), Vec::new());
            bench.settle().await;
        }
        let (_, attached) = bench.attach("a").await;
        assert_eq!(attached.missed.len(), limits::UNCLAIMED_REPORTS);
        let last = attached.missed.last().map(told);
        assert_eq!(last, Some(format!("exited {}: exit 1", limits::UNCLAIMED_REPORTS)));
    });
}

#[test]
fn spawns_at_once_are_bounded_and_the_rest_waits_in_line() {
    in_virtual_time(async {
        let bench = Bench::new(2);
        bench.launcher.set_script(Script { hold_spawns: true, ..Script::default() });
        for model in ["a", "b", "c", "d"] {
            bench.spawn(model, 1).await;
        }
        assert_eq!(bench.launcher.spawns(), [key("a", 1), key("b", 1)]);
        assert!(bench.table.send(CancelSpawn(key("c", 1))).await.unwrap());
        assert!(!bench.table.send(CancelSpawn(key("a", 1))).await.unwrap(), "it is on its way");
        bench.launcher.answer_spawn(&key("b", 1), Ok(()));
        bench.settle().await;
        assert_eq!(bench.launcher.spawns(), [key("a", 1), key("b", 1), key("d", 1)]);
        assert_eq!(bench.live().await, [key("b", 1)]);
    });
}

#[test]
fn spawn_already_running() {
    in_virtual_time(async {
        let bench = Bench::new(4);
        let (listener, _) = bench.attach("a").await;
        bench.spawn("a", 1).await;
        bench.spawn("a", 2).await;
        let refusal = "failed 2: cannot start sleep now: generation 1 of it is not gone yet";
        assert_eq!(heard(&listener).await, ["spawned 1", refusal]);
        assert_eq!(bench.launcher.spawns(), [key("a", 1)]);

        bench.launcher.set_script(Script { hold_spawns: true, ..Script::default() });
        bench.launcher.exit(&key("a", 1), ExitStatus::Code(0), Vec::new());
        bench.settle().await;
        bench.spawn("a", 2).await;
        bench.spawn("a", 3).await;
        assert_eq!(bench.launcher.spawns(), [key("a", 1), key("a", 2)]);
        assert!(heard(&listener).await[3].contains("generation 2 of it is being started already"));
    });
}

#[test]
fn failed_spawns_free_their_place_in_the_line() {
    in_virtual_time(async {
        let bench = Bench::new(1);
        let (listener, _) = bench.attach("a").await;
        let error = SpawnError::Fatal { program: "p".into(), reason: "gone".into() };
        let broken = Script { fail_spawns: Some(error), ..Script::default() };
        bench.launcher.set_script_of(&key("a", 1).instance, broken);
        bench.spawn("a", 1).await;
        bench.spawn("b", 1).await;
        assert_eq!(heard(&listener).await, ["failed 1: cannot execute p: gone"]);
        assert_eq!(bench.launcher.live(), [key("b", 1)]);
    });
}

#[test]
fn replaced_table_knows_what_lives() {
    in_virtual_time(async {
        let bench = Bench::new(4);
        bench.spawn("a", 1).await;
        bench.table.send(Keep(record("a", 1))).await.unwrap();

        let successor = ProcessTable::new(bench.launcher.clone(), 4).start();
        let bench = Bench { table: successor, ..bench };
        let (listener, attached) = bench.attach("a").await;
        assert_eq!(attached.live.map(|(key, _)| key), Some(key("a", 1)));
        assert_eq!(attached.record, Some(record("a", 1)));
        bench.launcher.exit(&key("a", 1), ExitStatus::Code(0), Vec::new());
        bench.settle().await;
        assert_eq!(heard(&listener).await, ["exited 1: exit 0"]);
        assert_eq!(bench.live().await, []);
    });
}

/// A launcher whose inventory comes late, as that of another thread does.
struct LateInventory(Arc<ScriptedLauncher>);

impl Launcher for LateInventory {
    fn subscribe(&self, subscriber: Recipient<Report>) {
        self.0.subscribe(subscriber);
    }
    fn spawn(&self, order: SpawnOrder) {
        self.0.spawn(order);
    }
    fn signal(&self, key: &ProcessKey, signal: GroupSignal) {
        self.0.signal(key, signal);
    }
    fn sample(&self, key: &ProcessKey) {
        self.0.sample(key);
    }
    fn tail(&self, order: TailOrder) {
        self.0.tail(order);
    }
    fn keep(&self, record: InstanceRecord) {
        self.0.keep(record);
    }
    fn forget(&self, instance: &InstanceId) {
        self.0.forget(instance);
    }
    fn inventory(&self) {}
    fn remove_socket(&self, path: std::path::PathBuf) {
        self.0.remove_socket(path);
    }
    fn tell_notices(&self, to: Recipient<crate::launcher::LauncherNotice>) {
        self.0.tell_notices(to);
    }
    fn let_go(&self, limit: Duration) {
        self.0.let_go(limit);
    }
    fn end(&self, limit: Duration) -> usize {
        self.0.end(limit)
    }
}

#[test]
fn questions_before_the_inventory_wait_for_it() {
    in_virtual_time(async {
        let launcher = Arc::new(ScriptedLauncher::new());
        launcher.spawn(sleeping_order("a", 1));
        for model in ["a", "b", "c"] {
            launcher.keep(record(model, 1));
        }
        let table = ProcessTable::new(Arc::new(LateInventory(launcher.clone())), 4).start();
        let listener = Listener::default().start();
        let reports = listener.clone().recipient();
        let early = table.send(Attach { instance: key("a", 1).instance, reports });
        let inventory = table.send(ReadInventory);
        // what is kept or forgotten now is newer than the answer that is on its way
        table.do_send(Keep(record("b", 2)));
        table.do_send(Forget(key("c", 1).instance));
        table.do_send(Spawn(sleeping_order("a", 2)));
        table.send(CancelSpawn(key("none", 1))).await.unwrap();
        assert_eq!(launcher.spawns(), [key("a", 1)], "no spawn before it is known what lives");

        launcher.report(Report::Inventory {
            processes: vec![(key("a", 1), identity())],
            records: vec![record("a", 1), record("b", 1), record("c", 1)],
            ready: vec![(key("a", 1), pipe())],
        });
        let early = early.await.unwrap();
        assert_eq!(early.live.map(|(key, _)| key), Some(key("a", 1)));
        assert!(early.ready.is_some(), "the channel of its start goes with the process");
        assert_eq!(inventory.await.unwrap().records, [record("a", 1), record("b", 2)]);
        table.send(ReadInventory).await.unwrap();
        assert_eq!(launcher.spawns(), [key("a", 1)], "the older generation lives");
    });
}

#[test]
fn logs_are_answered_to_their_askers() {
    in_virtual_time(async {
        let bench = Bench::new(4);
        bench.launcher.set_log("/a.log".into(), vec!["one".into(), "two".into()]);
        let ask = |path: &str| {
            bench.table.send(Tail { log_path: path.into(), lines: 1, after_offset: None })
        };
        let (missing, found) = (ask("/b.log"), ask("/a.log"));
        assert_eq!(found.await.unwrap().map(|answer| answer.lines), Ok(vec!["two".to_owned()]));
        assert!(missing.await.unwrap().is_err());
    });
}

#[test]
fn forget_without_stop() {
    in_virtual_time(async {
        let bench = Bench::new(4);
        bench.spawn("a", 1).await;
        bench.table.send(Keep(record("a", 1))).await.unwrap();
        bench.table.send(Forget(key("a", 1).instance)).await.unwrap();
        let (_, attached) = bench.attach("a").await;
        assert!(attached.record.is_none() && attached.missed.is_empty());
        assert!(attached.live.is_some(), "a process that was forgotten still cannot be doubled");
        assert!(bench.launcher.calls().contains(&Call::Forget(key("a", 1).instance)));
    });
}

#[test]
fn a_start_that_is_forgotten_leaves_no_process() {
    in_virtual_time(async {
        let bench = Bench::new(1);
        bench.launcher.set_script(Script { hold_spawns: true, ..Script::default() });
        bench.spawn("under-way", 1).await;
        bench.spawn("in-line", 1).await;
        for model in ["under-way", "in-line"] {
            bench.table.send(Forget(key(model, 1).instance)).await.unwrap();
        }
        bench.launcher.answer_spawn(&key("under-way", 1), Ok(()));
        bench.settle().await;
        assert_eq!(bench.launcher.live(), [], "one was ended, one never began");
    });
}

fn pipe() -> ReadyEnd {
    ReadyEnd::Pipe(std::io::pipe().unwrap().0.into())
}

fn identity() -> ProcessIdentity {
    ProcessIdentity { pid: 1, start_ticks: 1, boot_id: "b".into() }
}

fn record(model: &str, generation: u64) -> InstanceRecord {
    InstanceRecord {
        instance: key(model, generation).instance,
        model: model.into(),
        generation: key(model, generation).generation,
        endpoint: "ipc:///tmp/x".into(),
        state: "ready".into(),
        wanted: true,
        restarts: 0,
        consecutive_failures: 0,
        park_level: 0,
        window: Vec::new(),
        wait_until: None,
        started_at: None,
        protocols: Vec::new(),
        reason: None,
        last_exit: None,
        turn: crate::launcher::TurnRecord::default(),
        order: None,
    }
}
