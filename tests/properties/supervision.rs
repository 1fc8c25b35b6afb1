//! The core of a supervisor: a world of starts, exits, requests and changes of specs plays at random with it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{
    Just, ProptestConfig, Strategy as Generator, any, prop, prop_assert, prop_assert_eq,
    prop_oneof, proptest,
};
use symphony::clock::Moment;
use symphony::supervision::core::{AdminError, Core, Effect, Epoch, Event, Notice, Ticket};
use symphony::supervision::spec::check_child;
use symphony::supervision::window::RestartWindow;
use symphony::supervision::{
    AutoShutdown, ChildId, ChildRules, ExitReason, Restart, Strategy, SupervisorFlags,
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Debug, Clone)]
enum Move {
    FinishStart(usize, Outcome),
    Exit(usize, ExitReason),
    Retry(usize),
    /// A report of a start that is long over.
    Stale(usize, ExitReason),
    StartChild(ChildRules),
    Terminate(ChildId),
    Restart(ChildId),
    Delete(ChildId),
    /// New flags (the strategy is put right) and children.
    Change(SupervisorFlags, Vec<ChildRules>),
    /// A watcher's verdict on a live child.
    Wedge(usize),
    Advance(u64),
    Stop,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Runs,
    Ignores,
    Fails,
}

/// Everything outside the core, with what must always hold.
struct World {
    core: Core,
    now: Moment,
    starting: Vec<(Epoch, ChildId)>,
    live: Vec<(Epoch, ChildId)>,
    stopping: HashSet<Epoch>,
    cancelled: HashSet<Epoch>,
    over: Vec<Epoch>,
    retries: Vec<ChildId>,
    factories: HashSet<ChildId>,
    open: HashSet<Ticket>,
    /// Requests that change specs.
    changes: HashSet<Ticket>,
    /// Who was killed because it was wedged.
    killed: HashSet<Epoch>,
    last_ticket: Ticket,
    start_times: HashMap<Epoch, Moment>,
    restarts: Vec<(ChildId, Moment)>,
    stops: Vec<ChildId>,
    ending: bool,
    finished: bool,
}

impl World {
    fn new(flags: SupervisorFlags, children: Vec<ChildRules>) -> Self {
        let factories = children.iter().map(|rules| rules.id.clone()).collect();
        let mut world = Self {
            core: Core::new(flags, children).expect("valid specs"),
            now: Moment::default(),
            starting: Vec::new(),
            live: Vec::new(),
            stopping: HashSet::new(),
            cancelled: HashSet::new(),
            over: Vec::new(),
            retries: Vec::new(),
            factories,
            open: HashSet::new(),
            changes: HashSet::new(),
            killed: HashSet::new(),
            last_ticket: 0,
            start_times: HashMap::new(),
            restarts: Vec::new(),
            stops: Vec::new(),
            ending: false,
            finished: false,
        };
        world.tell(Event::Start);
        world
    }

    fn tell(&mut self, event: Event) {
        let told_of = match &event {
            Event::Started(epoch) | Event::StartFailed(epoch, _) => Some(*epoch),
            Event::Stop => {
                self.ending = true;
                None
            }
            _ => None,
        };
        for effect in self.core.next(event, self.now) {
            assert!(
                !self.finished || matches!(effect, Effect::Answer(_, Err(AdminError::Stopping))),
                "{effect:?} after the end"
            );
            self.perform(effect, told_of);
        }
    }

