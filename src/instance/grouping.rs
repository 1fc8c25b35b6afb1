//! The desk's part in groups: it has one actor started for each that is configured, and tells members of theirs.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use actix::{Addr, AsyncContext, Context, Handler, Message};

use super::desk::{ATTEMPTS, ModelDesk, PAUSE};
use super::group::messages::{Census, Disband, Reshape};
use super::group::{Group, child_id};
use super::services::Services;
use crate::events::messages::Record;
use crate::ids::{GroupName, ModelName};
use crate::launcher::table::ProcessTable;
use crate::launcher::table_messages::ReadInventory;
use crate::limits;
use crate::settings::model::{GroupSpec, ModelSpec};
use crate::supervision::core::AdminError;
use crate::supervision::supervisor::StartChild;
use crate::supervision::{ChildRules, ChildSpec, Restart, Supervisor};

/// What the desk knows of one group.
pub(super) struct GroupEntry {
    spec: Arc<GroupSpec>,
    addr: Option<Addr<Group>>,
    /// Why it cannot be started, as far as that was told.
    told: Option<String>,
}

impl ModelDesk {
    /// The group of a model, if it has one that runs.
    pub(super) fn group_of(&self, model: &ModelSpec) -> Option<Addr<Group>> {
        self.groups.get(&model.group.as_ref()?.name)?.addr.clone()
    }

    /// Brings the groups that run in line with the configuration.
    pub(super) fn use_groups(&mut self, ctx: &mut Context<Self>) {
        let models = self.catalogue.models().iter();
        let specs = models.filter_map(|model| model.group.clone());
        let wanted: BTreeMap<_, _> = specs.map(|spec| (spec.name.clone(), spec)).collect();
        self.groups.retain(|name, entry| {
            let stays = wanted.contains_key(name);
            if let Some(addr) = entry.addr.as_ref().filter(|_| !stays) {
                addr.do_send(Disband);
            }
            stays
        });
        for (name, spec) in wanted {
            match self.groups.get_mut(&name) {
                None => {
                    self.groups
                        .insert(name, GroupEntry { spec: spec.clone(), addr: None, told: None });
                    self.start_group(spec, ctx);
                }
                Some(entry) if entry.spec != spec => {
                    entry.spec = spec;
                    self.tell_group(&name);
                }
                Some(_) => {}
            }
        }
    }

    fn start_group(&self, spec: Arc<GroupSpec>, ctx: &mut Context<Self>) {
        // without a supervisor: the next one asks for all groups
        let Some(supervisor) = self.supervisor.clone() else { return };
        let (services, desk) = (self.services.clone(), ctx.address());
        actix_rt::spawn(async move {
            let mut why = String::new();
            for _ in 0..ATTEMPTS {
                let child = child_spec(&supervisor, &desk, &spec, &services);
                match supervisor.send(StartChild(child)).await {
                    // the one before is just leaving
                    Ok(Err(error @ (AdminError::AlreadyStarted | AdminError::AlreadyPresent))) => {
                        why = error.to_string();
                        tokio::time::sleep(PAUSE).await;
                    }
                    Ok(Ok(_) | Err(AdminError::Stopping)) | Err(_) => return,
                    Ok(Err(error)) => {
                        why = error.to_string();
                        break;
                    }
                }
            }
            desk.do_send(NotStarted { name: spec.name.clone(), supervisor, why });
        });
    }

    /// Tells a group its rules, and who may be there; it decides nothing before it knows.
    fn tell_group(&self, name: &GroupName) {
        let Some(entry) = self.groups.get(name) else { return };
        let Some(group) = entry.addr.clone() else { return };
        group.do_send(Reshape(entry.spec.clone()));
        actix_rt::spawn(take_census(self.services.table.clone(), group));
    }
}

