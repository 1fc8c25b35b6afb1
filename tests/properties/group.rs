//! A group. Random lives of its members, whose orders and reports come late, in turn, or never, because an actor was
//! replaced.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use std::time::Duration;
use symphony::clock::Moment;
use symphony::ids::{Generation, ModelName};
use symphony::instance::group::core::{Effect, GroupCore, Order};
use symphony::instance::group::standing::{Phase, Standing};
use symphony::settings::model::GroupSpec;
use symphony::settings::policy::GroupStrategy;

const MEMBERS: usize = 4;

#[derive(Debug, Clone)]
enum Move {
    /// Somebody wants a member: those that it needs are called in order.
    Load(usize),
    /// Somebody wants it down, and those that end with it.
    Unload(usize),
    /// Its process comes up.
    Ready(usize),
    /// Its process dies; it is restarted at once, after a delay, or parked.
    Crash(usize, u8),
    /// Somebody restarts it by hand.
    Restart(usize),
    /// Its process hangs, and is to be replaced.
    Hang(usize),
    /// A process that is being ended is gone.
    Gone(usize),
    /// The delay, or the rest, is over.
    Wake(usize),
    /// The oldest message on its way arrives.
    Deliver(usize),
    /// The actor of a member is replaced: what was on its way to it is lost.
    ReplaceMember(usize),
    /// The actor of the group is replaced.
    ReplaceGroup,
    Pass(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let member = 0..MEMBERS;
    let one = prop_oneof![
        4 => member.clone().prop_map(Move::Load),
        1 => member.clone().prop_map(Move::Unload),
        8 => member.clone().prop_map(Move::Ready),
        4 => (member.clone(), 0..6u8).prop_map(|(member, how)| Move::Crash(member, how)),
        1 => member.clone().prop_map(Move::Restart),
        2 => member.clone().prop_map(Move::Hang),
        6 => member.clone().prop_map(Move::Gone),
        6 => member.clone().prop_map(Move::Wake),
        16 => member.clone().prop_map(Move::Deliver),
        1 => member.prop_map(Move::ReplaceMember),
        1 => Just(Move::ReplaceGroup),
        2 => (1..400_000u64).prop_map(Move::Pass),
    ];
    prop::collection::vec(one, 1..150)
}

/// What becomes of a process that is being ended.
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Down,
    Again,
    ByHand,
    Along,
    Parked(String),
}

/// A member as the instance's machine behaves, in short.
#[derive(Debug, Clone, Default)]
struct Member {
    standing: Standing,
    /// It has its turn: a process lives.
    lives: bool,
    fate: Option<Fate>,
    /// To it.
    orders: VecDeque<Order>,
    told: Option<Standing>,
    /// Which actor it has, and which one the group knows: an order to an older one is lost.
    actor: u32,
    known: Option<u32>,
}

struct World {
    spec: Arc<GroupSpec>,
    core: GroupCore,
    members: Vec<Member>,
    /// To the group, in the order of sending.
    reports: VecDeque<(usize, Standing, u32)>,
    now: Moment,
    /// Processes were started, as (member, round).
    started: Vec<(usize, u64)>,
}

impl World {
    fn new(strategy: GroupStrategy, intensity: u32) -> Self {
        let names = (0..MEMBERS).map(|place| format!("m{place}"));
        let mut spec = GroupSpec::new("g", strategy, names).unwrap();
        spec.intensity = intensity;
        let spec = Arc::new(spec);
        let mut core = GroupCore::new(spec.clone());
        assert_eq!(core.census(&HashSet::new(), Moment::default()), []);
        Self {
            core,
            spec,
            members: vec![Member::default(); MEMBERS],
            reports: VecDeque::new(),
            now: Moment::default(),
            started: Vec::new(),
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Order(place, order) = effect
                && self.members[place].known == Some(self.members[place].actor)
            {
                self.members[place].orders.push_back(order);
            }
        }
    }

    fn tell(&mut self, place: usize) {
        let member = &mut self.members[place];
        if member.told.as_ref() != Some(&member.standing) {
            member.told = Some(member.standing.clone());
            self.reports.push_back((place, member.standing.clone(), member.actor));
        }
    }