    fn perform(&mut self, effect: Effect, told_of: Option<Epoch>) {
        match effect {
            Effect::Start(child, epoch) => {
                assert!(!self.ending, "{child} is started although the end is decided");
                assert!(self.factories.contains(&child), "{child} has no factory");
                let present = self.starting.iter().chain(&self.live);
                assert!(present.clone().all(|(_, other)| *other != child), "{child} lives twice");
                assert!(self.start_times.insert(epoch, self.now).is_none(), "an epoch used twice");
                self.starting.push((epoch, child));
            }
            Effect::CancelStart(child, epoch) => {
                assert!(self.starting.contains(&(epoch, child)), "nothing to break off");
                assert!(self.cancelled.insert(epoch), "broken off twice");
            }
            Effect::Stop(child, epoch, _) => {
                assert!(self.live.contains(&(epoch, child.clone())), "{child} does not run");
                assert!(self.stopping.insert(epoch), "{child} is stopped twice");
                self.stops.push(child);
            }
            Effect::RetryLater(child) => self.retries.push(child),
            Effect::Adopt(ticket, child) => {
                assert!(self.open.contains(&ticket));
                let fresh = self.factories.insert(child);
                assert!(fresh || self.changes.contains(&ticket), "a factory would be lost");
            }
            Effect::Kill(child, epoch, _) => {
                assert!(self.live.contains(&(epoch, child)), "it is dead already");
                self.killed.insert(epoch);
            }
            Effect::Forget(child) => assert!(self.factories.remove(&child)),
            Effect::Answer(ticket, _) => {
                assert!(self.open.remove(&ticket), "ticket {ticket} is answered twice");
            }
            Effect::Notify(
                Notice::ChildRestarted { child, .. } | Notice::RestartFailed { child, .. },
            ) => {
                let epoch = told_of.expect("only the end of a start tells of a restart");
                self.restarts.push((child, self.start_times[&epoch]));
            }
            Effect::Notify(Notice::GaveUp { .. }) => self.ending = true,
            Effect::Notify(Notice::ChildFailed { .. } | Notice::ChildWedged { .. })
            | Effect::AllStarted => {}
            Effect::Finish(_) => {
                assert!(self.live.is_empty() && self.starting.is_empty(), "somebody is left");
                self.ending = true;
                self.finished = true;
            }
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.open.insert(self.last_ticket);
        self.last_ticket
    }

    fn finish_start(&mut self, index: usize, outcome: Outcome) {
        let (epoch, child) = self.starting.remove(index);
        match outcome {
            Outcome::Runs => {
                self.live.push((epoch, child));
                self.tell(Event::Started(epoch));
            }
            Outcome::Ignores => {
                self.over.push(epoch);
                self.tell(Event::Ignored(epoch));
            }
            Outcome::Fails => {
                self.over.push(epoch);
                self.tell(Event::StartFailed(epoch, "boom".to_owned()));
            }
        }
    }

    fn exit(&mut self, index: usize, reason: ExitReason) {
        let (epoch, _) = self.live.remove(index);
        self.over.push(epoch);
        self.tell(Event::Exited(epoch, reason));
    }

    fn play(&mut self, next: Move) {
        match next {
            Move::FinishStart(nth, outcome) if !self.starting.is_empty() => {
                self.finish_start(nth % self.starting.len(), outcome);
            }
            Move::Exit(nth, reason) if !self.live.is_empty() => {
                self.exit(nth % self.live.len(), reason);
            }
            Move::Retry(nth) if !self.retries.is_empty() => {
                let child = self.retries.remove(nth % self.retries.len());
                self.tell(Event::Retry(child));
            }
            Move::Stale(nth, reason) if !self.over.is_empty() => {
                let epoch = self.over[nth % self.over.len()];
                for event in [
                    Event::Exited(epoch, reason),
                    Event::Started(epoch),
                    Event::Ignored(epoch),
                    Event::StartFailed(epoch, "late".to_owned()),
                ] {
                    let before: Vec<_> = self.core.children().collect();
                    assert_eq!(self.core.next(event, self.now), [], "a stale report had effects");
                    assert_eq!(self.core.children().collect::<Vec<_>>(), before);
                }
            }
            Move::FinishStart(..) | Move::Exit(..) | Move::Retry(_) | Move::Stale(..) => {}
            Move::StartChild(rules) => {
                let ticket = self.ticket();
                self.tell(Event::StartChild(ticket, rules));
            }
            Move::Terminate(child) => {
                let ticket = self.ticket();
                self.tell(Event::TerminateChild(ticket, child));
            }
            Move::Restart(child) => {
                let ticket = self.ticket();
                self.tell(Event::RestartChild(ticket, child));
            }
            Move::Delete(child) => {
                let ticket = self.ticket();
                self.tell(Event::DeleteChild(ticket, child));
            }
            Move::Change(flags, children) => self.change(flags, children),
            Move::Wedge(nth) if !self.live.is_empty() => {
                let epoch = self.live[nth % self.live.len()].0;
                self.tell(Event::Wedged(epoch, Duration::from_secs(3)));
            }
            Move::Wedge(_) => {}
            Move::Advance(ms) => self.now = self.now + Duration::from_millis(ms),
            Move::Stop => self.tell(Event::Stop),
        }
    }

    fn change(&mut self, flags: SupervisorFlags, mut children: Vec<ChildRules>) {
        let strategy = self.core.flags().strategy;
        // the one thing that may not change; what is legal besides is tried, too
        let dynamic = strategy == Strategy::Dynamic;
        let legal = dynamic == (flags.strategy == Strategy::Dynamic);
        let flags =
            SupervisorFlags { strategy: if legal { flags.strategy } else { strategy }, ..flags };
        for rules in &mut children {
            rules.significant &= check_child(&flags, rules).is_ok();
        }
        let ticket = self.ticket();
        self.changes.insert(ticket);
        self.tell(Event::ChangeSpecs(ticket, flags, children));
    }

    /// Lets happen what must happen by itself: starts end, those who were asked to stop do, retries arrive.
    fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < 10_000, "it never comes to rest");
            if !self.starting.is_empty() {
                let broken_off = self.cancelled.contains(&self.starting[0].0);
                let outcome = if broken_off { Outcome::Fails } else { Outcome::Runs };
                self.finish_start(0, outcome);
            } else if let Some(index) =
                self.live.iter().position(|(epoch, _)| self.killed.contains(epoch))
            {
                self.exit(index, ExitReason::Wedged(Duration::from_secs(3)));
            } else if let Some(index) =
                self.live.iter().position(|(epoch, _)| self.stopping.contains(epoch))
            {
                self.exit(index, ExitReason::Normal);
            } else if let Some(child) = self.retries.pop() {
                self.tell(Event::Retry(child));
            } else {
                return;
            }
        }
    }
}

