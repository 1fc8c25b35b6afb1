//! Processes as `/proc` shows them, and signals to backends, each by a descriptor of exactly that process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::invariants::growth::Usage;

/// A running backend of the service that is tried.
#[derive(Debug)]
pub struct Backend {
    pid: u32,
    pidfd: OwnedFd,
}

impl Backend {
    /// Takes hold of a process, if it is the backend that serves this endpoint.
    ///
    /// # Errors
    /// Why it is left alone: it is gone, or it is not ours.
    pub fn find(pid: u32, endpoint: &str) -> Result<Self, String> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or_else(|| format!("{pid} is no process id"))?;
        let pidfd = pidfd_open(number, PidfdFlags::empty())
            .map_err(|error| format!("pid {pid} cannot be reached: {error}"))?;
        // looked at when the descriptor holds it: should it be replaced by another process meanwhile, a signal goes nowhere
        match served_endpoint(pid) {
            Some(found) if found == endpoint => Ok(Self { pid, pidfd }),
            _ => Err(format!("pid {pid} is no backend that serves {endpoint}")),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal to it alone.
    ///
    /// # Errors
    /// The system's word; it may be gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let mut watched = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut watched, Some(&now)), Ok(1..))
    }

    /// Opens the log of its model for appending, if its output goes there. Nothing else is ever opened: a backend may
    /// write to a file that somebody keeps.
    ///
    /// # Errors
    /// Why it is left alone: its output goes elsewhere, or it has ended.
    pub fn open_log(&self, path: &Path) -> io::Result<File> {
        let (append, no_link) =
            (OFlags::WRONLY | OFlags::APPEND, OFlags::NOFOLLOW | OFlags::NONBLOCK);
        let file = File::from(open(path, append | no_link | OFlags::CLOEXEC, Mode::empty())?);
        let log = file.metadata()?;
        let output = fs::metadata(format!("/proc/{}/fd/1", self.pid))?;
        if !log.is_file() || (log.dev(), log.ino()) != (output.dev(), output.ino()) {
            return Err(io::Error::other("its output does not go to the log of the service"));
        }
        // looked at last: while it lives, its number is nobody else's
        if self.has_ended() {
            return Err(io::Error::other("its process has just ended"));
        }
        Ok(file)
    }
}

/// Everything alive that was started to serve an endpoint in this folder, helpers of backends among it.
pub fn serving_in(folder: &Path) -> Vec<Backend> {
    let prefix = format!("ipc://{}/", folder.display());
    all_pids()
        .into_iter()
        .filter_map(|pid| {
            let endpoint = served_endpoint(pid).filter(|found| found.starts_with(&prefix))?;
            Backend::find(pid, &endpoint).ok().filter(|backend| !backend.has_ended())
        })
        .collect()
}

/// Everything that was started as `PROGRAM ARGUMENT …`.
pub fn with_first_argument(argument: &str) -> Vec<u32> {
    let has_it = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(argument.as_bytes())
    };
    all_pids().into_iter().filter(has_it).collect()
}

/// The endpoint that a backend was told to serve; `None` for any other process.
fn served_endpoint(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut instance = false;
    let mut endpoint = None;
    for entry in environment.split(|byte| *byte == 0) {
        instance |= entry.starts_with(b"SYMPHONY_INSTANCE_ID=");
        if let Some(value) = entry.strip_prefix(b"SYMPHONY_ENDPOINT=") {
            endpoint = String::from_utf8(value.to_vec()).ok();
        }
    }
    endpoint.filter(|_| instance)
}

/// What `/proc/PID/stat` tells: state, process group, start in ticks since boot.
fn stat(pid: u32) -> Option<(char, u32, u64)> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // the program's name may hold anything: fields count after its last parenthesis
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(name_end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    Some((state, fields.get(2)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

fn is_dead(state: char) -> bool {
    matches!(state, 'Z' | 'X' | 'x')
}

fn all_pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The leaders of process groups that serve these endpoints and were alive at one and the same moment.
pub fn leaders<'a>(endpoints: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, Vec<u32>> {
    let mut found: BTreeMap<&str, Vec<(u32, u64)>> =
        endpoints.into_iter().map(|endpoint| (endpoint, Vec::new())).collect();
    for pid in all_pids() {
        let Some((state, group, start)) = stat(pid) else { continue };
        if group != pid || is_dead(state) {
            continue;
        }
        let Some(endpoint) = served_endpoint(pid) else { continue };
        if let Some(pids) = found.get_mut(endpoint.as_str()) {
            pids.push((pid, start));
        }
    }
    let still_there = |(pid, start): (u32, u64)| {
        let alive = stat(pid).is_some_and(|(state, _, now)| now == start && !is_dead(state));
        alive.then_some(pid)
    };
    found
        .into_iter()
        .map(|(endpoint, pids)| {
            // the first one seen may have ended before the last one came
            let pids = pids.into_iter().filter_map(still_there).collect();
            (endpoint, pids)
        })
        .collect()
}

/// Whether a process is there and no zombie.
pub fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, ..)| !is_dead(state))
}

