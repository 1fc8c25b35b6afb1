//! What a group decides: whose turn it is, who is taken along, when it gives up. Pure.
//!
//! It holds no history of its own. Every decision is made anew from how all members stand now, and members tell that to
//! whichever group there is: so a group that failed and was replaced goes on, and an order that was lost is given again.
//!
//! A **round** is one common start of the group. A member that lost a process of the present round ends the round; those
//! of the same round that its strategy names are taken along, the last one first, and wait. Its turn has who waits, when
//! all before it are alive and nobody is still on the way down.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::standing::{Phase, Standing};
use crate::clock::Moment;
use crate::events::messages::{BECAUSE_OF, OF_GROUP};
use crate::ids::{Generation, ModelName};
use crate::settings::model::GroupSpec;
use crate::settings::policy::GroupStrategy;
use crate::supervision::window::RestartWindow;

/// What is to be done. Members are named by their place.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Tell a member something.
    Order(usize, Order),
    /// Write to the timeline.
    Tell {
        /// What happened.
        kind: &'static str,
        /// Why.
        cause: String,
    },
}

/// What a member is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Start your process.
    Turn {
        /// The start that waits for it.
        generation: Generation,
        /// The round that it belongs to.
        round: u64,
    },
    /// Your process, which came up without the group, belongs to this round.
    Joined(u64),
    /// You wait for this member.
    WaitFor(ModelName),
    /// End your process and wait for your turn.
    Along(String),
    /// End your process and be parked.
    Park {
        /// Why.
        why: String,
        /// For how long.
        cool_off: Duration,
    },
    /// Your failure used up the group's window: do what your policy says.
    GaveUp {
        /// Why, in words.
        why: String,
        /// Which failure: one that is forgotten meanwhile has no consequence.
        failure: Moment,
    },
    /// You are not wanted any more.
    TakeDown,
    /// Forget your failures up to then.
    Forget(Moment),
}

/// How one is to go down.
#[derive(Debug, Clone, PartialEq)]
enum Leave {
    /// To come back with the others.
    Along(String),
    /// To be parked until then.
    Park(String, Moment),
}

/// The failure that used up the window, and what is said of it.
#[derive(Debug, Clone)]
struct GaveUp {
    why: String,
    failure: Moment,
}

impl GaveUp {
    fn order(self, place: usize) -> Effect {
        Effect::Order(place, Order::GaveUp { why: self.why, failure: self.failure })
    }
}

#[derive(Debug, Clone, Default)]
struct Member {
    standing: Standing,
    leave: Option<Leave>,
    /// The order to leave was given to its present actor, for this start.
    sent: Option<Generation>,
    /// The window was used up by it, and it has not yet said what it does.
    gave_up: Option<GaveUp>,
    /// Whom it was told to wait for.
    waits_for: Option<usize>,
    /// The start that its present actor was given a turn for, and how many it had taken before.
    turn: Option<(Generation, u64)>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct GroupCore {
    spec: Arc<GroupSpec>,
    members: Vec<Member>,
    /// Failures up to then are forgotten by decision of somebody; not all members may know that yet.
    fresh_since: Option<Moment>,
    effects: Vec<Effect>,
}

impl GroupCore {
    /// A group that has not heard of any member.
    pub fn new(spec: Arc<GroupSpec>) -> Self {
        let members = vec![Member::default(); spec.members.len()];
        Self { spec, members, fresh_since: None, effects: Vec::new() }
    }

    /// The rules.
    pub fn spec(&self) -> &Arc<GroupSpec> {
        &self.spec
    }

    /// Whether it is known of each member how it stands.
    pub fn knows_all(&self) -> bool {
        self.members.iter().all(|member| member.standing.phase != Phase::Unknown)
    }

    /// How a member stands.
    pub fn standing(&self, place: usize) -> Option<&Standing> {
        self.members.get(place).map(|member| &member.standing)
    }