    /// Ends a start that has no process any more.
    fn set(&mut self, place: usize, phase: Phase) {
        let now = self.now;
        let member = &mut self.members[place];
        member.standing.phase = phase;
        member.standing.until = None;
        match phase {
            Phase::Waiting => member.standing.generation = member.standing.generation.next(),
            Phase::Absent { .. } => member.standing.round = None,
            Phase::Parked | Phase::Resting => {
                member.standing.until = Some(now + Duration::from_secs(60));
            }
            _ => {}
        }
        self.tell(place);
    }

    fn fail(&mut self, place: usize, how: u8) {
        let member = &mut self.members[place];
        member.lives = false;
        member.standing.why = "exit 3".into();
        match how {
            0 => self.set(place, Phase::Parked),
            how => {
                member.standing.failures.push(self.now);
                self.set(place, if how % 2 == 0 { Phase::Resting } else { Phase::Waiting });
            }
        }
    }

    fn end(&mut self, place: usize, fate: Fate) {
        let comes_back = fate != Fate::Down;
        self.members[place].fate = Some(fate);
        self.set(place, Phase::Ending { comes_back });
    }

    fn stop(&mut self, place: usize) {
        match self.members[place].standing.phase {
            Phase::Unknown | Phase::Absent { .. } => {}
            _ if self.members[place].lives => self.end(place, Fate::Down),
            _ => self.set(place, Phase::Absent { asked: true }),
        }
    }

    fn make(&mut self, step: &Move) {
        match *step {
            Move::Load(place) => {
                let spec = self.spec.clone();
                for name in spec.needed_by(&spec.members[place]) {
                    let place = spec.place(name).unwrap();
                    match self.members[place].standing.phase {
                        Phase::Unknown | Phase::Absent { .. } | Phase::Parked => {
                            self.set(place, Phase::Waiting);
                        }
                        _ => {}
                    }
                }
            }
            Move::Unload(place) => {
                let spec = self.spec.clone();
                for name in spec.ended_with(&spec.members[place]).iter().rev() {
                    self.stop(spec.place(name).unwrap());
                }
            }
            Move::Ready(place) if self.members[place].standing.phase == Phase::Coming => {
                self.set(place, Phase::Alive);
            }
            Move::Crash(place, how) if self.members[place].standing.phase.is_up() => {
                self.fail(place, how);
            }
            Move::Restart(place) => {
                let (now, member) = (self.now, &mut self.members[place]);
                member.standing.failures.clear();
                member.standing.fresh_since = Some(now);
                match member.standing.phase {
                    Phase::Coming | Phase::Alive => self.end(place, Fate::ByHand),
                    Phase::Ending { comes_back: true } => member.fate = Some(Fate::ByHand),
                    Phase::Resting | Phase::Parked => self.set(place, Phase::Waiting),
                    _ => {}
                }
                self.tell(place);
                self.make(&Move::Load(place));
            }
            Move::Hang(place) if self.members[place].standing.phase.is_up() => {
                self.members[place].standing.why = "hang".into();
                self.end(place, Fate::Again);
            }
            Move::Gone(place) if self.members[place].lives => {
                let Some(fate) = self.members[place].fate.take() else { return };
                self.members[place].lives = false;
                match fate {
                    Fate::Down => self.set(place, Phase::Absent { asked: true }),
                    Fate::Again => self.fail(place, 1),
                    Fate::Along | Fate::ByHand => self.set(place, Phase::Waiting),
                    Fate::Parked(why) => {
                        self.members[place].standing.why = why;
                        self.set(place, Phase::Parked);
                    }
                }
            }
            Move::Wake(place) => {
                if matches!(self.members[place].standing.phase, Phase::Resting | Phase::Parked) {
                    self.set(place, Phase::Waiting);
                }
            }
            Move::Deliver(place) => {
                if let Some((from, standing, actor)) = self.reports.pop_front() {
                    let is_new = self.members[from].known.replace(actor) != Some(actor);
                    let effects = self.core.report(from, standing, is_new, self.now);
                    self.carry_out(effects);
                }
                if let Some(order) = self.members[place].orders.pop_front() {
                    self.obey(place, order);
                }
            }
            Move::ReplaceMember(place) => {
                let member = &mut self.members[place];
                if member.standing.phase != Phase::Unknown {
                    member.orders.clear();
                    member.told = None;
                    member.actor += 1;
                    self.tell(place);
                }
            }
            Move::ReplaceGroup => {
                self.core = GroupCore::new(self.spec.clone());
                self.reports.clear();
                let names = self.spec.members.iter().zip(&self.members);
                let known = names.filter(|(_, m)| m.standing.phase != Phase::Unknown);
                let known: HashSet<ModelName> = known.map(|(name, _)| name.clone()).collect();
                let effects = self.core.census(&known, self.now);
                self.carry_out(effects);
                for place in 0..MEMBERS {
                    let member = &mut self.members[place];
                    member.orders.clear();
                    member.told = None;
                    member.known = None;
                    if member.standing.phase != Phase::Unknown {
                        self.tell(place);
                    }
                }
            }
            Move::Pass(ms) => self.now = self.now + Duration::from_millis(ms),
            _ => {}
        }
    }

