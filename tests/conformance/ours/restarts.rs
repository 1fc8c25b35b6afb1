//! Restart classes with real actors, panics at bad moments, restarts that fail.

use std::time::Duration;

use symphony::supervision::core::Notice;
use symphony::supervision::{ChildRules, ExitReason, SupervisorFlags};

use crate::bench::{Crash, Leave, Manners, Plan, patient, settle, virtual_time};

#[test]
fn who_waits_for_an_answer_of_an_actor_that_panics_is_told() {
    virtual_time(|bench| async move {
        let _top = bench.running(patient(), bench.workers(&["a"])).await;
        let first = bench.address("a").send(Crash);
        let queued = bench.address("a").send(Leave(None));
        assert!(first.await.is_err());
        assert!(queued.await.is_err());
        settle().await;
        assert!(bench.address("a").send(Leave(None)).await.is_ok(), "its successor answers");
    });
}

#[test]
fn panic_inside_stopped_does_not_abort() {
    virtual_time(|bench| async move {
        bench.manners("a", Manners::PanicAtTheEnd);
        let top = bench.running(patient(), bench.workers(&["a"])).await;
        // the handler panics, and stopped() panics while the actor is buried
        bench.crash("a").await;
        assert_eq!(bench.journal().await, "-a +a");
        let told = bench.notices().await;
        let reason = ExitReason::Panic("a was told to".to_owned());
        assert_eq!(told[0].notice, Notice::ChildFailed { child: "a".into(), reason });
        assert_eq!(top.children().await, "a:running");
    });
}

#[test]
fn panic_with_no_address_left() {
    virtual_time(|bench| async move {
        let top = bench.running(patient(), bench.workers(&["a"])).await;
        bench.address("a").do_send(Crash);
        assert!(bench.let_go("a"));
        settle().await;
        assert_eq!(bench.journal().await, "-a +a");
        assert!(bench.let_go("a"), "the successor was introduced");
        settle().await;
        assert_eq!(top.children().await, "a:running", "its supervisor keeps it alive");
    });
}

#[test]
fn the_window_follows_the_clock() {
    virtual_time(|bench| async move {
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a"])).await;
        for _ in 0..5 {
            bench.crash("a").await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        assert_eq!(top.children().await, "a:running");
        bench.crash("a").await;
        bench.crash("a").await;
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}

#[test]
fn a_restart_that_fails_is_tried_again() {
    for plan in [Plan::Fail, Plan::Panic, Plan::PanicLater] {
        virtual_time(|bench| async move {
            let top = bench.running(patient(), bench.workers(&["a"])).await;
            bench.plan("a", &[plan, plan, plan]);
            bench.crash("a").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(top.children().await, "a:running");
            let failures = bench.notices().await.into_iter();
            let failures = failures.filter(|t| matches!(t.notice, Notice::RestartFailed { .. }));
            assert_eq!(failures.count(), 3);
        });
    }
}

#[test]
fn restarts_that_go_on_failing_end_the_supervisor() {
    virtual_time(|bench| async move {
        let flags = SupervisorFlags { intensity: 10, ..SupervisorFlags::default() };
        let top = bench.running(flags, bench.workers(&["a", "b"])).await;
        bench.always("b", Plan::Fail);
        bench.address("b").do_send(Crash);
        assert_eq!(top.exit().await, ExitReason::Shutdown);
        assert_eq!(bench.journal().await, "-b ?a -a");
    });
}

#[test]
fn a_stop_cancels_a_restart_loop() {
    virtual_time(|bench| async move {
        let flags = SupervisorFlags { intensity: u32::MAX, ..SupervisorFlags::default() };
        let top = bench.running(flags, bench.workers(&["a", "b"])).await;
        bench.always("a", Plan::Panic);
        bench.address("a").do_send(Crash);
        while top.children().await.starts_with("a:running") {
            tokio::task::yield_now().await;
        }
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(bench.journal().await, "-a ?b -b");
    });
}

#[test]
fn an_exit_that_is_ignored_at_the_restart_leaves_the_child_down() {
    virtual_time(|bench| async move {
        let child = bench.child_with(ChildRules::worker("a"));
        let top = bench.running(SupervisorFlags::default(), vec![child]).await;
        bench.plan("a", &[Plan::Ignore]);
        bench.crash("a").await;
        assert_eq!(top.children().await, "a:stopped");
    });
}
