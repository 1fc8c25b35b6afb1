//! Restart classes, the window, failed restarts, exits that came too late.

use super::*;

/// What one_for_one says when a child of this class ends like this.
fn end_of(restart: Restart, reason: ExitReason) -> Vec<String> {
    let mut stage = Stage::running(flags(Strategy::OneForOne), vec![worker("a", restart)]);
    stage.exited("a", reason)
}

#[test]
fn permanent_normal() {
    assert_eq!(end_of(Restart::Permanent, ExitReason::Normal), ["failed a: normal", "start a"]);
}

#[test]
fn permanent_shutdown() {
    assert_eq!(end_of(Restart::Permanent, ExitReason::Shutdown), ["failed a: shutdown", "start a"]);
}

#[test]
fn permanent_abnormal() {
    let failed = ExitReason::Failed("no disk".to_owned());
    assert_eq!(end_of(Restart::Permanent, failed), ["failed a: failed: no disk", "start a"]);
    assert_eq!(end_of(Restart::Permanent, panic()), ["failed a: panicked: ouch", "start a"]);
    assert_eq!(end_of(Restart::Permanent, ExitReason::Killed), ["failed a: killed", "start a"]);
}

#[test]
fn transient_normal() {
    let mut stage =
        Stage::running(flags(Strategy::OneForOne), vec![worker("a", Restart::Transient)]);
    assert!(stage.exited("a", ExitReason::Normal).is_empty());
    assert_eq!(stage.children(), "a:stopped", "its spec is kept");
}

#[test]
fn transient_shutdown() {
    assert!(end_of(Restart::Transient, ExitReason::Shutdown).is_empty());
}

#[test]
fn transient_abnormal() {
    assert_eq!(end_of(Restart::Transient, panic()), ["failed a: panicked: ouch", "start a"]);
    assert_eq!(end_of(Restart::Transient, ExitReason::Killed), ["failed a: killed", "start a"]);
}

#[test]
fn temporary_normal() {
    assert!(end_of(Restart::Temporary, ExitReason::Normal).is_empty());
}

#[test]
fn temporary_shutdown() {
    assert!(end_of(Restart::Temporary, ExitReason::Shutdown).is_empty());
}

#[test]
fn temporary_abnormal() {
    assert_eq!(end_of(Restart::Temporary, panic()), ["failed a: panicked: ouch"]);
}

#[test]
fn one_for_one() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a", "b", "c"]));
    assert_eq!(stage.exited("b", panic()), ["failed b: panicked: ouch", "start b"]);
    assert_eq!(stage.children(), "a:running b:starting c:running");
    assert_eq!(stage.started("b"), ["restarted b (1)"]);
}

#[test]
fn one_for_one_escalation() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a", "b", "c"]));
    stage.exited("b", panic());
    stage.started("b");
    assert_eq!(stage.exited("b", panic()), ["failed b: panicked: ouch", "gave up on b", "stop c"]);
    assert_eq!(stage.exited("c", ExitReason::Normal), ["stop a"], "b is down already");
    assert_eq!(stage.exited("a", ExitReason::Normal), ["finish: shutdown"]);
}

#[test]
fn the_window_is_that_of_the_whole_supervisor() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a", "b"]));
    stage.exited("a", panic());
    stage.started("a");
    assert_eq!(stage.exited("b", panic()), ["failed b: panicked: ouch", "gave up on b", "stop a"]);
}

#[test]
fn restarts_that_are_far_enough_apart_never_use_it_up() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a"]));
    for nth in 1..=50 {
        assert_eq!(stage.exited("a", panic()), ["failed a: panicked: ouch", "start a"]);
        assert_eq!(stage.started("a"), [format!("restarted a ({nth})")]);
        stage.pass(Duration::from_millis(5001));
    }
}

#[test]
fn multiple_restarts() {
    let flags = SupervisorFlags { intensity: 2, ..flags(Strategy::OneForOne) };
    let mut stage = Stage::running(flags, workers(&["a", "b", "c"]));
    // all at once: two restarts are allowed, the third ends the supervisor
    assert_eq!(stage.exited("a", panic())[1], "start a");
    assert_eq!(stage.exited("b", panic()), ["failed b: panicked: ouch"]);
    assert_eq!(stage.exited("c", panic()), ["failed c: panicked: ouch"]);
    assert_eq!(stage.started("a"), ["restarted a (1)", "start b"]);
    assert_eq!(stage.started("b"), ["restarted b (1)", "gave up on c", "stop b"]);
}

