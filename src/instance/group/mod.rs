//! A group of instances whose failures concern each other.
//!
//! The actor only carries messages: members tell how they stand, the pure [`core`] decides, members are told what to
//! do. It owns no process and starts none; when it fails, nobody's process is touched, and its successor is told anew by
//! all members.

pub mod core;
pub mod messages;
pub mod standing;

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Recipient};

pub use self::core::Order;
use self::core::{Effect, GroupCore};
use self::messages::{Census, Disband, Escalation, Observe, Orders, Report, Reshape};
use self::standing::Phase;
use super::actor::InstanceActor;
use crate::clock::Clock;
use crate::events::messages::Record;
use crate::ids::{GroupName, ModelName};
use crate::settings::model::GroupSpec;
use crate::supervision::crash::crashes_on_request;
use crate::supervision::{ExitReason, ExitSlot, StopActor};

/// See the module.
pub struct Group {
    core: GroupCore,
    members: HashMap<ModelName, Addr<InstanceActor>>,
    clock: Clock,
    events: Recipient<Record>,
    /// Taken along when a member escalates.
    supervisor: Recipient<StopActor>,
    slot: ExitSlot,
}

/// The child id of a group below the supervisor of all instances; no instance has one like it.
pub fn child_id(name: &GroupName) -> String {
    format!("group {name}")
}

/// What the timeline says of the supervisor of all instances when a failure travels up over it.
pub(super) fn escalated_above(from: &impl std::fmt::Display, why: &str) -> Record {
    Record {
        subject: "instance_supervisor".to_owned(),
        model: None,
        generation: None,
        kind: "escalated",
        cause: Some(format!("{from}: {why}")),
    }
}

impl Group {
    /// A group that has not heard of its members.
    pub fn new(
        spec: Arc<GroupSpec>,
        clock: Clock,
        events: Recipient<Record>,
        supervisor: Recipient<StopActor>,
        slot: ExitSlot,
    ) -> Self {
        let (core, members) = (GroupCore::new(spec), HashMap::new());
        Self { core, members, clock, events, supervisor, slot }
    }

    fn carry_out(&self, effects: Vec<Effect>, ctx: &Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Order(place, order) => {
                    let name = self.core.spec().members.get(place);
                    if let Some(member) = name.and_then(|name| self.members.get(name)) {
                        member.do_send(Orders { group: ctx.address(), order });
                    }
                }
                Effect::Tell { kind, cause } => self.tell(kind, cause),
            }
        }
    }

    fn tell(&self, kind: &'static str, cause: String) {
        self.events.do_send(Record {
            subject: child_id(&self.core.spec().name),
            model: None,
            generation: None,
            kind,
            cause: Some(cause),
        });
    }
}

impl Actor for Group {
    type Context = Context<Self>;
}

impl Handler<Report> for Group {
    type Result = ();

    fn handle(&mut self, report: Report, ctx: &mut Self::Context) {
        let Some(place) = self.core.spec().place(&report.member) else { return };
        let before = self.members.insert(report.member, report.actor.clone());
        let new_actor = before.as_ref() != Some(&report.actor);
        let effects = self.core.report(place, report.standing, new_actor, self.clock.now());
        self.carry_out(effects, ctx);
    }
}

impl Handler<Census> for Group {
    type Result = bool;

    fn handle(&mut self, Census(present): Census, ctx: &mut Self::Context) -> Self::Result {
        let effects = self.core.census(&present, self.clock.now());
        self.carry_out(effects, ctx);
        self.core.knows_all()
    }
}

impl Handler<Reshape> for Group {
    type Result = ();

    fn handle(&mut self, Reshape(spec): Reshape, ctx: &mut Self::Context) {
        let effects = self.core.reshape(spec, self.clock.now());
        self.members.retain(|name, _| self.core.spec().place(name).is_some());
        self.carry_out(effects, ctx);
    }
}

impl Handler<Escalation> for Group {
    type Result = ();

    /// The failure goes on up: the supervisor of all instances fails with it, so that the root counts it.
    fn handle(&mut self, Escalation { member, why }: Escalation, _: &mut Self::Context) {
        let cause = format!("{member}: {why}");
        self.tell("escalated", cause.clone());
        let name = child_id(&self.core.spec().name);
        self.events.do_send(escalated_above(&name, &cause));
        self.supervisor.do_send(StopActor);
    }
}

impl Handler<Observe> for Group {
    type Result = Vec<Phase>;

    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Self::Result {
        let places = 0..self.core.spec().members.len();
        places.filter_map(|place| Some(self.core.standing(place)?.phase)).collect()
    }
}

impl Handler<Disband> for Group {
    type Result = ();

    fn handle(&mut self, _: Disband, ctx: &mut Self::Context) {
        self.slot.set(ExitReason::Normal);
        ctx.stop();
    }
}

impl Handler<StopActor> for Group {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

crashes_on_request!(Group);
