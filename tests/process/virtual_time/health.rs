//! Hangs, and work that looks like one.

use symphony::ids::ProcessKey;
use symphony::launcher::scripted::Measure;
use symphony::probe::Finding;
use symphony::probe::scripted::ScriptedProber;
use tokio::time::{Duration, Instant, sleep};

use super::{MOMENT, Stage, assert_took, in_virtual_time};

const EVERY: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until the process is asked once more; answers how often it was asked.
async fn asked(stage: &Stage, process: &ProcessKey, times: usize) {
    while stage.prober.checks(process) < times {
        sleep(MOMENT).await;
    }
    assert_eq!(stage.prober.checks(process), times);
}

/// The process lets the question pass.
async fn miss(stage: &Stage, process: &ProcessKey) {
    sleep(TIMEOUT).await;
    assert!(stage.prober.answer(process, Finding::Silent("no answer within 2s".into())));
    sleep(MOMENT).await;
}

async fn answer(stage: &Stage, process: &ProcessKey) {
    assert!(stage.prober.answer(process, Finding::Alive { round_trip: MOMENT }));
    sleep(MOMENT).await;
}

async fn started(stage: &Stage) -> ProcessKey {
    let load = stage.load("a", true);
    let process = stage.process("a", 1).await;
    stage.ready(&process).await;
    load.await.unwrap().unwrap();
    process
}

#[test]
fn a_hang_is_noticed_after_three_missed_answers() {
    in_virtual_time(&["a"], ScriptedProber::by_hand(), async |stage| {
        let process = started(stage).await;
        let ready = Instant::now();
        asked(stage, &process, 1).await;
        assert!(ready.elapsed() <= EVERY, "the first question comes within the interval");
        for times in 2..=4 {
            let before = Instant::now();
            answer(stage, &process).await;
            asked(stage, &process, times).await;
            assert_took(before, EVERY - 2 * MOMENT);
        }
        let silent = Instant::now();
        for times in 5..=6 {
            miss(stage, &process).await;
            assert!(stage.launcher.live().contains(&process), "not yet");
            asked(stage, &process, times).await;
        }
        miss(stage, &process).await;
        assert_took(silent, 2 * EVERY + TIMEOUT);
        // the signal ended it, and its successor was ordered at once
        assert_eq!(stage.launcher.live(), [super::process("a", 2)]);
        let cause = stage.last("a", "stopping").await.cause.clone().unwrap();
        assert!(cause.contains("hang") && cause.contains("12.0 s"), "{cause}");
        assert_eq!(stage.delays("a").await, [0.0]);
    });
}

/// Every question is missed for this long, while half a core is used.
async fn busy_for(stage: &Stage, process: &ProcessKey, span: Duration) -> usize {
    let mut cpu_time = Duration::ZERO;
    let mut times = 1;
    asked(stage, process, times).await;
    let silent = Instant::now();
    while silent.elapsed() < span {
        cpu_time += EVERY / 2;
        stage.launcher.set_measure(&process.instance, Measure { cpu_time, ..Measure::default() });
        miss(stage, process).await;
        if !stage.launcher.live().contains(process) {
            break;
        }
        times += 1;
        asked(stage, process, times).await;
    }
    times
}

#[test]
fn work_holds_judgement_back_and_the_next_answer_clears_it() {
    in_virtual_time(&["a"], ScriptedProber::by_hand(), async |stage| {
        let process = started(stage).await;
        let times = busy_for(stage, &process, Duration::from_secs(110)).await;
        assert_eq!(times, 23, "asked all the time");
        let view = stage.load("a", false).await.unwrap().unwrap();
        let reason = view.reason.clone().unwrap_or_default();
        assert!(reason.contains("22 health answers missed, but it works"), "{reason}");
        answer(stage, &process).await;
        assert_eq!(stage.launcher.live(), [process]);
        let kinds: Vec<_> =
            stage.events("a").await.iter().map(|event| event.kind.clone()).collect();
        assert_eq!(kinds, ["starting", "ready", "unhealthy", "ready"]);
    });
}

#[test]
fn work_without_an_answer_is_a_hang_in_the_end() {
    in_virtual_time(&["a"], ScriptedProber::by_hand(), async |stage| {
        let process = started(stage).await;
        asked(stage, &process, 1).await;
        let silent = Instant::now();
        busy_for(stage, &process, Duration::from_secs(600)).await;
        // the first answer that is missed after the hang timeout
        let (took, due) = (silent.elapsed(), Duration::from_secs(122));
        assert!(took >= due && took < due + EVERY / 10, "{took:?}");
        let cause = stage.last("a", "stopping").await.cause.clone().unwrap();
        assert!(cause.contains("busy without an answer"), "{cause}");
        assert_eq!(stage.launcher.live(), [super::process("a", 2)]);
    });
}

#[test]
fn a_prober_that_never_answers_is_not_waited_for() {
    in_virtual_time(&["a"], ScriptedProber::by_hand(), async |stage| {
        let process = started(stage).await;
        asked(stage, &process, 1).await;
        let silent = Instant::now();
        while stage.launcher.live().contains(&process) {
            sleep(MOMENT).await;
        }
        assert!(silent.elapsed() >= 2 * EVERY + TIMEOUT, "not sooner than a plain hang");
        assert!(silent.elapsed() <= 6 * EVERY, "{:?}", silent.elapsed());
    });
}
