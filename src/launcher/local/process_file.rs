//! A process on record: what must be known of it to go on where another core was.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use serde::{Deserialize, Serialize};

use super::cgroup::cell::Cell;
use super::child::Child;
use super::follower::Follow;
use super::{log_file, log_read, procfs, socket_file};
use crate::ids::ProcessKey;
use crate::launcher::{ProcessIdentity, ReadyEnd};
use crate::settings::policy::{LogFilePolicy, ResourceLimits};
use crate::state::files::ProcessFile;

/// What a file holds beyond what a stranger needs to end the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Details {
    /// The model's name in log lines.
    pub label: String,
    /// How its log is rotated.
    pub log: LogFilePolicy,
    /// Length of the log when it began.
    pub log_start: u64,
    /// What rotation took from the log's front since.
    pub log_removed: u64,
    /// What it was limited to.
    pub limits: ResourceLimits,
    /// Whether the exec shim was to become it.
    pub through_shim: bool,
    /// The cgroup it was started in.
    pub cell: Option<Cell>,
}

/// What is written down of a process; `None` where it has no form in JSON.
pub(super) fn of_child(child: &Child, service: &str) -> Option<ProcessFile> {
    let details = Details {
        label: child.label.clone(),
        log: child.log_policy.clone(),
        log_start: child.log_start,
        log_removed: child.log_removed.load(Ordering::Relaxed),
        limits: child.limits.clone(),
        through_shim: child.through_shim,
        cell: child.cell.clone(),
    };
    Some(ProcessFile {
        service: service.to_owned(),
        generation: child.key.generation,
        pid: child.identity.pid,
        start_ticks: child.identity.start_ticks,
        boot_id: child.identity.boot_id.clone(),
        started: child.started,
        log_path: child.log_path.clone(),
        log_file: child.log_file,
        socket_path: child.socket_path.clone(),
        notify_path: child.notify_path.clone(),
        details: serde_json::value::to_raw_value(&details).ok()?,
    })
}

/// What a file holds beyond what a stranger needs.
pub(super) fn details(file: &ProcessFile) -> Option<Details> {
    serde_json::from_str(file.details.get()).ok()
}

/// The last lines of a process that ended while nobody looked.
pub(super) fn last_output(file: &ProcessFile) -> Vec<String> {
    let Some(details) = details(file) else { return Vec::new() };
    if log_file::open_same(&file.log_path, file.log_file).is_err() {
        return Vec::new();
    }
    log_read::last_output(&file.log_path, details.log_start, details.log_removed)
}

/// Takes hold of a process that was found to be ours; `None` when it is gone by now.
///
/// # Errors
/// When no descriptor is left: it must neither be forgotten nor doubled then.
pub(super) fn adopt(
    key: ProcessKey,
    file: &ProcessFile,
    details: Details,
) -> io::Result<Option<(Child, Option<Follow>)>> {
    let Some(pid) = Pid::from_raw(file.pid.cast_signed()) else { return Ok(None) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    // a process with this start began long ago: it had this pid already when the descriptor was opened
    if !procfs::stat(file.pid).is_ok_and(|stat| stat.start_ticks == file.start_ticks) {
        return Ok(None);
    }
    let identity = ProcessIdentity {
        pid: file.pid,
        start_ticks: file.start_ticks,
        boot_id: file.boot_id.clone(),
    };
    let log_removed = Arc::new(details.log_removed.into());
    let follow = follow(&key, file, &details, Arc::clone(&log_removed));
    let child = Child {
        is_own: is_own(&pidfd),
        key: key.clone(),
        identity,
        pid,
        pidfd,
        collected_until: None,
        started: file.started,
        label: details.label,
        log_policy: details.log,
        log_path: file.log_path.clone(),
        log_file: file.log_file,
        log_start: details.log_start,
        log_removed,
        socket_path: file.socket_path.clone(),
        cell: details.cell.filter(|cell| cell.is_of(&key, file.pid)),
        limits: details.limits,
        through_shim: details.through_shim,
        peak_address_space: Arc::default(),
        notify_path: file.notify_path.clone(),
    };
    Ok(Some((child, follow)))
}

/// Whether its status is ours to take: a core that became another program keeps its children.
fn is_own(pidfd: &OwnedFd) -> bool {
    use std::os::fd::AsFd;
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::PidFd(pidfd.as_fd()), how).is_ok()
}

/// Its log is followed from its present end. A file that is not the one that it was started with is left alone: it would be
/// cut when it is full.
fn follow(
    key: &ProcessKey,
    file: &ProcessFile,
    details: &Details,
    removed: Arc<std::sync::atomic::AtomicU64>,
) -> Option<Follow> {
    let opened = log_file::open_same(&file.log_path, file.log_file)
        .and_then(|log| Ok((log.metadata()?.len(), log)));
    match opened {
        Ok((start, log)) => Some(Follow {
            key: key.clone(),
            file: log,
            path: file.log_path.clone(),
            label: details.label.clone(),
            policy: details.log.clone(),
            start,
            removed,
        }),
        Err(error) => {
            tracing::warn!(
                target: "symphony-mgmt", instance = %key.instance, generation = %key.generation,
                path = %file.log_path.display(), %error, "the log of an adopted process is not followed"
            );
            None
        }
    }
}

/// By which a heart knows the readiness channel of a start.
pub(super) fn channel_name(key: &ProcessKey) -> String {
    format!("ready/{}/{}", key.instance, key.generation)
}

/// The readiness channel of an adopted process: as a heart kept it, or a notify socket bound anew on its path. A pipe that
/// nobody kept is lost.
pub(super) fn channel(held: Option<OwnedFd>, notify_path: Option<&Path>) -> Option<ReadyEnd> {
    match (held, notify_path) {
        (Some(held), None) => Some(ReadyEnd::Pipe(held)),
        (Some(held), Some(_)) => {
            let socket = UnixDatagram::from(held);
            socket.set_nonblocking(true).is_ok().then_some(ReadyEnd::Notify(socket))
        }
        (None, Some(path)) => socket_file::bind_notify(path).ok().map(ReadyEnd::Notify),
        (None, None) => None,
    }
}
