//! Starting: order, ignore, failure, panic, factories that hang.

use std::time::Duration;

use symphony::supervision::{ChildRules, ExitReason, Strategy, SupervisorFlags};
use tokio::time::Instant;

use crate::bench::{Plan, flags, settle, virtual_time};

#[test]
fn children_start_one_after_another() {
    virtual_time(|bench| async move {
        bench.plan("a", &[Plan::RunAfter(Duration::from_secs(2))]);
        bench.plan("b", &[Plan::RunAfter(Duration::from_secs(3))]);
        let begun = Instant::now();
        bench.running(flags(Strategy::OneForOne), bench.workers(&["a", "b"])).await;
        assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_failed_start_names_the_child_through_all_levels() {
    virtual_time(|bench| async move {
        bench.plan("leaf", &[Plan::Fail]);
        let below = bench.supervisor(
            ChildRules::supervisor("below"),
            SupervisorFlags::default(),
            |bench| bench.workers(&["twig", "leaf"]),
        );
        let mut children = bench.workers(&["a"]);
        children.push(below);
        let error = bench.start(SupervisorFlags::default(), children).await.err();
        assert_eq!(
            error.as_deref(),
            Some("child below failed to start: child leaf failed to start: no luck")
        );
        assert_eq!(bench.journal().await, "+a +twig ?twig -twig ?a -a");
    });
}

#[test]
fn a_start_that_is_given_up_leaves_nobody_behind() {
    virtual_time(|bench| async move {
        bench.plan("b", &[Plan::Hang]);
        let start = bench.start(SupervisorFlags::default(), bench.workers(&["a", "b"]));
        let patience = Duration::from_secs(1);
        assert!(tokio::time::timeout(patience, start).await.is_err(), "b hangs");
        assert_eq!(bench.journal().await, "+a -a");
    });
}

#[test]
fn a_stop_does_not_wait_for_a_factory_that_hangs() {
    virtual_time(|bench| async move {
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a", "b"])).await;
        bench.plan("b", &[Plan::Hang]);
        bench.crash("b").await;
        assert_eq!(top.children().await, "a:running b:starting");
        bench.journal().await;
        let begun = Instant::now();
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(bench.journal().await, "?a -a");
    });
}

#[test]
fn a_stop_in_the_middle_of_a_nested_start_leaves_no_grandchild() {
    virtual_time(|bench| async move {
        bench.plan("leaf", &[Plan::Run, Plan::Hang]);
        let below = bench.supervisor(
            ChildRules::supervisor("below"),
            SupervisorFlags { intensity: 0, ..SupervisorFlags::default() },
            |bench| bench.workers(&["twig", "leaf"]),
        );
        let top = bench.running(SupervisorFlags::default(), vec![below]).await;
        // the supervisor below gives up, and its next start hangs half way
        bench.crash("twig").await;
        assert!(bench.journal().await.ends_with("+twig"));
        assert_eq!(top.children().await, "below:starting");
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(bench.journal().await, "-twig");
        settle().await;
        assert!(!bench.address("twig").connected());
    });
}
