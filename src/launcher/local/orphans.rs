//! Members of ended groups that became our own children.
//!
//! Where the service is process 1 of a container, or a subreaper, the killed grandchildren of a backend end up with us and
//! stay zombies until they are reaped. They are reaped by their group, so that no child of other code loses its status.

use std::collections::VecDeque;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::clock::Moment;
use crate::limits;

/// Groups whose leader was reaped and that may have members of ours left.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    groups: VecDeque<(Pid, Moment)>,
}

impl Orphans {
    /// The leader of `group` was reaped just now.
    pub(super) fn adopt(&mut self, group: Pid, now: Moment) {
        // on most machines init is the reaper: then there is nothing to remember
        if reap(group) == Left::Some {
            self.groups.push_back((group, now + limits::ORPHANS_FOR));
        }
    }

    /// A new leader has this id: the number no longer means the old group.
    pub(super) fn forget(&mut self, group: Pid) {
        self.groups.retain(|(known, _)| *known != group);
    }

    /// Reaps who has ended meanwhile.
    pub(super) fn sweep(&mut self, now: Moment) {
        self.groups.retain(|(group, until)| reap(*group) == Left::Some && now < *until);
    }

    /// When to look again.
    pub(super) fn next_look(&self) -> Option<Duration> {
        (!self.groups.is_empty()).then_some(limits::ORPHANS_EVERY)
    }
}

#[derive(PartialEq, Eq)]
enum Left {
    Some,
    None,
}

fn reap(group: Pid) -> Left {
    loop {
        match waitid(WaitId::Pgid(Some(group)), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return Left::Some,
            Err(_) => return Left::None,
        }
    }
}
