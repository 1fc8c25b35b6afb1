//! How one backend is ended: from each state, inside its grace and after it, and that nothing comes after.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::backend::until;
use crate::crash_loops::Counted;
use crate::processes::runs;
use crate::service::{Service, fake, program};

/// Unloads a model; answers how long that took in the time of the service's events.
fn unload(service: &Service, name: &str) -> Duration {
    service.ask("unload-model", json!({ "model_name": name }));
    let events = service.events(name);
    let at = |kind: &str| events.iter().rfind(|event| event.kind() == kind).expect(kind).at_ms();
    Duration::from_secs_f64((at("stopped") - at("stopping")) / 1000.0)
}

#[test]
fn kill_from_starting() {
    let service = Service::start(&[fake("a", &["--load-time", "1h"])]);
    let load = service.order_load("a");
    let row = service.wait_for("a", "its process", |row| !row.0["pid"].is_null());
    assert_eq!(row.state(), "starting");
    unload(&service, "a");
    assert!(!runs(row.pid()));
    let error = load.outcome().expect_err("it never got ready");
    assert!(error.contains("was stopped while it was starting"), "{error}");
    assert_eq!(service.kinds("a"), ["starting", "stopping", "stopped"]);
    service.stop();
}

#[test]
fn kill_from_running() {
    let service = Service::start(&[fake("a", &[])]);
    let row = service.load("a");
    unload(&service, "a");
    assert!(!runs(row.pid()));
    assert_eq!(service.kinds("a"), ["starting", "ready", "stopping", "stopped"]);
    let error = service.refused("unload-model", json!({ "model_name": "a" }));
    assert_eq!(error, "Model a not found", "it is forgotten");
    assert_eq!(service.load("a").generation(), 1, "and loaded afresh");
    service.stop();
}

/// Has a model's process ended and another one started; it must end like this. Answers how long the end took in the time of
/// the service's events.
fn replace(service: &Service, name: &str, how: Value) -> Duration {
    let before = service.row(name);
    service.ask("restart-model", json!({ "model_name": name, "wait": true }));
    assert_eq!(service.wait_for_successor(&before).0["last_exit"]["status"], how);
    let events = service.events(name);
    let at = |kind: &str| events.iter().rfind(|event| event.kind() == kind).expect(kind).at_ms();
    Duration::from_secs_f64((at("starting") - at("stopping")) / 1000.0)
}

/// A shell that takes its time to end, or never does.
fn slow_to_end(name: &str, on_term: &str) -> crate::service::Model {
    let script = format!("trap '{on_term}' TERM; echo up; while :; do sleep 0.05; done");
    program(name, &["sh", "-c", &script])
        .with("ready", json!({ "delay": "100ms" }))
        .with("stop", json!({ "grace": "400ms" }))
        .unwatched()
}

#[test]
fn exits_within_grace() {
    let mut model = slow_to_end("a", "sleep 0.2; echo last words; exit 0");
    model = model.with("stop", json!({ "grace": "1h" }));
    let service = Service::start(&[model]);
    service.load("a");
    let took = replace(&service, "a", json!({ "code": 0 }));
    assert!(took >= Duration::from_millis(200), "it had the time it took: {took:?}");
    let log = service.ask("logs", json!({ "model_name": "a", "lines": 10 }));
    assert!(log.to_string().contains("last words"), "{log}");
    service.stop();
}

#[test]
fn killed_after_grace() {
    let service = Service::start(&[slow_to_end("a", "echo not yet")]);
    let row = service.load("a");
    let killed = json!({ "signal": { "number": 9, "core_dumped": false } });
    let took = replace(&service, "a", killed);
    assert!(took >= Duration::from_millis(400), "not before its grace was over: {took:?}");
    assert!(!runs(row.pid()));
    service.stop();
}

#[test]
fn stopping_does_not_spawn() {
    let counted = Counted::new();
    let endless = json!({
        "max_consecutive_failures": 1000, "window_max": 1000, "backoff_min": "1ms",
        "backoff_max": "1ms",
    });
    let crashing = ["--crash-at-start", "1000000", "--exit-code", "3"];
    let service = Service::start(&[
        counted.model("a", &crashing).with("restart", endless),
        counted.model("b", &["--ignore-term"]).with("stop", json!({ "grace": "1h" })),
    ]);
    // one that flaps: a stop comes at any moment of its rounds
    let _load = service.order_load("a");
    until("some rounds", || (counted.starts("a") >= 5).then_some(()));
    service.ask("unload-model", json!({ "model_name": "a" }));
    let starts = counted.starts("a");
    // one that dies while it is being stopped
    let row = service.load("b");
    let stop = service.manager();
    stop.send("unload-model", &json!({ "model_name": "b" }));
    service.wait_for_state("b", "stopping");
    row.signal(Signal::KILL);
    stop.outcome().expect("it is gone");
    assert_eq!((counted.starts("a"), counted.starts("b")), (starts, 1));
    for name in ["a", "b"] {
        assert_eq!(service.kinds(name).last().expect("events"), "stopped", "{name}");
    }
    assert_eq!(service.processes(), [service.pid()], "no process but the service");
    service.stop();
}

#[test]
fn sighup_in_shutdown() {
    let patient = json!({ "grace": "1h" });
    let mut service = Service::start(&[fake("slow", &["--ignore-term"]).with("stop", patient)]);
    let slow = service.load("slow");
    service.signal(Signal::TERM);
    service.wait_for_state("slow", "stopping");
    // what it would read now would add a model that starts by itself
    let file = service.folder().join("config.json");
    let text = std::fs::read_to_string(&file).expect("read");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let late = json!({ "name": "late", "type": "fake", "autostart": true });
    config["supported_models"].as_array_mut().expect("a list").push(late);
    std::fs::write(&file, config.to_string()).expect("written");
    for _ in 0..3 {
        service.signal(Signal::HUP);
        let status = service.ask("status", json!({ "all": true }));
        assert!(!status.to_string().contains("\"late\""), "{status}");
    }
    slow.signal(Signal::KILL);
    service.ended_clean();
    assert!(!service.log().contains("subject=late"), "{}", service.log());
}
