//! Supervisors that stop by themselves.

use symphony::supervision::{
    AutoShutdown, ChildRules, ChildSpec, ExitReason, Restart, SupervisorFlags,
};

use crate::bench::{Bench, virtual_time};

fn flags(auto_shutdown: AutoShutdown) -> SupervisorFlags {
    SupervisorFlags { auto_shutdown, ..SupervisorFlags::default() }
}

fn significant(bench: &Bench, name: &str, restart: Restart) -> ChildSpec {
    bench.child_with(ChildRules { restart, significant: true, ..ChildRules::worker(name) })
}

#[test]
fn significant_transient() {
    virtual_time(|bench| async move {
        let mut children = bench.workers(&["a"]);
        children.push(significant(&bench, "s", Restart::Transient));
        let top = bench.running(flags(AutoShutdown::AnySignificant), children).await;
        bench.crash("s").await;
        assert_eq!(bench.journal().await, "-s +s", "a crash is no end");
        bench.leave("s", None).await;
        assert_eq!(bench.journal().await, "-s ?a -a");
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}

#[test]
fn significant_temporary() {
    virtual_time(|bench| async move {
        let mut children = bench.workers(&["a"]);
        children.push(significant(&bench, "s", Restart::Temporary));
        let top = bench.running(flags(AutoShutdown::AnySignificant), children).await;
        bench.crash("s").await;
        assert_eq!(bench.journal().await, "-s ?a -a");
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}

#[test]
fn all_significant_waits_for_the_last_one() {
    virtual_time(|bench| async move {
        let mut children = bench.workers(&["a"]);
        children.push(significant(&bench, "s", Restart::Transient));
        children.push(significant(&bench, "t", Restart::Transient));
        let top = bench.running(flags(AutoShutdown::AllSignificant), children).await;
        bench.leave("s", None).await;
        assert_eq!(top.children().await, "a:running s:stopped t:running");
        bench.leave("t", Some(ExitReason::Shutdown)).await;
        assert_eq!(bench.journal().await, "-s -t ?a -a");
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}

#[test]
fn nonsignificant_transient() {
    virtual_time(|bench| async move {
        let children = vec![
            bench.worker("a", Restart::Transient),
            significant(&bench, "s", Restart::Transient),
        ];
        let top = bench.running(flags(AutoShutdown::AnySignificant), children).await;
        bench.leave("a", None).await;
        assert_eq!(top.children().await, "a:stopped s:running");
    });
}

#[test]
fn a_supervisor_that_shut_down_by_itself_is_a_clean_exit_to_its_parent() {
    virtual_time(|bench| async move {
        let rules = ChildRules { restart: Restart::Transient, ..ChildRules::supervisor("below") };
        let below = bench.supervisor(rules, flags(AutoShutdown::AnySignificant), |bench| {
            vec![significant(bench, "s", Restart::Transient)]
        });
        let top = bench.running(SupervisorFlags::default(), vec![below]).await;
        bench.leave("s", None).await;
        assert_eq!(top.children().await, "below:stopped");
    });
}
