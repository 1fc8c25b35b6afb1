//! The actor around [`Core`]: it runs factories, watches exits, keeps stop deadlines.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use actix::{
    Actor, ActorContext, ActorFutureExt, ActorState, Addr, AsyncContext, Context, Handler, Message,
    Recipient, ResponseFuture, WrapFuture,
};
use tokio::sync::oneshot;

use super::child::{
    ChildFactory, ChildHandle, ChildSpec, KillOnDrop, RunningChild, Start, StopActor, launch,
    panic_text,
};
use super::core::{AdminError, Core, Done, Effect, Epoch, Event, Notice, Ticket};
use super::exit::{ExitReason, ExitSlot};
use super::spec::{ChildId, ChildRules, InvalidSpec, SupervisorFlags};
use super::tree::TreeNode;
use crate::clock::Clock;
use crate::supervision::crash::crashes_on_request;

/// A supervisor. Made by [`Supervisor::start`].
pub struct Supervisor {
    name: String,
    core: Core,
    clock: Clock,
    slot: ExitSlot,
    factories: HashMap<ChildId, ChildFactory>,
    /// Of children that somebody asked to add, until the request is decided.
    offered: HashMap<Ticket, ChildFactory>,
    starting: HashMap<Epoch, KillOnDrop>,
    running: HashMap<Epoch, ChildHandle>,
    answers: HashMap<Ticket, oneshot::Sender<Result<Done, AdminError>>>,
    next_ticket: Ticket,
    observer: Option<Recipient<SupervisionNotice>>,
    started: Option<oneshot::Sender<Result<(), String>>>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("name", &self.name).finish_non_exhaustive()
    }
}

const ENDED_WHILE_STARTING: &str = "the supervisor ended while it started its children";

/// Everything a supervisor is made of.
#[derive(Debug)]
pub struct SupervisorSpec {
    /// Its name in notices and pictures.
    pub name: String,
    /// Its rules.
    pub flags: SupervisorFlags,
    /// Its children in start order.
    pub children: Vec<ChildSpec>,
    /// Who is told of failures, restarts and giving up.
    pub observer: Option<Recipient<SupervisionNotice>>,
    /// The clock of its window.
    pub clock: Clock,
}

/// A notice with the name of the supervisor it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct SupervisionNotice {
    /// The supervisor.
    pub supervisor: String,
    /// What happened.
    pub notice: Notice,
}

impl Supervisor {
    /// Starts a supervisor and waits until all its children run.
    ///
    /// # Errors
    /// A broken spec, or the child that failed to start; the children before it are stopped then.
    pub async fn start(spec: SupervisorSpec) -> Result<(Addr<Self>, RunningChild), String> {
        let (started, wait) = oneshot::channel();
        let (rules, factories): (Vec<_>, HashMap<_, _>) = spec
            .children
            .into_iter()
            .map(|child| (child.rules.clone(), (child.rules.id, child.start)))
            .unzip();
        let core = Core::new(spec.flags, rules).map_err(|error: InvalidSpec| error.to_string())?;
        let (addr, child) = launch(|slot| Self {
            name: spec.name,
            core,
            clock: spec.clock,
            slot,
            factories,
            offered: HashMap::new(),
            starting: HashMap::new(),
            running: HashMap::new(),
            answers: HashMap::new(),
            next_ticket: 1,
            observer: spec.observer,
            started: Some(started),
        });
        wait.await.unwrap_or_else(|_| Err(ENDED_WHILE_STARTING.to_owned()))?;
        let child = child.with_supervisor(addr.clone());
        Ok((addr, child))
    }

