//! Orders that cross each other, answers that come late, records that fit nothing.

use super::*;

fn started() -> Bench {
    let mut bench = Bench::new(defaults());
    bench.feed(Event::Start);
    bench
}

#[test]
fn a_kill_before_the_spawn_was_answered_is_a_kill_when_it_is() {
    for hurry in [&[Event::Kill][..], &[Event::Stop, Event::Kill], &[Event::Kill, Event::Stop]] {
        let mut bench = started();
        for event in hurry {
            bench.feed(event.clone());
        }
        let effects = bench.feed(Event::Spawned(Generation(1)));
        assert_eq!(signals(&effects), [GroupSignal::Kill], "{hurry:?}");
        bench.exits(KILLED);
        assert_eq!(bench.state(), State::Stopped);
    }
}

#[test]
fn a_hurry_ends_with_its_process() {
    let mut bench = started();
    bench.feed(Event::Kill);
    bench.feed(Event::Start);
    bench.feed(Event::SpawnCancelled(Generation(1)));
    assert!(bench.feed(Event::Stop).contains(&Effect::CancelSpawn(Generation(2))));
    let effects = bench.feed(Event::Spawned(Generation(2)));
    assert_eq!(signals(&effects), [TERM], "this one is stopped in order");
}

#[test]
fn asking_for_a_kill_again_does_not_postpone_the_verdict() {
    let mut bench = loaded();
    bench.feed(Event::Kill);
    for _ in 0..4 {
        bench.pass(secs(1));
        bench.feed(Event::Kill);
    }
    bench.pass(secs(1));
    assert_eq!(bench.state(), State::Unkillable);
}

#[test]
fn a_late_silence_is_no_second_miss() {
    let mut bench = loaded();
    while !bench.pass(secs(1)).iter().any(|effect| matches!(effect, Effect::Check(_))) {}
    let generation = bench.generation();
    // nothing came of the question in time, so the prober itself counted as silent
    let overdue = bench.pass(secs(5));
    assert!(overdue.contains(&Effect::Sample(generation)), "{overdue:?}");
    assert_eq!(bench.machine.health.misses(), 1);
    bench.feed(Event::Silent(generation, "late".into()));
    assert_eq!(bench.machine.health.misses(), 1);
}

/// What comes of the first silence where one miss is enough: the process used this much CPU time by then, and this
/// much a second later.
fn first_silence(cpu_time: Duration, later: Duration) -> Bench {
    let health = HealthPolicy { misses: 1, ..HealthPolicy::default() };
    let mut bench = Bench::new(Policies { health, ..defaults() });
    bench.feed(Event::Start);
    bench.ready();
    while !bench.pass(secs(1)).iter().any(|effect| matches!(effect, Effect::Check(_))) {}
    let generation = bench.generation();
    bench.feed(Event::Silent(generation, "no answer".into()));
    bench.feed(Event::Sampled { generation, cpu_time, output_bytes: 0 });
    assert!(bench.state().is_alive(), "one measure tells nothing");
    let again = bench.pass(secs(1));
    assert!(again.contains(&Effect::Sample(generation)), "{again:?}");
    bench.feed(Event::Sampled { generation, cpu_time: later, output_bytes: 0 });
    bench
}

#[test]
fn one_miss_is_judged_with_two_measures() {
    assert_eq!(first_silence(secs(100), secs(101)).state(), State::Unhealthy, "busy");
    assert_eq!(first_silence(secs(100), secs(100)).state(), State::Stopping, "hung");
    let shrunk = first_silence(secs(100), secs(3));
    assert!(shrunk.state().is_alive(), "a helper ended: its time is gone from the sum");
}

#[test]
fn a_second_measure_that_never_comes_is_not_waited_for() {
    let mut bench = first_silence(secs(100), secs(3));
    bench.pass(secs(5));
    assert_eq!(bench.state(), State::Stopping);
}

#[test]
fn a_replacement_that_was_taken_back_before_its_spawn_is_no_stop() {
    let mut by_hand = started();
    by_hand.feed(Event::Restart);
    let effects = by_hand.feed(Event::SpawnCancelled(Generation(1)));
    assert_eq!(by_hand.state(), State::Starting);
    assert!(
        !effects.iter().any(|effect| matches!(effect, Effect::Changed { to: State::Stopped, .. }))
    );
    assert_eq!(by_hand.machine.restarts(), 1);

    let mut late = started();
    late.pass(secs(3600));
    let effects = late.feed(Event::SpawnCancelled(Generation(1)));
    assert!(effects.contains(&Effect::Spawn(Generation(2))), "{effects:?}");
    assert_eq!(late.machine.book().consecutive_failures(), 1, "a failed start like any other");
    assert!(late.last_reason().contains("start took longer than 1h"), "{}", late.last_reason());
}