#[test]
fn intensity_zero_ends_at_the_first_failure() {
    let flags = SupervisorFlags { intensity: 0, ..flags(Strategy::OneForOne) };
    let mut stage = Stage::running(flags, workers(&["a"]));
    assert_eq!(
        stage.exited("a", panic()),
        ["failed a: panicked: ouch", "gave up on a", "finish: shutdown"]
    );
}

#[test]
fn failed_attempts_count() {
    let flags = SupervisorFlags { intensity: 2, ..flags(Strategy::OneForOne) };
    let mut stage = Stage::running(flags, workers(&["a", "b"]));
    stage.exited("a", panic());
    assert_eq!(stage.start_failed("a"), ["restart of a failed: boom", "retry a"]);
    assert_eq!(stage.children(), "a:restarting b:running");
    assert_eq!(stage.retry("a"), ["start a"]);
    stage.start_failed("a");
    assert_eq!(stage.retry("a"), ["gave up on a", "stop b"]);
}

#[test]
fn initial_starts_and_restarts_by_hand_do_not_count() {
    let flags = SupervisorFlags { intensity: 0, ..flags(Strategy::OneForOne) };
    let mut stage = Stage::running(flags, workers(&["a"]));
    for _ in 0..3 {
        stage.terminate("a");
        stage.exited("a", ExitReason::Normal);
        stage.restart("a");
        stage.started("a");
    }
    assert_eq!(stage.children(), "a:running");
}

#[test]
fn a_restart_that_is_ignored_leaves_the_child_down() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a"]));
    stage.exited("a", panic());
    assert!(stage.ignored("a").is_empty());
    assert_eq!(stage.children(), "a:stopped");
}

#[test]
fn hanging_restart_loop() {
    let flags = SupervisorFlags { intensity: 1_000_000, ..flags(Strategy::OneForOne) };
    let mut stage = Stage::running(flags, workers(&["a"]));
    stage.exited("a", panic());
    for _ in 0..1000 {
        assert_eq!(stage.start_failed("a"), ["restart of a failed: boom", "retry a"]);
        assert_eq!(stage.retry("a"), ["start a"]);
    }
    stage.start_failed("a");
    // between two attempts everything may be asked
    assert_eq!(stage.restart("a"), ["answer 1: error: restarting"]);
    assert_eq!(stage.delete("a"), ["answer 2: error: restarting"]);
    assert_eq!(stage.start_child(ChildRules::worker("a")), ["answer 3: error: already present"]);
    assert_eq!(stage.terminate("a"), ["answer 4: Terminated"]);
    assert_eq!(stage.delete("a"), ["forget a", "answer 5: Deleted"]);
    assert!(stage.retry("a").is_empty(), "the retry comes too late");
}

#[test]
fn a_stop_cancels_a_pending_retry() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a"]));
    stage.exited("a", panic());
    stage.start_failed("a");
    assert_eq!(stage.tell(Event::Stop), ["finish: shutdown"]);
    assert!(stage.retry("a").is_empty());
}

#[test]
fn giving_up_stops_children_that_have_died_meanwhile_without_a_word() {
    let flags = SupervisorFlags { intensity: 0, ..flags(Strategy::OneForOne) };
    let mut stage = Stage::running(flags, workers(&["a", "b", "c"]));
    stage.exited("a", panic());
    assert_eq!(stage.exited("b", panic()), ["failed b: panicked: ouch"]);
    assert_eq!(stage.exited("c", ExitReason::Normal), ["finish: shutdown"]);
}

#[test]
fn reports_of_an_old_start_change_nothing() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a"]));
    let old = stage.epoch("a");
    stage.exited("a", panic());
    stage.started("a");
    for event in [
        Event::Exited(old, panic()),
        Event::Started(old),
        Event::Ignored(old),
        Event::StartFailed(old, "late".to_owned()),
        Event::Exited(999, panic()),
        Event::Started(999),
    ] {
        assert!(stage.tell(event).is_empty());
        assert_eq!(stage.children(), "a:running");
    }
}

#[test]
fn an_exit_told_twice_counts_once() {
    let flags = SupervisorFlags { intensity: 1, ..flags(Strategy::OneForOne) };
    let mut stage = Stage::new(flags, workers(&["a", "b"]));
    stage.tell(Event::Start);
    stage.started("a");
    stage.exited("a", panic());
    assert!(stage.exited("a", panic()).is_empty());
    assert_eq!(stage.started("b"), ["all started", "start a"]);
    assert_eq!(stage.started("a"), ["restarted a (1)"]);
}
