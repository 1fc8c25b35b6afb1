//! Requests by name, as messages.

use symphony::supervision::core::{AdminError, Done};
use symphony::supervision::supervisor::{
    DeleteChild, RestartChild, StartChild, TerminateChild, WhichChildren, draw_tree,
};
use symphony::supervision::{ChildRules, ExitReason, Restart, StopActor, SupervisorFlags};

use std::time::Duration;

use crate::bench::{Leave, Manners, Plan, id, settle, virtual_time};

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
fn an_added_child_may_be_ignored() {
    virtual_time(|bench| async move {
        let top = bench.running(SupervisorFlags::default(), vec![]).await;
        bench.plan("a", &[Plan::Ignore]);
        assert_eq!(top.add(bench.worker("a", Restart::Permanent)).await, "Ignored");
        assert_eq!(top.children().await, "a:stopped");
    });
}

#[test]
fn the_child_added_under_a_name_that_just_became_free_is_the_new_one() {
    virtual_time(|bench| async move {
        let children = vec![bench.worker("t", Restart::Temporary)];
        let top = bench.running(SupervisorFlags::default(), children).await;
        bench.manners("slow", Manners::ObeyAfter(Duration::from_secs(1)));
        top.add(bench.worker("slow", Restart::Permanent)).await;
        // while the supervisor waits for another one, t ends and a new t is offered
        let slow = top.address.send(TerminateChild(id("slow")));
        settle().await;
        bench.address("t").do_send(Leave(None));
        settle().await;
        let again = top.address.send(StartChild(bench.worker("t", Restart::Permanent)));
        assert_eq!(slow.await.expect("a live supervisor"), Ok(Done::Terminated));
        assert_eq!(again.await.expect("a live supervisor"), Ok(Done::Started));
        assert_eq!(top.children().await, "slow:stopped t:running");
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
fn which_children_answers_while_a_stop_takes_its_time() {
    virtual_time(|bench| async move {
        bench.manners("a", Manners::ObeyAfter(Duration::from_secs(3)));
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a"])).await;
        let terminate = top.address.send(TerminateChild(id("a")));
        settle().await;
        assert_eq!(top.children().await, "a:stopping");
        assert_eq!(terminate.await.expect("a live supervisor"), Ok(Done::Terminated));
        assert_eq!(top.children().await, "a:stopped");
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

#[test]
fn ask_to_stopping_supervisor_does_not_deadlock() {
    virtual_time(|bench| async move {
        bench.manners("a", Manners::ObeyAfter(Duration::from_secs(3)));
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a", "b"])).await;
        let waiting = top.address.send(TerminateChild(id("a")));
        settle().await;
        let queued = top.address.send(TerminateChild(id("b")));
        top.address.do_send(StopActor);
        settle().await;
        let late = top.address.send(RestartChild(id("b")));
        assert_eq!(late.await.expect("it still answers"), Err(AdminError::Stopping));
        assert_eq!(queued.await.expect("it still answers"), Err(AdminError::Stopping));
        assert_eq!(waiting.await.expect("it still answers"), Ok(Done::Terminated));
        let address = top.address.clone();
        assert_eq!(top.exit().await, ExitReason::Shutdown);
        assert!(address.send(WhichChildren).await.is_err(), "gone, and it says so at once");
    });
}

#[test]
fn children_may_be_added_from_another_thread() {
    virtual_time(|bench| async move {
        let top = bench.running(SupervisorFlags::default(), vec![]).await;
        let offer = StartChild(bench.worker("a", Restart::Permanent));
        let address = top.address.clone();
        let sender = std::thread::spawn(move || address.do_send(offer));
        assert!(sender.join().is_ok());
        settle().await;
        assert_eq!(top.children().await, "a:running");
    });
}
