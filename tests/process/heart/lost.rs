//! A heart that is gone: the service says so, and goes on.

use rustix::process::Signal;
use serde_json::json;

use crate::backend::until;
use crate::processes;
use crate::service::{Service, fake};

#[test]
fn killed_heart_is_told_and_the_service_goes_on() {
    let mut service = Service::through_heart(&[fake("a", &[])]);
    let row = service.load("a");
    let core = service.core_pid();
    service.signal(Signal::KILL);
    service.ended();
    until("the event", || {
        let events = service.happened_to("service");
        events.iter().any(|event| event.kind() == "heart_lost").then_some(())
    });
    let status = service.status();
    assert_eq!((&status["pid"], &status["heart"]["is_lost"]), (&json!(core), &json!(true)));
    assert!(service.log().contains("the heart is gone"), "{}", service.log());
    // nobody else gets the folder while it lives
    assert_eq!(crate::service::second_service(&service).code(), Some(0));
    let same = service.load("a");
    assert_eq!((same.pid(), same.generation()), (row.pid(), row.generation()));
    // it still guards, and ends, what is its own
    service.ask("stop-service", json!({}));
    until("the end of the service", || (!processes::runs(core)).then_some(()));
    service.left_nothing();
    assert!(!processes::runs(row.pid()));
}
