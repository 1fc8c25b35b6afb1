//! The whole tree on a scripted launcher and prober.

use std::path::Path;
use std::sync::Arc;

use actix::Addr;
use symphony::app::{ServeOptions, Service};
use symphony::events::messages::{LifecycleEvent, ReadEvents};
use symphony::ids::{Generation, InstanceId, ModelName, ProcessKey};
use symphony::instance::desk::ModelDesk;
use symphony::instance::messages::{LoadModel, ModelError, UnloadModel};
use symphony::launcher::InstanceRecord;
use symphony::launcher::scripted::ScriptedLauncher;
use symphony::probe::scripted::ScriptedProber;
use symphony::registry::messages::InstanceView;
use symphony::settings::model::{BackendSpec, ModelSpec, Settings};
use tokio::time::{Duration, Instant, sleep};

/// A running service whose processes and answers are those of a script.
pub struct Scripted {
    pub service: Service,
    pub launcher: Arc<ScriptedLauncher>,
    pub prober: Arc<ScriptedProber>,
    pub folder: tempfile::TempDir,
}

/// With models `a`, `b` and so on.
fn settings(folder: &Path, backends: Vec<BackendSpec>) -> Settings {
    let names = ["a", "b", "c"].into_iter().zip(backends);
    let models = names.map(|(name, backend)| ModelSpec::new(name, backend).unwrap());
    models.fold(Settings::in_folder(folder).unwrap(), Settings::with_model)
}

pub async fn start(backend: BackendSpec) -> Scripted {
    start_all(vec![backend]).await
}

pub async fn start_all(backends: Vec<BackendSpec>) -> Scripted {
    start_with(backends, ScriptedProber::default(), |settings| settings).await
}

pub async fn start_with(
    backends: Vec<BackendSpec>,
    prober: ScriptedProber,
    change: impl FnOnce(Settings) -> Settings,
) -> Scripted {
    let folder = tempfile::tempdir().unwrap();
    let settings = change(settings(folder.path(), backends));
    let launcher = Arc::new(ScriptedLauncher::new());
    let prober = Arc::new(prober);
    let options = ServeOptions::default();
    let service = Service::start_on(settings, options, launcher.clone(), prober.clone());
    Scripted { service: service.await.unwrap(), launcher, prober, folder }
}

impl Scripted {
    pub fn desk(&self) -> Addr<ModelDesk> {
        self.service.desk().unwrap()
    }

    /// Waits for something, and lets everything else go on meanwhile.
    pub async fn until(&self, what: &str, mut so: impl AsyncFnMut() -> bool) {
        let end = Instant::now() + crate::backend::LIMIT;
        while !so().await {
            assert!(Instant::now() < end, "waited in vain for {what}");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// The record of model `a`.
    pub fn record(&self) -> InstanceRecord {
        self.launcher.record(&instance("a")).expect("a record")
    }

    pub async fn load(&self) -> Result<(), ModelError> {
        self.load_model("a").await.map(drop)
    }

    pub async fn load_model(&self, name: &str) -> Result<Arc<InstanceView>, ModelError> {
        let load = LoadModel { model: name.into(), wait: true, revive: true };
        self.service.desk().unwrap().send(load).await.unwrap()
    }

    /// How often something of this kind happened to this subject.
    pub async fn count(&self, kind: &str, subject: &str) -> usize {
        let events = self.service.events().unwrap();
        let Ok(page) = events.send(ReadEvents { since: 0, limit: usize::MAX }).await else {
            return 0;
        };
        let of_kind = |event: &&Arc<LifecycleEvent>| event.kind == kind && event.subject == subject;
        page.events.iter().filter(of_kind).count()
    }

    /// The same while the tree may just be built anew.
    pub async fn load_again(&self, name: &str) -> Result<Arc<InstanceView>, ModelError> {
        let end = Instant::now() + crate::backend::LIMIT;
        loop {
            let load = LoadModel { model: name.into(), wait: true, revive: true };
            match self.desk().send(load).await {
                Ok(Err(ModelError::Replaced(_))) | Err(_) => {}
                Ok(answer) => return answer,
            }
            assert!(Instant::now() < end, "the tree does not come back");
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn unload(&self) -> Result<(), ModelError> {
        let unload = UnloadModel { model: "a".into() };
        self.service.desk().unwrap().send(unload).await.unwrap()
    }
}

pub fn generation(number: u64) -> ProcessKey {
    ProcessKey { instance: instance("a"), generation: Generation(number) }
}

pub fn instance(name: &str) -> InstanceId {
    InstanceId::of_model(&ModelName::try_new(name).unwrap())
}
