//! Requests by name, as messages.

use std::time::Duration;

use symphony::supervision::supervisor::{
    DeleteChild, RestartChild, TerminateChild, WhichChildren, draw_tree,
};
use symphony::supervision::{ChildRules, SupervisorFlags};

use crate::bench::{Plan, id, virtual_time};

#[test]
fn child_adm() {
    virtual_time(|bench| async move {
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a"])).await;
        let a = || bench.child_with(ChildRules::worker("a"));
        assert_eq!(top.ask(RestartChild(id("a"))).await, "running");
        assert_eq!(top.ask(DeleteChild(id("a"))).await, "running");
        assert_eq!(top.add(a()).await, "already started");
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "Terminated");
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "Terminated", "twice is no error");
        assert_eq!(top.add(a()).await, "already present");
        assert_eq!(top.ask(RestartChild(id("a"))).await, "Started");
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "Terminated");
        assert_eq!(top.ask(DeleteChild(id("a"))).await, "Deleted");
        assert_eq!(top.ask(DeleteChild(id("a"))).await, "not found");
        assert_eq!(top.ask(RestartChild(id("a"))).await, "not found");
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "not found");
        assert_eq!(top.add(a()).await, "Started");
        assert_eq!(bench.journal().await, "?a -a +a ?a -a +a");
    });
}

#[test]
fn sup_start_child_returns_error() {
    virtual_time(|bench| async move {
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a"])).await;
        bench.plan("b", &[Plan::Fail]);
        assert_eq!(top.add(bench.child_with(ChildRules::worker("b"))).await, "no luck");
        assert_eq!(top.children().await, "a:running");
        assert_eq!(top.add(bench.child_with(ChildRules::worker("b"))).await, "Started");
    });
}

#[test]
fn sup_start_restart_child_returns_error() {
    virtual_time(|bench| async move {
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a"])).await;
        top.ask(TerminateChild(id("a"))).await;
        bench.plan("a", &[Plan::Fail]);
        assert_eq!(top.ask(RestartChild(id("a"))).await, "no luck");
        assert_eq!(top.children().await, "a:stopped");
        assert_eq!(top.ask(RestartChild(id("a"))).await, "Started");
    });
}

#[test]
fn which_children() {
    virtual_time(|bench| async move {
        let below = bench.supervisor(
            ChildRules::supervisor("below"),
            SupervisorFlags::default(),
            |bench| bench.workers(&["leaf"]),
        );
        let mut children = bench.workers(&["a"]);
        children.push(below);
        let top = bench.running(SupervisorFlags::default(), children).await;
        bench.crash("a").await;
        let answer = top.address.send(WhichChildren).await.expect("a live supervisor");
        assert_eq!(answer.name, "top");
        let told: Vec<_> = answer
            .children
            .iter()
            .map(|c| (c.rules.id.as_str(), c.state, c.restarts, c.supervisor.is_some()))
            .collect();
        assert_eq!(told, [("a", "running", 1, false), ("below", "running", 0, true)]);
    });
}

#[test]
fn tree() {
    virtual_time(|bench| async move {
        let below = bench.supervisor(
            ChildRules::supervisor("below"),
            SupervisorFlags::default(),
            |bench| bench.workers(&["leaf"]),
        );
        let mut children = bench.workers(&["a"]);
        children.push(below);
        let top = bench.running(SupervisorFlags::default(), children).await;
        let picture = draw_tree(top.address.clone(), Duration::from_secs(1)).await;
        let picture = picture.expect("a live supervisor");
        assert_eq!(picture.detail.as_deref(), Some("one_for_one, 1 in 5s"));
        let names: Vec<_> = picture.children.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a", "below"]);
        assert_eq!(picture.children[1].children[0].name, "leaf");
        assert_eq!(picture.children[1].detail.as_deref(), Some("one_for_one, 1 in 5s"));
    });
}