    fn obey(&mut self, place: usize, order: Order) {
        let phase = self.members[place].standing.phase;
        match order {
            Order::Turn { generation, round } => {
                if phase == Phase::Waiting && generation == self.members[place].standing.generation
                {
                    self.start(place, round);
                }
            }
            Order::Joined(round) => self.members[place].standing.round = Some(round),
            Order::WaitFor(_) => assert_ne!(self.spec.strategy, GroupStrategy::OneForOne),
            Order::Along(cause) => {
                assert_ne!(self.spec.strategy, GroupStrategy::OneForOne);
                if phase.is_up() {
                    self.members[place].standing.why = cause;
                    self.end(place, Fate::Along);
                }
            }
            Order::Park { why, .. } => match phase {
                Phase::Waiting | Phase::Resting => {
                    self.members[place].standing.why = why;
                    self.set(place, Phase::Parked);
                }
                Phase::Coming | Phase::Alive => self.end(place, Fate::Parked(why)),
                Phase::Ending { comes_back: true } => {
                    self.members[place].fate = Some(Fate::Parked(why));
                }
                _ => {}
            },
            Order::GaveUp { why, failure } => {
                let last = self.members[place].standing.failures.last();
                if last == Some(&failure) && matches!(phase, Phase::Waiting | Phase::Resting) {
                    self.members[place].standing.why = why;
                    self.set(place, Phase::Parked);
                }
            }
            Order::TakeDown => self.stop(place),
            Order::Forget(until) => {
                self.members[place].standing.failures.retain(|at| *at > until);
            }
        }
        self.tell(place);
    }

    /// A process is started: nobody may live who was to go with the one before it.
    fn start(&mut self, place: usize, round: u64) {
        assert!(!self.members[place].lives, "m{place} has a process");
        let lost_one = self.members[place].standing.round.is_some();
        let others = self.members.iter().enumerate().filter(|(other, _)| *other != place);
        for (other, member) in others.filter(|(_, member)| member.lives) {
            let may_live = match self.spec.strategy {
                GroupStrategy::OneForOne => true,
                GroupStrategy::OneForAll => member.standing.round == Some(round),
                GroupStrategy::RestForOne => other < place || !lost_one,
            };
            assert!(may_live, "m{place} is started while m{other} lives: {:#?}", self.members);
        }
        self.started.push((place, round));
        self.members[place].lives = true;
        self.members[place].standing.round = Some(round);
        self.members[place].standing.turns += 1;
        self.set(place, Phase::Coming);
    }

    /// Everything on its way arrives, everything ends or comes up, nothing fails.
    fn settle(&mut self) {
        for _ in 0..60 {
            for place in 0..MEMBERS {
                for step in [Move::Gone(place), Move::Wake(place), Move::Ready(place)] {
                    self.make(&step);
                }
                for _ in 0..8 {
                    self.make(&Move::Deliver(place));
                }
            }
        }
        while !self.reports.is_empty() || self.members.iter().any(|m| !m.orders.is_empty()) {
            (0..MEMBERS).for_each(|place| self.make(&Move::Deliver(place)));
        }
    }
}

