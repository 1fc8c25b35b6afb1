//! The children of the heart that are no core: backends whose core died, and what they left.
//!
//! A backend that ends while no core lives stays a zombie until the next core asks how it ended. That keeps its pid and the
//! id of its group from being anybody else's: the next core may still signal both.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::procfs::{self, Stat};
use super::protocol::Ended;
use crate::clock::Moment;
use crate::limits;

/// A process: its pid, and when it was started, in ticks since boot.
pub type Who = (u32, u64);

/// How a process ended that the core asked for; `None` when nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// Which.
    pub who: Who,
    /// How.
    pub ended: Option<Ended>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Children {
    /// Zombies that are kept, and since when.
    kept: BTreeMap<Who, Moment>,
    /// Asked for while they still lived.
    asked: BTreeSet<Who>,
    /// Zombies that were not kept for ever, and how they ended.
    remembered: VecDeque<(Who, Ended)>,
}

/// What becomes of a zombie.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The core is told, and its group is ended.
    Collect,
    /// It waits for a core.
    Keep,
    /// Its exit is remembered, and it is reaped.
    Remember,
    /// Nobody will ask for it.
    Reap,
}

impl Children {
    /// Looks at all children but `spared`, who have an owner. `connected_since`: when the present core was welcomed.
    /// Answers what the core asked for before.
    pub fn sweep(
        &mut self,
        spared: &[u32],
        connected_since: Option<Moment>,
        now: Moment,
    ) -> Vec<Collected> {
        let mut answers = Vec::new();
        let mut seen = BTreeSet::new();
        for pid in procfs::own_children() {
            if spared.contains(&pid) {
                continue;
            }
            let Some(stat) = procfs::stat(pid).filter(Stat::is_dead) else { continue };
            let who = (pid, stat.start_ticks);
            seen.insert(who);
            match self.fate(who, stat.group == pid, connected_since, now) {
                Fate::Collect => {
                    self.asked.remove(&who);
                    answers.push(Collected { who, ended: end_group_and_reap(pid) });
                }
                Fate::Keep => {
                    self.kept.entry(who).or_insert(now);
                }
                Fate::Remember => {
                    if let Some(ended) = reap(pid) {
                        self.remember(who, ended);
                    }
                }
                Fate::Reap => {
                    reap(pid);
                }
            }
        }
        self.kept.retain(|who, _| seen.contains(who));
        answers
    }

    fn fate(
        &self,
        who: Who,
        leads_group: bool,
        connected_since: Option<Moment>,
        now: Moment,
    ) -> Fate {
        if self.asked.contains(&who) {
            return Fate::Collect;
        }
        if !leads_group {
            return Fate::Reap;
        }
        let since = self.kept.get(&who).copied();
        if since.is_none() && self.kept.len() >= limits::HEART_ZOMBIES {
            return Fate::Remember;
        }
        // a core that lives and does not ask in that time does not know it
        match connected_since {
            Some(connected) => {
                let from = since.unwrap_or(now).max(connected);
                if now.since(from) >= limits::HEART_ZOMBIE_FOR {
                    Fate::Remember
                } else {
                    Fate::Keep
                }
            }
            None => Fate::Keep,
        }
    }

    fn remember(&mut self, who: Who, ended: Ended) {
        if self.remembered.len() >= limits::HEART_ZOMBIES {
            self.remembered.pop_front();
        }
        self.remembered.push_back((who, ended));
    }

    /// The core asks how a process ended. Answers at once, or with a later [`Children::sweep`] where it still lives.
    pub fn collect(&mut self, who: Who) -> Option<Collected> {
        let (pid, start_ticks) = who;
        let own = std::process::id();
        let is_child = |stat: &Stat| stat.start_ticks == start_ticks && stat.parent == own;
        match procfs::stat(pid).filter(is_child) {
            Some(stat) if stat.is_dead() => {
                self.kept.remove(&who);
                Some(Collected { who, ended: end_group_and_reap(pid) })
            }
            Some(_) if self.asked.len() < limits::HEART_ZOMBIES => {
                self.asked.insert(who);
                None
            }
            _ => {
                let at = self.remembered.iter().position(|(known, _)| *known == who);
                let ended = at.and_then(|at| self.remembered.remove(at)).map(|(_, ended)| ended);
                Some(Collected { who, ended })
            }
        }
    }

