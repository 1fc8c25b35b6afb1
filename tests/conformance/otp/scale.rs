//! Many children, and what is kept of those that are gone.

use std::sync::{Arc, Weak};

use symphony::supervision::core::Done;
use symphony::supervision::supervisor::{StartChild, TerminateChild};
use symphony::supervision::{
    ChildRules, ChildSpec, ExitReason, Restart, Strategy, SupervisorFlags,
};

use crate::bench::{Bench, Top, flags, id, patient, virtual_time};

const STRATEGIES: [Strategy; 4] =
    [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne, Strategy::Dynamic];

#[test]
fn scale_start_stop_many_children() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        let requests: Vec<_> = (0..2000)
            .map(|nth| {
                let rules = ChildRules::worker(format!("child-{nth}"));
                top.address.send(StartChild(bench.child_with(rules)))
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.expect("a live supervisor"), Ok(Done::Started));
        }
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        let journal = bench.journal().await;
        assert_eq!(journal.matches('+').count(), 2000);
        assert_eq!(journal.split(' ').filter(|entry| entry.starts_with("-child")).count(), 2000);
    });
}

/// The original compares the time of 10,000 children with that of 1,000. Here: nothing of them is kept, whatever their
/// number; the figures are those of `benches/supervision.rs`.
#[test]
fn scale_many_temporary_children() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        for round in 0..2 {
            for nth in 0..2000 {
                let child = bench.worker(&format!("child-{nth}"), Restart::Temporary);
                assert_eq!(top.add(child).await, "Started", "round {round}");
            }
            for nth in 0..2000 {
                let gone = top.ask(TerminateChild(id(&format!("child-{nth}")))).await;
                assert_eq!(gone, "Terminated");
            }
            assert_eq!(top.counts().await, [0, 0, 0, 0]);
        }
    });
}

/// A child whose factory holds something large.
fn with_luggage(bench: &Bench, name: &str, restart: Restart) -> (ChildSpec, Weak<Vec<u8>>) {
    let luggage = Arc::new(vec![0; 1 << 20]);
    let kept = Arc::downgrade(&luggage);
    let mut inner = bench.worker(name, restart);
    let rules = inner.rules.clone();
    let spec = ChildSpec::new(rules, move || {
        assert_eq!(luggage.len(), 1 << 20);
        (inner.start)()
    });
    (spec, kept)
}

/// The original compares the memory of supervisors. Here: the factory of a temporary child, and all that it holds, is
/// dropped once the child runs; that of any other is kept.
#[test]
fn do_not_save_start_parameters_for_temporary_children() {
    for strategy in STRATEGIES {
        virtual_time(|bench| async move {
            let (first, kept_of_first) = with_luggage(&bench, "first", Restart::Temporary);
            let mut children = vec![first];
            if strategy == Strategy::Dynamic {
                children.clear();
            }
            let top = bench.running(flags(strategy), children).await;
            assert!(kept_of_first.upgrade().is_none());
            for (name, restart, is_kept) in [
                ("temporary", Restart::Temporary, false),
                ("transient", Restart::Transient, true),
                ("permanent", Restart::Permanent, true),
            ] {
                let (child, kept) = with_luggage(&bench, name, restart);
                assert_eq!(top.add(child).await, "Started");
                assert_eq!(kept.upgrade().is_some(), is_kept, "{strategy:?} {name}");
                top.ask(TerminateChild(id(name))).await;
                let stays = is_kept && strategy != Strategy::Dynamic;
                assert_eq!(kept.upgrade().is_some(), stays, "{strategy:?} {name}, ended");
            }
        });
    }
}

/// The original starts a second temporary child after the first one died, and looks whether its arguments are kept.
#[test]
fn simple_one_for_one_corruption() {
    virtual_time(|bench| async move {
        let top = bench.running(flags(Strategy::Dynamic), vec![]).await;
        for round in 0..3 {
            let (child, kept) = with_luggage(&bench, "a", Restart::Temporary);
            assert_eq!(top.add(child).await, "Started", "round {round}");
            assert!(kept.upgrade().is_none(), "round {round}");
            bench.crash("a").await;
            assert_eq!(top.counts().await, [0, 0, 0, 0]);
        }
    });
}

#[derive(Debug, Clone, Copy)]
enum End {
    Normally,
    ByPanic,
    Asked,
}

async fn end(bench: &Bench, top: &Top, name: &str, how: End) {
    match how {
        End::Normally => bench.leave(name, None).await,
        End::ByPanic => bench.crash(name).await,
        End::Asked => {
            assert_eq!(top.ask(TerminateChild(id(name))).await, "Terminated");
        }
    }
}

#[test]
fn do_not_save_child_specs_for_temporary_children() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        for how in [End::Normally, End::ByPanic, End::Asked] {
            virtual_time(|bench| async move {
                let flags = SupervisorFlags { strategy, ..patient() };
                let top = bench.running(flags, vec![]).await;
                for (name, restart) in [
                    ("permanent", Restart::Permanent),
                    ("transient", Restart::Transient),
                    ("temporary", Restart::Temporary),
                ] {
                    top.add(bench.worker(name, restart)).await;
                    end(&bench, &top, name, how).await;
                    let again = top.add(bench.worker(name, restart)).await;
                    let expected = match (restart, how) {
                        (Restart::Temporary, _) => "Started",
                        (_, End::Asked) | (Restart::Transient, End::Normally) => "already present",
                        _ => "already started",
                    };
                    assert_eq!(again, expected, "{strategy:?} {name} {how:?}");
                }
            });
        }
    }
}
