//! What a service that is gone has left behind, by its state files: processes, sockets, and those files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::children::Who;
use super::procfs;
use crate::state;
use crate::state::files::{FileIdentity, ProcessFile};
use crate::state::folder::{Contents, StateFolder};

/// A process that is on record, with what proves that it is the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Pid and start.
    pub who: Who,
    /// The file that its output goes to.
    pub log_file: FileIdentity,
}

/// See the module.
#[derive(Debug)]
pub struct Leavings {
    /// By what its processes are known: [`state::files::SERVICE_MARK`]. There is one, unless files are damaged.
    pub marks: BTreeSet<String>,
    /// Processes of the present boot.
    pub recorded: Vec<Recorded>,
    sockets: Vec<PathBuf>,
    folder: StateFolder,
}

impl Leavings {
    /// Reads what is on record in a runtime folder; `None` where nothing is. What cannot be read is passed over.
    pub fn read(runtime_dir: &Path) -> Option<Self> {
        let folder = StateFolder::find(&runtime_dir.join(state::FOLDER)).ok().flatten()?;
        let Contents { service, instances, .. } = folder.read().unwrap_or_default();
        let boot_id = procfs::boot_id()?;
        let processes: Vec<ProcessFile> =
            instances.into_iter().filter_map(|instance| instance.process).collect();
        let sockets = processes
            .iter()
            .flat_map(|process| process.socket_path.iter().chain(&process.notify_path).cloned());
        let sockets = sockets.collect();
        let recorded = processes.iter().filter(|process| process.boot_id == boot_id);
        let recorded = recorded.map(|process| Recorded {
            who: (process.pid, process.start_ticks),
            log_file: process.log_file,
        });
        let service = service.filter(|service| service.boot_id == boot_id);
        let marks = processes.iter().filter(|process| process.boot_id == boot_id);
        let marks = marks.map(|process| process.service.clone());
        let marks = marks.chain(service.map(|service| service.id)).collect();
        Some(Self { marks, recorded: recorded.collect(), sockets, folder })
    }

    /// Removes the files, when no process is left that they are about.
    pub fn clear(&self) {
        for socket in &self.sockets {
            remove_abandoned(socket);
        }
        // what cannot be removed is found by the next start
        let _ = self.folder.clear(&[]);
    }
}

/// Removes a socket file that nobody answers on. Anything else, and in doubt, stays.
fn remove_abandoned(path: &Path) {
    // of the link itself: what it leads to belongs to somebody else
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && is_abandoned(path) {
        let _ = fs::remove_file(path);
    }
}

fn is_abandoned(path: &Path) -> bool {
    let Ok(address) = SocketAddrUnix::new(path) else { return false };
    for kind in [SocketType::STREAM, SocketType::DGRAM] {
        // never blocking: a listener with a full queue would hold us
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let Ok(socket) = socket_with(AddressFamily::UNIX, kind, flags, None) else { return false };
        match connect(&socket, &address) {
            Err(Errno::PROTOTYPE) => {}
            outcome => return outcome == Err(Errno::CONNREFUSED),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    #[test]
    fn only_sockets_that_nobody_listens_on_are_removed() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        drop(UnixListener::bind(at("dead")).expect("bound"));
        drop(UnixDatagram::bind(at("dead notify")).expect("bound"));
        let _alive = UnixListener::bind(at("alive")).expect("bound");
        fs::write(at("diary"), "mine").expect("written");
        std::os::unix::fs::symlink(at("dead link"), at("link")).expect("linked");
        for name in ["dead", "dead notify", "alive", "diary", "link", "nothing"] {
            remove_abandoned(&at(name));
        }
        let mut left: Vec<_> = fs::read_dir(folder.path()).expect("listed").flatten().collect();
        left.sort_by_key(|entry| entry.file_name());
        let left: Vec<_> = left.iter().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["alive", "diary", "link"]);
    }

    #[test]
    fn a_folder_without_state_has_nothing_and_damage_is_passed_over() {
        let folder = tempfile::tempdir().expect("folder");
        assert!(Leavings::read(folder.path()).is_none());
        let state = StateFolder::make(&folder.path().join(state::FOLDER)).expect("made");
        fs::write(state.path().join("service.json"), "{").expect("written");
        fs::write(state.path().join("a.json"), "nonsense").expect("written");
        let leavings = Leavings::read(folder.path()).expect("something");
        assert_eq!((leavings.marks.len(), leavings.recorded.len()), (0, 0));
        leavings.clear();
        assert!(!state.path().exists());
    }
}
