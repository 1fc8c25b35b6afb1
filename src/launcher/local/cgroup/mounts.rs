//! Which cgroup hierarchies there are and where this process stands in them: `/proc/self/cgroup` and `/proc/self/mountinfo`
//! read as text. Pure.

use std::path::{Path, PathBuf};

/// The two interfaces of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Version {
    /// One hierarchy for each controller.
    V1,
    /// One hierarchy for all.
    V2,
}

/// A mounted hierarchy that could hold a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Its interface.
    pub version: Version,
    /// Of version 1: whether it limits memory.
    pub memory: bool,
    /// Of version 1: whether it limits processes.
    pub processes: bool,
    /// The cgroup of this process, as the kernel writes it: `/` and names.
    pub own_path: String,
    /// The cgroup that stands at the mount point.
    pub mount_root: String,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Whether it is mounted for writing.
    pub writable: bool,
}

impl Hierarchy {
    /// The folder of a cgroup; `None` where it lies outside of what is mounted.
    pub(super) fn folder_of(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix(&self.mount_root).ok()?;
        let plain =
            |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
        // a process outside of its own namespace's root has a path with `..`
        below.components().all(plain).then(|| self.mount_point.join(below))
    }

    /// In words, for people: `cgroup v1 (memory)`.
    pub(super) fn name(&self) -> &'static str {
        match (self.version, self.memory, self.processes) {
            (Version::V2, ..) => "cgroup v2",
            (Version::V1, true, true) => "cgroup v1 (memory, pids)",
            (Version::V1, true, false) => "cgroup v1 (memory)",
            (Version::V1, false, _) => "cgroup v1 (pids)",
        }
    }
}

/// The hierarchies of use, those of version 1 first. `cgroup` is the text of `/proc/self/cgroup`, `mountinfo` that of
/// `/proc/self/mountinfo`. Lines that cannot be read are passed over.
pub(super) fn hierarchies(cgroup: &str, mountinfo: &str) -> Vec<Hierarchy> {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
    let mut found: Vec<Hierarchy> =
        cgroup.lines().filter_map(|line| hierarchy(line, &mounts)).collect();
    found.sort_by_key(|hierarchy| hierarchy.version == Version::V2);
    found
}

/// A line is `4:memory:/path`; the one of version 2 has number 0 and no controllers.
fn hierarchy(line: &str, mounts: &[Mount]) -> Option<Hierarchy> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let has = |name: &str| controllers.split(',').any(|controller| controller == name);
    let (memory, processes) = (has("memory"), has("pids"));
    let mount = if number == "0" && controllers.is_empty() {
        mounts.iter().find(|mount| mount.version == Version::V2)?
    } else if memory || processes {
        let wanted = if memory { "memory" } else { "pids" };
        mounts.iter().find(|mount| mount.version == Version::V1 && mount.has(wanted))?
    } else {
        return None;
    };
    Some(Hierarchy {
        version: mount.version,
        memory,
        processes,
        own_path: path.to_owned(),
        mount_root: mount.root.clone(),
        mount_point: PathBuf::from(&mount.point),
        writable: mount.writable,
    })
}

struct Mount {
    version: Version,
    root: String,
    point: String,
    writable: bool,
    super_options: String,
}

impl Mount {
    /// `35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory`; the part before the dash
    /// has any number of optional fields.
    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        let version = match filesystem.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        let super_options = filesystem.nth(1)?.to_owned();
        let mut fields = mount.split(' ').skip(3);
        let (root, point, options) = (fields.next()?, fields.next()?, fields.next()?);
        let is_writable = |options: &str| options.split(',').any(|option| option == "rw");
        Some(Self {
            version,
            root: unescape(root),
            point: unescape(point),
            writable: is_writable(options) && is_writable(&super_options),
            super_options,
        })
    }

    fn has(&self, controller: &str) -> bool {
        self.super_options.split(',').any(|option| option == controller)
    }
}

/// Space, tab, newline and backslash stand there as `\` and three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_alone_has_one_hierarchy() {
        let mounts = "24 30 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
                      25 30 0:27 / /proc rw - proc proc rw\n";
        let found = hierarchies("0::/system.slice/symphony.service\n", mounts);
        let [only] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((only.version, only.writable), (Version::V2, true));
        let own = only.folder_of(&only.own_path).unwrap();
        assert_eq!(own, Path::new("/sys/fs/cgroup/system.slice/symphony.service"));
    }

    #[test]
    fn version_1_has_one_for_each_controller_and_may_have_version_2_beside() {
        let mounts = "1 0 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      2 0 0:2 /docker/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                      3 0 0:3 / /sys/fs/cgroup/my\\040pids rw - cgroup cgroup rw,pids\n\
                      4 0 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let text = "0::/x\n3:cpu,cpuacct:/\n4:memory:/docker/a/b\n5:pids:/\n6:name=systemd:/\n";
        let found = hierarchies(text, mounts);
        let names: Vec<_> = found.iter().map(Hierarchy::name).collect();
        assert_eq!(names, ["cgroup v1 (memory)", "cgroup v1 (pids)", "cgroup v2"]);
        assert!(!found[0].writable && found[1].writable);
        assert_eq!(found[0].folder_of("/docker/a/b"), Some("/sys/fs/cgroup/memory/b".into()));
        assert_eq!(found[0].folder_of("/other"), None, "not mounted here");
        assert_eq!(found[0].folder_of("/docker/a/../b"), None, "outside of the namespace");
        assert_eq!(found[1].mount_point, Path::new("/sys/fs/cgroup/my pids"));
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        assert_eq!(hierarchies("", ""), []);
        assert_eq!(
            hierarchies("0::/\nx\n4:memory\n4:memory:/\n", "a - cgroup\n - cgroup2 x rw\n"),
            []
        );
        assert_eq!(unescape("a\\040b\\9\\"), "a b\\9\\");
    }
}
