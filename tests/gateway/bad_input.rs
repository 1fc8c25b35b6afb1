//! Clients that misbehave, and what others notice of it.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;
use symphony::limits;

use crate::client::Client;
use crate::world::{Plan, World, eventually};

#[test]
fn wrong_frame_counts_get_no_reply() {
    let world = World::new();
    let clients = [world.cli(), world.client()].map(|endpoint| Client::dealer(&endpoint));
    for client in &clients {
        for frames in [vec!["a", "b"], vec!["", "a", "b"], vec!["x"; 50], vec![""; 9]] {
            client.socket.send_multipart(frames, 0).expect("send");
        }
        // in order behind them
        client.send(b"\xff\xff");
    }
    // the CLI answers what is no JSON
    let state = world.await_state("all arrived", |state| (state.received, state.sent) == (10, 1));
    assert_eq!(state.refused_frames, 8);
}

#[test]
fn oversized_frame() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let mut largest = json!({"command": "version", "params": {"x": ""}}).to_string();
    let padding = limits::FRAME_BYTES as usize - largest.len();
    largest = largest.replace(r#""x":"""#, &format!(r#""x":"{}""#, "y".repeat(padding)));
    client.send(&largest);
    assert_eq!(client.receive_json()["success"], true, "the largest frame that is allowed");
    client.send(largest + " ");
    // the connection is cut; the client's socket makes a new one and is served again
    let mut other = Client::dealer(&world.cli());
    other.data("status", json!({}));
    client.socket.set_rcvtimeo(100).expect("timeout");
    eventually("the client is served again", || {
        client.begin("version", json!({}));
        client.socket.recv_multipart(0).is_ok()
    });
}

#[test]
fn peer_vanishes() {
    let world = World::new();
    let mut leaver = Client::dealer(&world.cli());
    for _ in 0..10 {
        leaver.begin("load-model", json!({"model_name": "slow"}));
    }
    eventually("they are under way", || world.behaviour.slow_loads.load(SeqCst) == 10);
    drop(leaver);
    let mut stayer = Client::dealer(&world.cli());
    stayer.data("status", json!({}));
    world.release_slow_loads();
    let state = world.await_state("all were answered", |state| state.desk_requests == 0);
    assert!(state.unreachable + state.sent >= 11, "{state:?}");
    stayer.data("status", json!({}));
}

#[test]
fn a_client_that_comes_back_under_its_identity_is_served() {
    let world = World::new();
    let named = || {
        Client::connect(zmq::DEALER, &world.cli(), |socket| {
            socket.set_identity(b"the engine").expect("identity");
        })
    };
    let mut first = named();
    first.data("version", json!({}));
    let mut second = named();
    second.data("version", json!({}));
    drop(first);
    second.data("version", json!({}));
}

#[test]
fn slow_reader_does_not_stall_others() {
    let models = (0..50).map(|n| format!("model-{n}")).collect();
    let world = World::with(Plan { models, ..Plan::default() });
    let mut slow = Client::connect(zmq::DEALER, &world.cli(), |socket| {
        socket.set_rcvhwm(1).expect("hwm");
        socket.set_rcvbuf(4096).expect("buffer");
    });
    let mut quick = Client::dealer(&world.cli());
    let asked = 3000;
    for n in 0..asked {
        slow.begin("status", json!({}));
        if n % 10 == 0 {
            quick.data("version", json!({}));
        }
    }
    let asked_by_both = asked + asked / 10;
    // each is sent, kept or dropped
    let state = world.await_state("all were settled", |state| {
        state.sent + state.dropped + state.backlogged_replies == asked_by_both
    });
    assert!(state.dropped > 0, "it cannot all be kept: {state:?}");
    assert!(state.backlogged_replies < 1500, "16 MiB at most: {state:?}");
    assert_eq!(state.received, asked_by_both);
    quick.data("status", json!({}));
    // when it reads again, it gets the rest, newest last
    let last = slow.begin("version", json!({}));
    while slow.receive_json()["correlation_id"] != last.as_str() {}
    world.await_state("the backlog is empty", |state| state.backlogged_peers == 0);
}
