//! The prober of real backends: one thread with a tokio runtime, one task per wait or question.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::mpsc as blocking;
use std::time::Duration;

use actix::Recipient;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::link::Link;
use super::{Finding, HealthQuestion, ProbeReport, Prober, ReadySign, health, ready};
use crate::ids::ProcessKey;
use crate::limits;

/// Asks backends on this machine.
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
    End(blocking::Sender<()>),
}

impl LocalProber {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub fn start() -> io::Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("symphony-probe".to_owned()).spawn(move || {
            let ended = LocalSet::new().block_on(&runtime, carry_out(inbox));
            // sockets are closed before the end is told
            drop(runtime);
            if let Some(ended) = ended {
                let _ = ended.send(());
            }
        })?;
        Ok(Self { orders })
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

    fn end(&self) {
        let (ended, end) = blocking::channel();
        if self.order(Order::End(ended)) && end.recv_timeout(limits::PROBER_END).is_err() {
            tracing::warn!("the prober did not end in time");
        }
    }
}

/// What is kept for one process. Dropping it ends its tasks and closes its connection.
#[derive(Default)]
struct Watch {
    wait: Option<(AbortOnDrop<()>, Rc<Listener>)>,
    question: Option<AbortOnDrop<()>>,
    link: LinkSlot,
}

/// Answers who wants to be told of the end; `None` when all provers' handles are gone.
async fn carry_out(mut inbox: mpsc::UnboundedReceiver<Order>) -> Option<blocking::Sender<()>> {
    let mut watches: HashMap<ProcessKey, Watch> = HashMap::new();
    while let Some(order) = inbox.recv().await {
        match order {
            Order::AwaitReady(key, sign, answer) => {
                let watch = watches.entry(key.clone()).or_default();
                let link = watch.link.clone();
                let listener = Rc::new(Listener::new(answer));
                let heard = listener.clone();
                let told = move |finding| heard.hear(ProbeReport { key: key.clone(), finding });
                let wait = async move { ready::watch(sign, link, told).await };
                watch.wait = Some((AbortOnDrop(spawn_local(wait)), listener));
            }
            Order::Redirect(key, answer) => {
                if let Some((_, listener)) = watches.get(&key).and_then(|watch| watch.wait.as_ref())
                {
                    listener.redirect(answer);
                }
            }
            Order::Check(key, question, limit, answer) => {
                let watch = watches.entry(key.clone()).or_default();
                let link = watch.link.clone();
                let ask = async move {
                    let finding = health::ask(&question, limit, &link).await;
                    told(key, answer)(finding);
                };
                watch.question = Some(AbortOnDrop(spawn_local(ask)));
            }
            Order::Forget(key) => drop(watches.remove(&key)),
            Order::End(ended) => return Some(ended),
        }
    }
    None
}

fn told(key: ProcessKey, answer: Recipient<ProbeReport>) -> impl FnMut(Finding) {
    move |finding| answer.do_send(ProbeReport { key: key.clone(), finding })
}

/// Who is told what comes of a wait. It may be replaced; what its predecessor did not take is told again.
struct Listener {
    to: RefCell<Recipient<ProbeReport>>,
    untold: RefCell<Option<ProbeReport>>,
}

impl Listener {
    fn new(to: Recipient<ProbeReport>) -> Self {
        Self { to: RefCell::new(to), untold: RefCell::new(None) }
    }

    fn hear(&self, report: ProbeReport) {
        let to = self.to.borrow();
        // kept also when it was sent: an actor may fail before it reads its mailbox
        self.untold.replace(Some(report.clone()));
        to.do_send(report);
    }

    fn redirect(&self, to: Recipient<ProbeReport>) {
        self.to.replace(to);
        if let Some(report) = self.untold.take() {
            self.hear(report);
        }
    }
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
