//! The ZeroMQ gateway as its clients see it: real sockets, and small fake actors behind its doors.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod client;
mod commands;
mod files;
mod handover;
mod handshakes;
#[path = "../support/open_place.rs"]
mod open_place;
mod replies;
mod shutdown;
mod world;
