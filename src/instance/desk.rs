//! Takes requests about models by name: finds the model, has an instance started where there is none, passes the
//! request on to it. It decides nothing about processes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, ResponseFuture};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::actor::{BringUp, BringUpHow, InstanceActor, Reconfigure, TakeDown, log_path};
use super::command_line::script_path;
use super::messages::{LoadModel, LogPage, ModelError, ReadLog, RestartModel};
use super::services::Services;
use crate::ids::{InstanceId, ModelName, ProcessKey};
use crate::launcher::GroupSignal;
use crate::launcher::table_messages::{Forget, ReadInventory, Signal, Tail};
use crate::limits;
use crate::registry::catalogue::Catalogue;
use crate::registry::messages::InstanceView;
use crate::settings::model::{BackendSpec, LaunchForm, ModelSpec, ServiceSettings};
use crate::supervision::core::AdminError;
use crate::supervision::crash::crashes_on_request;
use crate::supervision::supervisor::StartChild;
use crate::supervision::{ChildRules, ChildSpec, Restart, StopActor, Supervisor};

/// See the module.
pub struct ModelDesk {
    pub(super) catalogue: Catalogue,
    pub(super) services: Services,
    supervisor: Option<Addr<Supervisor>>,
    instances: HashMap<ModelName, Entry>,
    closing: bool,
}

#[derive(Default)]
struct Entry {
    addr: Option<Addr<InstanceActor>>,
    waiting: Vec<oneshot::Sender<Result<Addr<InstanceActor>, ModelError>>>,
}

pub(super) type Answer<T> = ResponseFuture<Result<T, ModelError>>;
type ReadyBackend = (Arc<ModelSpec>, Arc<BackendSpec>);

/// How often a request is passed on again when the instance's actor was replaced under it.
pub(super) const ATTEMPTS: u32 = 10;
/// The pause before that; a replacement takes microseconds.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

impl ModelDesk {
    /// A desk for these models.
    pub fn new(catalogue: Catalogue, services: Services) -> Self {
        Self { catalogue, services, supervisor: None, instances: HashMap::new(), closing: false }
    }

    fn find(&self, name: &str) -> Result<ReadyBackend, ModelError> {
        if self.closing {
            return Err(ModelError::ShuttingDown);
        }
        let model = self.catalogue.find(name)?;
        match &model.backend {
            Some(backend) => Ok((model.clone(), backend.clone())),
            None => Err(ModelError::NoBackend(model.model_type.clone())),
        }
    }

    fn reconfigure(&self, model: &Arc<ModelSpec>, backend: &Arc<BackendSpec>) -> Reconfigure {
        Reconfigure {
            model: model.clone(),
            backend: backend.clone(),
            settings: self.services.settings.clone(),
        }
    }

    /// The actor of a model's instance, if it runs.
    pub(super) fn live(&self, model: &ModelName) -> Option<Addr<InstanceActor>> {
        self.instances.get(model)?.addr.clone().filter(Addr::connected)
    }

