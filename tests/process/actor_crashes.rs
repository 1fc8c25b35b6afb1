//! A crash of any actor costs no process, and what it watched is watched again.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler};
use rustix::process::Signal;
use serde_json::json;
use symphony::app::{ServeError, ServeOptions, Service, Wish, Wishes};
use symphony::ids::ModelName;
use symphony::instance::messages::LoadModel;
use symphony::instance::state::State;
use symphony::instance::{FindLive, Present};
use symphony::registry::messages::{FindInstance, InstanceView};
use symphony::root::wiring::Wiring;
use symphony::settings::model::{BackendSpec, ModelSpec, Settings};
use symphony::settings::policy::Readiness;
use symphony::supervision::crash::CrashForTest;
use symphony::supervision::tree::TreeNode;
use tokio::time::{Duration, Instant, sleep};

use crate::backend::{FAKE, LIMIT};
use crate::manager::Manager;
use crate::processes::{Mark, runs, signal, tree_of};

/// A folder for a service in this process, and a mark for its backends.
struct Stage {
    folder: tempfile::TempDir,
    mark: Mark,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.mark.kill_all();
    }
}

impl Stage {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), mark: Mark::new() }
    }

    fn backend(&self, flags: &[&str]) -> BackendSpec {
        let argv = [FAKE, "--ipc-endpoint", "{endpoint}"];
        BackendSpec::command(argv.iter().chain(flags).copied())
            .with_env(Mark::VARIABLE, self.mark.text())
    }

    fn settings<'a>(&self, models: impl IntoIterator<Item = (&'a str, BackendSpec)>) -> Settings {
        let mut settings = Settings::in_folder(self.folder.path()).unwrap();
        settings.service.symphony_binary = Some(env!("CARGO_BIN_EXE_symphony").into());
        for (name, backend) in models {
            settings = settings.with_model(ModelSpec::new(name, backend).unwrap());
        }
        settings
    }

    async fn start(&self, models: impl IntoIterator<Item = (&str, BackendSpec)>) -> Service {
        Service::start(self.settings(models), ServeOptions::default()).await.unwrap()
    }

    /// Whether nothing of the service is there any more.
    async fn assert_empty(&self) {
        eventually("the end of all processes", async || {
            self.mark.processes().is_empty().then_some(())
        })
        .await;
        let logs = self.folder.path().join("logs");
        let left: Vec<_> = tree_of(self.folder.path())
            .into_iter()
            .filter(|path| !path.starts_with(&logs))
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        assert!(!self.folder.path().join("run").exists(), "the runtime folder was left behind");
    }
}

pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn load(service: &Service, name: &str) -> Arc<InstanceView> {
    let load = LoadModel { model: name.into(), wait: true, revive: false };
    // a desk that just crashed is asked again, as the service's documentation says
    let answer = eventually("a desk that answers", async || {
        service.desk().ok()?.send(load.clone()).await.ok()
    });
    answer.await.expect("loaded")
}

fn name(text: &str) -> ModelName {
    ModelName::try_new(text).unwrap()
}

pub async fn view(wiring: &Wiring, model: &str) -> Option<Arc<InstanceView>> {
    wiring.registry.get().ok()?.send(FindInstance(name(model))).await.ok()?
}

pub async fn crash<A>(addr: Addr<A>)
where
    A: Actor + Handler<CrashForTest>,
    A::Context: ToEnvelope<A, CrashForTest>,
{
    assert!(addr.send(CrashForTest).await.is_err(), "it crashed before it could answer");
}

pub async fn crash_instance(wiring: &Wiring, model: &str) {
    let actor = wiring.desk.get().unwrap().send(FindLive(name(model))).await.unwrap();
    let Some(Present::Runs(actor)) = actor else { panic!("its actor runs") };
    crash(actor).await;
}

/// Whether a manager that was connected all the time sees both models with their old processes.
async fn is_seen_from_outside(manager: Manager, pids: [u32; 2]) -> Manager {
    let seen = tokio::task::spawn_blocking(move || {
        crate::backend::until("the old processes in `status`", || {
            let status = manager.ask_until_answered("status", &json!({}));
            let models = status["models"].as_array().unwrap();
            let shown = models.iter().filter(|row| row["state"] == "ready");
            let shown: Vec<_> = shown.map(|row| row["pid"].as_u64().unwrap_or(0)).collect();
            (shown == pids.map(u64::from)).then_some(())
        });
        manager
    });
    seen.await.unwrap()
}

