//! Supervisors that stop by themselves when their significant children have ended.

use super::*;

fn significant(name: &str, restart: Restart) -> ChildRules {
    ChildRules { significant: true, ..worker(name, restart) }
}

fn stage(auto_shutdown: AutoShutdown, children: Vec<ChildRules>) -> Stage {
    Stage::running(SupervisorFlags { auto_shutdown, ..SupervisorFlags::default() }, children)
}

#[test]
fn significant_temporary() {
    let children = vec![ChildRules::worker("a"), significant("s", Restart::Temporary)];
    for reason in [ExitReason::Normal, ExitReason::Shutdown, panic()] {
        let mut stage = stage(AutoShutdown::AnySignificant, children.clone());
        let said = stage.exited("s", reason);
        assert_eq!(said.last().map(String::as_str), Some("stop a"));
        assert_eq!(stage.exited("a", ExitReason::Normal), ["finish: shutdown"]);
    }
}

#[test]
fn significant_transient() {
    let children = vec![significant("s", Restart::Transient)];
    let mut clean = stage(AutoShutdown::AnySignificant, children.clone());
    assert_eq!(clean.exited("s", ExitReason::Normal), ["finish: shutdown"]);
    let mut crashed = stage(AutoShutdown::AnySignificant, children);
    assert_eq!(crashed.exited("s", panic()), ["failed s: panicked: ouch", "start s"]);
}

#[test]
fn all_significant_waits_for_the_last_one() {
    let children = vec![
        significant("s", Restart::Temporary),
        significant("t", Restart::Transient),
        worker("other", Restart::Transient),
    ];
    let mut stage = stage(AutoShutdown::AllSignificant, children);
    assert!(stage.exited("s", ExitReason::Normal).is_empty());
    assert_eq!(stage.exited("t", ExitReason::Normal), ["stop other"]);
}

#[test]
fn two_significant_children_that_end_together_end_the_supervisor_once() {
    let children = vec![
        ChildRules::worker("a"),
        significant("s", Restart::Transient),
        significant("t", Restart::Transient),
    ];
    let mut stage = stage(AutoShutdown::AllSignificant, children);
    // both while the supervisor is busy
    stage.terminate("a");
    stage.exited("s", ExitReason::Normal);
    stage.exited("t", ExitReason::Normal);
    assert_eq!(stage.exited("a", ExitReason::Normal), ["answer 1: Terminated", "finish: shutdown"]);
}

#[test]
fn a_restarting_significant_child_has_not_ended() {
    let children = vec![significant("s", Restart::Transient), significant("t", Restart::Transient)];
    let mut stage = stage(AutoShutdown::AllSignificant, children);
    stage.exited("s", panic());
    stage.start_failed("s");
    assert!(stage.exited("t", ExitReason::Normal).is_empty());
    assert_eq!(stage.children(), "s:restarting t:stopped");
}

#[test]
fn nonsignificant_temporary() {
    let children = vec![worker("a", Restart::Temporary), significant("s", Restart::Transient)];
    let mut stage = stage(AutoShutdown::AnySignificant, children);
    assert!(stage.exited("a", ExitReason::Normal).is_empty());
    assert_eq!(stage.children(), "s:running");
}

#[test]
fn nonsignificant_transient() {
    let children = vec![worker("a", Restart::Transient), significant("s", Restart::Transient)];
    let mut stage = stage(AutoShutdown::AnySignificant, children);
    assert!(stage.exited("a", ExitReason::Normal).is_empty());
}

#[test]
fn a_significant_child_terminated_by_hand_does_not_count() {
    let children = vec![significant("s", Restart::Transient)];
    let mut stage = stage(AutoShutdown::AnySignificant, children);
    stage.terminate("s");
    assert_eq!(stage.exited("s", ExitReason::Normal), ["answer 1: Terminated"]);
    assert_eq!(stage.children(), "s:stopped");
}

#[test]
fn significant_bystander() {
    let flags = SupervisorFlags {
        auto_shutdown: AutoShutdown::AnySignificant,
        ..flags(Strategy::OneForAll)
    };
    let children = vec![ChildRules::worker("a"), significant("s", Restart::Temporary)];
    let mut stage = Stage::running(flags, children);
    stage.exited("a", panic());
    assert_eq!(stage.exited("s", ExitReason::Normal), ["start a"]);
    assert_eq!(stage.started("a"), ["restarted a (1)"], "it did not end by itself");
}

#[test]
fn significant_escalation() {
    let flags = SupervisorFlags {
        auto_shutdown: AutoShutdown::AnySignificant,
        intensity: 0,
        ..SupervisorFlags::default()
    };
    let mut stage = Stage::running(flags, vec![significant("s", Restart::Transient)]);
    assert_eq!(
        stage.exited("s", panic()),
        ["failed s: panicked: ouch", "gave up on s", "finish: shutdown"]
    );
}

#[test]
fn significant_simple() {
    let refused = |flags, rules| Core::new(flags, vec![rules]).expect_err("must be refused");
    let any = SupervisorFlags {
        auto_shutdown: AutoShutdown::AnySignificant,
        ..SupervisorFlags::default()
    };
    assert_eq!(
        refused(any, significant("s", Restart::Permanent)),
        InvalidSpec::SignificantPermanent("s".into())
    );
    assert_eq!(
        refused(
            SupervisorFlags { strategy: Strategy::Dynamic, ..any },
            significant("s", Restart::Transient)
        ),
        InvalidSpec::SignificantDynamic("s".into())
    );
    assert_eq!(
        refused(SupervisorFlags::default(), significant("s", Restart::Transient)),
        InvalidSpec::SignificantWithoutAutoShutdown("s".into())
    );
}
