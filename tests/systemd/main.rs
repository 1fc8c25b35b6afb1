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

mod notices;
mod sockets;
