//! What shows that a process is ours: its environment, its parent, the log that it writes into.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

use super::procfs;
use crate::clock::Clock;
use crate::ids::{Generation, InstanceId, ProcessKey};
use crate::launcher::adoption::{Found, Marked};
use crate::limits;
use crate::state::files::{
    ENDPOINT_MARK, FileIdentity, GENERATION_MARK, INSTANCE_MARK, ProcessFile, SERVICE_MARK,
};

/// Marks a process that is about to be started, whatever else is configured for its environment.
pub(super) fn set(process: &mut Command, service: &str, key: &ProcessKey) {
    process
        .env(SERVICE_MARK, service)
        .env(INSTANCE_MARK, key.instance.as_str())
        .env(GENERATION_MARK, key.generation.to_string());
}

/// What a process of ours says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks {
    /// Whose it is.
    pub key: ProcessKey,
    /// Where it is reached.
    pub endpoint: Option<String>,
}

impl Marks {
    /// Those of a process, where it carries the mark of `service`. Zombies carry none.
    pub(super) fn of(pid: u32, service: &str) -> Option<Self> {
        Self::read(&environment_of(pid)?, service)
    }

    fn read(environment: &[u8], service: &str) -> Option<Self> {
        let value = |name| value_of(environment, name);
        if value(SERVICE_MARK)? != service {
            return None;
        }
        let instance = InstanceId::recorded(value(INSTANCE_MARK)?).ok()?;
        let generation = Generation(value(GENERATION_MARK)?.parse().ok()?);
        let endpoint = value(ENDPOINT_MARK).map(str::to_owned);
        Some(Self { key: ProcessKey { instance, generation }, endpoint })
    }
}

fn value_of<'a>(environment: &'a [u8], name: &str) -> Option<&'a str> {
    let mut entries = environment.split(|byte| *byte == 0);
    entries.find_map(|entry| std::str::from_utf8(entry).ok()?.strip_prefix(name)?.strip_prefix('='))
}

/// The service whose processes live and whose id begins with the sign of a folder; the one of the youngest process, where
/// there are several.
///
/// # Errors
/// When `/proc` cannot be read.
pub(super) fn service_with(sign: &str) -> std::io::Result<Option<String>> {
    let of_service = procfs::all()?.into_iter().filter_map(|pid| {
        let environment = environment_of(pid)?;
        let service = value_of(&environment, SERVICE_MARK)?;
        let stat = procfs::stat(pid).ok().filter(|stat| !stat.has_ended())?;
        service.strip_prefix(sign)?.starts_with('-').then(|| (stat.start_ticks, service.to_owned()))
    });
    Ok(of_service.max().map(|(_, service)| service))
}

/// Every live process that carries the mark of `service`.
///
/// # Errors
/// When `/proc` cannot be read.
pub(super) fn find(service: &str) -> std::io::Result<Vec<Marked>> {
    let mut marked = Vec::new();
    let mut unclear = look(procfs::all()?, service, &mut marked);
    // one that just becomes another program shows no environment for a moment, and some never have one
    for _ in 0..limits::MARKS_LOOKS {
        if unclear.is_empty() {
            break;
        }
        std::thread::park_timeout(limits::MARKS_LOOK_EVERY);
        unclear = look(unclear, service, &mut marked);
    }
    Ok(marked)
}

/// Adds those of `pids` that are marked; answers which show no environment at all.
fn look(pids: Vec<u32>, service: &str, marked: &mut Vec<Marked>) -> Vec<u32> {
    let mut unclear = Vec::new();
    for pid in pids {
        let Some(environment) = environment_of(pid) else { continue };
        let marks = Marks::read(&environment, service);
        if marks.is_none() && !environment.is_empty() {
            continue;
        }
        // asked afterwards, and its marks stay as they are: no other process is described
        let Some(stat) = procfs::stat(pid).ok().filter(|stat| !stat.has_ended()) else { continue };
        match marks {
            Some(Marks { key, endpoint }) => marked.push(Marked {
                pid,
                start_ticks: stat.start_ticks,
                group: stat.group,
                endpoint,
                key,
            }),
            None if stat.is_of_kernel => {}
            None => unclear.push(pid),
        }
    }
    unclear
}

/// `None` where it may not be read, or there is no such process.
fn environment_of(pid: u32) -> Option<Vec<u8>> {
    let mut environment = Vec::new();
    let file = File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(limits::ENVIRONMENT_BYTES).read_to_end(&mut environment).ok()?;
    Some(environment)
}

/// What the pid of a process on record leads to; `None` when there is nothing. `marked`: pids and starts of those that
/// [`find`] found; `parents`: whose children are ours.
pub(super) fn look_at(
    process: &ProcessFile,
    marked: &BTreeSet<(u32, u64)>,
    parents: &[u32],
) -> Option<Found> {
    let stat = procfs::stat(process.pid).ok()?;
    Some(Found {
        start_ticks: stat.start_ticks,
        ended: stat.has_ended(),
        is_child: parents.contains(&stat.parent) || stat.has_ended() && is_kept(&stat, parents),
        is_marked: marked.contains(&(process.pid, stat.start_ticks)),
        writes_its_log: writes_into(process.pid, process.log_file),
    })
}

/// Whether a service that let go has not reaped its child: it lives on beside us for its clients.
fn is_kept(ended: &procfs::ProcessStat, parents: &[u32]) -> bool {
    procfs::stat(ended.parent).is_ok_and(|relay| parents.contains(&relay.parent))
}

