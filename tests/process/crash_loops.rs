//! A crash loop is bounded, explained and visible, and harms nobody else.

use std::os::unix::fs::PermissionsExt;

use prost::Message;
use rustix::process::Signal;
use serde_json::{Value, json};
use symphony::protocols::handshake;

use crate::backend::{Client, until};
use crate::service::{Model, Row, Service, fake, program};

/// Three restarts in a row, fast.
pub fn three_restarts() -> Value {
    json!({ "max_consecutive_failures": 3, "backoff_min": "10ms", "backoff_max": "40ms" })
}

/// A fake backend that counts its starts in a file.
pub struct Counted {
    folder: tempfile::TempDir,
}

impl Counted {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder") }
    }

    pub fn model(&self, name: &str, flags: &[&str]) -> Model {
        let file = self.folder.path().join(name);
        let count = ["--state-file", file.to_str().expect("UTF-8")];
        fake(name, &[&count, flags].concat()).unwatched()
    }

    pub fn starts(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

/// Asks the service over its handshake socket to be led to a model.
fn be_led_to(service: &Service, model: &str) -> handshake::Response {
    let client = Client::connect(&service.endpoint("client"));
    client.send(&[handshake::Request { model: model.into() }.encode_to_vec()]);
    let answer = client.receive();
    assert_eq!(answer.len(), 1, "one frame each way");
    handshake::Response::decode(&answer[0][..]).expect("a response")
}

fn is_listed(service: &Service, name: &str) -> bool {
    let status = service.ask("status", json!({}));
    status["models"].as_array().expect("a list").iter().any(|row| row["name"] == name)
}

#[test]
fn backoff_to_parked() {
    let counted = Counted::new();
    let crashing = ["--crash-at-start", "1000", "--exit-code", "3"];
    let service = Service::start(&[
        counted.model("a", &crashing).with("restart", three_restarts()),
        fake("b", &[]),
    ]);
    let other = service.load("b");
    let error = service.fails_to_load("a");
    assert!(error.contains("4 failures in a row, the last: exit 3 before ready"), "{error}");
    assert!(error.contains("start 4"), "with the last lines of output: {error}");

    let parked = service.row("a");
    assert_eq!((parked.state(), parked.restarts(), parked.generation()), ("parked", 3, 4));
    assert!(parked.reason().contains("4 failures in a row"), "{parked:?}");
    assert!(parked.exit_output().contains(&"start 4"), "{parked:?}");
    assert_eq!(parked.0["last_exit"]["status"], json!({ "code": 3 }));
    assert_eq!(parked.0["pid"], Value::Null);
    assert!(!is_listed(&service, "a"), "only `all` lists it");
    assert_eq!(counted.starts("a"), 4, "one start and three restarts");
    let round = ["starting", "exited", "backoff"];
    let kinds = service.kinds("a");
    // no delay before the first restart
    let expected = [&round[..2], &round, &round, &["starting", "exited", "parked"]].concat();
    assert_eq!(kinds, expected);
    assert_eq!(service.row("b").0["pid"], other.0["pid"], "others are untouched");
    assert_eq!(service.row("b").restarts(), 0);
    service.stop();
}

#[test]
fn parked_is_started_by_a_load_and_not_by_a_handshake() {
    let counted = Counted::new();
    let crashing = ["--crash-at-start", "5", "--exit-code", "3"];
    let model = counted.model("a", &crashing).with("restart", three_restarts());
    let service = Service::start(&[model]);
    service.fails_to_load("a");
    assert_eq!(counted.starts("a"), 4);

    for _ in 0..3 {
        let answer = be_led_to(&service, "a");
        assert!(answer.error.contains("4 failures in a row"), "{answer:?}");
        assert_eq!(answer.model_endpoint, "", "never an endpoint where nobody lives");
    }
    assert_eq!((service.row("a").state(), counted.starts("a")), ("parked", 4));

    let error = service.fails_to_load("a");
    assert!(error.contains("exit 3 before ready"), "{error}");
    assert_eq!((service.row("a").state(), counted.starts("a")), ("parked", 5), "one trial start");

    let row = service.load("a");
    assert_eq!(counted.starts("a"), 6, "the next trial succeeds");
    assert_eq!(be_led_to(&service, "a").model_endpoint, row.endpoint());
    service.stop();
}

#[test]
fn exit_after_ready_is_counted_in_a_row() {
    let counted = Counted::new();
    let flags = ["--exit-after", "500ms", "--exit-code", "4"];
    let service = Service::start(&[counted.model("a", &flags).with("restart", three_restarts())]);
    service.ask("load-model", json!({ "model_name": "a", "wait": true }));
    let parked = service.wait_for_state("a", "parked");
    assert_eq!(counted.starts("a"), 4, "too short a readiness forgives nothing");
    assert_eq!(parked.exit_reason(), "exit 4");
    assert!(parked.reason().contains("the last: exit 4"), "{}", parked.reason());
    service.stop();
}

#[test]
fn crash_at_a_request_is_caught_by_the_window() {
    let counted = Counted::new();
    // readiness forgives at once: only the sliding window is left to end this
    let restart = json!({
        "max_consecutive_failures": 1000, "reset_after": "1ms", "backoff_min": "1ms",
        "backoff_max": "1ms", "window_max": 3, "window_period": "1h",
    });
    let model = counted.model("a", &["--crash-on-request", "2"]).with("restart", restart);
    let service = Service::start(&[model, fake("b", &[])]);
    let other = service.load("b");
    let mut row = service.load("a");
    for crash in 1..=4 {
        let client = Client::connect(row.endpoint());
        client.greet();
        client.ping(1, 1, "good");
        client.send_ping(1, 2, "the one it dies of");
        let generation = row.generation();
        row = service.wait_for("a", "parked or replaced", |row| {
            row.state() == "parked" || (row.generation() > generation && row.state() == "ready")
        });
        assert_eq!(row.state() == "parked", crash == 4, "after crash {crash}: {row:?}");
    }
    assert!(row.reason().contains("3 restarts in 1h, the last: signal 6"), "{}", row.reason());
    assert_eq!(counted.starts("a"), 4);
    assert_eq!(service.row("b").0["pid"], other.0["pid"], "others are untouched");
    service.stop();
}

#[test]
fn parked_is_tried_again_after_its_cool_off() {
    let counted = Counted::new();
    let restart = json!({
        "max_consecutive_failures": 1, "backoff_min": "10ms", "backoff_max": "10ms",
        "cool_off": "1s", "cool_off_max": "2s",
    });
    let crashing = ["--crash-at-start", "3", "--exit-code", "3"];
    let service = Service::start(&[counted.model("a", &crashing).with("restart", restart)]);
    let error = service.fails_to_load("a");
    assert!(error.contains("one trial start after a rest of 1s"), "{error}");
    let row = service.wait_for_state("a", "ready");
    assert_eq!((counted.starts("a"), row.restarts()), (4, 3));
    let events = service.events("a");
    let parked: Vec<_> = events.iter().filter(|event| event.kind() == "parked").collect();
    assert_eq!(parked.len(), 2, "the first trial fails");
    assert!(
        parked[1].cause().contains("one trial start after a rest of 2s"),
        "{}",
        parked[1].cause()
    );
    for (rest, seconds) in parked.iter().zip([1.0, 2.0]) {
        let trial = events.iter().find(|event| {
            event.generation() == rest.generation() + 1 && event.kind() == "starting"
        });
        let trial = trial.expect("a trial start");
        assert_eq!(trial.cause(), "cool-off over, one trial start");
        assert!(trial.at_ms() - rest.at_ms() >= seconds * 500.0, "it rests first");
    }
    service.stop();
}

#[test]
fn execv_fail() {
    let scratch = tempfile::tempdir().expect("folder");
    let file = |name: &str, mode: u32, text: &str| {
        let path = scratch.path().join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        path.to_str().expect("UTF-8").to_owned()
    };
    let programs = [
        ("missing", "/nowhere/at/all".to_owned()),
        ("missing-in-path", "symphony-no-such-program".to_owned()),
        ("folder", scratch.path().to_str().expect("UTF-8").to_owned()),
        ("not-executable", file("plain", 0o600, "#!/bin/sh\n")),
        ("no-program", file("garbage", 0o700, "\u{7f}ELF is what it is not")),
        ("no-interpreter", file("script", 0o700, "#!/nowhere/interpreter\n")),
    ];
    let mut models: Vec<_> = programs.iter().map(|(name, path)| program(name, &[path])).collect();
    let memory = json!({ "memory": "1GiB" });
    models.push(program("missing-behind-the-shim", &["/nowhere/at/all"]).with("limits", memory));
    models.push(fake("good", &[]));
    let service = Service::start(&models);
    let good = service.load("good");
    let names = programs.iter().map(|(name, _)| *name).chain(["missing-behind-the-shim"]);
    for name in names {
        let error = service.fails_to_load(name);
        assert!(error.contains("cannot execute "), "{name}: {error}");
        let row = service.row(name);
        // no retry storm for what cannot succeed
        assert_eq!((row.state(), row.generation(), row.restarts()), ("parked", 1, 0), "{name}");
        assert_eq!(service.kinds(name), ["starting", "exited", "parked"], "{name}");
    }
    assert_eq!(service.row("good").0["pid"], good.0["pid"]);
    service.stop();
}

#[test]
fn a_program_that_is_mended_can_be_loaded() {
    let scratch = tempfile::tempdir().expect("folder");
    let path = scratch.path().join("late");
    let model = program("a", &[path.to_str().expect("UTF-8"), "--ipc-endpoint", "{endpoint}"]);
    let service = Service::start(&[model]);
    service.fails_to_load("a");
    std::os::unix::fs::symlink(crate::backend::FAKE, &path).expect("linked");
    service.load("a");
    service.stop();
}

#[test]
fn a_listed_exit_code_is_fatal_at_once() {
    let counted = Counted::new();
    let restart = json!({ "fatal_codes": [7, 78], "backoff_min": "10ms", "backoff_max": "10ms" });
    let crashing = ["--crash-at-start", "1000", "--exit-code", "78"];
    let service = Service::start(&[counted.model("a", &crashing).with("restart", restart)]);
    let error = service.fails_to_load("a");
    assert!(error.contains("exit code 78 is listed as fatal"), "{error}");
    assert_eq!((service.row("a").state(), counted.starts("a")), ("parked", 1));
    service.stop();
}

/// Loads and waits for the end of a backend that ends by itself.
fn ends(service: &Service, name: &str) -> Row {
    service.ask("load-model", json!({ "model_name": name, "wait": true }));
    service.wait_for_state(name, "stopped")
}

#[test]
fn exit_expected_and_unexpected() {
    let counted = Counted::new();
    let class = |class: &str| {
        let mut restart = three_restarts();
        restart["class"] = json!(class);
        restart["clean_codes"] = json!([4]);
        restart
    };
    let exits = |name: &str, code: &str, restart: &str| {
        let flags = ["--exit-after", "500ms", "--exit-code", code];
        counted.model(name, &flags).with("restart", class(restart))
    };
    let service = Service::start(&[
        exits("transient-0", "0", "transient"),
        exits("transient-4", "4", "transient"),
        exits("transient-3", "3", "transient"),
        exits("temporary-0", "0", "temporary"),
        exits("temporary-3", "3", "temporary"),
        exits("permanent-0", "0", "permanent"),
        counted
            .model("transient-early", &["--exit-before-ready", "--exit-code", "0"])
            .with("restart", class("transient")),
        counted
            .model("temporary-early", &["--exit-before-ready", "--exit-code", "3"])
            .with("restart", class("temporary")),
        fake("transient-killed", &[]).with("restart", class("transient")),
        fake("temporary-killed", &[]).with("restart", class("temporary")),
    ]);
    for name in ["transient-0", "transient-4", "temporary-0", "temporary-3"] {
        let row = ends(&service, name);
        assert_eq!((row.restarts(), counted.starts(name)), (0, 1), "{name}: it is left down");
    }
    for name in ["transient-3", "permanent-0"] {
        service.ask("load-model", json!({ "model_name": name, "wait": true }));
        service.wait_for_state(name, "parked");
        assert_eq!(counted.starts(name), 4, "{name}: it is restarted");
    }
    // an exit before it was ready is a failed start, even with code 0
    let error = service.fails_to_load("transient-early");
    assert!(error.contains("exit 0 before ready"), "{error}");
    assert_eq!(counted.starts("transient-early"), 4);

    let error = service.fails_to_load("temporary-early");
    assert!(error.starts_with("exit 3 before ready\nLast output:\n"), "{error}");
    assert_eq!(counted.starts("temporary-early"), 1);

    let before = service.load("transient-killed");
    before.signal(Signal::KILL);
    assert_eq!(service.wait_for_successor(&before).restarts(), 1);
    service.load("temporary-killed").signal(Signal::KILL);
    let row = service.wait_for_state("temporary-killed", "stopped");
    assert_eq!((row.generation(), row.exit_reason()), (1, "signal 9"));
    // what is left down can be loaded again
    let again = service.load("temporary-killed");
    assert_eq!(again.generation(), 2);
    service.stop();
}

#[test]
fn kill_from_backoff() {
    let counted = Counted::new();
    let restart = json!({ "backoff_min": "1h", "backoff_max": "1h", "window_period": "300d" });
    let crashing = ["--crash-at-start", "1000", "--exit-code", "3"];
    let service = Service::start(&[counted.model("a", &crashing).with("restart", restart)]);
    let load = service.order_load("a");
    service.wait_for_state("a", "backoff");
    assert!(is_listed(&service, "a"));
    service.ask("unload-model", json!({ "model_name": "a" }));
    let error = load.outcome().expect_err("it was unloaded while it started");
    assert!(error.contains("was stopped while it was starting"), "{error}");
    assert_eq!((service.row("a").state(), counted.starts("a")), ("stopped", 2));
    service.stop();
}

#[test]
fn escalation_to_the_top_ends_the_service() {
    let counted = Counted::new();
    let restart = json!({
        "max_consecutive_failures": 0, "on_give_up": "escalate", "backoff_min": "1ms",
        "backoff_max": "1ms",
    });
    let crashing = ["--crash-at-start", "100000", "--exit-code", "3"];
    let mut service = Service::start(&[
        counted.model("a", &crashing).with("restart", restart),
        fake("b", &["--fork", "1", "--ignore-term"]),
    ]);
    service.load("b");
    // the service may end before it can answer
    let _load = service.order_load("a");
    let status = service.ended();
    assert_eq!(status.code(), Some(3), "{}", service.log());
    service.left_nothing();
    // the first, and one for each life of the supervisor that the root allows
    assert_eq!(counted.starts("a"), 4);
    until("the reason in the log", || service.log().contains("gave up").then_some(()));
}
