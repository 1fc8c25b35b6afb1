//! Who is where: model name → instance, endpoint, state, by generation. One owner, no lock.
//!
//! It does not know how anything is started; it is told by the instances and asked by everybody else.

pub mod catalogue;
pub mod messages;

use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, WrapFuture};

use self::catalogue::Catalogue;
use self::messages::{
    AskDirect, FindInstance, InstanceChanged, InstanceGone, InstanceView, ListInstances,
    RegistryView,
};
use crate::instance::state::State;
use crate::limits;
use crate::supervision::StopActor;
use crate::supervision::crash::crashes_on_request;

/// See the module.
#[derive(Debug)]
pub struct Registry {
    catalogue: Catalogue,
    /// In the order of the configuration.
    instances: Vec<Arc<InstanceView>>,
    ready_protocols: Vec<String>,
    /// Direct questions answered since others had a turn.
    answered: usize,
}

/// The protocols that come first in the union, in this order; others follow by name.
const PROTOCOL_ORDER: [&str; 3] = ["l4m", "l4m-vision", "ping"];

impl Registry {
    /// A registry that knows what may be loaded and that nothing is.
    pub fn new(catalogue: Catalogue) -> Self {
        Self { catalogue, instances: Vec::new(), ready_protocols: Vec::new(), answered: 0 }
    }

    fn put(&mut self, view: Arc<InstanceView>) {
        match self.instances.iter().position(|known| known.instance == view.instance) {
            Some(at) if self.instances[at].generation > view.generation => return,
            Some(at) => self.instances[at] = view,
            None => {
                let place = self.place(&view);
                let at = self.instances.partition_point(|known| self.place(known) <= place);
                self.instances.insert(at, view);
            }
        }
        self.refresh_protocols();
    }

    /// Models that are no longer configured come last.
    fn place(&self, view: &InstanceView) -> usize {
        self.catalogue.position(view.model.as_str()).unwrap_or(usize::MAX)
    }

    fn refresh_protocols(&mut self) {
        let mut union: Vec<&String> = Vec::new();
        for view in self.instances.iter().filter(|view| view.state == State::Ready) {
            for protocol in &view.protocols {
                if !union.contains(&protocol) {
                    union.push(protocol);
                }
            }
        }
        union.sort_by_key(|protocol| {
            let place = PROTOCOL_ORDER.iter().position(|known| known == protocol);
            (place.unwrap_or(PROTOCOL_ORDER.len()), protocol.as_str())
        });
        if !union.iter().copied().eq(self.ready_protocols.iter()) {
            self.ready_protocols = union.into_iter().cloned().collect();
        }
    }
}

impl RegistryView for Registry {
    fn instances(&self) -> &[Arc<InstanceView>] {
        &self.instances
    }

    fn ready_protocols(&self) -> &[String] {
        &self.ready_protocols
    }

    fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }
}

impl Actor for Registry {
    type Context = Context<Self>;
}

impl Handler<StopActor> for Registry {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<InstanceChanged> for Registry {
    type Result = ();

    fn handle(&mut self, InstanceChanged(view): InstanceChanged, _: &mut Self::Context) {
        self.put(view);
    }
}

impl Handler<InstanceGone> for Registry {
    type Result = ();

    fn handle(&mut self, gone: InstanceGone, _: &mut Self::Context) {
        self.instances
            .retain(|known| known.instance != gone.instance || known.generation > gone.generation);
        self.refresh_protocols();
    }
}

impl Handler<ListInstances> for Registry {
    type Result = Vec<Arc<InstanceView>>;

    fn handle(&mut self, _: ListInstances, _: &mut Self::Context) -> Self::Result {
        self.instances.clone()
    }
}

impl Handler<FindInstance> for Registry {
    type Result = Option<Arc<InstanceView>>;

    fn handle(&mut self, FindInstance(model): FindInstance, _: &mut Self::Context) -> Self::Result {
        self.instances.iter().find(|known| known.model == model).cloned()
    }
}

impl Handler<AskDirect> for Registry {
    type Result = ();

    fn handle(&mut self, ask: AskDirect, ctx: &mut Self::Context) {
        (ask.answer)(self);
        self.answered += 1;
        if self.answered >= limits::DIRECT_ANSWERS_IN_A_ROW {
            self.answered = 0;
            // an actor goes on while its mailbox holds something, and a gateway's thread can fill it faster than it is
            // emptied: without a pause neither timers nor other actors would have a turn
            ctx.wait(tokio::task::yield_now().into_actor(self));
        }
    }
}

/// The configuration changed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UseCatalogue(pub Catalogue);

impl Handler<UseCatalogue> for Registry {
    type Result = ();

    fn handle(&mut self, UseCatalogue(catalogue): UseCatalogue, _: &mut Self::Context) {
        self.catalogue = catalogue;
        let mut instances = std::mem::take(&mut self.instances);
        instances.sort_by_key(|view| self.place(view));
        self.instances = instances;
    }
}

crashes_on_request!(Registry);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::ids::{Generation, InstanceId, ModelName};

    fn view(model: &str, generation: u64, state: State, protocols: &[&str]) -> Arc<InstanceView> {
        let model = ModelName::try_new(model).expect("valid");
        Arc::new(InstanceView {
            instance: InstanceId::of_model(&model),
            model,
            fullname: None,
            model_type: "t".into(),
            generation: Generation(generation),
            endpoint: "ipc:///nowhere".into(),
            state,
            pid: None,
            started_at: None,
            restarts: 0,
            last_exit: None,
            protocols: protocols.iter().map(|p| (*p).to_owned()).collect(),
            reason: None,
            progress: None,
            group: None,
            outdated: false,
        })
    }

    #[test]
    fn a_stale_generation_changes_nothing() {
        let mut registry = Registry::new(Catalogue::default());
        registry.put(view("m", 2, State::Starting, &[]));
        registry.put(view("m", 1, State::Ready, &["ping"]));
        assert_eq!(registry.instances.len(), 1);
        assert_eq!(registry.instances[0].state, State::Starting);
        assert!(registry.ready_protocols.is_empty());
    }

    /// Asks again with each answer, up to a bound: a mailbox that is never empty.
    fn ask_on(registry: &actix::Addr<Registry>, asked: Arc<AtomicUsize>) {
        let again = registry.clone();
        let answer = Box::new(move |_: &dyn RegistryView| {
            if asked.fetch_add(1, Ordering::Relaxed) < FLOOD {
                ask_on(&again, asked);
            }
        });
        registry.do_send(AskDirect { answer });
    }

    const FLOOD: usize = 100_000;

    #[actix::test]
    async fn a_flood_of_questions_leaves_others_their_turn() {
        let registry = Registry::new(Catalogue::default()).start();
        let asked = Arc::new(AtomicUsize::new(0));
        ask_on(&registry, asked.clone());
        while asked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(asked.load(Ordering::Relaxed) < FLOOD, "the flood was over before anybody else");
    }

    #[test]
    fn protocols_of_ready_backends_come_in_the_order_of_the_contract() {
        let mut registry = Registry::new(Catalogue::default());
        registry.put(view("a", 1, State::Ready, &["zeta", "ping", "alpha"]));
        registry.put(view("b", 1, State::Ready, &["ping", "l4m-vision", "l4m"]));
        registry.put(view("c", 1, State::Unhealthy, &["other"]));
        assert_eq!(registry.ready_protocols, ["l4m", "l4m-vision", "ping", "alpha", "zeta"]);
        registry.put(view("b", 1, State::Exited, &[]));
        assert_eq!(registry.ready_protocols, ["ping", "alpha", "zeta"]);
    }
}
