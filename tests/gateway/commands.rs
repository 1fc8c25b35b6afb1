//! Every row of the command table, and its error texts.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;

use crate::client::Client;
use crate::world::{Plan, World, eventually};

#[test]
fn status_tells_service_and_models() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let status = client.data("status", json!({}));
    assert_eq!(status["service_status"], "running");
    assert_eq!(status["is_running"], true);
    assert_eq!(status["version"], "1.2.3");
    assert_eq!(status["pid"], std::process::id());
    assert!(status["uptime"].is_u64());
    assert_eq!(status["client_endpoint"], world.client());
    assert_eq!(status["cli_endpoint"], world.cli());
    assert_eq!(status["model_count"], 1);
    assert_eq!(status["models"][0]["name"], "ready");
    assert!(status["models"][0]["uptime"].is_u64());
    let all = client.data("status", json!({"all": true}));
    assert_eq!(all["model_count"], 2);
    assert_eq!(all["models"][1]["name"], "Idle");
    assert_eq!(all["models"][1]["state"], "stopped");
}

#[test]
fn list_models_and_version() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let list = client.data("list-models", json!({}));
    assert_eq!(list["loaded_models"][0]["name"], "ready");
    assert_eq!(list["installed_models"], json!([]));
    let idle = json!({"name": "Idle", "fullname": "org/Idle", "type": "t", "state": "stopped"});
    assert_eq!(list["supported_models"][1], idle);
    let version = client.data("version", json!({}));
    assert_eq!(
        version,
        json!({"version": "1.2.3", "pid": std::process::id(), "chaos_allowed": false})
    );
}

#[test]
fn load_and_restart_lead_to_an_instance() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let expected = |state| {
        json!({
            "endpoint": "ipc:///tmp/symphony-model-ready", "model_name": "ready", "model_type": "t",
            "pid": 77, "state": state,
        })
    };
    for command in ["load-model", "restart-model"] {
        let params = json!({"model_name": "ready", "wait": true, "config_path": "/ignored"});
        assert_eq!(client.data(command, params), expected("ready"));
        assert_eq!(client.data(command, json!({"model_name": "ready"})), expected("starting"));
    }
}

#[test]
fn success_never_comes_without_an_endpoint() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let error = client.error("load-model", json!({"model_name": "no-endpoint"}));
    assert_eq!(error, "internal error: model ready has no endpoint");
}

#[test]
fn every_error_text_of_the_table() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let table = [
        ("load-model", json!({}), "model_name parameter required"),
        ("load-model", json!({"model_name": ""}), "model_name parameter required"),
        ("load-model", json!({"model_name": ["x"]}), "model_name parameter required"),
        ("restart-model", json!({}), "model_name parameter required"),
        ("unload-model", json!({}), "model_name parameter required"),
        ("logs", json!({}), "model_name parameter required"),
        (
            "load-model",
            json!({"model_name": "x"}),
            "Unknown model 'x' - not found in configuration",
        ),
        (
            "load-model",
            json!({"model_name": "llama"}),
            "Unknown model 'llama' - not found in configuration. Similar model name found. Do you mean: Llama?",
        ),
        (
            "restart-model",
            json!({"model_name": "phi"}),
            "Unknown model 'phi' - not found in configuration. Similar model names found. Do you mean: Phi, PHI?",
        ),
        (
            "load-model",
            json!({"model_name": "no-backend"}),
            "Backend for model type 't' not configured",
        ),
        ("load-model", json!({"model_name": "no-script"}), "Backend script not found: /b/x.py"),
        (
            "load-model",
            json!({"model_name": "failing"}),
            "exit 3 before ready\nLast output:\nTraceback\nout of memory",
        ),
        ("unload-model", json!({"model_name": "x"}), "Model x not found"),
        ("logs", json!({"model_name": "x"}), "Model x not found"),
        (
            "load-model",
            json!({"model_name": "m", "wait": 1}),
            "parameter wait must be true or false",
        ),
        ("dance", json!({}), "Unknown command: dance"),
    ];
    for (command, params, text) in table {
        assert_eq!(client.error(command, params), text);
    }
}

