//! The actor around [`Core`]: it runs factories, watches exits, keeps stop deadlines.

mod answer;
mod requests;

use std::any::Any;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorState, Addr, AsyncContext, Context, Handler, Message, Recipient,
};
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::child::{
    ChildFactory, ChildHandle, ChildSpec, Deadlines, KillOnDrop, RunningChild, Start, StopActor,
    launch, panic_text,
};
use super::core::{Core, Effect, Epoch, Event, Notice, Ticket};
use super::exit::{ExitReason, ExitSlot};
use super::spec::{ChildId, InvalidSpec, SupervisorFlags};
use super::tree::TreeNode;
use super::watchdog::Starting;
use crate::clock::Clock;
use crate::supervision::crash::crashes_on_request;

use answer::Answer;
pub use requests::{
    ChangeSpecs, ChildInfo, CountChildren, DeleteChild, GetChildSpec, RestartChild, StartChild,
    TerminateChild, WhichChildren, WhichChildrenAnswer,
};

/// A supervisor. Made by [`Supervisor::start`].
pub struct Supervisor {
    name: String,
    core: Core,
    clock: Clock,
    slot: ExitSlot,
    factories: HashMap<ChildId, ChildFactory>,
    /// Of children that somebody asked to add or to change, until the request is decided.
    offered: HashMap<Ticket, VecDeque<(ChildId, ChildFactory)>>,
    starting: HashMap<Epoch, KillOnDrop>,
    arrivals: Arrivals,
    running: HashMap<Epoch, ChildHandle>,
    answers: HashMap<Ticket, Answer>,
    next_ticket: Ticket,
    observer: Option<Recipient<SupervisionNotice>>,
    started: Option<oneshot::Sender<Result<(), String>>>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What came of starts, until the supervisor has its turn. An actor under watch cannot travel in a message.
type Arrivals = Rc<RefCell<HashMap<Epoch, Result<Start, String>>>>;

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
            arrivals: Rc::default(),
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
        let mut deadlines = Deadlines::default();
        for effect in self.core.next(event, self.clock.now()) {
            self.perform(effect, &mut deadlines, ctx);
        }
        deadlines.run();
    }

    fn perform(&mut self, effect: Effect, deadlines: &mut Deadlines, ctx: &mut Context<Self>) {
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
                    child.stop(rule, deadlines);
                }
            }
            Effect::Kill(_, epoch, silent_for) => {
                if let Some(child) = self.running.get_mut(&epoch) {
                    child.end_wedged(silent_for);
                }
            }
            // behind the mailbox, so that stop and delete requests get in between
            Effect::RetryLater(child) => ctx.notify(Retry(child)),
            Effect::Adopt(ticket, child) => {
                let offered = self.offered.get_mut(&ticket);
                let factory = offered.and_then(|offered| {
                    let at = offered.iter().position(|(id, _)| *id == child)?;
                    offered.remove(at)
                });
                self.factories.extend(factory);
            }
            Effect::Forget(child) => {
                self.factories.remove(&child);
            }
            Effect::Answer(ticket, answer) => {
                self.offered.remove(&ticket);
                if let Some(asker) = self.answers.remove(&ticket) {
                    asker.tell(answer);
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

    fn start_child(&mut self, id: &ChildId, epoch: Epoch, ctx: &mut Context<Self>) {
        let id = id.clone();
        let starting = Starting::new(|| format!("{}/{id}", self.name));
        let made = self.factories.get_mut(&id).map(|factory| {
            catch_unwind(AssertUnwindSafe(|| starting.run(factory)))
                .map_err(|payload| panicked(payload.as_ref()))
        });
        // always as a task of its own: a factory that panics is a failed start, not the end of the supervisor, and
        // between two attempts of one that fails at once everybody else gets a turn
        // and not on the context: that looks at each of its futures at each turn, which thousands of starts make slow
        let (supervisor, arrivals) = (ctx.address(), self.arrivals.clone());
        let arrival = Arrival { epoch, outcome: None, arrivals, supervisor };
        let task = actix_rt::spawn(async move {
            let outcome = match made {
                Some(Ok(start)) => {
                    let started = AssertUnwindSafe(starting.rest(start)).catch_unwind().await;
                    started.unwrap_or_else(|payload| Err(panicked(payload.as_ref())))
                }
                Some(Err(error)) => Err(error),
                None => Err("its factory is gone".to_owned()),
            };
            arrival.came(outcome);
        });
        self.starting.insert(epoch, KillOnDrop(task.abort_handle()));
    }

    fn watch(&mut self, epoch: Epoch, child: RunningChild, ctx: &mut Context<Self>) {
        let (mut handle, exit) = child.split();
        let supervisor = ctx.address();
        if let Some(every) = self.core.rules_of(epoch).and_then(|rules| rules.heartbeat) {
            let supervisor = supervisor.clone();
            handle.watch(every, self.clock, move |silent_for| {
                supervisor.do_send(ChildWedged(epoch, silent_for));
            });
        }
        self.running.insert(epoch, handle);
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
            Notice::ChildWedged { child, silent_for } => {
                let silent_ms = u64::try_from(silent_for.as_millis()).unwrap_or(u64::MAX);
                tracing::error!(
                    supervisor = self.name,
                    child = child.as_str(),
                    silent_ms,
                    "actor makes no progress"
                );
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
    ) -> Answer {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let answer = Answer::default();
        self.answers.insert(ticket, answer.clone());
        let event = make(self, ticket);
        self.feed(event, ctx);
        answer
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

fn panicked(payload: &(dyn Any + Send)) -> String {
    format!("panicked: {}", panic_text(payload))
}

/// A start under way. Dropped with its task, whether that came to its end or was broken off, it tells what came of it.
struct Arrival {
    epoch: Epoch,
    outcome: Option<Result<Start, String>>,
    arrivals: Arrivals,
    supervisor: Addr<Supervisor>,
}

impl Arrival {
    fn came(mut self, outcome: Result<Start, String>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let broken_off = || Err("stopped while it was starting".to_owned());
        let outcome = self.outcome.take().unwrap_or_else(broken_off);
        self.arrivals.borrow_mut().insert(self.epoch, outcome);
        self.supervisor.do_send(StartEnded(self.epoch));
    }
}

/// The factory of this start is done; what came of it lies among the arrivals.
#[derive(Message)]
#[rtype(result = "()")]
struct StartEnded(Epoch);

impl Handler<StartEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, StartEnded(epoch): StartEnded, ctx: &mut Self::Context) {
        self.starting.remove(&epoch);
        let outcome = self.arrivals.borrow_mut().remove(&epoch);
        let event = match outcome {
            Some(Ok(Start::Running(child))) => {
                self.watch(epoch, child, ctx);
                Event::Started(epoch)
            }
            Some(Ok(Start::Ignore)) => Event::Ignored(epoch),
            Some(Err(error)) => Event::StartFailed(epoch, error),
            None => return,
        };
        self.feed(event, ctx);
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

/// The actor of this start has made no progress for so long.
#[derive(Message)]
#[rtype(result = "()")]
struct ChildWedged(Epoch, Duration);

impl Handler<ChildWedged> for Supervisor {
    type Result = ();

    fn handle(&mut self, ChildWedged(epoch, silent_for): ChildWedged, ctx: &mut Self::Context) {
        self.feed(Event::Wedged(epoch, silent_for), ctx);
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
