//! A look at the processes of a test through `/proc`, and an end for those that a failed test leaves.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::expect_used, reason = "tests only")]

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// A variable that every process of one service inherits, whoever becomes its parent.
#[derive(Debug, Clone)]
pub struct Mark(String);

impl Mark {
    /// Its name.
    pub const VARIABLE: &str = "SYMPHONY_TEST_MARK";

    /// A value that nobody else has.
    pub fn new() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// Its value.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Every live process with it. The dead have no environment.
    pub fn processes(&self) -> Vec<u32> {
        let wanted = format!("{}={}", Self::VARIABLE, self.0);
        let carries = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        };
        let entries = fs::read_dir("/proc").expect("listed").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(carries).collect()
    }

    /// Kills them all, also those that were started meanwhile.
    pub fn kill_all(&self) {
        let all_gone = crate::backend::patiently(|| {
            let left = self.processes();
            for pid in &left {
                if let Some(pid) = pid_of(*pid) {
                    // it may have ended by itself
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            left.is_empty().then_some(())
        });
        if all_gone.is_none() {
            eprintln!("processes of a test cannot be ended: {:?}", self.processes());
        }
    }
}

/// Sends a signal.
pub fn signal(pid: u32, signal: Signal) {
    kill_process(pid_of(pid).expect("a pid"), signal).expect("signalled");
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// The letter of its state; `None` when it is gone and reaped.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name, in parentheses, may hold anything
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Its parent; `None` when it is gone and reaped.
pub fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Whether it runs: is there and is no zombie.
pub fn runs(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| !"ZX".contains(state))
}

/// The children of all threads of a process, with zombies.
pub fn children_of(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads
        .map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let pids: Vec<u32> = lists
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect();
    pids
}

/// The children of a service without a heart that are backends, with zombies: one other is its guard.
pub fn backends_of(service: u32) -> Vec<u32> {
    children_of(service).into_iter().filter(|pid| !is_guard(*pid)).collect()
}

/// Whether a process is the guard of a service, which is there as long as the service is.
pub fn is_guard(pid: u32) -> bool {
    words_of(pid).get(1).is_some_and(|word| word == "guard")
}

/// Its open descriptors.
pub fn descriptors_of(pid: u32) -> std::collections::BTreeSet<i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    // one may be closed between the listing and the look at it
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The words of its command line.
pub fn words_of(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&line).into_owned();
    text.strip_suffix('\0').unwrap_or(&text).split('\0').map(str::to_owned).collect()
}

/// Its resident memory in KiB.
pub fn resident_kib_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Everything below a folder, folders left out.
pub fn tree_of(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(tree_of(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
