//! The prober of real backends: one thread with a tokio runtime, one task per wait or question.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc as blocking;
use std::time::Duration;

use actix::Recipient;
use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::sleep;

use super::asked::{Asked, Question, Wait};
use super::link::Link;
use super::{
    Finding, HealthQuestion, ProbeReport, Prober, ProberCrashed, ReadySign, health, ready,
};
use crate::clock::Clock;
use crate::ids::ProcessKey;
use crate::limits;

/// Asks backends on this machine.
///
/// A panic in one probe is what that probe found. One in the prober itself is told to whoever wants to know of crashes,
/// and what was open is asked again: instances learn nothing of it, where silence would end them.
pub struct LocalProber {
    /// Unbounded, since no call may block and none may be lost (a lost `await_ready` would be a backend that is never
    /// ready). What can lie in it is bounded by the callers: one wait and one question per process, and the thread
    /// that empties it waits for nothing but it.
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    AwaitReady(ProcessKey, ReadySign, Recipient<ProbeReport>),
    Check(ProcessKey, HealthQuestion, Duration, Recipient<ProbeReport>),
    Redirect(ProcessKey, Recipient<ProbeReport>),
    Forget(ProcessKey),
    TellCrashes(Recipient<ProberCrashed>),
    Crash,
    End(blocking::Sender<()>),
}

impl LocalProber {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub fn start() -> io::Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let runtime = runtime()?;
        let thread = std::thread::Builder::new().name("symphony-probe".to_owned());
        thread.spawn(move || {
            // sockets are closed before the end is told
            if let Some(ended) = run(inbox, runtime) {
                let _ = ended.send(());
            }
        })?;
        Ok(Self { orders })
    }

    /// Makes the prober's thread panic, as [`CrashForTest`](crate::supervision::crash::CrashForTest) does an actor.
    #[doc(hidden)]
    pub fn crash_for_test(&self) {
        self.order(Order::Crash);
    }

    fn order(&self, order: Order) -> bool {
        self.orders.send(order).is_ok()
    }
}

impl Prober for LocalProber {
    fn await_ready(&self, key: ProcessKey, sign: ReadySign, answer: Recipient<ProbeReport>) {
        self.order(Order::AwaitReady(key, sign, answer));
    }

    fn check(
        &self,
        key: ProcessKey,
        question: HealthQuestion,
        timeout: Duration,
        answer: Recipient<ProbeReport>,
    ) {
        self.order(Order::Check(key, question, timeout, answer));
    }

    fn redirect(&self, key: &ProcessKey, answer: Recipient<ProbeReport>) {
        self.order(Order::Redirect(key.clone(), answer));
    }

    fn forget(&self, key: &ProcessKey) {
        self.order(Order::Forget(key.clone()));
    }

    fn tell_crashes(&self, to: Recipient<ProberCrashed>) {
        self.order(Order::TellCrashes(to));
    }

    fn crash_for_test(&self) {
        Self::crash_for_test(self);
    }

