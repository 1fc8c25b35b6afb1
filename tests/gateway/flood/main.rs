//! Floods, and what they cost. A test process of its own, because it looks at its resident memory.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../client.rs"]
#[allow(dead_code, reason = "shared with tests/gateway, which uses all of it")]
mod client;
#[path = "../world.rs"]
#[allow(dead_code, reason = "shared with tests/gateway, which uses all of it")]
mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};

use client::Client;
use serde_json::json;
use symphony::limits;
use world::{World, eventually};

const MEBIBYTE: u64 = 1024 * 1024;

/// One flood at a time: each looks at the memory of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes * 1024
}

#[test]
fn flood_is_bounded() {
    let _alone = alone();
    let world = World::new();
    let mut quick = Client::dealer(&world.cli());
    quick.data("status", json!({}));
    let flooding = Client::dealer(&world.cli());
    let request = json!({"command": "status", "correlation_id": "flood"}).to_string();
    let before = resident_bytes();
    let mut most = before;
    let count = 400_000;
    for n in 1..=count {
        flooding.send(&request);
        if n % 1000 == 0 {
            most = most.max(resident_bytes());
        }
        if n % 20_000 == 0 {
            let state = world.state();
            assert!(state.credits_in_use <= limits::GATEWAY_CREDITS as u64, "{state:?}");
            quick.data("version", json!({}));
        }
        while flooding.socket.recv_bytes(zmq::DONTWAIT).is_ok() {}
    }
    let state = world.await_state("all were taken in", |state| {
        state.received > count && state.credits_in_use == 0
    });
    most = most.max(resident_bytes());
    assert_eq!(state.abandoned, 0);
    let grown = (most - before) / MEBIBYTE;
    assert!(grown < 32, "resident memory grew by {grown} MiB");
}

#[test]
fn flood_of_a_client_that_never_reads_is_bounded() {
    let _alone = alone();
    let world = World::new();
    let mut quick = Client::dealer(&world.cli());
    quick.data("status", json!({}));
    let flooding = Client::connect(zmq::DEALER, &world.cli(), |socket| {
        socket.set_rcvhwm(1).expect("hwm");
    });
    let request = json!({"command": "status", "correlation_id": "flood"}).to_string();
    let before = resident_bytes();
    let count = 100_000;
    for _ in 0..count {
        flooding.send(&request);
    }
    let state = world.await_state("all were taken in", |state| state.received > count);
    assert!(state.backlogged_replies <= limits::PEER_BACKLOG as u64, "{state:?}");
    let grown = resident_bytes().saturating_sub(before) / MEBIBYTE;
    assert!(grown < 32, "resident memory grew by {grown} MiB");
    quick.data("status", json!({}));
}

/// One frame, or several, of a message that no client would send.
fn garbage(random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let good = [
        json!({"command": "load-model", "params": {"model_name": "x"}, "correlation_id": "c"})
            .to_string(),
        json!({"command": "status", "params": {"all": true}, "correlation_id": "c"}).to_string(),
    ];
    let bytes = |random: &mut fastrand::Rng, most: usize| -> Vec<u8> {
        let length = random.usize(..=most);
        (0..length).map(|_| random.u8(..)).collect()
    };
    match random.u8(0..6) {
        0 => vec![bytes(random, 300)],
        1 => vec![random.choice(&good).expect("one").as_bytes()[..random.usize(..60)].to_vec()],
        2 => (0..random.usize(2..20)).map(|_| bytes(random, 40)).collect(),
        3 => {
            let mut bent = random.choice(&good).expect("one").clone().into_bytes();
            let place = random.usize(..bent.len());
            bent[place] = random.u8(..);
            vec![bent]
        }
        4 => vec![Vec::new(); random.usize(1..12)],
        _ => vec![b"[".repeat(random.usize(..20_000))],
    }
}

#[test]
fn garbage_frames() {
    let _alone = alone();
    let world = World::new();
    let mut random = fastrand::Rng::with_seed(7);
    let before = resident_bytes();
    let per_socket = 10_000;
    for endpoint in [world.cli(), world.client()] {
        let received = world.state().received;
        let sender = Client::dealer(&endpoint);
        // its connection is cut each time, and made again by its socket
        let oversized = Client::dealer(&endpoint);
        for n in 0..per_socket {
            sender.socket.send_multipart(garbage(&mut random), 0).expect("send");
            while sender.socket.recv_multipart(zmq::DONTWAIT).is_ok() {}
            if n % 500 == 0 {
                oversized.send(vec![b'x'; limits::FRAME_BYTES as usize + 1]);
            }
        }
        world.await_state("all were taken in", |state| state.received == received + per_socket);
    }
    let state = world.await_state("nothing is held", |s| s.credits_in_use + s.desk_requests == 0);
    assert!(state.refused_frames > 0 && state.refused_commands > 0 && state.refused_protobuf > 0);
    Client::dealer(&world.cli()).data("status", json!({}));
    assert_eq!(Client::dealer(&world.client()).handshake(None).protocols.len(), 2);
    eventually("memory is given back", || resident_bytes().saturating_sub(before) / MEBIBYTE < 32);
}
