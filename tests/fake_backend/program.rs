//! A backend that misbehaves as its flags say: the other side of every test with real processes.
//!
//! It serves with the code of the embedded backend. What it does goes in phases: start (count, children, output) →
//! load → ready (bind, readiness signs) → serve → end. Without `--ipc-endpoint` it serves no socket and waits.

mod children;
mod faults;
mod http;
mod load;
mod output;
mod patience;
mod script;
mod signs;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use rustix::time::{ClockId, Timespec, clock_gettime};
use symphony::engine::serve::{BackendSocket, ServeError};

use faults::FaultyAnswerer;
use patience::Patience;
use script::Script;

fn main() -> ExitCode {
    let began = clock_gettime(ClockId::Monotonic);
    let script = Script::parse();
    if let Some(path) = &script.stamp
        && let Err(error) = stamp(path, began)
    {
        output::line(&format!("cannot write {}: {error}", path.display()));
    }
    match act(&script) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::line(&format!("fake backend failed: {error}"));
            ExitCode::from(70)
        }
    }
}

/// Comparable between processes: the monotonic clock is one for the whole machine.
fn stamp(path: &Path, began: Timespec) -> std::io::Result<()> {
    let nanoseconds = i128::from(began.tv_sec) * 1_000_000_000 + i128::from(began.tv_nsec);
    std::fs::write(path, format!("{} {nanoseconds}\n", std::process::id()))
}

fn act(script: &Script) -> Result<u8, ServeError> {
    let patience = Patience::new(script.ignore_term)?;
    if script.sleep {
        patience.wait(children::SLEEP);
        return Ok(0);
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    output::introduction(script);
    if start_crashes(script)? {
        return Ok(crash(script));
    }
    children::start(script)?;
    output::flood(script);
    let state = http::State::default();
    if let Some(port) = script.http {
        http::serve(port, script, state.clone())?;
    }
    if load::load(script, &patience) {
        return Ok(0);
    }
    if script.exit_before_ready {
        return Ok(script.exit_code.unwrap_or(0));
    }
    serve(script, &patience, &state)
}

fn serve(script: &Script, patience: &Patience, state: &http::State) -> Result<u8, ServeError> {
    let socket = script.ipc_endpoint.as_deref().map(BackendSocket::bind).transpose()?;
    if let Some(port) = script.tcp {
        signs::listen(port)?;
    }
    state.set_ready();
    signs::tell_ready(script)?;
    output::line("ready");
    let ended_early = patience.end_after(script.exit_after)?;
    match &socket {
        Some(socket) => {
            let mut answerer = FaultyAnswerer::new(script, patience);
            socket.serve(&mut answerer, patience.stop())?;
        }
        None => patience.wait_for_stop(),
    }
    // dropped before the exit code is told: a clean end removes the socket file
    drop(socket);
    Ok(if ended_early.happened() { script.exit_code.unwrap_or(0) } else { 0 })
}

/// Counts this start, and tells whether it is one that has to crash.
fn start_crashes(script: &Script) -> Result<bool, ServeError> {
    let Some(path) = &script.state_file else { return Ok(false) };
    let before = std::fs::read_to_string(path).unwrap_or_default();
    let start = before.trim().parse::<u64>().unwrap_or(0) + 1;
    std::fs::write(path, start.to_string())?;
    output::line(&format!("start {start}"));
    Ok(start <= script.crash_at_start)
}

/// With the exit code where one is given, else by a signal.
fn crash(script: &Script) -> u8 {
    match script.exit_code {
        Some(code) => code,
        None => faults::die(),
    }
}
