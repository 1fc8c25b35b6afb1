//! From quickwit's actors: heartbeats, and sections in which none is due.

use std::time::Duration;

use symphony::supervision::core::Notice;
use symphony::supervision::{ChildRules, ExitReason, Restart, Shutdown, SupervisorFlags};
use tokio::time::Instant;

use crate::bench::{Freeze, Nap, id, patient, settle, virtual_time};

const BEAT: Duration = Duration::from_secs(3);

/// A worker that has to show progress.
fn watched(name: &str) -> ChildRules {
    ChildRules { heartbeat: Some(BEAT), ..ChildRules::worker(name) }
}

#[test]
fn frozen_actor_replaced() {
    virtual_time(|bench| async move {
        let children = ["a", "b"].map(|name| bench.child_with(watched(name)));
        let top = bench.running(patient(), children.into()).await;
        tokio::time::sleep(BEAT * 10).await;
        assert_eq!(bench.journal().await, "", "who is only idle is left alone");
        let begun = Instant::now();
        bench.address("a").do_send(Freeze);
        while bench.journal_now() != "-a +a" {
            assert!(begun.elapsed() <= BEAT * 2, "within two heartbeats");
            settle().await;
        }
        assert!(begun.elapsed() >= BEAT, "not before it was asked and had a heartbeat for it");
        let told: Vec<_> = bench.notices().await.into_iter().map(|told| told.notice).collect();
        let Notice::ChildWedged { child, silent_for } = &told[0] else { panic!("{told:?}") };
        assert_eq!((child.as_str(), *silent_for >= BEAT), ("a", true));
        let reason = ExitReason::Wedged(*silent_for);
        assert!(reason.to_string().starts_with("wedged: no progress for "), "{reason}");
        let ended = Notice::ChildFailed { child: id("a"), reason };
        assert_eq!(told[1..], [ended, Notice::ChildRestarted { child: id("a"), restarts: 1 }]);
        assert_eq!(top.children().await, "a:running b:running");
        tokio::time::sleep(BEAT * 10).await;
        assert_eq!(bench.journal().await, "", "its successor is watched, and well");
    });
}

#[test]
fn protect_zone_respected() {
    virtual_time(|bench| async move {
        let top = bench.running(patient(), vec![bench.child_with(watched("a"))]).await;
        // it holds everything back for long, and has said so
        bench.address("a").do_send(Nap { length: BEAT * 20, declared: true });
        tokio::time::sleep(BEAT * 25).await;
        assert_eq!(bench.journal().await, "");
        assert_eq!(bench.notices().await, []);
        // the same without a word
        bench.address("a").do_send(Nap { length: BEAT * 20, declared: false });
        tokio::time::sleep(BEAT * 3).await;
        assert_eq!(bench.journal().await, "-a +a");
        // the word counts for its section alone
        bench.address("a").do_send(Nap { length: BEAT, declared: true });
        tokio::time::sleep(BEAT * 3).await;
        bench.address("a").do_send(Freeze);
        tokio::time::sleep(BEAT * 3).await;
        assert_eq!(bench.journal().await, "-a +a");
        assert_eq!(top.children().await, "a:running");
    });
}

#[test]
fn a_short_nap_is_no_reason() {
    virtual_time(|bench| async move {
        let _top = bench.running(patient(), vec![bench.child_with(watched("a"))]).await;
        for _ in 0..20 {
            bench.address("a").do_send(Nap { length: BEAT - BEAT / 10, declared: false });
            tokio::time::sleep(BEAT).await;
        }
        assert_eq!(bench.journal().await, "");
    });
}

#[test]
fn who_is_not_watched_may_freeze() {
    virtual_time(|bench| async move {
        let _top = bench.running(patient(), bench.workers(&["a"])).await;
        bench.address("a").do_send(Freeze);
        tokio::time::sleep(BEAT * 100).await;
        assert_eq!(bench.journal().await, "");
    });
}

#[test]
fn a_frozen_actor_counts_as_a_failure_in_the_window() {
    virtual_time(|bench| async move {
        let hour = Duration::from_secs(3600);
        let once = SupervisorFlags { period: hour, ..SupervisorFlags::default() };
        let rules = ChildRules { restart: Restart::Transient, ..watched("a") };
        let top = bench.running(once, vec![bench.child_with(rules)]).await;
        bench.address("a").do_send(Freeze);
        tokio::time::sleep(BEAT * 3).await;
        assert_eq!(top.children().await, "a:running", "no clean end: a transient one comes back");
        bench.address("a").do_send(Freeze);
        assert_eq!(top.exit().await, ExitReason::Shutdown);
        assert_eq!(bench.gave_up().await, ["top"]);
    });
}

#[test]
fn a_frozen_actor_does_not_hold_a_stop_without_limit() {
    virtual_time(|bench| async move {
        let rules = ChildRules { shutdown: Shutdown::Infinity, ..watched("a") };
        let top = bench.running(patient(), vec![bench.child_with(rules)]).await;
        bench.address("a").do_send(Freeze);
        let begun = Instant::now();
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert!(begun.elapsed() <= BEAT * 2);
    });
}

/// The thread as a whole was busy: nobody can be blamed.
#[test]
fn a_busy_thread_makes_nobody_wedged() {
    virtual_time(|bench| async move {
        let children = ["a", "b"].map(|name| bench.child_with(watched(name)));
        let _top = bench.running(patient(), children.into()).await;
        for _ in 0..5 {
            // an hour passes between two turns of everybody
            tokio::time::advance(Duration::from_secs(3600)).await;
            settle().await;
        }
        assert_eq!(bench.journal().await, "");
        assert_eq!(bench.notices().await, []);
    });
}
