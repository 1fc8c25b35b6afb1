//! The service's life with its processes: what must hold when backends, clients and the service itself come and go. On real
//! processes; on a scripted launcher (`scripted`, `crossings`, `virtual_time`) what no real one does at a wish.
//!
//! `launcher/` is a test process of its own: the launcher alone, on real processes.

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
#[path = "../support/open_place.rs"]
mod open_place;
#[path = "../support/processes.rs"]
mod processes;
#[path = "../support/python.rs"]
mod python;
#[path = "../support/service.rs"]
mod service;

mod actor_crashes;
mod adoption;
mod clock_jumps;
mod crash_loops;
mod crossings;
mod deaths;
mod ends;
mod group_actors;
mod group_reloads;
mod groups;
mod health;
mod heart;
mod isolation;
mod leaks;
mod limits;
mod output;
mod readiness;
mod reloading;
mod requests;
mod restarts;
mod restless_clients;
mod scripted;
mod shortages;
mod stopping;
mod upgrade;
mod virtual_time;
mod world;
