//! Requests that cross each other: one process at a time, one answer each.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::manager::Manager;
use crate::processes::{backends_of, runs};
use crate::service::{Service, fake};

#[test]
fn two_loads_at_once_give_one_process() {
    let service = Service::start(&[fake("a", &["--load-time", "300ms"])]);
    let loads: Vec<Manager> = (0..20).map(|_| service.order_load("a")).collect();
    let answers: Vec<_> = loads.iter().map(|load| load.outcome().expect("loaded")).collect();
    let row = service.row("a");
    for answer in &answers {
        assert_eq!((&answer["pid"], &answer["endpoint"]), (&row.0["pid"], &row.0["endpoint"]));
    }
    assert_eq!(service.kinds("a"), ["starting", "ready"]);
    // running already: the same endpoint, success
    assert_eq!(service.load("a").pid(), row.pid());
    service.stop();
}

#[test]
fn spawn_already_running() {
    let service = Service::start(&[fake("a", &[])]);
    let before = service.load("a");
    for _ in 0..5 {
        assert_eq!(service.load("a").0["pid"], before.0["pid"]);
    }
    assert_eq!(backends_of(service.pid()), [before.pid()]);
    service.stop();
}

#[test]
fn unload_while_starting() {
    let service = Service::start(&[fake("a", &["--load-time", "1h"])]);
    let load = service.order_load("a");
    let row = service.wait_for("a", "its process", |row| !row.0["pid"].is_null());
    service.ask("unload-model", json!({ "model_name": "a" }));
    assert!(!runs(row.pid()), "answered once the process is gone");
    let error = load.outcome().expect_err("it never got ready");
    assert_eq!(error, "Model a was stopped while it was starting");
    let error = service.refused("unload-model", json!({ "model_name": "a" }));
    assert_eq!(error, "Model a not found");
    service.stop();
}

#[test]
fn ensure_ready_during_stop() {
    // long enough to come between, and cut short by the stop signal's death of it
    let stop = json!({ "grace": "700ms" });
    let service = Service::start(&[fake("a", &["--ignore-term"]).with("stop", stop)]);
    let before = service.load("a");
    let unload = service.manager();
    unload.send("unload-model", &json!({ "model_name": "a" }));
    service.wait_for_state("a", "stopping");
    let load = service.order_load("a");
    unload.outcome().expect("unloaded");
    assert!(!runs(before.pid()));
    let loaded = load.outcome().expect("loaded anew");
    assert_eq!(loaded["state"], "ready");
    let after = service.row("a");
    assert!(after.generation() > before.generation() || after.pid() != before.pid());
    assert_ne!(after.pid(), before.pid());
    assert!(runs(after.pid()));
    service.stop();
}

#[test]
fn restart_replaces_the_process_on_the_same_endpoint() {
    let service = Service::start(&[fake("a", &[])]);
    let before = service.load("a");
    let answer = service.ask("restart-model", json!({ "model_name": "a", "wait": true }));
    let after = service.row("a");
    assert_eq!(answer["pid"], after.0["pid"]);
    assert_ne!(after.pid(), before.pid());
    assert_eq!(after.endpoint(), before.endpoint());
    assert!(!runs(before.pid()));
    service.stop();
}

/// Looks at the service's children until it is told to stop; answers a pair that lived at the same time.
fn watch_for_two(service: u32, done: &AtomicBool) -> Option<(u32, u32)> {
    while !done.load(Ordering::Acquire) {
        let children = backends_of(service);
        if let [first, second, ..] = children[..]
            // the first may have been replaced by the second while the list was made
            && runs(first)
            && runs(second)
            && runs(first)
        {
            return Some((first, second));
        }
        std::thread::yield_now();
    }
    None
}

#[test]
fn concurrent_start_stop() {
    const CLIENTS: u64 = 8;
    const REQUESTS: usize = 25;
    let service = Service::start(&[
        fake("a", &["--load-time", "5ms"]),
        fake("stubborn", &["--ignore-term"]).with("stop", json!({ "grace": "10ms" })),
    ]);
    let endpoint = service.endpoint("cli");
    let pid = service.pid();
    for model in ["a", "stubborn"] {
        let done = AtomicBool::new(false);
        let two = std::thread::scope(|scope| {
            let watch = scope.spawn(|| watch_for_two(pid, &done));
            let clients: Vec<_> = (0..CLIENTS)
                .map(|seed| {
                    let endpoint = &endpoint;
                    scope.spawn(move || storm(endpoint, model, seed, REQUESTS))
                })
                .collect();
            let stormed: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
            done.store(true, Ordering::Release);
            let two = watch.join().expect("watched");
            for client in stormed {
                client.expect("each request is answered once");
            }
            two
        });
        assert_eq!(two, None, "two processes of one model at one moment");
        service.load(model);
        service.ask("unload-model", json!({ "model_name": model }));
        assert!(!backends_of(pid).into_iter().any(runs), "it was unloaded");
    }
    service.stop();
}

/// Sends requests of all kinds and takes exactly one reply for each.
fn storm(endpoint: &str, model: &str, seed: u64, requests: usize) {
    let manager = Manager::connect(endpoint);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut open = std::collections::HashSet::new();
    for _ in 0..requests {
        let params = json!({ "model_name": model, "wait": random.bool() });
        let command = ["load-model", "load-model", "unload-model", "restart-model", "status"];
        open.insert(manager.send(command[random.usize(..command.len())], &params));
        // some wait for their answers, some ask on
        if random.bool() {
            let reply = manager.receive();
            assert!(open.remove(reply["correlation_id"].as_str().expect("an id")), "{reply}");
        }
    }
    while !open.is_empty() {
        let reply = manager.receive();
        assert!(open.remove(reply["correlation_id"].as_str().expect("an id")), "{reply}");
        if reply["success"] == false {
            let error = reply["error"].as_str().expect("a text");
            let harmless = ["not found", "was stopped while it was starting"];
            assert!(harmless.iter().any(|words| error.contains(words)), "{reply}");
        }
    }
    manager.ask("version", json!({})).expect("answered");
    assert!(!manager.has_more(), "a second reply to some request");
}
