//! What no real process does at a test's wish: the whole tree on a scripted launcher and prober.

use std::sync::Arc;

use actix::Actor;
use symphony::app::{ServeError, Wish, Wishes};
use symphony::instance::desk::StopAll;
use symphony::instance::messages::{LoadModel, ModelError};
use symphony::launcher::ExitStatus;
use symphony::launcher::scripted::Script;
use symphony::root::relay::NoticeRelay;
use symphony::settings::model::BackendSpec;
use symphony::settings::policy::GiveUp;
use symphony::supervision::crash::CrashForTest;
use symphony::supervision::watchdog::Stall;
use tokio::time::{Duration, Instant, sleep};

use crate::world::{generation, instance, start, start_all};

/// Nobody wishes anything.
struct NoWishes;

impl Wishes for NoWishes {
    async fn next(&mut self) -> Wish {
        std::future::pending().await
    }
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
fn stops_unkillable() {
    actix_rt::System::new().block_on(async {
        let mut backend = BackendSpec::command(["x"]);
        backend.stop.grace = Duration::from_millis(1);
        backend.stop.kill_grace = Duration::from_millis(1);
        let scripted = start(backend).await;
        scripted.load().await.unwrap();
        let held = Script { ignore_stop: true, ignore_kill: true, ..Script::default() };
        scripted.launcher.set_script(held);
        scripted.unload().await.unwrap_err();
        assert_eq!(scripted.record().state, "unkillable");
        assert_eq!(scripted.count("unkillable", generation(1).instance.as_str()).await, 1);
        // the kernel lets it go at last
        scripted.launcher.exit(&generation(1), ExitStatus::Unknown, Vec::new());
        let stopped = async || scripted.count("stopped", generation(1).instance.as_str()).await > 0;
        scripted.until("its end", stopped).await;
        assert_eq!(scripted.launcher.spawns(), [generation(1)], "and nothing is started");
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

#[test]
fn an_escalation_is_counted_by_the_root_and_costs_no_other_process() {
    actix_rt::System::new().block_on(async {
        let mut failing = BackendSpec::command(["x"]);
        // with the default backoff between them these are too slow for the window of their supervisor
        failing.restart.max_consecutive_failures = 2;
        failing.restart.on_give_up = GiveUp::Escalate;
        let scripted = start_all(vec![failing, BackendSpec::command(["y"])]).await;
        let other = scripted.load_model("b").await.unwrap();
        scripted.load().await.unwrap();
        let (a, b) = (instance("a"), instance("b"));
        let launcher = scripted.launcher.clone();
        let kill_a = || {
            let live = launcher.live().into_iter();
            live.filter(|key| key.instance == a)
                .for_each(|key| launcher.exit(&key, ExitStatus::Code(3), Vec::new()));
        };
        let end = Instant::now() + crate::backend::LIMIT;
        while scripted.count("escalated", a.as_str()).await == 0 {
            assert!(Instant::now() < end, "it never escalates");
            kill_a();
            sleep(Duration::from_millis(1)).await;
        }
        // other instances get new actors and keep their processes
        let after = scripted.load_model("b").await.unwrap();
        assert_eq!((after.pid, after.generation), (other.pid, other.generation));
        assert_eq!(scripted.count("actor_restarted", "root/instance_supervisor").await, 1);
        assert!(launcher.live().iter().any(|key| key.instance == b));

        let tree = scripted.service.run(NoWishes);
        let failures = async {
            loop {
                kill_a();
                sleep(Duration::from_millis(1)).await;
            }
        };
        let ended = tokio::select! {
            ended = tree => ended,
            () = failures => unreachable!("an endless loop"),
            () = tokio::time::sleep_until(end) => panic!("the rounds never end"),
        };
        assert!(matches!(ended, Err(ServeError::GaveUp(_))), "{ended:?}");
        // three starts up to the first escalation, and one for each of three restarts by the root
        let spawns = launcher.spawns();
        assert_eq!(spawns.iter().filter(|key| key.instance == a).count(), 6);
    });
}

#[test]
fn a_thread_that_stood_still_is_an_event_when_it_gets_on() {
    actix_rt::System::new().block_on(async {
        let scripted = start(BackendSpec::command(["x"])).await;
        let relay = NoticeRelay(scripted.service.wiring()).start();
        let inside = Some("root/registry".to_owned());
        let silent_for = Duration::from_secs(10);
        relay.do_send(Stall::Began { silent_for, inside: inside.clone() });
        relay.do_send(Stall::Over { lasted: silent_for * 2, inside });
        while scripted.count("wedged", "root/registry").await == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(scripted.count("wedged", "root/registry").await, 1, "the end tells all");
        scripted.service.stop().await.unwrap();
    });
}
