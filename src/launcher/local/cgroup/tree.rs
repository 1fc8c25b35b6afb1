//! One hierarchy in which this launcher may make cgroups: a folder of its own, with one for each instance below.
//!
//! ```text
//! symphony.service               what was given to us
//! └─ symphony-run-NS-PID-START-N this launcher
//!    ├─ service                  version 2: the service itself, since a cgroup with processes may have none below
//!    └─ INSTANCE-GENERATION      a backend
//! ```

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::procfs;
use super::cell::{Folder, PROCESSES, RUN_MARK};
use super::delegation::Facts;
use super::mounts::{Hierarchy, Version};

/// Where the service itself stands in version 2.
const SERVICE: &str = "service";

/// A hierarchy that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    /// The folder of this launcher.
    run: PathBuf,
    version: Version,
    memory: bool,
    processes: bool,
}

impl Tree {
    /// Makes a place in the cgroup of this process, where that was given to us.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn in_own(hierarchy: &Hierarchy, run_name: &str) -> Result<Self, String> {
        let path = without_own_run(&hierarchy.own_path);
        let folder = hierarchy
            .folder_of(path)
            .ok_or_else(|| format!("{path} lies outside of what is mounted"))?;
        if !hierarchy.writable {
            return Err(format!("{} is mounted read-only", hierarchy.mount_point.display()));
        }
        Facts::of_given(hierarchy, path, &folder)?.judge()?;
        Self::make(hierarchy, &folder, run_name)
    }

    /// Makes a place in a cgroup that was named by who configured the service.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn at(hierarchy: &Hierarchy, path: &str, run_name: &str) -> Result<Self, String> {
        let folder = hierarchy
            .folder_of(path)
            .ok_or_else(|| format!("{path} lies outside of what is mounted"))?;
        if !folder.is_dir() {
            return Err(format!("{} does not exist", folder.display()));
        }
        Self::make(hierarchy, &folder, run_name)
    }

    fn make(hierarchy: &Hierarchy, base: &Path, run_name: &str) -> Result<Self, String> {
        sweep_dead_runs(base);
        let run = base.join(run_name);
        std::fs::create_dir(&run)
            .map_err(|error| format!("cannot make a cgroup in {}: {error}", base.display()))?;
        let tree = Self {
            run,
            version: hierarchy.version,
            memory: hierarchy.memory,
            processes: hierarchy.processes,
        };
        match hierarchy.version {
            Version::V1 => Ok(tree),
            Version::V2 => tree.hand_down(base).inspect_err(|_| {
                // the service's own folder stays where it was entered already: it is empty when the process ends
                sweep(&base.join(run_name));
            }),
        }
    }

    /// Version 2 gives a controller to folders only where their parent hands it down, and that only where no process is
    /// in the parent.
    fn hand_down(mut self, base: &Path) -> Result<Self, String> {
        let offered = std::fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
        let offers = |name: &str| offered.split_ascii_whitespace().any(|known| known == name);
        (self.memory, self.processes) = (offers("memory"), offers("pids"));
        let wanted: Vec<_> = [("+memory", self.memory), ("+pids", self.processes)]
            .into_iter()
            .filter_map(|(name, offered)| offered.then_some(name))
            .collect();
        if wanted.is_empty() {
            return Ok(self);
        }
        self.leave(base)?;
        for folder in [base, &self.run] {
            let control = folder.join("cgroup.subtree_control");
            std::fs::write(&control, wanted.join(" "))
                .map_err(|error| format!("cannot write {}: {error}", control.display()))?;
        }
        Ok(self)
    }

    /// Moves this process out of `base`, where it is there, into a folder of its own.
    fn leave(&self, base: &Path) -> Result<(), String> {
        let members = std::fs::read_to_string(base.join(PROCESSES))
            .map_err(|error| format!("{} cannot be read: {error}", base.display()))?;
        let own = std::process::id().to_string();
        let is_root = !base.join("cgroup.type").exists();
        if is_root || members.is_empty() {
            return Ok(());
        }
        if let Some(other) = members.lines().find(|pid| *pid != own) {
            return Err(format!("process {other} is in {}, too", base.display()));
        }
        let service = self.run.join(SERVICE);
        std::fs::create_dir(&service)
            .and_then(|()| std::fs::write(service.join(PROCESSES), own))
            .map_err(|error| format!("cannot move into {}: {error}", service.display()))
    }

    /// What a cell has here.
    pub(super) fn folder(&self, name: &str) -> Folder {
        Folder {
            path: self.run.join(name),
            version: self.version,
            memory: self.memory,
            processes: self.processes,
        }
    }

    /// Which limits are held here.
    pub(super) fn holds(&self) -> (bool, bool) {
        (self.memory, self.processes)
    }

    /// The interface and the folder, for people.
    pub(super) fn describe(&self) -> String {
        let version = match self.version {
            Version::V1 => "cgroup v1",
            Version::V2 => "cgroup v2",
        };
        format!("{version} {}", self.run.display())
    }

    /// Removes what is empty, at the end of the launcher.
    pub(super) fn close(&self) {
        sweep(&self.run);
    }
}