    fn feed(&mut self, event: Event, ctx: &mut Context<Self>) {
        for effect in self.core.next(event, self.clock.now()) {
            self.perform(effect, ctx);
        }
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Start(child, epoch) => self.start_child(&child, epoch, ctx),
            Effect::CancelStart(_, epoch) => {
                if let Some(start) = self.starting.get(&epoch) {
                    start.kill();
                }
            }
            Effect::Stop(_, epoch, rule) => {
                // a child that has ended has its exit in the mailbox already
                if let Some(child) = self.running.get_mut(&epoch) {
                    child.stop(rule);
                }
            }
            // behind the mailbox, so that stop and delete requests get in between
            Effect::RetryLater(child) => ctx.notify(Retry(child)),
            Effect::Adopt(ticket, child) => {
                if let Some(factory) = self.offered.remove(&ticket) {
                    self.factories.insert(child, factory);
                }
            }
            Effect::Forget(child) => {
                self.factories.remove(&child);
            }
            Effect::Answer(ticket, answer) => {
                self.offered.remove(&ticket);
                if let Some(waiting) = self.answers.remove(&ticket) {
                    // whoever asked may have left
                    let _ = waiting.send(answer);
                }
            }
            Effect::Notify(notice) => self.tell(notice),
            Effect::AllStarted => {
                if let Some(started) = self.started.take() {
                    let _ = started.send(Ok(()));
                }
            }
            Effect::Finish(reason) => {
                if let Some(started) = self.started.take() {
                    let error = match &reason {
                        ExitReason::Failed(fault) => fault.clone(),
                        _ => ENDED_WHILE_STARTING.to_owned(),
                    };
                    let _ = started.send(Err(error));
                }
                self.slot.set(reason);
                ctx.stop();
            }
        }
    }

    fn start_child(&mut self, child: &ChildId, epoch: Epoch, ctx: &mut Context<Self>) {
        let made = self.factories.get_mut(child).map(|factory| {
            catch_unwind(AssertUnwindSafe(factory))
                .map_err(|payload| format!("panicked: {}", panic_text(payload.as_ref())))
        });
        // always as a task of its own: a factory that panics is a failed start, not the end of the supervisor, and
        // between two attempts of one that fails at once everybody else gets a turn
        let task = actix_rt::spawn(async move {
            match made {
                Some(Ok(start)) => start.await,
                Some(Err(error)) => Err(error),
                None => Err("its factory is gone".to_owned()),
            }
        });
        self.starting.insert(epoch, KillOnDrop(task.abort_handle()));
        ctx.spawn(task.into_actor(self).map(move |outcome, this, ctx| {
            this.starting.remove(&epoch);
            let event = match outcome {
                Ok(Ok(Start::Running(child))) => {
                    this.watch(epoch, child, ctx);
                    Event::Started(epoch)
                }
                Ok(Ok(Start::Ignore)) => Event::Ignored(epoch),
                Ok(Err(error)) => Event::StartFailed(epoch, error),
                Err(error) if error.is_panic() => {
                    let text = panic_text(error.into_panic().as_ref());
                    Event::StartFailed(epoch, format!("panicked: {text}"))
                }
                Err(_) => Event::StartFailed(epoch, "stopped while it was starting".to_owned()),
            };
            this.feed(event, ctx);
        }));
    }

    fn watch(&mut self, epoch: Epoch, child: RunningChild, ctx: &mut Context<Self>) {
        let (handle, exit) = child.split();
        self.running.insert(epoch, handle);
        let supervisor = ctx.address();
        // not on the context: it looks at each of its futures at each turn, which thousands of children make slow
        actix_rt::spawn(async move {
            supervisor.do_send(ChildExited(epoch, exit.await));
        });
    }

    fn tell(&self, notice: Notice) {
        match &notice {
            Notice::ChildFailed { child, reason } => {
                tracing::error!(supervisor = self.name, child = child.as_str(), %reason, "actor ended");
            }
            Notice::ChildRestarted { child, restarts } => {
                tracing::warn!(
                    supervisor = self.name,
                    child = child.as_str(),
                    restarts,
                    "actor restarted"
                );
            }
            Notice::RestartFailed { child, error } => {
                tracing::error!(
                    supervisor = self.name,
                    child = child.as_str(),
                    error,
                    "restart failed"
                );
            }
            Notice::GaveUp { child, intensity, .. } => {
                tracing::error!(
                    supervisor = self.name,
                    child = child.as_str(),
                    intensity,
                    "restarts used up"
                );
            }
        }
        if let Some(observer) = &self.observer {
            observer.do_send(SupervisionNotice { supervisor: self.name.clone(), notice });
        }
    }

    fn ask(
        &mut self,
        make: impl FnOnce(&mut Self, Ticket) -> Event,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Result<Done, AdminError>> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let (answer, wait) = oneshot::channel();
        self.answers.insert(ticket, answer);
        let event = make(self, ticket);
        self.feed(event, ctx);
        Box::pin(async move { wait.await.unwrap_or(Err(AdminError::Stopping)) })
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // actix also starts an actor that was killed before its first turn
        if ctx.state() == ActorState::Running {
            self.feed(Event::Start, ctx);
        }
    }
}

impl Handler<StopActor> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        self.feed(Event::Stop, ctx);
    }
}

/// The actor of this start has ended.
#[derive(Message)]
#[rtype(result = "()")]
struct ChildExited(Epoch, ExitReason);

impl Handler<ChildExited> for Supervisor {
    type Result = ();

    fn handle(&mut self, ChildExited(epoch, reason): ChildExited, ctx: &mut Self::Context) {
        self.running.remove(&epoch);
        self.feed(Event::Exited(epoch, reason), ctx);
    }
}

/// Time to try a failed restart again.
#[derive(Message)]
#[rtype(result = "()")]
struct Retry(ChildId);

impl Handler<Retry> for Supervisor {
    type Result = ();

    fn handle(&mut self, Retry(child): Retry, ctx: &mut Self::Context) {
        self.feed(Event::Retry(child), ctx);
    }
}

/// Adds a child and starts it.
#[derive(Debug, Message)]
#[rtype(result = "Result<Done, AdminError>")]
pub struct StartChild(pub ChildSpec);

