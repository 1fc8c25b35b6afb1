//! A gateway in an actor system of its own, with fakes behind its doors whose behaviour a test can change.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::prelude::*;
use symphony::clock::Clock;
use symphony::events::messages::{EventPage, LifecycleEvent, ReadEvents};
use symphony::gateway::doors::{Control, ControlHandle, Doors, ServiceFacts};
use symphony::gateway::open_sockets::OpenSockets;
use symphony::gateway::zmq::messages::{
    CloseIntake, CloseSockets, GatewayState, HandOver, Observe,
};
use symphony::gateway::zmq::{GatewayOptions, OpenError, RelayHandle, ZmqGateway};
use symphony::ids::{Generation, InstanceId, ModelName};
use symphony::instance::messages::{
    LoadModel, LogPage, ModelError, ReadLog, RestartModel, UnloadModel,
};
use symphony::instance::state::State;
use symphony::registry::catalogue::Catalogue;
use symphony::registry::messages::{AskDirect, InstanceView, RegistryView};
use symphony::settings::diff::ReloadOutcome;
use symphony::settings::model::ModelSpec;
use symphony::supervision::exit::{ExitReason, ExitSlot};
use symphony::supervision::tree::TreeNode;
use tokio::sync::{oneshot, watch};

/// What the fakes do; changed by tests while everything runs.
#[derive(Default)]
pub struct Behaviour {
    /// The registry throws questions away.
    pub registry_drops: AtomicBool,
    /// The registry panics at the next question.
    pub registry_panics: AtomicBool,
    /// Close the sockets at once when the service is asked to stop.
    pub stop_closes: AtomicBool,
    /// Loads of `slow` that have arrived.
    pub slow_loads: AtomicUsize,
    /// Upgrades to `/held` that are not answered.
    pub upgrades: Mutex<Vec<oneshot::Sender<String>>>,
    /// The sockets are a relay's.
    pub hands_over: AtomicBool,
    /// How often the service was asked to stop.
    pub stops: AtomicUsize,
}

/// How a world is made.
pub struct Plan {
    /// Models that are ready.
    pub models: Vec<String>,
    /// Of the gateway.
    pub options: GatewayOptions,
    /// What it calls itself.
    pub version: &'static str,
    /// Another endpoint for commands than a file.
    pub cli: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            models: vec!["ready".into()],
            options: GatewayOptions::default(),
            version: "1.2.3",
            cli: None,
        }
    }
}

/// A running gateway.
pub struct World {
    folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    pub gateway: Addr<ZmqGateway>,
    pub behaviour: Arc<Behaviour>,
    release: watch::Sender<bool>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Option<ExitReason>>>,
}

impl World {
    /// A gateway with one ready model.
    pub fn new() -> Self {
        Self::with(Plan::default())
    }

