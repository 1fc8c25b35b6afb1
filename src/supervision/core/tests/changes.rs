//! New specs while it runs, verdicts of watchers, and what is kept of a factory.

use super::*;

fn change(stage: &mut Stage, flags: SupervisorFlags, children: Vec<ChildRules>) -> Vec<String> {
    stage.ask(|ticket| Event::ChangeSpecs(ticket, flags, children))
}

#[test]
fn code_change() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a", "b"]));
    let rest = flags(Strategy::RestForOne);
    assert_eq!(
        change(&mut stage, rest, workers(&["c", "a"])),
        ["adopt c", "adopt a", "answer 1: Changed"]
    );
    assert_eq!(stage.children(), "c:stopped a:running b:running");
    assert_eq!(*stage.core.flags(), rest);
    // the new order counts, and so does an exit that finds its child in a new place
    assert_eq!(stage.exited("a", panic()), ["failed a: panicked: ouch", "stop b"]);
}

#[test]
fn a_change_waits_for_a_script_and_is_refused_at_the_end() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a"]));
    stage.terminate("a");
    assert!(change(&mut stage, flags(Strategy::OneForAll), vec![]).is_empty());
    assert_eq!(
        stage.exited("a", ExitReason::Normal),
        ["answer 1: Terminated", "answer 2: Changed"]
    );
    stage.tell(Event::Stop);
    let late = change(&mut stage, flags(Strategy::OneForOne), vec![]);
    assert_eq!(late, ["answer 3: error: the supervisor is shutting down"]);
}

#[test]
fn a_dynamic_supervisor_changes_children_that_are_starting() {
    let mut stage = Stage::running(flags(Strategy::Dynamic), vec![]);
    stage.start_child(ChildRules::worker("a"));
    let temporary = vec![worker("a", Restart::Temporary)];
    assert_eq!(
        change(&mut stage, flags(Strategy::Dynamic), temporary),
        ["adopt a", "answer 2: Changed"]
    );
    assert_eq!(stage.started("a"), ["forget a", "answer 1: Started"]);
    assert_eq!(stage.exited("a", panic()), ["failed a: panicked: ouch"]);
    assert_eq!(stage.children(), "");
}

#[test]
fn the_factory_of_a_temporary_child_is_dropped_once_it_runs() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), vec![]);
    stage.start_child(worker("t", Restart::Temporary));
    assert_eq!(stage.started("t"), ["forget t", "answer 1: Started"]);
    // one that becomes permanent is given a new one
    change(&mut stage, flags(Strategy::OneForOne), workers(&["t"]));
    assert_eq!(stage.exited("t", panic()), ["failed t: panicked: ouch", "start t"]);
}

#[test]
fn frozen_actor_replaced() {
    let mut stage = Stage::running(flags(Strategy::OneForOne), workers(&["a", "b"]));
    let silent_for = Duration::from_secs(3);
    let verdict = Event::Wedged(stage.epoch("a"), silent_for);
    assert_eq!(stage.tell(verdict.clone()), ["wedged a", "kill a"]);
    assert_eq!(stage.children(), "a:running b:running", "its exit decides");
    assert_eq!(
        stage.exited("a", ExitReason::Wedged(silent_for)),
        ["failed a: wedged: no progress for 3s", "start a"]
    );
    assert!(stage.tell(verdict.clone()).is_empty(), "it is gone");
    stage.started("a");
    assert!(stage.tell(verdict).is_empty(), "its successor is somebody else");
}

#[test]
fn a_wedged_child_that_is_being_stopped_is_ended() {
    let rules = ChildRules { shutdown: Shutdown::Infinity, ..ChildRules::worker("a") };
    let mut stage = Stage::running(flags(Strategy::OneForOne), vec![rules]);
    stage.tell(Event::Stop);
    let silent_for = Duration::from_secs(3);
    let verdict = Event::Wedged(stage.epoch("a"), silent_for);
    assert_eq!(stage.tell(verdict), ["wedged a", "kill a"]);
    assert_eq!(
        stage.exited("a", ExitReason::Wedged(silent_for)),
        ["failed a: wedged: no progress for 3s", "finish: shutdown"]
    );
}
