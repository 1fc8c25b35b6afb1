//! Start in order, stop in reverse, and what cuts a start short.

use super::*;

#[test]
fn sup_start_normal() {
    let mut stage = Stage::new(flags(Strategy::OneForOne), workers(&["a", "b"]));
    assert_eq!(stage.tell(Event::Start), ["start a"]);
    assert_eq!(stage.started("a"), ["start b"]);
    assert_eq!(stage.started("b"), ["all started"]);
    assert_eq!(stage.children(), "a:running b:running");
}

#[test]
fn a_supervisor_without_children_has_started_at_once() {
    let mut stage = Stage::new(flags(Strategy::OneForAll), vec![]);
    assert_eq!(stage.tell(Event::Start), ["all started"]);
    assert_eq!(stage.tell(Event::Stop), ["finish: shutdown"]);
}

#[test]
fn sup_start_ignore_child() {
    let mut stage = Stage::new(flags(Strategy::OneForOne), workers(&["a", "b"]));
    stage.tell(Event::Start);
    assert_eq!(stage.ignored("a"), ["start b"]);
    assert_eq!(stage.started("b"), ["all started"]);
    assert_eq!(stage.children(), "a:stopped b:running", "the spec of an ignored child is kept");
    assert_eq!(stage.restart("a"), ["start a"]);
}

#[test]
fn sup_start_ignore_temporary_child() {
    let children = vec![worker("a", Restart::Temporary), ChildRules::worker("b")];
    let mut stage = Stage::new(flags(Strategy::OneForOne), children);
    stage.tell(Event::Start);
    assert_eq!(stage.ignored("a"), ["forget a", "start b"]);
    stage.started("b");
    assert_eq!(stage.children(), "b:running");
}

#[test]
fn sup_start_fail() {
    let mut stage = Stage::new(flags(Strategy::OneForOne), workers(&["a", "b", "c", "d"]));
    stage.tell(Event::Start);
    stage.started("a");
    stage.started("b");
    assert_eq!(stage.start_failed("c"), ["stop b"]);
    assert_eq!(stage.exited("b", ExitReason::Normal), ["stop a"]);
    assert_eq!(
        stage.exited("a", ExitReason::Normal),
        ["finish: failed: child c failed to start: boom"]
    );
}

#[test]
fn a_child_that_dies_while_others_start_is_decided_on_when_all_have_started() {
    let mut stage = Stage::new(flags(Strategy::OneForOne), workers(&["a", "b"]));
    stage.tell(Event::Start);
    stage.started("a");
    assert_eq!(stage.exited("a", panic()), ["failed a: panicked: ouch"]);
    assert_eq!(stage.started("b"), ["all started", "start a"]);
    assert_eq!(stage.started("a"), ["restarted a (1)"]);
}

#[test]
fn a_failed_start_does_not_stop_what_is_dead_already() {
    let mut stage = Stage::new(flags(Strategy::OneForOne), workers(&["a", "b", "c"]));
    stage.tell(Event::Start);
    stage.started("a");
    stage.started("b");
    stage.exited("b", ExitReason::Normal);
    assert_eq!(stage.start_failed("c"), ["stop a"]);
    assert_eq!(stage.exited("a", ExitReason::Normal).len(), 1, "nothing but the finish");
}

#[test]
fn children_stop_in_reverse_one_after_another() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a", "b", "c"]));
    assert_eq!(stage.tell(Event::Stop), ["stop c"]);
    assert_eq!(stage.exited("c", ExitReason::Normal), ["stop b"]);
    assert_eq!(stage.exited("b", ExitReason::Shutdown), ["stop a"]);
    assert_eq!(stage.exited("a", ExitReason::Normal), ["finish: shutdown"]);
}

#[test]
fn sup_stop_race() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a", "b"]));
    stage.tell(Event::Stop);
    // a dies by itself while b is being stopped: it must not be asked to stop then
    assert_eq!(stage.exited("a", panic()), ["failed a: panicked: ouch"]);
    assert_eq!(stage.exited("b", ExitReason::Normal), ["finish: shutdown"]);
}

#[test]
fn a_stop_says_how() {
    let stop_of = |shutdown| {
        let rules = ChildRules { shutdown, ..ChildRules::worker("a") };
        let mut stage = Stage::running(flags(Strategy::OneForOne), vec![rules]);
        stage.core.next(Event::Stop, stage.now)
    };
    for rule in
        [Shutdown::BrutalKill, Shutdown::Timeout(Duration::from_millis(7)), Shutdown::Infinity]
    {
        assert_eq!(stop_of(rule), [Effect::Stop("a".into(), 1, rule)]);
    }
}

