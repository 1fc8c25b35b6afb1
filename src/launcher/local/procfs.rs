//! What `/proc` tells of a process.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::clock::{Clock, Started};
use crate::limits;

/// Unit of CPU times in `/proc`. Part of the kernel's interface: 100 a second on every Linux that Rust's standard library runs on.
const TICKS_PER_SECOND: u64 = 100;

/// PF_KTHREAD.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessStat {
    /// Field 3, its state; `Z` has ended.
    pub state: char,
    /// Field 4, its parent.
    pub parent: u32,
    /// Field 5, its group.
    pub group: u32,
    /// Field 9 says that it is a thread of the kernel.
    pub is_of_kernel: bool,
    /// User and system time of the process alone; a process that was not reaped yet still has it.
    pub own_cpu_ticks: u64,
    /// User and system time of the process and of its children that were waited for.
    pub cpu_ticks: u64,
    /// Field 22: start in ticks since boot.
    pub start_ticks: u64,
}

impl ProcessStat {
    /// Whether it runs no more, and only its status is there.
    pub(super) fn has_ended(&self) -> bool {
        "ZX".contains(self.state)
    }
}

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// With its descendants.
    pub cpu_time: Duration,
    /// Of the process alone.
    pub resident_bytes: u64,
    /// The largest address space of the process alone so far.
    pub peak_address_space: u64,
}

/// Reads `/proc/PID/stat`.
///
/// # Errors
/// When the process is gone, or no descriptor is left to read with.
pub(super) fn stat(pid: u32) -> io::Result<ProcessStat> {
    let text = std::fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::other("/proc/PID/stat has an unknown form"))
}

/// Field 2 is the program's name, which may hold anything, also spaces and parentheses: fields count after the last `)`.
fn parse_stat(text: &[u8]) -> Option<ProcessStat> {
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[name_end + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    // times of waited-for children are signed in the kernel, and never negative
    let sum = |fields: [usize; 2]| fields.into_iter().map(number).sum::<Option<u64>>();
    let own_cpu_ticks = sum([14, 15])?;
    let cpu_ticks = own_cpu_ticks + sum([16, 17])?;
    let id = |field: usize| u32::try_from(number(field)?).ok();
    Some(ProcessStat {
        state: fields.first()?.chars().next()?,
        parent: id(4)?,
        group: id(5)?,
        is_of_kernel: number(9)? & KERNEL_THREAD != 0,
        own_cpu_ticks,
        cpu_ticks,
        start_ticks: number(22)?,
    })
}

/// How a process of somebody else ended, as a waiting parent would be told (the bits of `wait`), while that parent has not
/// reaped it; `None` when nobody can tell.
pub(super) fn wait_status(pid: u32, start_ticks: u64) -> Option<u32> {
    // the status of a process that may not be looked into reads as 0, which would be a good end: the kernel asks the same for this link
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()?;
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let is_the_one = |stat: &ProcessStat| stat.start_ticks == start_ticks && stat.state == 'Z';
    parse_stat(&text).filter(is_the_one)?;
    // field 52 is the last one there is since Linux 3.5; the fields behind the name are plain numbers
    let rest = text.rsplit(|byte| *byte == b')').next()?;
    std::str::from_utf8(rest).ok()?.split_ascii_whitespace().nth(52 - 3)?.parse().ok()
}

/// Whether a process that ended still has its number.
pub(super) fn is_unreaped(pid: u32, start_ticks: u64) -> bool {
    stat(pid).is_ok_and(|stat| stat.start_ticks == start_ticks && stat.has_ended())
}

/// Every process there is, by its pid. One may be gone, and another there, before it is looked at.
///
/// # Errors
/// When `/proc` cannot be read.
pub(super) fn all() -> io::Result<Vec<u32>> {
    let pid = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(std::fs::read_dir("/proc")?.filter_map(pid).collect())
}

/// When a process with this start began, on `clock`: field 22 counts the time in which the machine slept, moments do not.
pub(super) fn started(start_ticks: u64, clock: Clock) -> Started {
    let ran = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let ran = Duration::from_secs(u64::try_from(ran.tv_sec).unwrap_or(0));
    let age = ran.saturating_sub(span_of(start_ticks));
    let now = clock.started();
    Started { wall_seconds: now.wall_seconds - age.as_secs_f64(), at: now.at - age }
}

/// The usage of the process that has this pid and this start; `None` when it is gone.
pub(super) fn usage(pid: u32, start_ticks: u64) -> Option<Usage> {
    let own = stat(pid).ok().filter(|stat| stat.start_ticks == start_ticks)?;
    let mut ticks = own.cpu_ticks;
    let mut to_visit = VecDeque::from(children(pid));
    for _ in 0..limits::SAMPLED_DESCENDANTS {
        let Some(descendant) = to_visit.pop_front() else { break };
        ticks += stat(descendant).map_or(0, |stat| stat.cpu_ticks);
        if to_visit.len() < limits::SAMPLED_DESCENDANTS {
            to_visit.extend(children(descendant));
        }
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    Some(Usage {
        cpu_time: span_of(ticks),
        resident_bytes: size_in(&status, "VmRSS:"),
        peak_address_space: size_in(&status, "VmPeak:"),
    })
}

/// CPU time of one process alone, also of one that ended and was not reaped; zero when it cannot be told.
pub(super) fn own_cpu_time(pid: u32) -> Duration {
    span_of(stat(pid).map_or(0, |stat| stat.own_cpu_ticks))
}

fn span_of(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND))
}

