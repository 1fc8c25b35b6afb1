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
#[path = "../support/open_place.rs"]
mod open_place;
#[path = "../support/processes.rs"]
mod processes;
#[path = "../support/service.rs"]
mod service;

mod containers;
mod notices;
mod real;
mod sockets;
mod units;

/// Says that a test cannot be done here, and why; not by a macro: what those write is shown of failed tests only.
fn left_out(test: &str, why: &str) {
    use std::io::Write;
    let told = format!("left out: {test} ({why})\n");
    let _ = std::io::stderr().write_all(told.as_bytes());
}

/// Lets `symphony serve …` be `symphony start-service …`, by way of the program in `before`, if there is one.
fn through_heart(command: &mut std::process::Command, before: &[&str]) {
    use std::process::{Command, Stdio};
    let mut words = before.iter().map(std::ffi::OsStr::new).collect::<Vec<_>>();
    words.push(command.get_program());
    let mut started = Command::new(words[0]);
    started.args(&words[1..]).arg("start-service").args(command.get_args().skip(1)).env_clear();
    for (name, value) in command.get_envs() {
        started.env(name, value.unwrap_or_default());
    }
    let folder = command.get_current_dir().expect("a folder");
    started.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    started.stderr(std::fs::File::create(folder.join("service.log")).expect("made"));
    *command = started;
}