    fn end(&self) {
        let (ended, end) = blocking::channel();
        if self.order(Order::End(ended)) && end.recv_timeout(limits::PROBER_END).is_err() {
            tracing::warn!("the prober did not end in time");
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Carries out orders until the end, over its own crashes. Answers who wants to be told of the end; `None` when all
/// provers' handles are gone.
fn run(
    mut inbox: mpsc::UnboundedReceiver<Order>,
    mut runtime: Runtime,
) -> Option<blocking::Sender<()>> {
    let clock = Clock::start();
    let mut kept = Kept::default();
    let mut rest = Duration::ZERO;
    loop {
        let began = clock.now();
        let work = || LocalSet::new().block_on(&runtime, carry_out(&mut inbox, &mut kept, rest));
        // what was asked is plain data; whatever worked on it is dropped in the panic
        let panic = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(ended) => return ended,
            Err(panic) => text_of(&*panic),
        };
        tracing::error!(panic, "the prober crashed; what was open is asked again");
        if let Some(to) = &kept.tell_crashes {
            to.do_send(ProberCrashed(panic));
        }
        // one that crashes again and again must not take the processor for itself
        let calm = clock.now().since(began) >= limits::PROBER_REST;
        rest = if calm { Duration::ZERO } else { limits::PROBER_REST };
        match self::runtime() {
            Ok(fresh) => runtime = fresh,
            Err(error) => tracing::warn!(%error, "the prober goes on in its old runtime"),
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a text").to_owned()
}

/// What outlives a crash.
#[derive(Default)]
struct Kept {
    asked: HashMap<ProcessKey, Asked>,
    tell_crashes: Option<Recipient<ProberCrashed>>,
}

/// What an order leads to.
enum Step {
    Wait(ProcessKey),
    Ask(ProcessKey),
    Forget(ProcessKey),
    Nothing,
    End(blocking::Sender<()>),
}

impl Kept {
    fn note(&mut self, order: Order) -> Step {
        match order {
            Order::AwaitReady(key, sign, answer) => {
                let wait = Rc::new(Wait::new(sign, answer));
                self.asked.entry(key.clone()).or_default().wait = Some(wait);
                Step::Wait(key)
            }
            Order::Redirect(key, answer) => {
                match self.asked.get(&key).and_then(|asked| asked.wait.as_ref()) {
                    Some(wait) => wait.listener.redirect(answer),
                    // it was a prober of an earlier life that had the sign
                    None => {
                        let lost = "what it would say that on was lost with an earlier service";
                        let finding = Finding::NeverReady(lost.to_owned());
                        answer.do_send(ProbeReport { key, finding });
                    }
                }
                Step::Nothing
            }
            Order::Check(key, question, limit, answer) => {
                let question = Rc::new(Question::new(question, limit, answer));
                self.asked.entry(key.clone()).or_default().question = Some(question);
                Step::Ask(key)
            }
            Order::Forget(key) => {
                self.asked.remove(&key);
                Step::Forget(key)
            }
            Order::TellCrashes(to) => {
                self.tell_crashes = Some(to);
                Step::Nothing
            }
            Order::Crash => panic!("crashed on request"),
            Order::End(ended) => Step::End(ended),
        }
    }
}

/// What runs for one process. Dropping it ends its tasks and closes its connection.
#[derive(Default)]
struct Watch {
    wait: Option<AbortOnDrop<()>>,
    question: Option<AbortOnDrop<()>>,
    link: LinkSlot,
}

impl Watch {
    fn begin_wait(&mut self, key: ProcessKey, wait: &Rc<Wait>) {
        let Some(sign) = wait.begin() else { return };
        let (wait, link) = (wait.clone(), self.link.clone());
        let heard = wait.clone();
        let told = move |finding| heard.listener.hear(ProbeReport { key: key.clone(), finding });
        let crashed = told.clone();
        let task = async move {
            if AssertUnwindSafe(ready::watch(sign, link, told)).catch_unwind().await.is_err() {
                crashed(Finding::NeverReady(PROBE_CRASHED.to_owned()));
            }
            wait.is_over();
        };
        self.wait = Some(AbortOnDrop(spawn_local(task)));
    }

    fn ask(&mut self, key: ProcessKey, question: &Rc<Question>) {
        let (question, link) = (question.clone(), self.link.clone());
        let task = async move {
            let answer = health::ask(&question.question, question.limit, &link);
            let finding = AssertUnwindSafe(answer).catch_unwind().await;
            let finding = finding.unwrap_or_else(|_| Finding::Silent(PROBE_CRASHED.to_owned()));
            question.answer(ProbeReport { key, finding });
        };
        self.question = Some(AbortOnDrop(spawn_local(task)));
    }
}

/// The text of the panic stands in the log.
const PROBE_CRASHED: &str = "the probe itself crashed";

/// Takes orders in, and begins what is open, after a rest.
async fn carry_out(
    inbox: &mut mpsc::UnboundedReceiver<Order>,
    kept: &mut Kept,
    rest: Duration,
) -> Option<blocking::Sender<()>> {
    let mut rested = Box::pin(sleep(rest));
    loop {
        tokio::select! {
            () = &mut rested => break,
            order = inbox.recv() => if let Step::End(ended) = kept.note(order?) {
                return Some(ended);
            }
        }
    }
    let mut watches: HashMap<ProcessKey, Watch> = HashMap::new();
    for (key, asked) in &kept.asked {
        let watch = watches.entry(key.clone()).or_default();
        if let Some(wait) = &asked.wait {
            watch.begin_wait(key.clone(), wait);
        }
        if let Some(question) = asked.question.as_ref().filter(|question| question.is_open()) {
            watch.ask(key.clone(), question);
        }
    }
    while let Some(order) = inbox.recv().await {
        match kept.note(order) {
            Step::Wait(key) => {
                if let Some(wait) = kept.asked.get(&key).and_then(|asked| asked.wait.as_ref()) {
                    watches.entry(key.clone()).or_default().begin_wait(key, wait);
                }
            }
            Step::Ask(key) => {
                let asked = kept.asked.get(&key);
                if let Some(question) = asked.and_then(|asked| asked.question.as_ref()) {
                    watches.entry(key.clone()).or_default().ask(key, question);
                }
            }
            Step::Forget(key) => drop(watches.remove(&key)),
            Step::Nothing => {}
            Step::End(ended) => return Some(ended),
        }
    }
    None
}

/// Where the connection to a backend lies while nobody uses it. A task that is aborted while it uses the connection
/// takes it along; the next one opens a new one.
#[derive(Clone, Default)]
pub(super) struct LinkSlot(Rc<RefCell<Option<Link>>>);

impl LinkSlot {
    pub(super) fn take(&self) -> Option<Link> {
        self.0.borrow_mut().take()
    }

    pub(super) fn put(&self, link: Link) {
        *self.0.borrow_mut() = Some(link);
    }
}

/// A task that ends with whoever holds it.
pub(super) struct AbortOnDrop<T>(pub(super) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
