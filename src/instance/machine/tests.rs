//! Each row of the supervision contract's second section, in virtual time.

mod gaps;
mod turns;
mod watching;

use super::*;
use crate::ids::{InstanceId, ModelName};
use crate::launcher::{ExitStatus, InstanceRecord, SpawnError};
use crate::settings::policy::{
    GiveUp, HealthPolicy, RestartClass, RestartPolicy, StartPolicy, StopPolicy, StopSignal,
};

const TERM: GroupSignal = GroupSignal::Stop(StopSignal::Term);
const KILLED: ExitStatus = ExitStatus::Signal { number: 9, core_dumped: false };

fn defaults() -> Policies {
    Policies {
        start: StartPolicy::default(),
        health: HealthPolicy::default(),
        restart: RestartPolicy { jitter: 0.0, ..RestartPolicy::default() },
        stop: StopPolicy::default(),
        takes_turns: false,
    }
}

fn record(machine: &Machine) -> InstanceRecord {
    let model = ModelName::try_new("m").expect("valid");
    machine.record(InstanceId::of_model(&model), model.as_str(), "ipc:///e")
}

/// A machine with a clock that only moves when told.
struct Bench {
    machine: Machine,
    now: Moment,
    seen: Vec<Effect>,
}

impl Bench {
    fn new(policies: Policies) -> Self {
        Self { machine: Machine::new(policies, 7), now: Moment::default(), seen: Vec::new() }
    }

    fn feed(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.machine.next(event, self.now);
        self.seen.extend(effects.clone());
        effects
    }

    /// Lets time pass, with a tick at each deadline on the way.
    fn pass(&mut self, span: Duration) -> Vec<Effect> {
        let end = self.now + span;
        let mut effects = Vec::new();
        while let Some(due) = self.machine.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            effects.extend(self.feed(Event::Tick));
        }
        self.now = end;
        effects
    }

    fn generation(&self) -> Generation {
        self.machine.generation()
    }

    fn spawned(&mut self) {
        let generation = self.generation();
        self.feed(Event::Spawned(generation));
    }

    fn ready(&mut self) {
        self.spawned();
        let generation = self.generation();
        self.feed(Event::Ready(generation));
        assert_eq!(self.state(), State::Ready);
    }

    fn exits(&mut self, status: ExitStatus) -> Vec<Effect> {
        let generation = self.generation();
        self.feed(Event::Exited(generation, status))
    }

    fn state(&self) -> State {
        self.machine.state()
    }

    fn spawns(&self) -> usize {
        self.seen.iter().filter(|effect| matches!(effect, Effect::Spawn(_))).count()
    }

    fn last_reason(&self) -> &str {
        let ended = self.seen.iter().rev().find_map(|effect| match effect {
            Effect::Ended { reason, .. } => Some(reason.as_str()),
            _ => None,
        });
        ended.expect("something ended")
    }
}

fn loaded() -> Bench {
    let mut bench = Bench::new(defaults());
    bench.feed(Event::Start);
    bench.ready();
    bench
}

