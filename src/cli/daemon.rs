//! A service in the background: started in a session of its own, and waited for until it answers.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, setsid};

use super::configuration::Request;
use super::error::CliError;
use super::heart;
use super::session::live_service;
use crate::clock::Clock;
use crate::heart::options::HeartOptions;
use crate::heart::run::IN_USE;
use crate::limits;
use crate::settings::model::Settings;
use crate::telemetry::service_log;

/// What came of the start of a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It is ready.
    Ready {
        /// The process to signal: the heart of the service.
        pid: u64,
    },
    /// Another service took the endpoint first.
    Already,
}

/// Where a daemon of these settings writes its log: in the folder of the models' logs, which is this service's alone
/// (the folder above may be shared, even `/tmp`). A model's file has eight digits before its ending, so no name meets this one.
pub fn log_path(settings: &Settings) -> PathBuf {
    settings.service.log_dir.join("service.log")
}

/// Leaves the session of the terminal, so that its end does not reach the service.
///
/// # Errors
/// When the system refuses.
pub fn detach() -> Result<(), CliError> {
    setsid().map(drop).map_err(|error| {
        CliError::Failed(format!("cannot leave the session of the terminal: {error}"))
    })
}

/// Starts a detached service and waits until it answers, `patience` at most.
///
/// # Errors
/// Why it did not get ready, with the last lines of its log; nothing of it is left then, unless the error says so.
pub fn start(
    settings: &Settings,
    request: &Request,
    patience: Duration,
) -> Result<Started, CliError> {
    launch(settings, request)?.wait_until_ready(settings, patience)
}

/// A daemon that was started and has not answered yet.
pub struct Launched {
    child: Child,
    log_path: PathBuf,
    /// Where its part of the log begins.
    log_begin: u64,
    /// How long it may take to end in order.
    longest_end: Duration,
}

/// Starts a detached service.
///
/// # Errors
/// When its log cannot be opened, or the system refuses.
pub fn launch(settings: &Settings, request: &Request) -> Result<Launched, CliError> {
    let log_path = log_path(settings);
    let (log, log_begin) = open_log(&log_path).map_err(|error| {
        CliError::Failed(format!("cannot open the log {}: {error}", log_path.display()))
    })?;
    let options = heart::options(settings, request, Some(&log_path));
    let child = spawn(&options, log)
        .map_err(|error| CliError::Failed(format!("cannot start the service: {error}")))?;
    let longest_end = options.longest_end();
    Ok(Launched { child, log_path, log_begin, longest_end })
}

impl Launched {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it answers, `patience` at most.
    ///
    /// # Errors
    /// As [`start`].
    pub fn wait_until_ready(
        mut self,
        settings: &Settings,
        patience: Duration,
    ) -> Result<Started, CliError> {
        let endpoint = &settings.endpoints.cli_management;
        wait_until_ready(&mut self.child, endpoint, patience).map_err(|reason| {
            let left = match end(&mut self.child, self.longest_end) {
                true => String::new(),
                false => format!("; it is still ending (pid {})", self.child.id()),
            };
            let tail = log_tail(&self.log_path, self.log_begin).unwrap_or_default();
            let hint = if tail.is_empty() { String::new() } else { format!("\n{tail}") };
            CliError::Failed(format!("Management service failed to start: {reason}{left}{hint}"))
        })
    }
}

/// Opens the log and tells where this run's part begins.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    if fs::metadata(path).is_ok_and(|file| file.len() > limits::SERVICE_LOG_BYTES) {
        fs::rename(path, service_log::older(path))?;
    }
    let log = service_log::open(path)?;
    let begin = log.metadata()?.len();
    Ok((log, begin))
}

fn spawn(options: &HeartOptions, log: File) -> io::Result<Child> {
    let mut started = Err(io::ErrorKind::NotFound.into());
    for mut command in heart::commands(options) {
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        started = command.spawn();
        if started.is_ok() {
            break;
        }
    }
    started
}