#[test]
fn unload_logs_events_tree_and_reload() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let ready = json!({"model_name": "ready"});
    assert_eq!(client.data("unload-model", ready), json!({"message": "Model ready unloaded"}));
    let logs = client.data("logs", json!({"model_name": "ready", "lines": 5, "after_offset": 3}));
    assert_eq!(
        logs,
        json!({"model_name": "ready", "lines": ["5 lines after Some(3)"], "next_offset": 9})
    );
    let events = client.data("events", json!({"since": 6, "limit": 4}));
    assert_eq!(events["events"][0]["seq"], 7);
    assert_eq!(events["events"][0]["subject"], "at most 4");
    assert_eq!((&events["next"], &events["missed"]), (&json!(7), &json!(0)));
    assert_eq!(client.data("tree", json!({}))["name"], "root");
    assert_eq!(client.data("reload", json!({}))["added"], json!(["new"]));
}

#[test]
fn stop_service_is_answered_and_passed_on() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let data = client.data("stop-service", json!({}));
    assert_eq!(data, json!({"message": "Service shutdown requested"}));
    // the answer may overtake the wish
    eventually("the wish to stop is passed on", || world.behaviour.stops.load(SeqCst) == 1);
}

#[test]
fn invalid_formats_are_answered_without_an_id() {
    let world = World::new();
    let client = Client::dealer(&world.cli());
    for text in ["", "x", "[]", "{}", r#"{"command":"status","correlation_id":"c","extra":1}"#] {
        client.send(text);
        let reply = client.receive_json();
        assert_eq!(reply["correlation_id"], "unknown", "{reply}");
        assert_eq!(reply["success"], false);
        let error = reply["error"].as_str().expect("text");
        assert!(error.starts_with("Invalid command format: "), "{error}");
    }
    assert_eq!(world.state().refused_commands, 5);
}

#[test]
fn correlation_id_echo() {
    let world = World::new();
    let client = Client::dealer(&world.cli());
    for id in ["1", "ä\u{0}\n\"", &"x".repeat(1024)] {
        client.send(json!({"command": "version", "correlation_id": id}).to_string());
        assert_eq!(client.receive_json()["correlation_id"], id);
    }
    let mut fresh = std::collections::HashSet::new();
    for text in [r#"{"command":"version"}"#, r#"{"command":"version","correlation_id":""}"#] {
        client.send(text);
        let reply = client.receive_json();
        let id = uuid::Uuid::parse_str(reply["correlation_id"].as_str().expect("text"));
        let id = id.expect("a uuid");
        assert_eq!(id.get_version_num(), 4);
        assert!(fresh.insert(id), "{id} came twice");
    }
}

#[test]
fn req_delimiter_echoed() {
    let world = World::new();
    let mut req = Client::req(&world.cli());
    assert_eq!(req.data("version", json!({}))["version"], "1.2.3");
    assert_eq!(req.error("dance", json!({})), "Unknown command: dance");
    // as a DEALER sees it
    let dealer = Client::dealer(&world.cli());
    dealer.socket.send_multipart([&b""[..], br#"{"command":"version"}"#], 0).expect("send");
    let frames = dealer.socket.recv_multipart(0).expect("reply");
    assert_eq!((frames.len(), frames[0].len()), (2, 0));
}

#[test]
fn slow_load_does_not_delay_status() {
    // more than may wait at one time: also then the rest is served
    let world = World::with(Plan::default());
    let mut slow = Client::connect(zmq::DEALER, &world.cli(), |socket| {
        socket.set_sndhwm(0).expect("hwm");
        socket.set_rcvhwm(0).expect("hwm");
    });
    let asked = 2100;
    let held = symphony::limits::GATEWAY_DESK_REQUESTS;
    for _ in 0..asked {
        slow.begin("load-model", json!({"model_name": "slow", "wait": true}));
    }
    for _ in held..asked {
        let reply = slow.receive_json();
        let crowded = "too many requests are waiting for models, try again later";
        assert_eq!(reply["error"], crowded, "only what is too much is answered now");
    }
    let mut quick = Client::dealer(&world.cli());
    for _ in 0..100 {
        quick.data("status", json!({}));
    }
    assert_eq!(Client::dealer(&world.client()).handshake(None).protocols, ["l4m", "ping"]);
    let state = world.state();
    assert_eq!((state.desk_requests, state.refused_busy), (held as u64, (asked - held) as u64));
    let stopped = quick.data("stop-service", json!({}));
    assert_eq!(stopped, json!({"message": "Service shutdown requested"}));
    world.release_slow_loads();
    for _ in 0..held {
        assert_eq!(slow.receive_json()["data"]["model_name"], "slow");
    }
    world.await_state("all budgets are given back", |state| state.desk_requests == 0);
}
