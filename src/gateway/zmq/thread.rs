//! Starting the gateway's thread, learning of its end, and asking for it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use actix::WeakAddr;
use tokio::sync::{oneshot, watch};

use super::ZmqGateway;
use super::error::OpenError;
use super::intake::Intake;
use super::poll_loop::PollLoop;
use super::shared::Shared;
use super::sockets::Sockets;
use crate::gateway::doors::Doors;

/// How the thread ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ThreadEnd {
    /// Because it was asked to.
    Asked,
    /// By itself: a panic, or an error of libzmq.
    Failed(String),
}

/// Tells when the gateway's thread is gone: sockets closed, socket files and locks removed.
#[derive(Debug, Clone)]
pub struct GatewayClosed(watch::Receiver<Option<ThreadEnd>>);

impl GatewayClosed {
    /// Waits for it; returns at once when it is so already.
    pub async fn wait(self) {
        self.end().await;
    }

    pub(super) async fn end(mut self) -> ThreadEnd {
        match self.0.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(ThreadEnd::Asked),
            Err(_) => ThreadEnd::Failed("the thread vanished".into()),
        }
    }
}

/// The actor's end of the thread. Dropped, also while a panic unwinds, it lets the thread end.
#[derive(Debug)]
pub(super) struct Thread {
    shared: Arc<Shared>,
    /// Whether it goes on without the actor.
    is_free: bool,
    begin: Option<mpsc::SyncSender<WeakAddr<ZmqGateway>>>,
    closed: GatewayClosed,
}

impl Thread {
    /// Starts the thread and has it open the sockets.
    ///
    /// # Errors
    /// [`OpenError`]; the thread is gone or going then.
    pub(super) async fn start(doors: Arc<Doors>) -> Result<Self, OpenError> {
        let (shared, inbox) =
            Shared::new().map_err(|error| OpenError::Thread(format!("no eventfd: {error}")))?;
        let shared = Arc::new(shared);
        let (begin, begun) = mpsc::sync_channel(1);
        let (opened, wait) = oneshot::channel();
        let body = {
            let shared = shared.clone();
            let held = doors.open_sockets.hold();
            move || {
                // dropped last, when all below is closed
                let _held = held;
                let clock = doors.facts.clock;
                let sockets = match Sockets::open(&doors.facts, clock) {
                    Ok(sockets) => sockets,
                    Err(error) => {
                        // nobody to tell: whoever opens was dropped
                        let _ = opened.send(Err(error));
                        return Ok(());
                    }
                };
                if opened.send(Ok(())).is_err() {
                    return Ok(());
                }
                // an actor that is dropped before it was started gives no address
                let Ok(gateway) = begun.recv() else { return Ok(()) };
                let intake = Intake::new(doors, shared.clone(), gateway);
                PollLoop::new(sockets, inbox, shared, intake, clock).run()
            }
        };
        let thread = Self::spawn(shared, begin, body)?;
        match wait.await {
            Ok(outcome) => outcome.map(|()| thread),
            Err(_) => match thread.closed().end().await {
                ThreadEnd::Failed(fault) => Err(OpenError::Thread(fault)),
                ThreadEnd::Asked => Err(OpenError::Thread("it was told to end".into())),
            },
        }
    }

    /// Runs `body` on a thread of its own; a panic in it is an end like others.
    pub(super) fn spawn(
        shared: Arc<Shared>,
        begin: mpsc::SyncSender<WeakAddr<ZmqGateway>>,
        body: impl FnOnce() -> zmq::Result<()> + Send + 'static,
    ) -> Result<Self, OpenError> {
        let (ended, closed) = watch::channel(None);
        std::thread::Builder::new()
            .name("symphony-zmq".into())
            .spawn(move || {
                // what the body owns is dropped inside: sockets are closed and files removed before the end is told
                let end = match catch_unwind(AssertUnwindSafe(body)) {
                    Ok(Ok(())) => ThreadEnd::Asked,
                    Ok(Err(error)) => ThreadEnd::Failed(format!("libzmq: {error}")),
                    Err(panic) => ThreadEnd::Failed(format!("panicked: {}", text_of(&*panic))),
                };
                ended.send_replace(Some(end));
            })
            .map_err(|error| OpenError::Thread(error.to_string()))?;
        Ok(Self { shared, is_free: false, begin: Some(begin), closed: GatewayClosed(closed) })
    }

    /// Gives the thread the actor it works for; from now on requests are taken.
    pub(super) fn begin(&mut self, gateway: WeakAddr<ZmqGateway>) {
        if let Some(begin) = self.begin.take() {
            // the channel has room for the one message; a thread that is gone is told by its end
            let _ = begin.try_send(gateway);
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn closed(&self) -> GatewayClosed {
        self.closed.clone()
    }

    /// Lets the thread be a relay from now on, whatever becomes of the actor.
    pub(super) fn hand_over(&mut self, kept_endpoints: Vec<String>) -> RelayHandle {
        self.is_free = true;
        self.shared.hand_over(kept_endpoints);
        RelayHandle { shared: self.shared.clone(), closed: self.closed() }
    }

    /// Whether it was let go on without the actor.
    pub(super) fn is_free(&self) -> bool {
        self.is_free
    }

    pub(super) fn stop(&mut self) {
        self.begin = None;
        self.shared.stop();
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if !self.is_free {
            self.stop();
        }
    }
}

/// The gateway's thread as a relay, which outlives the tree.
#[derive(Debug)]
pub struct RelayHandle {
    shared: Arc<Shared>,
    closed: GatewayClosed,
}

impl RelayHandle {
    /// Waits until no request is inside the tree any more.
    pub(super) async fn settled(&self) {
        // the sender is in our hands
        let _ = self.shared.settled().wait_for(|settled| *settled).await;
    }

    /// Lets it end now, whoever asks.
    pub fn end(&self) {
        self.shared.stop();
    }

    /// Waits until it has ended: nobody needs it any more.
    pub async fn ended(&self) {
        self.closed.clone().wait().await;
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}