    /// A gateway by plan, in a private folder.
    pub fn with(plan: Plan) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut world = Self::open(folder.path(), plan).expect("open");
        world._temporary = Some(folder);
        world
    }

    /// A gateway on the sockets of `folder`.
    pub fn open(folder: &Path, plan: Plan) -> Result<Self, OpenError> {
        let behaviour = Arc::new(Behaviour::default());
        let (release, released) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        let (opened, wait) = mpsc::channel();
        let thread = {
            let (folder, behaviour) = (folder.to_owned(), behaviour.clone());
            let body = move || {
                System::new().block_on(live(folder, plan, behaviour, released, opened, ended))
            };
            std::thread::Builder::new().name("core".into()).spawn(body).expect("thread")
        };
        let gateway = wait.recv().expect("the thread lives")?;
        Ok(Self {
            folder: folder.to_owned(),
            _temporary: None,
            gateway,
            behaviour,
            release,
            end: Some(end),
            thread: Some(thread),
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn cli(&self) -> String {
        endpoint(&self.folder, "cli")
    }

    pub fn client(&self) -> String {
        endpoint(&self.folder, "client")
    }

    /// Lets all loads of `slow` go on.
    pub fn release_slow_loads(&self) {
        self.release.send_replace(true);
    }

    pub fn close_intake(&self) {
        wait(self.gateway.send(CloseIntake)).expect("answer");
    }

    /// Hands the sockets over and ends everything but the relay.
    pub fn hand_over(self) -> Relay {
        self.hand_over_with(&[])
    }

    /// The same where somebody keeps the listeners of these endpoints.
    pub fn hand_over_with(self, kept_endpoints: &[&str]) -> Relay {
        let kept_endpoints = kept_endpoints.iter().map(|&endpoint| endpoint.into()).collect();
        let order = HandOver { kept_endpoints };
        let handle = wait(self.gateway.send(order)).expect("answer");
        self.behaviour.hands_over.store(true, SeqCst);
        drop(self);
        Relay { handle }
    }

    pub fn close_sockets(&self) {
        wait(self.gateway.send(CloseSockets)).expect("answer");
    }

    pub fn state(&self) -> GatewayState {
        wait(self.gateway.send(Observe)).expect("answer")
    }

    /// Waits until the gateway's state fulfils a condition.
    pub fn await_state(
        &self,
        what: &str,
        condition: impl Fn(&GatewayState) -> bool,
    ) -> GatewayState {
        let mut state = self.state();
        eventually(what, || {
            state = self.state();
            condition(&state)
        });
        state
    }

    /// Ends everything; the reason that the gateway left.
    pub fn end(mut self) -> Option<ExitReason> {
        self.finish()
    }

    fn finish(&mut self) -> Option<ExitReason> {
        drop(self.end.take());
        self.thread.take().and_then(|thread| thread.join().expect("the system ends well"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.finish();
        }
    }
}

/// What is left of a gateway that handed its sockets over. Ends when dropped.
pub struct Relay {
    handle: RelayHandle,
}

impl Relay {
    /// Waits until nobody needs it any more.
    pub fn ended(&self) {
        wait(self.handle.ended());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.handle.end();
        if !std::thread::panicking() {
            self.ended();
        }
    }
}

/// Waits for a future that needs no runtime.
pub fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(future)
}

/// Looks until a condition holds; fails after a limit that no busy machine reaches.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !condition() {
        assert!(clock.now().since_origin() < Duration::from_secs(60), "never: {what}");
        std::thread::yield_now();
    }
}