/// Kills the process that has this pid and this start, or its whole group; no other one. Waits for its end as
/// [`wait_for_ends`] does.
pub(super) fn end(pid: u32, start_ticks: u64, group: bool) {
    wait_for_ends(&Vec::from_iter(kill(pid, start_ticks, group)));
}

/// Kills the process that has this pid and this start, or its whole group; no other one. `None` where there is none.
pub(super) fn kill(pid: u32, start_ticks: u64, group: bool) -> Option<OwnedFd> {
    let id = Pid::from_raw(pid.cast_signed())?;
    let pidfd = pidfd_open(id, PidfdFlags::empty()).ok()?;
    // held, so that it stays the same process from here on
    if !procfs::stat(pid).is_ok_and(|stat| stat.start_ticks == start_ticks) {
        return None;
    }
    if group {
        // ended meanwhile, or no leader any more: then it is ended alone
        let _ = kill_process_group(id, Signal::KILL);
    }
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    Some(pidfd)
}

/// Waits for the ends of killed processes, so that nobody starts another one of their instances beside them; what the kernel
/// holds is not waited for any longer, and all of them together take no longer than one.
pub(super) fn wait_for_ends(killed: &[OwnedFd]) {
    let clock = Clock::start();
    let mut left: Vec<_> = killed.iter().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)).collect();
    while !left.is_empty() {
        let limit = limits::LEFTOVER_END.saturating_sub(clock.now().since_origin());
        // an interrupting signal ends the wait early, and a start may come a moment too soon
        match poll(&mut left, Timespec::try_from(limit).ok().as_ref()) {
            Ok(1..) => left.retain(|process| process.revents().is_empty()),
            Ok(0) | Err(_) => return,
        }
    }
}

/// Whether the output of a process goes to this file.
fn writes_into(pid: u32, file: FileIdentity) -> bool {
    [1, 2]
        .into_iter()
        .any(|output| identity_of(Path::new(&format!("/proc/{pid}/fd/{output}"))) == Some(file))
}

/// Which file a name leads to.
fn identity_of(path: &Path) -> Option<FileIdentity> {
    let facts = std::fs::metadata(path).ok()?;
    Some(FileIdentity { device: facts.dev(), inode: facts.ino() })
}

/// The file that the output of a process goes to.
pub(super) fn output_of(pid: u32) -> Option<FileIdentity> {
    identity_of(Path::new(&format!("/proc/{pid}/fd/1")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::testing::key;

    fn environment(entries: &[&str]) -> Vec<u8> {
        entries.iter().flat_map(|entry| [entry.as_bytes(), b"\0"].concat()).collect()
    }

    #[test]
    fn marks_are_read_whatever_stands_beside_them() {
        let id = key("a/b", 1).instance;
        let instance = format!("{INSTANCE_MARK}={id}");
        let all = [
            "NO_EQUALS",
            "=",
            "SYMPHONY_SERVICE=s",
            "SYMPHONY_SERVICE_2=t",
            &instance,
            "SYMPHONY_GENERATION=7",
            "SYMPHONY_ENDPOINT=ipc:///x=y",
        ];
        let mut bytes = environment(&all);
        bytes.extend(b"\xff\xfe=\xff\0");
        let marks = Marks::read(&bytes, "s").unwrap();
        assert_eq!(marks.key, ProcessKey { instance: id, generation: Generation(7) });
        assert_eq!(marks.endpoint.as_deref(), Some("ipc:///x=y"));
        for missing in [2, 4, 5] {
            let mut some = all.to_vec();
            some.remove(missing);
            assert_eq!(Marks::read(&environment(&some), "s"), None, "without {}", all[missing]);
        }
        assert_eq!(Marks::read(&bytes, "t"), None, "of another service");
    }

    #[test]
    fn all_that_are_killed_are_waited_for_and_no_other_process_is() {
        let start = || Command::new("sleep").arg("600").spawn().unwrap();
        let mut processes: Vec<_> = (0..3).map(|_| start()).collect();
        let mut spared = start();
        let ticks = |pid| procfs::stat(pid).unwrap().start_ticks;
        assert!(kill(spared.id(), ticks(spared.id()) + 1, false).is_none());
        let killed: Vec<_> =
            processes.iter().filter_map(|one| kill(one.id(), ticks(one.id()), false)).collect();
        wait_for_ends(&killed);
        assert_eq!(killed.len(), 3);
        for process in &mut processes {
            assert!(process.try_wait().unwrap().is_some(), "it was not waited for");
        }
        assert!(spared.try_wait().unwrap().is_none(), "another start of that pid was killed");
        let begun = Clock::start();
        let living = pidfd_open(Pid::from_child(&spared), PidfdFlags::empty()).unwrap();
        let again = living.try_clone().unwrap();
        wait_for_ends(&[living, again]);
        let waited = begun.now().since_origin();
        assert!((limits::LEFTOVER_END..2 * limits::LEFTOVER_END).contains(&waited), "{waited:?}");
        spared.kill().unwrap();
        spared.wait().unwrap();
    }

    #[test]
    fn nonsense_in_marks_is_no_mark() {
        for (instance, generation) in [("../x", "1"), ("a", "-1"), ("a", ""), ("", "1")] {
            let entries = [
                "SYMPHONY_SERVICE=s".to_owned(),
                format!("{INSTANCE_MARK}={instance}"),
                format!("{GENERATION_MARK}={generation}"),
            ];
            let entries: Vec<_> = entries.iter().map(String::as_str).collect();
            assert_eq!(Marks::read(&environment(&entries), "s"), None, "{instance} {generation}");
        }
    }
}
