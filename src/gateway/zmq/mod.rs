//! The ZeroMQ gateway: two ROUTER sockets, one for commands in JSON, one for client handshakes in protobuf.
//!
//! ```text
//!   clients ──▶ ROUTER ─▶ frames ─▶ command / handshake ─▶ intake ─┬─ status, list-models, handshake ─▶ Registry
//!     ▲            the gateway's thread (poll_loop)                 └─ the rest ─▶ ZmqGateway ─▶ model desk, …
//!     │                                                                                │
//!     └─────────── ROUTER ◀─ backlog ◀──────────── outbox ◀──────── reply ◀── slot ◀───┘
//! ```
//!
//! When another service takes over, the thread stays behind as a relay (`relay/`) for the clients that are connected.
//!
//! The thread owns every socket and never waits for an actor; actors never touch a socket. Each request is a
//! slot (`slot.rs`) that sends exactly one reply, whatever happens to who holds it. What is inside the tree is bounded by
//! budgets that a reply gives back; what waits for slow clients is bounded by the backlog (`backlog.rs`).
//!
//! One thing cannot be bounded here: libzmq assembles a message of many frames in its own memory before anybody sees
//! it. The sockets are open to their owner alone.

mod again;
mod backlog;
mod command;
mod counters;
mod data;
mod delivery;
mod desk;
mod endpoint;
mod error;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod intake;
pub mod listeners;
mod lock_file;
mod log_gate;
pub mod messages;
mod params;
mod poll_loop;
mod relay;
mod reply;
mod shared;
mod slot;
mod socket_file;
mod sockets;
mod thread;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::task::JoinSet;

use self::desk::{DeskRequest, Patience, carry_out};
pub use self::error::OpenError;
use self::messages::{CloseIntake, CloseSockets, GatewayState, HandOver, Observe};
pub use self::thread::{GatewayClosed, RelayHandle};
use self::thread::{Thread, ThreadEnd};
use super::doors::Doors;
use crate::limits;
use crate::supervision::StopActor;
use crate::supervision::crash::crashes_on_request;
use crate::supervision::exit::{ExitReason, ExitSlot};

/// What may be set differently, by tests above all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayOptions {
    /// For answers from the memory of other actors.
    pub ask_timeout: Duration,
    /// For answers that wait for a process.
    pub long_ask_timeout: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self { ask_timeout: limits::ASK_TIMEOUT, long_ask_timeout: limits::LONG_ASK_TIMEOUT }
    }
}

/// The actor behind the two sockets. It holds the requests that wait for a process; the rest never gets here.
pub struct ZmqGateway {
    // dropped first: the tasks' slots answer while the thread still sends
    requests: JoinSet<()>,
    /// Those of them that a handover waits for.
    unloads: JoinSet<()>,
    thread: Thread,
    doors: Arc<Doors>,
    patience: Patience,
    exit: ExitSlot,
}

impl ZmqGateway {
    /// Starts the gateway's thread, which locks, checks and binds both endpoints of `doors.facts`. Clients can connect
    /// when this returns; they are answered once the actor is started. Nothing blocks the calling thread.
    ///
    /// A predecessor in this process that still holds the sockets is waited for.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left behind then.
    pub async fn open(
        doors: Doors,
        options: GatewayOptions,
        exit: ExitSlot,
    ) -> Result<Self, OpenError> {
        let doors = Arc::new(doors);
        let thread = Thread::start(doors.clone()).await?;
        let patience = Patience { short: options.ask_timeout, long: options.long_ask_timeout };
        let (requests, unloads) = (JoinSet::new(), JoinSet::new());
        Ok(Self { requests, unloads, thread, doors, patience, exit })
    }

    /// Tells when this gateway's sockets are closed and their files removed, also after the actor is gone.
    pub fn closed(&self) -> GatewayClosed {
        self.thread.closed()
    }
}