    /// Goes on under other rules; who stays a member keeps its standing.
    pub fn reshape(&mut self, spec: Arc<GroupSpec>, now: Moment) -> Vec<Effect> {
        let place = |name| self.spec.place(name);
        let kept = spec.members.iter().map(|name| {
            let member = place(name).and_then(|place| self.members.get(place)).cloned();
            // places have changed
            Member { waits_for: None, ..member.unwrap_or_default() }
        });
        self.members = kept.collect();
        self.spec = spec;
        self.settle(now)
    }

    /// Only these may have a process: others that were not heard of are not there.
    pub fn census(&mut self, present: &HashSet<ModelName>, now: Moment) -> Vec<Effect> {
        for (name, member) in self.spec.members.iter().zip(&mut self.members) {
            if member.standing.phase == Phase::Unknown && !present.contains(name) {
                member.standing.phase = Phase::Absent { asked: false };
            }
        }
        self.settle(now)
    }

    /// A member tells how it stands; `new_actor`: it is another actor than the one that told last.
    pub fn report(
        &mut self,
        place: usize,
        standing: Standing,
        new_actor: bool,
        now: Moment,
    ) -> Vec<Effect> {
        let Some(member) = self.members.get_mut(place) else { return Vec::new() };
        let mut standing = standing;
        let of_turn = member.turn.is_some_and(|(generation, before)| {
            !new_actor && generation == standing.generation && standing.turns <= before
        });
        if of_turn && standing.phase == Phase::Waiting {
            // told before it got its turn, which is on its way
            standing.phase = member.standing.phase;
            standing.round = member.standing.round;
        }
        let before = std::mem::replace(&mut member.standing, standing);
        if before.generation != member.standing.generation {
            member.waits_for = None;
        }
        if new_actor {
            member.turn = None;
            member.sent = None;
            member.waits_for = None;
            // what it was told may have died with its predecessor
            self.effects.extend(member.gave_up.clone().map(|gave_up| gave_up.order(place)));
        }
        self.look_for_fresh_chance(place);
        if before.phase != Phase::Unknown {
            self.look_for_ends(place, &before);
            self.look_for_failures(place, &before, now);
        }
        self.settle(now)
    }

    /// Whether somebody decided by hand that all get a fresh chance.
    fn look_for_fresh_chance(&mut self, place: usize) {
        let Some(since) = self.members[place].standing.fresh_since else { return };
        if self.fresh_since < Some(since) {
            self.fresh_since = Some(since);
            let others = self.others(place).map(|other| Effect::Order(other, Order::Forget(since)));
            self.effects.extend(others);
        }
    }

    fn look_for_failures(&mut self, place: usize, before: &Standing, now: Moment) {
        let fresh = self.members[place].standing.failures.last() > before.failures.last();
        if !fresh || self.restarts_in_window(now) <= self.spec.intensity as usize {
            return;
        }
        let why = format!(
            "{OF_GROUP}{}: {} in {} used up, last: {}",
            self.spec.name,
            count(self.spec.intensity),
            humantime::format_duration(self.spec.period),
            self.said(place),
        );
        let Some(failure) = self.members[place].standing.failures.last().copied() else { return };
        let gave_up = GaveUp { why: why.clone(), failure };
        self.effects.push(gave_up.clone().order(place));
        self.members[place].gave_up = Some(gave_up);
        self.effects.push(Effect::Tell { kind: "group_gave_up", cause: why });
    }

    fn restarts_in_window(&self, now: Moment) -> usize {
        let all = self.members.iter().flat_map(|member| member.standing.failures.iter().copied());
        let is_counted = |failure: &Moment| self.fresh_since.is_none_or(|since| *failure > since);
        let mut all: Vec<Moment> = all.filter(is_counted).collect();
        all.sort_unstable();
        RestartWindow::with_restarts(self.spec.intensity, self.spec.period, &all).count(now)
    }

