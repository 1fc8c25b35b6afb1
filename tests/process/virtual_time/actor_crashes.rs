//! Crashes of actors in the midst of a life: the same process goes on, and what was waited for comes when it was due.

use symphony::launcher::scripted::{Call, ScriptedLauncher};
use symphony::probe::scripted::ScriptedProber;
use symphony::root::wiring::Wiring;
use tokio::time::{self, Duration, Instant, sleep};

use super::{MOMENT, assert_took, in_virtual_time, process};
use crate::actor_crashes::{crash, crash_instance, eventually, is_whole_again, view};

fn signals(launcher: &ScriptedLauncher) -> usize {
    launcher.calls().iter().filter(|call| matches!(call, Call::Signal(..))).count()
}

/// Two models keep their processes over a crash, and what is asked and decided goes on as before.
fn keeps_the_process(crash: impl AsyncFn(&Wiring)) {
    in_virtual_time(&["a", "b"], ScriptedProber::default(), async |stage| {
        for model in ["a", "b"] {
            stage.load(model, true).await.unwrap().unwrap();
        }
        let wiring = stage.service.wiring();
        let before = view(&wiring, "a").await.unwrap();
        sleep(Duration::from_secs(3600)).await;
        // sockets are bound anew by a real thread
        time::resume();
        crash(&wiring).await;
        eventually("a whole tree", async || is_whole_again(&stage.service.tree().await)).await;
        time::pause();

        let asked = stage.prober.checks(&process("a", 1));
        sleep(Duration::from_secs(10)).await;
        assert!(stage.prober.checks(&process("a", 1)) >= asked + 2, "it is watched as before");
        let after = view(&wiring, "a").await.unwrap();
        assert_eq!((after.pid, after.generation), (before.pid, before.generation));
        assert_eq!((&after.endpoint, after.started_at), (&before.endpoint, before.started_at));
        assert_eq!((stage.launcher.spawns().len(), signals(&stage.launcher)), (2, 0));

        let died = Instant::now();
        stage.crash(&process("a", 1));
        stage.process("a", 2).await;
        assert_took(died, Duration::ZERO);
        sleep(MOMENT).await;
        let successor = view(&wiring, "a").await.unwrap();
        assert_eq!((&successor.endpoint, successor.restarts), (&before.endpoint, 1));
    });
}

#[test]
fn an_instance_actor_that_crashes_keeps_its_process() {
    keeps_the_process(async |wiring| crash_instance(wiring, "a").await);
}

#[test]
fn a_registry_that_crashes_costs_no_process() {
    keeps_the_process(async |wiring| crash(wiring.registry.get().unwrap()).await);
}

#[test]
fn a_process_table_that_crashes_costs_no_process() {
    keeps_the_process(async |wiring| crash(wiring.table.get().unwrap()).await);
}

#[test]
fn a_crash_while_it_loads_keeps_the_process_and_who_waits() {
    in_virtual_time(&["a"], ScriptedProber::by_hand(), async |stage| {
        let load = stage.load("a", true);
        let process = stage.process("a", 1).await;
        sleep(Duration::from_secs(90)).await;
        crash_instance(&stage.service.wiring(), "a").await;
        sleep(Duration::from_secs(90)).await;
        stage.ready(&process).await;
        let loaded = load.await.unwrap().unwrap();
        assert_eq!((loaded.generation, loaded.restarts), (process.generation, 0));
        assert_eq!((stage.launcher.spawns().len(), signals(&stage.launcher)), (1, 0));
    });
}

#[test]
fn a_crash_in_a_rest_neither_shortens_nor_prolongs_it() {
    in_virtual_time(&["a"], ScriptedProber::by_hand(), async |stage| {
        let wiring = stage.service.wiring();
        drop(stage.load("a", true));
        for generation in 1..=4 {
            stage.crash(&stage.process("a", generation).await);
        }
        sleep(MOMENT).await;
        let due = stage.launcher.record(&process("a", 1).instance).unwrap().wait_until.unwrap();
        // the fourth one waits for two seconds, give or take a fifth
        sleep(Duration::from_secs(1)).await;
        crash_instance(&wiring, "a").await;
        stage.process("a", 5).await;
        let late = wiring.clock.now().since(due);
        assert!(wiring.clock.now() >= due && late <= 5 * MOMENT, "{late:?}");

        stage.crash(&process("a", 5));
        stage.crash(&stage.process("a", 6).await);
        let parked = Instant::now();
        sleep(Duration::from_secs(100)).await;
        crash_instance(&wiring, "a").await;
        stage.process("a", 7).await;
        assert_took(parked, Duration::from_secs(300));
    });
}