fn reasons() -> impl Generator<Value = ExitReason> {
    prop_oneof![
        Just(ExitReason::Normal),
        Just(ExitReason::Shutdown),
        Just(ExitReason::Panic("ouch".to_owned())),
        Just(ExitReason::Killed),
    ]
}

fn names() -> impl Generator<Value = ChildId> {
    prop::sample::select(&NAMES[..]).prop_map(ChildId::from)
}

fn rules(flags: SupervisorFlags) -> impl Generator<Value = ChildRules> {
    let restarts =
        prop::sample::select(vec![Restart::Permanent, Restart::Transient, Restart::Temporary]);
    (names(), restarts, any::<bool>()).prop_map(move |(id, restart, significant)| {
        let mut rules = ChildRules { restart, significant, ..ChildRules::worker(id.as_str()) };
        rules.significant &= check_child(&flags, &rules).is_ok();
        rules
    })
}

fn moves(flags: SupervisorFlags) -> impl Generator<Value = Move> {
    let outcomes = prop_oneof![
        6 => Just(Outcome::Runs),
        1 => Just(Outcome::Ignores),
        2 => Just(Outcome::Fails),
    ];
    prop_oneof![
        12 => (any::<usize>(), outcomes).prop_map(|(nth, outcome)| Move::FinishStart(nth, outcome)),
        8 => (any::<usize>(), reasons()).prop_map(|(nth, reason)| Move::Exit(nth, reason)),
        3 => any::<usize>().prop_map(Move::Retry),
        1 => (any::<usize>(), reasons()).prop_map(|(nth, reason)| Move::Stale(nth, reason)),
        4 => rules(flags).prop_map(Move::StartChild),
        3 => names().prop_map(Move::Terminate),
        2 => names().prop_map(Move::Restart),
        2 => names().prop_map(Move::Delete),
        1 => (all_flags(), children(flags)).prop_map(|(flags, children)| Move::Change(flags, children)),
        1 => any::<usize>().prop_map(Move::Wedge),
        6 => (0u64..60).prop_map(Move::Advance),
    ]
}

fn all_flags() -> impl Generator<Value = SupervisorFlags> {
    let strategies = prop::sample::select(vec![
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
        Strategy::Dynamic,
    ]);
    let auto_shutdowns = prop::sample::select(vec![
        AutoShutdown::Never,
        AutoShutdown::AnySignificant,
        AutoShutdown::AllSignificant,
    ]);
    let limits = prop::option::weighted(0.3, 1usize..4);
    (strategies, 0u32..12, 1u64..80, auto_shutdowns, limits).prop_map(
        |(strategy, intensity, period, auto_shutdown, max_children)| SupervisorFlags {
            strategy,
            intensity,
            period: Duration::from_millis(period),
            auto_shutdown,
            max_children,
        },
    )
}

