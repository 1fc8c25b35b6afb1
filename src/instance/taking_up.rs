//! How the desk comes to the actor of an instance: it has one started, is told of it, and takes up those on record
//! when it or the supervisor of the instances was replaced.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Addr, AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;

use super::actor::{Above, InstanceActor, TakeDown};
use super::command_line::script_path;
use super::desk::{ATTEMPTS, FoundActor, ModelDesk, PAUSE, ReadyBackend};
use super::endpoint::Endpoint;
use super::messages::ModelError;
use super::services::Services;
use super::unload::is_recorded;
use crate::ids::{ModelName, ProcessKey};
use crate::launcher::table_messages::{Forget, ReadInventory, RemoveSocket, Signal};
use crate::launcher::{GroupSignal, InstanceRecord};
use crate::limits;
use crate::registry::messages::InstanceGone;
use crate::settings::model::{BackendSpec, LaunchForm, ModelSpec, ServiceSettings};
use crate::supervision::core::AdminError;
use crate::supervision::supervisor::StartChild;
use crate::supervision::{ChildRules, ChildSpec, Restart, Supervisor};

impl ModelDesk {
    /// The actor of a model's instance; it is started where there is none.
    pub(super) fn instance(
        &mut self,
        (model, backend): ReadyBackend,
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<FoundActor> {
        let (answer, wait) = oneshot::channel();
        if let Some(addr) = self.live(&model.name) {
            // the receiver is in our hands: it cannot have gone
            let _ = answer.send(Ok(addr));
            return wait;
        }
        let entry = self.instances.entry(model.name.clone()).or_default();
        entry.addr = None;
        if entry.waiting.len() >= limits::LOAD_WAITERS {
            let _ = answer.send(Err(ModelError::Crowded(model.name.to_string())));
            return wait;
        }
        entry.waiting.push(answer);
        if entry.waiting.len() == 1 {
            self.last_start += 1;
            entry.start = self.last_start;
            self.start_instance(model, backend, ctx);
        }
        wait
    }

    fn start_instance(
        &self,
        model: Arc<ModelSpec>,
        backend: Arc<BackendSpec>,
        ctx: &mut Context<Self>,
    ) {
        let (name, start) = (model.name.clone(), self.last_start);
        let Some(supervisor) = self.supervisor.clone() else {
            let error = ModelError::Replaced(name.to_string());
            ctx.notify(StartRefused { name, start, error });
            return;
        };
        let services = self.services.clone();
        let desk = ctx.address();
        actix_rt::spawn(async move {
            let started = start_actor(&supervisor, &desk, model, backend, services).await;
            if let Err(error) = started {
                desk.do_send(StartRefused { name, start, error });
            }
        });
    }
}

/// Checks what can be checked before a process exists, and adds the instance to its supervisor.
async fn start_actor(
    supervisor: &Addr<Supervisor>,
    desk: &Addr<ModelDesk>,
    model: Arc<ModelSpec>,
    backend: Arc<BackendSpec>,
    services: Services,
) -> Result<(), ModelError> {
    if let Some(missing) = missing_script(&backend, &services.settings).await
        // one on record may have a process, which nobody else would watch
        && !is_recorded(&services.table, &model.instance_id()).await
    {
        return Err(ModelError::ScriptMissing(missing));
    }
    for _ in 0..ATTEMPTS {
        let spec = child_spec(
            supervisor.clone(),
            desk.clone(),
            model.clone(),
            backend.clone(),
            services.clone(),
        );
        match supervisor.send(StartChild(spec)).await {
            Ok(Ok(_)) => return Ok(()),
            // the one before is just leaving
            Ok(Err(AdminError::AlreadyStarted | AdminError::AlreadyPresent)) => {
                tokio::time::sleep(PAUSE).await;
            }
            // a new one introduces itself
            Ok(Err(AdminError::Stopping)) | Err(_) => break,
            Ok(Err(error)) => return Err(ModelError::Internal(error.to_string())),
        }
    }
    Err(ModelError::Replaced(model.name.to_string()))
}

/// The script that this backend would run, if there is none.
async fn missing_script(backend: &BackendSpec, settings: &ServiceSettings) -> Option<String> {
    let LaunchForm::Script { script, .. } = &backend.launch else { return None };
    let Ok(path) = script_path(settings, script) else { return Some(script.clone()) };
    let wanted = path.clone();
    // a look at the disk may block
    let exists = tokio::task::spawn_blocking(move || wanted.is_file()).await.unwrap_or(false);
    (!exists).then(|| path.display().to_string())
}

fn child_spec(
    supervisor: Addr<Supervisor>,
    desk: Addr<ModelDesk>,
    model: Arc<ModelSpec>,
    backend: Arc<BackendSpec>,
    services: Services,
) -> ChildSpec {
    // transient: an instance that was unloaded ends normally and is not brought back
    let rules = ChildRules {
        restart: Restart::Transient,
        ..ChildRules::worker(model.instance_id().as_str())
    };
    let name = model.name.clone();
    let asked = desk.clone();
    ChildSpec::actor(
        rules,
        move |slot| {
            let above = Above {
                supervisor: supervisor.clone().recipient(),
                desk: asked.clone().recipient(),
            };
            InstanceActor::new(model.clone(), backend.clone(), services.clone(), above, slot)
        },
        move |addr| desk.do_send(Introduce { model: name.clone(), addr }),
    )
}

/// An instance's actor was started, for the first time or again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Introduce {
    model: ModelName,
    addr: Addr<InstanceActor>,
}