fn signals(effects: &[Effect]) -> Vec<GroupSignal> {
    let signals = effects.iter().filter_map(|effect| match effect {
        Effect::Signal(_, signal) => Some(*signal),
        _ => None,
    });
    signals.collect()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn sigkilled_is_replaced() {
    let mut bench = loaded();
    let effects = bench.exits(KILLED);
    assert!(effects.contains(&Effect::Spawn(Generation(2))), "at once, without a delay");
    assert_eq!((bench.state(), bench.machine.restarts()), (State::Starting, 1));
    assert_eq!(bench.last_reason(), "signal 9");
}

#[test]
fn spawn_already_running() {
    let mut bench = loaded();
    assert!(bench.feed(Event::Start).is_empty());
    assert_eq!(bench.spawns(), 1);
}

#[test]
fn exited_too_quickly() {
    let mut bench = Bench::new(Policies {
        restart: RestartPolicy { class: RestartClass::Transient, ..defaults().restart },
        ..defaults()
    });
    bench.feed(Event::Start);
    bench.spawned();
    bench.exits(ExitStatus::Code(0));
    assert_eq!(bench.last_reason(), "exit 0 before ready");
    assert_eq!(
        bench.state(),
        State::Starting,
        "an end before readiness is a failure, also with code 0"
    );
}

#[test]
fn exit_expected_and_unexpected() {
    let restart = RestartPolicy {
        class: RestartClass::Transient,
        clean_codes: vec![3],
        ..defaults().restart
    };
    for (status, state) in [
        (ExitStatus::Code(0), State::Stopped),
        (ExitStatus::Code(3), State::Stopped),
        (ExitStatus::Code(4), State::Starting),
        (KILLED, State::Starting),
    ] {
        let mut bench = Bench::new(Policies { restart: restart.clone(), ..defaults() });
        bench.feed(Event::Start);
        bench.ready();
        bench.exits(status);
        assert_eq!(bench.state(), state, "{status}");
    }
    let temporary = RestartPolicy { class: RestartClass::Temporary, ..defaults().restart };
    let mut bench = Bench::new(Policies { restart: temporary, ..defaults() });
    bench.feed(Event::Start);
    bench.ready();
    bench.exits(KILLED);
    assert_eq!((bench.state(), bench.spawns()), (State::Stopped, 1));
}

#[test]
fn backoff_to_parked() {
    let mut bench = Bench::new(defaults());
    bench.feed(Event::Start);
    let mut delays = Vec::new();
    while bench.state() != State::Parked {
        bench.spawned();
        bench.exits(ExitStatus::Code(1));
        if bench.state() == State::Backoff {
            let wait = bench.machine.wait_until().expect("a wait").since(bench.now);
            delays.push(wait.as_millis());
            bench.pass(wait);
        }
    }
    assert_eq!(delays, [500, 1000, 2000, 4000], "none before the first restart");
    assert_eq!(bench.spawns(), 6, "the start and five restarts");
    let reason = bench.machine.reason().expect("why");
    assert!(
        reason.contains("6 failures in a row") && reason.contains("exit 1 before ready"),
        "{reason}"
    );
    bench.pass(secs(299));
    assert_eq!(bench.state(), State::Parked);
    bench.pass(secs(1));
    assert_eq!((bench.state(), bench.spawns()), (State::Starting, 7), "one trial start");
    bench.spawned();
    bench.exits(ExitStatus::Code(1));
    assert_eq!(bench.state(), State::Parked);
    let rest = bench.machine.wait_until().expect("a rest").since(bench.now);
    assert_eq!(rest, secs(600), "twice as long as the first");
}

#[test]
fn flapping_window_resets() {
    let mut bench = loaded();
    for _ in 0..4 {
        bench.exits(KILLED);
        bench.pass(secs(60));
        bench.ready();
    }
    bench.pass(secs(9));
    assert_eq!(bench.machine.book().consecutive_failures(), 4);
    bench.pass(secs(2));
    assert_eq!(bench.machine.book().consecutive_failures(), 0, "ready for ten seconds");
}

#[test]
fn flapping_parks() {
    let mut bench = loaded();
    // each time ready long enough to be forgiven, so that only the window can stop it
    while bench.state() != State::Parked {
        bench.pass(secs(30));
        bench.exits(KILLED);
        if bench.state() == State::Starting {
            bench.ready();
        }
    }
    assert_eq!(bench.spawns(), 21, "the start and twenty restarts in half an hour");
    assert!(bench.machine.reason().is_some_and(|why| why.contains("20 restarts in 30m")));
}

#[test]
fn execv_fail() {
    let mut bench = Bench::new(defaults());
    bench.feed(Event::Start);
    let error = SpawnError::Fatal { program: "nope".into(), reason: "not found".into() };
    bench.feed(Event::SpawnFailed(Generation(1), error));
    assert_eq!((bench.state(), bench.spawns()), (State::Parked, 1), "no retry mends it");
    let busy = SpawnError::Transient { program: "p".into(), reason: "try again".into() };
    bench.feed(Event::Start);
    bench.feed(Event::SpawnFailed(Generation(2), busy));
    assert_eq!(bench.state(), State::Parked, "the trial start of a parked one is its only one");
}

#[test]
fn fork_eagain() {
    let mut bench = Bench::new(defaults());
    bench.feed(Event::Start);
    let busy = SpawnError::Transient { program: "p".into(), reason: "try again".into() };
    bench.feed(Event::SpawnFailed(Generation(1), busy.clone()));
    assert_eq!(bench.state(), State::Starting);
    bench.feed(Event::SpawnFailed(Generation(2), busy));
    assert_eq!(bench.state(), State::Backoff);
}

#[test]
fn kill_from_starting() {
    let mut bench = Bench::new(defaults());
    bench.feed(Event::Start);
    bench.spawned();
    assert_eq!(signals(&bench.feed(Event::Stop)), [TERM]);
    bench.exits(ExitStatus::Signal { number: 15, core_dumped: false });
    assert_eq!((bench.state(), bench.spawns()), (State::Stopped, 1));
}

#[test]
fn term_at_any_moment_of_start() {
    // before the spawn was carried out: the order is taken back, or its process ended as soon as it is told
    let mut bench = Bench::new(defaults());
    bench.feed(Event::Start);
    assert!(bench.feed(Event::Stop).contains(&Effect::CancelSpawn(Generation(1))));
    let mut late = Bench { machine: bench.machine.clone(), now: bench.now, seen: Vec::new() };
    bench.feed(Event::SpawnCancelled(Generation(1)));
    assert_eq!(bench.state(), State::Stopped);
    let effects = late.feed(Event::Spawned(Generation(1)));
    assert_eq!(signals(&effects), [TERM]);
    late.exits(KILLED);
    assert_eq!(late.state(), State::Stopped);
}

#[test]
fn kill_from_running_and_exits_within_grace() {
    let mut bench = loaded();
    bench.feed(Event::Stop);
    bench.pass(secs(9));
    bench.exits(ExitStatus::Code(0));
    assert_eq!(bench.state(), State::Stopped);
    assert!(!signals(&bench.seen).contains(&GroupSignal::Kill));
    assert!(bench.machine.next_deadline().is_none(), "nothing is left to wait for");
}

#[test]
fn killed_after_grace() {
    let mut bench = loaded();
    bench.feed(Event::Stop);
    assert!(signals(&bench.pass(Duration::from_millis(9_999))).is_empty());
    assert_eq!(signals(&bench.pass(Duration::from_millis(1))), [GroupSignal::Kill]);
}

#[test]
fn a_successor_carries_a_replacement_through_and_a_stop_too() {
    let resumed = |bench: &Bench, presence| {
        let record = record(&bench.machine);
        let mut machine = Machine::new(defaults(), 7);
        let seen = machine.resume(&record, presence, bench.now);
        Bench { machine, now: bench.now, seen }
    };
    for presence in [Presence::Alive, Presence::Gone] {
        for (event, state) in [
            (Event::NeverReady(Generation(1), "closed".into()), State::Starting),
            (Event::Restart, State::Starting),
            (Event::Stop, State::Stopped),
            (Event::TakenAlong("with b: exit 3".into()), State::Starting),
            (
                Event::ParkedAlong { why: "with b: parked".into(), cool_off: secs(77) },
                State::Parked,
            ),
        ] {
            let mut bench = Bench::new(defaults());
            bench.feed(Event::Start);
            bench.spawned();
            bench.feed(event.clone());
            assert_eq!(bench.state(), State::Stopping);
            let mut successor = resumed(&bench, presence);
            if presence == Presence::Alive {
                successor.exits(KILLED);
            }
            assert_eq!(successor.state(), state, "{presence:?} after {event:?}");
            if state == State::Parked {
                assert_eq!(successor.machine.parked_for(), Some("with b: parked"));
                assert_eq!(successor.machine.wait_until(), Some(bench.now + secs(77)));
            }
        }
    }
}

#[test]
fn stops_unkillable() {
    let mut bench = loaded();
    bench.feed(Event::Stop);
    bench.pass(secs(15));
    assert_eq!(bench.state(), State::Unkillable);
    bench.exits(KILLED);
    assert_eq!(bench.state(), State::Stopped, "reaped later");
}

#[test]
fn a_refused_signal_is_not_blamed_on_the_kernel() {
    let mut bench = loaded();
    bench.feed(Event::Stop);
    let refused = "Operation not permitted".to_owned();
    bench.feed(Event::SignalRefused(Generation(1), refused));
    bench.pass(secs(15));
    assert_eq!(bench.state(), State::Unkillable);
    let told = bench.machine.reason().unwrap_or_default();
    assert_eq!(told, "the service may not end the process: Operation not permitted");
}

#[test]
fn kill_from_backoff() {
    let mut bench = loaded();
    bench.exits(KILLED);
    bench.spawned();
    bench.exits(KILLED);
    assert_eq!(bench.state(), State::Backoff);
    bench.feed(Event::Stop);
    assert_eq!(bench.state(), State::Stopped, "at once");
    bench.pass(secs(3600));
    assert_eq!(bench.spawns(), 2, "the pending retry is gone with it");
}

#[test]
fn a_load_waits_out_the_backoff() {
    let mut bench = loaded();
    bench.exits(KILLED);
    bench.spawned();
    bench.exits(KILLED);
    assert!(
        bench.feed(Event::Start).is_empty(),
        "a client that asks again must not undo the delay"
    );
    bench.feed(Event::Restart);
    assert_eq!(bench.state(), State::Starting, "but a person may");
}

#[test]
fn ensure_ready_during_stop() {
    let mut bench = loaded();
    bench.feed(Event::Stop);
    bench.feed(Event::Start);
    assert_eq!(bench.state(), State::Stopping, "a stop is carried through");
    assert_eq!(bench.spawns(), 1, "stopping_does_not_spawn");
    bench.exits(KILLED);
    assert_eq!((bench.state(), bench.generation()), (State::Starting, Generation(2)));
}

#[test]
fn restart_by_hand_replaces_and_forgives() {
    let mut bench = loaded();
    bench.exits(KILLED);
    bench.ready();
    assert_eq!(signals(&bench.feed(Event::Restart)), [TERM]);
    bench.exits(KILLED);
    assert_eq!((bench.state(), bench.generation()), (State::Starting, Generation(3)));
    assert_eq!(bench.machine.book().consecutive_failures(), 0);
}

#[test]
fn another_generation_changes_nothing() {
    let mut bench = loaded();
    bench.exits(KILLED);
    bench.ready();
    let old = Generation(1);
    for event in [
        Event::Spawned(old),
        Event::Exited(old, KILLED),
        Event::Ready(old),
        Event::NeverReady(old, "x".into()),
        Event::Silent(old, "no answer".into()),
        Event::SpawnCancelled(old),
    ] {
        assert!(bench.feed(event).is_empty());
    }
    assert_eq!(bench.state(), State::Ready);
}

#[test]
fn giving_up_may_go_up_the_tree_or_on_for_ever() {
    let fails = |on_give_up| {
        let restart =
            RestartPolicy { on_give_up, max_consecutive_failures: 0, ..defaults().restart };
        let mut bench = Bench::new(Policies { restart, ..defaults() });
        bench.feed(Event::Start);
        bench.spawned();
        bench.exits(ExitStatus::Code(1));
        bench
    };
    let escalated = fails(GiveUp::Escalate);
    assert!(escalated.seen.iter().any(|effect| matches!(effect, Effect::Escalate(_))));
    let mut on = fails(GiveUp::Retry);
    assert_eq!(on.state(), State::Backoff);
    on.pass(secs(60));
    assert_eq!((on.state(), on.spawns()), (State::Starting, 2));
}
