//! The actor around one [`Machine`]: it feeds events, carries out effects, answers who waits.
//!
//! It holds no process: those live in the process table. When this actor is replaced, its successor attaches, gets the
//! record and the process of the instance, and goes on.

mod attaching;
mod ordering;
mod telling;
mod turns;
mod wishes;

use std::sync::{Arc, Weak};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient,
    SpawnHandle, WrapFuture,
};
use tokio::sync::oneshot;

use self::turns::Turns;
pub use self::wishes::{BringUp, BringUpHow, CallUp, Reconfigure, TakeDown};
use super::endpoint::Endpoint;
use super::machine::{Effect, Event, Machine, Policies};
use super::messages::{LoadBefore, ModelError};
use super::services::Services;
use crate::clock::{Clock, Moment, Started};
use crate::ids::{Generation, InstanceId, ProcessKey};
use crate::launcher::table_messages::{CancelSpawn, Sample, Signal};
use crate::launcher::{GroupSignal, InstanceRecord, ReadyEnd, Report};
use crate::probe::{Finding, HealthQuestion, ProbeReport, ReadySign};
use crate::registry::messages::{InstanceView, LastExit};
use crate::settings::model::{BackendSpec, ModelSpec};
use crate::settings::policy::{HealthCheck, Readiness};
use crate::supervision::crash::crashes_on_request;
use crate::supervision::{ExitSlot, StopActor};

/// See the module.
pub struct InstanceActor {
    id: InstanceId,
    model: Arc<ModelSpec>,
    backend: Arc<BackendSpec>,
    services: Services,
    above: Above,
    slot: ExitSlot,
    machine: Machine,
    endpoint: Endpoint,
    pid: Option<u32>,
    started_at: Option<Started>,
    ready_end: Option<ReadyEnd>,
    protocols: Vec<String>,
    progress: Option<String>,
    last_exit: Option<Arc<LastExit>>,
    exit_output: Vec<String>,
    /// The digest of the order that the present process was started by.
    order: Option<String>,
    /// It would be started in another way now.
    outdated: bool,
    /// What was told last.
    shown: Option<Arc<InstanceView>>,
    /// What was written down last.
    kept: Option<InstanceRecord>,
    waiters: Vec<Waiter>,
    stop_waiters: Vec<oneshot::Sender<Result<(), ModelError>>>,
    turns: Turns,
    /// The service stops: nothing is started any more.
    closing: bool,
    timer: Option<(Moment, SpawnHandle)>,
}

/// Whom an instance turns to.
#[derive(Clone)]
pub struct Above {
    /// Taken along when this instance escalates.
    pub supervisor: Recipient<StopActor>,
    /// Brings up the models that this one is started after.
    pub desk: Recipient<LoadBefore>,
}

struct Waiter {
    /// When it is answered at the latest; `None`: it holds out until the instance is ready or given up.
    until: Option<Moment>,
    /// As in [`BringUp`].
    wanted: Option<Weak<()>>,
    answer: oneshot::Sender<Result<Arc<InstanceView>, ModelError>>,
}

impl Waiter {
    fn is_wanted(&self) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.strong_count() > 0)
    }
}

impl InstanceActor {
    /// An instance of a model that has a backend.
    pub fn new(
        model: Arc<ModelSpec>,
        backend: Arc<BackendSpec>,
        services: Services,
        above: Above,
        slot: ExitSlot,
    ) -> Self {
        let id = model.instance_id();
        let policies = policies(&model, &backend);
        Self {
            machine: Machine::new(policies, fastrand::u64(..)),
            endpoint: Endpoint::fresh_ipc(&services.settings.model_socket_dir),
            id,
            model,
            backend,
            services,
            above,
            slot,
            pid: None,
            started_at: None,
            ready_end: None,
            protocols: Vec::new(),
            progress: None,
            last_exit: None,
            exit_output: Vec::new(),
            order: None,
            outdated: false,
            shown: None,
            kept: None,
            waiters: Vec::new(),
            stop_waiters: Vec::new(),
            turns: Turns::default(),
            closing: false,
            timer: None,
        }
    }

    fn key(&self, generation: Generation) -> ProcessKey {
        ProcessKey { instance: self.id.clone(), generation }
    }