fn strategies() -> impl Strategy<Value = GroupStrategy> {
    prop_oneof![
        Just(GroupStrategy::OneForOne),
        Just(GroupStrategy::OneForAll),
        Just(GroupStrategy::RestForOne),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Whatever happened, and whoever was replaced: a group that is left alone comes to rest, with nobody waiting, and
    /// with all its processes of one round where they live and die together.
    #[test]
    fn a_group_keeps_its_rules(strategy in strategies(), intensity in 0..6u32, steps in moves()) {
        let mut world = World::new(strategy, intensity);
        for step in &steps {
            world.make(step);
        }
        world.settle();
        let phases: Vec<_> = world.members.iter().map(|member| member.standing.phase).collect();
        for phase in &phases {
            prop_assert!(
                matches!(phase, Phase::Unknown | Phase::Alive | Phase::Absent { .. }),
                "{phases:?}"
            );
        }
        let rounds = world.members.iter().filter(|member| member.lives);
        let rounds: HashSet<_> = rounds.map(|member| member.standing.round).collect();
        if strategy == GroupStrategy::OneForAll {
            prop_assert!(rounds.len() <= 1, "{rounds:?} of {phases:?}");
        }
        prop_assert!(!rounds.contains(&None));
        // the group knows what is so
        for (place, phase) in phases.iter().enumerate() {
            let known = world.core.standing(place).map(|standing| standing.phase);
            let absent = matches!(phase, Phase::Unknown | Phase::Absent { .. });
            prop_assert!(known == Some(*phase) || absent, "m{place}: {known:?}, truly {phase:?}");
        }
    }

    /// Without replaced actors and late messages: after each failure those that the strategy names, and no others, are
    /// down before anybody is started again, and then they come in order.
    #[test]
    fn a_failure_takes_along_whom_the_strategy_names(
        strategy in strategies(), failing in 0..MEMBERS, hangs in any::<bool>(),
    ) {
        let mut world = World::new(strategy, 5);
        (0..MEMBERS).for_each(|place| world.make(&Move::Load(place)));
        world.settle();
        prop_assert!(world.members.iter().all(|member| member.standing.phase == Phase::Alive));
        world.started.clear();
        world.make(&if hangs { Move::Hang(failing) } else { Move::Crash(failing, 1) });
        // one process at a time is gone: the last one first
        let mut gone: Vec<usize> = Vec::new();
        for _ in 0..200 {
            (0..MEMBERS).for_each(|place| world.make(&Move::Deliver(place)));
            let ending = |place: &usize| world.members[*place].fate == Some(Fate::Along);
            let ends: Vec<_> = (0..MEMBERS).filter(ending).collect();
            prop_assert!(ends.len() <= 1, "one after another: {ends:?}");
            if !ends.is_empty() {
                prop_assert!(world.started.is_empty(), "nobody is started while others go");
            }
            gone.extend(&ends);
            ends.into_iter().chain([failing]).for_each(|place| world.make(&Move::Gone(place)));
            (0..MEMBERS).for_each(|place| world.make(&Move::Ready(place)));
        }
        let concerned: Vec<_> = (0..MEMBERS).filter(|place| match strategy {
            GroupStrategy::OneForOne => false,
            GroupStrategy::OneForAll => *place != failing,
            GroupStrategy::RestForOne => *place > failing,
        }).collect();
        prop_assert_eq!(gone.into_iter().rev().collect::<Vec<_>>(), concerned.clone());
        let mut expected = concerned;
        expected.push(failing);
        expected.sort_unstable();
        let started: Vec<_> = world.started.iter().map(|(place, _)| *place).collect();
        prop_assert_eq!(started, expected);
        prop_assert!(world.members.iter().all(|member| member.standing.phase == Phase::Alive));
    }
}

#[test]
fn generations_are_those_that_wait() {
    let mut world = World::new(GroupStrategy::OneForAll, 5);
    world.make(&Move::Load(0));
    assert_eq!(world.members[0].standing.generation, Generation(1));
    let late = Order::Turn { generation: Generation(0), round: 7 };
    world.obey(0, late);
    assert!(world.started.is_empty(), "a turn for another start is none");
}
