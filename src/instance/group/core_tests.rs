use super::*;

const NOW: Moment = Moment::from_millis(0);

fn core(strategy: GroupStrategy, members: &[&str]) -> GroupCore {
    let spec = GroupSpec::new("g", strategy, members).expect("names");
    let mut core = GroupCore::new(Arc::new(GroupSpec { intensity: 1, ..spec }));
    assert_eq!(core.census(&HashSet::new(), NOW), []);
    core
}

fn standing(phase: Phase, round: Option<u64>) -> Standing {
    Standing { phase, round, why: "exit 3".into(), ..Standing::default() }
}

/// It took its turn, and waits for another one.
fn again(round: u64) -> Standing {
    Standing { turns: 1, ..standing(Phase::Waiting, Some(round)) }
}

fn orders(effects: Vec<Effect>) -> Vec<(usize, Order)> {
    let orders = effects.into_iter().filter_map(|effect| match effect {
        Effect::Order(place, order) => Some((place, order)),
        Effect::Tell { .. } => None,
    });
    orders.collect()
}

fn tell(core: &mut GroupCore, place: usize, standing: Standing) -> Vec<(usize, Order)> {
    orders(core.report(place, standing, false, NOW))
}

fn turn(round: u64) -> Order {
    Order::Turn { generation: Generation(0), round }
}

/// Both are alive, in the first round.
fn pair(strategy: GroupStrategy) -> GroupCore {
    let mut core = core(strategy, &["a", "b"]);
    for place in 0..2 {
        let turns = tell(&mut core, place, standing(Phase::Waiting, None));
        assert_eq!(turns, [(place, turn(1))]);
        assert_eq!(tell(&mut core, place, standing(Phase::Alive, Some(1))), []);
    }
    core
}

#[test]
fn nothing_is_decided_before_it_is_known_who_is_there() {
    let spec = GroupSpec::new("g", GroupStrategy::OneForAll, ["a", "b"]).expect("names");
    let mut core = GroupCore::new(Arc::new(spec));
    let waits = tell(&mut core, 1, standing(Phase::Waiting, None));
    let a = ModelName::try_new("a").expect("a name");
    assert_eq!(waits, [(1, Order::WaitFor(a.clone()))]);
    assert_eq!(core.census(&HashSet::from([a]), NOW), [], "one is on record and was not heard of");
    assert_eq!(orders(core.census(&HashSet::new(), NOW)), [(1, turn(1))]);
}

#[test]
fn what_came_up_without_the_group_belongs_to_its_round() {
    let mut core = core(GroupStrategy::OneForAll, &["a", "b"]);
    for place in 0..2 {
        let told = tell(&mut core, place, standing(Phase::Alive, None));
        assert_eq!(told, [(place, Order::Joined(1))]);
        assert_eq!(tell(&mut core, place, standing(Phase::Alive, Some(1))), []);
    }
    let along = Order::Along("with a: exit 3".into());
    assert_eq!(tell(&mut core, 0, standing(Phase::Resting, Some(1))), [(1, along)]);
}

#[test]
fn a_window_that_is_used_up_is_the_failed_members_to_answer_and_asked_again_of_its_successor() {
    let mut core = pair(GroupStrategy::OneForOne);
    let failed = |at: u64, phase| Standing {
        failures: vec![Moment::from_millis(at)],
        until: Some(NOW),
        ..standing(phase, Some(1))
    };
    assert_eq!(tell(&mut core, 0, failed(1, Phase::Resting)), []);
    let why = "group g: 1 restart in 10m used up, last: b: exit 3".to_owned();
    let gave_up = (1, Order::GaveUp { why, failure: Moment::from_millis(2) });
    let told = core.report(1, failed(2, Phase::Waiting), false, NOW);
    assert!(told.iter().any(|e| matches!(e, Effect::Tell { kind: "group_gave_up", .. })));
    assert_eq!(orders(told), std::slice::from_ref(&gave_up), "and it has no turn meanwhile");
    let again = core.report(1, failed(2, Phase::Waiting), true, NOW);
    assert_eq!(orders(again), std::slice::from_ref(&gave_up));

    let Order::GaveUp { why, .. } = gave_up.1 else { unreachable!("made above") };
    let told = tell(&mut core, 1, failed(2, Phase::Parked));
    assert_eq!(told, [(0, Order::Park { why, cool_off: Duration::ZERO })], "then all are parked");
}

#[test]
fn a_restart_by_hand_forgets_the_failures_of_all() {
    let at = Moment::from_millis;
    let with = |failures: &[u64], fresh_since: Option<u64>, phase| Standing {
        failures: failures.iter().copied().map(at).collect(),
        fresh_since: fresh_since.map(at),
        ..standing(phase, Some(1))
    };
    for replaced in [false, true] {
        let mut core = pair(GroupStrategy::OneForOne);
        assert_eq!(tell(&mut core, 0, with(&[1], None, Phase::Alive)), []);
        if replaced {
            core = super::GroupCore::new(core.spec().clone());
            core.report(0, with(&[1], None, Phase::Alive), true, NOW);
        }
        // the one that is restarted had no failure itself
        let told = tell(&mut core, 1, with(&[], Some(2), Phase::Ending { comes_back: true }));
        assert_eq!(told, [(0, Order::Forget(at(2)))]);
        assert_eq!(tell(&mut core, 1, with(&[], Some(2), Phase::Alive)), [], "once");
        // the next ones count anew, also where the word crossed one of them
        assert_eq!(tell(&mut core, 0, with(&[1, 3], None, Phase::Alive)), []);
        assert_eq!(tell(&mut core, 0, with(&[3], None, Phase::Alive)), []);
        let told = tell(&mut core, 1, with(&[4], Some(2), Phase::Resting));
        assert!(matches!(told[..], [(1, Order::GaveUp { failure, .. })] if failure == at(4)));
    }
}

