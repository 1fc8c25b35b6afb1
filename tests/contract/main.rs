//! The management contract, row by row, against the real service: the `symphony` binary with real backends.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests; clippy sees helpers of integration tests as plain code"
)]

#[path = "../support/contract.rs"]
mod support;

mod backends;
mod bad_input;
mod command_line;
mod commands;
mod concurrency;
mod configuration;
mod daemon;
mod handshakes;
mod loading;
mod log;
mod process;
mod reload;
mod seed;
mod streams;
