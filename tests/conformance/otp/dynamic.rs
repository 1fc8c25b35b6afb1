//! The dynamic strategy with real actors.

use std::time::Duration;

use symphony::supervision::core::Notice;
use symphony::supervision::supervisor::{DeleteChild, RestartChild, TerminateChild};
use symphony::supervision::{ExitReason, Restart, Shutdown, Strategy, SupervisorFlags};
use tokio::time::Instant;

use crate::bench::{Crash, Manners, Plan, flags, id, patient, stopped_by, virtual_time};

#[test]
fn simple_one_for_one() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        assert_eq!(top.add(bench.worker("a", Restart::Permanent)).await, "Started");
        assert_eq!(top.add(bench.worker("b", Restart::Temporary)).await, "Started");
        assert_eq!(bench.journal().await, "+a +b");
        bench.crash("a").await;
        bench.crash("b").await;
        assert_eq!(bench.journal().await, "-a +a -b");
        assert_eq!(top.children().await, "a:running");
    });
}

#[test]
fn simple_one_for_one_escalation() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        top.add(bench.worker("a", Restart::Permanent)).await;
        top.add(bench.worker("b", Restart::Permanent)).await;
        bench.crash("a").await;
        bench.journal().await;
        bench.crash("a").await;
        assert_eq!(bench.journal().await, "-a ?b -b");
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}

#[test]
fn child_adm_simple() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        top.add(bench.worker("a", Restart::Permanent)).await;
        assert_eq!(top.ask(RestartChild(id("a"))).await, "not for a dynamic supervisor");
        assert_eq!(top.ask(DeleteChild(id("a"))).await, "not for a dynamic supervisor");
        assert_eq!(top.add(bench.worker("a", Restart::Permanent)).await, "already started");
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "Terminated");
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "not found");
        assert_eq!(bench.journal().await, "+a ?a -a");
    });
}

#[test]
fn simple_one_for_one_shutdown() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        let second = Duration::from_secs(1);
        bench.manners("a", Manners::ObeyAfter(second));
        bench.manners("b", Manners::ObeyAfter(second));
        bench.manners("c", Manners::ObeyAfter(5 * second));
        for name in ["a", "b", "c"] {
            let rules = stopped_by(name, Shutdown::Timeout(2 * second));
            top.add(bench.child_with(rules)).await;
        }
        bench.notices().await;
        let begun = Instant::now();
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(begun.elapsed(), 2 * second, "all at once, and the slow one is killed");
        let told: Vec<_> = bench.notices().await.into_iter().map(|told| told.notice).collect();
        let killed = Notice::ChildFailed { child: id("c"), reason: ExitReason::Killed };
        assert_eq!(told, [killed]);
    });
}

#[test]
fn hanging_restart_loop_simple() {
    virtual_time(|bench| async move {
        let flags = SupervisorFlags { strategy: Strategy::Dynamic, ..patient() };
        let top = bench.running(flags, vec![]).await;
        top.add(bench.worker("a", Restart::Permanent)).await;
        bench.always("a", Plan::Fail);
        bench.address("a").do_send(Crash);
        while top.children().await == "a:running" {
            tokio::task::yield_now().await;
        }
        assert_eq!(top.ask(RestartChild(id("a"))).await, "not for a dynamic supervisor");
        assert_eq!(top.ask(DeleteChild(id("a"))).await, "not for a dynamic supervisor");
        assert_eq!(top.counts().await, [1, 0, 0, 1]);
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "Terminated");
        assert_eq!(top.children().await, "");
        // and the supervisor stops out of the loop
        bench.always("a", Plan::Run);
        top.add(bench.worker("a", Restart::Permanent)).await;
        bench.always("a", Plan::Fail);
        bench.address("a").do_send(Crash);
        while top.children().await == "a:running" {
            tokio::task::yield_now().await;
        }
        assert_eq!(top.stop().await, ExitReason::Shutdown);
    });
}