/// Whether something was restarted, and everything runs, with the actors of both models.
pub fn is_whole_again(root: &TreeNode) -> Option<()> {
    let mut actors = Vec::new();
    let mut next = vec![root];
    while let Some(node) = next.pop() {
        if node.kind != "process" {
            actors.push(node);
            next.extend(&node.children);
        }
    }
    let instances = root.children.iter().find(|node| node.name == symphony::root::INSTANCES)?;
    let restarted = actors.iter().any(|actor| actor.restarts > 0);
    let running = actors.iter().all(|actor| actor.state == "running");
    (restarted && running && instances.children.len() == 2).then_some(())
}

/// A service with two ready models keeps both processes over `crash`, and goes on to supervise them.
fn costs_no_process(crash: impl AsyncFn(&Wiring)) {
    actix_rt::System::new().block_on(async {
        let stage = Stage::new();
        let service = stage.start([("a", stage.backend(&[])), ("b", stage.backend(&[]))]).await;
        let before = [load(&service, "a").await, load(&service, "b").await];
        let pids = before.each_ref().map(|view| view.pid.unwrap());
        let wiring = service.wiring();
        let cli = wiring.settings.borrow().endpoints.cli_management.clone();
        let manager = Manager::connect(&cli);
        let manager = is_seen_from_outside(manager, pids).await;

        crash(&wiring).await;

        eventually("a whole tree", async || is_whole_again(&service.tree().await)).await;
        let manager = is_seen_from_outside(manager, pids).await;
        for old in &before {
            let now = view(&wiring, old.model.as_str()).await.expect("known");
            assert_eq!((now.pid, now.generation), (old.pid, old.generation));
            assert_eq!((&now.endpoint, now.restarts), (&old.endpoint, 0));
            assert_eq!(load(&service, old.model.as_str()).await.pid, old.pid, "no second process");
        }
        // each is supervised as before
        for old in &before {
            signal(old.pid.unwrap(), Signal::KILL);
        }
        for old in &before {
            let new = eventually("the successor", async || {
                view(&wiring, old.model.as_str())
                    .await
                    .filter(|now| now.generation > old.generation && now.state == State::Ready)
            })
            .await;
            assert_eq!((&new.endpoint, new.restarts), (&old.endpoint, 1));
            assert_eq!(new.last_exit.as_ref().unwrap().reason, "signal 9");
        }
        drop(manager);
        service.stop().await.unwrap();
        stage.assert_empty().await;
    });
}

#[test]
fn actor_panic_keeps_process() {
    costs_no_process(async |wiring| crash_instance(wiring, "a").await);
}

#[test]
fn registry_panic_keeps_processes() {
    costs_no_process(async |wiring| crash(wiring.registry.get().unwrap()).await);
}

#[test]
fn event_log_panic_keeps_processes() {
    costs_no_process(async |wiring| crash(wiring.events.get().unwrap()).await);
}

#[test]
fn model_desk_panic_keeps_processes() {
    costs_no_process(async |wiring| crash(wiring.desk.get().unwrap()).await);
}

#[test]
fn process_table_panic_keeps_processes() {
    costs_no_process(async |wiring| crash(wiring.table.get().unwrap()).await);
}

#[test]
fn instance_supervisor_panic_keeps_processes() {
    costs_no_process(async |wiring| crash(wiring.instances.get().unwrap()).await);
}

#[test]
fn gateway_panic_keeps_processes() {
    costs_no_process(async |wiring| crash(wiring.zmq.get().unwrap()).await);
}

#[test]
fn stop_while_the_gateway_is_replaced_leaves_nothing() {
    actix_rt::System::new().block_on(async {
        // the stop comes at spread moments of the replacement
        for pause in 0..20 {
            let stage = Stage::new();
            let service = stage.start([]).await;
            crash(service.wiring().zmq.get().unwrap()).await;
            for _ in 0..pause {
                tokio::task::yield_now().await;
            }
            service.stop().await.unwrap();
            stage.assert_empty().await;
        }
    });
}

#[test]
fn crashes_of_several_parts_at_once_keep_processes() {
    costs_no_process(async |wiring| {
        let parts = (wiring.zmq.get().unwrap(), wiring.desk.get().unwrap());
        crash_instance(wiring, "b").await;
        parts.0.do_send(CrashForTest);
        parts.1.do_send(CrashForTest);
    });
}

#[test]
fn actor_panic_forgets_nothing() {
    actix_rt::System::new().block_on(async {
        let stage = Stage::new();
        let service = stage.start([("a", stage.backend(&[]))]).await;
        let first = load(&service, "a").await;
        let wiring = service.wiring();
        signal(first.pid.unwrap(), Signal::KILL);
        let before = eventually("the successor", async || {
            let view = view(&wiring, "a").await?;
            (view.generation > first.generation && view.state == State::Ready).then_some(view)
        })
        .await;
        crash_instance(&wiring, "a").await;
        // the actor that answers now is another one
        let after = load(&service, "a").await;
        assert_eq!(*after, *before, "restarts, last exit with its output, protocols");
        service.stop().await.unwrap();
        stage.assert_empty().await;
    });
}