fn wait_until_ready(
    child: &mut Child,
    endpoint: &str,
    patience: Duration,
) -> Result<Started, String> {
    let clock = Clock::start();
    let deadline = clock.now() + patience;
    let own_pid = u64::from(child.id());
    loop {
        let exited = child.try_wait().map_err(|error| format!("cannot watch it: {error}"))?;
        // asked after the look at the child: one that ended found another service, or a fault
        let answering = live_service(endpoint).ok().flatten();
        match (answering, exited) {
            (Some(service), None) if service.is_of(own_pid) => {
                return Ok(Started::Ready { pid: own_pid });
            }
            (Some(_), Some(status)) if status.success() || is_in_use(status) => {
                return Ok(Started::Already);
            }
            // another start was first, and is not ready yet
            (None, Some(status)) if is_in_use(status) && clock.now() < deadline => {
                thread::park_timeout(limits::DAEMON_CHECK_EVERY);
            }
            (_, Some(status)) => return Err(exit_words(status)),
            (_, None) if clock.now() >= deadline => {
                return Err(format!("not ready within {}", humantime::format_duration(patience)));
            }
            (_, None) => thread::park_timeout(limits::DAEMON_CHECK_EVERY),
        }
    }
}

/// Whether a heart ended because another service has its runtime folder.
fn is_in_use(status: ExitStatus) -> bool {
    status.code() == Some(i32::from(IN_USE))
}

fn exit_words(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("it ended with exit code {code}"),
        None => format!("it ended: {status}"),
    }
}

/// Ends a service that did not get ready: TERM, so that it takes its models with it, and once more when the time for an
/// orderly end is over, so that it kills them. Answers whether it is gone.
///
/// Never a KILL: what a heart is killed before lives on without it. The child is ours and not reaped, so its pid cannot be another's.
fn end(child: &mut Child, longest: Duration) -> bool {
    let pid = Pid::from_child(child);
    for patience in [longest, limits::DAEMON_HURRY] {
        let _ = kill_process(pid, Signal::TERM);
        // a frozen one hears it when it runs on
        let _ = kill_process(pid, Signal::CONT);
        let clock = Clock::start();
        while clock.now().since_origin() < patience {
            if !matches!(child.try_wait(), Ok(None)) {
                return true;
            }
            thread::park_timeout(limits::DAEMON_CHECK_EVERY);
        }
    }
    !matches!(child.try_wait(), Ok(None))
}

/// The last lines written to the log since `begin`.
fn log_tail(path: &Path, begin: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // a file shorter than before was renewed: all of it is this run's
    let begin = if length < begin { 0 } else { begin };
    file.seek(SeekFrom::Start(begin.max(length.saturating_sub(limits::DAEMON_LOG_TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(limits::DAEMON_LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let first = lines.len().saturating_sub(limits::DAEMON_LOG_TAIL_LINES);
    Ok(lines[first..].join("\n"))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Command;

    use super::*;

    fn scripted(script: &str) -> Child {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let said = child.stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).expect("read");
        assert_eq!(line, "ready\n");
        child
    }

    #[test]
    fn who_ends_slowly_is_asked_again_and_not_killed() {
        let mut child = scripted(
            "trap 'n=$((n + 1)); [ $n = 2 ] && exit 7' TERM; echo ready; while :; do sleep 0.02; done",
        );
        assert!(end(&mut child, Duration::from_millis(300)));
        assert_eq!(child.wait().expect("ended").code(), Some(7));
    }

    #[test]
    fn who_ends_in_time_is_asked_once() {
        let mut child = scripted("trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done");
        assert!(end(&mut child, Duration::from_secs(60)));
        assert_eq!(child.wait().expect("ended").code(), Some(5));
    }

    #[test]
    fn the_tail_holds_this_runs_last_lines_only() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("service.log");
        writeln!(service_log::open(&path).expect("opened"), "an earlier run").expect("written");
        let (mut log, begin) = open_log(&path).expect("opened");
        assert_eq!(log_tail(&path, begin).expect("read"), "");
        for n in 0..50 {
            writeln!(log, "line {n}").expect("written");
        }
        let tail = log_tail(&path, begin).expect("read");
        assert_eq!(tail.lines().count(), limits::DAEMON_LOG_TAIL_LINES);
        assert!(tail.starts_with("line 30") && tail.ends_with("line 49"), "{tail}");
        log.write_all(&vec![b'x'; 100_000]).expect("written");
        assert!(
            log_tail(&path, begin).expect("read").len() as u64 <= limits::DAEMON_LOG_TAIL_BYTES
        );
    }
}
