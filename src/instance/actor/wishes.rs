//! What may be wanted of an instance.

use std::sync::{Arc, Weak};

use actix::{Addr, Handler, Message, ResponseFuture};
use tokio::sync::oneshot;

use super::{InstanceActor, Waiter, policies};
use crate::instance::group::Group;
use crate::instance::machine::Event;
use crate::instance::messages::ModelError;
use crate::instance::state::State;
use crate::limits;
use crate::registry::messages::InstanceView;
use crate::settings::model::{BackendSpec, ModelSpec, ServiceSettings};

/// Starts the instance if need be and answers when it can be used or has failed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Arc<InstanceView>, ModelError>")]
pub struct BringUp {
    /// Where there is one: who waits for the answer only as long as this lasts.
    pub wanted: Option<Weak<()>>,
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
        if self.closing {
            return Box::pin(std::future::ready(Err(ModelError::ShuttingDown)));
        }
        let state = self.machine.state();
        if wish.how == BringUpHow::Lead && state == State::Parked {
            let failure = self.failure();
            return Box::pin(std::future::ready(Err(failure)));
        }
        self.waiters.retain(Waiter::is_wanted);
        if self.waiters.len() >= limits::LOAD_WAITERS {
            let crowded = ModelError::Crowded(self.model.name.to_string());
            return Box::pin(std::future::ready(Err(crowded)));
        }
        // the event first: a restart must not be answered with what it is about to replace
        let event = match wish.how {
            BringUpHow::Restart => {
                self.turns.begin_afresh(self.services.clock.now());
                Event::Restart
            }
            BringUpHow::Lead | BringUpHow::Load => Event::Start,
        };
        self.feed(event, ctx);
        let (answer, wait) = oneshot::channel();
        let patience = self.services.clock.now() + limits::LOAD_PATIENCE;
        let until = (!wish.patient).then_some(patience);
        self.waiters.push(Waiter { until, wanted: wish.wanted, answer });
        self.settle(ctx);
        let name = self.model.name.to_string();
        Box::pin(async move { wait.await.unwrap_or(Err(ModelError::Replaced(name))) })
    }
}

/// The same for another member of its group: answered as soon as it is taken in, and told to the group, so that the
/// next member is called after it.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), ModelError>")]
pub struct CallUp {
    /// As in [`BringUp`].
    pub how: BringUpHow,
}

impl Handler<CallUp> for InstanceActor {
    type Result = Result<(), ModelError>;

    fn handle(&mut self, wish: CallUp, ctx: &mut Self::Context) -> Self::Result {
        if self.closing {
            return Err(ModelError::ShuttingDown);
        }
        if wish.how == BringUpHow::Lead && self.machine.state() == State::Parked {
            return Err(self.failure());
        }
        self.feed(Event::Start, ctx);
        Ok(())
    }
}

/// Stops the instance and answers when its process is gone. The instance is forgotten then, too, unless somebody wants
/// it again meanwhile.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), ModelError>")]
pub struct TakeDown {
    /// Do not wait for an orderly end.
    pub kill: bool,
    /// The service stops: whoever wants it again is refused.
    pub closing: bool,
}

impl Handler<TakeDown> for InstanceActor {
    type Result = ResponseFuture<Result<(), ModelError>>;

    fn handle(&mut self, wish: TakeDown, ctx: &mut Self::Context) -> Self::Result {
        self.closing |= wish.closing;
        let (answer, wait) = oneshot::channel();
        // one that is not taken in is stopped all the same: those before it wait for that
        let crowded = self.stop_waiters.len() >= limits::STOP_WAITERS;
        if !crowded {
            self.stop_waiters.push(answer);
        }
        self.feed(if wish.kill { Event::Kill } else { Event::Stop }, ctx);
        let name = self.model.name.to_string();
        if crowded {
            return Box::pin(std::future::ready(Err(ModelError::Crowded(name))));
        }
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
    /// Its group, if it has one that runs.
    pub group: Option<Addr<Group>>,
}

impl Handler<Reconfigure> for InstanceActor {
    type Result = ();

    fn handle(&mut self, fresh: Reconfigure, ctx: &mut Self::Context) {
        let policies = policies(&fresh.model, &fresh.backend);
        self.machine.set_policies(policies, self.services.clock.now());
        self.model = fresh.model;
        self.backend = fresh.backend;
        self.services.settings = fresh.settings;
        self.compare_order();
        self.use_group(fresh.group, ctx);
        self.settle(ctx);
    }
}
