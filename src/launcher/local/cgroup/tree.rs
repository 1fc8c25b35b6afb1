//! One hierarchy in which this launcher may make cgroups: a folder of its own, with one for each instance below.
//!
//! ```text
//! symphony.service                  what was given to us
//! ├─ symphony-service               version 2: the service itself with its heart, since a cgroup with processes may have
//! │                                 none below. It stays: later cores are started in it
//! └─ symphony-run-NS-PID-START-N    this launcher
//!    └─ INSTANCE-GENERATION         a backend
//! ```

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::super::procfs;
use super::cell::{Folder, PROCESSES, RUN_MARK};
use super::delegation::Facts;
use super::mounts::{Hierarchy, Version};
use crate::heart::procfs as parentage;
use crate::limits;

/// Where the service itself stands in version 2. Units for systemd name it, too (`DelegateSubgroup=`).
const SERVICE: &str = "symphony-service";

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
    pub(super) fn in_own(
        hierarchy: &Hierarchy,
        run_name: &str,
        family: Family,
    ) -> Result<Self, String> {
        let path = given(&hierarchy.own_path);
        let folder = hierarchy
            .folder_of(path)
            .ok_or_else(|| format!("{path} lies outside of what is mounted"))?;
        if !hierarchy.writable {
            return Err(format!("{} is mounted read-only", hierarchy.mount_point.display()));
        }
        Facts::of_given(hierarchy, path, &folder)?.judge()?;
        Self::make(hierarchy, &folder, run_name, family)
    }

    /// Makes a place in a cgroup that was named by who configured the service.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn at(
        hierarchy: &Hierarchy,
        path: &str,
        run_name: &str,
        family: Family,
    ) -> Result<Self, String> {
        let folder = hierarchy
            .folder_of(path)
            .ok_or_else(|| format!("{path} lies outside of what is mounted"))?;
        if !folder.is_dir() {
            return Err(format!("{} does not exist", folder.display()));
        }
        Self::make(hierarchy, &folder, run_name, family)
    }

    fn make(
        hierarchy: &Hierarchy,
        base: &Path,
        run_name: &str,
        family: Family,
    ) -> Result<Self, String> {
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
            Version::V2 => tree.hand_down(base, family).inspect_err(|_| {
                sweep(&base.join(run_name));
            }),
        }
    }

    /// Version 2 gives a controller to folders only where their parent hands it down, and that only where no process is
    /// in the parent.
    fn hand_down(mut self, base: &Path, family: Family) -> Result<Self, String> {
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
        leave(base, family)?;
        for folder in [base, &self.run] {
            let control = folder.join("cgroup.subtree_control");
            std::fs::write(&control, wanted.join(" "))
                .map_err(|error| format!("cannot write {}: {error}", control.display()))?;
        }
        Ok(self)
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

/// Processes that may be moved because they are parts of this service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Family {
    /// The heart that started this process.
    pub heart: Option<u32>,
}

impl Family {
    /// This process and its heart, and what either of them started: guards, a core that hands over.
    fn has(self, pid: u32) -> bool {
        let heads = [Some(std::process::id()), self.heart];
        let is_head = |pid: u32| heads.contains(&Some(pid));
        is_head(pid) || parentage::stat(pid).is_some_and(|stat| is_head(stat.parent))
    }
}

/// Moves this service out of `base`, where it is there, into a folder of its own. Nobody else is moved.
fn leave(base: &Path, family: Family) -> Result<(), String> {
    let is_root = !base.join("cgroup.type").exists();
    if is_root {
        return Ok(());
    }
    let mut moved = Vec::new();
    for _ in 0..limits::CGROUP_MOVES {
        let members = std::fs::read_to_string(base.join(PROCESSES))
            .map_err(|error| format!("{} cannot be read: {error}", base.display()))?;
        let members: Vec<u32> = members.lines().filter_map(|pid| pid.parse().ok()).collect();
        // the kernel shows nobody who was moved
        if members.iter().all(|pid| moved.contains(pid)) {
            return Ok(());
        }
        if let Some(other) = members.iter().find(|pid| !family.has(**pid)) {
            return Err(format!("process {other} is in {}, too", base.display()));
        }
        move_to(&base.join(SERVICE), &members)?;
        moved.extend(members);
    }
    Err(format!("{} does not get empty", base.display()))
}

