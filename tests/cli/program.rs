//! Runs the real `symphony` binary, away from the user's own files, and never longer than a limit.

#![expect(clippy::expect_used, reason = "a test ends where what must hold does not")]

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Generous: the machine may be busy with other tests.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

impl Run {
    /// Stdout as the one JSON value that it must be.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|fault| panic!("stdout is not one JSON value ({fault}): {self:?}"))
    }

    /// Exit code, stdout, stderr.
    pub fn all(&self) -> (Option<i32>, &str, &str) {
        (self.code, &self.stdout, &self.stderr)
    }
}

/// The binary with an empty environment and a private home.
pub fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symphony"));
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("TZ", "UTC").current_dir(home).stdin(Stdio::null());
    command
}

/// Runs to the end.
pub fn run(arguments: &[&str]) -> Run {
    let home = tempfile::tempdir().expect("folder");
    let mut command = command(home.path());
    command.args(arguments);
    finish(spawn(&mut command))
}

/// Runs a client command against an endpoint.
pub fn ask(endpoint: &str, arguments: &[&str]) -> Run {
    let mut all = vec!["--endpoint", endpoint];
    all.extend(arguments);
    run(&all)
}

/// Starts with pipes.
pub fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawned")
}

/// Waits for the end; a run beyond the limit is killed and fails the test.
pub fn finish(child: Child) -> Run {
    // the child is reaped by the thread below only, so this pid stays its own until then
    let pid = Pid::from_child(&child);
    let (done, wait) = channel();
    let waiter = std::thread::spawn(move || {
        let _ = done.send(child.wait_with_output());
    });
    let output = wait.recv_timeout(LIMIT);
    if output.is_err() {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = waiter.join();
    let Output { status, stdout, stderr } = output.expect("ends in time").expect("waited for");
    Run {
        stdout: String::from_utf8(stdout).expect("UTF-8"),
        stderr: String::from_utf8(stderr).expect("UTF-8"),
        code: status.code(),
    }
}

/// Runs with stdout and stderr on a terminal; answers what was drawn and the exit code.
///
/// `until` ends a run that would go on: it is killed when the text was drawn.
pub fn on_terminal(command: &mut Command, until: Option<&str>) -> (String, Option<i32>) {
    on_terminal_of(120, command, until)
}

/// The same on a terminal of this width.
pub fn on_terminal_of(
    columns: u16,
    command: &mut Command,
    until: Option<&str>,
) -> (String, Option<i32>) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};
    let master =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&master).expect("granted");
    unlockpt(&master).expect("unlocked");
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).expect("sized");
    let name = ptsname(&master, Vec::new()).expect("named").into_string().expect("UTF-8");
    let slave = std::fs::OpenOptions::new().read(true).write(true).open(name).expect("opened");
    command.env("TERM", "xterm-256color");
    command.stdout(slave.try_clone().expect("cloned")).stderr(slave);
    let mut child = command.spawn().expect("spawned");
    // its own copies of the terminal: without them the reader below sees the end
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (drawn, parts) = channel();
    let reader = std::thread::spawn(move || {
        let mut master = std::fs::File::from(master);
        let mut part = [0; 4096];
        // an error is how a terminal tells that its last user has gone
        while let Ok(count @ 1..) = master.read(&mut part) {
            if drawn.send(part[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut text = Vec::new();
    let mut killed = false;
    while let Ok(part) = parts.recv_timeout(LIMIT) {
        text.extend(part);
        let seen = until.is_some_and(|word| String::from_utf8_lossy(&text).contains(word));
        if seen && !killed {
            killed = true;
            child.kill().expect("killed");
        }
    }
    if child.try_wait().expect("waited").is_none() {
        let _ = child.kill();
    }
    let status = child.wait().expect("waited");
    reader.join().expect("read");
    (String::from_utf8_lossy(&text).into_owned(), status.code())
}
