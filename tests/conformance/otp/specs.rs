//! What a child and a supervisor may be, and what is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use symphony::supervision::supervisor::{
    DeleteChild, GetChildSpec, RestartChild, StartChild, TerminateChild,
};
use symphony::supervision::{
    AutoShutdown, ChildKind, ChildRules, ChildSpec, Restart, Shutdown, Start, Strategy,
    SupervisorFlags,
};

use crate::bench::{Bench, flags, id, patient, virtual_time};

/// The original gives children and flags as maps with some keys left out, and as tuples. Here: what is left to the
/// defaults is the same as what is spelled out, and a tree starts from either.
#[test]
fn sup_start_map() {
    let spelled_out = ChildRules {
        id: id("a"),
        restart: Restart::Permanent,
        shutdown: Shutdown::Timeout(Duration::from_secs(5)),
        kind: ChildKind::Worker,
        significant: false,
        heartbeat: None,
    };
    assert_eq!(spelled_out, ChildRules::worker("a"));
    let supervisor = ChildRules::supervisor("s");
    assert_eq!((supervisor.kind, supervisor.shutdown), (ChildKind::Supervisor, Shutdown::Infinity));
    virtual_time(|bench| async move {
        let flags = SupervisorFlags {
            strategy: Strategy::OneForOne,
            intensity: 1,
            period: Duration::from_secs(5),
            auto_shutdown: AutoShutdown::Never,
            max_children: None,
        };
        let children = vec![bench.child_with(spelled_out), bench.worker("b", Restart::Permanent)];
        let top = bench.running(flags, children).await;
        assert_eq!(top.children().await, "a:running b:running");
        let rules = top.address.send(GetChildSpec(id("b"))).await.expect("a live supervisor");
        assert_eq!(rules, Some(ChildRules::worker("b")));
        let unknown = top.address.send(GetChildSpec(id("c"))).await.expect("a live supervisor");
        assert_eq!(unknown, None);
    });
}

/// What is said to a child of these rules, offered to a running supervisor.
fn offered(flags: SupervisorFlags, rules: ChildRules, expected: &'static str) {
    virtual_time(|bench| async move {
        let top = bench.running(flags, vec![]).await;
        assert_eq!(top.add(bench.child_with(rules)).await, expected);
        assert_eq!(bench.journal().await.is_empty(), expected != "Started");
    });
}

/// The original offers malformed tuples, most of which have no Rust type. Here: all rules that can still be broken, at
/// the start and by request; and every valid mixture is taken.
#[test]
fn child_specs() {
    let any = SupervisorFlags { auto_shutdown: AutoShutdown::AnySignificant, ..patient() };
    let dynamic = SupervisorFlags { strategy: Strategy::Dynamic, ..any };
    let significant =
        |restart| ChildRules { restart, significant: true, ..ChildRules::worker("s") };
    offered(any, significant(Restart::Permanent), "child s cannot be significant and permanent");
    offered(
        dynamic,
        significant(Restart::Transient),
        "child s of a dynamic supervisor cannot be significant",
    );
    offered(
        patient(),
        significant(Restart::Transient),
        "child s is significant, but its supervisor never shuts down by itself",
    );
    let no_beat = ChildRules { heartbeat: Some(Duration::ZERO), ..ChildRules::worker("s") };
    offered(patient(), no_beat, "the heartbeat of child s must be longer than zero");
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        for kind in [ChildKind::Worker, ChildKind::Supervisor] {
            for shutdown in
                [Shutdown::BrutalKill, Shutdown::Timeout(Duration::ZERO), Shutdown::Infinity]
            {
                let rules = ChildRules { restart, kind, shutdown, ..ChildRules::worker("a") };
                offered(patient(), rules, "Started");
            }
        }
    }
}

#[test]
fn sup_flags() {
    let defaults = SupervisorFlags::default();
    assert_eq!(defaults.strategy, Strategy::OneForOne);
    assert_eq!((defaults.intensity, defaults.period), (1, Duration::from_secs(5)));
    assert_eq!((defaults.auto_shutdown, defaults.max_children), (AutoShutdown::Never, None));
    virtual_time(|bench| async move {
        let never_closes = SupervisorFlags { period: Duration::ZERO, ..defaults };
        let refused = bench.start(never_closes, bench.workers(&["a"])).await.err();
        let text = "the period of a supervisor must be longer than zero";
        assert_eq!(refused.as_deref(), Some(text));
        assert_eq!(bench.journal().await, "", "nothing is started");
    });
}

