//! The end of everything that is left: TERM to all children, KILL after the grace, until none is there.
//!
//! A heart is the reaper of all its descendants: whoever loses its parent becomes its child, and is met in the next round.
//! What was adopted from another heart is nobody's child, and is hunted by what is on record of it.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::children::{Who, reap};
use super::hunt::Hunt;
use super::procfs;
use crate::clock::Moment;
use crate::limits;

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Round {
    /// Somebody is left.
    Going,
    /// Nobody is.
    Over,
    /// The kernel holds somebody, also after KILL.
    Held(Vec<u32>),
}

/// See the module.
#[derive(Debug)]
pub struct Ending {
    kill_at: Moment,
    /// Who got a TERM.
    asked: BTreeSet<Who>,
    hunt: Option<Hunt>,
    /// Who was met by the last round of it, and when the next one is due.
    hunted: Vec<u32>,
    next_hunt: Moment,
}

impl Ending {
    /// Children, and whom `hunt` finds, have `grace` to end.
    pub fn begin(grace: Duration, hunt: Option<Hunt>, now: Moment) -> Self {
        let (asked, hunted) = (BTreeSet::new(), Vec::new());
        Self { kill_at: now + grace, asked, hunt, hunted, next_hunt: now }
    }

    /// They have `grace` at most from now on.
    pub fn hurry(&mut self, grace: Duration, now: Moment) {
        self.kill_at = self.kill_at.min(now + grace);
    }

    /// Takes a step with all children but `spared`.
    pub fn step(&mut self, spared: &[u32], now: Moment) -> Round {
        let mut left = Vec::new();
        for pid in procfs::own_children() {
            if spared.contains(&pid) {
                continue;
            }
            let Some(stat) = procfs::stat(pid) else { continue };
            let leads_group = stat.group == pid;
            if stat.is_dead() {
                // before it is reaped, so that the group is still this one
                if leads_group {
                    self.end_group(pid, now);
                }
                reap(pid);
                continue;
            }
            left.push(pid);
            if now >= self.kill_at {
                send(pid, leads_group, Signal::KILL);
            } else if self.asked.insert((pid, stat.start_ticks)) {
                send(pid, leads_group, Signal::TERM);
                // a frozen process takes the signal when it runs on
                send(pid, leads_group, Signal::CONT);
            }
        }
        left.extend(self.hunt(left.is_empty(), now));
        if left.is_empty() && procfs::own_children().iter().all(|pid| spared.contains(pid)) {
            return Round::Over;
        }
        if now >= self.kill_at + limits::HEART_KILL_WAIT { Round::Held(left) } else { Round::Going }
    }

    /// Who is left of those that are no children; `at_last`: nobody else is left, so that the answer must be of now.
    fn hunt(&mut self, at_last: bool, now: Moment) -> Vec<u32> {
        let Some(hunt) = &mut self.hunt else { return Vec::new() };
        if now >= self.next_hunt || (at_last && self.hunted.is_empty()) {
            self.hunted = hunt.round(now >= self.kill_at);
            self.next_hunt = now + limits::HEART_HUNT_EVERY;
        }
        self.hunted.clone()
    }

    /// The leader is gone, so its helpers get no more than the end of the grace; they are no children of anybody else.
    fn end_group(&self, leader: u32, now: Moment) {
        let signal = if now >= self.kill_at { Signal::KILL } else { Signal::TERM };
        send(leader, true, signal);
    }
}

/// To a child that was not reaped: its pid is nobody else's.
fn send(pid: u32, whole_group: bool, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // who is gone, or another user's, cannot be told
    let _ = if whole_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
}