/// A field of `/proc/PID/status`.
fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The resident memory of a process; `None` when it is gone.
pub fn memory_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(status_field(&status, "VmRSS:")? * 1024)
}

/// What a service uses; `processes` are those that serve these endpoints. `None` when it is gone.
pub fn usage<'a>(pid: u32, endpoints: impl IntoIterator<Item = &'a str>) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage {
        memory_bytes: memory_bytes(pid)?,
        threads: usize::try_from(status_field(&status, "Threads:")?).ok()?,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count(),
        processes: leaders(endpoints).values().map(Vec::len).sum(),
    })
}

#[cfg(test)]
pub(crate) mod testing {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    /// A process that looks like a backend and does nothing. Dropping it kills it.
    pub struct Sleeper {
        pub child: Child,
        pub endpoint: String,
    }

    impl Sleeper {
        pub fn start() -> Self {
            Self::serving(&format!("ipc:///tmp/{}", uuid::Uuid::new_v4()))
        }

        pub fn serving(endpoint: &str) -> Self {
            Self::writing_to(Stdio::null(), endpoint)
        }

        pub fn writing_to(output: impl Into<Stdio>, endpoint: &str) -> Self {
            let mut command = Command::new("sleep");
            command.arg("600").process_group(0).stdin(Stdio::null()).stdout(output);
            command.env("SYMPHONY_ENDPOINT", endpoint).env("SYMPHONY_INSTANCE_ID", "a-1");
            let child = command.spawn().expect("started");
            let sleeper = Self { child, endpoint: endpoint.to_owned() };
            // its environment is there a moment after it is
            until(|| Backend::find(sleeper.pid(), endpoint).is_ok());
            sleeper
        }

        pub fn pid(&self) -> u32 {
            self.child.id()
        }

        pub fn backend(&self) -> Backend {
            Backend::find(self.pid(), &self.endpoint).expect("ours")
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    pub fn until(mut so: impl FnMut() -> bool) {
        let clock = Clock::start();
        while !so() {
            assert!(clock.now().since_origin() < Duration::from_secs(60), "waited in vain");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    #[test]
    fn only_the_backend_of_that_endpoint_is_taken_hold_of() {
        let mut sleeper = Sleeper::start();
        let (pid, endpoint) = (sleeper.pid(), sleeper.endpoint.clone());
        assert!(Backend::find(pid, "ipc:///tmp/other").is_err());
        assert!(Backend::find(std::process::id(), &endpoint).is_err());
        assert!(Backend::find(0, &endpoint).is_err());
        let backend = Backend::find(pid, &endpoint).expect("ours");
        assert!(!backend.has_ended());
        backend.signal(Signal::KILL).expect("signalled");
        sleeper.child.wait().expect("reaped");
        assert!(backend.has_ended());
        assert!(backend.signal(Signal::KILL).is_err(), "nobody else can be hit by it");
    }

    #[test]
    fn only_the_log_that_its_output_goes_to_is_opened() {
        let folder = tempfile::tempdir().expect("folder");
        let log = folder.path().join("a.log");
        let results = folder.path().join("results.txt");
        let link = folder.path().join("link.log");
        for path in [&log, &results] {
            fs::write(path, "first\n").expect("written");
        }
        std::os::unix::fs::symlink(&log, &link).expect("linked");
        let writer = |path| File::options().append(true).open(path).expect("opened");
        let mut honest = Sleeper::writing_to(writer(&log), "ipc:///tmp/honest");
        let redirected = Sleeper::writing_to(writer(&results), "ipc:///tmp/redirected");

        let backend = honest.backend();
        backend.open_log(&log).expect("its own");
        backend.open_log(&link).expect_err("no link is followed");
        backend.open_log(&results).expect_err("it writes elsewhere");
        let error = redirected.backend().open_log(&log).expect_err("it writes elsewhere");
        assert_eq!(error.to_string(), "its output does not go to the log of the service");
        Sleeper::start().backend().open_log(&log).expect_err("it writes nowhere");

        honest.child.kill().expect("killed");
        until(|| backend.has_ended());
        backend.open_log(&log).expect_err("it has ended");
        honest.child.wait().expect("reaped");
    }

    #[test]
    fn leaders_are_found_by_their_endpoint_and_counted_while_they_live() {
        let first = Sleeper::start();
        let endpoint = first.endpoint.clone();
        let second = Sleeper::serving(&endpoint);
        let mut pids = leaders([endpoint.as_str()])[endpoint.as_str()].clone();
        pids.sort_unstable();
        let mut wanted = [first.pid(), second.pid()];
        wanted.sort_unstable();
        assert_eq!(pids, wanted);
        drop(second);
        assert_eq!(leaders([endpoint.as_str()])[endpoint.as_str()], [first.pid()]);
    }

    #[test]
    fn usage_of_this_process() {
        let usage = usage(std::process::id(), []).expect("alive");
        assert!(usage.memory_bytes > 0 && usage.descriptors > 0 && usage.threads > 0);
        assert_eq!(usage.processes, 0);
    }
}
