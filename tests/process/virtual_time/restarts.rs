//! Loads, crash loops and rests.

use symphony::ids::Generation;
use symphony::instance::messages::ModelError;
use symphony::instance::state::State;
use symphony::probe::Finding;
use symphony::probe::scripted::ScriptedProber;
use tokio::time::{Duration, Instant, sleep};

use super::{MOMENT, Stage, assert_took, in_virtual_time, process};

#[test]
fn a_load_that_takes_long_is_answered_with_starting_after_its_patience() {
    in_virtual_time(&["a"], ScriptedProber::by_hand(), async |stage| {
        let asked = Instant::now();
        let (quick, patient) = (stage.load("a", false), stage.load("a", true));
        let view = quick.await.unwrap().unwrap();
        assert_took(asked, Duration::from_millis(1500));
        assert_eq!((view.state, view.generation), (State::Starting, Generation(1)));
        assert!(view.endpoint.starts_with("ipc://"), "{}", view.endpoint);
        // who comes later is as patient as the first one
        let asked = Instant::now();
        assert_eq!(stage.load("a", false).await.unwrap().unwrap().endpoint, view.endpoint);
        assert_took(asked, Duration::from_millis(1500));

        sleep(Duration::from_secs(250)).await;
        assert!(!patient.is_finished());
        stage.ready(&stage.process("a", 1).await).await;
        let ready = patient.await.unwrap().unwrap();
        assert_eq!((ready.state, &ready.endpoint), (State::Ready, &view.endpoint));
    });
}

#[test]
fn a_load_that_fails_within_its_patience_is_told_why() {
    in_virtual_time(&["a"], ScriptedProber::by_hand(), async |stage| {
        let load = stage.load("a", false);
        // the first restart has no delay; the second one waits longer than this load
        stage.crash(&stage.process("a", 1).await);
        stage.crash(&stage.process("a", 2).await);
        let asked = Instant::now();
        let Err(ModelError::StartFailed { reason, output }) = load.await.unwrap() else {
            panic!("it was not told that it failed")
        };
        assert!(asked.elapsed() <= 5 * MOMENT, "told at once");
        assert!(reason.contains("before ready"), "{reason}");
        assert_eq!(output, ["no memory left"]);
    });
}

/// Lets a model die before it is ready until it is parked.
async fn crash_until_parked(stage: &Stage) {
    let load = stage.load("a", true);
    for generation in 1..=6 {
        assert!(!load.is_finished(), "who waits is told at the end of all tries");
        stage.crash(&stage.process("a", generation).await);
    }
    let outcome = load.await.unwrap();
    assert!(matches!(outcome, Err(ModelError::StartFailed { .. })), "{outcome:?}");
}

#[test]
fn a_crash_loop_backs_off_and_is_parked_after_the_fifth_restart() {
    in_virtual_time(&["a"], ScriptedProber::by_hand(), async |stage| {
        crash_until_parked(stage).await;
        let delays = stage.delays("a").await;
        assert_eq!((delays.len(), delays[0]), (5, 0.0), "{delays:?}");
        for (delay, planned) in delays[1..].iter().zip([500.0, 1000.0, 2000.0, 4000.0]) {
            // timers count in whole milliseconds, rounded up
            let jitter = planned * 0.8 - 0.5..planned * 1.2 + 1.5;
            assert!(jitter.contains(delay), "{delays:?}");
        }
        let (exited, parked) = (stage.last("a", "exited").await, stage.last("a", "parked").await);
        assert!((parked.since_start_ms - exited.since_start_ms) < 1.0, "without a delay");
        let cause = parked.cause.as_deref().unwrap();
        assert!(cause.contains("6 failures in a row") && cause.contains("5m"), "{cause}");
    });
}

#[test]
fn a_parked_model_gets_one_trial_after_each_rest_and_rests_longer_when_it_fails() {
    in_virtual_time(&["a"], ScriptedProber::by_hand(), async |stage| {
        crash_until_parked(stage).await;
        let mut generation = 6;
        for rest in [300, 600] {
            let parked = Instant::now();
            sleep(Duration::from_secs(rest - 1)).await;
            assert_eq!(
                stage.launcher.spawns().len(),
                generation,
                "no start before the rest is over"
            );
            generation += 1;
            let trial = stage.process("a", generation as u64).await;
            assert_took(parked, Duration::from_secs(rest));
            if rest == 300 {
                stage.crash(&trial);
                sleep(MOMENT).await;
                assert_eq!(stage.launcher.live(), [], "one trial, and no more");
            } else {
                stage.ready(&trial).await;
            }
        }
        // ready for a while, it is forgiven: its next end is as good as a first one
        for _ in 0..11 {
            sleep(Duration::from_secs(1)).await;
            stage.prober.answer(&process("a", 8), Finding::Alive { round_trip: MOMENT });
        }
        let died = Instant::now();
        stage.crash(&stage.process("a", 8).await);
        stage.ready(&stage.process("a", 9).await).await;
        assert_took(died, MOMENT);
        let parked = stage.events("a").await.iter().filter(|event| event.kind == "parked").count();
        assert_eq!(parked, 2);
    });
}

#[test]
fn readiness_does_not_hide_a_model_that_dies_again_and_again() {
    in_virtual_time(&["a"], ScriptedProber::default(), async |stage| {
        let load = stage.load("a", true);
        let mut generation = 0;
        // each is ready long enough to be forgiven, and then dies: 21 in half an hour are one too many
        while stage.events("a").await.iter().all(|event| event.kind != "parked") {
            generation += 1;
            let process = stage.process("a", generation).await;
            sleep(Duration::from_secs(60)).await;
            stage.crash(&process);
            sleep(MOMENT).await;
        }
        assert_eq!(generation, 21);
        assert!(load.await.unwrap().is_ok(), "the first one was ready");
        let cause = stage.last("a", "parked").await.cause.clone().unwrap();
        assert!(cause.contains("20 restarts in 30m"), "{cause}");
        assert_eq!(stage.delays("a").await, [0.0; 20]);
    });
}
