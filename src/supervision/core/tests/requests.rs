//! Requests by name: add, terminate, restart, delete.

use super::*;

#[test]
fn child_adm() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a"]));
    // running
    assert_eq!(stage.restart("a"), ["answer 1: error: running"]);
    assert_eq!(stage.delete("a"), ["answer 2: error: running"]);
    assert_eq!(stage.start_child(ChildRules::worker("a")), ["answer 3: error: already started"]);
    // terminated, twice: the second has nothing to do
    assert_eq!(stage.terminate("a"), ["stop a"]);
    assert_eq!(stage.exited("a", ExitReason::Normal), ["answer 4: Terminated"]);
    assert_eq!(stage.terminate("a"), ["answer 5: Terminated"]);
    assert_eq!(stage.start_child(ChildRules::worker("a")), ["answer 6: error: already present"]);
    // restarted by hand
    assert_eq!(stage.restart("a"), ["start a"]);
    assert_eq!(stage.started("a"), ["answer 7: Started"]);
    // deleted
    stage.terminate("a");
    stage.exited("a", ExitReason::Normal);
    assert_eq!(stage.delete("a"), ["forget a", "answer 9: Deleted"]);
    // unknown
    assert_eq!(stage.terminate("a"), ["answer 10: error: not found"]);
    assert_eq!(stage.restart("a"), ["answer 11: error: not found"]);
    assert_eq!(stage.delete("a"), ["answer 12: error: not found"]);
    // added
    assert_eq!(stage.start_child(ChildRules::worker("a")), ["adopt a", "start a"]);
    assert_eq!(stage.started("a"), ["answer 13: Started"]);
}

#[test]
fn sup_start_child_returns_error() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), vec![]);
    stage.start_child(ChildRules::worker("a"));
    assert_eq!(stage.start_failed("a"), ["answer 1: error: boom", "forget a"]);
    assert_eq!(stage.children(), "", "the spec is not kept");
}

#[test]
fn sup_start_restart_child_returns_error() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a"]));
    stage.terminate("a");
    stage.exited("a", ExitReason::Normal);
    stage.restart("a");
    assert_eq!(stage.start_failed("a"), ["answer 2: error: boom"]);
    assert_eq!(stage.children(), "a:stopped", "the spec is kept");
}

#[test]
fn an_added_child_may_be_ignored() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), vec![]);
    stage.start_child(ChildRules::worker("a"));
    assert_eq!(stage.ignored("a"), ["answer 1: Ignored"]);
    stage.start_child(worker("t", Restart::Temporary));
    assert_eq!(stage.ignored("t"), ["answer 2: Ignored", "forget t"]);
    assert_eq!(stage.children(), "a:stopped");
}

#[test]
fn a_terminated_child_is_not_restarted_and_keeps_its_spec() {
    for restart in [Restart::Permanent, Restart::Transient] {
        let mut stage = Stage::running(flags(Strategy::OneForOne), vec![worker("a", restart)]);
        stage.terminate("a");
        assert_eq!(stage.exited("a", ExitReason::Normal), ["answer 1: Terminated"]);
        assert_eq!(stage.children(), "a:stopped");
    }
}

#[test]
fn do_not_save_child_specs_for_temporary_children() {
    let children = vec![worker("t", Restart::Temporary)];
    let mut stage = Stage::running(flags(Strategy::OneForOne), children);
    stage.terminate("t");
    assert_eq!(stage.exited("t", ExitReason::Normal), ["answer 1: Terminated"]);
    assert_eq!(stage.children(), "");
}

#[test]
fn a_child_that_dies_just_before_it_is_terminated_stays_down() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a", "b"]));
    // the supervisor is busy with b while both arrive
    stage.terminate("b");
    stage.terminate("a");
    stage.exited("a", panic());
    assert_eq!(
        stage.exited("b", ExitReason::Normal),
        ["answer 1: Terminated", "answer 2: Terminated"]
    );
    assert_eq!(stage.children(), "a:stopped b:stopped");
}

#[test]
fn a_name_that_became_free_may_be_used_again_at_once() {
    let children = vec![worker("t", Restart::Temporary), ChildRules::worker("a")];
    let mut stage = Stage::running(flags(Strategy::OneForOne), children);
    stage.terminate("a");
    stage.exited("t", ExitReason::Normal);
    assert!(stage.start_child(worker("t", Restart::Temporary)).is_empty(), "busy with a");
    assert_eq!(
        stage.exited("a", ExitReason::Normal),
        ["answer 1: Terminated", "adopt t", "start t"]
    );
}

#[test]
fn a_spec_that_breaks_a_rule_is_refused() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), vec![]);
    let rules = ChildRules { significant: true, ..worker("a", Restart::Transient) };
    let said = stage.start_child(rules);
    assert_eq!(
        said,
        ["answer 1: error: child a is significant, but its supervisor never shuts down by itself"]
    );
}

#[test]
fn every_request_is_answered_when_the_supervisor_goes_down() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a", "b"]));
    assert_eq!(stage.terminate("a"), ["stop a"]);
    assert!(stage.terminate("b").is_empty());
    assert!(stage.start_child(ChildRules::worker("c")).is_empty());
    assert!(stage.tell(Event::Stop).is_empty());
    // what comes later is refused at once, what waits when the end has come
    assert_eq!(
        stage.delete("a"),
        [
            "answer 2: error: the supervisor is shutting down",
            "answer 3: error: the supervisor is shutting down",
            "answer 4: error: the supervisor is shutting down"
        ]
    );
    assert_eq!(stage.exited("a", ExitReason::Normal), ["answer 1: Terminated", "stop b"]);
    assert_eq!(stage.exited("b", ExitReason::Normal), ["finish: shutdown"]);
    assert_eq!(stage.terminate("b"), ["answer 5: error: the supervisor is shutting down"]);
}

#[test]
fn requests_before_the_start_wait_for_it() {
    let mut stage = Stage::new(flags(Strategy::OneForOne), workers(&["a"]));
    stage.tell(Event::Start);
    assert!(stage.terminate("a").is_empty());
    assert_eq!(stage.started("a"), ["all started", "stop a"]);
}

#[test]
fn which_children() {
    let flags = SupervisorFlags { intensity: 9, ..flags(Strategy::OneForOne) };
    let mut stage = Stage::running(flags, workers(&["a", "b", "c"]));
    stage.terminate("a");
    assert_eq!(stage.children(), "a:stopping b:running c:running");
    stage.exited("a", ExitReason::Normal);
    stage.exited("b", panic());
    assert_eq!(stage.children(), "a:stopped b:starting c:running");
    stage.start_failed("b");
    assert_eq!(stage.children(), "a:stopped b:restarting c:running");
    let epochs: Vec<_> = stage.core.children().map(|child| child.epoch).collect();
    assert_eq!(epochs, [None, None, Some(stage.epoch("c"))]);
}