/// Children are kept per thread that made them. A kernel without these files shows none.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .take(limits::SAMPLED_THREADS)
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// A size of `/proc/PID/status` in bytes; 0 for a process that is gone.
fn size_in(status: &str, name: &str) -> u64 {
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|value| value.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_program_names_do_not_shift_the_fields() {
        let line =
            b"42 (a) R (b c) S 1 42 42 0 -1 4194560 94 0 0 0 1 2 3 4 20 0 1 0 987654 0 0 1844";
        assert_eq!(
            parse_stat(line),
            Some(ProcessStat {
                state: 'S',
                parent: 1,
                group: 42,
                is_of_kernel: false,
                own_cpu_ticks: 3,
                cpu_ticks: 10,
                start_ticks: 987_654
            })
        );
        assert_eq!(parse_stat(b"42 (a) S 1"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn the_status_of_a_process_that_nobody_reaped_yet_is_read() {
        let ended = |script: &str| {
            let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
            let pid = rustix::process::Pid::from_child(&child);
            let start_ticks = stat(child.id()).unwrap().start_ticks;
            use rustix::process::{WaitId, WaitIdOptions, waitid};
            waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
            let read = wait_status(child.id(), start_ticks);
            assert!(is_unreaped(child.id(), start_ticks));
            assert_eq!(wait_status(child.id(), start_ticks + 1), None);
            child.wait().unwrap();
            assert!(!is_unreaped(child.id(), start_ticks));
            assert_eq!(wait_status(child.id(), start_ticks), None);
            read
        };
        assert_eq!(ended("exit 0"), Some(0));
        assert_eq!(ended("exit 3"), Some(3 << 8));
        assert_eq!(ended("kill -KILL $$"), Some(9));
        let own = std::process::id();
        assert_eq!(wait_status(own, stat(own).unwrap().start_ticks), None);
    }

    #[test]
    fn usage_of_another_process_with_the_same_pid_is_refused() {
        let pid = std::process::id();
        let me = stat(pid).unwrap();
        let usage_now = usage(pid, me.start_ticks).unwrap();
        assert!(usage_now.resident_bytes > 0);
        assert!(usage_now.peak_address_space > usage_now.resident_bytes);
        assert_eq!(usage(pid, me.start_ticks + 1), None);
    }
}
