//! Whether a cgroup may be used for backends: only one that was given to this process. That it can be written is not enough:
//! root can write them all, also those of a service manager that counts on having made every folder in them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::mounts::{Hierarchy, Version};

/// How systemd marks what `Delegate=yes` gives away; the second name can be read without privileges.
const MARKS: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// What speaks for and against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// Marked by a service manager.
    pub marked: bool,
    /// Whose folder it is.
    pub owner: u32,
    /// Whose folder the one above is.
    pub owner_above: Option<u32>,
    /// Whose process this is.
    pub user: u32,
    /// It is all that is mounted here, as in a container.
    pub is_all_of_the_mount: bool,
    /// It is the root of the whole machine.
    pub is_machine_root: bool,
}

impl Facts {
    /// Looks at the cgroup that was given to this process: `path`, in `folder`. A launcher before this one may have moved
    /// the process further down since.
    ///
    /// # Errors
    /// Why it cannot be looked at.
    pub(super) fn of_given(
        hierarchy: &Hierarchy,
        path: &str,
        folder: &Path,
    ) -> Result<Self, String> {
        let metadata = std::fs::metadata(folder)
            .map_err(|error| format!("{} cannot be looked at: {error}", folder.display()))?;
        // files that only the root has, or only all others
        let is_machine_root = match hierarchy.version {
            Version::V1 => folder.join("release_agent").exists(),
            Version::V2 => !folder.join("cgroup.type").exists(),
        };
        Ok(Self {
            marked: is_marked(folder),
            owner: metadata.uid(),
            owner_above: folder
                .parent()
                .and_then(|above| Some(std::fs::metadata(above).ok()?.uid())),
            user: rustix::process::geteuid().as_raw(),
            is_all_of_the_mount: path == hierarchy.mount_root,
            is_machine_root,
        })
    }

    /// Whether the cgroup was given to this process.
    ///
    /// # Errors
    /// Why it counts as somebody else's.
    pub(super) fn judge(&self) -> Result<(), String> {
        if self.marked || (self.is_all_of_the_mount && !self.is_machine_root) {
            return Ok(());
        }
        if self.is_machine_root {
            return Err("this process is in the root cgroup of the machine".to_owned());
        }
        match (self.user, self.owner == self.user) {
            (0, _) => Err("its cgroup is not marked as delegated".to_owned()),
            // as in all that a user's own service manager made for itself
            (_, true) if self.owner_above == Some(self.user) => {
                Err("its cgroup is part of a larger one of its user and not marked as delegated"
                    .to_owned())
            }
            (_, true) => Ok(()),
            (_, false) => Err(format!("its cgroup belongs to user {}", self.owner)),
        }
    }
}

fn is_marked(folder: &Path) -> bool {
    MARKS.iter().any(|mark| {
        let mut value = [0; 8];
        rustix::fs::getxattr(folder, *mark, &mut value).is_ok_and(|length| value[..length] == *b"1")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Facts = Facts {
        marked: false,
        owner: 0,
        owner_above: Some(0),
        user: 0,
        is_all_of_the_mount: false,
        is_machine_root: false,
    };

    #[test]
    fn what_root_can_merely_write_is_not_ours() {
        assert!(NONE.judge().unwrap_err().contains("not marked as delegated"));
        let machine_root = Facts { is_machine_root: true, is_all_of_the_mount: true, ..NONE };
        assert!(machine_root.judge().unwrap_err().contains("root cgroup"));
    }

    #[test]
    fn a_mark_an_owner_or_a_container_give_it_to_us() {
        assert_eq!(Facts { marked: true, ..NONE }.judge(), Ok(()));
        assert_eq!(Facts { is_all_of_the_mount: true, ..NONE }.judge(), Ok(()));
        assert_eq!(Facts { user: 1000, owner: 1000, ..NONE }.judge(), Ok(()));
        let strange = Facts { user: 1000, owner: 0, ..NONE };
        let within = Facts { user: 1000, owner: 1000, owner_above: Some(1000), ..NONE };
        assert!(within.judge().unwrap_err().contains("part of a larger one"));
        assert_eq!(Facts { marked: true, ..within }.judge(), Ok(()));
        assert_eq!(strange.judge(), Err("its cgroup belongs to user 0".to_owned()));
    }
}
