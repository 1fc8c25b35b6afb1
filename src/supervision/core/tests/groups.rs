//! one_for_all and rest_for_one: who goes down and comes up together.

use super::*;

#[test]
fn one_for_all() {
    let mut stage = Stage::running(flags(Strategy::OneForAll), workers(&["a", "b", "c"]));
    assert_eq!(stage.exited("b", panic()), ["failed b: panicked: ouch", "stop c"]);
    assert_eq!(stage.exited("c", ExitReason::Normal), ["stop a"]);
    assert_eq!(stage.exited("a", ExitReason::Normal), ["start a"]);
    assert_eq!(stage.started("a"), ["restarted a (1)", "start b"]);
    assert_eq!(stage.started("b"), ["restarted b (1)", "start c"]);
    assert_eq!(stage.started("c"), ["restarted c (1)"]);
}

#[test]
fn one_for_all_escalation() {
    let mut stage = Stage::running(flags(Strategy::OneForAll), workers(&["a", "b"]));
    stage.exited("a", panic());
    stage.exited("b", ExitReason::Normal);
    stage.started("a");
    stage.started("b");
    assert_eq!(stage.exited("a", panic()), ["failed a: panicked: ouch", "gave up on a", "stop b"]);
    assert_eq!(stage.exited("b", ExitReason::Normal), ["finish: shutdown"]);
}

#[test]
fn one_for_all_other_child_fails_restart() {
    let flags = SupervisorFlags { intensity: 3, ..flags(Strategy::OneForAll) };
    let mut stage = Stage::running(flags, workers(&["a", "b", "c"]));
    stage.exited("a", panic());
    stage.exited("c", ExitReason::Normal);
    stage.exited("b", ExitReason::Normal);
    stage.started("a");
    assert_eq!(stage.start_failed("b"), ["restart of b failed: boom", "retry b"]);
    assert_eq!(stage.children(), "a:running b:restarting c:stopped");
    // the whole group again, beginning with what runs
    assert_eq!(stage.retry("b"), ["stop a"]);
    assert_eq!(stage.exited("a", ExitReason::Normal), ["start a"]);
    assert_eq!(stage.started("a"), ["restarted a (2)", "start b"]);
    assert_eq!(stage.started("b"), ["restarted b (1)", "start c"]);
    assert_eq!(stage.started("c"), ["restarted c (1)"]);
}

#[test]
fn rest_for_one() {
    let mut stage = Stage::running(flags(Strategy::RestForOne), workers(&["a", "b", "c", "d"]));
    assert_eq!(stage.exited("b", panic()), ["failed b: panicked: ouch", "stop d"]);
    assert_eq!(stage.exited("d", ExitReason::Normal), ["stop c"]);
    assert_eq!(stage.exited("c", ExitReason::Normal), ["start b"]);
    assert_eq!(stage.started("b"), ["restarted b (1)", "start c"]);
    assert_eq!(stage.started("c"), ["restarted c (1)", "start d"]);
    assert_eq!(stage.started("d"), ["restarted d (1)"]);
}

#[test]
fn rest_for_one_escalation() {
    let mut stage = Stage::running(flags(Strategy::RestForOne), workers(&["a", "b"]));
    stage.exited("b", panic());
    stage.started("b");
    assert_eq!(stage.exited("b", panic()), ["failed b: panicked: ouch", "gave up on b", "stop a"]);
    assert_eq!(stage.exited("a", ExitReason::Normal), ["finish: shutdown"]);
}

#[test]
fn rest_for_one_other_child_fails_restart() {
    let flags = SupervisorFlags { intensity: 3, ..flags(Strategy::RestForOne) };
    let mut stage = Stage::running(flags, workers(&["a", "b", "c"]));
    stage.exited("a", panic());
    stage.exited("c", ExitReason::Normal);
    stage.exited("b", ExitReason::Normal);
    stage.started("a");
    assert_eq!(stage.start_failed("b"), ["restart of b failed: boom", "retry b"]);
    // from the failed one on: a keeps running
    assert_eq!(stage.retry("b"), ["start b"]);
    assert_eq!(stage.started("b"), ["restarted b (1)", "start c"]);
    assert_eq!(stage.started("c"), ["restarted c (1)"]);
    assert_eq!(stage.children(), "a:running b:running c:running");
}

