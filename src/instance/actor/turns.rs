//! Waiting for others: the models that this one is started after, and the members of its group.

use std::sync::Arc;

use actix::{
    ActorFutureExt, Addr, AsyncContext, Context, Handler, MailboxError, Message, WrapFuture,
};

use super::InstanceActor;
use crate::clock::Moment;
use crate::ids::{GroupName, ModelName};
use crate::instance::group::messages::{Escalation, Orders, Report};
use crate::instance::group::standing::{Phase, Standing};
use crate::instance::group::{Group, Order};
use crate::instance::machine::{Event, TRIAL};
use crate::instance::messages::{LoadBefore, ModelError};
use crate::instance::state::State;
use crate::launcher::TurnRecord;
use crate::limits;
use crate::registry::messages::InstanceView;

/// Where an instance stands among others.
#[derive(Default)]
pub(super) struct Turns {
    group: Option<Addr<Group>>,
    /// What the group was told last.
    told: Option<Standing>,
    /// The group, if there is one, has let this start go on.
    granted: bool,
    /// Counts what is waited for, so that an answer to an earlier wait is known for it.
    wait: u64,
    /// Held while this wait lasts: who is asked for another model looks whether it does.
    wanted: Arc<()>,
    /// Models that this start still waits for.
    before: Vec<ModelName>,
    /// The group that the following is about.
    of: Option<GroupName>,
    round: Option<u64>,
    /// Turns that this actor took.
    taken: u64,
    failures: Vec<Moment>,
    fresh_since: Option<Moment>,
}

impl Turns {
    pub(super) fn record(&self, of_machine: TurnRecord) -> TurnRecord {
        TurnRecord {
            group: self.of.clone(),
            round: self.round,
            failures: self.failures.clone(),
            fresh_since: self.fresh_since,
            ..of_machine
        }
    }

    pub(super) fn resume(&mut self, record: &TurnRecord) {
        self.of.clone_from(&record.group);
        self.round = record.round;
        self.failures.clone_from(&record.failures);
        self.fresh_since = record.fresh_since;
    }

    /// It is down: what becomes of it concerns nobody any more.
    pub(super) fn leave_round(&mut self) {
        self.begin_anew();
        self.round = None;
    }

    /// By hand: it and its whole group get a fresh chance.
    pub(super) fn begin_afresh(&mut self, now: Moment) {
        self.failures.clear();
        self.fresh_since = Some(now);
    }

    /// Another group has its own rounds, and does not count what was another one's concern.
    fn belong_to(&mut self, group: Option<GroupName>) {
        if self.of != group {
            self.of = group;
            self.round = None;
            self.failures.clear();
            self.fresh_since = None;
        }
    }

    /// What was waited for is not waited for any more.
    fn begin_anew(&mut self) {
        self.granted = false;
        self.before.clear();
        self.wait += 1;
        self.wanted = Arc::default();
    }
}

impl InstanceActor {
    pub(super) fn await_turn(&mut self, ctx: &mut Context<Self>) {
        self.turns.begin_anew();
        if self.model.group.is_none() {
            self.grant(ctx);
        } else {
            self.progress = Some("waiting for its group".to_owned());
        }
    }

    /// The group lets it start: now those that it is started after.
    fn grant(&mut self, ctx: &mut Context<Self>) {
        self.turns.granted = true;
        self.turns.before.clone_from(&self.model.after);
        self.show_waiting();
        if self.turns.before.is_empty() {
            // not from within a step of the machine
            ctx.notify(Granted(self.turns.wait));
        }
        for name in self.turns.before.clone() {
            self.bring_up_before(name, ctx);
        }
    }

    fn show_waiting(&mut self) {
        let names: Vec<_> = self.turns.before.iter().map(ModelName::as_str).collect();
        self.progress = (!names.is_empty()).then(|| format!("waiting for {}", names.join(", ")));
    }

    fn bring_up_before(&mut self, name: ModelName, ctx: &mut Context<Self>) {
        let wait = self.turns.wait;
        let wanted = Arc::downgrade(&self.turns.wanted);
        let load = LoadBefore { model: name.clone(), wanted };
        let asked = self.above.desk.send(load).into_actor(self);
        ctx.spawn(asked.map(move |answer, this, ctx| {
            if this.turns.wait == wait && this.machine.awaits_turn() {
                this.on_before(name, answer, ctx);
            }
        }));
    }

    fn on_before(
        &mut self,
        name: ModelName,
        answer: Result<Result<Arc<InstanceView>, ModelError>, MailboxError>,
        ctx: &mut Context<Self>,
    ) {
        match answer {
            Ok(Ok(_)) => {
                self.turns.before.retain(|before| *before != name);
                self.show_waiting();
                if self.turns.before.is_empty() {
                    self.feed(Event::Turn(self.machine.generation()), ctx);
                } else {
                    self.settle(ctx);
                }
            }
            // the stop of this one is on its way
            Ok(Err(ModelError::ShuttingDown)) => {}
            Err(_)
            | Ok(Err(ModelError::Replaced(_) | ModelError::Crowded(_) | ModelError::Internal(_))) =>
            {
                let wait = self.turns.wait;
                ctx.run_later(limits::AFTER_RETRY, move |this, ctx| {
                    if this.turns.wait == wait && this.machine.awaits_turn() {
                        this.bring_up_before(name, ctx);
                    }
                });
            }
            Ok(Err(error)) => {
                self.turns.begin_anew();
                self.progress = None;
                let error = error.to_string();
                let first = error.lines().next().unwrap_or_default();
                // what is done about the other one is no part of why this one cannot be had
                let first = first.split_once(TRIAL).map_or(first, |(why, _)| why);
                let why = format!("after {name}: {first}");
                self.feed(Event::NoTurn(self.machine.generation(), why), ctx);
            }
        }
    }

