//! Requests, deaths and configurations that cross each other, on scripted processes.

use std::sync::Arc;

use actix::Addr;
use futures_util::future::{join_all, select_all};
use symphony::ids::ModelName;
use symphony::instance::actor::{BringUp, BringUpHow, InstanceActor};
use symphony::instance::desk::StopAll;
use symphony::instance::messages::{LoadModel, ModelError, UnloadModel};
use symphony::instance::{FindLive, Present};
use symphony::launcher::ExitStatus;
use symphony::launcher::scripted::Script;
use symphony::limits;
use symphony::probe::scripted::ScriptedProber;
use symphony::registry::messages::ListInstances;
use symphony::settings::model::{BackendSpec, ModelSpec};
use symphony::supervision::crash::CrashForTest;
use tokio::time::Duration;

use crate::world::{Scripted, generation, instance, start, start_all, start_with};

fn load(wait: bool) -> LoadModel {
    LoadModel { model: "a".into(), wait, revive: true }
}

fn unload() -> UnloadModel {
    UnloadModel { model: "a".into() }
}

fn stubborn() -> Script {
    Script { ignore_stop: true, ..Script::default() }
}

async fn actor(scripted: &Scripted) -> Addr<InstanceActor> {
    let model = ModelName::try_new("a").unwrap();
    let found = scripted.desk().send(FindLive(model)).await.unwrap();
    let Some(Present::Runs(actor)) = found else { panic!("it runs") };
    actor
}

#[test]
fn an_unload_that_meets_the_start_of_the_actor_waits_for_it() {
    actix_rt::System::new().block_on(async {
        let scripted = start(BackendSpec::command(["x"])).await;
        let desk = scripted.desk();
        let (loaded, unloaded) = tokio::join!(desk.send(load(true)), desk.send(unload()));
        assert_eq!(unloaded.unwrap(), Ok(()));
        // it was ready before, or not
        drop(loaded.unwrap());
        scripted.until("its end", async || scripted.launcher.live().is_empty()).await;
        scripted.service.stop().await.unwrap();
    });
}

#[test]
fn a_load_behind_the_stop_of_the_service_starts_nothing() {
    actix_rt::System::new().block_on(async {
        let scripted = start(BackendSpec::command(["x"])).await;
        scripted.load().await.unwrap();
        scripted.launcher.set_script(stubborn());
        let desk = scripted.desk();
        let actor = actor(&scripted).await;
        let stopping = desk.send(StopAll { kill: false });
        // the desk passed this one on before it heard of the end
        let again = async {
            scripted.until("the stop", async || scripted.record().state == "stopping").await;
            let again = actor.send(BringUp { wanted: None, patient: true, how: BringUpHow::Load });
            scripted.launcher.exit(&generation(1), ExitStatus::Code(0), Vec::new());
            again.await
        };
        let (stopped, again) = tokio::join!(stopping, again);
        stopped.unwrap();
        assert_eq!(again.unwrap().map(drop), Err(ModelError::ShuttingDown));
        scripted.service.stop().await.unwrap();
        assert_eq!(scripted.launcher.spawns(), [generation(1)]);
    });
}

#[test]
fn forgiven_failures_stay_forgiven_over_a_crash_of_the_actor() {
    actix_rt::System::new().block_on(async {
        let mut backend = BackendSpec::command(["x"]);
        backend.restart.reset_after = Duration::from_millis(20);
        let scripted = start(backend).await;
        scripted.load().await.unwrap();
        scripted.launcher.exit(&generation(1), ExitStatus::Code(3), Vec::new());
        scripted.until("a failure", async || scripted.record().consecutive_failures == 1).await;
        scripted.until("forgiveness", async || scripted.record().consecutive_failures == 0).await;
        let crashed = actor(&scripted).await.send(CrashForTest).await;
        assert!(crashed.is_err(), "before it could answer");
        scripted.load().await.unwrap();
        assert_eq!(scripted.record().consecutive_failures, 0);
        assert_eq!(scripted.launcher.live(), [generation(2)]);
        scripted.service.stop().await.unwrap();
    });
}

