//! Every request gets exactly one reply, whatever happens inside.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::{Value, json};
use symphony::gateway::zmq::GatewayOptions;

use crate::client::Client;
use crate::world::{Plan, World};

const DROPPED: &str = "internal error: the request was dropped";

/// Sends all commands, then `version`: everything before its reply is theirs.
fn replies_to(client: &mut Client, commands: &[(&str, Value)]) -> Vec<Value> {
    let ids: Vec<_> =
        commands.iter().map(|(command, params)| client.begin(command, params.clone())).collect();
    let mut replies = HashMap::new();
    for _ in &ids {
        let reply = client.receive_json();
        let id = reply["correlation_id"].as_str().expect("text").to_owned();
        assert!(ids.contains(&id), "{reply}");
        assert!(replies.insert(id, reply.clone()).is_none(), "a second reply: {reply}");
    }
    client.data("version", json!({}));
    ids.iter().map(|id| replies.remove(id).expect("one for each")).collect()
}

#[test]
fn every_request_gets_exactly_one_reply() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let load = |model: &str| ("load-model", json!({"model_name": model}));
    let status = ("status", json!({}));

    let replies = replies_to(&mut client, &[status.clone(), load("ready"), ("dance", json!({}))]);
    let outcomes: Vec<_> = replies.iter().map(|reply| reply["success"].clone()).collect();
    assert_eq!(outcomes, [true, true, false]);

    world.behaviour.registry_drops.store(true, SeqCst);
    let list = ("list-models", json!({}));
    for reply in replies_to(&mut client, &[status.clone(), list.clone(), status.clone()]) {
        assert_eq!(reply["error"], DROPPED);
    }
    assert_eq!(Client::dealer(&world.client()).handshake(None).error, DROPPED);

    world.behaviour.registry_panics.store(true, SeqCst);
    for reply in replies_to(&mut client, &[status.clone(), list, status]) {
        assert_eq!(reply["error"], DROPPED, "the first by the panic, the rest by a closed mailbox");
    }
    assert_eq!(Client::dealer(&world.client()).handshake(None).error, DROPPED);

    let events = ("events", json!({}));
    for reply in replies_to(&mut client, &[load("panic"), load("ready"), events]) {
        assert_eq!(reply["error"], DROPPED, "the desk is dead");
    }
    assert_eq!(Client::dealer(&world.client()).handshake(Some("ready")).error, DROPPED);
    let state = world.await_state("nothing is held", |s| s.desk_requests + s.credits_in_use == 0);
    assert_eq!(state.received, state.sent, "{state:?}");
}

#[test]
fn who_never_answers_is_answered_for() {
    let span = Duration::from_millis(50);
    let options = GatewayOptions { ask_timeout: span, long_ask_timeout: span };
    let world = World::with(Plan { options, ..Plan::default() });
    let mut client = Client::dealer(&world.cli());
    for (command, wait) in [("load-model", false), ("load-model", true), ("restart-model", true)] {
        let error = client.error(command, json!({"model_name": "never", "wait": wait}));
        assert_eq!(error, "internal error: no answer in time, try again");
    }
    let response = Client::dealer(&world.client()).handshake(Some("never"));
    assert_eq!(response.error, "internal error: no answer in time, try again");
}