/// Tells a group who is on record, until it knows of each of its members how it stands. One that was just leaving when
/// the group came tells nobody any more, and is off the record soon.
async fn take_census(table: Addr<ProcessTable>, group: Addr<Group>) {
    while group.connected() {
        if let Ok(inventory) = table.send(ReadInventory).await {
            let names = inventory.records.iter();
            let names = names.filter_map(|record| ModelName::try_new(&record.model).ok());
            let present: HashSet<_> = names.collect();
            // a group that is gone has a successor, which is told by itself
            if group.send(Census(present)).await.unwrap_or(true) {
                return;
            }
        }
        tokio::time::sleep(limits::CENSUS_EVERY).await;
    }
}

fn child_spec(
    supervisor: &Addr<Supervisor>,
    desk: &Addr<ModelDesk>,
    spec: &Arc<GroupSpec>,
    services: &Services,
) -> ChildSpec {
    // transient: one that a reload took away ends normally
    let rules =
        ChildRules { restart: Restart::Transient, ..ChildRules::worker(child_id(&spec.name)) };
    let (spec, services) = (spec.clone(), services.clone());
    let (supervisor, desk, name) = (supervisor.clone(), desk.clone(), spec.name.clone());
    ChildSpec::actor(
        rules,
        move |slot| {
            let above = supervisor.clone().recipient();
            Group::new(spec.clone(), services.clock, services.events.clone(), above, slot)
        },
        move |addr| desk.do_send(GroupUp { name: name.clone(), addr }),
    )
}

/// A group's actor was started, for the first time or again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct GroupUp {
    name: GroupName,
    addr: Addr<Group>,
}

impl Handler<GroupUp> for ModelDesk {
    type Result = ();

    fn handle(&mut self, GroupUp { name, addr }: GroupUp, _: &mut Self::Context) {
        let Some(entry) = self.groups.get_mut(&name) else {
            // taken out of the configuration while it was being started
            addr.do_send(Disband);
            return;
        };
        entry.addr = Some(addr);
        entry.told = None;
        self.tell_group(&name);
        for (model, backend) in self.catalogue.models().iter().filter_map(|model| {
            let of_group = model.group.as_ref().is_some_and(|group| group.name == name);
            Some((model, model.backend.as_ref().filter(|_| of_group)?))
        }) {
            if let Some(member) = self.live(&model.name) {
                member.do_send(self.reconfigure(model, backend));
            }
        }
    }
}

/// A group's actor could not be started.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct NotStarted {
    name: GroupName,
    supervisor: Addr<Supervisor>,
    why: String,
}

impl Handler<NotStarted> for ModelDesk {
    type Result = ();

    /// Its models wait for it: that is told, and it is tried again.
    fn handle(&mut self, refused: NotStarted, ctx: &mut Self::Context) {
        let NotStarted { name, supervisor, why } = refused;
        if self.supervisor.as_ref() != Some(&supervisor) {
            // the present one was asked for all groups
            return;
        }
        let Some(entry) = self.groups.get_mut(&name).filter(|entry| entry.addr.is_none()) else {
            return;
        };
        if entry.told.as_ref() != Some(&why) {
            entry.told = Some(why.clone());
            self.services.events.do_send(Record {
                subject: child_id(&name),
                model: None,
                generation: None,
                kind: "group_not_started",
                cause: Some(why),
            });
        }
        ctx.run_later(limits::GROUP_RETRY, move |this, ctx| {
            let entry = this.groups.get(&name).filter(|entry| entry.addr.is_none());
            if let Some(spec) = entry.map(|entry| entry.spec.clone())
                && this.supervisor.as_ref() == Some(&supervisor)
            {
                this.start_group(spec, ctx);
            }
        });
    }
}

/// Asks the desk for a group's actor, if there is one that runs.
#[derive(Debug, Message)]
#[rtype(result = "Option<Addr<Group>>")]
#[doc(hidden)]
pub struct FindGroup(pub GroupName);

impl Handler<FindGroup> for ModelDesk {
    type Result = Option<Addr<Group>>;

    fn handle(&mut self, FindGroup(name): FindGroup, _: &mut Context<Self>) -> Self::Result {
        self.groups.get(&name)?.addr.clone().filter(Addr::connected)
    }
}