#[test]
fn a_load_that_loses_patience_while_the_model_is_stopped_is_no_success() {
    actix_rt::System::new().block_on(async {
        let backends = vec![BackendSpec::command(["x"])];
        let scripted = start_with(backends, ScriptedProber::by_hand(), |settings| settings).await;
        scripted.launcher.set_script(stubborn());
        let desk = scripted.desk();
        let stopped = async {
            scripted.until("a start", async || !scripted.prober.calls().is_empty()).await;
            desk.send(unload()).await.unwrap()
        };
        let answered = async {
            let answer = desk.send(load(false)).await.unwrap();
            scripted.launcher.exit(&generation(1), ExitStatus::Code(0), Vec::new());
            answer
        };
        let (answer, stopped) = tokio::join!(answered, stopped);
        assert_eq!(answer.map(drop), Err(ModelError::Stopped("a".into())));
        assert_eq!(stopped, Ok(()));
        scripted.service.stop().await.unwrap();
    });
}

#[test]
fn those_who_wait_for_a_stop_are_bounded() {
    actix_rt::System::new().block_on(async {
        let scripted = start(BackendSpec::command(["x"])).await;
        scripted.load().await.unwrap();
        scripted.launcher.set_script(stubborn());
        let desk = scripted.desk();
        let waiting: Vec<_> =
            (0..=limits::STOP_WAITERS).map(|_| Box::pin(desk.send(unload()))).collect();
        let (first, _, others) = select_all(waiting).await;
        assert_eq!(first.unwrap(), Err(ModelError::Crowded("a".into())), "one too many");
        scripted.launcher.exit(&generation(1), ExitStatus::Code(0), Vec::new());
        for answer in join_all(others).await {
            assert_eq!(answer.unwrap(), Ok(()));
        }
        scripted.service.stop().await.unwrap();
    });
}

#[test]
fn a_running_script_whose_file_is_gone_is_taken_up() {
    actix_rt::System::new().block_on(async {
        let backends = vec![BackendSpec::script("backend.py")];
        let scripted = start_with(backends, ScriptedProber::default(), |mut settings| {
            let folder = settings.service.model_socket_dir.clone();
            std::fs::write(folder.join("backend.py"), "").unwrap();
            settings.service.backend_path = Some(folder);
            settings
        })
        .await;
        let before = scripted.load_model("a").await.unwrap();
        std::fs::remove_file(scripted.folder.path().join("backend.py")).unwrap();
        assert!(scripted.desk().send(CrashForTest).await.is_err(), "it crashed");
        let after = scripted.load_again("a").await.unwrap();
        assert_eq!((after.pid, after.generation), (before.pid, before.generation));
        scripted.service.stop().await.unwrap();
    });
}

#[test]
fn a_record_goes_to_its_own_model_and_to_none_of_that_full_name() {
    actix_rt::System::new().block_on(async {
        let scripted = start(BackendSpec::command(["x"])).await;
        scripted.load().await.unwrap();
        let wiring = scripted.service.wiring();
        let model = ModelSpec::new("b", BackendSpec::command(["y"])).unwrap().with_fullname("a");
        wiring.settings.send_modify(|settings| {
            Arc::make_mut(settings).models = vec![Arc::new(model)];
        });
        assert!(scripted.desk().send(CrashForTest).await.is_err(), "it crashed");
        scripted.until("its end", async || scripted.launcher.live().is_empty()).await;
        scripted
            .until("no trace of it", async || {
                let listed = scripted.service.registry().unwrap().send(ListInstances).await;
                listed.is_ok_and(|instances| instances.is_empty())
                    && scripted.launcher.record(&instance("a")).is_none()
            })
            .await;
        scripted.service.stop().await.unwrap();
        assert_eq!(scripted.launcher.spawns(), [generation(1)]);
    });
}

#[test]
fn a_process_of_no_known_start_is_ended_and_replaced() {
    actix_rt::System::new().block_on(async {
        let scripted = start_all(vec![BackendSpec::command(["x"])]).await;
        scripted.load().await.unwrap();
        let mut record = scripted.record();
        record.generation = generation(7).generation;
        scripted.launcher.set_record(record);
        let table = scripted.service.wiring().table.get().unwrap();
        assert!(table.send(CrashForTest).await.is_err(), "it crashed");
        scripted
            .until("another process", async || {
                let live = scripted.launcher.live();
                live.len() == 1 && live[0].generation > generation(7).generation
            })
            .await;
        scripted.service.stop().await.unwrap();
    });
}