    /// The actor of a model's instance; it is started where there is none.
    fn instance(
        &mut self,
        (model, backend): ReadyBackend,
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<Result<Addr<InstanceActor>, ModelError>> {
        let (answer, wait) = oneshot::channel();
        if let Some(addr) = self.live(&model.name) {
            // the receiver is in our hands: it cannot have gone
            let _ = answer.send(Ok(addr));
            return wait;
        }
        let entry = self.instances.entry(model.name.clone()).or_default();
        entry.addr = None;
        entry.waiting.push(answer);
        if entry.waiting.len() == 1 {
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
        let name = model.name.clone();
        let Some(supervisor) = self.supervisor.clone() else {
            let error = ModelError::Replaced(name.to_string());
            ctx.notify(StartRefused { name, error });
            return;
        };
        let services = self.services.clone();
        let desk = ctx.address();
        actix_rt::spawn(async move {
            let started = start(&supervisor, &desk, model, backend, services).await;
            if let Err(error) = started {
                desk.do_send(StartRefused { name, error });
            }
        });
    }

    /// Passes a wish on, again where the instance's actor is replaced under it.
    fn bring_up(
        &mut self,
        name: &str,
        wish: BringUp,
        ctx: &mut Context<Self>,
    ) -> Answer<Arc<InstanceView>> {
        let found = match self.find(name) {
            Ok(found) => found,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let model = found.0.name.clone();
        let mut instance = self.instance(found, ctx);
        let desk = ctx.address();
        Box::pin(async move {
            for _ in 0..ATTEMPTS {
                match instance.await.unwrap_or(Err(ModelError::ShuttingDown)) {
                    Ok(addr) => match addr.send(wish).await {
                        Ok(Err(ModelError::Replaced(_))) | Err(_) => {}
                        Ok(answer) => return answer,
                    },
                    Err(ModelError::Replaced(_)) => {}
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(PAUSE).await;
                let asked = desk.send(FindActor(model.clone())).await;
                instance = asked.map_err(|_| ModelError::ShuttingDown)??;
            }
            Err(ModelError::Replaced(model.to_string()))
        })
    }
}

/// Checks what can be checked before a process exists, and adds the instance to its supervisor.
async fn start(
    supervisor: &Addr<Supervisor>,
    desk: &Addr<ModelDesk>,
    model: Arc<ModelSpec>,
    backend: Arc<BackendSpec>,
    services: Services,
) -> Result<(), ModelError> {
    if let LaunchForm::Script { script, .. } = &backend.launch {
        let path = script_path(&services.settings, script)
            .map_err(|_| ModelError::ScriptMissing(script.clone()))?;
        let wanted = path.clone();
        // a look at the disk may block
        let exists = tokio::task::spawn_blocking(move || wanted.is_file()).await.unwrap_or(false);
        if !exists {
            return Err(ModelError::ScriptMissing(path.display().to_string()));
        }
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
            Ok(Err(error)) => return Err(ModelError::Internal(error.to_string())),
            // a new one introduces itself
            Err(_) => break,
        }
    }
    Err(ModelError::Replaced(model.name.to_string()))
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
    ChildSpec::actor(
        rules,
        move |slot| {
            let supervisor = supervisor.clone().recipient();
            InstanceActor::new(model.clone(), backend.clone(), services.clone(), supervisor, slot)
        },
        move |addr| desk.do_send(Introduce { model: name.clone(), addr }),
    )
}

impl Actor for ModelDesk {
    type Context = Context<Self>;
}

impl Handler<StopActor> for ModelDesk {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<LoadModel> for ModelDesk {
    type Result = Answer<Arc<InstanceView>>;

    fn handle(&mut self, load: LoadModel, ctx: &mut Self::Context) -> Self::Result {
        let how = if load.revive { BringUpHow::Load } else { BringUpHow::Lead };
        self.bring_up(&load.model, BringUp { patient: load.wait, how }, ctx)
    }
}

impl Handler<RestartModel> for ModelDesk {
    type Result = Answer<Arc<InstanceView>>;

    fn handle(&mut self, restart: RestartModel, ctx: &mut Self::Context) -> Self::Result {
        let wish = BringUp { patient: restart.wait, how: BringUpHow::Restart };
        self.bring_up(&restart.model, wish, ctx)
    }
}

impl Handler<ReadLog> for ModelDesk {
    type Result = Answer<LogPage>;

    fn handle(&mut self, read: ReadLog, _: &mut Self::Context) -> Self::Result {
        let name = match self.catalogue.find(&read.model) {
            Ok(model) => model.name.clone(),
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let asked = self.services.table.send(Tail {
            log_path: log_path(&self.services, &InstanceId::of_model(&name)),
            lines: read.lines.min(limits::LOG_LINES),
            after_offset: read.after_offset,
        });
        Box::pin(async move {
            match asked.await {
                Ok(Ok(tail)) => Ok(LogPage { lines: tail.lines, next_offset: tail.next_offset }),
                Ok(Err(reason)) => {
                    Err(ModelError::LogUnreadable { name: name.to_string(), reason })
                }
                Err(error) => Err(ModelError::Internal(format!("process table: {error}"))),
            }
        })
    }
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
            _ => addr.do_send(TakeDown { retire: true, kill: false }),
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
    error: ModelError,
}

impl Handler<StartRefused> for ModelDesk {
    type Result = ();

    fn handle(&mut self, refused: StartRefused, _: &mut Self::Context) {
        if let Some(entry) = self.instances.get_mut(&refused.name) {
            for waiting in entry.waiting.drain(..) {
                let _ = waiting.send(Err(refused.error.clone()));
            }
        }
    }
}

/// Asks the desk itself for an instance's actor, once more.
#[derive(Debug, Message)]
#[rtype(result = "Result<oneshot::Receiver<Result<Addr<InstanceActor>, ModelError>>, ModelError>")]
struct FindActor(ModelName);

impl Handler<FindActor> for ModelDesk {
    type Result = Result<oneshot::Receiver<Result<Addr<InstanceActor>, ModelError>>, ModelError>;

    fn handle(&mut self, FindActor(model): FindActor, ctx: &mut Self::Context) -> Self::Result {
        let found = self.find(model.as_str())?;
        Ok(self.instance(found, ctx))
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
        for entry in self.instances.values_mut() {
            entry.addr = None;
        }
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
                    let (model, instance) = (record.model, record.instance);
                    desk.do_send(TakeUp { model, instance, process });
                }
            }
        });
    }
}

/// An instance is on record.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct TakeUp {
    model: String,
    instance: InstanceId,
    process: Option<ProcessKey>,
}

