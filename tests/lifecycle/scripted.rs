//! What no real process does at a test's wish: the whole tree on a scripted launcher and prober.

use std::path::Path;
use std::sync::Arc;

use symphony::app::{ServeOptions, Service};
use symphony::ids::{Generation, ProcessKey};
use symphony::instance::desk::StopAll;
use symphony::instance::messages::{LoadModel, ModelError, UnloadModel};
use symphony::launcher::ExitStatus;
use symphony::launcher::scripted::{Script, ScriptedLauncher};
use symphony::probe::scripted::ScriptedProber;
use symphony::settings::model::{BackendSpec, ModelSpec, Settings};
use symphony::supervision::crash::CrashForTest;
use tokio::time::{Duration, Instant, sleep};

struct Scripted {
    service: Service,
    launcher: Arc<ScriptedLauncher>,
    _folder: tempfile::TempDir,
}

fn settings(folder: &Path, backend: BackendSpec) -> Settings {
    let model = ModelSpec::new("a", backend).unwrap();
    Settings::in_folder(folder).unwrap().with_model(model)
}

async fn start(backend: BackendSpec) -> Scripted {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), backend);
    let launcher = Arc::new(ScriptedLauncher::new());
    let prober = Arc::new(ScriptedProber::default());
    let service = Service::start_on(settings, ServeOptions::default(), launcher.clone(), prober);
    Scripted { service: service.await.unwrap(), launcher, _folder: folder }
}

impl Scripted {
    async fn load(&self) -> Result<(), ModelError> {
        let load = LoadModel { model: "a".into(), wait: true, revive: true };
        self.service.desk().unwrap().send(load).await.unwrap().map(drop)
    }

    async fn unload(&self) -> Result<(), ModelError> {
        let unload = UnloadModel { model: "a".into() };
        self.service.desk().unwrap().send(unload).await.unwrap()
    }
}

fn generation(number: u64) -> ProcessKey {
    let model = ModelSpec::new("a", BackendSpec::command(["x"])).unwrap();
    ProcessKey { instance: model.instance_id(), generation: Generation(number) }
}

#[test]
fn what_the_kernel_holds_is_never_called_unloaded() {
    actix_rt::System::new().block_on(async {
        let mut backend = BackendSpec::command(["x"]);
        backend.stop.grace = Duration::from_millis(1);
        backend.stop.kill_grace = Duration::from_millis(1);
        let scripted = start(backend).await;
        scripted.load().await.unwrap();
        let held = Script { ignore_stop: true, ignore_kill: true, ..Script::default() };
        scripted.launcher.set_script(held);
        for attempt in ["KILL was not carried out", "asked again"] {
            let outcome = scripted.unload().await;
            assert!(matches!(outcome, Err(ModelError::Internal(_))), "{attempt}: {outcome:?}");
            assert_eq!(scripted.launcher.live(), [generation(1)], "{attempt}");
        }
        let outcome = scripted.load().await;
        assert!(matches!(outcome, Err(ModelError::StartFailed { .. })), "{outcome:?}");

        scripted.launcher.exit(&generation(1), ExitStatus::Unknown, Vec::new());
        scripted.load().await.unwrap();
        assert_eq!(scripted.launcher.spawns(), [generation(1), generation(2)]);
        scripted.launcher.set_script(Script::default());
        scripted.launcher.set_script_of(&generation(1).instance, Script::default());
        scripted.unload().await.unwrap();
        assert_eq!(scripted.launcher.live(), []);
        scripted.service.stop().await.unwrap();
    });
}

#[test]
fn a_load_that_meets_the_end_of_the_service_starts_nothing() {
    actix_rt::System::new().block_on(async {
        let scripted = start(BackendSpec::command(["x"])).await;
        let desk = scripted.service.desk().unwrap();
        let load = desk.send(LoadModel { model: "a".into(), wait: true, revive: true });
        desk.send(StopAll { kill: false }).await.unwrap();
        assert_eq!(load.await.unwrap().map(drop), Err(ModelError::ShuttingDown));
        scripted.service.stop().await.unwrap();
        assert_eq!(scripted.launcher.spawns(), []);
    });
}

#[test]
fn a_process_whose_model_is_gone_when_the_desk_comes_back_is_ended() {
    actix_rt::System::new().block_on(async {
        let scripted = start(BackendSpec::command(["x"])).await;
        scripted.load().await.unwrap();
        let wiring = scripted.service.wiring();
        wiring.settings.send_modify(|settings| Arc::make_mut(settings).models.clear());
        let desk = scripted.service.desk().unwrap();
        assert!(desk.send(CrashForTest).await.is_err(), "it crashed before it could answer");
        let end = Instant::now() + crate::backend::LIMIT;
        while !scripted.launcher.live().is_empty() {
            assert!(Instant::now() < end, "nobody ended it");
            sleep(Duration::from_millis(1)).await;
        }
        scripted.service.stop().await.unwrap();
    });
}
