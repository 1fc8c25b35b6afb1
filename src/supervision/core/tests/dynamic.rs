//! The dynamic strategy: children come and go side by side.

use super::*;

fn dynamic(max_children: Option<usize>) -> Stage {
    let flags = SupervisorFlags { max_children, intensity: 2, ..flags(Strategy::Dynamic) };
    Stage::running(flags, vec![])
}

fn with_children(names: &[&str]) -> Stage {
    let mut stage = dynamic(None);
    for name in names {
        stage.start_child(ChildRules::worker(name));
        stage.started(name);
    }
    stage
}

#[test]
fn simple_one_for_one() {
    let mut stage = with_children(&["a", "b"]);
    assert_eq!(stage.exited("a", panic()), ["failed a: panicked: ouch", "start a"]);
    assert_eq!(stage.started("a"), ["restarted a (1)"]);
    assert_eq!(stage.children(), "a:running b:running");
}

#[test]
fn starts_do_not_wait_for_each_other() {
    let mut stage = dynamic(None);
    assert_eq!(stage.start_child(ChildRules::worker("a")), ["adopt a", "start a"]);
    assert_eq!(stage.start_child(ChildRules::worker("b")), ["adopt b", "start b"]);
    assert_eq!(stage.started("b"), ["answer 2: Started"]);
    assert_eq!(stage.started("a"), ["answer 1: Started"]);
}

#[test]
fn simple_one_for_one_escalation() {
    let mut stage = with_children(&["a", "b"]);
    for _ in 0..2 {
        stage.exited("a", panic());
        stage.started("a");
    }
    assert_eq!(stage.exited("a", panic()), ["failed a: panicked: ouch", "gave up on a", "stop b"]);
    assert_eq!(stage.exited("b", ExitReason::Normal), ["forget b", "finish: shutdown"]);
}

#[test]
fn simple_one_for_one_shutdown() {
    let mut stage = with_children(&["a", "b", "c"]);
    assert_eq!(stage.tell(Event::Stop), ["stop a", "stop b", "stop c"], "all at once");
    assert!(stage.exited("b", ExitReason::Normal).contains(&"forget b".to_owned()));
    stage.exited("a", ExitReason::Normal);
    assert_eq!(stage.exited("c", ExitReason::Normal), ["forget c", "finish: shutdown"]);
}

#[test]
fn giving_up_does_not_wait_for_a_factory_that_hangs() {
    let mut stage = with_children(&["a"]);
    stage.start_child(ChildRules::worker("slow"));
    for _ in 0..2 {
        stage.exited("a", panic());
        stage.started("a");
    }
    let said = stage.exited("a", panic());
    assert_eq!(said, ["failed a: panicked: ouch", "gave up on a", "cancel slow"]);
    assert_eq!(
        stage.start_failed("slow"),
        ["answer 2: error: boom", "forget slow", "finish: shutdown"]
    );
}

#[test]
fn a_child_that_is_just_starting_when_the_end_is_decided_is_stopped() {
    let mut stage = dynamic(None);
    stage.start_child(ChildRules::worker("a"));
    assert_eq!(stage.tell(Event::Stop), ["cancel a"]);
    assert_eq!(stage.started("a"), ["answer 1: Started", "stop a"]);
    assert_eq!(stage.exited("a", ExitReason::Normal), ["forget a", "finish: shutdown"]);
}

#[test]
fn child_adm_simple() {
    let mut stage = with_children(&["a"]);
    assert_eq!(stage.restart("a"), ["answer 2: error: not for a dynamic supervisor"]);
    assert_eq!(stage.delete("a"), ["answer 3: error: not for a dynamic supervisor"]);
    assert_eq!(stage.start_child(ChildRules::worker("a")), ["answer 4: error: already started"]);
    assert_eq!(stage.terminate("a"), ["stop a"]);
    assert_eq!(stage.exited("a", ExitReason::Normal), ["answer 5: Terminated", "forget a"]);
    assert_eq!(stage.terminate("a"), ["answer 6: error: not found"]);
}

#[test]
fn two_who_terminate_one_child_are_both_answered() {
    let mut stage = with_children(&["a"]);
    assert_eq!(stage.terminate("a"), ["stop a"]);
    assert!(stage.terminate("a").is_empty());
    assert_eq!(
        stage.exited("a", ExitReason::Normal),
        ["answer 2: Terminated", "answer 3: Terminated", "forget a"]
    );
}

