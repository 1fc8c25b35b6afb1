//! New specs for a supervisor that runs: the original fakes an upgrade of code, here [`ChangeSpecs`] is sent.
//!
//! [`ChangeSpecs`]: symphony::supervision::supervisor::ChangeSpecs

use std::time::Duration;

use symphony::supervision::supervisor::{
    DeleteChild, GetChildSpec, RestartChild, TerminateChild, WhichChildren,
};
use symphony::supervision::{
    AutoShutdown, ChildRules, ExitReason, Restart, Shutdown, Strategy, SupervisorFlags,
};

use crate::bench::{Top, flags, fragile, id, patient, stopped_by, virtual_time};

async fn shutdown_of(top: &Top, child: &str) -> Option<Shutdown> {
    let rules = top.address.send(GetChildSpec(id(child))).await.expect("a live supervisor");
    rules.map(|rules| rules.shutdown)
}

async fn flags_of(top: &Top) -> SupervisorFlags {
    top.address.send(WhichChildren).await.expect("a live supervisor").flags
}

#[test]
fn code_change() {
    virtual_time(|bench| async move {
        let top = bench.running(fragile(), vec![]).await;
        // the flags
        let three = SupervisorFlags { period: Duration::from_secs(3), ..patient() };
        assert_eq!(top.change(three, vec![]).await, "Changed");
        assert_eq!(flags_of(&top).await, three);
        // faulty ones change nothing, neither flags nor children
        let faulty = SupervisorFlags { period: Duration::ZERO, ..fragile() };
        let refused = "the period of a supervisor must be longer than zero";
        assert_eq!(top.change(faulty, bench.workers(&["a"])).await, refused);
        assert_eq!(
            top.change(fragile(), bench.workers(&["a", "a"])).await,
            "child id a stands twice"
        );
        assert_eq!((flags_of(&top).await, top.children().await), (three, String::new()));

        // new children are not started by themselves
        let a_second = Shutdown::Timeout(Duration::from_secs(1));
        let a = || bench.child_with(stopped_by("a", a_second));
        let b = || bench.child_with(stopped_by("b", Shutdown::BrutalKill));
        assert_eq!(top.change(three, vec![a(), b()]).await, "Changed");
        assert_eq!(top.children().await, "a:stopped b:stopped");
        assert_eq!(top.ask(RestartChild(id("a"))).await, "Started");
        assert_eq!(top.ask(RestartChild(id("b"))).await, "Started");
        assert_eq!(bench.journal().await, "+a +b");

        // change a, leave b out, add c: all keep running, and what is listed comes first
        let children = vec![bench.child_with(stopped_by("a", Shutdown::Infinity)), {
            bench.child_with(stopped_by("c", Shutdown::BrutalKill))
        }];
        assert_eq!(top.change(three, children).await, "Changed");
        assert_eq!(top.children().await, "a:running c:stopped b:running");
        assert_eq!(shutdown_of(&top, "a").await, Some(Shutdown::Infinity));
        assert_eq!(shutdown_of(&top, "b").await, Some(Shutdown::BrutalKill));
        assert_eq!(bench.journal().await, "", "nobody was touched");
        bench.crash("a").await;
        bench.crash("b").await;
        assert_eq!(bench.journal().await, "-a +a -b +b", "exits still find their children");

        // who is not listed can be dropped
        assert_eq!(top.ask(TerminateChild(id("b"))).await, "Terminated");
        assert_eq!(top.ask(DeleteChild(id("b"))).await, "Deleted");
        assert_eq!(top.stop().await, ExitReason::Shutdown);
    });
}

#[test]
fn code_change_gives_the_next_start_the_new_factory() {
    virtual_time(|bench| async move {
        let top = bench.running(patient(), bench.workers(&["a"])).await;
        let mut other = bench.child_with(ChildRules::worker("other"));
        other.rules.id = id("a");
        assert_eq!(top.change(patient(), vec![other]).await, "Changed");
        bench.crash("a").await;
        assert_eq!(bench.journal().await, "-a +other");
        assert_eq!(top.children().await, "a:running");
    });
}

#[test]
fn code_change_keeps_the_restarts_of_the_past() {
    virtual_time(|bench| async move {
        let two = SupervisorFlags { intensity: 2, ..SupervisorFlags::default() };
        let top = bench.running(two, bench.workers(&["a"])).await;
        bench.crash("a").await;
        let one = SupervisorFlags { intensity: 1, ..two };
        assert_eq!(top.change(one, bench.workers(&["a"])).await, "Changed");
        bench.crash("a").await;
        assert_eq!(top.exit().await, ExitReason::Shutdown, "the first one still counts");
    });
}

