use super::super::super::history::testing::{event, part_event};
use super::*;

fn bounds() -> ModelLimits {
    ModelLimits {
        class: Some("permanent".into()),
        max_consecutive_failures: 3,
        reset_after_ms: 10_000,
        window_max: 5,
        window_period_ms: 600_000,
        on_give_up: "park".into(),
    }
}

fn checker(bounds: ModelLimits) -> WindowLimits {
    let root = ActorWindow { intensity: 3, period: Duration::from_secs(300) };
    WindowLimits::new([("a".to_owned(), bounds)].into(), [("root".to_owned(), root)].into())
}

fn run(bounds: ModelLimits, events: &[(f64, &str)]) -> Option<Violation> {
    let mut histories = Histories::default();
    let mut checker = checker(bounds);
    (1..).zip(events).find_map(|(seq, (seconds, kind))| {
        let event = event(seq, *seconds, kind, seq);
        histories.record(&event);
        checker.see(&event, &histories)
    })
}

/// A life of exits, each followed by a restart.
fn crashes(times: usize, ready_seconds: f64) -> Vec<(f64, &'static str)> {
    let mut events = Vec::new();
    let mut now = 0.0;
    for _ in 0..times {
        events.extend([(now, "starting"), (now, "ready"), (now + ready_seconds, "exited")]);
        now += ready_seconds;
    }
    events.push((now, "starting"));
    events
}

#[test]
fn restarts_up_to_the_limit_hold() {
    assert_eq!(run(bounds(), &crashes(3, 1.0)), None);
    assert_eq!(run(bounds(), &crashes(5, 20.0)), None);
}

#[test]
fn one_failure_too_many_in_a_row_is_told() {
    let violation = run(bounds(), &crashes(4, 1.0)).unwrap();
    assert_eq!(violation.what, "restarted after 4 failures in a row, 3 restarts are allowed");
    assert_eq!(violation.history.last().unwrap().kind, "starting");
}

#[test]
fn one_restart_too_many_in_the_window_is_told_with_the_exits_that_count() {
    let violation = run(bounds(), &crashes(6, 20.0)).unwrap();
    assert_eq!(violation.what, "restarted 6 times within 10m, 5 are allowed");
    assert_eq!(violation.history.len(), 7);
    // slow enough they never fill the window
    assert_eq!(run(bounds(), &crashes(6, 150.0)), None);
}

#[test]
fn parking_ends_a_row_and_its_trial_is_the_last_one() {
    let mut life = crashes(3, 1.0);
    life.extend([(4.0, "exited"), (4.0, "parked"), (300.0, "starting")]);
    assert_eq!(run(bounds(), &life), None);
    life.push((301.0, "exited"));
    let parked_again = [life.as_slice(), &[(301.0, "parked")]].concat();
    assert_eq!(run(bounds(), &parked_again), None);
    let restarted = [life.as_slice(), &[(301.0, "backoff")]].concat();
    assert!(run(bounds(), &restarted).is_some());
}

/// Events with their causes.
fn run_told(bounds: ModelLimits, events: &[(f64, &str, &str)]) -> Option<Violation> {
    let mut histories = Histories::default();
    let mut checker = checker(bounds);
    (1..).zip(events).find_map(|(seq, (seconds, kind, cause))| {
        let mut event = (*event(seq, *seconds, kind, seq)).clone();
        event.cause = Some((*cause).to_owned());
        let event = Event::new(event);
        histories.record(&event);
        checker.see(&event, &histories)
    })
}

/// Ends of this cause, each followed by a restart.
fn ends(times: usize, cause: &str) -> Vec<(f64, &str, &str)> {
    let life = [
        (0.0, "starting", ""),
        (0.0, "ready", ""),
        (0.1, "stopping", cause),
        (0.1, "exited", cause),
    ];
    let mut events = life.repeat(times);
    events.push((0.2, "starting", cause));
    events
}

#[test]
fn ends_that_others_of_the_group_brought_about_do_not_count() {
    assert_eq!(run_told(bounds(), &ends(50, "with b: signal 9 (signal 15)")), None);
    let hung = run_told(bounds(), &ends(4, "hang: 3 pings missed (signal 9)"));
    assert!(hung.is_some(), "one that was ended for its own fault counts");
    // neither forgives it what it did itself
    let own = ends(2, "signal 9");
    let life = [&own[..], &ends(9, "with b: exit 1"), &ends(2, "signal 9")].concat();
    let what = run_told(bounds(), &life).unwrap().what;
    assert_eq!(what, "restarted after 4 failures in a row, 3 restarts are allowed");
}

#[test]
fn one_that_is_parked_with_its_group_keeps_its_own_row() {
    for cause in [
        "with b: exit 3; one trial start after a rest of 5m",
        "group pair: 1 restart in 1m used up, last: b: exit 3; one trial start after a rest of 5m",
    ] {
        let mut life = vec![(0.0, "starting", ""), (0.1, "exited", cause), (0.1, "parked", cause)];
        life.extend([(300.0, "starting", ""), (300.1, "exited", "exit 1"), (300.1, "backoff", "")]);
        assert_eq!(run_told(bounds(), &life), None, "{cause}");
    }
}

#[test]
fn a_restart_by_hand_clears_what_was_counted() {
    let by_hand = ends(1, "restart by hand (exit 0)");
    assert_eq!(run_told(bounds(), &ends(50, "restart by hand (exit 0)")), None);
    let own = ends(3, "signal 9");
    assert_eq!(run_told(bounds(), &[&own[..], &by_hand, &own].concat()), None);
}