    /// The core is gone, and its questions with it.
    pub fn forget_questions(&mut self) {
        self.asked.clear();
    }

    /// Whether zombies wait that time alone will take away.
    pub fn keeps_any(&self) -> bool {
        !self.kept.is_empty()
    }
}

/// Whether any child of this process has ended and was not reaped.
pub fn any_ended() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, options), Ok(Some(_)))
}

/// Reaps a child that ended; `None` where it did not, or is no child.
pub fn reap(pid: u32) -> Option<Ended> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    let status = loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other.ok().flatten()?,
        }
    };
    Some(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, Some(number)) => Ended::Signal { number, core_dumped: status.dumped() },
        // a process that was reaped and neither exited nor was killed: the kernel knows no such
        (None, None) => return None,
    })
}

/// While the leader is a zombie, nobody else can have its group's id.
fn end_group_and_reap(leader: u32) -> Option<Ended> {
    let pid = i32::try_from(leader).ok().and_then(Pid::from_raw)?;
    // an empty group, or one of another user: nothing that could be done
    let _ = kill_process_group(pid, Signal::KILL);
    reap(leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Who = (7, 100);

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    fn with_zombie(since: u64) -> Children {
        Children { kept: BTreeMap::from([(WHO, at(since))]), ..Children::default() }
    }

    #[test]
    fn without_a_core_a_leader_waits_for_ever() {
        assert_eq!(Children::default().fate(WHO, true, None, at(5)), Fate::Keep);
        assert_eq!(with_zombie(5).fate(WHO, true, None, at(50_000)), Fate::Keep);
    }

    #[test]
    fn a_core_has_ten_seconds_to_ask_for_it() {
        let limit = limits::HEART_ZOMBIE_FOR.as_secs();
        let children = with_zombie(5);
        assert_eq!(children.fate(WHO, true, Some(at(1000)), at(1000 + limit - 1)), Fate::Keep);
        assert_eq!(children.fate(WHO, true, Some(at(1000)), at(1000 + limit)), Fate::Remember);
        let children = with_zombie(2000);
        assert_eq!(children.fate(WHO, true, Some(at(1000)), at(2000 + limit - 1)), Fate::Keep);
    }

    #[test]
    fn what_leads_no_group_is_reaped_at_once() {
        assert_eq!(Children::default().fate(WHO, false, None, at(5)), Fate::Reap);
    }

    #[test]
    fn what_was_asked_for_is_told() {
        let children = Children { asked: BTreeSet::from([WHO]), ..Children::default() };
        assert_eq!(children.fate(WHO, false, Some(at(1)), at(5)), Fate::Collect);
        assert_eq!(children.fate((7, 101), true, Some(at(1)), at(5)), Fate::Keep);
    }

    #[test]
    fn zombies_are_bounded_and_their_exits_remembered_up_to_a_bound() {
        let mut children = Children::default();
        for pid in 0..limits::HEART_ZOMBIES as u32 {
            children.kept.insert((pid, 1), at(1));
        }
        assert_eq!(children.fate((1_000_000, 1), true, None, at(5)), Fate::Remember);
        assert_eq!(children.fate((0, 1), true, None, at(5)), Fate::Keep);
        for pid in 0..=limits::HEART_ZOMBIES as u32 {
            children.remember((2_000_000 + pid, 1), Ended::Code(1));
        }
        assert_eq!(children.remembered.len(), limits::HEART_ZOMBIES);
        let told =
            |children: &mut Children, pid| children.collect((pid, 1)).expect("at once").ended;
        assert_eq!(told(&mut children, 2_000_000), None);
        assert_eq!(told(&mut children, 2_000_001), Some(Ended::Code(1)));
        assert_eq!(told(&mut children, 2_000_001), None);
    }

    #[test]
    fn nobody_can_tell_of_a_process_that_is_no_child() {
        let mut children = Children::default();
        let parent = std::os::unix::process::parent_id();
        let ticks = procfs::stat(parent).expect("it runs").start_ticks;
        let answer = children.collect((parent, ticks)).expect("at once");
        assert_eq!(answer.ended, None);
    }
}
