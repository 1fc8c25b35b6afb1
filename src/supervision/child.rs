//! How a child is started and watched: factories, and a monitor that misses no exit.

use std::any::Any;
use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::task::{AbortHandle, JoinHandle};

use super::exit::{ExitReason, ExitSlot};
use super::heartbeat::{Heartbeat, Verdict};
use super::progress::{Progress, Pulse};
use super::spec::{ChildRules, Shutdown};
use super::supervisor::{Supervisor, SupervisorSpec};
use super::watchdog::{Name, Noted};
use crate::clock::Clock;

/// Asks an actor to end itself in order: let go of what it holds, then stop its context.
///
/// A supervised actor must never ask its own supervisor for anything while it does so.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StopActor;

/// Rules and the means to start a child, again and again.
pub struct ChildSpec {
    /// The rules.
    pub rules: ChildRules,
    /// Starts it.
    pub start: ChildFactory,
}

/// Starts a child. Runs on the supervisor's thread; may wait (for a socket to be bound), must not block.
///
/// The factory itself is `Send`, because it may travel to a running supervisor in a message; what it makes is not.
pub type ChildFactory = Box<dyn FnMut() -> LocalBoxFuture<'static, Result<Start, String>> + Send>;

impl ChildSpec {
    /// A child whose factory may wait or fail.
    pub fn new<F, Fut>(rules: ChildRules, mut start: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Start, String>> + 'static,
    {
        Self { rules, start: Box::new(move || Box::pin(start())) }
    }

    /// A child that is an actor made on the spot; its address is handed to `introduce` at every start.
    pub fn actor<A, M>(
        rules: ChildRules,
        mut make: M,
        mut introduce: impl FnMut(Addr<A>) + Send + 'static,
    ) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<StopActor>,
        M: FnMut(ExitSlot) -> A + Send + 'static,
    {
        Self::new(rules, move || {
            let (addr, child) = launch(&mut make);
            introduce(addr);
            std::future::ready(Ok(Start::Running(child)))
        })
    }
}

/// What the init of a supervisor answers.
#[derive(Debug)]
pub enum Init {
    /// Start with this.
    Supervisor(SupervisorSpec),
    /// Do not start, and that is right so.
    Ignore,
}

impl ChildSpec {
    /// A child that is a supervisor. `init` is asked at each of its starts, so that every one begins with fresh specs.
    pub fn supervisor<F>(rules: ChildRules, mut init: F) -> Self
    where
        F: FnMut() -> Result<Init, String> + Send + 'static,
    {
        Self::new(rules, move || {
            let wanted = init();
            async move {
                match wanted? {
                    Init::Supervisor(spec) => {
                        let (_, child) = Supervisor::start(spec).await?;
                        Ok(Start::Running(child))
                    }
                    Init::Ignore => Ok(Start::Ignore),
                }
            }
        })
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// What a factory made.
#[derive(Debug)]
pub enum Start {
    /// An actor.
    Running(RunningChild),
    /// Nothing, and that is right so: the spec is kept, no actor runs.
    Ignore,
}

/// An actor under watch. Dropping it kills the actor: what nobody watches must not live on.
pub struct RunningChild {
    ask: Box<dyn Fn()>,
    life: KillOnDrop,
    task: JoinHandle<Result<(), PanicPayload>>,
    slot: ExitSlot,
    name: Name,
    supervisor: Option<Addr<Supervisor>>,
    /// An actor stops when its last address is dropped: this one keeps it.
    address: Box<dyn Any>,
}

impl fmt::Debug for RunningChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningChild").finish_non_exhaustive()
    }
}

/// Starts an actor under watch on the current arbiter.
///
/// The actor's future is run as a task of its own, whose join handle tells every end exactly once: by itself,
/// by a panic (with its text), by force. Actix's own start would lose the panic.
pub fn launch<A>(make: impl FnOnce(ExitSlot) -> A) -> (Addr<A>, RunningChild)
where
    A: Actor<Context = Context<A>> + Handler<StopActor>,
    Context<A>: ToEnvelope<A, StopActor>,
{
    let slot = ExitSlot::default();
    let actor = make(slot.clone());
    launch_with_slot(actor, slot)
}

/// As [`launch`], for an actor that already has the slot it leaves its exit reason in.
pub fn launch_with_slot<A>(actor: A, slot: ExitSlot) -> (Addr<A>, RunningChild)
where
    A: Actor<Context = Context<A>> + Handler<StopActor>,
    Context<A>: ToEnvelope<A, StopActor>,
{
    let mut context = Context::<A>::new();
    let addr = context.address();
    context.spawn(Pulse(slot.progress().clone()));
    let life = Noted::new(context.into_future(actor));
    let name = Name::give(life.number());
    let task = actix_rt::spawn(run_to_the_end(life));
    let to = addr.clone();
    let child = RunningChild {
        ask: Box::new(move || to.do_send(StopActor)),
        life: KillOnDrop(task.abort_handle()),
        task,
        slot,
        name,
        supervisor: None,
        address: Box::new(addr.clone()),
    };
    (addr, child)
}

type PanicPayload = Box<dyn Any + Send>;

/// Runs an actor's life and catches its panic.
///
/// Actix runs `stopping()` and `stopped()` when the future of an actor that panicked is dropped. Left to the task that
/// would be while it unwinds, where a second panic aborts the process; here the first is over by then.
async fn run_to_the_end(mut life: impl Future<Output = ()> + Unpin) -> Result<(), PanicPayload> {
    let lived = AssertUnwindSafe(&mut life).catch_unwind().await;
    let buried = catch_unwind(AssertUnwindSafe(|| drop(life)));
    lived.and(buried)
}

impl RunningChild {
    /// Marks the child as a supervisor whose own children belong into the picture of the tree.
    #[must_use]
    pub fn with_supervisor(mut self, supervisor: Addr<Supervisor>) -> Self {
        self.supervisor = Some(supervisor);
        self
    }

