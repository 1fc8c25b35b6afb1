//! Progress of a start, health, and what silence means.

use super::*;

#[test]
fn slow_loader_is_not_killed_while_it_moves() {
    let mut bench = Bench::new(defaults());
    bench.feed(Event::Start);
    bench.spawned();
    for minute in 0..50 {
        bench.pass(secs(60));
        let cpu_time = secs(minute);
        bench.feed(Event::Sampled { generation: Generation(1), cpu_time, output_bytes: 0 });
    }
    assert_eq!(bench.state(), State::Starting);
    bench.pass(secs(299));
    assert_eq!(bench.state(), State::Starting);
    bench.pass(secs(1));
    assert_eq!(bench.state(), State::Stopping);
    bench.exits(KILLED);
    assert!(bench.last_reason().starts_with("start stalled: no progress for 5m"));
}

#[test]
fn a_start_takes_an_hour_at_most() {
    let mut bench = Bench::new(defaults());
    bench.feed(Event::Start);
    bench.spawned();
    for _ in 0..59 {
        bench.pass(secs(60));
        bench.feed(Event::Progressed(Generation(1)));
    }
    assert_eq!(bench.state(), State::Starting);
    bench.pass(secs(60));
    assert_eq!(bench.state(), State::Stopping);
}

/// Answers each health question with silence after its timeout, and each sample with this share of a core.
fn freeze(bench: &mut Bench, share: f64, limit: Duration) -> Duration {
    let began = bench.now;
    while bench.state().is_alive() && bench.now.since(began) < limit {
        let effects = bench.pass(Duration::from_millis(100));
        if effects.iter().any(|effect| matches!(effect, Effect::Check(_))) {
            bench.pass(secs(2));
            let generation = bench.generation();
            bench.feed(Event::Silent(generation, "no answer".into()));
            let cpu_time = bench.now.since_origin().mul_f64(share);
            bench.feed(Event::Sampled { generation, cpu_time, output_bytes: 0 });
        }
    }
    bench.now.since(began)
}

#[test]
fn sigstop_is_noticed() {
    let mut bench = loaded();
    let noticed = freeze(&mut bench, 0.0, secs(300));
    assert!(noticed <= secs(18), "{noticed:?}");
    assert_eq!(bench.state(), State::Stopping);
    assert_eq!(signals(&bench.pass(secs(2))), [GroupSignal::Kill], "nobody waits for its work");
    bench.exits(KILLED);
    assert_eq!(bench.state(), State::Starting);
    assert!(bench.last_reason().starts_with("hang: 3 pings missed"), "{}", bench.last_reason());
}

#[test]
fn busy_is_not_down() {
    let mut bench = loaded();
    let noticed = freeze(&mut bench, 0.9, secs(100));
    assert!(noticed >= secs(100) && bench.state() == State::Unhealthy);
    assert!(bench.machine.reason().is_some_and(|why| why.contains("but it works")));
    let generation = bench.generation();
    bench.feed(Event::Alive(generation));
    assert_eq!(bench.state(), State::Ready);
}

#[test]
fn a_prober_without_an_answer_counts_as_silence() {
    let mut bench = loaded();
    bench.pass(secs(60));
    assert_ne!(bench.state(), State::Ready, "neither answers nor samples came");
    assert!(bench.seen.iter().any(|effect| matches!(effect, Effect::Signal(..))));
}

/// A start that is looked at every ten seconds, with this CPU time and output a second.
fn start_that_uses(bench: &mut Bench, cpu: Duration, output: u64, limit: u64) {
    for _ in 0..limit / 10 {
        bench.pass(secs(10));
        let passed = bench.now.since_origin().as_secs();
        let cpu_time = cpu * u32::try_from(passed).expect("fits");
        let generation = bench.generation();
        bench.feed(Event::Sampled { generation, cpu_time, output_bytes: output * passed });
    }
}

#[test]
fn a_wrong_answer_is_no_progress_but_work_is() {
    let answering = |answer: Option<&str>| {
        let mut bench = Bench::new(defaults());
        bench.feed(Event::Start);
        bench.spawned();
        let wrong = Some("GET /up answered 404, waiting for 200".to_owned());
        bench.feed(Event::WrongAnswer(Generation(1), wrong));
        if answer.is_none() {
            bench.feed(Event::WrongAnswer(Generation(1), None));
        }
        bench
    };
    let polls = Duration::from_millis(10);
    let mut wrong = answering(Some("404"));
    start_that_uses(&mut wrong, polls, 400, 310);
    assert_eq!(wrong.state(), State::Stopping, "it only answers and logs our questions");
    wrong.exits(KILLED);
    let reason = wrong.last_reason();
    assert!(
        reason.contains("no progress for 5m, GET /up answered 404, waiting for 200"),
        "{reason}"
    );

    let mut works = answering(Some("404"));
    start_that_uses(&mut works, Duration::from_millis(60), 400, 900);
    assert_eq!(works.state(), State::Starting, "it loads behind that answer");
    let mut loads = answering(None);
    start_that_uses(&mut loads, polls, 400, 900);
    assert_eq!(loads.state(), State::Starting, "the wrong answer was none of the last");
}

#[test]
fn a_failed_start_tells_what_was_waited_for() {
    let ready = Readiness::Http { path: "/up".into(), status: 200 };
    for (ready, words) in [
        (Readiness::Handshake, "waiting for an answered handshake"),
        (ready, "waiting for GET /up to be answered with 200"),
        (Readiness::Tcp, "waiting for its port to take a connection"),
        (Readiness::Fd { number: 3 }, "waiting for a newline on descriptor 3"),
        (Readiness::Notify, "waiting for READY=1"),
    ] {
        let start = StartPolicy { ready, ..StartPolicy::default() };
        let mut bench = Bench::new(Policies { start, ..defaults() });
        bench.feed(Event::Start);
        bench.spawned();
        bench.pass(secs(300));
        bench.exits(KILLED);
        assert!(bench.last_reason().contains(words), "{}", bench.last_reason());
    }
}

#[test]
fn questions_of_all_instances_come_on_common_beats_and_never_later_than_wanted() {
    let beat = Duration::from_millis(50);
    let mut beats = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut machine = Machine::new(defaults(), seed);
        let start = Moment::from_millis(seed * 7919 % 10_000);
        machine.next(Event::Start, start);
        machine.next(Event::Spawned(Generation(1)), start);
        machine.next(Event::Ready(Generation(1)), start);
        let mut before = start;
        for _ in 0..3 {
            let asked = loop {
                let due = machine.next_deadline().expect("a deadline");
                // timers fire a little late
                let late = due + Duration::from_millis(2);
                if machine.next(Event::Tick, late).contains(&Effect::Check(Generation(1))) {
                    break due;
                }
            };
            machine.next(Event::Alive(Generation(1)), asked + Duration::from_millis(3));
            assert!(asked.since(before) <= Duration::from_secs(5), "{asked} after {before}");
            assert_eq!(asked.since_origin().as_millis() % beat.as_millis(), 0, "{asked}");
            beats.insert(asked.since_origin().as_millis() % 5000);
            before = asked;
        }
    }
    assert!((50..=100).contains(&beats.len()), "spread over the interval: {}", beats.len());
}
