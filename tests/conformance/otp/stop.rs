//! Stopping: order, patience, force, and actors that misbehave at their end.

use std::time::Duration;

use symphony::supervision::core::Notice;
use symphony::supervision::{ChildRules, ExitReason, Shutdown, Strategy, SupervisorFlags};
use tokio::time::Instant;

use crate::bench::{Crash, Manners, flags, stopped_by, virtual_time};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn sup_stop_infinity() {
    virtual_time(|bench| async move {
        bench.manners("a", Manners::ObeyAfter(HOUR));
        let child = bench.child_with(stopped_by("a", Shutdown::Infinity));
        let top = bench.running(SupervisorFlags::default(), vec![child]).await;
        let begun = Instant::now();
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert!(begun.elapsed() >= HOUR);
        assert_eq!(bench.notices().await, []);
    });
}

#[test]
fn sup_stop_timeout() {
    virtual_time(|bench| async move {
        let patience = Duration::from_secs(5);
        bench.manners("a", Manners::Refuse);
        bench.manners("b", Manners::ObeyAfter(Duration::from_secs(3)));
        let child = |name| bench.child_with(stopped_by(name, Shutdown::Timeout(patience)));
        let top = bench.running(SupervisorFlags::default(), vec![child("a"), child("b")]).await;
        let begun = Instant::now();
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        let taken = begun.elapsed();
        assert!(taken >= Duration::from_secs(8) && taken < Duration::from_secs(9), "{taken:?}");
        assert_eq!(bench.journal().await, "?b -b ?a -a");
        let told: Vec<_> = bench.notices().await.into_iter().map(|told| told.notice).collect();
        let killed = Notice::ChildFailed { child: "a".into(), reason: ExitReason::Killed };
        assert_eq!(told, [killed], "who had to be killed is told");
    });
}

#[test]
fn sup_stop_brutal_kill() {
    virtual_time(|bench| async move {
        bench.manners("a", Manners::Refuse);
        let child = bench.child_with(stopped_by("a", Shutdown::BrutalKill));
        let top = bench.running(SupervisorFlags::default(), vec![child]).await;
        let begun = Instant::now();
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(bench.journal().await, "-a", "it was not asked");
        assert_eq!(bench.notices().await, [], "and that is as it should be");
    });
}

#[test]
fn sup_stop_timeout_dynamic() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        for name in ["a", "b", "c"] {
            bench.manners(name, Manners::Refuse);
            top.add(bench.child_with(ChildRules::worker(name))).await;
        }
        bench.journal().await;
        let begun = Instant::now();
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        let taken = begun.elapsed();
        assert!(
            taken >= Duration::from_secs(5) && taken < Duration::from_secs(6),
            "one deadline for all of them, not one after another: {taken:?}"
        );
        assert!(bench.journal().await.starts_with("?a ?b ?c"));
    });
}

#[test]
fn sup_stop_brutal_kill_dynamic() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        for name in ["a", "b"] {
            bench.manners(name, Manners::Refuse);
            top.add(bench.child_with(stopped_by(name, Shutdown::BrutalKill))).await;
        }
        bench.journal().await;
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(bench.journal().await, "-a -b");
    });
}

#[test]
fn sup_stop_race() {
    virtual_time(|bench| async move {
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a", "b"])).await;
        // both die by themselves at the moment the stop arrives
        bench.address("a").do_send(Crash);
        bench.address("b").do_send(Crash);
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        let journal = bench.journal().await;
        assert!(!journal.contains('+'), "nobody comes back: {journal}");
    });
}

#[test]
fn sup_stop_non_shutdown_exit_dynamic() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        bench.manners("a", Manners::PanicAtTheEnd);
        for name in ["a", "b"] {
            top.add(bench.child_with(ChildRules::worker(name))).await;
        }
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        let told: Vec<_> = bench.notices().await.into_iter().map(|told| told.notice).collect();
        let reason = ExitReason::Panic("panicked in stopped()".to_owned());
        assert_eq!(told, [Notice::ChildFailed { child: "a".into(), reason }], "it is told");
    });
}