#[test]
fn hanging_restart_loop_rest_for_one() {
    let flags = SupervisorFlags { intensity: 1_000_000, ..flags(Strategy::RestForOne) };
    let mut stage = Stage::running(flags, workers(&["a", "b", "c"]));
    stage.exited("b", panic());
    stage.exited("c", ExitReason::Normal);
    for _ in 0..100 {
        stage.start_failed("b");
        stage.retry("b");
    }
    stage.start_failed("b");
    assert_eq!(stage.terminate("b"), ["answer 1: Terminated"]);
    assert!(stage.retry("b").is_empty());
    assert_eq!(stage.children(), "a:running b:stopped c:stopped");
}

#[test]
fn temporary_bystander() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let children = vec![ChildRules::worker("a"), worker("t", Restart::Temporary)];
        let mut stage = Stage::running(flags(strategy), children);
        stage.exited("a", panic());
        assert_eq!(stage.exited("t", ExitReason::Normal), ["start a"], "{strategy:?}");
        assert_eq!(stage.started("a"), ["restarted a (1)"]);
        assert_eq!(stage.children(), "a:running");
    }
}

#[test]
fn a_bystander_that_dies_by_itself_during_the_restart_counts_once() {
    let mut stage = Stage::running(flags(Strategy::OneForAll), workers(&["a", "b", "c"]));
    stage.exited("a", panic());
    // while c is being stopped, b dies too: no second restart follows from it
    assert_eq!(stage.exited("b", panic()), ["failed b: panicked: ouch"]);
    assert_eq!(stage.exited("c", ExitReason::Normal), ["start a"]);
    stage.started("a");
    stage.started("b");
    assert_eq!(stage.started("c"), ["restarted c (1)"]);
}

#[test]
fn a_member_that_dies_again_while_the_others_start_is_decided_on_afterwards() {
    let flags = SupervisorFlags { intensity: 2, ..flags(Strategy::OneForAll) };
    let mut stage = Stage::running(flags, workers(&["a", "b"]));
    stage.exited("a", panic());
    stage.exited("b", ExitReason::Normal);
    stage.started("a");
    assert_eq!(stage.exited("a", panic()), ["failed a: panicked: ouch"]);
    assert_eq!(stage.started("b"), ["restarted b (1)", "stop b"]);
    assert_eq!(stage.exited("b", ExitReason::Normal), ["start a"]);
}

#[test]
fn a_group_restart_also_starts_what_was_terminated_by_hand() {
    let mut stage = Stage::running(flags(Strategy::OneForAll), workers(&["a", "b"]));
    stage.terminate("b");
    stage.exited("b", ExitReason::Normal);
    assert_eq!(stage.exited("a", panic()), ["failed a: panicked: ouch", "start a"]);
    assert_eq!(stage.started("a"), ["restarted a (1)", "start b"]);
}

#[test]
fn a_stop_in_the_middle_of_a_group_restart_starts_nothing_more() {
    let mut stage = Stage::running(flags(Strategy::OneForAll), workers(&["a", "b", "c"]));
    stage.exited("b", panic());
    assert!(stage.tell(Event::Stop).is_empty(), "c is being stopped already");
    assert_eq!(stage.exited("c", ExitReason::Normal), ["stop a"]);
    assert_eq!(stage.exited("a", ExitReason::Normal), ["finish: shutdown"]);
}

#[test]
fn a_temporary_child_that_fails_takes_nobody_along() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let children = vec![worker("t", Restart::Temporary), ChildRules::worker("a")];
        let mut stage = Stage::running(flags(strategy), children);
        assert_eq!(stage.exited("t", panic()), ["failed t: panicked: ouch"]);
        assert_eq!(stage.children(), "a:running");
    }
}

#[test]
fn requests_wait_until_a_group_has_been_restarted() {
    let mut stage = Stage::running(flags(Strategy::OneForAll), workers(&["a", "b"]));
    stage.exited("a", panic());
    assert!(stage.terminate("a").is_empty());
    assert!(stage.start_child(ChildRules::worker("c")).is_empty());
    stage.exited("b", ExitReason::Normal);
    stage.started("a");
    assert_eq!(stage.started("b"), ["restarted b (1)", "stop a"]);
    assert_eq!(
        stage.exited("a", ExitReason::Normal),
        ["answer 1: Terminated", "adopt c", "start c"]
    );
    assert_eq!(stage.started("c"), ["answer 2: Started"]);
}
