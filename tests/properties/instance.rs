//! One backend's life. Random lives against a small world that carries out effects late, in any order, or (KILL) never.

use std::collections::VecDeque;

use proptest::prelude::*;

use std::time::Duration;
use symphony::clock::Moment;
use symphony::ids::{Generation, InstanceId, ModelName};
use symphony::instance::machine::{Effect, Event, Machine, Policies, Presence};
use symphony::instance::state::State;
use symphony::launcher::{ExitStatus, GroupSignal, SpawnError};
use symphony::settings::policy::{HealthPolicy, RestartPolicy, StartPolicy, StopPolicy};

#[derive(Debug, Clone)]
enum Move {
    Start,
    Stop,
    Restart,
    Kill,
    /// Carry out the oldest order.
    Work,
    Crash(i32),
    Ready,
    Alive,
    Silent,
    Pass(u64),
    /// Its actor is replaced.
    Resume,
    /// From now on KILL is not followed, or again.
    Stuck(bool),
    /// Those before it have come up, or one of them cannot.
    Turn(bool),
    /// Another member of its group failed, was parked, or this one used up what the group allows.
    Along,
    ParkedAlong,
    GroupGaveUp,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => Just(Move::Start),
        2 => Just(Move::Stop),
        1 => Just(Move::Restart),
        1 => Just(Move::Kill),
        8 => Just(Move::Work),
        4 => (0..3).prop_map(Move::Crash),
        4 => Just(Move::Ready),
        2 => Just(Move::Alive),
        3 => Just(Move::Silent),
        6 => (1..120_000u64).prop_map(Move::Pass),
        1 => Just(Move::Resume),
        1 => any::<bool>().prop_map(Move::Stuck),
        8 => prop::bool::weighted(0.9).prop_map(Move::Turn),
        2 => Just(Move::Along),
        1 => Just(Move::ParkedAlong),
        1 => Just(Move::GroupGaveUp),
    ];
    prop::collection::vec(one, 1..120)
}

struct World {
    machine: Machine,
    now: Moment,
    orders: VecDeque<Generation>,
    live: Option<Generation>,
    asked_to_end: bool,
    killed: bool,
    stuck: bool,
    /// By hand, which clears the counters.
    cleared: bool,
    restarts: Vec<Moment>,
    wanted: bool,
    policies: Policies,
}

fn policies() -> Policies {
    Policies {
        start: StartPolicy::default(),
        health: HealthPolicy::default(),
        restart: RestartPolicy::default(),
        stop: StopPolicy::default(),
        takes_turns: false,
    }
}

impl World {
    fn new(policies: Policies) -> Self {
        Self {
            machine: Machine::new(policies.clone(), 3),
            policies,
            now: Moment::default(),
            orders: VecDeque::new(),
            live: None,
            asked_to_end: false,
            killed: false,
            stuck: false,
            cleared: false,
            restarts: Vec::new(),
            wanted: false,
        }
    }

