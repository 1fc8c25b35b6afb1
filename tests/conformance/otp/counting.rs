//! How many children there are. A dynamic supervisor of OTP has one template and counts it as its one spec; ours keeps
//! the spec of each child, as Elixir's does, so it counts as many specs as children.

use symphony::supervision::supervisor::{RestartChild, TerminateChild};
use symphony::supervision::{ChildKind, ChildRules, Restart, Strategy, SupervisorFlags};

use crate::bench::{Crash, Plan, flags, id, patient, settle, virtual_time};

fn many_temporary(kind: ChildKind, of: impl Fn(usize) -> [usize; 4] + 'static) {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        for nth in 0..1000 {
            let rules = ChildRules {
                kind,
                restart: Restart::Temporary,
                ..ChildRules::worker(format!("child-{nth}"))
            };
            assert_eq!(top.add(bench.child_with(rules)).await, "Started");
            if nth == 499 {
                assert_eq!(top.counts().await, of(500));
            }
        }
        assert_eq!(top.counts().await, of(1000));
        assert_eq!(top.children().await.split(' ').count(), 1000, "both tell the same");
        for nth in 0..1000 {
            bench.address(&format!("child-{nth}")).do_send(Crash);
        }
        settle().await;
        assert_eq!(top.counts().await, of(0));
    });
}

#[test]
fn count_children() {
    many_temporary(ChildKind::Worker, |n| [n, n, 0, n]);
    virtual_time(|bench| async move {
        let top = bench.running(patient(), bench.workers(&["a", "b"])).await;
        assert_eq!(top.counts().await, [2, 2, 0, 2]);
        top.ask(TerminateChild(id("a"))).await;
        assert_eq!(top.counts().await, [2, 1, 0, 2], "a spec without an actor");
        top.ask(RestartChild(id("a"))).await;
        assert_eq!(top.counts().await, [2, 2, 0, 2]);
    });
}

#[test]
fn count_children_supervisor() {
    many_temporary(ChildKind::Supervisor, |n| [n, n, n, 0]);
    virtual_time(|bench| async move {
        let top = bench.two_levels(Restart::Transient, SupervisorFlags::default()).await;
        assert_eq!(top.counts().await, [2, 2, 1, 1], "those below are counted below");
        bench.crash("x").await;
        assert_eq!(top.counts().await, [2, 1, 1, 1], "it gave up and stays down");
    });
}

#[test]
fn count_restarting_children() {
    for strategy in [Strategy::Dynamic, Strategy::OneForOne] {
        virtual_time(|bench| async move {
            let flags = SupervisorFlags { strategy, ..patient() };
            let top = bench.running(flags, vec![]).await;
            for name in ["a", "b", "c"] {
                top.add(bench.worker(name, Restart::Permanent)).await;
            }
            assert_eq!(top.counts().await, [3, 3, 0, 3]);
            bench.always("a", Plan::Fail);
            bench.address("a").do_send(Crash);
            while top.children().await.starts_with("a:running") {
                tokio::task::yield_now().await;
            }
            assert_eq!(top.counts().await, [3, 2, 0, 3], "one is restarted again and again");
            assert_eq!(top.ask(TerminateChild(id("a"))).await, "Terminated");
            let kept = usize::from(strategy != Strategy::Dynamic);
            assert_eq!(top.counts().await, [2 + kept, 2, 0, 2 + kept]);
        });
    }
}
