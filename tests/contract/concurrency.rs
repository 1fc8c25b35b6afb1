//! Section 3: many clients at once, and exactly one reply for each request.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::{fake, service_with};

#[test]
fn a_slow_load_never_delays_the_status_of_others() {
    let (_place, mut service) =
        service_with(vec![fake("slow", &["--load-time", "1h"]), fake("tiny", &[])]);
    let mut slow = service.cli();
    slow.begin("load-model", json!({"model_name": "slow", "wait": true}));
    service.model_becomes("slow", "starting");
    let mut others: Vec<Client> = (0..4).map(|_| service.cli()).collect();
    for n in 0..25 {
        for client in &mut others {
            let status = client.data("status", json!({}));
            assert_eq!(status["models"][0]["state"], "starting", "round {n}");
        }
    }
    // the asker itself is served meanwhile, and so are other models
    assert_eq!(service.load("tiny")["state"], "ready");
    let id = slow.begin("version", json!({}));
    assert_eq!(slow.receive_json()["correlation_id"], id.as_str(), "the load is not answered yet");
    assert_eq!(service.client().handshake(None).protocols, ["l4m", "ping"]);
    service.cli().data("unload-model", json!({"model_name": "slow"}));
    assert_eq!(slow.receive_json()["success"], false);
    service.stop();
}

#[test]
fn every_request_gets_exactly_one_reply() {
    let failing = json!({"restart": {"max_consecutive_failures": 0}});
    let (place, mut service) = service_with(vec![
        fake("tiny", &[]),
        crate::support::fake_with("failing", &["--exit-before-ready"], failing),
    ]);
    let requests = [
        ("status", json!({})),
        ("load-model", json!({"model_name": "tiny", "wait": true})),
        ("load-model", json!({"model_name": "failing", "wait": true})),
        ("load-model", json!({"model_name": "unknown"})),
        ("restart-model", json!({"model_name": "tiny", "wait": true})),
        ("unload-model", json!({"model_name": "tiny"})),
        ("unload-model", json!({})),
        ("list-models", json!({"surplus": [1, 2]})),
        ("logs", json!({"model_name": "tiny", "lines": 5})),
        ("events", json!({"since": 0, "limit": 3})),
        ("tree", json!({})),
        ("reload", json!({})),
        ("version", json!([])),
        ("dance", json!({})),
    ];
    let mut clients: Vec<(Client, HashMap<String, u32>)> =
        (0..6).map(|_| (service.cli(), HashMap::new())).collect();
    for round in 0..requests.len() {
        for (n, (client, open)) in clients.iter_mut().enumerate() {
            // in another order for each client
            let (command, params) = &requests[(round * (n + 1) + n) % requests.len()];
            open.insert(client.begin(command, params.clone()), 0);
        }
    }
    // some leave without waiting
    clients.truncate(4);
    for (client, open) in &mut clients {
        for _ in 0..open.len() {
            let reply = client.receive_json();
            let id = reply["correlation_id"].as_str().expect("text");
            if id == "unknown" {
                assert!(
                    reply["error"].as_str().expect("text").starts_with("Invalid command format")
                );
                continue;
            }
            let answered = open.get_mut(id).unwrap_or_else(|| panic!("not asked: {reply}"));
            *answered += 1;
            assert_eq!(*answered, 1, "answered twice: {reply}");
            assert_eq!(
                reply.get("data").is_some(),
                reply["success"] == Value::Bool(true),
                "{reply}"
            );
        }
        let id = client.begin("version", json!({}));
        assert_eq!(client.receive_json()["correlation_id"], id.as_str(), "nothing came twice");
    }
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn a_client_that_left_disturbs_nobody() {
    let (_place, mut service) = service_with(vec![fake("slow", &["--load-time", "1s"])]);
    for _ in 0..50 {
        let mut leaver = service.cli();
        leaver.begin("status", json!({}));
        leaver.begin("load-model", json!({"model_name": "slow", "wait": true}));
    }
    assert_eq!(service.load("slow")["state"], "ready");
    service.stop();
}