impl Handler<Introduce> for ModelDesk {
    type Result = ();

    fn handle(&mut self, Introduce { model, addr }: Introduce, _: &mut Self::Context) {
        // its supervisor may have started it by an older spec than the one in force
        match self.catalogue.find(model.as_str()) {
            Ok(spec) if spec.name == model => {
                if let Some(backend) = &spec.backend {
                    addr.do_send(self.reconfigure(spec, backend));
                }
            }
            // taken out of the configuration while its actor was being replaced
            _ => addr.do_send(TakeDown { kill: false, closing: false }),
        }
        if self.closing {
            // replaced while all are being stopped
            addr.do_send(TakeDown { kill: false, closing: true });
        }
        let entry = self.instances.entry(model).or_default();
        for waiting in entry.waiting.drain(..) {
            // whoever waited may have left
            let _ = waiting.send(Ok(addr.clone()));
        }
        entry.addr = Some(addr);
    }
}

/// An instance could not be started at all.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct StartRefused {
    name: ModelName,
    start: u64,
    error: ModelError,
}

impl Handler<StartRefused> for ModelDesk {
    type Result = ();

    fn handle(&mut self, refused: StartRefused, _: &mut Self::Context) {
        let entry = self.instances.get_mut(&refused.name);
        // who waits now may wait for another start, by the successor of a supervisor that is gone
        if let Some(entry) = entry.filter(|entry| entry.start == refused.start) {
            for waiting in entry.waiting.drain(..) {
                let _ = waiting.send(Err(refused.error.clone()));
            }
        }
    }
}

/// The instance supervisor runs; what was loaded before (it may have been restarted) is taken up again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SupervisorUp(pub Addr<Supervisor>);

impl Handler<SupervisorUp> for ModelDesk {
    type Result = ();

    fn handle(&mut self, SupervisorUp(supervisor): SupervisorUp, ctx: &mut Self::Context) {
        self.supervisor = Some(supervisor);
        for (model, entry) in &mut self.instances {
            entry.addr = None;
            entry.start = 0;
            // started by its predecessor, if at all: to be asked for again
            for waiting in entry.waiting.drain(..) {
                let _ = waiting.send(Err(ModelError::Replaced(model.to_string())));
            }
        }
        self.groups.clear();
        self.use_groups(ctx);
        let inventory = self.services.table.send(ReadInventory);
        let desk = ctx.address();
        actix_rt::spawn(async move {
            if let Ok(inventory) = inventory.await {
                let mut live: HashMap<_, _> = inventory
                    .live
                    .into_iter()
                    .map(|(key, _)| (key.instance.clone(), key))
                    .collect();
                for record in inventory.records {
                    let process = live.remove(&record.instance);
                    desk.do_send(TakeUp { record, process });
                }
            }
        });
    }
}

/// An instance is on record.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct TakeUp {
    record: InstanceRecord,
    process: Option<ProcessKey>,
}

impl Handler<TakeUp> for ModelDesk {
    type Result = ();

    fn handle(&mut self, TakeUp { record, process }: TakeUp, ctx: &mut Self::Context) {
        match self.find(&record.model) {
            // the actor attaches to its record by itself; nobody waits for it here
            Ok(found) if found.0.name.as_str() == record.model => drop(self.instance(found, ctx)),
            // found by its full name: that is another model now
            Ok(_) => self.drop_record(record, process, "its model is gone"),
            Err(error) => self.drop_record(record, process, &error.to_string()),
        }
    }
}

impl ModelDesk {
    fn drop_record(&self, record: InstanceRecord, process: Option<ProcessKey>, why: &str) {
        let (instance, generation) = (record.instance, record.generation);
        tracing::warn!(%instance, %generation, why, "a recorded instance is not taken up");
        self.services.prober.forget(&ProcessKey { instance: instance.clone(), generation });
        // without an actor nobody would ever end it
        if let Some(key) = process {
            self.services.table.do_send(Signal { key, signal: GroupSignal::Kill });
        }
        if let Some(path) = Endpoint::recorded(&record.endpoint).socket_path() {
            self.services.table.do_send(RemoveSocket(path));
        }
        self.services.table.do_send(Forget(instance.clone()));
        self.services.gone.do_send(InstanceGone { instance, generation });
    }
}
