//! The tree, events, logs, the list of models, the handshake, a reload.

#![expect(clippy::expect_used, reason = "a test ends where what must hold does not")]

use std::sync::mpsc::channel;

use prost::Message;
use serde_json::json;
use symphony::protocols::handshake;

use super::program::ask;
use super::service::{Reply, Service, answering, event, phi, refusing, status_with};

#[test]
fn list_models() {
    let supported = json!([{"name": "phi", "type": "t", "state": "ready", "fullname": "org/phi"}]);
    let service = answering(json!({"loaded_models": [], "installed_models": [],
                                   "supported_models": supported}));
    let run = ask(&service.endpoint(), &["ls"]);
    let text = "NAME  TYPE  STATE  FULL NAME\nphi   t     ready  org/phi\n";
    assert_eq!(run.all(), (Some(0), text, ""));
}

#[test]
fn tree() {
    let service = answering(json!({
        "name": "root", "kind": "supervisor", "state": "running", "restarts": 0,
        "children": [{"name": "phi-1", "kind": "process", "state": "ready", "restarts": 1,
                      "detail": "pid 7"}]
    }));
    let run = ask(&service.endpoint(), &["tree"]);
    let text = "root (supervisor) running\n└─ phi-1 (process) ready, 1 restart · pid 7\n";
    assert_eq!(run.all(), (Some(0), text, ""));
}

#[test]
fn events_are_one_line_each_and_lost_ones_are_told() {
    let service = answering(json!({"events": [event(8, "exited")], "next": 8, "missed": 7}));
    let run = ask(&service.endpoint(), &["events"]);
    let text = "1970-01-01 00:00:00.500  phi-1#2  exited  exit 3\n";
    assert_eq!(run.all(), (Some(0), text, "(7 earlier events are no longer kept)\n"));
    assert_eq!(service.params_of("events"), json!({"since": 0}));
}

#[test]
fn events_are_followed_from_where_they_ended() {
    let service = Service::start(|request| {
        let since = request["params"]["since"].as_u64().expect("a number");
        match since {
            0 => Reply::data(json!({"events": [event(5, "exited")], "next": 5, "missed": 0})),
            5 => Reply::data(json!({"events": [event(6, "ready")], "next": 6, "missed": 0})),
            _ => Reply::Error("enough"),
        }
    });
    let run = ask(&service.endpoint(), &["events", "-f"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), "Error: enough\n"));
    let kinds: Vec<_> = run.stdout.lines().map(|line| line.split("  ").nth(2)).collect();
    assert_eq!(kinds, [Some("exited"), Some("ready")]);
}

#[test]
fn logs_of_one_model_are_followed_by_offset() {
    let service = Service::start(|request| match request["params"]["after_offset"].as_u64() {
        None => Reply::data(json!({"lines": ["a", "b\u{1b}[31m"], "next_offset": 10})),
        Some(10) => Reply::data(json!({"lines": ["c"], "next_offset": 12})),
        Some(_) => Reply::Error("enough"),
    });
    let run = ask(&service.endpoint(), &["logs", "-f", "-n", "2", "phi"]);
    // not on a terminal: the lines are what the model wrote
    assert_eq!(run.all(), (Some(1), "a\nb\u{1b}[31m\nc\n", "Error: enough\n"));
    let first = &service.requests()[0]["params"];
    assert_eq!(*first, json!({"model_name": "phi", "lines": 2}));
}

#[test]
fn logs_of_all_models_name_the_model() {
    let service = Service::start(|request| match request["command"].as_str() {
        Some("status") => {
            let mut never = phi("stopped");
            never["name"] = "never".into();
            never["generation"] = 0.into();
            Reply::data(status_with(&json!([phi("parked"), never])))
        }
        _ => Reply::data(json!({"lines": ["boom"], "next_offset": 5})),
    });
    let run = ask(&service.endpoint(), &["logs"]);
    assert_eq!(run.all(), (Some(0), "[phi] boom\n", ""));
    let run = ask(&service.endpoint(), &["--json", "logs"]);
    let data = json!({"models": {"phi": {"lines": ["boom"], "next_offset": 5}}});
    assert_eq!((run.json(), run.code), (data, Some(0)));
}

#[test]
fn logs_without_any_model() {
    let service = answering(status_with(&json!([])));
    let run = ask(&service.endpoint(), &["logs"]);
    assert_eq!(run.all(), (Some(0), "", "No models currently loaded\n"));
}

/// A service whose `status` names its own client socket, where `response` is given.
fn with_client_socket(response: handshake::Response) -> (Service, String) {
    let (tell, endpoint) = channel::<String>();
    let service = Service::with_handshake(
        move |_| {
            let endpoint = endpoint.recv().expect("told");
            Reply::data(json!({"service_status": "running", "client_endpoint": endpoint}))
        },
        move |request| {
            handshake::Request::decode(request).expect("a request");
            Some(response.encode_to_vec())
        },
    );
    let client = service.endpoint().replace("/cli", "/client");
    for _ in 0..2 {
        tell.send(client.clone()).expect("the service lives");
    }
    let cli = service.endpoint();
    (service, cli)
}

#[test]
fn handshake_without_and_with_a_model() {
    let response =
        handshake::Response { protocols: vec!["l4m".into(), "ping".into()], ..Default::default() };
    let (_service, endpoint) = with_client_socket(response);
    let run = ask(&endpoint, &["handshake"]);
    assert_eq!(run.all(), (Some(0), "Protocols: l4m, ping\n", ""));
    assert_eq!(
        ask(&endpoint, &["--json", "handshake"]).json(),
        json!({"protocols": ["l4m", "ping"]})
    );

    let response = handshake::Response {
        protocols: vec!["ping".into()],
        model_endpoint: "ipc:///tmp/m".into(),
        instance: "phi-1".into(),
        generation: 2,
        state: "ready".into(),
        ..Default::default()
    };
    let (_service, endpoint) = with_client_socket(response);
    let run = ask(&endpoint, &["handshake", "--model", "phi"]);
    let text = "Protocols: ping\nEndpoint: ipc:///tmp/m\nInstance: phi-1#2 (ready)\n";
    assert_eq!(run.all(), (Some(0), text, ""));

    let response = handshake::Response { error: "Unknown model 'x'".into(), ..Default::default() };
    let (_service, endpoint) = with_client_socket(response);
    let run = ask(&endpoint, &["handshake", "--model", "x"]);
    assert_eq!(run.all(), (Some(1), "", "Error: Unknown model 'x'\n"));
    let run = ask(&endpoint, &["--json", "handshake", "--model", "x"]);
    assert_eq!((run.json(), run.code), (json!({"error": "Unknown model 'x'"}), Some(1)));
}

#[test]
fn reload_tells_what_changed_or_all_faults() {
    let service =
        answering(json!({"added": ["a"], "changed": [], "removed": ["b"], "unchanged": 2,
                                   "needs_service_restart": ["endpoints"], "applied": []}));
    let run = ask(&service.endpoint(), &["reload"]);
    let text = "Configuration reloaded\nAdded: a\nRemoved: b\n\
                Takes effect when the service is restarted: endpoints\nUnchanged models: 2\n";
    assert_eq!(run.all(), (Some(0), text, ""));
    let service = refusing("Configuration has 2 faults:\n  a: b\n  c: d");
    let run = ask(&service.endpoint(), &["reload"]);
    let told = "Error: Configuration has 2 faults:\n  a: b\n  c: d\n";
    assert_eq!(run.all(), (Some(1), "", told));
}