#[test]
fn a_helper_that_ended_does_not_hide_progress() {
    let mut bench = started();
    bench.spawned();
    let mut cpu_time = secs(1000);
    for minute in 0..20 {
        bench.pass(secs(60));
        // its helpers, each with much CPU time, come and go; the process itself works on
        cpu_time = if minute % 5 == 4 { secs(minute) } else { cpu_time + secs(1) };
        bench.feed(Event::Sampled { generation: Generation(1), cpu_time, output_bytes: 0 });
    }
    assert_eq!(bench.state(), State::Starting);
}

/// A successor that finds this on record.
fn resumed(state: &str, wanted: bool, presence: Presence) -> Bench {
    let mut bench = loaded();
    let mut record = record(&bench.machine);
    state.clone_into(&mut record.state);
    record.wanted = wanted;
    bench.machine = Machine::new(defaults(), 7);
    bench.seen = bench.machine.resume(&record, presence, bench.now);
    bench
}

#[test]
fn whatever_is_on_record_no_process_stays_unwatched() {
    let states = State::ALL.map(State::as_str).into_iter().chain(["adopted"]);
    for (state, wanted) in states.flat_map(|state| [(state, true), (state, false)]) {
        for presence in [Presence::Alive, Presence::Ordered, Presence::Gone] {
            let mut bench = resumed(state, wanted, presence);
            let case = format!("{state}, wanted {wanted}, {presence:?}");
            if presence != Presence::Gone {
                assert_eq!(bench.spawns(), 0, "{case}: a second one beside it");
                assert!(bench.state().has_process(), "{case}: {}", bench.state());
                assert!(bench.machine.next_deadline().is_some(), "{case}: nobody looks at it");
            }
            if presence == Presence::Ordered {
                bench.spawned();
            }
            bench.feed(Event::Kill);
            if presence != Presence::Gone {
                assert!(signals(&bench.seen).contains(&GroupSignal::Kill), "{case}");
            }
            bench.exits(KILLED);
            if bench.state() == State::Stopping {
                let generation = bench.generation();
                bench.feed(Event::SpawnCancelled(generation));
            }
            assert_eq!(bench.state(), State::Stopped, "{case}");
        }
    }
}

#[test]
fn a_start_that_was_never_begun_is_no_failure() {
    for begun in [false, true] {
        let policies = Policies { takes_turns: false, ..defaults() };
        let mut bench = Bench::new(policies.clone());
        bench.feed(Event::Start);
        bench.ready();
        bench.exits(KILLED);
        let before = bench.machine.book().window().len();
        let restarts = bench.machine.restarts();
        assert_eq!((bench.state(), bench.generation()), (State::Starting, Generation(2)));
        let mut record = record(&bench.machine);
        record.started_at = begun
            .then_some(crate::clock::Started { wall_seconds: 1.0, at: Moment::from_millis(1) });
        bench.machine = Machine::new(policies, 7);
        let effects = bench.machine.resume(&record, Presence::Gone, bench.now);
        assert_eq!(bench.machine.book().window().len(), before + usize::from(begun));
        if !begun {
            assert_eq!(effects, [Effect::Spawn(Generation(3))]);
            assert_eq!((bench.state(), bench.machine.restarts()), (State::Starting, restarts));
        }
    }
}

#[test]
fn a_process_with_an_unknown_state_is_kept_where_it_is_wanted() {
    let mut kept = resumed("adopted", true, Presence::Alive);
    assert!(kept.seen.contains(&Effect::AwaitReady(Generation(1))));
    kept.feed(Event::Ready(Generation(1)));
    assert_eq!(kept.state(), State::Ready);
    let ended = resumed("adopted", false, Presence::Alive);
    assert_eq!((ended.state(), signals(&ended.seen)), (State::Stopping, vec![TERM]));
    let gone = resumed("adopted", true, Presence::Gone);
    assert!(gone.machine.wanted() && gone.machine.next_deadline().is_some(), "started again");
}

#[test]
fn a_check_that_a_reload_adds_begins_at_once() {
    let unwatched = HealthPolicy { check: HealthCheck::None, ..HealthPolicy::default() };
    let mut bench = Bench::new(Policies { health: unwatched, ..defaults() });
    bench.feed(Event::Start);
    bench.ready();
    bench.pass(secs(60));
    bench.machine.set_policies(defaults(), bench.now);
    assert!(bench.pass(secs(5)).contains(&Effect::Check(Generation(1))));
    // and one that is to come more often does not wait for the old time
    let generation = bench.generation();
    bench.feed(Event::Alive(generation));
    let rare = HealthPolicy { every: secs(3600), ..HealthPolicy::default() };
    bench.machine.set_policies(Policies { health: rare, ..defaults() }, bench.now);
    bench.pass(secs(5));
    bench.feed(Event::Alive(generation));
    bench.machine.set_policies(defaults(), bench.now);
    assert!(bench.pass(secs(5)).contains(&Effect::Check(Generation(1))));
}
