//! The end of a gateway.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;
use symphony::supervision::exit::ExitReason;

use crate::client::Client;
use crate::world::{Plan, World, endpoint, eventually, names};

const SHUTTING_DOWN: &str = "Service is shutting down";

#[test]
fn a_closed_intake_refuses_all_but_status_and_version() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let held = client.begin("load-model", json!({"model_name": "slow"}));
    eventually("it is under way", || world.behaviour.slow_loads.load(SeqCst) == 1);
    world.close_intake();
    for command in ["load-model", "list-models", "stop-service", "reload", "tree", "dance"] {
        assert_eq!(client.error(command, json!({"model_name": "ready"})), SHUTTING_DOWN);
    }
    client.data("status", json!({}));
    client.data("version", json!({}));
    let clients = Client::dealer(&world.client());
    assert_eq!(clients.handshake(None).error, SHUTTING_DOWN);
    assert_eq!(clients.handshake(Some("ready")).error, SHUTTING_DOWN);
    assert!(world.state().closing);
    // what was under way goes on
    world.release_slow_loads();
    let reply = client.receive_json();
    assert_eq!((&reply["correlation_id"], &reply["success"]), (&json!(held), &json!(true)));
}

#[test]
fn stop_service_is_answered_before_the_sockets_close() {
    for _ in 0..20 {
        let world = World::new();
        world.behaviour.stop_closes.store(true, SeqCst);
        let mut client = Client::dealer(&world.cli());
        let data = client.data("stop-service", json!({}));
        assert_eq!(data, json!({"message": "Service shutdown requested"}));
        eventually("its files are gone", || names(world.folder()).is_empty());
    }
}

#[test]
fn requests_under_way_are_answered_when_the_sockets_close() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let clients = Client::dealer(&world.client());
    let count = 20;
    for _ in 0..count {
        client.begin("load-model", json!({"model_name": "slow"}));
    }
    eventually("they are under way", || world.behaviour.slow_loads.load(SeqCst) == count);
    clients.send(b"\x0a\x04slow");
    eventually("this one, too", || world.behaviour.slow_loads.load(SeqCst) == count + 1);
    world.close_sockets();
    assert_eq!(names(world.folder()), [""; 0]);
    for _ in 0..count {
        assert_eq!(client.receive_json()["error"], SHUTTING_DOWN);
    }
    let response = prost::Message::decode(&*clients.receive()).expect("protobuf");
    let response: symphony::protocols::handshake::Response = response;
    assert_eq!(response.error, SHUTTING_DOWN);
    assert_eq!(world.end(), Some(ExitReason::Shutdown));
}

#[test]
fn shutdown_with_unsent_data() {
    let models = (0..50).map(|n| format!("model-{n}")).collect();
    let world = World::with(Plan { models, ..Plan::default() });
    let mut deaf = Client::connect(zmq::DEALER, &world.cli(), |socket| {
        socket.set_rcvhwm(1).expect("hwm");
        socket.set_rcvbuf(4096).expect("buffer");
    });
    for _ in 0..1000 {
        deaf.begin("status", json!({}));
    }
    world.await_state("it has a backlog", |state| state.backlogged_replies > 0);
    // answered although nobody reads: what is unsent is given up after the linger time
    world.close_sockets();
    assert_eq!(names(world.folder()), [""; 0]);
    assert_eq!(world.end(), Some(ExitReason::Shutdown));
}

#[test]
fn a_successor_takes_the_sockets_over_and_clients_go_on() {
    let folder = tempfile::tempdir().expect("folder");
    let mut client = Client::dealer(&endpoint(folder.path(), "cli"));
    for _ in 0..3 {
        let world = World::open(folder.path(), Plan::default()).expect("open");
        // the same client socket, connected again by itself
        client.data("version", json!({}));
        drop(world);
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
