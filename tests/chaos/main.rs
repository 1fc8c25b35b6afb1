//! Chaos as a tool: panics on request, and whole runs of `symphony chaos` on real services.

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

mod panics;
mod runs;