/// Stops a child; its spec is kept (dropped for temporary and dynamic children). No error when it is down already.
#[derive(Debug, Message)]
#[rtype(result = "Result<Done, AdminError>")]
pub struct TerminateChild(pub ChildId);

/// Starts a terminated child.
#[derive(Debug, Message)]
#[rtype(result = "Result<Done, AdminError>")]
pub struct RestartChild(pub ChildId);

/// Drops the spec of a terminated child.
#[derive(Debug, Message)]
#[rtype(result = "Result<Done, AdminError>")]
pub struct DeleteChild(pub ChildId);

/// The children in start order.
#[derive(Debug, Message)]
#[rtype(result = "WhichChildrenAnswer")]
pub struct WhichChildren;

/// A supervisor with its children.
#[derive(Debug, actix::MessageResponse)]
pub struct WhichChildrenAnswer {
    /// The supervisor's name.
    pub name: String,
    /// Its rules.
    pub flags: SupervisorFlags,
    /// Its children.
    pub children: Vec<ChildInfo>,
}

/// A child as its supervisor sees it.
#[derive(Debug)]
pub struct ChildInfo {
    /// Its rules.
    pub rules: ChildRules,
    /// `running`, `starting`, `stopping`, `restarting`, `stopped`.
    pub state: &'static str,
    /// How often it was restarted.
    pub restarts: u64,
    /// Where it is a supervisor: its address.
    pub supervisor: Option<Addr<Supervisor>>,
}

impl Handler<StartChild> for Supervisor {
    type Result = ResponseFuture<Result<Done, AdminError>>;

    fn handle(&mut self, StartChild(spec): StartChild, ctx: &mut Self::Context) -> Self::Result {
        let ChildSpec { rules, start } = spec;
        self.ask(
            |this, ticket| {
                this.offered.insert(ticket, start);
                Event::StartChild(ticket, rules)
            },
            ctx,
        )
    }
}

impl Handler<TerminateChild> for Supervisor {
    type Result = ResponseFuture<Result<Done, AdminError>>;

    fn handle(
        &mut self,
        TerminateChild(id): TerminateChild,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        self.ask(|_, ticket| Event::TerminateChild(ticket, id), ctx)
    }
}

impl Handler<RestartChild> for Supervisor {
    type Result = ResponseFuture<Result<Done, AdminError>>;

    fn handle(&mut self, RestartChild(id): RestartChild, ctx: &mut Self::Context) -> Self::Result {
        self.ask(|_, ticket| Event::RestartChild(ticket, id), ctx)
    }
}

impl Handler<DeleteChild> for Supervisor {
    type Result = ResponseFuture<Result<Done, AdminError>>;

    fn handle(&mut self, DeleteChild(id): DeleteChild, ctx: &mut Self::Context) -> Self::Result {
        self.ask(|_, ticket| Event::DeleteChild(ticket, id), ctx)
    }
}

impl Handler<WhichChildren> for Supervisor {
    type Result = WhichChildrenAnswer;

    fn handle(&mut self, _: WhichChildren, _: &mut Self::Context) -> Self::Result {
        let children = self.core.children().map(|view| ChildInfo {
            supervisor: view
                .epoch
                .and_then(|epoch| self.running.get(&epoch))
                .and_then(|child| child.supervisor.clone()),
            rules: view.rules,
            state: view.state,
            restarts: view.restarts,
        });
        WhichChildrenAnswer {
            name: self.name.clone(),
            flags: *self.core.flags(),
            children: children.collect(),
        }
    }
}

/// Draws the tree below a supervisor. A supervisor that does not answer within `limit` is drawn without children.
pub async fn draw_tree(
    supervisor: Addr<Supervisor>,
    limit: std::time::Duration,
) -> Option<TreeNode> {
    let answer = tokio::time::timeout(limit, supervisor.send(WhichChildren)).await.ok()?.ok()?;
    let mut children = Vec::with_capacity(answer.children.len());
    for child in answer.children {
        let mut node = TreeNode {
            name: child.rules.id.to_string(),
            kind: child.rules.kind.as_str().to_owned(),
            state: child.state.to_owned(),
            restarts: child.restarts,
            detail: None,
            children: Vec::new(),
        };
        if let Some(supervisor) = child.supervisor
            && let Some(below) = Box::pin(draw_tree(supervisor, limit)).await
        {
            node.detail = below.detail;
            node.children = below.children;
        }
        children.push(node);
    }
    let flags = answer.flags;
    Some(TreeNode {
        name: answer.name,
        kind: "supervisor".to_owned(),
        state: "running".to_owned(),
        restarts: 0,
        detail: Some(format!(
            "{}, {} in {}",
            flags.strategy.as_str(),
            flags.intensity,
            humantime::format_duration(flags.period)
        )),
        children,
    })
}

/// Waits for the exit of a supervisor that has no supervisor of its own: the root.
pub async fn wait_for_exit(root: RunningChild) -> ExitReason {
    let (_handle, exit) = root.split();
    exit.await
}

crashes_on_request!(Supervisor);