/// Counts its starts, and hands the count out beside the actor.
fn counted(bench: &Bench, starts: &Arc<AtomicU32>) -> ChildSpec {
    let mut inner = bench.child_with(ChildRules::worker("a"));
    let starts = starts.clone();
    ChildSpec::new(ChildRules::worker("a"), move || {
        starts.fetch_add(1, Ordering::Relaxed);
        (inner.start)()
    })
}

/// The original's start function returns something beside the pid, which every way of starting must pass on. Here a
/// factory hands it out by itself; it must be run for each start and for nothing else.
#[test]
fn extra_return() {
    virtual_time(|bench| async move {
        let starts = Arc::new(AtomicU32::new(0));
        let top = bench.running(patient(), vec![counted(&bench, &starts)]).await;
        for (request, expected) in [
            (top.ask(TerminateChild(id("nobody"))).await, "not found"),
            (top.ask(DeleteChild(id("nobody"))).await, "not found"),
            (top.ask(RestartChild(id("nobody"))).await, "not found"),
            (top.ask(DeleteChild(id("a"))).await, "running"),
            (top.ask(RestartChild(id("a"))).await, "running"),
        ] {
            assert_eq!(request, expected);
        }
        assert_eq!(starts.load(Ordering::Relaxed), 1);
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "Terminated");
        assert_eq!(top.ask(RestartChild(id("a"))).await, "Started");
        assert_eq!(starts.load(Ordering::Relaxed), 2);
        bench.crash("a").await;
        assert_eq!(starts.load(Ordering::Relaxed), 3);
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "Terminated");
        assert_eq!(top.ask(DeleteChild(id("a"))).await, "Deleted");
        assert_eq!(top.ask(StartChild(counted(&bench, &starts))).await, "Started");
        assert_eq!(starts.load(Ordering::Relaxed), 4);
    });
}

#[test]
fn order_of_children() {
    virtual_time(|bench| async move {
        let roomy = SupervisorFlags { intensity: 9, ..flags(Strategy::RestForOne) };
        let top = bench.running(roomy, bench.workers(&["c", "a", "b"])).await;
        top.add(bench.worker("0", Restart::Permanent)).await;
        let order = "c:running a:running b:running 0:running";
        assert_eq!(top.children().await, order, "that of the specs, added ones last");
        bench.journal().await;
        // it outlives restarts by the strategy and by hand
        bench.crash("a").await;
        assert_eq!(bench.journal().await, "-a ?0 -0 ?b -b +a +b +0");
        top.ask(TerminateChild(id("c"))).await;
        top.ask(RestartChild(id("c"))).await;
        assert_eq!(top.children().await, order);
        bench.journal().await;
        top.stop().await;
        assert_eq!(bench.journal().await, "?0 -0 ?b -b ?a -a ?c -c");
    });
}

/// The original's start function finds a process that was started elsewhere and returns `already_started`. Here the
/// factory says so: the request fails with its words, no spec is kept, and the actor elsewhere is left alone.
#[test]
fn already_started_outside_supervisor() {
    virtual_time(|bench| async move {
        let outside = bench.running(patient(), bench.workers(&["a"])).await;
        let top = bench.running(patient(), vec![]).await;
        let found = bench.address("a");
        let taken = || {
            let found = found.clone();
            ChildSpec::new(ChildRules::worker("a"), move || {
                let found = found.clone();
                std::future::ready(match found.connected() {
                    true => Err("already started elsewhere".to_owned()),
                    false => Ok(Start::Ignore),
                })
            })
        };
        assert_eq!(top.add(taken()).await, "already started elsewhere");
        assert_eq!(top.children().await, "");
        assert_eq!(top.counts().await, [0, 0, 0, 0]);
        let refused = bench.start(patient(), vec![taken()]).await.err();
        assert_eq!(refused.as_deref(), Some("child a failed to start: already started elsewhere"));
        assert_eq!(outside.children().await, "a:running");
        assert_eq!(bench.journal().await, "");
    });
}