    pub(super) fn note_failure(&mut self) {
        let kept = self.model.group.as_ref().map_or(0, |group| group.intensity as usize + 1);
        self.turns.failures.push(self.services.clock.now());
        let excess = self.turns.failures.len().saturating_sub(kept);
        self.turns.failures.drain(..excess);
    }

    // ---- the group ---------------------------------------------------------------------------------------------

    /// Its group was replaced, changed, or taken away.
    pub(super) fn use_group(&mut self, group: Option<Addr<Group>>, ctx: &mut Context<Self>) {
        if self.turns.group != group {
            self.turns.group = group;
            self.turns.told = None;
        }
        self.turns.belong_to(self.model.group.as_ref().map(|group| group.name.clone()));
        if self.model.group.is_none() && self.machine.awaits_turn() && !self.turns.granted {
            self.grant(ctx);
        }
    }

    pub(super) fn tell_group(&mut self, ctx: &Context<Self>) {
        let Some(group) = &self.turns.group else { return };
        let standing = self.standing();
        if self.turns.told.as_ref() == Some(&standing) {
            return;
        }
        let member = self.model.name.clone();
        group.do_send(Report { member, actor: ctx.address(), standing: standing.clone() });
        self.turns.told = Some(standing);
    }

    /// Whether there was a group to take it.
    pub(super) fn escalate_to_group(&self, why: &str) -> bool {
        let Some(group) = self.turns.group.as_ref().filter(|group| group.connected()) else {
            return false;
        };
        group.do_send(Escalation { member: self.model.name.clone(), why: why.to_owned() });
        true
    }

    fn standing(&self) -> Standing {
        let machine = &self.machine;
        let phase = match machine.state() {
            State::Stopped => Phase::Absent { asked: machine.reason().is_none() },
            State::Starting if machine.awaits_turn() && !self.turns.granted => Phase::Waiting,
            State::Starting => Phase::Coming,
            State::Ready | State::Unhealthy => Phase::Alive,
            State::Stopping => {
                Phase::Ending { comes_back: machine.wanted() && !machine.ends_as_asked() }
            }
            State::Exited | State::Backoff => Phase::Resting,
            State::Parked => Phase::Parked,
            State::Unkillable => Phase::Stuck,
        };
        let last_exit = || self.last_exit.as_ref().map(|exit| exit.reason.as_str());
        let why = match phase {
            Phase::Parked => machine.parked_for(),
            Phase::Ending { .. } => machine.reason(),
            _ => last_exit(),
        };
        Standing {
            phase,
            generation: machine.generation(),
            round: self.turns.round,
            why: why.unwrap_or_default().to_owned(),
            until: machine.wait_until(),
            failures: self.turns.failures.clone(),
            fresh_since: self.turns.fresh_since,
            turns: self.turns.taken,
        }
    }

    fn follow_order(&mut self, order: Order, ctx: &mut Context<Self>) {
        let waits = self.machine.awaits_turn() && !self.turns.granted;
        match order {
            Order::Turn { generation, round } => {
                if waits && generation == self.machine.generation() {
                    self.turns.round = Some(round);
                    self.turns.taken += 1;
                    self.grant(ctx);
                }
            }
            Order::Joined(round) => self.turns.round = Some(round),
            Order::WaitFor(name) if waits => self.progress = Some(format!("waiting for {name}")),
            Order::WaitFor(_) => {}
            Order::Along(_) if waits => {}
            Order::Along(_) if self.machine.awaits_turn() => self.await_turn(ctx),
            Order::Along(cause) => self.feed(Event::TakenAlong(cause), ctx),
            Order::Park { why, cool_off } => self.feed(Event::ParkedAlong { why, cool_off }, ctx),
            Order::GaveUp { why, failure } if self.turns.failures.last() == Some(&failure) => {
                self.feed(Event::GroupGaveUp(why), ctx);
            }
            // forgotten meanwhile: somebody restarted it by hand
            Order::GaveUp { .. } => {}
            Order::TakeDown => self.feed(Event::Stop, ctx),
            Order::Forget(until) => {
                self.turns.failures.retain(|failure| *failure > until);
                // a group that was replaced says it again: what failed since then stands
                if self.turns.fresh_since < Some(until) {
                    self.turns.fresh_since = Some(until);
                    self.machine.forget_failures();
                }
            }
        }
        self.settle(ctx);
    }
}

/// Nothing is in the way of this wait any more.
#[derive(Message)]
#[rtype(result = "()")]
struct Granted(u64);

impl Handler<Granted> for InstanceActor {
    type Result = ();

    fn handle(&mut self, Granted(wait): Granted, ctx: &mut Self::Context) {
        if self.turns.wait == wait && self.turns.granted {
            self.feed(Event::Turn(self.machine.generation()), ctx);
        }
    }
}

impl Handler<Orders> for InstanceActor {
    type Result = ();

    fn handle(&mut self, orders: Orders, ctx: &mut Self::Context) {
        // one of a group that was replaced, or that it left: its successor orders anew
        if self.turns.group.as_ref() == Some(&orders.group) {
            self.follow_order(orders.order, ctx);
        }
    }
}
