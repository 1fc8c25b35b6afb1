//! Supervisors that stop by themselves.

use symphony::supervision::{AutoShutdown, ChildRules, ExitReason, Restart, SupervisorFlags};

use crate::bench::virtual_time;

fn flags(auto_shutdown: AutoShutdown) -> SupervisorFlags {
    SupervisorFlags { auto_shutdown, ..SupervisorFlags::default() }
}

#[test]
fn all_significant_waits_for_the_last_one() {
    virtual_time(|bench| async move {
        let mut children = bench.workers(&["a"]);
        children.push(bench.significant("s", Restart::Transient));
        children.push(bench.significant("t", Restart::Transient));
        let top = bench.running(flags(AutoShutdown::AllSignificant), children).await;
        bench.leave("s", None).await;
        assert_eq!(top.children().await, "a:running s:stopped t:running");
        bench.leave("t", Some(ExitReason::Shutdown)).await;
        assert_eq!(bench.journal().await, "-s -t ?a -a");
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}

#[test]
fn a_supervisor_that_shut_down_by_itself_is_a_clean_exit_to_its_parent() {
    virtual_time(|bench| async move {
        let rules = ChildRules { restart: Restart::Transient, ..ChildRules::supervisor("below") };
        let below = bench.supervisor(rules, flags(AutoShutdown::AnySignificant), |bench| {
            vec![bench.significant("s", Restart::Transient)]
        });
        let top = bench.running(SupervisorFlags::default(), vec![below]).await;
        bench.leave("s", None).await;
        assert_eq!(top.children().await, "below:stopped");
    });
}