pub fn endpoint(folder: &Path, name: &str) -> String {
    format!("ipc://{}", folder.join(name).display())
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("entry").file_name();
    let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

async fn live(
    folder: PathBuf,
    plan: Plan,
    behaviour: Arc<Behaviour>,
    released: watch::Receiver<bool>,
    opened: mpsc::Sender<Result<Addr<ZmqGateway>, OpenError>>,
    ended: oneshot::Receiver<()>,
) -> Option<ExitReason> {
    let (control, mut wishes) = ControlHandle::channel();
    let registry = FakeRegistry::new(&plan.models, behaviour.clone()).start();
    let desk = FakeDesk { behaviour: behaviour.clone(), released }.start();
    let doors = Doors {
        open_sockets: OpenSockets::default(),
        facts: ServiceFacts {
            version: plan.version,
            pid: std::process::id(),
            clock: Clock::start(),
            client_endpoint: endpoint(&folder, "client"),
            cli_endpoint: plan.cli.clone().unwrap_or_else(|| endpoint(&folder, "cli")),
            log_dir: "/logs".into(),
            binary: "/usr/bin/symphony".into(),
            runtime_dir: folder.join("run"),
            allow_chaos: false,
            heart: Default::default(),
        },
        registry: registry.recipient(),
        load: desk.clone().recipient(),
        unload: desk.clone().recipient(),
        restart: desk.clone().recipient(),
        read_log: desk.clone().recipient(),
        events: desk.recipient(),
        control,
    };
    let exit = ExitSlot::default();
    let gateway = match ZmqGateway::open(doors, plan.options, exit.clone()).await {
        Ok(gateway) => gateway,
        Err(error) => {
            opened.send(Err(error)).expect("somebody waits");
            return None;
        }
    };
    let closed = gateway.closed();
    let gateway = gateway.start();
    opened.send(Ok(gateway.clone())).expect("somebody waits");
    let serve = async {
        while let Some(wish) = wishes.recv().await {
            match wish {
                Control::Stop => {
                    behaviour.stops.fetch_add(1, SeqCst);
                    if behaviour.stop_closes.load(SeqCst) {
                        gateway.do_send(CloseSockets);
                    }
                }
                Control::Reload(answer) => {
                    let outcome = ReloadOutcome { added: vec!["new".into()], ..Default::default() };
                    let _ = answer.send(Ok(outcome));
                }
                Control::Tree(answer) => {
                    let _ = answer.send(root());
                }
                Control::Upgrade(binary, answer) => {
                    if binary.as_deref() == Some("/held".as_ref()) {
                        behaviour.upgrades.lock().expect("whole").push(answer);
                    } else {
                        let _ = answer.send(format!("no upgrade to {binary:?}"));
                    }
                }
                Control::UpgradeOutcome(answer) => {
                    let _ = answer.send(Err(format!("{} goes on", plan.version)));
                }
                Control::Panic(part, answer) => {
                    let _ = answer.send(Err(format!("{part:?}")));
                }
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serve => {}
        _ = ended => {}
    }
    // its relay outlives the gateway that handed its sockets over
    let _ = gateway.send(CloseSockets).await;
    drop(gateway);
    if !behaviour.hands_over.load(SeqCst) {
        closed.wait().await;
    }
    exit.take()
}

fn root() -> TreeNode {
    TreeNode {
        name: "root".into(),
        kind: "supervisor".into(),
        state: "running".into(),
        restarts: 0,
        detail: None,
        children: Vec::new(),
    }
}

fn spec(name: &str) -> Arc<ModelSpec> {
    Arc::new(ModelSpec {
        name: ModelName::try_new(name).expect("valid"),
        fullname: Some(format!("org/{name}")),
        model_type: "t".into(),
        backend: None,
        path: None,
        autostart: false,
        after: Vec::new(),
        group: None,
    })
}

/// An instance of `name`.
pub fn view(name: &str, state: State) -> Arc<InstanceView> {
    let model = ModelName::try_new(name).expect("valid");
    Arc::new(InstanceView {
        instance: InstanceId::of_model(&model),
        endpoint: format!("ipc:///tmp/symphony-model-{name}"),
        model,
        fullname: Some(format!("org/{name}")),
        model_type: "t".into(),
        generation: Generation(3),
        state,
        pid: state.has_process().then_some(77),
        started_at: Some(Clock::start().started()),
        restarts: 2,
        last_exit: None,
        protocols: vec!["l4m".into(), "ping".into()],
        reason: None,
        progress: None,
        group: None,
        outdated: false,
    })
}

/// The registry as the gateway sees it.
pub struct FakeRegistry {
    instances: Vec<Arc<InstanceView>>,
    protocols: Vec<String>,
    catalogue: Catalogue,
    behaviour: Arc<Behaviour>,
}

impl FakeRegistry {
    pub fn new(ready: &[String], behaviour: Arc<Behaviour>) -> Self {
        let protocols = if ready.is_empty() { &[][..] } else { &["l4m", "ping"] };
        let names = ready.iter().map(String::as_str).chain(["Idle"]);
        Self {
            instances: ready.iter().map(|name| view(name, State::Ready)).collect(),
            protocols: protocols.iter().map(|&name| name.to_owned()).collect(),
            catalogue: Catalogue::new(names.map(spec).collect()),
            behaviour,
        }
    }
}

impl RegistryView for FakeRegistry {
    fn instances(&self) -> &[Arc<InstanceView>] {
        &self.instances
    }
    fn ready_protocols(&self) -> &[String] {
        &self.protocols
    }
    fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }
}

impl Actor for FakeRegistry {
    type Context = Context<Self>;
}

impl Handler<AskDirect> for FakeRegistry {
    type Result = ();
    fn handle(&mut self, question: AskDirect, _: &mut Self::Context) {
        assert!(!self.behaviour.registry_panics.load(SeqCst), "the registry was told to panic");
        if !self.behaviour.registry_drops.load(SeqCst) {
            (question.answer)(self);
        }
    }
}

/// The model desk, the event log: what they answer depends on the model's name.
struct FakeDesk {
    behaviour: Arc<Behaviour>,
    released: watch::Receiver<bool>,
}

impl Actor for FakeDesk {
    type Context = Context<Self>;
}

type Loaded = Result<Arc<InstanceView>, ModelError>;

impl FakeDesk {
    fn load(&mut self, model: &str, wait: bool) -> ResponseFuture<Loaded> {
        let outcome = match model {
            "slow" => {
                self.behaviour.slow_loads.fetch_add(1, SeqCst);
                let mut released = self.released.clone();
                return Box::pin(async move {
                    let _ = released.wait_for(|released| *released).await;
                    Ok(view("slow", State::Ready))
                });
            }
            "never" => return Box::pin(std::future::pending()),
            "panic" => panic!("the desk was told to panic"),
            "ready" if wait => Ok(view("ready", State::Ready)),
            "ready" => Ok(view("ready", State::Starting)),
            "no-endpoint" => {
                let view = InstanceView {
                    endpoint: String::new(),
                    ..(*view("ready", State::Ready)).clone()
                };
                Ok(Arc::new(view))
            }
            "failing" => Err(ModelError::StartFailed {
                reason: "exit 3 before ready".into(),
                output: vec!["Traceback".into(), "out of memory".into()],
            }),
            "no-backend" => Err(ModelError::NoBackend("t".into())),
            "no-script" => Err(ModelError::ScriptMissing("/b/x.py".into())),
            unknown => Err(Catalogue::new(vec![spec("Phi"), spec("PHI"), spec("Llama")])
                .find(unknown)
                .expect_err("unknown")),
        };
        Box::pin(async move { outcome })
    }
}

impl Handler<LoadModel> for FakeDesk {
    type Result = ResponseFuture<Loaded>;
    fn handle(&mut self, load: LoadModel, _: &mut Self::Context) -> Self::Result {
        self.load(&load.model, load.wait)
    }
}

impl Handler<RestartModel> for FakeDesk {
    type Result = ResponseFuture<Loaded>;
    fn handle(&mut self, restart: RestartModel, _: &mut Self::Context) -> Self::Result {
        self.load(&restart.model, restart.wait)
    }
}

impl Handler<UnloadModel> for FakeDesk {
    type Result = Result<(), ModelError>;
    fn handle(&mut self, unload: UnloadModel, _: &mut Self::Context) -> Self::Result {
        if unload.model == "ready" { Ok(()) } else { Err(ModelError::NotLoaded(unload.model)) }
    }
}

impl Handler<ReadLog> for FakeDesk {
    type Result = Result<LogPage, ModelError>;
    fn handle(&mut self, read: ReadLog, _: &mut Self::Context) -> Self::Result {
        if read.model != "ready" {
            return Err(ModelError::NotLoaded(read.model));
        }
        let asked = format!("{} lines after {:?}", read.lines, read.after_offset);
        Ok(LogPage { lines: vec![asked], next_offset: 9 })
    }
}

impl Handler<ReadEvents> for FakeDesk {
    type Result = MessageResult<ReadEvents>;
    fn handle(&mut self, read: ReadEvents, _: &mut Self::Context) -> Self::Result {
        let event = LifecycleEvent {
            seq: read.since + 1,
            at: 1.5,
            since_start_ms: 2.5,
            subject: format!("at most {}", read.limit),
            model: None,
            generation: None,
            kind: "ready".into(),
            cause: None,
        };
        MessageResult(EventPage {
            events: vec![Arc::new(event)],
            next: read.since + 1,
            missed: 0,
            dropped: 0,
        })
    }
}
