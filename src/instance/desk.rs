//! Takes requests about models by name: finds the model, has an instance started where there is none, passes the
//! request on to it. It decides nothing about processes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, ResponseFuture};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::actor::{BringUp, BringUpHow, CallUp, InstanceActor, Reconfigure, TakeDown, log_path};
use super::grouping::GroupEntry;
use super::messages::{LoadBefore, LoadModel, LogPage, ModelError, ReadLog, RestartModel};
use super::services::Services;
pub use super::taking_up::SupervisorUp;
use crate::ids::{GroupName, InstanceId, ModelName};
use crate::launcher::table_messages::Tail;
use crate::limits;
use crate::registry::catalogue::Catalogue;
use crate::registry::messages::InstanceView;
use crate::settings::model::{BackendSpec, GroupSpec, ModelSpec, ServiceSettings};
use crate::supervision::crash::crashes_on_request;
use crate::supervision::{StopActor, Supervisor};

/// See the module.
pub struct ModelDesk {
    pub(super) catalogue: Catalogue,
    pub(super) services: Services,
    pub(super) supervisor: Option<Addr<Supervisor>>,
    pub(super) instances: HashMap<ModelName, Entry>,
    pub(super) groups: HashMap<GroupName, GroupEntry>,
    /// Starts of actors are numbered, so that what is told of an old one is known for it.
    pub(super) last_start: u64,
    pub(super) closing: bool,
}

/// What the desk knows of one instance.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) addr: Option<Addr<InstanceActor>>,
    /// Who wants its actor, which is being started.
    pub(super) waiting: Vec<oneshot::Sender<FoundActor>>,
    /// Which start of an actor that is.
    pub(super) start: u64,
}

/// The actor of an instance, or why there is none.
pub(super) type FoundActor = Result<Addr<InstanceActor>, ModelError>;
pub(super) type Answer<T> = ResponseFuture<Result<T, ModelError>>;
pub(super) type ReadyBackend = (Arc<ModelSpec>, Arc<BackendSpec>);

/// How often a request is passed on again when the instance's actor was replaced under it.
pub(super) const ATTEMPTS: u32 = 200;
/// The pause before that: the replacement of an actor takes microseconds, that of all instances' supervisor waits for the
/// sockets of the gateway, which may linger for half a second.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

impl ModelDesk {
    /// A desk for these models.
    pub fn new(catalogue: Catalogue, services: Services) -> Self {
        Self {
            catalogue,
            services,
            supervisor: None,
            instances: HashMap::new(),
            groups: HashMap::new(),
            last_start: 0,
            closing: false,
        }
    }

    pub(super) fn find(&self, name: &str) -> Result<ReadyBackend, ModelError> {
        if self.closing {
            return Err(ModelError::ShuttingDown);
        }
        let model = self.catalogue.find(name)?;
        match &model.backend {
            Some(backend) => Ok((model.clone(), backend.clone())),
            None => Err(ModelError::NoBackend(model.model_type.clone())),
        }
    }

    pub(super) fn reconfigure(
        &self,
        model: &Arc<ModelSpec>,
        backend: &Arc<BackendSpec>,
    ) -> Reconfigure {
        Reconfigure {
            model: model.clone(),
            backend: backend.clone(),
            settings: self.services.settings.clone(),
            group: self.group_of(model),
        }
    }

    /// The actor of a model's instance, if it runs.
    pub(super) fn live(&self, model: &ModelName) -> Option<Addr<InstanceActor>> {
        self.instances.get(model)?.addr.clone().filter(Addr::connected)
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
        let model = found.0.clone();
        let instance = self.instance(found, ctx);
        let desk = ctx.address();
        Box::pin(async move {
            let wanted = &wish.wanted;
            call_up_group(&desk, &model, wish.how, wanted).await?;
            pass_on(&desk, &model.name, instance, &wish, wanted).await
        })
    }
}