fn move_to(service: &Path, members: &[u32]) -> Result<(), String> {
    let fault = |error| format!("cannot move into {}: {error}", service.display());
    match std::fs::create_dir(service) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(fault(error)),
        _ => {}
    }
    for pid in members {
        match std::fs::write(service.join(PROCESSES), pid.to_string()) {
            // it ended meanwhile
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
            moved => moved.map_err(fault)?,
        }
    }
    Ok(())
}

/// What was given to this service: it may stand further down by now, moved there by a launcher or put there by systemd.
fn given(path: &str) -> &str {
    match path.strip_suffix(SERVICE).and_then(|above| above.strip_suffix('/')) {
        Some("") => "/",
        Some(above) => above,
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

    const ALONE: Family = Family { heart: None };

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
        let tree = Tree::at(&hierarchy(place.path(), Version::V2), "/given", "r", ALONE).unwrap();
        assert_eq!(tree.holds(), (true, true));
        let read = |file: &str| std::fs::read_to_string(place.path().join("given").join(file));
        assert_eq!(read("cgroup.subtree_control").unwrap(), "+memory +pids");
        assert_eq!(read("r/cgroup.subtree_control").unwrap(), "+memory +pids");
        assert_eq!(read("symphony-service/cgroup.procs").unwrap(), own.to_string());
        assert!(tree.describe().starts_with("cgroup v2 /"));
        assert_eq!(tree.folder("x-1").path, place.path().join("given/r/x-1"));
    }

    #[test]
    fn version_2_is_left_alone_where_others_are_in_it() {
        let place = place("memory", "1\n");
        let error =
            Tree::at(&hierarchy(place.path(), Version::V2), "/given", "r", ALONE).unwrap_err();
        assert!(error.contains("process 1 is in "), "{error}");
        let given = place.path().join("given");
        assert!(!given.join("cgroup.subtree_control").exists());
        assert!(!given.join("r").exists(), "and nothing is left");
    }

    #[test]
    fn version_2_without_controllers_still_keeps_processes_together() {
        let place = place("cpu hugetlb", "1\n");
        let tree = Tree::at(&hierarchy(place.path(), Version::V2), "/given", "r", ALONE).unwrap();
        assert_eq!(tree.holds(), (false, false));
    }

    #[test]
    fn version_1_needs_no_more_than_a_folder() {
        let place = place("", "1\n");
        let tree = Tree::at(&hierarchy(place.path(), Version::V1), "/given", "r", ALONE).unwrap();
        assert_eq!(tree.holds(), (true, false));
        tree.close();
        assert!(!place.path().join("given/r").exists());
        let error =
            Tree::at(&hierarchy(place.path(), Version::V1), "/other", "r", ALONE).unwrap_err();
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
        Tree::at(&hierarchy(place.path(), Version::V1), "/given", "r", ALONE).unwrap();
        assert!(!given.join(run_name(dead, 0)).exists(), "of an earlier process");
        assert!(given.join(run_name(live, 7)).join("a-1").exists(), "of a live one");
        assert!(given.join(run_name(elsewhere, 0)).join("a-1").exists(), "it may live there");
        assert!(given.join("other/a-1").exists() && given.join("symphony-run-x/a-1").exists());
    }

    #[test]
    fn the_second_launcher_of_a_container_has_its_place_beside_the_first() {
        let place = place("memory", "");
        // as root of a cgroup namespace: all of the mount, and not the machine's own root
        let hierarchy = Hierarchy {
            own_path: format!("/{SERVICE}"),
            mount_point: place.path().join("given"),
            ..hierarchy(place.path(), Version::V2)
        };
        let tree = Tree::in_own(&hierarchy, "r", ALONE).unwrap();
        assert_eq!(tree.folder("x-1").path, place.path().join("given/r/x-1"));
    }

    #[test]
    fn an_earlier_move_is_seen_through() {
        assert_eq!(given("/a/symphony-service"), "/a");
        assert_eq!(given("/symphony-service"), "/");
        assert_eq!(given("/a/not-symphony-service"), "/a/not-symphony-service");
        assert_eq!(given("/"), "/");
    }

    #[test]
    fn heart_and_guards_are_parts_of_the_service_and_nobody_else_is() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let parent = std::os::unix::process::parent_id();
        assert!(ALONE.has(std::process::id()) && ALONE.has(child.id()));
        assert!(!ALONE.has(parent) && !ALONE.has(1));
        assert!(Family { heart: Some(parent) }.has(parent));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
