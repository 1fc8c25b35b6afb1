//! What is known of an end beyond its status: which limit of ours it ran into, or that its program never began. Pure.

use std::time::Duration;

use super::{ExitStatus, SHIM_FAILED, SHIM_NOT_NOW, SHIM_PREFIX};
use crate::settings::policy::ResourceLimits;
use crate::settings::quantity::{format_duration, format_size};

/// SIGXCPU: nothing but the limit of CPU time sends it.
const CPU_LIMIT_REACHED: i32 = 24;
/// SIGKILL: what a program gets that goes on beyond its limit of CPU time, and for many other reasons.
const KILLED: i32 = 9;
/// SIGSEGV, SIGBUS and SIGABRT: what programs end by that do not look whether they got the memory that they asked for.
const WITHOUT_MEMORY: [i32; 3] = [11, 7, 6];
/// What a shell that ran a program ends with when that got a KILL.
const KILLED_BELOW_A_SHELL: i32 = 128 + KILLED;
/// An address space of this share of its limit is said to be near it.
const NEAR: f64 = 0.95;

/// What programs say when they run short, in lower case. They are quoted as the program's own words, not as a fact.
const MEMORY_WORDS: [&str; 6] = [
    "out of memory",
    "cannot allocate memory",
    "memoryerror",
    "bad_alloc",
    "memory allocation of",
    "memory exhausted",
];
/// The text of EMFILE.
const OPEN_FILES_WORDS: [&str; 1] = ["too many open files"];
/// The text of EAGAIN, which `fork` fails with, and what shells and Python make of it.
const PROCESSES_WORDS: [&str; 3] =
    ["resource temporarily unavailable", "cannot fork", "can't start new thread"];

/// What is known of an end beyond its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitCause {
    /// The exec shim could not become the program, and why. No restart mends it.
    NotExecuted(String),
    /// The exec shim could not become the program just now, and why. Another try may do.
    NotExecutedNow(String),
    /// A limit of ours ended it: `memory limit 16GiB`.
    Limit(String),
    /// A limit of ours may have ended it, and what speaks for that.
    NearLimit(String),
}

/// What was seen of a process that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExitFacts {
    /// It was started through the exec shim.
    pub through_shim: bool,
    /// CPU time of the process alone.
    pub cpu_time: Duration,
    /// The largest address space that was seen, in bytes.
    pub peak_address_space: u64,
    /// What its cgroup counted; `None`: it had none.
    pub cgroup: Option<CgroupCounts>,
}

/// What a cgroup counted in the life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CgroupCounts {
    /// The memory limit is held by the cgroup, not as address space.
    pub holds_memory: bool,
    /// Processes that the kernel killed for the memory limit.
    pub memory_kills: u64,
    /// New processes that the limit on processes refused.
    pub refused_processes: u64,
}

/// Why a process ended, as far as it is known.
pub fn exit_cause(
    status: ExitStatus,
    limits: &ResourceLimits,
    facts: &ExitFacts,
    output: &[String],
) -> Option<ExitCause> {
    if let Some(cause) = not_executed(status, facts, output) {
        return Some(cause);
    }
    if status == ExitStatus::Code(0) {
        return None;
    }
    let counts = facts.cgroup.unwrap_or_default();
    if let Some(memory) = limits.memory
        && counts.memory_kills > 0
        && was_killed(status)
    {
        return Some(ExitCause::Limit(format!("memory limit {}", format_size(memory))));
    }
    let signal = match status {
        ExitStatus::Signal { number, .. } => Some(number),
        ExitStatus::Code(_) | ExitStatus::Unknown => None,
    };
    if let Some(cpu_time) = limits.cpu_time
        && let Some(number) = signal
        && (number == CPU_LIMIT_REACHED || (number == KILLED && facts.cpu_time >= cpu_time))
    {
        return Some(ExitCause::Limit(format!("cpu time limit {}", format_duration(cpu_time))));
    }
    near_limit(limits, facts, &counts, output)
        .or_else(|| {
            let memory = limits.memory.filter(|_| !counts.holds_memory)?;
            let crashed = WITHOUT_MEMORY.contains(&signal?);
            crashed.then(|| format!("with a memory limit {} (address space)", format_size(memory)))
        })
        .map(ExitCause::NearLimit)
}