impl Handler<TakeUp> for ModelDesk {
    type Result = ();

    fn handle(&mut self, record: TakeUp, ctx: &mut Self::Context) {
        match self.find(&record.model) {
            // the actor attaches to its record by itself; nobody waits for it here
            Ok(found) => drop(self.instance(found, ctx)),
            Err(error) => {
                tracing::warn!(instance = %record.instance, %error, "a recorded instance is not taken up");
                // without an actor nobody would ever end it
                if let Some(key) = record.process {
                    self.services.table.do_send(Signal { key, signal: GroupSignal::Kill });
                }
                self.services.table.do_send(Forget(record.instance));
            }
        }
    }
}

/// Uses a changed configuration: what is gone is stopped, what changed is told, the rest is left alone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UseModels {
    /// The models.
    pub catalogue: Catalogue,
    /// What concerns the whole service.
    pub settings: Arc<ServiceSettings>,
}

impl Handler<UseModels> for ModelDesk {
    type Result = ();

    fn handle(&mut self, fresh: UseModels, ctx: &mut Self::Context) {
        let UseModels { catalogue, settings } = fresh;
        self.services.settings = settings;
        let before = std::mem::replace(&mut self.catalogue, catalogue);
        for (model, entry) in &self.instances {
            let Some(addr) = &entry.addr else { continue };
            match self.catalogue.find(model.as_str()) {
                Ok(spec) if spec.name == *model => {
                    if let Some(backend) = &spec.backend {
                        addr.do_send(self.reconfigure(spec, backend));
                    }
                }
                _ => addr.do_send(TakeDown { retire: true, kill: false }),
            }
        }
        let known = |name: &ModelName| before.position(name.as_str()).is_some();
        let fresh = self.catalogue.models().iter();
        let fresh: Vec<_> = fresh.filter(|m| m.autostart && !known(&m.name)).cloned().collect();
        for model in fresh {
            load_in_background(ctx.address(), model);
        }
    }
}

/// Loads the models that are marked for it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Autostart;

impl Handler<Autostart> for ModelDesk {
    type Result = ();

    fn handle(&mut self, _: Autostart, ctx: &mut Self::Context) {
        for model in self.catalogue.models().iter().filter(|model| model.autostart) {
            load_in_background(ctx.address(), model.clone());
        }
    }
}

fn load_in_background(desk: Addr<ModelDesk>, model: Arc<ModelSpec>) {
    actix_rt::spawn(async move {
        let load = LoadModel { model: model.name.to_string(), wait: true, revive: false };
        match desk.send(load).await {
            // somebody wanted it so
            Ok(Err(stopped @ (ModelError::ShuttingDown | ModelError::Stopped(_)))) => {
                tracing::info!(model = %model.name, reason = %stopped, "autostart was stopped");
            }
            Ok(Err(error)) => {
                tracing::error!(model = %model.name, %error, "autostart failed");
            }
            Ok(Ok(_)) | Err(_) => {}
        }
    });
}

/// Stops all instances side by side; from now on nothing is loaded. Answers when all are down.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StopAll {
    /// Do not wait for orderly ends.
    pub kill: bool,
}

impl Handler<StopAll> for ModelDesk {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, StopAll { kill }: StopAll, _: &mut Self::Context) -> Self::Result {
        self.closing = true;
        // an actor that is only just being started must not bring a process up any more
        for waiting in self.instances.values_mut().flat_map(|entry| entry.waiting.drain(..)) {
            let _ = waiting.send(Err(ModelError::ShuttingDown));
        }
        let instances = self.instances.values().filter_map(|entry| entry.addr.clone());
        let downs: Vec<_> =
            instances.map(|addr| addr.send(TakeDown { retire: true, kill })).collect();
        Box::pin(async move {
            // an instance whose actor fails meanwhile is ended by the launcher at the very end
            let _ = join_all(downs).await;
        })
    }
}

crashes_on_request!(ModelDesk);