    fn feed(&mut self, event: Event) {
        let effects = self.machine.next(event, self.now);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Spawn(generation) => {
                    assert!(self.wanted, "nobody wants generation {generation}");
                    assert!(self.live.is_none(), "generation {:?} lives still", self.live);
                    assert!(self.orders.is_empty(), "two orders at one time");
                    assert_eq!(generation, self.machine.generation());
                    self.orders.push_back(generation);
                    self.restarts.push(self.now);
                }
                Effect::CancelSpawn(generation) => {
                    if self.orders.front() == Some(&generation) {
                        self.orders.clear();
                        self.feed(Event::SpawnCancelled(generation));
                    }
                }
                Effect::Signal(generation, signal) => {
                    assert_eq!(Some(generation), self.live, "a signal to what does not live");
                    self.asked_to_end = true;
                    self.killed |= signal == GroupSignal::Kill;
                }
                Effect::Changed { from, to, .. } => {
                    assert!(from.may_become(to), "{from} may not become {to}");
                }
                Effect::AwaitReady(g) | Effect::Check(g) | Effect::Sample(g) => {
                    assert_eq!(Some(g), self.live, "a question to what does not live");
                }
                Effect::AwaitTurn(generation) => {
                    assert!(self.wanted, "nobody wants generation {generation}");
                    assert!(self.live.is_none(), "generation {:?} lives still", self.live);
                    assert!(self.orders.is_empty(), "it has an order, and waits for it");
                    assert!(self.policies.takes_turns && self.machine.awaits_turn());
                }
                Effect::Failed => assert!(self.live.is_none() && self.wanted),
                Effect::ForgetProbes(_) | Effect::Ended { .. } | Effect::Escalate(_) => {}
            }
        }
        if self.killed && !self.stuck {
            self.die(ExitStatus::Signal { number: 9, core_dumped: false });
        }
    }

    fn die(&mut self, status: ExitStatus) {
        if let Some(generation) = self.live.take() {
            self.asked_to_end = false;
            self.killed = false;
            self.feed(Event::Exited(generation, status));
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.machine.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.feed(Event::Tick);
        }
        self.now = end;
    }

    fn make(&mut self, step: &Move) {
        match step {
            Move::Start | Move::Restart => {
                self.wanted = true;
                let by_hand =
                    matches!(step, Move::Restart) || self.machine.state() == State::Parked;
                self.cleared |= by_hand;
                self.feed(if matches!(step, Move::Start) { Event::Start } else { Event::Restart });
            }
            Move::Stop | Move::Kill => {
                self.wanted = false;
                self.feed(if matches!(step, Move::Stop) { Event::Stop } else { Event::Kill });
            }
            Move::Work => {
                if let Some(generation) = self.orders.pop_front() {
                    self.live = Some(generation);
                    self.feed(Event::Spawned(generation));
                }
            }
            Move::Crash(code) if self.orders.is_empty() => self.die(ExitStatus::Code(*code)),
            Move::Crash(_) => {
                let error = SpawnError::Transient { program: "p".into(), reason: "r".into() };
                if let Some(generation) = self.orders.pop_front() {
                    self.feed(Event::SpawnFailed(generation, error));
                }
            }
            Move::Ready => {
                if let Some(generation) = self.live {
                    self.feed(Event::Ready(generation));
                }
            }
            Move::Alive => self.feed(Event::Alive(self.machine.generation())),
            Move::Silent => {
                let generation = self.machine.generation();
                self.feed(Event::Silent(generation, "no answer".into()));
                let cpu_time = Duration::ZERO;
                self.feed(Event::Sampled { generation, cpu_time, output_bytes: 0 });
            }
            Move::Turn(true) => self.feed(Event::Turn(self.machine.generation())),
            Move::Turn(false) => {
                self.feed(Event::NoTurn(self.machine.generation(), "after x: parked".into()));
            }
            Move::Along => self.feed(Event::TakenAlong("with x: exit 3".into())),
            Move::ParkedAlong => self.feed(Event::ParkedAlong {
                why: "with x: parked".into(),
                cool_off: Duration::from_secs(60),
            }),
            Move::GroupGaveUp => self.feed(Event::GroupGaveUp("group g: used up".into())),
            Move::Pass(ms) => self.pass(Duration::from_millis(*ms)),
            Move::Resume => self.resume(),
            Move::Stuck(stuck) => {
                self.stuck = *stuck;
                if self.killed && !self.stuck {
                    self.die(ExitStatus::Signal { number: 9, core_dumped: false });
                }
            }
        }
    }

    fn resume(&mut self) {
        let model = ModelName::try_new("m").unwrap();
        let id = InstanceId::of_model(&model);
        let record = self.machine.record(id, model.as_str(), "ipc:///e");
        let presence = match (self.live, self.orders.is_empty()) {
            (Some(_), _) => Presence::Alive,
            (None, false) => Presence::Ordered,
            (None, true) => Presence::Gone,
        };
        let mut successor = Machine::new(self.policies.clone(), 4);
        let effects = successor.resume(&record, presence, self.now);
        assert!(successor.restarts() >= record.restarts, "restarts are never forgotten");
        self.machine = successor;
        self.carry_out(effects);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Never two live generations, no effect for what does not live, each transition in the table: asserted on the way.
    #[test]
    fn a_life_keeps_the_rules(steps in moves(), takes_turns in any::<bool>()) {
        let mut world = World::new(Policies { takes_turns, ..policies() });
        for step in &steps {
            world.make(step);
        }
        // then somebody stops it, and nothing is stuck any more
        world.make(&Move::Stop);
        world.make(&Move::Stuck(false));
        let spawns = world.restarts.len();
        for _ in 0..4 {
            world.make(&Move::Work);
            world.pass(Duration::from_secs(30));
        }
        prop_assert_eq!(world.machine.state(), State::Stopped);
        prop_assert!(world.live.is_none() && world.orders.is_empty());
        prop_assert_eq!(world.restarts.len(), spawns, "no start after a stop");
        prop_assert!(world.machine.next_deadline().is_none());
    }

    /// Without a hand in it, half an hour never sees more than the first start, twenty restarts, and the two trial
    /// starts (after 5 and 10 minutes) that a parked backend gets although its window is full.
    #[test]
    fn restarts_stay_inside_the_window(waits in prop::collection::vec((0..90_000u64, any::<bool>()), 1..200)) {
        let mut world = World::new(policies());
        world.make(&Move::Start);
        for (wait, ready) in waits {
            world.make(&Move::Work);
            if ready {
                world.make(&Move::Ready);
            }
            world.pass(Duration::from_millis(wait));
            world.make(&Move::Crash(1));
            world.pass(Duration::from_secs(1));
        }
        let limit = policies().restart.window_max as usize;
        let period = policies().restart.window_period;
        for (index, first) in world.restarts.iter().enumerate() {
            let inside = world.restarts[index..].iter().filter(|at| at.since(*first) < period).count();
            prop_assert!(inside <= 1 + limit + 2, "{inside} in one window");
        }
    }
}