    /// Takes the child apart: what its supervisor keeps, and the future that tells its exit.
    pub(super) fn split(self) -> (ChildHandle, impl Future<Output = ExitReason> + 'static) {
        let Self { ask, life, task, slot, name, supervisor, address } = self;
        let wedged = Rc::new(Cell::new(None));
        let handle = ChildHandle {
            ask,
            life,
            deadline: None,
            watcher: None,
            wedged: wedged.clone(),
            progress: slot.progress().clone(),
            _name: name,
            supervisor,
            _address: address,
        };
        (handle, async move {
            match task.await {
                Ok(Ok(())) => slot.take().unwrap_or(ExitReason::Normal),
                Ok(Err(payload)) => ExitReason::Panic(panic_text(payload.as_ref())),
                // its last words panicked while it was killed
                Err(error) if error.is_panic() => {
                    ExitReason::Panic(panic_text(error.into_panic().as_ref()))
                }
                Err(_) => wedged.get().map_or(ExitReason::Killed, ExitReason::Wedged),
            }
        })
    }
}

/// What a supervisor keeps of a running child. Dropping it kills the child, so a supervisor that is killed or panics
/// takes its children along.
pub(super) struct ChildHandle {
    ask: Box<dyn Fn()>,
    life: KillOnDrop,
    deadline: Option<Deadline>,
    watcher: Option<KillOnDrop>,
    /// How long it was silent before it was ended for that.
    wedged: Rc<Cell<Option<Duration>>>,
    progress: Progress,
    _name: Name,
    pub(super) supervisor: Option<Addr<Supervisor>>,
    _address: Box<dyn Any>,
}

impl ChildHandle {
    /// Calls `tell` once when the child has made no progress for a heartbeat.
    ///
    /// Its own task, as the exits are: a context looks at each of its futures at each turn.
    pub(super) fn watch(
        &mut self,
        every: Duration,
        clock: Clock,
        tell: impl FnOnce(Duration) + 'static,
    ) {
        let progress = self.progress.clone();
        let watcher = actix_rt::spawn(async move {
            let mut heartbeat = Heartbeat::new(every, clock.now());
            loop {
                progress.ask();
                tokio::time::sleep(every).await;
                let verdict = heartbeat.look(progress.is_shown(), clock.now());
                if let Verdict::Wedged { silent_for } = verdict {
                    return tell(silent_for);
                }
            }
        });
        self.watcher = Some(KillOnDrop(watcher.abort_handle()));
    }

    /// Ends the child because it makes no progress.
    pub(super) fn end_wedged(&mut self, silent_for: Duration) {
        self.wedged.set(Some(silent_for));
        self.life.kill();
    }

    /// Stops the child by its rule. The exit is told by the future that came with this handle. Children that are stopped
    /// in the same breath share their deadlines.
    pub(super) fn stop(&mut self, rule: Shutdown, deadlines: &mut Deadlines) {
        match rule {
            Shutdown::BrutalKill => self.life.kill(),
            Shutdown::Infinity => (self.ask)(),
            Shutdown::Timeout(limit) => {
                (self.ask)();
                self.deadline = Some(deadlines.share(limit, self.life.0.clone()));
            }
        }
    }
}

/// The patience with children that are stopped. It ends with the last of them.
type Deadline = Rc<OnceCell<KillOnDrop>>;

/// One deadline for each patience among the children that are stopped in the same breath: ten thousand need one timer.
#[derive(Default)]
pub(super) struct Deadlines(HashMap<Duration, (Vec<AbortHandle>, Deadline)>);

impl Deadlines {
    fn share(&mut self, limit: Duration, life: AbortHandle) -> Deadline {
        let (lives, deadline) = self.0.entry(limit).or_default();
        lives.push(life);
        deadline.clone()
    }

    /// From now on the time runs.
    pub(super) fn run(self) {
        for (limit, (lives, deadline)) in self.0 {
            let over = actix_rt::spawn(async move {
                tokio::time::sleep(limit).await;
                lives.iter().for_each(AbortHandle::abort);
            });
            // it was empty: each is run once
            let _ = deadline.set(KillOnDrop(over.abort_handle()));
        }
    }
}

/// A task that does not outlive this handle.
pub(super) struct KillOnDrop(pub(super) AbortHandle);

impl KillOnDrop {
    /// Ends the task without asking.
    pub(super) fn kill(&self) {
        self.0.abort();
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The text of a panic.
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}