    // ---- the machine -------------------------------------------------------------------------------------------

    fn feed(&mut self, event: Event, ctx: &mut Context<Self>) {
        let effects = self.machine.next(event, self.services.clock.now());
        self.carry_out(effects, ctx);
        self.settle(ctx);
    }

    fn carry_out(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        for effect in effects {
            self.perform(effect, ctx);
        }
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::AwaitTurn(_) => self.await_turn(ctx),
            Effect::Spawn(generation) => {
                // that of the process before would tell a successor that this one was begun
                self.started_at = None;
                self.spawn(generation, ctx);
            }
            Effect::CancelSpawn(generation) => {
                let asked = self.services.table.send(CancelSpawn(self.key(generation)));
                ctx.spawn(asked.into_actor(self).map(move |cancelled, this, ctx| {
                    if matches!(cancelled, Ok(true)) {
                        this.feed(Event::SpawnCancelled(generation), ctx);
                    }
                }));
            }
            Effect::Signal(generation, signal) => {
                self.services.table.do_send(Signal { key: self.key(generation), signal });
            }
            Effect::AwaitReady(generation) => self.await_ready(generation, ctx),
            Effect::Check(generation) => self.check(generation, ctx),
            Effect::Sample(generation) => {
                self.services.table.do_send(Sample { key: self.key(generation) });
            }
            Effect::ForgetProbes(generation) => {
                self.services.prober.forget(&self.key(generation));
            }
            Effect::Changed { generation, to, cause, .. } => self.on_changed(generation, to, cause),
            Effect::Ended { generation, status, reason } => {
                self.pid = None;
                self.protocols.clear();
                self.progress = None;
                self.last_exit = Some(Arc::new(LastExit {
                    generation,
                    status,
                    reason,
                    output: std::mem::take(&mut self.exit_output),
                    at: Clock::wall_seconds(),
                }));
            }
            Effect::Failed => self.note_failure(),
            Effect::Escalate(why) => self.escalate(why, ctx),
        }
    }

    fn await_ready(&mut self, generation: Generation, ctx: &mut Context<Self>) {
        let sign = match (&self.backend.start.ready, self.endpoint.port()) {
            (Readiness::Handshake, _) => {
                Ok(ReadySign::Handshake { endpoint: self.endpoint.uri().to_owned() })
            }
            (Readiness::Http { path, status }, Some(port)) => {
                Ok(ReadySign::Http { port, path: path.clone(), status: *status })
            }
            (Readiness::Tcp, Some(port)) => Ok(ReadySign::Tcp { port }),
            (Readiness::Fd { .. } | Readiness::Notify, _) => match self.ready_end.take() {
                Some(ReadyEnd::Pipe(end)) => Ok(ReadySign::Pipe(end)),
                Some(ReadyEnd::Notify(end)) => Ok(ReadySign::Notify(end)),
                // a predecessor handed it to the prober, which reports to us from now on
                None => {
                    let key = self.key(generation);
                    self.services.prober.redirect(&key, ctx.address().recipient());
                    return;
                }
            },
            (Readiness::Delay(_), _) => return,
            (Readiness::Http { .. } | Readiness::Tcp, None) => {
                Err("the backend has no port to be asked at (kind must be \"http\")".to_owned())
            }
        };
        match sign {
            Ok(sign) => {
                let key = self.key(generation);
                self.services.prober.await_ready(key, sign, ctx.address().recipient());
            }
            Err(why) => ctx.notify(Feed(Event::NeverReady(generation, why))),
        }
    }

    fn check(&mut self, generation: Generation, ctx: &mut Context<Self>) {
        if !self.endpoint.fits(self.backend.transport) {
            // started before a reload changed what it speaks: it cannot be asked by the new rules, and runs until replaced
            ctx.notify(Feed(Event::Alive(generation)));
            return;
        }
        let question = match (&self.backend.health.check, self.endpoint.port()) {
            (HealthCheck::Ping, _) => {
                Some(HealthQuestion::Ping { endpoint: self.endpoint.uri().to_owned() })
            }
            (HealthCheck::Http { path }, Some(port)) => {
                Some(HealthQuestion::Http { port, path: path.clone() })
            }
            (HealthCheck::Tcp, Some(port)) => Some(HealthQuestion::Tcp { port }),
            _ => None,
        };
        let Some(question) = question else {
            // a reload took the check away from a running process: nothing can be missed any more
            ctx.notify(Feed(Event::Alive(generation)));
            return;
        };
        // before the next question, which would take its place
        let timeout = self.backend.health.timeout.min(self.backend.health.every.mul_f64(0.9));
        let key = self.key(generation);
        self.services.prober.check(key, question, timeout, ctx.address().recipient());
    }

    fn on_report(&mut self, report: Report, ctx: &mut Context<Self>) {
        match report {
            Report::Spawned { key, identity, ready } => {
                if key.generation == self.machine.generation() {
                    self.pid = Some(identity.pid);
                    self.started_at = Some(self.services.clock.started());
                    self.ready_end = ready;
                } else {
                    // ordered through a process table that failed before it could tell: nobody waits for it any more
                    let signal = GroupSignal::Kill;
                    self.services.table.do_send(Signal { key: key.clone(), signal });
                }
                self.feed(Event::Spawned(key.generation), ctx);
            }
            Report::SpawnFailed { key, error } => {
                self.feed(Event::SpawnFailed(key.generation, error), ctx);
            }
            Report::Exited { key, status, cause, output } => {
                if key.generation == self.machine.generation() {
                    self.exit_output = output;
                }
                if let Some(cause) = cause {
                    self.feed(Event::ExitCause(key.generation, cause), ctx);
                }
                self.feed(Event::Exited(key.generation, status), ctx);
            }
            Report::Sampled { key, cpu_time, output_bytes, .. } => {
                let generation = key.generation;
                self.feed(Event::Sampled { generation, cpu_time, output_bytes }, ctx);
            }
            Report::SignalRefused { key, reason } => {
                self.feed(Event::SignalRefused(key.generation, reason), ctx);
            }
            Report::Output { .. } | Report::Inventory { .. } => {}
        }
    }
}

