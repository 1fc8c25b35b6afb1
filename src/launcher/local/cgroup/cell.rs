//! The cgroup of one start of an instance: a folder in each hierarchy that is used.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::mounts::Version;
use crate::ids::ProcessKey;
use crate::launcher::exit_cause::CgroupCounts;
use crate::settings::policy::ResourceLimits;

/// What the folders of launchers begin with. Nothing else is ever removed.
pub(super) const RUN_MARK: &str = "symphony-run-";

/// The folder of a start. The id is made of letters, digits and dashes, whatever the model is called.
pub(super) fn name_of(key: &ProcessKey) -> String {
    format!("{}-{}", key.instance, key.generation)
}

/// Processes are moved by writing their pid there.
pub(crate) const PROCESSES: &str = "cgroup.procs";

/// What one folder of a cell is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// The interface there.
    pub version: Version,
    /// It limits memory.
    pub memory: bool,
    /// It limits processes.
    pub processes: bool,
}

/// A cgroup that a process is started in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Cell {
    folders: Vec<Folder>,
}

impl Cell {
    /// Makes the folders and writes the limits that they can hold.
    ///
    /// # Errors
    /// What could not be made or written; nothing is left behind then.
    pub(super) fn make(folders: Vec<Folder>, limits: &ResourceLimits) -> Result<Self, String> {
        let cell = Self { folders };
        for folder in &cell.folders {
            if let Err(error) = prepare(folder, limits) {
                cell.remove();
                return Err(error);
            }
        }
        Ok(cell)
    }

    /// Whether this process is in it, and it is one that a launcher made for this start: then it is ours, whoever wrote that
    /// down.
    pub(crate) fn is_of(&self, key: &ProcessKey, pid: u32) -> bool {
        let name = name_of(key);
        let is_ours = |folder: &Folder| {
            let made = folder.path.parent().and_then(Path::file_name).and_then(|run| run.to_str());
            let member = Pid::from_raw(pid.cast_signed());
            folder.path.file_name().is_some_and(|last| last == name.as_str())
                && made.is_some_and(|run| run.starts_with(RUN_MARK))
                && member.is_some_and(|member| pids(&folder.path).contains(&member))
        };
        !self.folders.is_empty() && self.folders.iter().all(is_ours)
    }

    /// What a process must enter.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(|folder| folder.path.as_path())
    }

    /// Whether the limit on memory is held here.
    pub(crate) fn holds_memory(&self) -> bool {
        self.folders.iter().any(|folder| folder.memory)
    }

    /// Whether the limit on processes is held here.
    pub(crate) fn holds_processes(&self) -> bool {
        self.folders.iter().any(|folder| folder.processes)
    }

    /// What happened in it so far.
    pub(crate) fn counts(&self) -> CgroupCounts {
        let sum = |count: fn(&Folder) -> u64| self.folders.iter().map(count).sum();
        CgroupCounts {
            holds_memory: self.holds_memory(),
            memory_kills: sum(memory_kills),
            refused_processes: sum(refused_processes),
        }
    }

    /// Kills whoever is left in it, also those that left the process group.
    pub(crate) fn kill_rest(&self) {
        for folder in &self.folders {
            // since Linux 5.14, and of version 2 alone: all at once, also those that are just being forked
            if std::fs::write(folder.path.join("cgroup.kill"), "1").is_err() {
                kill_one_by_one(&folder.path);
            }
        }
    }

    /// Removes it; answers whether it is gone. One with processes in it stays.
    pub(crate) fn remove(&self) -> bool {
        let mut gone = true;
        for folder in &self.folders {
            gone &= is_gone(std::fs::remove_dir(&folder.path));
        }
        gone
    }
}

