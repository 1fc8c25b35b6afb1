//! one_for_all and rest_for_one with real actors.

use symphony::supervision::supervisor::{DeleteChild, RestartChild, TerminateChild};
use symphony::supervision::{ExitReason, Restart, Strategy, SupervisorFlags};

use crate::bench::{Crash, Plan, flags, id, patient, virtual_time};

fn roomy(strategy: Strategy) -> SupervisorFlags {
    SupervisorFlags { intensity: 10, ..flags(strategy) }
}

#[test]
fn one_for_all() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::OneForAll), bench.workers(&["a", "b", "c"])).await;
        bench.crash("b").await;
        assert_eq!(bench.journal().await, "-b ?c -c ?a -a +a +b +c");
        assert_eq!(top.children().await, "a:running b:running c:running");
    });
}

#[test]
fn rest_for_one() {
    virtual_time(|bench| async move {
        let children = bench.workers(&["a", "b", "c", "d"]);
        let _top = bench.running(flags(Strategy::RestForOne), children).await;
        bench.crash("b").await;
        assert_eq!(bench.journal().await, "-b ?d -d ?c -c +b +c +d");
    });
}

#[test]
fn one_for_all_escalation() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::OneForAll), bench.workers(&["a", "b"])).await;
        bench.crash("a").await;
        bench.journal().await;
        bench.crash("a").await;
        assert_eq!(bench.journal().await, "-a ?b -b");
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}

#[test]
fn rest_for_one_escalation() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::RestForOne), bench.workers(&["a", "b"])).await;
        bench.crash("b").await;
        bench.journal().await;
        bench.crash("b").await;
        assert_eq!(bench.journal().await, "-b ?a -a");
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}

#[test]
fn one_for_all_other_child_fails_restart() {
    virtual_time(|bench| async move {
        let top = bench.running(roomy(Strategy::OneForAll), bench.workers(&["a", "b", "c"])).await;
        bench.plan("b", &[Plan::Fail]);
        bench.crash("a").await;
        assert_eq!(bench.journal().await, "-a ?c -c ?b -b +a ?a -a +a +b +c");
        assert_eq!(top.children().await, "a:running b:running c:running");
    });
}

#[test]
fn rest_for_one_other_child_fails_restart() {
    virtual_time(|bench| async move {
        let top = bench.running(roomy(Strategy::RestForOne), bench.workers(&["a", "b", "c"])).await;
        bench.plan("b", &[Plan::Fail]);
        bench.crash("a").await;
        assert_eq!(bench.journal().await, "-a ?c -c ?b -b +a +b +c");
        assert_eq!(top.children().await, "a:running b:running c:running");
    });
}

#[test]
fn temporary_bystander() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        virtual_time(|bench| async move {
            let mut children = bench.workers(&["a"]);
            children.push(bench.worker("t", Restart::Temporary));
            let top = bench.running(flags(strategy), children).await;
            bench.crash("a").await;
            assert_eq!(bench.journal().await, "-a ?t -t +a");
            assert_eq!(top.children().await, "a:running");
        });
    }
}

#[test]
fn hanging_restart_loop_rest_for_one() {
    virtual_time(|bench| async move {
        let flags = SupervisorFlags { strategy: Strategy::RestForOne, ..patient() };
        let top = bench.running(flags, bench.workers(&["a", "b", "c"])).await;
        bench.always("b", Plan::Fail);
        bench.address("b").do_send(Crash);
        while top.children().await.contains("b:running") {
            tokio::task::yield_now().await;
        }
        assert!(top.children().await.ends_with(" c:stopped"), "c waits for b");
        assert_eq!(top.counts().await, [3, 1, 0, 3]);
        let b = bench.worker("b", Restart::Permanent);
        assert_eq!(top.add(b).await, "already present");
        assert_eq!(top.ask(RestartChild(id("b"))).await, "restarting");
        assert_eq!(top.ask(DeleteChild(id("b"))).await, "restarting");
        assert_eq!(top.ask(TerminateChild(id("b"))).await, "Terminated");
        assert_eq!(top.children().await, "a:running b:stopped c:stopped");
        bench.always("b", Plan::Run);
        assert_eq!(top.ask(RestartChild(id("b"))).await, "Started");
        bench.always("b", Plan::Fail);
        bench.address("b").do_send(Crash);
        while top.children().await.contains("b:running") {
            tokio::task::yield_now().await;
        }
        bench.journal_now();
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(bench.journal().await, "?a -a");
    });
}
