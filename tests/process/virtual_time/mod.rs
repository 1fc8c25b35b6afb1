//! The whole tree in virtual time, on a scripted launcher and prober: what happens when, at default settings, to the
//! millisecond.

mod actor_crashes;
mod crowds;
mod groups;
mod health;
mod restarts;

use std::sync::Arc;

use symphony::app::{ServeOptions, Service};
use symphony::events::messages::{LifecycleEvent, ReadEvents};
use symphony::ids::{Generation, ProcessKey};
use symphony::instance::messages::{LoadModel, ModelError};
use symphony::launcher::ExitStatus;
use symphony::launcher::scripted::ScriptedLauncher;
use symphony::probe::Finding;
use symphony::probe::scripted::ScriptedProber;
use symphony::registry::messages::InstanceView;
use symphony::settings::model::{BackendSpec, ModelSpec, Settings};
use tokio::task::JoinHandle;
use tokio::time::{self, Duration, Instant, sleep, timeout};

/// Long enough for every actor to do all it can do now.
const MOMENT: Duration = Duration::from_millis(1);

/// More than any test lets pass: what hangs is found at once.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

struct Stage {
    service: Service,
    launcher: Arc<ScriptedLauncher>,
    prober: Arc<ScriptedProber>,
}

type Loaded = Result<Arc<InstanceView>, ModelError>;

/// Runs a test of a service with these models, on a clock that moves only when nothing else can; the start and the stop
/// of the service are in real time, since real threads take part in them. Answers what the launcher saw.
fn in_virtual_time(
    models: &[&str],
    prober: ScriptedProber,
    test: impl AsyncFnOnce(&Stage),
) -> Arc<ScriptedLauncher> {
    in_virtual_time_with(models, |settings| settings, prober, test)
}

/// The same with changed settings.
fn in_virtual_time_with(
    models: &[&str],
    change: impl FnOnce(Settings) -> Settings,
    prober: ScriptedProber,
    test: impl AsyncFnOnce(&Stage),
) -> Arc<ScriptedLauncher> {
    actix_rt::System::new().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::in_folder(folder.path()).unwrap();
        let settings = models.iter().fold(settings, |settings, name| {
            settings.with_model(ModelSpec::new(*name, BackendSpec::command(["x"])).unwrap())
        });
        let settings = change(settings);
        let (launcher, prober) = (Arc::new(ScriptedLauncher::new()), Arc::new(prober));
        let options = ServeOptions::default();
        let service = Service::start_on(settings, options, launcher.clone(), prober.clone());
        let stage = Stage { service: service.await.unwrap(), launcher, prober };
        time::pause();
        assert!(timeout(FOR_EVER, test(&stage)).await.is_ok(), "the test hangs");
        time::resume();
        stage.service.stop().await.unwrap();
        stage.launcher
    })
}

impl Stage {
    /// Begins a load; with `wait` it holds out until the model is ready or given up.
    fn load(&self, model: &str, wait: bool) -> JoinHandle<Loaded> {
        let load = LoadModel { model: model.into(), wait, revive: true };
        let asked = self.service.desk().unwrap().send(load);
        actix_rt::spawn(async move { asked.await.unwrap() })
    }

    /// Waits until this start of a model has a process.
    async fn process(&self, model: &str, generation: u64) -> ProcessKey {
        let key = process(model, generation);
        while !self.launcher.live().contains(&key) {
            sleep(MOMENT).await;
        }
        key
    }

    /// A process says that it is ready, in its own time.
    async fn ready(&self, key: &ProcessKey) {
        let finding = Finding::Ready { protocols: vec!["ping".into()] };
        while !self.prober.answer(key, finding.clone()) {
            sleep(MOMENT).await;
        }
        sleep(MOMENT).await;
    }

    /// A process dies.
    fn crash(&self, key: &ProcessKey) {
        self.launcher.exit(key, ExitStatus::Code(1), vec!["no memory left".into()]);
    }

    /// What happened to a model, in order.
    async fn events(&self, model: &str) -> Vec<Arc<LifecycleEvent>> {
        let read = ReadEvents { since: 0, limit: usize::MAX };
        let page = self.service.events().unwrap().send(read).await.unwrap();
        page.events.into_iter().filter(|event| event.model.as_deref() == Some(model)).collect()
    }

    /// The last such event of a model.
    async fn last(&self, model: &str, kind: &str) -> Arc<LifecycleEvent> {
        let events = self.events(model).await;
        let last = events.iter().rfind(|event| event.kind == kind);
        last.unwrap_or_else(|| panic!("{model} was never {kind}: {events:?}")).clone()
    }

    /// How long after each end of a process the next one was ordered; in milliseconds.
    async fn delays(&self, model: &str) -> Vec<f64> {
        let events = self.events(model).await;
        let ends = events.iter().filter(|event| event.kind == "exited");
        let next_start = |end: &Arc<LifecycleEvent>| {
            let later = |event: &&Arc<LifecycleEvent>| {
                event.kind == "starting" && event.generation > end.generation
            };
            let start = events.iter().find(later)?;
            Some(start.since_start_ms - end.since_start_ms)
        };
        ends.filter_map(next_start).collect()
    }
}

fn process(model: &str, generation: u64) -> ProcessKey {
    let model = ModelSpec::new(model, BackendSpec::command(["x"])).unwrap();
    ProcessKey { instance: model.instance_id(), generation: Generation(generation) }
}

/// Whether something took as long as told, give or take what it takes to see it.
fn assert_took(since: Instant, expected: Duration) {
    let took = since.elapsed();
    let near = took >= expected && took <= expected + 5 * MOMENT;
    assert!(near, "{took:?} instead of {expected:?}");
}
