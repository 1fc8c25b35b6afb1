//! The service under a manager of services: what it tells it, what it takes from it, and that the files for one are right.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests; clippy sees helpers of integration tests as plain code"
)]
#![allow(missing_docs, reason = "tests")]

#[path = "../support/backend.rs"]
mod backend;
#[path = "../support/manager.rs"]
mod manager;
#[path = "../support/processes.rs"]
mod processes;
#[path = "../support/service.rs"]
mod service;

mod containers;
mod notices;
mod sockets;
mod units;

/// Says that a test cannot be done here, and why; not by a macro: what those write is shown of failed tests only.
fn left_out(test: &str, why: &str) {
    use std::io::Write;
    let told = format!("left out: {test} ({why})\n");
    let _ = std::io::stderr().write_all(told.as_bytes());
}
