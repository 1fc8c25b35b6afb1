//! Stopping: order, patience, force, and actors that misbehave at their end.

use symphony::supervision::core::Notice;
use symphony::supervision::{ExitReason, Shutdown, Strategy, SupervisorFlags};

use crate::bench::{Manners, flags, stopped_by, virtual_time};

#[test]
fn children_stop_in_reverse() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        virtual_time(|bench| async move {
            let top = bench.running(flags(strategy), bench.workers(&["a", "b", "c"])).await;
            assert_eq!(top.stop().await, ExitReason::Shutdown);
            assert_eq!(bench.journal().await, "?c -c ?b -b ?a -a");
        });
    }
}

#[test]
fn a_panic_during_the_stop_is_told_and_does_not_hold_it() {
    virtual_time(|bench| async move {
        bench.manners("b", Manners::PanicAtTheEnd);
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a", "b"])).await;
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(bench.journal().await, "?b -b ?a -a");
        let told: Vec<_> = bench.notices().await.into_iter().map(|told| told.notice).collect();
        let reason = ExitReason::Panic("panicked in stopped()".to_owned());
        assert_eq!(told, [Notice::ChildFailed { child: "b".into(), reason }]);
    });
}

#[test]
fn a_killed_actor_that_panics_in_stopped_has_ended_all_the_same() {
    virtual_time(|bench| async move {
        bench.manners("a", Manners::PanicAtTheEnd);
        let child = bench.child_with(stopped_by("a", Shutdown::BrutalKill));
        let top = bench.running(SupervisorFlags::default(), vec![child]).await;
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(bench.journal().await, "-a");
    });
}
