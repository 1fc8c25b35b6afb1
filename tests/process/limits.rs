//! A limit that ends a backend is told to whoever asks: in the state, in the events, and to who waits for the model.

use serde_json::json;

use crate::service::{Service, fake, program};

#[test]
fn cpu_time_limit_is_reported() {
    let busy = program("a", &["/bin/sh", "-c", "while :; do :; done"])
        .with("limits", json!({ "cpu_time": "1s" }))
        .with("restart", json!({ "max_consecutive_failures": 0 }));
    let service = Service::start(&[busy]);
    let error = service.fails_to_load("a");
    assert!(error.contains("the last: cpu time limit 1s before ready"), "{error}");
    let row = service.row("a");
    assert_eq!(row.exit_reason(), "cpu time limit 1s before ready");
    assert!(row.reason().contains("cpu time limit 1s"), "{row:?}");
    let told = |event: &crate::service::Event| event.cause().contains("cpu time limit 1s");
    assert!(service.events("a").iter().any(told));
    service.stop();
}

#[test]
fn memory_limit_is_reported() {
    let script = "head -c 500000000 /dev/zero | tail -n 1 >/dev/null; exit 4";
    let large = program("a", &["/bin/sh", "-c", script])
        .with("limits", json!({ "memory": "256MiB" }))
        .with("restart", json!({ "max_consecutive_failures": 0 }));
    let service = Service::start_with(&[large], |configuration| {
        // what holds the limit is another matter where the tests themselves run in a delegated cgroup
        configuration["service"]["cgroup"] = json!("off");
    });
    let error = service.fails_to_load("a");
    assert!(error.contains("memory limit 256MiB (address space)"), "{error}");
    assert!(error.contains("exit 4 before ready, out of memory by its own words"), "{error}");
    service.stop();
}

#[test]
fn a_program_that_cannot_be_executed_is_told_in_words_behind_the_shim() {
    let service =
        Service::start(
            &[fake("a", &[]).with("limits", json!({ "user": "no-such-user-anywhere" }))],
        );
    let error = service.fails_to_load("a");
    assert!(error.contains("there is no user 'no-such-user-anywhere'"), "{error}");
    let row = service.row("a");
    assert_eq!((row.state(), row.generation()), ("parked", 1), "no other try can help");
    service.stop();
}
