//! What takes minutes and hours, by default settings, in virtual time: the whole tree on scripted processes.

use std::ops::RangeInclusive;

use symphony::events::messages::ReadEvents;
use symphony::instance::desk::StopAll;
use symphony::instance::messages::{LoadModel, ModelError};
use symphony::instance::state::State;
use symphony::launcher::scripted::{Call, Measure, Script};
use symphony::launcher::{GroupSignal, SpawnError};
use symphony::probe::Finding;
use symphony::probe::scripted::ScriptedProber;
use symphony::settings::model::BackendSpec;
use tokio::time::Instant;

use crate::world::{Scripted, generation, instance, start_with};

/// Runs a test on a clock that moves only when nothing else can. The gateway's real threads are up before and end after.
fn virtual_time(models: usize, prober: ScriptedProber, test: impl AsyncFnOnce(&Scripted)) {
    actix_rt::System::new().block_on(async {
        let backends = vec![BackendSpec::command(["x"]); models];
        let scripted = start_with(backends, prober, |settings| settings).await;
        tokio::time::pause();
        test(&scripted).await;
        tokio::time::resume();
        scripted.service.stop().await.unwrap();
    });
}

/// When model `a` entered this state, in seconds.
async fn moments(scripted: &Scripted, kind: &str) -> Vec<f64> {
    let read = ReadEvents { since: 0, limit: usize::MAX };
    let page = scripted.service.events().unwrap().send(read).await.unwrap();
    let subject = instance("a");
    let events = page.events.iter().filter(|event| event.subject == subject.as_str());
    events.filter(|event| event.kind == kind).map(|event| event.since_start_ms / 1000.0).collect()
}

fn assert_near(seconds: f64, range: RangeInclusive<f64>, what: &str) {
    // events carry the time at which they are written down, and timers have a resolution of a millisecond
    let (least, most) = (range.start() - 0.01, range.end() + 0.05);
    assert!((least..=most).contains(&seconds), "{what}: {seconds} s is not in {range:?}");
}

fn no_processes_left() -> Script {
    let (program, reason) = ("x".to_owned(), "try again".to_owned());
    Script { fail_spawns: Some(SpawnError::Transient { program, reason }), ..Script::default() }
}

#[test]
fn a_load_without_patience_is_answered_while_it_starts() {
    virtual_time(1, ScriptedProber::by_hand(), async |scripted| {
        let began = Instant::now();
        let load = LoadModel { model: "a".into(), wait: false, revive: true };
        let view = scripted.desk().send(load).await.unwrap().unwrap();
        assert_near(began.elapsed().as_secs_f64(), 1.5..=1.5, "the answer");
        assert_eq!(view.state, State::Starting);
        assert!(view.endpoint.starts_with("ipc://"), "the reserved one: {}", view.endpoint);
    });
}

#[test]
fn the_backoff_grows_up_to_parking_and_a_trial_start_follows() {
    virtual_time(1, ScriptedProber::default(), async |scripted| {
        scripted.launcher.set_script(no_processes_left());
        let failure = scripted.load().await.unwrap_err();
        assert!(
            matches!(&failure, ModelError::StartFailed { reason, .. }
            if reason.contains("6 failures in a row")),
            "{failure}"
        );
        let starts = moments(scripted, "starting").await;
        let delays: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let expected = [0.0, 0.5, 1.0, 2.0, 4.0];
        assert_eq!(delays.len(), expected.len(), "{delays:?}");
        for (delay, middle) in delays.iter().zip(expected) {
            assert_near(*delay, middle * 0.8..=middle * 1.2, "a delay");
        }

        // the cool-off doubles while trial starts fail; one that succeeds ends it
        scripted
            .until_later("the second rest", async || moments(scripted, "parked").await.len() == 2)
            .await;
        scripted.launcher.set_script(Script::default());
        scripted
            .until_later("a trial that is good", async || {
                !moments(scripted, "ready").await.is_empty()
            })
            .await;
        let (starts, parked) =
            (moments(scripted, "starting").await, moments(scripted, "parked").await);
        assert_eq!((starts.len(), parked.len()), (8, 2));
        assert_near(starts[6] - parked[0], 300.0..=300.0, "the first rest");
        assert_near(starts[7] - parked[1], 600.0..=600.0, "the second rest");
        let forgiven = async || scripted.record().park_level == 0;
        scripted.until_later("forgiveness", forgiven).await;
    });
}

/// A process that becomes silent at its first question, and uses this share of a core meanwhile. Answers how long it
/// was silent until it was ended.
async fn hangs(scripted: &Scripted, share: f64) -> f64 {
    scripted.load().await.unwrap();
    for _ in 0..100 {
        scripted.prober.plan(&generation(1), Finding::Silent("no answer within 2s".into()));
    }
    let began = Instant::now();
    scripted
        .until_later("its end", async || {
            let cpu_time = began.elapsed().mul_f64(share);
            scripted
                .launcher
                .set_measure(&instance("a"), Measure { cpu_time, ..Measure::default() });
            !moments(scripted, "stopping").await.is_empty()
        })
        .await;
    // noticed at the first miss, which makes it unhealthy
    moments(scripted, "stopping").await[0] - moments(scripted, "unhealthy").await[0]
}

#[test]
fn a_hang_is_noticed_after_three_intervals() {
    virtual_time(1, ScriptedProber::default(), async |scripted| {
        assert_near(hangs(scripted, 0.0).await, 10.0..=10.0, "two intervals after the first miss");
        let view = scripted.load_again("a").await.unwrap();
        let reason = view.last_exit.as_ref().unwrap().reason.clone();
        assert!(reason.starts_with("hang: 3 pings missed in 10.0 s"), "{reason}");
        assert_eq!(scripted.launcher.live(), [generation(2)]);
    });
}

#[test]
fn a_busy_backend_is_held_for_two_minutes() {
    virtual_time(1, ScriptedProber::default(), async |scripted| {
        assert_near(
            hangs(scripted, 0.5).await,
            120.0..=125.0,
            "the first question after the limit",
        );
        let view = scripted.load_again("a").await.unwrap();
        let reason = view.last_exit.as_ref().unwrap().reason.clone();
        assert!(reason.contains("busy without an answer"), "{reason}");
    });
}

#[test]
fn a_shutdown_stops_all_side_by_side() {
    virtual_time(3, ScriptedProber::default(), async |scripted| {
        for name in ["a", "b", "c"] {
            scripted.load_model(name).await.unwrap();
        }
        let stubborn = Script { ignore_stop: true, ..Script::default() };
        for name in ["a", "b"] {
            scripted.launcher.set_script_of(&instance(name), stubborn.clone());
        }
        let began = Instant::now();
        scripted.desk().send(StopAll { kill: false }).await.unwrap();
        assert_near(began.elapsed().as_secs_f64(), 10.0..=10.0, "one grace for all");
        assert_eq!(scripted.launcher.live(), []);
        let calls = scripted.launcher.calls();
        let killed = calls.iter().filter(|call| matches!(call, Call::Signal(_, GroupSignal::Kill)));
        assert_eq!(killed.count(), 2, "those that did not follow TERM");
        assert_eq!(scripted.load().await, Err(ModelError::ShuttingDown));
    });
}