fn policies(model: &ModelSpec, backend: &BackendSpec) -> Policies {
    Policies {
        start: backend.start.clone(),
        health: backend.health.clone(),
        restart: backend.restart.clone(),
        stop: backend.stop.clone(),
        takes_turns: model.group.is_some() || !model.after.is_empty(),
    }
}

/// Where an instance's output goes.
pub fn log_path(services: &Services, instance: &InstanceId) -> std::path::PathBuf {
    services.settings.log_dir.join(instance.log_name())
}

impl Actor for InstanceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.attach(ctx);
    }
}

impl Handler<StopActor> for InstanceActor {
    type Result = ();

    /// Lets go: the process stays with the process table, for a successor or for the end of the service.
    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Report> for InstanceActor {
    type Result = ();

    fn handle(&mut self, report: Report, ctx: &mut Self::Context) {
        self.on_report(report, ctx);
    }
}

impl Handler<ProbeReport> for InstanceActor {
    type Result = ();

    fn handle(&mut self, report: ProbeReport, ctx: &mut Self::Context) {
        let generation = report.key.generation;
        if generation != self.machine.generation() {
            return;
        }
        let event = match report.finding {
            Finding::Ready { protocols } => {
                self.protocols = protocols;
                self.progress = None;
                Event::Ready(generation)
            }
            Finding::Progress(text) => {
                self.progress = Some(text);
                Event::Progressed(generation)
            }
            Finding::WrongAnswer(answer) => {
                self.progress.clone_from(&answer);
                Event::WrongAnswer(generation, answer)
            }
            Finding::NeverReady(why) => Event::NeverReady(generation, why),
            Finding::Alive { .. } => Event::Alive(generation),
            Finding::Silent(why) => Event::Silent(generation, why),
        };
        self.feed(event, ctx);
    }
}

/// An event by way of the mailbox.
#[derive(Message)]
#[rtype(result = "()")]
struct Feed(Event);

impl Handler<Feed> for InstanceActor {
    type Result = ();

    fn handle(&mut self, Feed(event): Feed, ctx: &mut Self::Context) {
        self.feed(event, ctx);
    }
}

crashes_on_request!(InstanceActor);
