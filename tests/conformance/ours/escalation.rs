//! Failures that travel up, and supervisors that end by force.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use symphony::supervision::{
    ChildRules, ChildSpec, ExitReason, Restart, Start, StopActor, Strategy, SupervisorFlags,
};

use crate::bench::{Plan, flags, settle, virtual_time};

#[test]
fn a_transient_supervisor_that_gave_up_stays_down() {
    virtual_time(|bench| async move {
        let top = bench.two_levels(Restart::Transient, SupervisorFlags::default()).await;
        bench.crash("x").await;
        assert_eq!(bench.journal().await, "-x ?y -y");
        assert_eq!(top.children().await, "a:running below:stopped");
    });
}

#[test]
fn the_failure_goes_up_to_the_top() {
    virtual_time(|bench| async move {
        let top = bench.two_levels(Restart::Permanent, SupervisorFlags::default()).await;
        bench.crash("x").await;
        bench.journal().await;
        bench.crash("y").await;
        assert_eq!(bench.journal().await, "-y ?x -x ?a -a");
        assert_eq!(bench.gave_up().await, ["below", "below", "top"]);
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}

#[test]
fn a_supervisor_that_gave_up_takes_its_siblings_along_where_the_strategy_says_so() {
    virtual_time(|bench| async move {
        let top = bench.two_levels(Restart::Permanent, flags(Strategy::OneForAll)).await;
        bench.crash("x").await;
        assert_eq!(bench.journal().await, "-x ?y -y ?a -a +a +x +y");
        assert_eq!(top.children().await, "a:running below:running");
    });
}

#[test]
fn a_supervisor_whose_restart_fails_is_tried_again() {
    virtual_time(|bench| async move {
        let above = SupervisorFlags { intensity: 5, ..SupervisorFlags::default() };
        let top = bench.two_levels(Restart::Permanent, above).await;
        bench.plan("y", &[Plan::Fail]);
        bench.crash("x").await;
        assert_eq!(bench.journal().await, "-x ?y -y +x ?x -x +x +y");
        assert_eq!(top.children().await, "a:running below:running");
    });
}

#[test]
fn the_tree_stops_from_its_leaves_in_reverse() {
    virtual_time(|bench| async move {
        let top = bench.two_levels(Restart::Permanent, SupervisorFlags::default()).await;
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(bench.journal().await, "?y -y ?x -x ?a -a");
    });
}

#[test]
fn a_tree_that_nobody_watches_any_more_ends() {
    virtual_time(|bench| async move {
        let top = bench.two_levels(Restart::Permanent, SupervisorFlags::default()).await;
        top.kill();
        let journal = bench.journal().await;
        let mut ended: Vec<_> = journal.split(' ').collect();
        ended.sort_unstable();
        assert_eq!(ended, ["-a", "-x", "-y"]);
    });
}

#[test]
fn a_supervisor_killed_before_its_first_turn_starts_nobody() {
    virtual_time(|bench| async move {
        let called = Arc::new(AtomicBool::new(false));
        let call = called.clone();
        let child = ChildSpec::new(ChildRules::worker("a"), move || {
            call.store(true, Ordering::Relaxed);
            std::future::ready(Ok(Start::Ignore))
        });
        let start = bench.start(SupervisorFlags::default(), vec![child]);
        // polled once: the supervisor exists, but has not had a turn
        assert!(tokio::time::timeout(Duration::ZERO, start).await.is_err());
        settle().await;
        assert!(!called.load(Ordering::Relaxed), "its factory was run");
    });
}

#[test]
fn a_second_stop_changes_nothing() {
    virtual_time(|bench| async move {
        let top = bench.two_levels(Restart::Permanent, SupervisorFlags::default()).await;
        top.address.do_send(StopActor);
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(bench.journal().await, "?y -y ?x -x ?a -a");
    });
}
