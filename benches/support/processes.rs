//! What the system tells of processes.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Ticks of `/proc/PID/stat` in a second; Linux shows 100 everywhere.
const TICKS_PER_SECOND: u64 = 100;

/// Resident memory in MiB, now and at its highest.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub now: f64,
    pub highest: f64,
}

/// The memory of a process.
pub fn memory(pid: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let mebibytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
    };
    Memory { now: mebibytes("VmRSS:"), highest: mebibytes("VmHWM:") }
}

/// User and system time of all threads of a process, in steps of 10 ms.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    // fields 14 and 15
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// Processes with this folder in their arguments. The folder is private and has a random name, so they are ours.
pub fn with_argument_in(folder: &Path) -> Vec<u32> {
    let needle = folder.as_os_str().as_bytes();
    let entries = fs::read_dir("/proc").expect("a /proc").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            // one that ended meanwhile has none
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.windows(needle.len()).any(|window| window == needle)
        })
        .collect()
}

/// Kills a process. One that is gone already is no error.
pub fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    let _ = kill_process(pid, Signal::KILL);
}

/// Asks a process to end.
pub fn terminate(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    let _ = kill_process(pid, Signal::TERM);
}
