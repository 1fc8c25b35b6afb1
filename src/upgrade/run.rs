//! A short run of another program: with a limit in time and in output, and nothing of it left afterwards.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::clock::{Clock, Moment};
use crate::limits;

/// What a run left behind.
#[derive(Debug)]
pub(super) struct Ran {
    /// How it ended.
    pub(super) status: ExitStatus,
    /// What it wrote.
    pub(super) stdout: String,
    /// What it wrote of faults.
    pub(super) stderr: String,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("it cannot be started: {0}")]
    NotStarted(io::Error),
    #[error("it did not end within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    #[error("it writes without an end")]
    Endless,
    #[error("it cannot be watched: {0}")]
    Lost(#[from] io::Error),
}

/// Runs a command in a process group of its own, which is ended with it.
///
/// # Errors
/// [`RunError`]; nothing of it runs any more then.
pub(super) fn run(mut command: Command, limit: Duration) -> Result<Ran, RunError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(RunError::NotStarted)?;
    let watched = watch(&mut child, limit);
    // the group first: while its leader is not reaped, nobody else can have the number
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let status = child.wait();
    let (stdout, stderr) = watched?;
    Ok(Ran { status: status?, stdout, stderr })
}

/// Reads what it writes until it ends.
fn watch(child: &mut Child, limit: Duration) -> Result<(String, String), RunError> {
    let clock = Clock::start();
    let deadline = clock.now() + limit;
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).map_err(io::Error::from)?;
    let mut stdout = Output::of(child.stdout.take().map(OwnedFd::from))?;
    let mut stderr = Output::of(child.stderr.take().map(OwnedFd::from))?;
    loop {
        let has_ended = wait(&pidfd, [&stdout, &stderr], deadline.since(clock.now()))?;
        // what it wrote before its end is there; what others write who have the pipe is none of ours
        stdout.read()?;
        stderr.read()?;
        if has_ended {
            return Ok((stdout.into_text(), stderr.into_text()));
        }
        if is_over(clock, deadline) {
            return Err(RunError::TimedOut(limit));
        }
    }
}

fn is_over(clock: Clock, deadline: Moment) -> bool {
    clock.now() >= deadline
}

/// Waits for output, the end or the limit; answers whether it has ended.
fn wait(pidfd: &OwnedFd, outputs: [&Output; 2], limit: Duration) -> io::Result<bool> {
    let mut watched = vec![PollFd::new(pidfd, PollFlags::IN)];
    let open = outputs.into_iter().filter_map(|output| output.pipe.as_ref());
    watched.extend(open.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    let limit = Timespec::try_from(limit).ok();
    match poll(&mut watched, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(watched.first().is_some_and(|pidfd| pidfd.revents().contains(PollFlags::IN)))
}

/// One of its two outputs.
struct Output {
    /// `None` once it is closed.
    pipe: Option<File>,
    bytes: Vec<u8>,
}

impl Output {
    fn of(pipe: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self { pipe: pipe.map(File::from), bytes: Vec::new() })
    }

    /// Takes what is there.
    fn read(&mut self) -> Result<(), RunError> {
        let mut part = [0; 4096];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut part) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.bytes.extend_from_slice(part.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            if self.bytes.len() > limits::TRIAL_OUTPUT_BYTES {
                return Err(RunError::Endless);
            }
        }
        Ok(())
    }

    fn into_text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn its_words_and_its_end_are_told() {
        let ran = run(shell("echo out; echo err >&2; cat; exit 3"), LONG).expect("ran");
        assert_eq!((&*ran.stdout, &*ran.stderr, ran.status.code()), ("out\n", "err\n", Some(3)));
        let bytes = run(shell(r"printf '\377\000x'"), LONG).expect("ran");
        assert_eq!(bytes.stdout, "\u{fffd}\0x");
    }

    #[test]
    fn who_hangs_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().expect("folder");
        let told = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! >{0}; wait", told.display());
        let error = run(shell(&script), Duration::from_secs(2)).expect_err("it hangs");
        assert_eq!(error.to_string(), "it did not end within 2s");
        let pid = std::fs::read_to_string(&told).expect("it ran");
        let lives = || match std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
            // who waits for its new parent to notice is dead
            Ok(stat) => !stat.contains(") Z "),
            Err(_) => false,
        };
        let clock = Clock::start();
        while lives() {
            assert!(clock.now().since_origin() < LONG, "it lives on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_child_that_holds_the_pipe_holds_up_nobody() {
        let clock = Clock::start();
        let ran = run(shell("echo out; sleep 1000 & exit 0"), LONG).expect("ran");
        assert_eq!(ran.stdout, "out\n");
        assert!(clock.now().since_origin() < LONG);
    }

    #[test]
    fn output_without_an_end_is_cut_off() {
        for redirect in ["", ">&2"] {
            let error = run(shell(&format!("yes {redirect}")), LONG).expect_err("endless");
            assert!(matches!(error, RunError::Endless), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_started_is_told() {
        let error = run(Command::new("/does/not/exist"), LONG).expect_err("missing");
        assert!(error.to_string().starts_with("it cannot be started: No such file"), "{error}");
    }
}
