//! Wires the service: settings in, a running tree out, an orderly end.
//!
//! [`serve`] is the whole program in one call. [`Service`] is the same inside an actix system that is there already.

mod ground;
mod heart;
mod herald;
mod letting_go;
mod listening;
mod outside;
mod reloads;
mod remnant;
mod upgrading;
mod wishes;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix::Addr;
use tokio::sync::{mpsc, watch};

use self::ground::Ground;
use self::heart::HeartSide;
use self::herald::{Herald, Voice, Word};
use self::reloads::{Asker, Reloads};
pub use self::remnant::{End, Remnant, Served};
use self::upgrading::{Place, Upgrades};
use self::wishes::StopOnce;
pub use self::wishes::{Signals, Wish, Wishes};
use crate::clock::Clock;
use crate::events::EventLog;
use crate::events::messages::Record;
use crate::gateway::doors::{Control, ControlHandle};
use crate::gateway::heart_view::HeartFacts;
use crate::gateway::zmq::listeners::Listeners;
use crate::heart::link::Connection;
use crate::heart::notify::Notifier;
use crate::heart::protocol::FromCore;
use crate::instance::desk::{Autostart, ModelDesk, UseModels};
use crate::instance::preflight;
use crate::launcher::Launcher;
use crate::launcher::local::cgroup_obstacle;
use crate::limits;
use crate::probe::Prober;
use crate::registry::{Registry, UseCatalogue};
use crate::root::wiring::{self, Wiring};
use crate::root::{self, panics, picture, relay, shutdown};
use crate::settings::diff::{ReloadOutcome, diff};
use crate::settings::model::{ServiceSettings, Settings};
use crate::supervision::supervisor::wait_for_exit;
use crate::supervision::tree::TreeNode;
use crate::supervision::watchdog::Watchdog;
use crate::supervision::{ExitReason, RunningChild, Supervisor};
use crate::upgrade::Inheritance;

/// Reads the settings again for `reload` and SIGHUP; the error text names every fault. Runs on a thread of its own,
/// one at a time; one that never returns keeps later reloads waiting, and nothing else.
pub type SettingsLoader = Box<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// What a program around the service may add.
#[derive(Default)]
pub struct ServeOptions {
    /// Where reloaded settings come from; `None`: a reload is refused.
    pub loader: Option<SettingsLoader>,
    /// Called once, when both sockets are bound and the tree is whole.
    pub on_ready: Option<Box<dyn FnOnce() + Send>>,
    /// Let a manager make parts of the service panic, for `symphony chaos`. Every such panic is mended as any other.
    pub allow_chaos: bool,
    /// Set when a stop was asked for before [`serve`] could listen for signals: then nothing is started.
    pub stop_asked: Option<Arc<AtomicBool>>,
    /// The running program is `symphony`, and so its own helper for cgroups. Without it they need `service.symphony_binary`.
    pub is_symphony_program: bool,
    /// The heart that started this process.
    pub heart: Option<Connection>,
    /// What another binary must cope with that is to take over. Without it, or without a heart, an upgrade is refused.
    pub inheritance: Option<Inheritance>,
    /// Told how the service stands; `None`: nobody waits for it.
    pub notifier: Option<Notifier>,
    /// Sockets that were opened for the service before its start. Those that listen on one of its TCP endpoints are used,
    /// where the running program is `symphony`.
    pub passed: Vec<TcpListener>,
}

/// Why the service ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It could not come up (sockets taken, folders not writable). Exit code 1.
    #[error("{0}")]
    Startup(String),
    /// The root supervisor used up its restarts. Exit code 3.
    #[error("gave up: {0}")]
    GaveUp(String),
    /// Its heart is gone, and a manager of services will start it anew: its models run on until then. Exit code 1.
    #[error("the heart of this service is gone")]
    Orphaned,
}

/// Runs the service until it is asked to stop (`stop-service`, SIGINT, SIGTERM); blocks.
///
/// # Errors
/// [`ServeError`]; the processes of all backends are gone then, too, unless a heart lives that starts the service again.
pub fn serve(settings: Settings, options: ServeOptions) -> Result<Served, ServeError> {
    // made here, since actix panics where it cannot be made
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        ServeError::Startup(format!("cannot make the runtime of the service: {error}"))
    })?;
    let system = actix_rt::System::with_tokio_rt(|| runtime);
    // before anything is started, so that no moment is without them
    let signals = system.block_on(async { Signals::listen() });
    let mut signals = signals.map_err(|error| ServeError::Startup(error.to_string()))?;
    if options.stop_asked.as_ref().is_some_and(|asked| asked.load(Ordering::Acquire)) {
        return Ok(Served::Stopped);
    }
    let end = system.block_on(async {
        let service = Service::start(settings, options).await?;
        service.run(&mut signals).await
    })?;
    Ok(match end {
        End::Stopped => Served::Stopped,
        End::LetGo(relay) => Served::LetGo(Remnant { system, signals, relay }),
    })
}

