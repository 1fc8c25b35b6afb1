//! Unloading by name: answered when the process is gone, whatever happens to the instance's actor meanwhile.

use actix::{Addr, AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

use super::actor::{InstanceActor, TakeDown};
use super::desk::{ATTEMPTS, Answer, FoundActor, ModelDesk, PAUSE};
use super::messages::{ModelError, UnloadModel};
use crate::ids::{InstanceId, ModelName};
use crate::launcher::table::ProcessTable;
use crate::launcher::table_messages::ReadInventory;
use crate::limits;

impl Handler<UnloadModel> for ModelDesk {
    type Result = Answer<()>;

    fn handle(&mut self, unload: UnloadModel, ctx: &mut Context<Self>) -> Self::Result {
        let name = unload.model;
        // a model that was taken out of the configuration may still run
        let (model, group) = match self.catalogue.find(&name) {
            Ok(model) => (Some(model.name.clone()), model.group.clone()),
            Err(_) => (ModelName::try_new(&name).ok(), None),
        };
        let Some(model) = model else {
            return Box::pin(std::future::ready(Err(ModelError::NotLoaded(name))));
        };
        let (desk, table) = (ctx.address(), self.services.table.clone());
        let Some(group) = group else { return Box::pin(take_down(desk, table, model, name)) };
        Box::pin(async move {
            let mut outcome = Err(ModelError::NotLoaded(name.clone()));
            for member in group.ended_with(&model).iter().rev() {
                let ended = take_down(desk.clone(), table.clone(), member.clone(), name.clone());
                // what becomes of the others is no answer to who asked for this one
                match ended.await {
                    ended if *member == model => outcome = ended,
                    Ok(()) | Err(ModelError::NotLoaded(_)) => {}
                    Err(error) => {
                        tracing::warn!(model = %member, %error, "not unloaded with its group")
                    }
                }
            }
            outcome
        })
    }
}

async fn take_down(
    desk: Addr<ModelDesk>,
    table: Addr<ProcessTable>,
    model: ModelName,
    name: String,
) -> Result<(), ModelError> {
    let mut was_there = false;
    for _ in 0..ATTEMPTS {
        let found =
            desk.send(FindLive(model.clone())).await.map_err(|_| ModelError::ShuttingDown)?;
        match found {
            Some(Present::Runs(addr)) => {
                was_there = true;
                match addr.send(TakeDown { kill: false, closing: false }).await {
                    Ok(Err(ModelError::Replaced(_))) | Err(_) => {}
                    Ok(answer) => return answer,
                }
            }
            // whoever has it started came before us, and is let to it first
            Some(Present::Starts(started)) => drop(started.await),
            None if is_recorded(&table, &InstanceId::of_model(&model)).await => {}
            // gone in the moment between: somebody else unloaded it
            None if was_there => return Ok(()),
            None => return Err(ModelError::NotLoaded(name)),
        }
        // on record without an actor: its successor comes at once
        tokio::time::sleep(PAUSE).await;
    }
    Err(ModelError::Replaced(name))
}

pub(super) async fn is_recorded(table: &Addr<ProcessTable>, instance: &InstanceId) -> bool {
    // without an answer, as with one that names it, there may be a process
    table.send(ReadInventory).await.map_or(true, |inventory| {
        inventory.records.iter().any(|record| record.instance == *instance)
    })
}

/// Asks the desk itself for an instance's actor, if there is one.
#[derive(Debug, Message)]
#[rtype(result = "Option<Present>")]
#[doc(hidden)]
pub struct FindLive(pub ModelName);

/// An instance's actor that is there.
#[derive(Debug)]
#[doc(hidden)]
pub enum Present {
    /// It takes requests.
    Runs(Addr<InstanceActor>),
    /// It is being started; resolves when it was, or was not.
    Starts(oneshot::Receiver<FoundActor>),
}

impl Handler<FindLive> for ModelDesk {
    type Result = Option<Present>;

    fn handle(&mut self, FindLive(model): FindLive, _: &mut Context<Self>) -> Self::Result {
        if let Some(addr) = self.live(&model) {
            return Some(Present::Runs(addr));
        }
        let entry = self.instances.get_mut(&model).filter(|entry| !entry.waiting.is_empty())?;
        let (answer, wait) = oneshot::channel();
        // where too many wait already, this one asks again
        if entry.waiting.len() < limits::LOAD_WAITERS {
            entry.waiting.push(answer);
        }
        Some(Present::Starts(wait))
    }
}
