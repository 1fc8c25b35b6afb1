//! Restart classes with real actors, panics at bad moments, restarts that fail.

use symphony::supervision::core::Notice;
use symphony::supervision::supervisor::{DeleteChild, RestartChild, TerminateChild};
use symphony::supervision::{ExitReason, Restart, SupervisorFlags};

use crate::bench::{Crash, Plan, id, virtual_time};

/// What becomes of a child of this class that ends by itself.
fn left_by_itself(restart: Restart, reason: Option<ExitReason>, expected: &'static str) {
    virtual_time(|bench| async move {
        let child = bench.worker("a", restart);
        let top = bench.running(SupervisorFlags::default(), vec![child]).await;
        bench.leave("a", reason).await;
        assert_eq!(top.children().await, expected);
        let restarted = expected == "a:running";
        assert_eq!(bench.journal().await, if restarted { "-a +a" } else { "-a" });
    });
}

fn crashed(restart: Restart, expected: &'static str) {
    virtual_time(|bench| async move {
        let child = bench.worker("a", restart);
        let top = bench.running(SupervisorFlags::default(), vec![child]).await;
        bench.crash("a").await;
        assert_eq!(top.children().await, expected);
        let failed = Notice::ChildFailed {
            child: "a".into(),
            reason: ExitReason::Panic("a was told to".to_owned()),
        };
        assert_eq!(bench.notices().await.first().map(|told| &told.notice), Some(&failed));
    });
}

#[test]
fn permanent_normal() {
    left_by_itself(Restart::Permanent, None, "a:running");
}

#[test]
fn permanent_shutdown() {
    left_by_itself(Restart::Permanent, Some(ExitReason::Shutdown), "a:running");
}

#[test]
fn permanent_abnormal() {
    left_by_itself(Restart::Permanent, Some(ExitReason::Failed("disk".to_owned())), "a:running");
    crashed(Restart::Permanent, "a:running");
}

#[test]
fn transient_normal() {
    left_by_itself(Restart::Transient, None, "a:stopped");
}

#[test]
fn transient_shutdown() {
    left_by_itself(Restart::Transient, Some(ExitReason::Shutdown), "a:stopped");
}

#[test]
fn transient_abnormal() {
    left_by_itself(Restart::Transient, Some(ExitReason::Failed("disk".to_owned())), "a:running");
    crashed(Restart::Transient, "a:running");
}

#[test]
fn temporary_normal() {
    left_by_itself(Restart::Temporary, None, "");
}

#[test]
fn temporary_shutdown() {
    left_by_itself(Restart::Temporary, Some(ExitReason::Shutdown), "");
}

#[test]
fn temporary_abnormal() {
    left_by_itself(Restart::Temporary, Some(ExitReason::Failed("disk".to_owned())), "");
    crashed(Restart::Temporary, "");
}

#[test]
fn one_for_one() {
    virtual_time(|bench| async move {
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a", "b", "c"])).await;
        bench.crash("b").await;
        assert_eq!(bench.journal().await, "-b +b", "nobody else notices");
        assert_eq!(top.children().await, "a:running b:running c:running");
        assert!(bench.address("b").connected(), "the successor has an address of its own");
    });
}

#[test]
fn multiple_restarts() {
    virtual_time(|bench| async move {
        let flags = SupervisorFlags { intensity: 2, ..SupervisorFlags::default() };
        let top = bench.running(flags, bench.workers(&["a", "b", "c"])).await;
        for child in ["a", "b", "c"] {
            bench.address(child).do_send(Crash);
        }
        assert_eq!(top.exit().await, ExitReason::Shutdown);
        assert_eq!(bench.gave_up().await, ["top"]);
    });
}

#[test]
fn hanging_restart_loop() {
    for plan in [Plan::Fail, Plan::Panic] {
        virtual_time(|bench| async move {
            let flags = SupervisorFlags { intensity: u32::MAX, ..SupervisorFlags::default() };
            let top = bench.running(flags, bench.workers(&["a", "b"])).await;
            bench.always("a", plan);
            bench.address("a").do_send(Crash);
            // from now on the supervisor is never idle, so time stands still, and everybody else must get their turns
            while top.children().await.starts_with("a:running") {
                tokio::task::yield_now().await;
            }
            let answers = [
                top.ask(RestartChild(id("a"))).await,
                top.ask(DeleteChild(id("a"))).await,
                top.ask(TerminateChild(id("a"))).await,
                top.ask(DeleteChild(id("a"))).await,
            ];
            assert_eq!(answers, ["restarting", "restarting", "Terminated", "Deleted"]);
            assert_eq!(top.children().await, "b:running");
        });
    }
}

#[test]
fn restart_worker() {
    virtual_time(|bench| async move {
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a"])).await;
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "Terminated");
        assert_eq!(bench.journal().await, "?a -a");
        assert_eq!(top.ask(RestartChild(id("a"))).await, "Started");
        assert_eq!(bench.journal().await, "+a");
    });
}