/// What would make the start of a model fail by these settings: programs, scripts and files that are not there. Starts
/// nothing; may wait for a slow disk.
pub fn start_warnings(settings: &Settings) -> Vec<String> {
    let cgroup = cgroup_obstacle(&settings.service.cgroup);
    preflight::warnings(settings).into_iter().chain(cgroup).collect()
}

/// A running service inside an actix system.
pub struct Service {
    wiring: Arc<Wiring>,
    root: Addr<Supervisor>,
    exit: Option<RunningChild>,
    wishes: mpsc::Receiver<Control>,
    reloads: Reloads,
    upgrades: Upgrades,
    heart: Option<HeartSide>,
    herald: Herald,
    listeners: Listeners,
    /// Looks at the thread until the service is dropped.
    _watchdog: Option<Watchdog>,
}

impl Service {
    /// Starts the whole tree on the current arbiter; answers when the sockets are bound.
    ///
    /// # Errors
    /// [`ServeError::Startup`]; nothing is left running then.
    pub async fn start(settings: Settings, mut options: ServeOptions) -> Result<Self, ServeError> {
        let ground = Ground::lay(&settings, &mut options)?;
        Self::assemble(settings, options, ground).await
    }

    /// As [`Service::start`], with another way to run processes and to ask backends.
    ///
    /// # Errors
    /// [`ServeError::Startup`].
    pub async fn start_on(
        settings: Settings,
        options: ServeOptions,
        launcher: Arc<dyn Launcher>,
        prober: Arc<dyn Prober>,
    ) -> Result<Self, ServeError> {
        let ground = Ground {
            launcher,
            prober,
            clock: Clock::start(),
            last_event: Arc::default(),
            autostart: Autostart { only: None },
            watched: false,
            listeners: Listeners::default(),
            heart: None,
            heart_facts: HeartFacts::default(),
        };
        Self::assemble(settings, options, ground).await
    }

    async fn assemble(
        settings: Settings,
        options: ServeOptions,
        ground: Ground,
    ) -> Result<Self, ServeError> {
        let Ground { launcher, prober, clock, last_event, autostart, watched, .. } = ground;
        let (mut heart, heart_facts) = (ground.heart, ground.heart_facts);
        let listeners = ground.listeners;
        let (control, wishes) = ControlHandle::channel();
        let settings = Arc::new(settings);
        let wiring = Arc::new(Wiring {
            settings: watch::Sender::new(settings.clone()),
            longest_stop_ms: AtomicU64::new(0),
            clock,
            launcher,
            prober,
            control,
            allow_chaos: options.allow_chaos,
            heart: heart_facts,
            open_sockets: Default::default(),
            events_begin: last_event.load(Ordering::Relaxed),
            last_event,
            table: wiring::Place::default(),
            events: wiring::Place::default(),
            registry: wiring::Place::default(),
            desk: wiring::Place::default(),
            instances: wiring::Place::default(),
            zmq: wiring::Place::default(),
        });
        wiring.use_settings(settings);
        let watchdog = watched.then(|| relay::watch_thread(&wiring)).flatten();
        let (root, exit) = match root::start(&wiring).await {
            Ok(started) => started,
            Err(error) => {
                outside::give_back(&wiring).await;
                return Err(ServeError::Startup(error));
            }
        };
        let reloads = Reloads::new(options.loader);
        let mut upgrades = Upgrades::new(options.inheritance);
        let mut notices = Vec::new();
        if let Some(heart) = &mut heart {
            heart.beat_for(root.clone());
            notices = std::mem::take(&mut heart.notices);
            if let Some((underway, reason)) = heart.upgrade.take() {
                upgrades.settle(underway, reason, wiring.clone());
            }
        }
        let voice = Voice::of(options.notifier, heart.as_ref().map(|heart| &heart.link));
        let service = Self {
            herald: Herald::start(voice, wiring.clone()),
            wiring,
            root,
            exit: Some(exit),
            wishes,
            reloads,
            upgrades,
            heart,
            listeners,
            _watchdog: watchdog,
        };
        let goes_on = autostart.only.is_some();
        let cause = goes_on.then(|| "it goes on where one that ended unexpectedly was".to_owned());
        service.record("service_started", cause);
        for (kind, cause) in notices {
            service.record(kind, Some(cause));
        }
        if let Ok(desk) = service.wiring.desk.get() {
            desk.do_send(autostart);
        }
        service.herald.tell(Word::Ready);
        if let Some(on_ready) = options.on_ready {
            on_ready();
        }
        service.tell_heart_grace();
        service.tell_heart(FromCore::Ready);
        service.tell_heart(FromCore::Release { name: letting_go::HELD.to_owned() });
        Ok(service)
    }