#[test]
fn a_failure_that_is_forgotten_has_no_consequence() {
    let mut core = pair(GroupStrategy::OneForAll);
    let failed = |at: &[u64], generation, fresh_since| Standing {
        failures: at.iter().copied().map(Moment::from_millis).collect(),
        generation: Generation(generation),
        fresh_since,
        ..standing(Phase::Waiting, Some(1))
    };
    let told = tell(&mut core, 0, failed(&[1, 2], 1, None));
    let second = Moment::from_millis(2);
    assert!(
        matches!(told[..], [(0, Order::GaveUp { failure, .. })] if failure == second),
        "{told:?}"
    );
    tell(&mut core, 1, standing(Phase::Absent { asked: false }, None));
    // restarted by hand while that is on its way: it waits for its turn, as it did, and gets it
    let told = tell(&mut core, 0, failed(&[], 1, Some(Moment::from_millis(3))));
    assert!(matches!(told[..], [(1, Order::Forget(_)), (0, Order::Turn { .. })]), "{told:?}");
}

#[test]
fn who_is_unloaded_leaves_nobody_behind_that_cannot_be_without_it() {
    for (strategy, taken_down) in [
        (GroupStrategy::OneForOne, vec![]),
        (GroupStrategy::OneForAll, vec![(1, Order::TakeDown)]),
        (GroupStrategy::RestForOne, vec![(1, Order::TakeDown)]),
    ] {
        let mut core = pair(strategy);
        assert_eq!(tell(&mut core, 0, standing(Phase::Ending { comes_back: false }, Some(1))), []);
        let told = tell(&mut core, 0, standing(Phase::Absent { asked: true }, None));
        assert_eq!(told, taken_down, "{strategy:?}");
    }
    // one that ended and is not to be restarted concerns nobody
    let mut core = pair(GroupStrategy::OneForAll);
    assert_eq!(tell(&mut core, 0, standing(Phase::Absent { asked: false }, None)), []);
}

#[test]
fn other_rules_take_nobody_down() {
    let mut core = pair(GroupStrategy::OneForAll);
    let members = ["b", "c", "a"];
    let spec = GroupSpec::new("g", GroupStrategy::RestForOne, members).expect("names");
    assert_eq!(core.reshape(Arc::new(spec), NOW), []);
    assert_eq!(core.census(&HashSet::new(), NOW), []);
    // a is the last one now, and goes with b
    let along = Order::Along("with b: exit 3".into());
    assert_eq!(
        tell(&mut core, 0, again(1)),
        [(2, along), (0, Order::WaitFor(ModelName::try_new("a").expect("a name"))),]
    );
}

#[test]
fn a_word_that_crossed_a_turn_loses_no_process() {
    let mut core = pair(GroupStrategy::RestForOne);
    assert_eq!(tell(&mut core, 1, again(1)), [(1, turn(1))]);
    // told again before the turn came, since its failures are forgotten
    let word = Standing { fresh_since: Some(NOW), ..again(1) };
    assert_eq!(tell(&mut core, 1, word), [(0, Order::Forget(NOW))]);
    assert_eq!(core.standing(1).map(|standing| standing.phase), Some(Phase::Coming));
}

#[test]
fn what_the_kernel_holds_is_waited_for() {
    let mut core = pair(GroupStrategy::OneForAll);
    tell(&mut core, 0, standing(Phase::Stuck, Some(1)));
    let told = tell(&mut core, 1, again(1));
    assert_eq!(told, [(1, Order::WaitFor(ModelName::try_new("a").expect("a name")))]);
    tell(&mut core, 0, again(1));
    assert_eq!(core.standing(0).map(|standing| standing.phase), Some(Phase::Coming));
}

#[test]
fn who_is_wanted_again_while_it_is_to_be_parked_is_not_kept_waiting() {
    let mut core = pair(GroupStrategy::OneForAll);
    let parked = Standing { until: Some(NOW), ..standing(Phase::Parked, Some(1)) };
    let told = tell(&mut core, 0, parked);
    assert!(matches!(told[..], [(1, Order::Park { .. })]), "{told:?}");
    tell(&mut core, 1, standing(Phase::Ending { comes_back: true }, Some(1)));
    let waiting = Standing { generation: Generation(1), ..standing(Phase::Waiting, Some(1)) };
    tell(&mut core, 1, waiting.clone());
    let a = Standing { generation: Generation(1), ..standing(Phase::Waiting, Some(1)) };
    let generation = Generation(1);
    assert_eq!(tell(&mut core, 0, a), [(0, Order::Turn { generation, round: 2 })]);
    let told = tell(&mut core, 0, standing(Phase::Alive, Some(2)));
    assert_eq!(told, [(1, Order::Turn { generation, round: 2 })]);
}
