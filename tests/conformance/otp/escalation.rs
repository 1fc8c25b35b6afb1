//! Failures that travel up, and supervisors that end by force.

use std::time::Duration;

use symphony::supervision::core::Done;
use symphony::supervision::supervisor::TerminateChild;
use symphony::supervision::{ChildRules, ExitReason, Restart, Shutdown, SupervisorFlags};
use tokio::time::Instant;

use crate::bench::{Manners, fragile, id, settle, stopped_by, virtual_time};

#[test]
fn one_for_one_escalation() {
    virtual_time(|bench| async move {
        let top = bench.two_levels(Restart::Permanent, SupervisorFlags::default()).await;
        bench.crash("x").await;
        assert_eq!(bench.journal().await, "-x ?y -y +x +y", "a permanent one is started again");
        assert_eq!(bench.gave_up().await, ["below"]);
        assert_eq!(top.children().await, "a:running below:running");
    });
}

#[test]
fn kill_supervisor() {
    virtual_time(|bench| async move {
        let rules =
            ChildRules { shutdown: Shutdown::BrutalKill, ..ChildRules::supervisor("below") };
        let below = bench.supervisor(rules, fragile(), |bench| bench.workers(&["x", "y"]));
        let top = bench.running(SupervisorFlags::default(), vec![below]).await;
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        // the bench still holds their addresses; they end nevertheless
        let journal = bench.journal().await;
        assert!(journal.contains("-x") && journal.contains("-y"), "{journal}");
        assert!(!journal.contains('?'), "nobody was asked: {journal}");
    });
}

/// The original has a child that unlinks itself from its supervisor, which then must not wait for ever for its end. Here
/// there is no link to cut: whatever a child lets go of, its end is seen, and one that heeds nothing is killed in time.
#[test]
fn child_unlink() {
    virtual_time(|bench| async move {
        bench.manners("naughty", Manners::Refuse);
        let second = Duration::from_secs(1);
        let naughty = bench.child_with(stopped_by("naughty", Shutdown::Timeout(second)));
        let top = bench.running(SupervisorFlags::default(), vec![naughty]).await;
        assert!(bench.let_go("naughty"), "nobody but its supervisor knows it");
        let begun = Instant::now();
        let terminate = top.address.send(TerminateChild(id("naughty")));
        settle().await;
        assert_eq!(top.children().await, "naughty:stopping", "it answers meanwhile");
        assert_eq!(terminate.await.expect("a live supervisor"), Ok(Done::Terminated));
        assert_eq!(begun.elapsed(), second);
        assert_eq!(top.children().await, "naughty:stopped");
    });
}
