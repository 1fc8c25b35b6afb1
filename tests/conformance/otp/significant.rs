//! Supervisors that stop by themselves.

use symphony::supervision::{
    AutoShutdown, ChildRules, ExitReason, Restart, Strategy, SupervisorFlags,
};

use crate::bench::virtual_time;

fn flags(auto_shutdown: AutoShutdown) -> SupervisorFlags {
    SupervisorFlags { auto_shutdown, ..SupervisorFlags::default() }
}

#[test]
fn significant_transient() {
    virtual_time(|bench| async move {
        let mut children = bench.workers(&["a"]);
        children.push(bench.significant("s", Restart::Transient));
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
        children.push(bench.significant("s", Restart::Temporary));
        let top = bench.running(flags(AutoShutdown::AnySignificant), children).await;
        bench.crash("s").await;
        assert_eq!(bench.journal().await, "-s ?a -a");
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}

#[test]
fn nonsignificant_transient() {
    virtual_time(|bench| async move {
        let children =
            vec![bench.worker("a", Restart::Transient), bench.significant("s", Restart::Transient)];
        let top = bench.running(flags(AutoShutdown::AnySignificant), children).await;
        bench.leave("a", None).await;
        assert_eq!(top.children().await, "a:stopped s:running");
    });
}

#[test]
fn nonsignificant_temporary() {
    virtual_time(|bench| async move {
        let children =
            vec![bench.worker("a", Restart::Temporary), bench.significant("s", Restart::Transient)];
        let top = bench.running(flags(AutoShutdown::AnySignificant), children).await;
        bench.leave("a", None).await;
        assert_eq!(top.children().await, "s:running");
    });
}

/// OTP lets children of a simple_one_for_one be significant, Elixir's dynamic supervisor has no such thing. Ours refuses
/// it: its children are all alike, and none of them means more than the others.
#[test]
fn significant_simple() {
    virtual_time(|bench| async move {
        let dynamic =
            SupervisorFlags { strategy: Strategy::Dynamic, ..flags(AutoShutdown::AnySignificant) };
        let refused = "child s of a dynamic supervisor cannot be significant";
        let children = vec![bench.significant("s", Restart::Transient)];
        assert_eq!(bench.start(dynamic, children).await.err().as_deref(), Some(refused));
        let top = bench.running(dynamic, vec![]).await;
        assert_eq!(top.add(bench.significant("s", Restart::Transient)).await, refused);
        assert_eq!(bench.journal().await, "");
    });
}

/// A significant child that is stopped for a sibling's restart has not ended by itself.
#[test]
fn significant_bystander() {
    for restart in [Restart::Temporary, Restart::Transient] {
        for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
            virtual_time(|bench| async move {
                let flags = SupervisorFlags { strategy, ..flags(AutoShutdown::AnySignificant) };
                let mut children = bench.workers(&["a"]);
                children.push(bench.significant("s", restart));
                let top = bench.running(flags, children).await;
                bench.crash("a").await;
                let (journal, left) = match restart {
                    Restart::Temporary => ("-a ?s -s +a", "a:running"),
                    _ => ("-a ?s -s +a +s", "a:running s:running"),
                };
                assert_eq!(bench.journal().await, journal);
                assert_eq!(top.children().await, left);
            });
        }
    }
}

/// A supervisor that ends because its significant child did is a significant child itself: the one above ends, too.
#[test]
fn significant_escalation() {
    virtual_time(|bench| async move {
        let rules = ChildRules {
            restart: Restart::Transient,
            significant: true,
            ..ChildRules::supervisor("below")
        };
        let below = bench.supervisor(rules, flags(AutoShutdown::AnySignificant), |bench| {
            let mut children = bench.workers(&["x"]);
            children.push(bench.significant("s", Restart::Transient));
            children
        });
        let mut children = bench.workers(&["a"]);
        children.push(below);
        let top = bench.running(flags(AutoShutdown::AnySignificant), children).await;
        bench.leave("s", None).await;
        assert_eq!(bench.journal().await, "-s ?x -x ?a -a");
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}