/// Passes a wish on to an instance, again where its actor is replaced under it.
async fn pass_on<W, T>(
    desk: &Addr<ModelDesk>,
    model: &ModelName,
    mut instance: oneshot::Receiver<FoundActor>,
    wish: &W,
    wanted: &Option<Weak<()>>,
) -> Result<T, ModelError>
where
    W: Message<Result = Result<T, ModelError>> + Clone + Send + 'static,
    T: Send + 'static,
    InstanceActor: Handler<W>,
    Context<InstanceActor>: ToEnvelope<InstanceActor, W>,
{
    for _ in 0..ATTEMPTS {
        let found = instance.await.unwrap_or(Err(ModelError::ShuttingDown));
        if wanted.as_ref().is_some_and(|wanted| wanted.strong_count() == 0) {
            return Err(ModelError::Stopped(model.to_string()));
        }
        match found {
            Ok(addr) => match addr.send(wish.clone()).await {
                Ok(Err(ModelError::Replaced(_))) | Err(_) => {}
                Ok(answer) => return answer,
            },
            Err(ModelError::Replaced(_)) => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
        instance = find_actor(desk, model).await?;
    }
    Err(ModelError::Replaced(model.to_string()))
}

async fn find_actor(
    desk: &Addr<ModelDesk>,
    model: &ModelName,
) -> Result<oneshot::Receiver<FoundActor>, ModelError> {
    let asked = desk.send(FindActor(model.clone())).await;
    asked.map_err(|_| ModelError::ShuttingDown)?
}

/// Calls all members of a model's group that it needs, in their order, and the model among them.
async fn call_up_group(
    desk: &Addr<ModelDesk>,
    model: &ModelSpec,
    how: BringUpHow,
    wanted: &Option<Weak<()>>,
) -> Result<(), ModelError> {
    let Some(group) = &model.group else { return Ok(()) };
    let needed = group.needed_by(&model.name);
    if needed.len() < 2 {
        return Ok(());
    }
    let wish = CallUp { how: if how == BringUpHow::Restart { BringUpHow::Load } else { how } };
    for member in
        needed.iter().filter(|member| **member != model.name || how != BringUpHow::Restart)
    {
        let called =
            async { pass_on(desk, member, find_actor(desk, member).await?, &wish, wanted).await };
        match called.await {
            Err(error) if *member != model.name => return Err(of_member(group, member, error)),
            called => called?,
        }
    }
    Ok(())
}

/// Why a model cannot come up, where that lies at another member of its group.
fn of_member(group: &GroupSpec, member: &ModelName, error: ModelError) -> ModelError {
    let (reason, output) = match error {
        ModelError::ShuttingDown => return error,
        ModelError::StartFailed { reason, output } => (reason, output),
        other => (other.to_string(), Vec::new()),
    };
    ModelError::StartFailed { reason: format!("group {}: {member}: {reason}", group.name), output }
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
        self.bring_up(&load.model, BringUp { wanted: None, patient: load.wait, how }, ctx)
    }
}

impl Handler<LoadBefore> for ModelDesk {
    type Result = Answer<Arc<InstanceView>>;

    fn handle(&mut self, load: LoadBefore, ctx: &mut Self::Context) -> Self::Result {
        let wish = BringUp { wanted: Some(load.wanted), patient: true, how: BringUpHow::Lead };
        self.bring_up(load.model.as_str(), wish, ctx)
    }
}

impl Handler<RestartModel> for ModelDesk {
    type Result = Answer<Arc<InstanceView>>;

    fn handle(&mut self, restart: RestartModel, ctx: &mut Self::Context) -> Self::Result {
        let wish = BringUp { wanted: None, patient: restart.wait, how: BringUpHow::Restart };
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

/// Asks the desk itself for an instance's actor, once more.
#[derive(Debug, Message)]
#[rtype(result = "Result<oneshot::Receiver<FoundActor>, ModelError>")]
struct FindActor(ModelName);

impl Handler<FindActor> for ModelDesk {
    type Result = Result<oneshot::Receiver<FoundActor>, ModelError>;

    fn handle(&mut self, FindActor(model): FindActor, ctx: &mut Self::Context) -> Self::Result {
        let found = self.find(model.as_str())?;
        Ok(self.instance(found, ctx))
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
        self.use_groups(ctx);
        for (model, entry) in &self.instances {
            let Some(addr) = &entry.addr else { continue };
            match self.catalogue.find(model.as_str()) {
                Ok(spec) if spec.name == *model => {
                    if let Some(backend) = &spec.backend {
                        addr.do_send(self.reconfigure(spec, backend));
                    }
                }
                _ => addr.do_send(TakeDown { kill: false, closing: false }),
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
pub struct Autostart {
    /// Only these; `None`: all of them. In a service that goes on, somebody may have unloaded the others.
    pub only: Option<BTreeSet<InstanceId>>,
}

impl Handler<Autostart> for ModelDesk {
    type Result = ();

    fn handle(&mut self, Autostart { only }: Autostart, ctx: &mut Self::Context) {
        let is_meant = |model: &ModelSpec| {
            model.autostart && only.as_ref().is_none_or(|only| only.contains(&model.instance_id()))
        };
        for model in self.catalogue.models().iter().filter(|model| is_meant(model)) {
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
        let downs: Vec<_> = instances.map(|addr| take_down(addr, kill)).collect();
        Box::pin(async move {
            join_all(downs).await;
        })
    }
}

/// An instance whose actor fails meanwhile is ended by the launcher at the very end.
async fn take_down(addr: Addr<InstanceActor>, kill: bool) {
    let wish = TakeDown { kill, closing: true };
    // too many wait for its end already: it is under way
    while let Ok(Err(ModelError::Crowded(_))) = addr.send(wish).await {
        tokio::time::sleep(PAUSE).await;
    }
}

crashes_on_request!(ModelDesk);