/// A supervisor, its first children, and what happens to it.
fn games() -> impl Generator<Value = (SupervisorFlags, Vec<ChildRules>, Vec<Move>)> {
    all_flags().prop_flat_map(|flags| (Just(flags), children(flags), vec(moves(flags), 0..120)))
}

fn children(flags: SupervisorFlags) -> impl Generator<Value = Vec<ChildRules>> {
    vec(rules(flags), 0..5).prop_map(|mut children| {
        let mut seen = HashSet::new();
        children.retain(|rules| seen.insert(rules.id.clone()));
        children
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The world asserts at each effect: one live start per child, no start without a factory, no stop of what does not
    /// run, no answer twice, nothing after the end.
    #[test]
    fn every_path_comes_to_rest_and_then_to_its_end((flags, children, moves) in games()) {
        let mut world = World::new(flags, children);
        for next in moves {
            world.play(next);
        }
        world.settle();
        prop_assert!(world.open.is_empty(), "requests without an answer: {:?}", world.open);
        let order: Vec<ChildId> = world.core.children().map(|child| child.rules.id).collect();
        world.stops.clear();
        world.tell(Event::Stop);
        world.settle();
        prop_assert!(world.finished);
        prop_assert!(world.live.is_empty());
        if flags.strategy != Strategy::Dynamic {
            let places: Vec<_> = world
                .stops
                .iter()
                .map(|stopped| order.iter().position(|child| child == stopped))
                .collect();
            prop_assert!(places.windows(2).all(|pair| pair[0] > pair[1]), "stopped in {places:?}");
        }
    }

    #[test]
    fn a_stop_at_any_moment_ends_it_and_starts_nothing(
        (flags, children, moves) in games(),
        at in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new(flags, children);
        let at = at.index(moves.len() + 1);
        for (nth, next) in moves.into_iter().enumerate() {
            if nth == at {
                world.play(Move::Stop);
            }
            world.play(next);
        }
        world.play(Move::Stop);
        world.settle();
        prop_assert!(world.finished);
        prop_assert!(world.open.is_empty(), "requests without an answer: {:?}", world.open);
        prop_assert!(world.live.is_empty());
    }

    #[test]
    fn restarts_in_any_window_stay_within_the_intensity((flags, children, moves) in games()) {
        let mut world = World::new(flags, children);
        for next in moves {
            world.play(match next {
                // one window to look at, whatever becomes of the children
                Move::Change(_, children) => Move::Change(flags, children),
                next => next,
            });
        }
        let alone = matches!(flags.strategy, Strategy::OneForOne | Strategy::Dynamic);
        // a group takes its time, so the last start of one restart and the first of the next may come close
        let limit = flags.intensity as usize + usize::from(!alone);
        for (child, from) in &world.restarts {
            let count = world
                .restarts
                .iter()
                .filter(|(other, _)| alone || other == child)
                .filter(|(_, at)| at >= from && at.since(*from) <= flags.period)
                .count();
            prop_assert!(count <= limit, "{count} restarts of {child} in one window");
        }
    }

    /// What the window allows at a moment it also allows later; and it never holds more than its limit.
    #[test]
    fn the_window_is_monotone_in_time(
        limit in 0u32..6,
        period in 1u64..50,
        gaps in vec(0u64..30, 0..60),
        later in 0u64..100,
    ) {
        let period = Duration::from_millis(period);
        let mut window = RestartWindow::new(limit, period);
        let mut now = Moment::default();
        let mut admitted = Vec::new();
        for gap in gaps {
            now = now + Duration::from_millis(gap);
            let mut at_a_later_time = window.clone();
            let allowed = window.admit(now);
            let later = at_a_later_time.admit(now + Duration::from_millis(later));
            prop_assert!(later || !allowed, "allowed at {now} and not later");
            if allowed {
                admitted.push(now);
            }
            let inside = admitted.iter().filter(|at| now.since(**at) <= period).count();
            prop_assert!(inside <= limit as usize);
            prop_assert_eq!(window.count(now), inside);
            prop_assert!(allowed || inside == limit as usize, "refused without need");
        }
    }
}