impl Actor for ZmqGateway {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let gateway = ctx.address().downgrade();
        self.thread.begin(gateway.clone());
        // not a future of the context: that would keep an actor alive whom nobody holds any more
        let end = self.thread.closed().end();
        actix_rt::spawn(async move {
            let end = end.await;
            if let Some(gateway) = gateway.upgrade() {
                gateway.do_send(ThreadEnded(end));
            }
        });
    }
}

/// The thread is gone.
#[derive(Message)]
#[rtype(result = "()")]
struct ThreadEnded(ThreadEnd);

impl Handler<ThreadEnded> for ZmqGateway {
    type Result = ();

    fn handle(&mut self, ThreadEnded(end): ThreadEnded, ctx: &mut Self::Context) {
        // an end that was asked for is the business of who asked
        if let ThreadEnd::Failed(fault) = end {
            tracing::error!(%fault, "the gateway's thread ended");
            self.exit.set(ExitReason::Failed(format!("zmq thread: {fault}")));
            ctx.stop();
        }
    }
}

impl Handler<DeskRequest> for ZmqGateway {
    type Result = ();

    fn handle(&mut self, DeskRequest(work): DeskRequest, _: &mut Self::Context) {
        let requests =
            if work.is_better_finished() { &mut self.unloads } else { &mut self.requests };
        while let Some(finished) = requests.try_join_next() {
            if let Err(error) = finished
                && !error.is_cancelled()
            {
                tracing::error!(%error, "a request's task failed; its client got a failure");
            }
        }
        requests.spawn_local(carry_out(work, self.doors.clone(), self.patience));
    }
}

impl Handler<CloseIntake> for ZmqGateway {
    type Result = ();

    fn handle(&mut self, _: CloseIntake, _: &mut Self::Context) {
        self.thread.shared().close_intake();
    }
}

impl Handler<CloseSockets> for ZmqGateway {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: CloseSockets, ctx: &mut Self::Context) -> Self::Result {
        if self.thread.is_free() {
            // a relay outlives the tree
            self.exit.set(ExitReason::Shutdown);
            ctx.stop();
            return Box::pin(actix::fut::ready(()));
        }
        // first the flag: the slots that are dropped now tell why
        self.thread.stop();
        self.requests.abort_all();
        self.unloads.abort_all();
        let closed = self.thread.closed().wait().into_actor(self);
        Box::pin(closed.map(|(), gateway, ctx| {
            gateway.exit.set(ExitReason::Shutdown);
            ctx.stop();
        }))
    }
}

impl Handler<HandOver> for ZmqGateway {
    type Result = ResponseActFuture<Self, RelayHandle>;

    fn handle(&mut self, order: HandOver, _: &mut Self::Context) -> Self::Result {
        let mut unloads = std::mem::take(&mut self.unloads);
        let finished = async move {
            let all = async { while unloads.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(limits::HANDOVER_UNLOADS, all).await;
            unloads
        };
        Box::pin(finished.into_actor(self).then(|mut unfinished, gateway, _| {
            // first the flag: the slots that are dropped now are for the successor
            let relay = gateway.thread.hand_over(order.kept_endpoints);
            for requests in [&mut unfinished, &mut gateway.unloads, &mut gateway.requests] {
                requests.abort_all();
            }
            let settled = async move {
                let settled = tokio::time::timeout(limits::HANDOVER_SETTLES, relay.settled()).await;
                if settled.is_err() {
                    tracing::error!("requests are stuck in the tree; they are not answered");
                }
                drop(unfinished);
                relay
            };
            settled.into_actor(gateway)
        }))
    }
}

impl Handler<StopActor> for ZmqGateway {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.notify(CloseSockets);
    }
}

impl Handler<Observe> for ZmqGateway {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Self::Result {
        let shared = self.thread.shared();
        let state: GatewayState = shared.counters.state(shared.intake_is_closed());
        MessageResult(state)
    }
}

crashes_on_request!(ZmqGateway);

#[cfg(test)]
#[path = "actor_tests.rs"]
mod tests;