/// The name of a launcher's folder; its process can be told from a later one with the same pid, and from one in another
/// pid namespace.
pub(super) fn run_name(maker: Maker, number: usize) -> String {
    let Maker { namespace, pid, start_ticks } = maker;
    format!("{RUN_MARK}{namespace}-{pid}-{start_ticks}-{number}")
}

/// The process of a launcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Maker {
    /// The pid namespace that the pid counts in, by its inode.
    pub namespace: u64,
    /// Its pid.
    pub pid: u32,
    /// Its start in clock ticks since boot.
    pub start_ticks: u64,
}

impl Maker {
    /// This process.
    ///
    /// # Errors
    /// When `/proc` does not tell.
    pub(super) fn own() -> io::Result<Self> {
        let pid = std::process::id();
        let start_ticks = procfs::stat(pid)?.start_ticks;
        Ok(Self { namespace: pid_namespace()?, pid, start_ticks })
    }

    /// Who made a folder of this name.
    fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(RUN_MARK)?.split('-');
        let namespace = parts.next()?.parse().ok()?;
        let maker = Self {
            namespace,
            pid: parts.next()?.parse().ok()?,
            start_ticks: parts.next()?.parse().ok()?,
        };
        parts.next()?.parse::<usize>().ok()?;
        parts.next().is_none().then_some(maker)
    }

    fn lives(&self) -> bool {
        procfs::stat(self.pid).is_ok_and(|stat| stat.start_ticks == self.start_ticks)
    }
}

fn pid_namespace() -> io::Result<u64> {
    Ok(std::fs::metadata("/proc/self/ns/pid")?.ino())
}

/// A launcher before this one may have moved this process into its own folder.
fn without_own_run(path: &str) -> &str {
    let Ok(namespace) = pid_namespace() else { return path };
    let own = format!("/{RUN_MARK}{namespace}-{}-", std::process::id());
    match path.find(&own) {
        Some(0) => "/",
        Some(at) => &path[..at],
        None => path,
    }
}

/// Removes what dead launchers left. Cgroups with processes in them stay: backends may outlive their service. So do those
/// of other pid namespaces: who lives there cannot be seen from here, and an empty one may be about to be entered.
fn sweep_dead_runs(base: &Path) {
    let Ok(namespace) = pid_namespace() else { return };
    for folder in folders(base) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if let Some(maker) = Maker::of(&name)
            && maker.namespace == namespace
            && !maker.lives()
        {
            sweep(&folder);
        }
    }
}

/// Removes the empty cgroups of a launcher, and it itself if none is left. The kernel refuses all others.
fn sweep(run: &Path) {
    for folder in folders(run) {
        let _ = std::fs::remove_dir(folder);
    }
    let _ = std::fs::remove_dir(run);
}

