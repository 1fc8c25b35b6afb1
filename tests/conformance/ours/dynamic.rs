//! The dynamic strategy with real actors.

use std::time::Duration;

use symphony::supervision::core::Done;
use symphony::supervision::supervisor::{StartChild, TerminateChild};
use symphony::supervision::{ExitReason, Restart, Strategy, SupervisorFlags};
use tokio::time::Instant;

use crate::bench::{Crash, Plan, flags, id, settle, virtual_time};

#[test]
fn starts_go_on_side_by_side() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        let second = Duration::from_secs(1);
        let begun = Instant::now();
        let requests = ["a", "b", "c"].map(|name| {
            bench.plan(name, &[Plan::RunAfter(second)]);
            top.address.send(StartChild(bench.worker(name, Restart::Permanent)))
        });
        for request in requests {
            assert_eq!(request.await.expect("a live supervisor"), Ok(Done::Started));
        }
        assert!(begun.elapsed() < second * 2, "{:?}", begun.elapsed());
    });
}

#[test]
fn a_child_is_terminated_while_its_factory_hangs() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        bench.plan("a", &[Plan::Hang]);
        let start = top.address.send(StartChild(bench.worker("a", Restart::Permanent)));
        settle().await;
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "Terminated");
        let refused = start.await.expect("a live supervisor").expect_err("it never ran");
        assert_eq!(refused.to_string(), "stopped while it was starting");
        assert_eq!(top.children().await, "");
        assert_eq!(top.add(bench.worker("a", Restart::Permanent)).await, "Started");
    });
}

#[test]
fn giving_up_does_not_wait_for_a_factory_that_hangs() {
    virtual_time(|bench| async move {
        let flags = SupervisorFlags { intensity: 0, ..flags(Strategy::Dynamic) };
        let top = bench.running(flags, vec![]).await;
        top.add(bench.worker("a", Restart::Permanent)).await;
        bench.plan("slow", &[Plan::Hang]);
        let start = top.address.send(StartChild(bench.worker("slow", Restart::Permanent)));
        settle().await;
        bench.address("a").do_send(Crash);
        assert_eq!(top.exit().await, ExitReason::Shutdown);
        assert!(start.await.expect("it is answered before the end").is_err());
    });
}

#[test]
fn a_factory_that_panics_harms_nobody_else() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        top.add(bench.worker("a", Restart::Permanent)).await;
        for plan in [Plan::Panic, Plan::PanicLater] {
            bench.plan("b", &[plan]);
            let answer = top.add(bench.worker("b", Restart::Permanent)).await;
            assert!(answer.starts_with("panicked: panicked in the"), "{answer}");
        }
        assert_eq!(top.children().await, "a:running");
    });
}