/// The shim's exit code may be the program's, too; its line of output tells them apart.
fn not_executed(status: ExitStatus, facts: &ExitFacts, output: &[String]) -> Option<ExitCause> {
    let ExitStatus::Code(code) = status else { return None };
    let said = output.last()?.strip_prefix(SHIM_PREFIX).filter(|_| facts.through_shim)?;
    if SHIM_FAILED.map(i32::from).contains(&code) {
        return Some(ExitCause::NotExecuted(said.to_owned()));
    }
    (code == i32::from(SHIM_NOT_NOW)).then(|| ExitCause::NotExecutedNow(said.to_owned()))
}

/// One that goes on for hours after a worker of it was killed for memory ends for reasons of its own.
fn was_killed(status: ExitStatus) -> bool {
    match status {
        ExitStatus::Signal { number, .. } => number == KILLED,
        ExitStatus::Code(code) => code == KILLED_BELOW_A_SHELL,
        ExitStatus::Unknown => false,
    }
}

fn near_limit(
    limits: &ResourceLimits,
    facts: &ExitFacts,
    counts: &CgroupCounts,
    output: &[String],
) -> Option<String> {
    let by_own_words = |words: &[&str]| {
        output.iter().any(|line| {
            let line = line.to_lowercase();
            words.iter().any(|word| line.contains(word))
        })
    };
    if let Some(memory) = limits.memory {
        let kind = if counts.holds_memory { "" } else { " (address space)" };
        let limit = format!("memory limit {}{kind}", format_size(memory));
        if counts.memory_kills > 0 {
            let killed = counts.memory_kills;
            return Some(format!(
                "after the kernel killed {killed} of its processes at its {limit}"
            ));
        }
        #[expect(clippy::cast_precision_loss, reason = "a share needs no exact bytes")]
        if !counts.holds_memory && facts.peak_address_space as f64 >= memory as f64 * NEAR {
            return Some(format!("near its {limit}"));
        }
        if by_own_words(&MEMORY_WORDS) {
            return Some(format!("out of memory by its own words, with a {limit}"));
        }
    }
    if let Some(processes) = limits.processes {
        if counts.refused_processes > 0 {
            return Some(format!("its limit of {processes} processes was reached"));
        }
        if by_own_words(&PROCESSES_WORDS) {
            return Some(format!("out of processes by its own words, with a limit of {processes}"));
        }
    }
    let open_files = limits.open_files?;
    by_own_words(&OPEN_FILES_WORDS)
        .then(|| format!("out of open files by its own words, with a limit of {open_files}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: ExitStatus = ExitStatus::Signal { number: 9, core_dumped: false };

    fn limits() -> ResourceLimits {
        ResourceLimits {
            memory: Some(64 << 20),
            cpu_time: Some(Duration::from_secs(60)),
            open_files: Some(64),
            processes: Some(10),
            ..ResourceLimits::default()
        }
    }

    fn cause(status: ExitStatus, facts: ExitFacts, said: &str) -> Option<ExitCause> {
        exit_cause(status, &limits(), &facts, &[said.to_owned()])
    }

    fn counted(counts: CgroupCounts) -> ExitFacts {
        ExitFacts { cgroup: Some(counts), ..ExitFacts::default() }
    }

    #[test]
    fn a_kill_for_memory_is_named_where_it_was_the_end() {
        let killed = counted(CgroupCounts {
            holds_memory: true,
            memory_kills: 1,
            ..CgroupCounts::default()
        });
        let limit = Some(ExitCause::Limit("memory limit 64MiB".into()));
        assert_eq!(cause(KILLED, killed, ""), limit);
        assert_eq!(cause(ExitStatus::Code(137), killed, ""), limit, "told by a shell above it");
        let near = "after the kernel killed 1 of its processes at its memory limit 64MiB";
        let near = Some(ExitCause::NearLimit(near.into()));
        assert_eq!(cause(ExitStatus::Code(1), killed, ""), near, "its worker was, at some time");
        let crash = ExitStatus::Signal { number: 11, core_dumped: false };
        assert_eq!(cause(crash, killed, ""), near);
        assert_eq!(cause(ExitStatus::Code(0), killed, ""), None, "it did without");
        let unlimited = ResourceLimits::default();
        assert_eq!(exit_cause(KILLED, &unlimited, &killed, &[]), None, "not by a limit of ours");
    }

    #[test]
    fn a_kill_is_the_cpu_limit_only_where_the_time_was_used() {
        let used =
            |millis| ExitFacts { cpu_time: Duration::from_millis(millis), ..ExitFacts::default() };
        let limit = Some(ExitCause::Limit("cpu time limit 1m".into()));
        let signal = |number| ExitStatus::Signal { number, core_dumped: false };
        assert_eq!(cause(KILLED, used(60_000), ""), limit, "it went on and was killed");
        assert_eq!(cause(signal(24), used(59_000), ""), limit, "the kernel counts in its own way");
        assert_eq!(cause(KILLED, used(59_000), ""), None, "somebody else killed it");
        assert_eq!(cause(signal(15), used(60_010), ""), None);
    }

    #[test]
    fn what_cannot_be_known_is_said_as_such() {
        let near = |text: &str| Some(ExitCause::NearLimit(text.to_owned()));
        let failed = ExitStatus::Code(1);
        let none = ExitFacts::default();
        let large = ExitFacts { peak_address_space: 63 << 20, ..none };
        assert_eq!(cause(failed, large, ""), near("near its memory limit 64MiB (address space)"));
        assert_eq!(
            cause(failed, none, "x: Cannot allocate memory"),
            near("out of memory by its own words, with a memory limit 64MiB (address space)")
        );
        assert_eq!(
            cause(failed, none, "OSError: [Errno 24] Too many open files: 'x'"),
            near("out of open files by its own words, with a limit of 64")
        );
        assert_eq!(
            cause(failed, none, "sh: 1: Cannot fork"),
            near("out of processes by its own words, with a limit of 10")
        );
        let refused = counted(CgroupCounts { refused_processes: 3, ..CgroupCounts::default() });
        assert_eq!(cause(failed, refused, ""), near("its limit of 10 processes was reached"));
        assert_eq!(cause(failed, none, "no such model"), None);
        let crashed = ExitStatus::Signal { number: 11, core_dumped: false };
        let limited = near("with a memory limit 64MiB (address space)");
        assert_eq!(cause(crashed, none, "loading"), limited, "it may have had none to load into");
        let unlimited = ResourceLimits::default();
        assert_eq!(exit_cause(failed, &unlimited, &large, &["out of memory".into()]), None);
        assert_eq!(exit_cause(crashed, &unlimited, &none, &[]), None);
    }

    #[test]
    fn a_program_that_never_began_is_told_by_the_shims_own_line() {
        let through = ExitFacts { through_shim: true, ..ExitFacts::default() };
        let said = "symphony exec-shim: cannot execute x: Permission denied";
        let why = Some(ExitCause::NotExecuted("cannot execute x: Permission denied".into()));
        assert_eq!(cause(ExitStatus::Code(126), through, said), why);
        let now = Some(ExitCause::NotExecutedNow("cannot execute x: Permission denied".into()));
        assert_eq!(cause(ExitStatus::Code(75), through, said), now);
        assert_eq!(cause(ExitStatus::Code(3), through, said), None);
        assert_eq!(cause(ExitStatus::Code(126), ExitFacts::default(), said), None);
        assert_eq!(cause(ExitStatus::Code(127), through, "sh: 1: x: not found"), None);
    }
}