    /// Requests about models are sent here.
    ///
    /// # Errors
    /// When the tree is just being built anew; ask again.
    pub fn desk(&self) -> Result<Addr<ModelDesk>, String> {
        self.wiring.desk.get()
    }

    /// Questions about instances are sent here.
    ///
    /// # Errors
    /// As [`Service::desk`].
    pub fn registry(&self) -> Result<Addr<Registry>, String> {
        self.wiring.registry.get()
    }

    /// Lifecycle events come from here.
    ///
    /// # Errors
    /// As [`Service::desk`].
    pub fn events(&self) -> Result<Addr<EventLog>, String> {
        self.wiring.events.get()
    }

    /// For wishes from other tasks: stop, reload, tree.
    pub fn control(&self) -> ControlHandle {
        self.wiring.control.clone()
    }

    /// Every part of the tree, for tests that let one crash.
    #[doc(hidden)]
    pub fn wiring(&self) -> Arc<Wiring> {
        self.wiring.clone()
    }

    /// The supervision tree as it stands.
    pub async fn tree(&self) -> TreeNode {
        picture::draw(self.root.clone(), &self.wiring).await
    }

    /// Runs until it is asked to stop, by a signal or over a gateway; then ends everything in order. Or until another binary
    /// is to take over; then it leaves everything to that one.
    ///
    /// # Errors
    /// [`ServeError::GaveUp`] when the root supervisor used up its restarts.
    pub async fn run(mut self, mut signals: impl Wishes) -> Result<End, ServeError> {
        let root = self.exit.take();
        let mut exit = Box::pin(async move {
            match root {
                Some(root) => wait_for_exit(root).await,
                None => std::future::pending().await,
            }
        });
        loop {
            tokio::select! {
                reason = &mut exit => return Err(self.gave_up(reason).await),
                wish = signals.next() => match wish {
                    Wish::Stop => break,
                    Wish::Reload => self.reload(None),
                },
                () = heart::lost(&mut self.heart) => {
                    if self.herald.is_heard() {
                        return Err(self.orphaned(exit).await);
                    }
                    self.record("heart_lost", Some("nothing will replace this service when it fails".into()));
                }
                (tried, asker) = self.upgrades.tried() => match self.hand_over(tried).await {
                    Ok((candidate, relay)) => {
                        return Ok(self.let_go(&candidate, relay, exit).await);
                    }
                    // whoever asked may have left
                    Err(refusal) => drop(asker.send(refusal)),
                },
                (read, askers) = self.reloads.read() => {
                    let outcome = read.and_then(|fresh| self.apply(fresh));
                    tell_reload(&outcome);
                    if !self.reloads.is_reading() {
                        self.herald.tell(Word::Reloaded);
                    }
                    for asker in askers {
                        // whoever asked may have left
                        let _ = asker.send(outcome.clone());
                    }
                }
                Some(wish) = self.wishes.recv() => match wish {
                    Control::Stop => break,
                    Control::Reload(answer) => self.reload(Some(answer)),
                    Control::Tree(answer) => {
                        let (root, wiring) = (self.root.clone(), self.wiring.clone());
                        actix_rt::spawn(async move {
                            let _ = answer.send(picture::draw(root, &wiring).await);
                        });
                    }
                    Control::Upgrade(binary, asker) => {
                        let obstacle = self.obstacle_to_upgrade();
                        let place = Place::of(&self.reloads, &self.wiring);
                        self.upgrades.ask(binary, asker, obstacle, place);
                    }
                    Control::UpgradeOutcome(asker) => self.upgrades.tell_outcome(asker),
                    Control::Panic(part, answer) => {
                        panics::of_main_loop(&part, &self.wiring);
                        let wiring = self.wiring.clone();
                        actix_rt::spawn(panics::make(part, wiring, answer));
                    }
                },
            }
        }
        self.tell_heart(FromCore::Stopping);
        // a reload that is being read is given up, and who asked for one is told
        drop(self.reloads);
        self.herald.tell(Word::Stopping(longest_stop(&self.wiring)));
        let wishes = &mut self.wishes;
        let hurry = async {
            loop {
                tokio::select! {
                    wish = signals.next() => if wish == Wish::Stop { break },
                    // dropped, which answers it
                    Some(_) = wishes.recv() => {}
                }
            }
        };
        shutdown::stop_instances(&self.wiring, hurry).await;
        shutdown::stop_tree(&self.root);
        let _ = tokio::time::timeout(limits::TREE_STOP, exit).await;
        // the gateway has closed its own: from now on clients are refused
        listening::close(self.listeners, self.heart.as_ref().map(|heart| &heart.link));
        outside::end(&self.wiring).await;
        Ok(End::Stopped)
    }

