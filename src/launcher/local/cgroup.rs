//! Cgroups for backends, where the machine gives this service a place to make them.
//!
//! They hold limits on memory and processes for a backend as a whole, tell which limit killed it, and catch also what left
//! its process group. Without them, limits are set by rlimit. What is not ours is never touched.

pub(super) mod cell;
mod delegation;
mod mounts;
mod tree;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use self::cell::Cell;
use self::mounts::Hierarchy;
use self::tree::{Family, Maker, Tree};
use crate::clock::Moment;
use crate::ids::{InstanceId, ProcessKey};
use crate::limits;
use crate::settings::policy::{CgroupChoice, ResourceLimits};

/// Launchers of one process have folders of their own.
static LAUNCHERS: AtomicUsize = AtomicUsize::new(0);

/// The places for cgroups, and those that could not be removed yet.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    trees: Vec<Tree>,
    /// Why others are not used.
    unused: Vec<String>,
    leaving: Vec<Leaving>,
}

/// A cell whose process is gone, and that is not empty yet.
#[derive(Debug)]
struct Leaving {
    cell: Cell,
    instance: InstanceId,
    until: Moment,
}

impl Cgroups {
    /// Looks for places and takes them.
    ///
    /// # Errors
    /// When a configured place cannot be used. Without one there is none to be missed.
    pub(super) fn prepare(choice: &CgroupChoice, heart: Option<u32>) -> Result<Self, String> {
        if *choice == CgroupChoice::Off {
            return Ok(Self::default());
        }
        let family = Family { heart };
        let own = Maker::own().map_err(|error| error.to_string())?;
        let number = LAUNCHERS.fetch_add(1, Ordering::Relaxed);
        let run_name = tree::run_name(own, number);
        let mut cgroups = Self::default();
        for hierarchy in hierarchies() {
            let tree = match choice {
                CgroupChoice::At(path) => Tree::at(&hierarchy, path, &run_name, family),
                CgroupChoice::Auto | CgroupChoice::Off => {
                    Tree::in_own(&hierarchy, &run_name, family)
                }
            };
            match tree {
                Ok(tree) => cgroups.trees.push(tree),
                Err(why) => cgroups.unused.push(format!("{}: {why}", hierarchy.name())),
            }
        }
        match choice {
            CgroupChoice::At(path) if cgroups.trees.is_empty() => {
                Err(format!("service.cgroup {path} cannot be used: {}", cgroups.why_unused()))
            }
            _ => Ok(cgroups),
        }
    }

    fn why_unused(&self) -> String {
        match self.unused.as_slice() {
            [] => "no cgroup hierarchy is mounted".to_owned(),
            reasons => reasons.join("; "),
        }
    }

    /// Whether there is any place.
    pub(super) fn is_used(&self) -> bool {
        !self.trees.is_empty()
    }

    /// How limits are held, for people.
    pub(super) fn describe(&self) -> String {
        let trees: Vec<_> = self.trees.iter().map(Tree::describe).collect();
        let holder = |held: bool| if held { "by cgroup" } else { "by rlimit" };
        let held =
            |limit: fn((bool, bool)) -> bool| self.trees.iter().any(|tree| limit(tree.holds()));
        format!(
            "limits on memory {}, on processes {} ({})",
            holder(held(|(memory, _)| memory)),
            holder(held(|(_, processes)| processes)),
            if trees.is_empty() { self.why_unused() } else { trees.join(", ") }
        )
    }

    /// A cgroup for a start; `None` where there is no place.
    ///
    /// # Errors
    /// Why it could not be made; the process can be started without.
    pub(super) fn cell(
        &self,
        key: &ProcessKey,
        limits: &ResourceLimits,
    ) -> Result<Option<Cell>, String> {
        if self.trees.is_empty() {
            return Ok(None);
        }
        let name = cell::name_of(key);
        let folders = self.trees.iter().map(|tree| tree.folder(&name)).collect();
        Cell::make(folders, limits).map(Some)
    }

    /// Its process is gone: whoever is left in it is killed, and it is removed as soon as it is empty.
    pub(super) fn retire(&mut self, instance: &InstanceId, cell: Cell, now: Moment) {
        if !cell.remove() {
            cell.kill_rest();
            let (instance, until) = (instance.clone(), now + limits::CGROUP_LEAVES_FOR);
            self.leaving.push(Leaving { cell, instance, until });
        }
    }

    /// Whether somebody of an earlier start of this instance may still live.
    pub(super) fn is_leaving(&self, instance: &InstanceId) -> bool {
        self.leaving.iter().any(|leaving| leaving.instance == *instance)
    }

    /// Tries again what could not be removed.
    pub(super) fn sweep(&mut self, now: Moment) {
        self.leaving.retain(|Leaving { cell, until, .. }| {
            if cell.remove() {
                return false;
            }
            cell.kill_rest();
            let goes_on = now < *until;
            if !goes_on {
                let folders: Vec<_> = cell.folders().collect();
                tracing::warn!(target: "symphony-mgmt", ?folders, "a cgroup of a gone backend does not empty");
            }
            goes_on
        });
    }

    /// When to look again.
    pub(super) fn next_look(&self) -> Option<Duration> {
        (!self.leaving.is_empty()).then_some(limits::ORPHANS_EVERY)
    }

    /// Removes what is empty, at the end.
    pub(super) fn close(&self) {
        for tree in &self.trees {
            tree.close();
        }
    }
}

/// Why a configured cgroup is in no hierarchy. Makes nothing.
pub(super) fn obstacle(choice: &CgroupChoice) -> Option<String> {
    let CgroupChoice::At(path) = choice else { return None };
    let hierarchies = hierarchies();
    let is_there =
        |hierarchy: &Hierarchy| hierarchy.folder_of(path).is_some_and(|folder| folder.is_dir());
    (!hierarchies.iter().any(is_there))
        .then(|| format!("service.cgroup {path} does not exist in any cgroup hierarchy"))
}

fn hierarchies() -> Vec<Hierarchy> {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    mounts::hierarchies(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
}
