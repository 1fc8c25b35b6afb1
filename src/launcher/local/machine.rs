//! What the launcher needs of the machine and of its own process, set right once.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::signal::SigSet;
use rustix::process::{Pid, Resource, Rlimit};

use crate::heart::open_files;
use crate::launcher::OWN_PROGRAM;

/// Facts that do not change while the launcher lives.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Which service its processes belong to; another one for each launcher that writes nothing down.
    pub service_id: String,
    /// The limit of descriptors that this process was started with; backends get it back.
    inherited_open_files: Rlimit,
}

impl Machine {
    /// Reads the facts, lifts the limit of descriptors, and takes care that exits can be noticed.
    ///
    /// # Errors
    /// When `/proc` is not there, or SIGCHLD is ignored and stays so.
    pub(super) fn prepare() -> io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        notice_exits()?;
        let service_id = uuid::Uuid::new_v4().to_string();
        Ok(Self { boot_id, service_id, inherited_open_files: lift_open_files() })
    }

    /// Gives a fresh child the limit of descriptors back that the service was started with.
    ///
    /// Programs that use `select` or close all descriptors up to the limit do badly with a lifted one. It is set from
    /// outside right after the spawn, since code in the child before its exec would force a slow fork.
    pub(super) fn restore_open_files(&self, child: Pid) {
        if self.inherited_open_files.current == self.inherited_open_files.maximum {
            return;
        }
        // a child that is gone already needs no limit
        let _ = rustix::process::prlimit(Some(child), Resource::Nofile, self.inherited_open_files);
    }
}

/// A thousand backends need more than three thousand descriptors; 1,024 is what shells give.
fn lift_open_files() -> Rlimit {
    let inherited = open_files::inherited();
    if let Err(error) = open_files::lift() {
        tracing::warn!(
            target: "symphony-mgmt", %error, soft_limit = ?inherited.current,
            "cannot lift the limit of open files: fewer backends will fit"
        );
    }
    inherited
}

/// With SIGCHLD ignored (an inherited setting), the kernel throws exit statuses away and reuses pids at once.
/// A handler of any kind ends that.
fn notice_exits() -> io::Result<()> {
    if sigchld_is_ignored()? {
        signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::default())?;
        if sigchld_is_ignored()? {
            return Err(io::Error::other("SIGCHLD is ignored: exits of backends would go unseen"));
        }
    }
    Ok(())
}

fn sigchld_is_ignored() -> io::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    Ok(ignored_signals(&status) & (1 << (signal_hook::consts::SIGCHLD - 1)) != 0)
}

fn ignored_signals(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Unblocks all signals for the calling thread, and so for every process it starts: children inherit the mask of the
/// thread that spawned them, and one that blocks TERM could only be killed.
pub(super) fn clear_signal_mask() {
    if let Err(error) = SigSet::empty().thread_set_mask() {
        tracing::warn!(target: "symphony-mgmt", %error, "cannot clear the signal mask: backends may not see TERM");
    }
}

/// The running program, for the exec shim and the embedded backend.
///
/// After an upgrade its file may be gone; the kernel's own link still leads to it.
pub(super) fn own_program() -> PathBuf {
    std::env::current_exe()
        .ok()
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from(OWN_PROGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status_text() {
        let status = "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000010000\n";
        assert_eq!(ignored_signals(status), 1 << 16);
        assert_eq!(ignored_signals("Name:\tx\n"), 0);
    }

    #[test]
    fn open_files_are_lifted_to_the_hard_limit() {
        let machine = Machine::prepare().unwrap();
        let now = rustix::process::getrlimit(Resource::Nofile);
        assert_eq!(now.current, machine.inherited_open_files.maximum);
    }
}