fn is_gone(removed: io::Result<()>) -> bool {
    match removed {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn prepare(folder: &Folder, limits: &ResourceLimits) -> Result<(), String> {
    let path = &folder.path;
    std::fs::create_dir(path)
        .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    let must = |file: &str, value: u64| {
        std::fs::write(path.join(file), value.to_string())
            .map_err(|error| format!("cannot write {}: {error}", path.join(file).display()))
    };
    // not every kernel counts swap, and older ones kill one process instead of all
    let may = |file: &str, value: u64| {
        let _ = std::fs::write(path.join(file), value.to_string());
    };
    if let Some(memory) = limits.memory.filter(|_| folder.memory) {
        match folder.version {
            Version::V2 => {
                must("memory.max", memory)?;
                may("memory.swap.max", 0);
                may("memory.oom.group", 1);
            }
            Version::V1 => {
                must("memory.limit_in_bytes", memory)?;
                // memory and swap together
                may("memory.memsw.limit_in_bytes", memory);
            }
        }
    }
    if let Some(processes) = limits.processes.filter(|_| folder.processes) {
        must("pids.max", processes)?;
    }
    Ok(())
}

fn memory_kills(folder: &Folder) -> u64 {
    let file = match folder.version {
        Version::V2 => "memory.events",
        Version::V1 => "memory.oom_control",
    };
    if folder.memory { count(&folder.path.join(file), "oom_kill") } else { 0 }
}

fn refused_processes(folder: &Folder) -> u64 {
    if folder.processes { count(&folder.path.join("pids.events"), "max") } else { 0 }
}

/// The number behind a name; 0 where there is no such file or line.
fn count(file: &Path, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let found = text.lines().find_map(|line| match line.split_once(' ') {
        Some((found, number)) if found == name => number.trim().parse().ok(),
        _ => None,
    });
    found.unwrap_or(0)
}

/// A pid may become another process's at any moment: it is held first, and looked up again before the signal.
fn kill_one_by_one(folder: &Path) {
    let held: Vec<_> = pids(folder)
        .into_iter()
        .filter_map(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)))
        .collect();
    let still_there = pids(folder);
    for (pid, pidfd) in held {
        if still_there.contains(&pid) {
            // one that ended meanwhile is no error
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }
}

/// Processes of another pid namespace stand there as 0. Our own is never meant.
fn pids(folder: &Path) -> Vec<Pid> {
    let text = std::fs::read_to_string(folder.join(PROCESSES)).unwrap_or_default();
    let own = rustix::process::getpid();
    text.lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
        .filter(|pid| *pid != own)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> ResourceLimits {
        ResourceLimits { memory: Some(64 << 20), processes: Some(10), ..ResourceLimits::default() }
    }

    /// A plain folder stands in for the kernel's: what is written stays to be read.
    fn cell(place: &Path, version: Version) -> Cell {
        let folder = Folder { path: place.join("cell"), version, memory: true, processes: true };
        Cell::make(vec![folder], &limits()).unwrap()
    }

    fn read(place: &Path, file: &str) -> String {
        std::fs::read_to_string(place.join("cell").join(file)).unwrap_or_default()
    }

    #[test]
    fn version_2_limits_memory_without_swap_and_kills_all_at_once() {
        let place = tempfile::tempdir().unwrap();
        let cell = cell(place.path(), Version::V2);
        assert!(cell.holds_memory() && cell.holds_processes());
        assert_eq!(read(place.path(), "memory.max"), "67108864");
        assert_eq!(read(place.path(), "memory.swap.max"), "0");
        assert_eq!(read(place.path(), "memory.oom.group"), "1");
        assert_eq!(read(place.path(), "pids.max"), "10");
        let events = "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n";
        std::fs::write(place.path().join("cell/memory.events"), events).unwrap();
        std::fs::write(place.path().join("cell/pids.events"), "max 3\n").unwrap();
        let counts = cell.counts();
        assert_eq!((counts.memory_kills, counts.refused_processes), (2, 3));
        cell.kill_rest();
        assert_eq!(read(place.path(), "cgroup.kill"), "1");
    }

    #[test]
    fn version_1_limits_memory_and_swap_together() {
        let place = tempfile::tempdir().unwrap();
        let cell = cell(place.path(), Version::V1);
        assert_eq!(read(place.path(), "memory.limit_in_bytes"), "67108864");
        assert_eq!(read(place.path(), "memory.memsw.limit_in_bytes"), "67108864");
        let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n";
        std::fs::write(place.path().join("cell/memory.oom_control"), control).unwrap();
        assert_eq!(cell.counts().memory_kills, 1);
    }

    #[test]
    fn a_cell_that_cannot_be_made_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let folder =
            |path: PathBuf| Folder { path, version: Version::V1, memory: false, processes: false };
        let folders = vec![folder(place.path().join("a")), folder(place.path().join("no/such"))];
        let error = Cell::make(folders, &limits()).unwrap_err();
        assert!(error.contains("no/such: No such file"), "{error}");
        assert!(!place.path().join("a").exists());
    }

    #[test]
    fn a_cell_on_record_is_ours_only_with_our_process_in_it_and_our_name_on_it() {
        let place = tempfile::tempdir().unwrap();
        let key = crate::launcher::testing::key("a", 3);
        let of = |run: &str, name: &str, members: &str| {
            let path = place.path().join(run).join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join(PROCESSES), members).unwrap();
            let folder = Folder { path, version: Version::V2, memory: true, processes: true };
            Cell { folders: vec![folder] }.is_of(&key, 42)
        };
        assert!(of("symphony-run-1-2-3-0", &name_of(&key), "7\n42\n"));
        assert!(!of("symphony-run-1-2-3-1", &name_of(&key), "7\n"));
        assert!(!of("system.slice", &name_of(&key), "42\n"));
        assert!(!of("symphony-run-1-2-3-0", "other-1", "42\n"));
        assert!(!Cell { folders: Vec::new() }.is_of(&key, 42));
    }

    #[test]
    fn a_cell_that_is_gone_counts_nothing_and_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder {
            path: place.path().join("cell"),
            version: Version::V1,
            memory: false,
            processes: false,
        };
        let cell = Cell::make(vec![folder], &ResourceLimits::default()).unwrap();
        assert!(cell.remove());
        assert!(cell.remove(), "it is gone");
        assert_eq!(cell.counts(), CgroupCounts::default());
        cell.kill_rest();
    }
}
