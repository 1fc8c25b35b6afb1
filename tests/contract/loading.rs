//! Section 3: when and how `load-model` is answered.

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::backend::{self, until};
use crate::support::client::Client;
use crate::support::{Place, fake, fake_with, kill_pid, runs, service_with};

/// A start that fails at once, and is given up after one restart.
fn failing(name: &str, flags: &[&str]) -> Value {
    fake_with(name, flags, json!({"restart": {"max_consecutive_failures": 1}}))
}

#[test]
fn a_load_leads_to_a_live_endpoint_and_a_second_to_the_same() {
    let (place, mut service) = service_with(vec![fake("tiny", &["--load-time", "300ms"])]);
    let first = service.load("tiny");
    assert_eq!((&first["model_name"], &first["model_type"]), (&json!("tiny"), &json!("fake")));
    let endpoint = first["endpoint"].as_str().expect("text");
    assert_eq!(backend::Client::connect(endpoint).greet(), ["l4m", "ping"], "it serves");
    for wait in [false, true] {
        let params = json!({"model_name": "org/tiny", "wait": wait, "config_path": "/ignored"});
        assert_eq!(service.cli().data("load-model", params), first);
    }
    assert!(service.logs("config_path is ignored").contains("WARNING"));
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn many_loads_at_once_give_one_process_and_all_are_answered() {
    let place = Place::new();
    let starts = place.text("starts");
    let flags = ["--load-time", "500ms", "--state-file", starts.as_str()];
    place.configure(&place.configuration(vec![fake("tiny", &flags)]));
    let mut service = place.serve(&[]);
    let mut clients: Vec<Client> = (0..10).map(|_| service.cli()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        for asked in ["tiny", "org/tiny"] {
            client.begin("load-model", json!({"model_name": asked, "wait": n % 2 == 0}));
        }
    }
    let mut answers = Vec::new();
    for client in &clients {
        for _ in 0..2 {
            let reply = client.receive_json();
            assert_eq!(reply["success"], true, "{reply}");
            answers.push((reply["data"]["pid"].clone(), reply["data"]["endpoint"].clone()));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "one process: {answers:?}");
    assert_eq!(std::fs::read_to_string(starts).expect("counted"), "1");
    service.stop();
}

#[test]
fn an_impatient_load_gets_the_reserved_endpoint_in_time_for_a_client_of_two_seconds() {
    let slow = (0..5).map(|n| fake(&format!("slow-{n}"), &["--load-time", "1h"])).collect();
    let (place, mut service) = service_with(slow);
    // the Python command line gives up after 2 s; one late answer of a busy machine proves nothing
    let in_time = (0..5).any(|n| {
        let mut impatient = Client::connect(zmq::DEALER, &place.cli_endpoint(), |socket| {
            socket.set_rcvtimeo(2000).expect("timeout");
        });
        let name = format!("slow-{n}");
        impatient.begin("load-model", json!({"model_name": name}));
        let Ok(frames) = impatient.socket.recv_multipart(0) else { return false };
        let reply: Value = serde_json::from_slice(&frames[0]).expect("JSON");
        assert_eq!(reply["success"], true, "{reply}");
        assert_eq!(reply["data"]["state"], "starting");
        assert!(runs(&reply["data"]["pid"]), "{reply}");
        let endpoint = reply["data"]["endpoint"].as_str().expect("text");
        assert_eq!(endpoint, service.model(&name)["endpoint"], "reserved");
        let socket = endpoint.strip_prefix("ipc://").expect("ipc");
        assert!(socket.starts_with(&place.text("models")) && !Path::new(socket).exists());
        true
    });
    assert!(in_time, "no answer within 2 s in five tries");
    let data = service.cli().data("unload-model", json!({"model_name": "slow-0"}));
    assert_eq!(data["message"], "Model slow-0 unloaded", "a loading model can be unloaded");
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn the_engine_waits_for_the_socket_file_of_a_slow_load() {
    let (_place, mut service) = service_with(vec![fake("slow", &["--load-time", "2s"])]);
    let data = service.cli().data("load-model", json!({"model_name": "slow"}));
    assert_eq!(data["state"], "starting", "{data}");
    let endpoint = data["endpoint"].as_str().expect("text");
    let socket = endpoint.strip_prefix("ipc://").expect("ipc");
    until("the socket file", || Path::new(socket).exists().then_some(()));
    assert_eq!(backend::Client::connect(endpoint).greet(), ["l4m", "ping"]);
    let ready = service.model_becomes("slow", "ready");
    assert_eq!((&ready["endpoint"], &ready["pid"]), (&data["endpoint"], &data["pid"]));
    service.stop();
}

#[test]
fn a_failed_start_tells_the_reason_and_the_last_output() {
    let temporary = json!({"restart": {"class": "temporary"}});
    let code_3 = ["--exit-before-ready", "--exit-code", "3", "--print-args"];
    let (place, mut service) = service_with(vec![
        failing("exits", &code_3),
        failing("exits-cleanly", &["--exit-before-ready", "--print-args"]),
        fake_with("temporary", &code_3, temporary),
        json!({"name": "no-program", "type": "fake", "command": ["/no/such/program"]}),
    ]);
    for wait in [true, false] {
        for (name, reason, has_output) in [
            ("exits", "exit 3 before ready", true),
            ("exits-cleanly", "exit 0 before ready", true),
            ("temporary", "exit 3 before ready", true),
            ("no-program", "/no/such/program", false),
        ] {
            let error =
                service.cli().error("load-model", json!({"model_name": name, "wait": wait}));
            assert!(error.contains(reason), "{name}: {error}");
            assert_eq!(error.contains("\nLast output:\n"), has_output, "{name}: {error}");
            assert_eq!(error.contains("arg --exit-before-ready"), has_output, "{name}: {error}");
        }
    }
    assert_eq!(
        service.cli().data("status", json!({}))["models"],
        json!([]),
        "none counts as loaded"
    );
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn a_load_that_is_stopped_or_overtaken_by_the_end_is_answered() {
    let (place, mut service) = service_with(vec![
        fake("unloaded", &["--load-time", "1h"]),
        fake("pending", &["--load-time", "1h"]),
    ]);
    let mut waiting = service.cli();
    for name in ["unloaded", "pending"] {
        waiting.begin("load-model", json!({"model_name": name, "wait": true}));
        service.model_becomes(name, "starting");
    }
    service.cli().data("unload-model", json!({"model_name": "unloaded"}));
    let reply = waiting.receive_json();
    assert_eq!(reply["error"], "Model unloaded was stopped while it was starting");
    service.stop();
    let reply = waiting.receive_json();
    assert_eq!(reply["success"], false, "{reply}");
    let error = reply["error"].as_str().expect("text");
    assert!(
        ["Service is shutting down", "Model pending was stopped while it was starting"]
            .contains(&error),
        "{error}"
    );
    place.assert_nothing_left();
}

#[test]
fn a_load_during_an_unload_brings_the_model_back() {
    let patient = json!({"stop": {"grace": "1s"}});
    let (_place, mut service) = service_with(vec![fake_with("m", &["--ignore-term"], patient)]);
    let first = service.load("m");
    let mut leaver = service.cli();
    leaver.begin("unload-model", json!({"model_name": "m"}));
    service.model_becomes("m", "stopping");
    let second = service.load("m");
    assert_ne!(second["pid"], first["pid"]);
    assert_eq!(leaver.receive_json()["data"]["message"], "Model m unloaded");
    assert!(!runs(&first["pid"]) && runs(&second["pid"]));
    kill_pid(&second["pid"], Signal::KILL);
    until("it is still supervised", || {
        Some(service.model("m")).filter(|m| m["state"] == "ready" && m["pid"] != second["pid"])
    });
    drop(leaver);
    service.signal(Signal::TERM);
    assert_eq!(service.ended().code(), Some(0));
}