#[test]
fn actor_panic_while_it_loads_keeps_process() {
    actix_rt::System::new().block_on(async {
        let stage = Stage::new();
        let loads = |ready: Readiness, flags: &[&str]| {
            let mut backend = stage.backend(&[&["--load-time", "700ms"], flags].concat());
            backend.start.ready = ready;
            backend
        };
        let models = [
            ("handshake", loads(Readiness::Handshake, &[])),
            ("fd", loads(Readiness::Fd { number: 3 }, &["--ready-fd", "3"])),
            ("notify", loads(Readiness::Notify, &["--notify"])),
            ("delay", loads(Readiness::Delay(Duration::from_millis(700)), &[])),
        ];
        let names = ["handshake", "fd", "notify", "delay"];
        let service = stage.start(models).await;
        let wiring = service.wiring();
        for model in names {
            let load = LoadModel { model: model.into(), wait: true, revive: false };
            let desk = service.desk().unwrap();
            let answer = tokio::task::spawn_local(desk.send(load));
            let starting = eventually("its process", async || {
                view(&wiring, model).await.filter(|view| view.pid.is_some())
            })
            .await;
            assert_eq!(starting.state, State::Starting);
            crash_instance(&wiring, model).await;
            let loaded = answer.await.unwrap().unwrap().expect("the load outlives the crash");
            assert_eq!((loaded.state, loaded.pid), (State::Ready, starting.pid), "{model}");
            assert_eq!(loaded.restarts, 0, "{model}");
        }
        service.stop().await.unwrap();
        stage.assert_empty().await;
    });
}

#[test]
fn prober_panic_is_told_and_keeps_process() {
    use symphony::events::messages::{LifecycleEvent, ReadEvents};
    use symphony::launcher::local::{LocalLauncher, LocalOptions};
    use symphony::probe::local::LocalProber;

    actix_rt::System::new().block_on(async {
        let stage = Stage::new();
        let mut backend = stage.backend(&[]);
        // one missed answer would end it
        backend.health.every = Duration::from_millis(5);
        backend.health.timeout = LIMIT;
        backend.health.misses = 1;
        let launcher = Arc::new(LocalLauncher::start(LocalOptions::default()).unwrap());
        let prober = Arc::new(LocalProber::start().unwrap());
        let settings = stage.settings([("a", backend)]);
        let options = ServeOptions::default();
        let service = Service::start_on(settings, options, launcher, prober.clone());
        let service = service.await.unwrap();
        let first = load(&service, "a").await;

        for crashes in 1..=2 {
            prober.crash_for_test();
            eventually("an event of the crash", async || {
                let read = ReadEvents { since: 0, limit: usize::MAX };
                let page = service.events().ok()?.send(read).await.ok()?;
                let failed = |event: &&Arc<LifecycleEvent>| {
                    event.subject == "prober" && event.kind == "actor_failed"
                };
                (page.events.iter().filter(failed).count() == crashes).then_some(())
            })
            .await;
        }
        let now = view(&service.wiring(), "a").await.expect("known");
        assert_eq!((now.pid, now.state), (first.pid, State::Ready));
        service.stop().await.unwrap();
        stage.assert_empty().await;
    });
}

/// Nobody wants anything.
struct NoWishes;

impl Wishes for NoWishes {
    async fn next(&mut self) -> Wish {
        std::future::pending().await
    }
}

#[test]
fn root_that_gives_up_leaves_nothing() {
    actix_rt::System::new().block_on(async {
        let stage = Stage::new();
        let stubborn = ["--ignore-term", "--fork", "2", "--grandchild-ignores-term"];
        let service = stage.start([("a", stage.backend(&stubborn))]).await;
        let pid = load(&service, "a").await.pid.unwrap();
        let wiring = service.wiring();
        let crashes = async {
            let mut crashed = 0;
            loop {
                if let Ok(registry) = wiring.registry.get()
                    && registry.connected()
                {
                    assert!(runs(pid), "{crashed} crashes cost the process");
                    crash(registry).await;
                    crashed += 1;
                    assert!(crashed <= 4, "three restarts in five minutes are allowed");
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        let ended = tokio::select! {
            ended = service.run(NoWishes) => ended,
            () = crashes => unreachable!("it goes on until the service ends"),
        };
        assert!(matches!(ended, Err(ServeError::GaveUp(_))), "{ended:?}");
        drop(wiring);
        stage.assert_empty().await;
    });
}