fn folders(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let is_folder =
        |entry: &std::fs::DirEntry| -> io::Result<bool> { Ok(entry.file_type()?.is_dir()) };
    entries
        .flatten()
        .filter(|entry| is_folder(entry).unwrap_or(false))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(place: &Path, version: Version) -> Hierarchy {
        Hierarchy {
            version,
            memory: version == Version::V1,
            processes: false,
            own_path: "/given".into(),
            mount_root: "/".into(),
            mount_point: place.to_owned(),
            writable: true,
        }
    }

    /// A plain folder tree stands in for the kernel's.
    fn place(controllers: &str, members: &str) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let given = place.path().join("given");
        std::fs::create_dir(&given).unwrap();
        std::fs::write(given.join("cgroup.controllers"), controllers).unwrap();
        std::fs::write(given.join("cgroup.type"), "domain\n").unwrap();
        std::fs::write(given.join(PROCESSES), members).unwrap();
        place
    }

    #[test]
    fn version_2_hands_controllers_down_after_the_service_has_moved() {
        let own = std::process::id();
        let place = place("cpu memory pids", &format!("{own}\n"));
        let tree = Tree::at(&hierarchy(place.path(), Version::V2), "/given", "r").unwrap();
        assert_eq!(tree.holds(), (true, true));
        let read = |file: &str| std::fs::read_to_string(place.path().join("given").join(file));
        assert_eq!(read("cgroup.subtree_control").unwrap(), "+memory +pids");
        assert_eq!(read("r/cgroup.subtree_control").unwrap(), "+memory +pids");
        assert_eq!(read("r/service/cgroup.procs").unwrap(), own.to_string());
        assert!(tree.describe().starts_with("cgroup v2 /"));
        assert_eq!(tree.folder("x-1").path, place.path().join("given/r/x-1"));
    }

    #[test]
    fn version_2_is_left_alone_where_others_are_in_it() {
        let place = place("memory", "1\n");
        let error = Tree::at(&hierarchy(place.path(), Version::V2), "/given", "r").unwrap_err();
        assert!(error.contains("process 1 is in "), "{error}");
        let given = place.path().join("given");
        assert!(!given.join("cgroup.subtree_control").exists());
        assert!(!given.join("r").exists(), "and nothing is left");
    }

    #[test]
    fn version_2_without_controllers_still_keeps_processes_together() {
        let place = place("cpu hugetlb", "1\n");
        let tree = Tree::at(&hierarchy(place.path(), Version::V2), "/given", "r").unwrap();
        assert_eq!(tree.holds(), (false, false));
    }

    #[test]
    fn version_1_needs_no_more_than_a_folder() {
        let place = place("", "1\n");
        let tree = Tree::at(&hierarchy(place.path(), Version::V1), "/given", "r").unwrap();
        assert_eq!(tree.holds(), (true, false));
        tree.close();
        assert!(!place.path().join("given/r").exists());
        let error = Tree::at(&hierarchy(place.path(), Version::V1), "/other", "r").unwrap_err();
        assert!(error.ends_with("other does not exist"), "{error}");
    }

    #[test]
    fn what_dead_runs_left_is_removed_and_nothing_else() {
        let place = place("", "");
        let given = place.path().join("given");
        let live = Maker::own().unwrap();
        let dead = Maker { start_ticks: live.start_ticks + 1, ..live };
        let elsewhere = Maker { namespace: live.namespace + 1, ..dead };
        let make = |name: &str| std::fs::create_dir_all(given.join(name)).unwrap();
        for (maker, number) in [(dead, 0), (live, 7), (elsewhere, 0)] {
            make(&format!("{}/a-1", run_name(maker, number)));
        }
        make("other/a-1");
        make("symphony-run-x/a-1");
        Tree::at(&hierarchy(place.path(), Version::V1), "/given", "r").unwrap();
        assert!(!given.join(run_name(dead, 0)).exists(), "of an earlier process");
        assert!(given.join(run_name(live, 7)).join("a-1").exists(), "of a live one");
        assert!(given.join(run_name(elsewhere, 0)).join("a-1").exists(), "it may live there");
        assert!(given.join("other/a-1").exists() && given.join("symphony-run-x/a-1").exists());
    }

    #[test]
    fn the_second_launcher_of_a_container_has_its_place_beside_the_first() {
        let place = place("memory", "");
        // as root of a cgroup namespace: all of the mount, and not the machine's own root
        let first = run_name(Maker::own().unwrap(), 0);
        let hierarchy = Hierarchy {
            own_path: format!("/{first}/{SERVICE}"),
            mount_point: place.path().join("given"),
            ..hierarchy(place.path(), Version::V2)
        };
        let tree = Tree::in_own(&hierarchy, "r").unwrap();
        assert_eq!(tree.folder("x-1").path, place.path().join("given/r/x-1"));
    }

    #[test]
    fn our_own_earlier_move_is_seen_through() {
        let own = run_name(Maker::own().unwrap(), 0);
        let service = format!("/a/{own}/service");
        assert_eq!(without_own_run(&service), "/a");
        assert_eq!(without_own_run(&service[2..]), "/");
        assert_eq!(without_own_run("/a/symphony-run-0-5-0/x"), "/a/symphony-run-0-5-0/x");
    }
}
