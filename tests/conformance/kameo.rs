//! From kameo's tests of its supervision.

use std::time::Duration;

use symphony::supervision::core::{AdminError, Done};
use symphony::supervision::supervisor::{RestartChild, TerminateChild, WhichChildren};
use symphony::supervision::{ExitReason, StopActor, SupervisorFlags};

use crate::bench::{Manners, id, patient, settle, virtual_time};

#[test]
fn on_stop_before_next_on_start() {
    virtual_time(|bench| async move {
        let _top = bench.running(patient(), bench.workers(&["a"])).await;
        for _ in 0..20 {
            bench.crash("a").await;
            assert_eq!(bench.journal().await, "-a +a");
            bench.leave("a", None).await;
            assert_eq!(bench.journal().await, "-a +a");
        }
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