#[test]
fn who_retries_for_ever_has_no_limit() {
    let bounds = ModelLimits { on_give_up: "retry".into(), ..bounds() };
    assert_eq!(run(bounds, &crashes(50, 0.1)), None);
}

/// A life whose exits have these causes, each followed by a restart.
fn ends_for(cause: &str, times: usize) -> Vec<(f64, &'static str, Option<String>)> {
    let life = crashes(times, 1.0).into_iter();
    let with_cause = |kind| (kind == "exited").then(|| cause.to_owned());
    life.map(|(seconds, kind)| (seconds, kind, with_cause(kind))).collect()
}

fn run_with_causes(events: &[(f64, &str, Option<String>)]) -> Option<Violation> {
    let mut histories = Histories::default();
    let mut checker = checker(bounds());
    (1..).zip(events).find_map(|(seq, (seconds, kind, cause))| {
        let mut event = event(seq, *seconds, kind, seq);
        std::sync::Arc::make_mut(&mut event).cause.clone_from(cause);
        histories.record(&event);
        checker.see(&event, &histories)
    })
}

#[test]
fn what_the_group_or_somebody_brought_about_is_no_failure() {
    for cause in [
        "with b: signal 9 (signal 15)",
        "group g: 5 restarts in 10m used up, last: b: exit 3 (exit 0)",
        "restart by hand (exit 0)",
    ] {
        assert_eq!(run_with_causes(&ends_for(cause, 50)), None, "{cause}");
    }
    assert!(run_with_causes(&ends_for("signal 9", 4)).is_some());

    let own = ends_for("signal 9", 3);
    let along = ends_for("with b: signal 9", 3);
    assert_eq!(run_with_causes(&[own.clone(), along.clone()].concat()), None);
    let fourth = [own.clone(), along, ends_for("signal 9", 1)].concat();
    assert!(run_with_causes(&fourth).is_some(), "those of its own are in a row still");
    let by_hand = [own.clone(), ends_for("restart by hand (exit 0)", 1), own.clone()].concat();
    assert_eq!(run_with_causes(&by_hand), None, "which forgets them");
}

#[test]
fn who_is_parked_with_others_has_its_own_restarts_left() {
    let parked = |cause: &str| vec![(3.0, "parked", Some(cause.to_owned()))];
    let life = |cause| [parked(cause), ends_for("signal 9", 3)].concat();
    assert_eq!(run_with_causes(&life("with b: 6 failures in a row")), None);
    assert!(run_with_causes(&life("4 failures in a row")).is_some());
}

/// Failures of parts at these seconds, each followed by a restart of the part.
fn failures(parts: &[(f64, &str)]) -> Option<Violation> {
    let histories = Histories::default();
    let mut checker = checker(bounds());
    (1..).step_by(2).zip(parts).find_map(|(seq, (seconds, subject))| {
        let failed = part_event(seq, *seconds, "actor_failed", subject);
        assert_eq!(checker.see(&failed, &histories), None);
        checker.see(&part_event(seq + 1, *seconds, "actor_restarted", subject), &histories)
    })
}

#[test]
fn restarts_of_actors_are_counted_by_supervisor() {
    let three = [(0.0, "root/registry"), (10.0, "root/event_log"), (20.0, "root/registry")];
    assert_eq!(failures(&three), None);
    let elsewhere = [&three[..], &[(20.0, "other/registry")]].concat();
    assert_eq!(failures(&elsewhere), None);
    let later = [&three[..], &[(301.0, "root/registry")]].concat();
    assert_eq!(failures(&later), None, "the first has left the window");
    let fourth = [&three[..], &[(30.0, "root/registry")]].concat();
    let violation = failures(&fourth).unwrap();
    assert_eq!(violation.subject, "root");
    assert_eq!(violation.what, "restarted after 4 failures within 5m, 3 restarts are allowed");
    assert_eq!(violation.history.len(), 5);
}

#[test]
fn bystanders_of_a_restart_are_no_failures_of_their_own() {
    let histories = Histories::default();
    let mut checker = checker(bounds());
    checker.see(&part_event(1, 0.0, "actor_failed", "root/registry"), &histories);
    for (seq, part) in (2..).zip(["registry", "model_desk", "instance_supervisor", "gateways"]) {
        let restarted = part_event(seq, 0.0, "actor_restarted", &format!("root/{part}"));
        assert_eq!(checker.see(&restarted, &histories), None);
    }
}

#[test]
fn one_that_gives_up_begins_anew() {
    let histories = Histories::default();
    let mut checker = checker(bounds());
    for (seq, kind) in (1..).zip(["actor_failed"; 4].iter().chain(&["escalated"])) {
        checker.see(&part_event(seq, 1.0, kind, "root/registry"), &histories);
    }
    checker.see(&part_event(6, 2.0, "actor_failed", "root/registry"), &histories);
    let restarted = part_event(7, 2.0, "actor_restarted", "root/registry");
    assert_eq!(checker.see(&restarted, &histories), None);
}

#[test]
fn windows_are_read_from_the_tree() {
    let window = ActorWindow::read("rest_for_one, 3 in 5m").unwrap();
    assert_eq!(window, ActorWindow { intensity: 3, period: Duration::from_secs(300) });
    assert_eq!(ActorWindow::read("model phi"), None);
    assert_eq!(ActorWindow::read("a in b, c"), None);
}