#[test]
fn code_change_to_another_strategy() {
    virtual_time(|bench| async move {
        let top = bench.running(patient(), bench.workers(&["a", "b", "c"])).await;
        let rest = SupervisorFlags { strategy: Strategy::RestForOne, ..patient() };
        // and to another order
        assert_eq!(top.change(rest, bench.workers(&["c", "b", "a"])).await, "Changed");
        assert_eq!(top.children().await, "c:running b:running a:running");
        bench.crash("b").await;
        assert_eq!(bench.journal().await, "-b ?a -a +b +a");
        let dynamic = "a running supervisor cannot become dynamic or cease to be";
        assert_eq!(top.change(flags(Strategy::Dynamic), vec![]).await, dynamic);
    });
}

/// `code_change_simple` of the original: its one template may change, and neither go nor be joined by a second one.
#[test]
fn code_change_simple() {
    virtual_time(|bench| async move {
        let simple = SupervisorFlags { strategy: Strategy::Dynamic, ..patient() };
        let top = bench.running(simple, vec![]).await;
        top.add(bench.worker("a", Restart::Permanent)).await;
        let infinity = bench.child_with(stopped_by("a", Shutdown::Infinity));
        assert_eq!(top.change(simple, vec![infinity]).await, "Changed");
        assert_eq!(shutdown_of(&top, "a").await, Some(Shutdown::Infinity));
        let unknown = "the dynamic supervisor has no child b to change: start it instead";
        assert_eq!(top.change(simple, bench.workers(&["a", "b"])).await, unknown);
        assert_eq!(shutdown_of(&top, "a").await, Some(Shutdown::Infinity), "nothing has changed");
        let fixed = "a running supervisor cannot become dynamic or cease to be";
        assert_eq!(top.change(patient(), vec![]).await, fixed);
        assert_eq!(top.change(simple, vec![]).await, "Changed");
        assert_eq!(top.children().await, "a:running");
    });
}

fn auto(auto_shutdown: AutoShutdown) -> SupervisorFlags {
    SupervisorFlags { auto_shutdown, ..patient() }
}

/// The original has seven cases, one for each pair of `auto_shutdown` and one for a child.
#[test]
fn significant_upgrade() {
    let (never, any, all) =
        (AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant);
    // from, to, and whether the end of one of two significant children is the end of the supervisor then
    for (from, to, ends) in
        [(never, any, true), (never, all, false), (any, all, false), (all, any, true)]
    {
        virtual_time(|bench| async move {
            let plain = ["s", "t"].map(|name| bench.worker(name, Restart::Transient));
            let top = bench.running(auto(from), plain.into()).await;
            let two = ["s", "t"].map(|name| bench.significant(name, Restart::Transient));
            assert_eq!(top.change(auto(to), two.into()).await, "Changed");
            bench.leave("s", None).await;
            if !ends {
                assert_eq!(top.children().await, "s:stopped t:running", "{from:?} to {to:?}");
                bench.leave("t", None).await;
            }
            assert_eq!(top.exit().await, ExitReason::Shutdown, "{from:?} to {to:?}");
        });
    }
    // back to never: not while a child says that its end matters
    for from in [any, all] {
        virtual_time(|bench| async move {
            let children = || ["s", "t"].map(|name| bench.significant(name, Restart::Transient));
            let top = bench.running(auto(from), children().into()).await;
            let refused = "child s is significant, but its supervisor never shuts down by itself";
            assert_eq!(top.change(auto(never), children().into()).await, refused);
            let plain = ["s", "t"].map(|name| bench.worker(name, Restart::Transient));
            assert_eq!(top.change(auto(never), plain.into()).await, "Changed");
            bench.leave("s", None).await;
            bench.leave("t", None).await;
            assert_eq!(top.children().await, "s:stopped t:stopped");
        });
    }
    // a child alone
    virtual_time(|bench| async move {
        let children = vec![bench.significant("s", Restart::Transient)];
        let top = bench.running(auto(any), children).await;
        let plain = vec![bench.worker("s", Restart::Transient)];
        assert_eq!(top.change(auto(any), plain).await, "Changed");
        bench.leave("s", None).await;
        assert_eq!(top.children().await, "s:stopped", "it is significant no more");
        top.ask(RestartChild(id("s"))).await;
        let significant = vec![bench.significant("s", Restart::Transient)];
        assert_eq!(top.change(auto(any), significant).await, "Changed");
        bench.leave("s", None).await;
        assert_eq!(top.exit().await, ExitReason::Shutdown);
    });
}