    fn look_for_ends(&mut self, place: usize, before: &Standing) {
        let member = &mut self.members[place];
        let phase = member.standing.phase;
        let decided = match phase {
            Phase::Waiting => false,
            Phase::Resting => before.until != member.standing.until,
            _ => true,
        };
        let standing = &member.standing;
        member.gave_up.take_if(|gave_up| !standing.failures.contains(&gave_up.failure));
        let gave_up = if decided { member.gave_up.take() } else { None };
        match phase {
            Phase::Parked if before.phase != Phase::Parked && member.leave.is_none() => {
                let until = member.standing.until.unwrap_or_default();
                let (whom, why) = match gave_up {
                    Some(GaveUp { why, .. }) => (self.others(place).collect(), why),
                    None => (self.concerned(place), format!("{BECAUSE_OF}{}", self.said(place))),
                };
                self.park(&whom, &why, until, place);
            }
            Phase::Absent { asked: true } if !matches!(before.phase, Phase::Absent { .. }) => {
                for other in self.concerned(place).into_iter().rev() {
                    let phase = self.members[other].standing.phase;
                    let is_down = matches!(
                        phase,
                        Phase::Absent { .. } | Phase::Unknown | Phase::Ending { comes_back: false }
                    );
                    if !is_down {
                        self.effects.push(Effect::Order(other, Order::TakeDown));
                    }
                }
            }
            _ => {}
        }
    }

    fn park(&mut self, whom: &[usize], why: &str, until: Moment, cause: usize) {
        let mut parked = false;
        for other in whom {
            let member = &mut self.members[*other];
            let to_park = !matches!(
                member.standing.phase,
                Phase::Absent { .. }
                    | Phase::Unknown
                    | Phase::Parked
                    | Phase::Ending { comes_back: false }
            );
            if to_park {
                member.leave = Some(Leave::Park(why.to_owned(), until));
                member.sent = None;
                parked = true;
            }
        }
        if parked {
            let cause = self.said(cause);
            self.effects.push(Effect::Tell { kind: "group_parked", cause });
        }
    }

    fn settle(&mut self, now: Moment) -> Vec<Effect> {
        self.welcome();
        self.find_who_leaves();
        self.send_who_leaves(now);
        self.give_turns();
        std::mem::take(&mut self.effects)
    }

    /// What came up before it was a member belongs to the round that goes on.
    fn welcome(&mut self) {
        let round = self.present_round();
        for (place, member) in self.members.iter_mut().enumerate() {
            if member.standing.phase.is_up() && member.standing.round.is_none() {
                member.standing.round = Some(round);
                self.effects.push(Effect::Order(place, Order::Joined(round)));
            }
        }
    }

    /// The round of what is up, or else a new one.
    fn present_round(&self) -> u64 {
        let last = |up: bool| {
            let members = self.members.iter().map(|member| &member.standing);
            members.filter(|standing| !up || standing.phase.is_up()).filter_map(|s| s.round).max()
        };
        last(true).unwrap_or_else(|| last(false).map_or(1, |round| round + 1))
    }

    fn find_who_leaves(&mut self) {
        let mut cause = None;
        for place in 0..self.members.len() {
            let member = &self.members[place];
            if member.leave.is_some() || !member.standing.phase.is_up() {
                continue;
            }
            let Some(lost) = self.lost_for(place) else { continue };
            let said = self.said(lost);
            self.members[place].leave = Some(Leave::Along(format!("{BECAUSE_OF}{said}")));
            self.members[place].sent = None;
            cause = Some(said);
        }
        if let Some(cause) = cause {
            self.effects.push(Effect::Tell { kind: "group_restarting", cause });
        }
    }

    /// The member whose loss takes this one along; rather one that failed by itself than one that was taken along.
    fn lost_for(&self, place: usize) -> Option<usize> {
        let round = self.members[place].standing.round;
        let lost = self.others(place).filter(|other| {
            let Member { standing, gave_up, .. } = &self.members[*other];
            standing.phase.is_lost()
                && standing.round.is_some()
                // what becomes of it, and so of the others, it says at once
                && gave_up.is_none()
                && match self.spec.strategy {
                    GroupStrategy::OneForOne => false,
                    GroupStrategy::OneForAll => standing.round == round,
                    GroupStrategy::RestForOne => *other < place,
                }
        });
        lost.min_by_key(|other| self.members[*other].standing.why.starts_with(BECAUSE_OF))
    }

