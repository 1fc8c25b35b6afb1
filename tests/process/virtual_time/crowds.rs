//! Many at once: storms of starts, and the end of all.

use std::future::pending;

use symphony::instance::messages::ModelError;
use symphony::launcher::scripted::{Call, Script};
use symphony::probe::scripted::ScriptedProber;
use symphony::root::shutdown::stop_instances;
use tokio::time::{Duration, Instant, sleep};

use super::{MOMENT, Stage, assert_took, in_virtual_time, process};

const CROWD: usize = 40;
const AT_ONCE: usize = 4;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m{number}")).collect()
}

/// Answers the spawns of a storm one by one; `before` were ordered before it.
async fn let_through(stage: &Stage, before: usize) {
    for answered in 0..CROWD {
        sleep(MOMENT).await;
        let spawns = stage.launcher.spawns();
        let ordered = spawns.len() - before;
        assert_eq!(ordered, CROWD.min(answered + AT_ONCE), "no more at once, and no fewer");
        // a machine that is slow to spawn makes nobody fail who stands in line
        sleep(Duration::from_secs(20)).await;
        stage.launcher.answer_spawn(&spawns[before + answered], Ok(()));
    }
    sleep(MOMENT).await;
    assert_eq!(stage.launcher.spawns().len() - before, CROWD, "each was started once");
    assert_eq!(stage.launcher.live().len(), CROWD);
}

#[test]
fn a_storm_of_starts_is_smoothed_and_loses_none() {
    let models = names(CROWD);
    let models: Vec<&str> = models.iter().map(String::as_str).collect();
    in_virtual_time(&models, ScriptedProber::default(), async |stage| {
        stage.launcher.set_script(Script { hold_spawns: true, ..Script::default() });
        let loads: Vec<_> = models.iter().map(|model| stage.load(model, true)).collect();
        let_through(stage, 0).await;
        for load in loads {
            load.await.unwrap().unwrap();
        }
        // all of them die at once, as with a device that fails
        for model in &models {
            stage.crash(&process(model, 1));
        }
        let_through(stage, CROWD).await;
        for model in &models {
            assert_eq!(stage.load(model, true).await.unwrap().unwrap().restarts, 1);
        }
        stage.launcher.set_script(Script::default());
    });
}

#[test]
fn the_end_of_all_has_one_deadline() {
    let models = ["a", "b", "c", "d", "e"];
    let launcher = in_virtual_time(&models, ScriptedProber::default(), async |stage| {
        for model in models {
            stage.load(model, true).await.unwrap().unwrap();
        }
        // one obeys, three have to be killed, one is held by the kernel
        let stubborn = Script { ignore_stop: true, ..Script::default() };
        for model in ["b", "c", "d"] {
            stage.launcher.set_script_of(&process(model, 1).instance, stubborn.clone());
        }
        let held = Script { ignore_kill: true, ..stubborn };
        stage.launcher.set_script_of(&process("e", 1).instance, held);
        let asked = Instant::now();
        let wiring = stage.service.wiring();
        stop_instances(&wiring, pending()).await;
        assert_took(asked, Duration::from_secs(15));
        assert_eq!(stage.launcher.live(), [process("e", 1)]);
        let began = stage.last("a", "stopping").await.since_start_ms;
        let after = async |model, kind| stage.last(model, kind).await.since_start_ms - began;
        assert!(after("a", "stopped").await < 5.0, "who obeys is gone at once");
        for model in ["b", "c", "d"] {
            assert!(after(model, "stopping").await < 5.0, "all were asked at the same moment");
            assert!((10_000.0..10_005.0).contains(&after(model, "stopped").await), "{model}");
        }
        assert!((15_000.0..15_005.0).contains(&after("e", "unkillable").await));
        let late = stage.load("a", true).await.unwrap();
        assert_eq!(late.map(drop), Err(ModelError::ShuttingDown));
        stage.launcher.set_script_of(&process("e", 1).instance, Script::default());
    });
    assert_eq!(launcher.spawns().len(), models.len(), "nothing was started on the way down");
    assert_eq!(launcher.calls().last(), Some(&Call::End), "the launcher goes last");
    assert_eq!(launcher.live(), []);
}