#[test]
fn a_child_is_terminated_while_it_starts() {
    let mut stage = dynamic(None);
    stage.start_child(ChildRules::worker("a"));
    assert_eq!(stage.terminate("a"), ["cancel a"]);
    assert!(stage.terminate("a").is_empty(), "broken off once");
    assert_eq!(
        stage.start_failed("a"),
        ["answer 2: Terminated", "answer 3: Terminated", "answer 1: error: boom", "forget a"]
    );
    // and where it was too late to break the start off
    stage.start_child(ChildRules::worker("b"));
    stage.terminate("b");
    assert_eq!(stage.started("b"), ["answer 4: Started", "stop b"]);
    assert_eq!(stage.exited("b", ExitReason::Normal), ["answer 5: Terminated", "forget b"]);
}

#[test]
fn hanging_restart_loop_simple() {
    let mut stage = with_children(&["a"]);
    stage.exited("a", panic());
    assert_eq!(stage.start_failed("a"), ["restart of a failed: boom", "retry a"]);
    assert_eq!(stage.terminate("a"), ["answer 2: Terminated", "forget a"]);
    assert!(stage.retry("a").is_empty());
}

#[test]
fn a_child_terminated_during_its_restart_is_not_tried_again() {
    let mut stage = with_children(&["a"]);
    stage.exited("a", panic());
    assert_eq!(stage.terminate("a"), ["cancel a"]);
    assert_eq!(stage.start_failed("a"), ["answer 2: Terminated", "forget a"]);
}

#[test]
fn max_children_counts_restarting_ones() {
    let mut stage = dynamic(Some(2));
    for name in ["a", "b"] {
        stage.start_child(ChildRules::worker(name));
        stage.started(name);
    }
    stage.exited("a", panic());
    stage.start_failed("a");
    assert_eq!(stage.children(), "a:restarting b:running");
    let full = "the supervisor has its 2 children already";
    assert_eq!(stage.start_child(ChildRules::worker("c")), [format!("answer 3: error: {full}")]);
    stage.terminate("a");
    assert_eq!(stage.start_child(ChildRules::worker("c")), ["adopt c", "start c"]);
}

#[test]
fn ended_children_leave_no_spec() {
    for (restart, reason) in
        [(Restart::Transient, ExitReason::Normal), (Restart::Temporary, panic())]
    {
        let mut stage = dynamic(None);
        stage.start_child(worker("a", restart));
        stage.started("a");
        stage.exited("a", reason);
        assert_eq!(stage.children(), "");
    }
}

#[test]
fn sup_start_ignore_permanent_child_start_child_simple() {
    let mut stage = dynamic(None);
    stage.start_child(ChildRules::worker("a"));
    assert_eq!(stage.ignored("a"), ["answer 1: Ignored", "forget a"]);
    assert_eq!(stage.children(), "");
}

#[test]
fn sup_stop_non_shutdown_exit_dynamic() {
    let mut stage = with_children(&["a"]);
    stage.tell(Event::Stop);
    assert_eq!(
        stage.exited("a", panic()),
        ["failed a: panicked: ouch", "forget a", "finish: shutdown"]
    );
}

#[test]
fn scale_start_stop_many_children() {
    let mut stage = dynamic(None);
    let names: Vec<String> = (0..2000).map(|n| format!("child-{n}")).collect();
    for name in &names {
        stage.start_child(ChildRules::worker(name));
    }
    for name in names.iter().rev() {
        stage.started(name);
    }
    assert_eq!(stage.tell(Event::Stop).len(), names.len());
    let mut said = Vec::new();
    for name in &names {
        said = stage.exited(name, ExitReason::Normal);
    }
    assert_eq!(said.last().map(String::as_str), Some("finish: shutdown"));
}

#[test]
fn scale_many_temporary_children() {
    let mut stage = dynamic(Some(1));
    for nth in 0..2000 {
        let name = format!("child-{nth}");
        stage.start_child(worker(&name, Restart::Temporary));
        stage.started(&name);
        stage.exited(&name, ExitReason::Normal);
    }
    assert_eq!(stage.children(), "", "nothing of them is kept");
}
