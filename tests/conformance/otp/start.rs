//! Starting: order, ignore, failure, panic, factories that hang.

use symphony::supervision::supervisor::{DeleteChild, RestartChild, TerminateChild};
use symphony::supervision::{ChildRules, Restart, Strategy};

use crate::bench::{Plan, flags, id, virtual_time};

#[test]
fn sup_start_normal() {
    virtual_time(|bench| async move {
        let top = bench.start(flags(Strategy::OneForOne), bench.workers(&["a", "b", "c"])).await;
        let top = top.expect("it starts");
        assert_eq!(bench.journal().await, "+a +b +c");
        assert_eq!(top.children().await, "a:running b:running c:running");
    });
}

#[test]
fn sup_start_ignore_child() {
    virtual_time(|bench| async move {
        bench.plan("b", &[Plan::Ignore]);
        let top = bench.start(flags(Strategy::OneForOne), bench.workers(&["a", "b", "c"])).await;
        let top = top.expect("ignore is a success");
        assert_eq!(bench.journal().await, "+a +c");
        assert_eq!(top.children().await, "a:running b:stopped c:running");
    });
}

#[test]
fn sup_start_fail() {
    virtual_time(|bench| async move {
        bench.plan("c", &[Plan::Fail]);
        let children = bench.workers(&["a", "b", "c", "d"]);
        let error = bench.start(flags(Strategy::OneForOne), children).await.err();
        assert_eq!(error.as_deref(), Some("child c failed to start: no luck"));
        assert_eq!(bench.journal().await, "+a +b ?b -b ?a -a");
    });
}

#[test]
fn sup_start_error_return() {
    for (plan, text) in [
        (Plan::Panic, "child b failed to start: panicked: panicked in the factory"),
        (
            Plan::PanicLater,
            "child b failed to start: panicked: panicked in the future of the factory",
        ),
    ] {
        virtual_time(|bench| async move {
            bench.plan("b", &[plan]);
            let error = bench.start(flags(Strategy::OneForOne), bench.workers(&["a", "b"])).await;
            assert_eq!(error.err().as_deref(), Some(text));
            assert_eq!(bench.journal().await, "+a ?a -a");
        });
    }
}

#[test]
fn sup_start_map_faulty_specs() {
    virtual_time(|bench| async move {
        let twice = bench.workers(&["a", "a"]);
        let error = bench.start(flags(Strategy::OneForOne), twice).await.err();
        assert_eq!(error.as_deref(), Some("child id a stands twice"));
        assert_eq!(bench.journal().await, "", "nothing is started");
    });
}

/// A supervisor whose own init ignores is kept by its parent as a child without an actor, and may be started later.
#[test]
fn sup_start_ignore_init() {
    virtual_time(|bench| async move {
        bench.plan("below", &[Plan::Ignore]);
        let below = |restart| {
            let rules = ChildRules { restart, ..ChildRules::supervisor("below") };
            bench.supervisor(rules, flags(Strategy::OneForOne), |bench| bench.workers(&["x"]))
        };
        let mut children = bench.workers(&["a"]);
        children.push(below(Restart::Permanent));
        let top = bench.start(flags(Strategy::OneForOne), children).await;
        let top = top.expect("ignore is a success");
        assert_eq!(bench.journal().await, "+a", "x was never started");
        assert_eq!(top.children().await, "a:running below:stopped");
        assert_eq!(top.counts().await, [2, 1, 1, 1]);
        assert_eq!(top.ask(RestartChild(id("below"))).await, "Started");
        assert_eq!(bench.journal().await, "+x");
        // as an addition
        assert_eq!(top.ask(TerminateChild(id("below"))).await, "Terminated");
        assert_eq!(top.ask(DeleteChild(id("below"))).await, "Deleted");
        bench.plan("below", &[Plan::Ignore]);
        assert_eq!(top.add(below(Restart::Temporary)).await, "Ignored");
        assert_eq!(top.children().await, "a:running", "the spec of a temporary one is dropped");
    });
}

#[test]
fn sup_start_ignore_temporary_child() {
    virtual_time(|bench| async move {
        bench.plan("t", &[Plan::Ignore]);
        let mut children = vec![bench.worker("t", Restart::Temporary)];
        children.extend(bench.workers(&["b"]));
        let top = bench.start(flags(Strategy::OneForOne), children).await;
        let top = top.expect("ignore is a success");
        assert_eq!(bench.journal().await, "+b");
        assert_eq!(top.children().await, "b:running", "its spec is dropped");
    });
}

#[test]
fn sup_start_ignore_temporary_child_start_child() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::OneForOne), bench.workers(&["b"])).await;
        bench.plan("t", &[Plan::Ignore]);
        assert_eq!(top.add(bench.worker("t", Restart::Temporary)).await, "Ignored");
        assert_eq!(top.children().await, "b:running", "its spec is dropped");
        assert_eq!(top.counts().await, [1, 1, 0, 1]);
        assert_eq!(top.add(bench.worker("t", Restart::Temporary)).await, "Started");
    });
}

#[test]
fn sup_start_ignore_temporary_child_start_child_simple() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        bench.plan("a", &[Plan::Ignore]);
        assert_eq!(top.add(bench.worker("a", Restart::Temporary)).await, "Ignored");
        assert_eq!(top.add(bench.worker("b", Restart::Temporary)).await, "Started");
        assert_eq!(top.children().await, "b:running");
        assert_eq!(top.counts().await, [1, 1, 0, 1]);
    });
}

/// A dynamic supervisor keeps nothing of a child that ignored its start, of whatever class.
#[test]
fn sup_start_ignore_permanent_child_start_child_simple() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        bench.plan("a", &[Plan::Ignore]);
        assert_eq!(top.add(bench.worker("a", Restart::Permanent)).await, "Ignored");
        assert_eq!(top.children().await, "");
        assert_eq!(top.counts().await, [0, 0, 0, 0]);
        assert_eq!(top.add(bench.worker("a", Restart::Permanent)).await, "Started");
        // and at a restart
        bench.plan("a", &[Plan::Ignore]);
        bench.crash("a").await;
        assert_eq!(top.children().await, "");
    });
}
