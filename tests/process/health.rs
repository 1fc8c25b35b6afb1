//! A backend that hangs is replaced; one that works is not.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::backend::until;
use crate::processes::{runs, state_of};
use crate::service::{Service, fake, program};

/// Short, but a miss needs a backend that is silent for as long as a ping takes on the busiest machine.
fn brisk() -> Value {
    json!({ "every": "400ms", "timeout": "400ms", "misses": 3, "hang_timeout": "4s" })
}

#[test]
fn sigstop_is_noticed() {
    let service = Service::start(&[fake("a", &[]).with("health", brisk()), fake("b", &[])]);
    let (before, other) = (service.load("a"), service.load("b"));
    before.signal(Signal::STOP);
    let after = service.wait_for_successor(&before);
    let reason = after.exit_reason();
    assert!(reason.starts_with("hang: ") && reason.contains("pings missed in "), "{reason}");
    assert!(!runs(before.pid()), "the frozen process is gone");
    assert_eq!(after.endpoint(), before.endpoint());
    let kinds = service.kinds("a");
    let first = ["starting", "ready", "unhealthy", "stopping", "exited", "starting", "ready"];
    assert_eq!(kinds[..first.len()], first, "noticed, ended, replaced");
    assert_eq!(service.row("b").0["pid"], other.0["pid"], "others are untouched");
    service.stop();
}

#[test]
fn hang_with_an_ignored_term_is_killed() {
    let flags = ["--ignore-term", "--hang-after-requests", "0"];
    let stop = json!({ "grace": "200ms" });
    let model = fake("a", &flags).with("health", brisk()).with("stop", stop);
    let service = Service::start(&[model]);
    let before = service.load("a");
    let after = service.wait_for_successor(&before);
    assert!(after.exit_reason().contains("(signal 9)"), "{}", after.exit_reason());
    service.stop();
}

#[test]
fn what_http_answers_instead_is_told() {
    let flags = ["--http", "{port}", "--http-fail", "status", "--http-fail-after", "1"];
    let command = [&[crate::backend::FAKE][..], &flags].concat();
    let model = program("a", &command).with("kind", json!("http")).with("health", brisk());
    let service = Service::start(&[model]);
    let before = service.load("a");
    let after = service.wait_for_successor(&before);
    let reason = after.exit_reason();
    assert!(reason.starts_with("hang: GET /health failed 3 times in "), "{reason}");
    assert!(reason.contains("the last: answered 500"), "{reason}");
    service.stop();
}

#[test]
fn lying_backend_is_replaced() {
    let service = Service::start(&[fake("a", &["--lie", "ready"]).with("health", brisk())]);
    let before = service.load("a");
    let after = service.wait_for_successor(&before);
    assert!(after.exit_reason().starts_with("hang: "), "{}", after.exit_reason());
    service.stop();
}

#[test]
fn busy_is_not_down_until_the_hang_timeout() {
    let flags = ["--hang-after-requests", "2", "--busy-hang"];
    // on a starved machine one may get too little of a core to count as busy: its successor hangs the same way
    let restart = json!({
        "max_consecutive_failures": 1000, "window_max": 1000, "backoff_min": "1ms", "backoff_max": "1ms",
    });
    let model = fake("a", &flags).with("health", brisk()).with("restart", restart);
    let service = Service::start(&[model]);
    let before = service.load("a");
    let held = service.wait_for("a", "held for busy", |row| row.reason().contains("but it works"));
    assert_eq!(held.state(), "unhealthy", "judgement is held back");
    let cause = until("the end of a busy one", || {
        let events = service.events("a");
        let mut ends = events.iter().filter(|event| event.kind() == "exited");
        ends.find(|end| end.cause().contains("busy without an answer"))
            .map(|end| end.cause().to_owned())
    });
    let silence = cause.split(" missed in ").nth(1).and_then(|rest| rest.split_once(" s"));
    let seconds: f64 = silence.expect("a time").0.parse().expect("a number");
    assert!(seconds >= 4.0, "held up to hang_timeout: {cause}");
    let after = service.wait_for_successor(&held);
    assert_eq!(after.endpoint(), before.endpoint());
    service.stop();
}

#[test]
fn slow_answers_are_answers() {
    let health = json!({ "every": "2s", "timeout": "2s", "misses": 1 });
    let service =
        Service::start(&[fake("a", &["--slow-ping", "100ms"]).with("health", health.clone())]);
    let row = service.load("a");
    // thirty answers take 3 s: a question was asked meanwhile
    let client = crate::backend::Client::connect(row.endpoint());
    client.greet();
    crate::backend::until("thirty slow pings", || {
        (1..=30).all(|id| client.ping(1, id, "").correlation_id == id).then_some(())
    });
    assert_eq!(service.kinds("a"), ["starting", "ready"]);
    assert_eq!(service.row("a").pid(), row.pid());
    service.stop();
}

#[test]
fn loading_is_judged_by_progress() {
    let start = json!({ "stall_timeout": "3s", "total_timeout": "10m" });
    let once = json!({ "max_consecutive_failures": 0 });
    let slow = |name: &str, flags: &[&str]| {
        let flags = [&["--load-time", "7s"], flags].concat();
        fake(name, &flags).with("start", start.clone()).with("restart", once.clone())
    };
    let service = Service::start(&[
        slow("talks", &["--load-output"]),
        slow("works", &["--load-busy"]),
        slow("tells", &["--notify"]).with("ready", json!("notify")),
        slow("silent", &[]),
    ]);
    let loads = ["talks", "works", "tells"].map(|name| service.order_load(name));
    let error = service.fails_to_load("silent");
    assert!(error.contains("start stalled: no progress for 3s"), "{error}");
    for load in loads {
        assert_eq!(load.outcome().expect("a slow loader is not killed")["state"], "ready");
    }
    for name in ["talks", "works", "tells"] {
        assert_eq!(service.kinds(name), ["starting", "ready"], "{name}");
    }
    service.stop();
}

#[test]
fn a_start_without_end_is_ended_by_the_total_timeout() {
    let start = json!({ "stall_timeout": "2s", "total_timeout": "2s" });
    let once = json!({ "max_consecutive_failures": 0 });
    let flags = ["--load-time", "1h", "--load-output"];
    let service = Service::start(&[fake("a", &flags).with("start", start).with("restart", once)]);
    let error = service.fails_to_load("a");
    assert!(error.contains("start took longer than 2s"), "{error}");
    assert!(error.contains("loading: step "), "with the last lines of output: {error}");
    let row = service.row("a");
    assert_eq!((row.state(), row.generation()), ("parked", 1));
    service.stop();
}

#[test]
fn continued_in_time_is_not_replaced() {
    let health = json!({ "every": "300ms", "timeout": "300ms", "misses": 100 });
    let service = Service::start(&[fake("a", &[]).with("health", health)]);
    let before = service.load("a");
    before.signal(Signal::STOP);
    service.wait_for_state("a", "unhealthy");
    assert_eq!(state_of(before.pid()), Some('T'));
    before.signal(Signal::CONT);
    let after = service.wait_for_state("a", "ready");
    assert_eq!((after.pid(), after.generation()), (before.pid(), 1));
    service.stop();
}
