//! Requests by name, as messages.

use std::time::Duration;

use symphony::supervision::core::{AdminError, Done};
use symphony::supervision::supervisor::{StartChild, TerminateChild};
use symphony::supervision::{Restart, SupervisorFlags};

use crate::bench::{Leave, Manners, Plan, id, settle, virtual_time};

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

#[test]
fn who_asks_a_supervisor_that_is_killed_is_told() {
    virtual_time(|bench| async move {
        bench.manners("a", Manners::ObeyAfter(Duration::from_secs(3)));
        let top = bench.running(SupervisorFlags::default(), bench.workers(&["a"])).await;
        let waiting = top.address.send(TerminateChild(id("a")));
        settle().await;
        let queued = top.address.send(StartChild(bench.worker("b", Restart::Permanent)));
        settle().await;
        top.kill();
        for request in [waiting.await, queued.await] {
            assert_eq!(request.expect("its last word"), Err(AdminError::Stopping));
        }
    });
}