    fn reload(&mut self, asker: Option<Asker>) {
        self.herald.tell(Word::Reloading);
        self.reloads.ask(asker);
    }

    /// Lets go of everything: whoever manages services starts this one anew, and finds a heart's place free.
    async fn orphaned(&self, exit: impl Future<Output = ExitReason>) -> ServeError {
        tracing::error!("letting go of the models for the next start of this service");
        self.wiring.launcher.let_go(limits::LAUNCHER_END);
        shutdown::stop_tree(&self.root);
        let _ = tokio::time::timeout(limits::TREE_STOP, exit).await;
        outside::close(&self.wiring).await;
        ServeError::Orphaned
    }

    async fn gave_up(&self, reason: ExitReason) -> ServeError {
        tracing::error!(%reason, "the root supervisor ended");
        outside::give_back(&self.wiring).await;
        ServeError::GaveUp(format!("the root supervisor ended: {reason}"))
    }

    /// Ends the service from the program around it: everything in order, as after `stop-service`.
    ///
    /// # Errors
    /// As [`Service::run`].
    pub async fn stop(self) -> Result<(), ServeError> {
        self.run(StopOnce(false)).await.map(drop)
    }

    fn apply(&self, fresh: Settings) -> Result<ReloadOutcome, String> {
        let outcome = diff(&self.wiring.settings.borrow(), &fresh);
        let fresh = keep_what_is_in_use(&self.wiring.settings.borrow(), fresh);
        let settings = Arc::new(fresh.service.clone());
        self.wiring.use_settings(Arc::new(fresh));
        self.tell_heart_grace();
        let catalogue = self.wiring.catalogue();
        self.wiring.registry.get()?.do_send(UseCatalogue(catalogue.clone()));
        self.wiring.desk.get()?.do_send(UseModels { catalogue, settings });
        self.record(
            "reloaded",
            Some(format!(
                "{} added, {} changed, {} removed, {} unchanged",
                outcome.added.len(),
                outcome.changed.len(),
                outcome.removed.len(),
                outcome.unchanged
            )),
        );
        Ok(outcome)
    }

    fn tell_heart(&self, message: FromCore) {
        if let Some(heart) = &self.heart {
            heart.link.tell(message);
        }
    }

    fn tell_heart_grace(&self) {
        if let Some(heart) = &self.heart {
            let longest =
                Duration::from_millis(self.wiring.longest_stop_ms.load(Ordering::Relaxed));
            heart.tell_grace(longest + limits::STOP_SLACK);
        }
    }

    fn record(&self, kind: &'static str, cause: Option<String>) {
        if let Ok(events) = self.wiring.events.get() {
            let subject = "service".to_owned();
            events.do_send(Record { subject, model: None, generation: None, kind, cause });
        }
    }
}

/// Sockets and folders are in use: what changed about them waits for the next start of the service, as the outcome of
/// the reload says.
fn keep_what_is_in_use(present: &Settings, mut fresh: Settings) -> Settings {
    fresh.endpoints = present.endpoints.clone();
    fresh.service = ServiceSettings {
        backend_path: fresh.service.backend_path,
        interpreter: fresh.service.interpreter,
        drain_timeout: fresh.service.drain_timeout,
        ..present.service.clone()
    };
    fresh
}

fn tell_reload(outcome: &Result<ReloadOutcome, String>) {
    match outcome {
        Ok(outcome) => tracing::info!("configuration reloaded: {outcome}"),
        Err(faults) => tracing::error!(%faults, "configuration not reloaded, nothing was changed"),
    }
}

/// How long a stop may take, all in all.
fn longest_stop(wiring: &Wiring) -> Duration {
    let models = Duration::from_millis(wiring.longest_stop_ms.load(Ordering::Relaxed));
    let drain = wiring.settings.borrow().service.drain_timeout;
    let own = limits::STOP_SLACK + limits::TREE_STOP + limits::SOCKETS_CLOSE + limits::LAUNCHER_END;
    models + drain + own
}