#[test]
fn a_stop_in_the_middle_of_the_start_breaks_it_off() {
    let mut stage = Stage::new(flags(Strategy::OneForOne), workers(&["a", "b", "c"]));
    stage.tell(Event::Start);
    stage.started("a");
    assert_eq!(stage.tell(Event::Stop), ["cancel b"]);
    assert_eq!(stage.start_failed("b"), ["stop a"]);
    assert_eq!(stage.exited("a", ExitReason::Normal), ["finish: shutdown"]);
}

#[test]
fn a_start_that_could_not_be_broken_off_is_stopped() {
    let mut stage = Stage::new(flags(Strategy::OneForOne), workers(&["a", "b"]));
    stage.tell(Event::Start);
    stage.started("a");
    stage.tell(Event::Stop);
    assert_eq!(stage.started("b"), ["stop b"]);
    assert_eq!(stage.exited("b", ExitReason::Normal), ["stop a"]);
}

#[test]
fn a_stop_before_the_start_leaves_nothing_to_start() {
    let mut stage = Stage::new(flags(Strategy::OneForOne), workers(&["a"]));
    assert_eq!(stage.tell(Event::Stop), ["finish: shutdown"]);
    assert_eq!(stage.tell(Event::Start), Vec::<String>::new());
}

#[test]
fn a_second_stop_and_a_second_start_change_nothing() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a"]));
    assert!(stage.tell(Event::Start).is_empty());
    stage.tell(Event::Stop);
    assert!(stage.tell(Event::Stop).is_empty());
    stage.exited("a", ExitReason::Normal);
    assert!(stage.tell(Event::Stop).is_empty());
}

#[test]
fn a_late_end_is_told_and_an_ordered_one_is_not() {
    let stop = |shutdown, reason| {
        let rules = ChildRules { shutdown, ..ChildRules::worker("a") };
        let mut stage = Stage::running(flags(Strategy::OneForOne), vec![rules]);
        stage.tell(Event::Stop);
        stage.exited("a", reason)
    };
    let patience = Shutdown::Timeout(Duration::from_secs(5));
    assert_eq!(stop(Shutdown::BrutalKill, ExitReason::Killed), ["finish: shutdown"]);
    assert_eq!(stop(patience, ExitReason::Shutdown), ["finish: shutdown"]);
    assert_eq!(stop(patience, ExitReason::Killed), ["failed a: killed", "finish: shutdown"]);
    assert_eq!(stop(patience, panic()), ["failed a: panicked: ouch", "finish: shutdown"]);
}

#[test]
fn order_of_children() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["c", "a", "b"]));
    stage.start_child(ChildRules::worker("0"));
    stage.started("0");
    let order: Vec<_> = stage.core.children().map(|child| child.rules.id.to_string()).collect();
    assert_eq!(order, ["c", "a", "b", "0"], "the order of the specs, added ones last");
}

#[test]
fn sup_start_map_faulty_specs() {
    let valid = SupervisorFlags::default();
    let refused = |flags, children| Core::new(flags, children).expect_err("must be refused");
    let zero = SupervisorFlags { period: Duration::ZERO, ..valid };
    assert_eq!(refused(zero, vec![]), InvalidSpec::ZeroPeriod);
    assert_eq!(refused(valid, workers(&["a", "a"])), InvalidSpec::DuplicateChild("a".into()));
}

#[test]
fn child_specs_have_the_defaults_of_otp() {
    let worker = ChildRules::worker("w");
    assert_eq!(worker.restart, Restart::Permanent);
    assert_eq!(worker.shutdown, Shutdown::Timeout(Duration::from_secs(5)));
    assert_eq!((worker.kind, worker.significant), (ChildKind::Worker, false));
    let supervisor = ChildRules::supervisor("s");
    assert_eq!(supervisor.shutdown, Shutdown::Infinity);
    assert_eq!((supervisor.kind, supervisor.restart), (ChildKind::Supervisor, Restart::Permanent));
}

#[test]
fn sup_flags() {
    let flags = SupervisorFlags::default();
    assert_eq!(flags.strategy, Strategy::OneForOne);
    assert_eq!((flags.intensity, flags.period), (1, Duration::from_secs(5)));
    assert_eq!((flags.auto_shutdown, flags.max_children), (AutoShutdown::Never, None));
}
