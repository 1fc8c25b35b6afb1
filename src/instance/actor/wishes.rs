//! What may be wanted of an instance.

use std::sync::Arc;

use actix::{AsyncContext, Handler, Message, ResponseFuture};
use tokio::sync::oneshot;

use super::{InstanceActor, StopWaiter, Waiter, policies};
use crate::instance::machine::Event;
use crate::instance::messages::ModelError;
use crate::instance::state::State;
use crate::limits;
use crate::registry::messages::InstanceView;
use crate::settings::model::{BackendSpec, ModelSpec, ServiceSettings};

/// Starts the instance if need be and answers when it can be used or has failed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Arc<InstanceView>, ModelError>")]
pub struct BringUp {
    /// Hold the answer until it is ready or given up, instead of [`limits::LOAD_PATIENCE`].
    pub patient: bool,
    /// What is to happen with an instance that is there already.
    pub how: BringUpHow,
}

/// What is to happen with an instance that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BringUpHow {
    /// A running one is used; a parked one is not touched: the answer tells why it is parked.
    Lead,
    /// A running one is used; a parked one gets a trial start.
    Load,
    /// A running one is replaced.
    Restart,
}

impl Handler<BringUp> for InstanceActor {
    type Result = ResponseFuture<Result<Arc<InstanceView>, ModelError>>;

    fn handle(&mut self, wish: BringUp, ctx: &mut Self::Context) -> Self::Result {
        let state = self.machine.state();
        if wish.how == BringUpHow::Lead && state == State::Parked {
            let failure = self.failure();
            return Box::pin(std::future::ready(Err(failure)));
        }
        if self.waiters.len() >= limits::LOAD_WAITERS {
            let crowded = ModelError::Crowded(self.model.name.to_string());
            return Box::pin(std::future::ready(Err(crowded)));
        }
        // the event first: a restart must not be answered with what it is about to replace
        let event = if wish.how == BringUpHow::Restart { Event::Restart } else { Event::Start };
        self.feed(event, ctx);
        let (answer, wait) = oneshot::channel();
        let id = self.next_waiter;
        self.next_waiter += 1;
        self.waiters.push(Waiter { id, patient: wish.patient, answer });
        if !wish.patient {
            ctx.run_later(limits::LOAD_PATIENCE, move |this, _| this.lose_patience(id));
        }
        self.settle(ctx);
        let name = self.model.name.to_string();
        Box::pin(async move { wait.await.unwrap_or(Err(ModelError::Replaced(name))) })
    }
}

impl InstanceActor {
    fn lose_patience(&mut self, id: u64) {
        let Some(at) = self.waiters.iter().position(|waiter| waiter.id == id) else { return };
        let waiter = self.waiters.swap_remove(at);
        let answer = match self.machine.state() {
            State::Starting | State::Stopping | State::Exited => Ok(Arc::new(self.view())),
            _ => Err(self.failure()),
        };
        let _ = waiter.answer.send(answer);
    }
}

/// Stops the instance and answers when its process is gone.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), ModelError>")]
pub struct TakeDown {
    /// Forget the instance, too, unless somebody wants it again meanwhile.
    pub retire: bool,
    /// Do not wait for an orderly end.
    pub kill: bool,
}

impl Handler<TakeDown> for InstanceActor {
    type Result = ResponseFuture<Result<(), ModelError>>;

    fn handle(&mut self, wish: TakeDown, ctx: &mut Self::Context) -> Self::Result {
        let (answer, wait) = oneshot::channel();
        self.stop_waiters.push(StopWaiter { retire: wish.retire, answer });
        self.feed(if wish.kill { Event::Kill } else { Event::Stop }, ctx);
        let name = self.model.name.to_string();
        Box::pin(async move { wait.await.unwrap_or(Err(ModelError::Replaced(name))) })
    }
}

/// The configuration of this instance changed. What runs keeps running; the next start is by the new one.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Reconfigure {
    /// The model.
    pub model: Arc<ModelSpec>,
    /// Its backend.
    pub backend: Arc<BackendSpec>,
    /// What concerns the whole service.
    pub settings: Arc<ServiceSettings>,
}

impl Handler<Reconfigure> for InstanceActor {
    type Result = ();

    fn handle(&mut self, fresh: Reconfigure, ctx: &mut Self::Context) {
        self.machine.set_policies(policies(&fresh.backend), self.services.clock.now());
        self.model = fresh.model;
        self.backend = fresh.backend;
        self.services.settings = fresh.settings;
        self.settle(ctx);
    }
}
