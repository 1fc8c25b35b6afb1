//! Which ends are followed by a start, and how many of them.

use serde_json::json;

use crate::backend::{Client, until};
use crate::crash_loops::{Counted, three_restarts};
use crate::service::{Service, fake, program};

#[test]
fn not_respawning() {
    let counted = Counted::new();
    let mut restart = three_restarts();
    restart["class"] = json!("transient");
    let flags = ["--exit-after", "300ms", "--exit-code", "0"];
    let service = Service::start(&[
        counted.model("done", &flags).with("restart", restart),
        counted.model("other", &["--exit-after", "300ms", "--exit-code", "1"]),
    ]);
    service.ask("load-model", json!({ "model_name": "done", "wait": true }));
    let row = service.wait_for_state("done", "stopped");
    assert_eq!((row.generation(), row.restarts()), (1, 0));
    // while another one is started again and again, this one stays down
    service.ask("load-model", json!({ "model_name": "other", "wait": true }));
    until("some restarts of the other", || (counted.starts("other") >= 3).then_some(()));
    assert_eq!(counted.starts("done"), 1);
    assert_eq!(service.kinds("done"), ["starting", "ready", "exited", "stopped"]);
    service.stop();
}

#[test]
fn exited_too_quickly() {
    let counted = Counted::new();
    let models = ["permanent", "transient"].map(|class| {
        let mut restart = three_restarts();
        restart["class"] = json!(class);
        let flags = ["--exit-before-ready", "--exit-code", "0"];
        counted.model(class, &flags).with("restart", restart)
    });
    let service = Service::start(&models);
    for class in ["permanent", "transient"] {
        let error = service.fails_to_load(class);
        // it exited with code 0, and was not ready: that start failed
        assert!(error.contains("exit 0 before ready"), "{class}: {error}");
        assert_eq!((service.row(class).state(), counted.starts(class)), ("parked", 4), "{class}");
    }
    service.stop();
}

/// Dies of a request; answers what became of the model.
fn dies(service: &Service, name: &str) -> String {
    let before = service.wait_for_state(name, "ready");
    let client = Client::connect(before.endpoint());
    client.greet();
    client.send_ping(1, 1, "the one it dies of");
    let after = service.wait_for(name, "parked or replaced", |row| {
        row.state() == "parked"
            || (row.generation() > before.generation() && row.state() == "ready")
    });
    after.state().to_owned()
}

#[test]
fn flapping_parks() {
    let counted = Counted::new();
    // readiness forgives at once, so that only the window counts
    let restart = json!({
        "max_consecutive_failures": 1000, "reset_after": "1ms", "backoff_min": "1ms",
        "backoff_max": "1ms", "window_max": 3, "window_period": "1h",
    });
    let model = counted.model("a", &["--crash-on-request", "1"]).with("restart", restart);
    let service = Service::start(&[model]);
    service.load("a");
    let fates: Vec<String> = (0..4).map(|_| dies(&service, "a")).collect();
    assert_eq!(fates, ["ready", "ready", "ready", "parked"]);
    let row = service.row("a");
    assert!(row.reason().contains("3 restarts in 1h, the last: signal 6"), "{}", row.reason());
    assert_eq!(counted.starts("a"), 4);
    service.stop();
}

#[test]
fn flapping_window_resets() {
    let counted = Counted::new();
    let restart = json!({
        "max_consecutive_failures": 1000, "reset_after": "1ms", "backoff_min": "1ms",
        "backoff_max": "1ms", "window_max": 2, "window_period": "1s",
    });
    let model = counted.model("a", &["--crash-on-request", "1"]).with("restart", restart);
    let service = Service::start(&[model]);
    service.load("a");
    for round in 0..4 {
        assert_eq!(dies(&service, "a"), "ready", "round {round}");
        // the window forgets what lies behind it
        let clock = symphony::clock::Clock::start();
        until("the next second", || (clock.now().since_origin().as_millis() > 1100).then_some(()));
    }
    assert_eq!(service.row("a").restarts(), 4, "more than one window allows, in more than one");
    service.stop();
}

#[test]
fn event_overflow_counted() {
    let service = Service::start(&[program("a", &["/nowhere/at/all"]), fake("b", &[])]);
    service.load("b");
    let first = service.ask("events", json!({ "since": 0 }));
    assert_eq!(first["missed"], 0);
    // each of these starts fails at once, with three events
    let loads = symphony::limits::EVENT_RING / 3 + 100;
    for _ in 0..loads {
        service.fails_to_load("a");
    }
    let page = service.ask("events", json!({ "since": 0 }));
    let oldest = page["events"][0]["seq"].as_u64().expect("a number");
    assert_eq!(page["missed"].as_u64(), Some(oldest - 1), "what fell out is counted: {oldest}");
    assert!(oldest > 1);
    service.stop();
}
