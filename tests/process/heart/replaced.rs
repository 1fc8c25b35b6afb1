//! A core that dies or stands still is replaced.

use rustix::process::Signal;
use serde_json::json;

use crate::backend::until;
use crate::processes::{self, state_of};
use crate::service::{Service, fake};

/// What was recorded of replaced cores by the present one.
fn replaced(service: &Service) -> Vec<String> {
    let events = service.happened_to("service");
    let replaced = events.iter().filter(|event| event.kind() == "core_replaced");
    replaced.map(|event| event.cause().to_owned()).collect()
}

#[test]
fn sigkilled_core_is_replaced() {
    let service = Service::through_heart(&[fake("a", &[])]);
    let before = service.core_pid();
    assert_ne!(before, service.pid());
    processes::signal(before, Signal::KILL);
    let status = service.replaced(1);
    assert_ne!(status["pid"], before);
    assert_eq!(status["heart"]["pid"], service.pid());
    assert_eq!(status["heart"]["last_cause"], "signal 9");
    assert_eq!(status["heart"]["is_lost"], false);
    // the sockets are open a moment before it is written down
    until("the event", || (replaced(&service) == ["signal 9"]).then_some(()));
    assert!(service.log().contains(&format!("the core (pid {before}) is lost: signal 9")));
    service.load("a");
    service.stop();
}

#[test]
fn stopped_core_is_replaced() {
    let service = Service::through_heart(&[]);
    let before = service.core_pid();
    processes::signal(before, Signal::STOP);
    let status = service.replaced(1);
    let cause = status["heart"]["last_cause"].as_str().expect("a cause");
    assert_eq!(cause, "it gave no sign of life for 2s");
    assert_eq!(state_of(before), None, "it was killed and reaped");
    service.stop();
}

#[test]
fn busy_arbiter_is_replaced() {
    let service = Service::through_heart(&[]);
    let before = service.core_pid();
    service.ask("chaos-panic", json!({ "actor": "main_thread" }));
    let status = service.replaced(1);
    assert_eq!(status["heart"]["last_cause"], "it gave no sign of life for 2s");
    assert_eq!(state_of(before), None);
    service.stop();
}

#[test]
fn a_thread_is_not_held_up_where_nobody_would_replace_it() {
    let service = Service::start_by(&[], |command| {
        command.arg("--allow-chaos");
    });
    let refused = service.refused("chaos-panic", json!({ "actor": "main_thread" }));
    assert_eq!(refused, "no heart would replace this service");
    service.stop();
}

#[test]
fn a_busy_service_is_not_taken_for_a_wedged_one() {
    let service = Service::through_heart(&[fake("a", &["--load-busy", "--load-time", "5s"])]);
    let order = service.order_load("a");
    // more than twice the patience of the heart, with its backend at full load
    order.receive();
    assert_eq!(service.status()["heart"]["restarts"], 0);
    service.stop();
}

#[test]
fn guard_is_replaced() {
    let service = Service::through_heart(&[]);
    let guard = || {
        let children = processes::children_of(service.pid());
        children.into_iter().find(|pid| processes::is_guard(*pid))
    };
    let before = until("the guard", guard);
    processes::signal(before, Signal::KILL);
    until("another guard", || guard().filter(|pid| *pid != before));
    assert_eq!(service.status()["heart"]["restarts"], 0);
    service.stop();
}

#[test]
fn more_restarts_than_the_window_allows_end_everything() {
    let change = |configuration: &mut serde_json::Value| {
        configuration["service"]["heart"]["restarts"] = json!(2);
    };
    let mut service = Service::through_heart_with(&[fake("a", &["--fork", "2"])], change);
    service.load("a");
    for restarts in 1..=2 {
        processes::signal(service.core_pid(), Signal::KILL);
        service.replaced(restarts);
    }
    processes::signal(service.core_pid(), Signal::KILL);
    assert_eq!(service.ended().code(), Some(3));
    let log = service.log();
    assert!(log.contains("gave up after 2 restarts in 1m: signal 9; ending all models"), "{log}");
    assert_eq!(service.mark().processes(), [0; 0], "all of them ended before the heart did");
}

#[test]
fn a_core_that_crashes_at_every_start_ends_the_heart() {
    let mut service = Service::through_heart(&[fake("a", &[])]);
    let row = service.load("a");
    let core = service.core_pid();
    let file = service.folder().join("config.json");
    std::fs::write(file, "{ \"endpoints\": ").expect("written");
    processes::signal(core, Signal::KILL);
    assert_eq!(service.ended().code(), Some(3));
    let log = service.log();
    assert!(log.contains("gave up after 5 restarts in 1m: exit 1; ending all models"), "{log}");
    assert!(!processes::runs(row.pid()));
    assert_eq!(service.mark().processes(), [0; 0]);
}

#[test]
fn who_no_longer_reads_holds_nobody_up() {
    // a terminal that is gone, and one that is full
    for is_gone in [true, false] {
        let (reading, writing) = std::io::pipe().expect("a pipe");
        rustix::pipe::fcntl_setpipe_size(&writing, 4096).expect("made small");
        let service = Service::through_heart_onto(&[], writing);
        let reading = (!is_gone).then_some(reading);
        // each start writes some hundred bytes, and each end of one, too
        for restarts in 1..=4 {
            processes::signal(service.core_pid(), Signal::KILL);
            service.replaced(restarts);
        }
        service.stop();
        drop(reading);
    }
}