    /// The last one goes first, and each when those after it are gone.
    fn send_who_leaves(&mut self, now: Moment) {
        let mut is_clear = true;
        for (place, member) in self.members.iter_mut().enumerate().rev() {
            let phase = member.standing.phase;
            let has_process = phase.is_up() || phase.is_ending();
            let is_done = match (&member.leave, phase) {
                (_, Phase::Absent { .. } | Phase::Parked) => true,
                (Some(Leave::Along(_)), _) => !has_process,
                // somebody wanted it started again meanwhile
                (Some(Leave::Park(..)), Phase::Waiting) => {
                    member.sent.is_some_and(|start| start < member.standing.generation)
                }
                _ => false,
            };
            if is_done {
                member.leave = None;
            }
            if let Some(leave) = member.leave.clone().filter(|_| member.sent.is_none())
                && (is_clear || !has_process)
            {
                member.sent = Some(member.standing.generation);
                let order = match leave {
                    Leave::Along(cause) => Order::Along(cause),
                    // in whole seconds: a person reads it
                    Leave::Park(why, until) => {
                        let seconds = until.since(now).as_secs_f64().ceil();
                        Order::Park { why, cool_off: Duration::from_secs_f64(seconds) }
                    }
                };
                self.effects.push(Effect::Order(place, order));
            }
            is_clear &= !(phase.is_ending() || has_process && member.leave.is_some());
        }
    }

    fn give_turns(&mut self) {
        for place in 0..self.members.len() {
            let member = &self.members[place];
            let is_open = member.leave.is_none() && member.gave_up.is_none();
            if member.standing.phase != Phase::Waiting || !is_open {
                continue;
            }
            if let Some(blocker) = self.blocker(place) {
                if self.members[place].waits_for.replace(blocker) != Some(blocker) {
                    let name = self.spec.members[blocker].clone();
                    self.effects.push(Effect::Order(place, Order::WaitFor(name)));
                }
                continue;
            }
            let round = self.present_round();
            let member = &mut self.members[place];
            let generation = member.standing.generation;
            member.waits_for = None;
            member.turn = Some((generation, member.standing.turns));
            member.standing.phase = Phase::Coming;
            member.standing.round = Some(round);
            self.effects.push(Effect::Order(place, Order::Turn { generation, round }));
        }
    }

    /// Who must come up, go down or make up its mind before this one may start.
    fn blocker(&self, place: usize) -> Option<usize> {
        if self.spec.strategy == GroupStrategy::OneForOne {
            return None;
        }
        let is_before = |other: &usize| {
            let phase = self.members[*other].standing.phase;
            *other < place && !matches!(phase, Phase::Alive | Phase::Absent { .. })
        };
        let is_not_settled = |other: &usize| {
            let member = &self.members[*other];
            let settled = match member.standing.phase {
                Phase::Coming | Phase::Alive => member.leave.is_none(),
                Phase::Waiting | Phase::Absent { .. } => true,
                Phase::Resting | Phase::Parked => self.spec.strategy == GroupStrategy::RestForOne,
                Phase::Ending { .. } | Phase::Stuck | Phase::Unknown => false,
            };
            !settled || member.gave_up.is_some()
        };
        self.others(place).find(is_not_settled).or_else(|| self.others(place).find(is_before))
    }

    /// Who shares the fate of a member.
    fn concerned(&self, place: usize) -> Vec<usize> {
        match self.spec.strategy {
            GroupStrategy::OneForOne => Vec::new(),
            GroupStrategy::OneForAll => self.others(place).collect(),
            GroupStrategy::RestForOne => (place + 1..self.members.len()).collect(),
        }
    }

    fn others(&self, place: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.members.len()).filter(move |other| *other != place)
    }

    /// `draft: exit 3`.
    fn said(&self, place: usize) -> String {
        let why = &self.members[place].standing.why;
        format!("{}: {why}", self.spec.members[place])
    }
}

fn count(restarts: u32) -> String {
    if restarts == 1 { "1 restart".into() } else { format!("{restarts} restarts") }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
