//! Hundreds of restarts leave the service as it was.

use rustix::process::Signal;
use serde_json::json;

use crate::backend::until;
use crate::processes::{backends_of, descriptors_of, resident_kib_of};
use crate::service::{Model, Row, Service, fake};

const NAMES: [&str; 4] = ["handshake", "notify", "fd", "http"];
/// Each kills all four.
const ROUNDS: usize = 50;

fn models() -> Vec<Model> {
    let restart = json!({
        "max_consecutive_failures": 1000, "reset_after": "1ms", "backoff_min": "1ms",
        "backoff_max": "1ms", "window_max": 1000,
    });
    let http = crate::service::program("http", &[crate::backend::FAKE, "--http", "{port}"]);
    [
        fake("handshake", &[]),
        fake("notify", &["--notify"]).with("ready", json!("notify")),
        fake("fd", &["--ready-fd", "3"]).with("ready", json!({ "fd": 3 })),
        http.with("kind", json!("http")),
    ]
    .map(|model| model.with("restart", restart.clone()))
    .into()
}

fn round(service: &Service, rows: &mut [Row; 4]) {
    rows.iter().for_each(|row| row.signal(Signal::KILL));
    for row in rows {
        *row = service.wait_for_successor(row);
    }
}

#[test]
fn two_hundred_restarts_leak_nothing() {
    let service = Service::start(&models());
    let mut rows = NAMES.map(|name| service.load(name));
    // threads, connections and buffers that are made once
    for _ in 0..5 {
        round(&service, &mut rows);
    }
    let settled = until("a quiet moment", || quiet(&service, &rows));
    let memory = resident_kib_of(service.pid());
    for _ in 0..ROUNDS {
        round(&service, &mut rows);
    }
    until("the number of descriptors before", || {
        (quiet(&service, &rows)? <= settled).then_some(())
    });
    let grown = resident_kib_of(service.pid()).saturating_sub(memory);
    // events and log lines of 200 restarts are kept
    assert!(grown < 8 * 1024, "the service grew by {grown} KiB");
    for row in &rows {
        assert_eq!((row.restarts(), row.state()), (ROUNDS as u64 + 5, "ready"));
    }
    service.stop();
}

/// The descriptors of a service whose only children are these.
fn quiet(service: &Service, rows: &[Row]) -> Option<usize> {
    let mut children = backends_of(service.pid());
    let mut pids: Vec<u32> = rows.iter().map(Row::pid).collect();
    children.sort_unstable();
    pids.sort_unstable();
    // a zombie would be one of the children
    (children == pids).then(|| descriptors_of(service.pid()).len())
}

#[test]
fn loads_and_unloads_leak_nothing() {
    let service = Service::start(&models());
    let turn = || {
        for name in NAMES {
            service.load(name);
        }
        for name in NAMES {
            service.ask("unload-model", json!({ "model_name": name }));
        }
    };
    for _ in 0..3 {
        turn();
    }
    let settled = until("a quiet moment", || quiet(&service, &[]));
    for _ in 0..15 {
        turn();
    }
    until("the number of descriptors before", || (quiet(&service, &[])? <= settled).then_some(()));
    service.stop();
}
