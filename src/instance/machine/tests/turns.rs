//! What others have to do with a life.

use super::*;
use crate::launcher::EndsFor;

fn in_a_group() -> Policies {
    Policies { takes_turns: true, ..defaults() }
}

fn turn(bench: &mut Bench) -> Vec<Effect> {
    let generation = bench.generation();
    bench.feed(Event::Turn(generation))
}

fn reason(bench: &Bench) -> &str {
    bench.machine.reason().unwrap_or_default()
}

#[test]
fn no_process_is_ordered_and_no_time_runs_before_its_turn() {
    let mut bench = Bench::new(in_a_group());
    let effects = bench.feed(Event::Start);
    assert!(effects.contains(&Effect::AwaitTurn(Generation(1))));
    assert_eq!((bench.state(), bench.machine.next_deadline()), (State::Starting, None));
    assert_eq!(bench.feed(Event::Turn(Generation(7))), [], "another start's turn");
    assert_eq!(bench.feed(Event::Spawned(Generation(1))), [], "nothing was ordered");
    assert_eq!(turn(&mut bench), [Effect::Spawn(Generation(1))]);
    assert_eq!(turn(&mut bench), [], "one process for one turn");
    bench.ready();
}

#[test]
fn a_stop_or_a_kill_ends_the_wait_at_once() {
    for event in [Event::Stop, Event::Kill] {
        let mut bench = Bench::new(in_a_group());
        bench.feed(Event::Start);
        bench.feed(event);
        assert_eq!(bench.state(), State::Stopped);
        assert_eq!(turn(&mut bench), [], "a turn that comes late starts nothing");
    }
}

#[test]
fn who_cannot_have_its_turn_is_parked_at_once() {
    let mut bench = Bench::new(in_a_group());
    bench.feed(Event::Start);
    bench.feed(Event::NoTurn(Generation(1), "after db: exit 3".into()));
    assert_eq!(bench.state(), State::Parked);
    assert_eq!(reason(&bench), "after db: exit 3; one trial start after a rest of 5m");
    assert_eq!(bench.machine.parked_for(), Some("after db: exit 3"));
    let effects = bench.pass(Duration::from_secs(300));
    assert!(effects.contains(&Effect::AwaitTurn(Generation(2))), "then it asks again: {effects:?}");
}

#[test]
fn who_is_taken_along_comes_back_and_has_failed_nothing() {
    let mut bench = Bench::new(in_a_group());
    bench.feed(Event::Start);
    turn(&mut bench);
    bench.ready();
    let effects = bench.feed(Event::TakenAlong("with draft: exit 3".into()));
    assert!(effects.contains(&Effect::Signal(Generation(1), TERM)));
    assert!(!bench.machine.ends_as_asked());
    // its actor is replaced meanwhile
    let record = record(&bench.machine);
    assert!(matches!(record.turn.ends_for, Some(EndsFor::Restart { .. })));
    bench.machine = Machine::new(in_a_group(), 8);
    bench.machine.resume(&record, Presence::Alive, bench.now);

    let effects = bench.exits(ExitStatus::Code(1));
    assert!(
        effects.contains(&Effect::AwaitTurn(Generation(2))) && !effects.contains(&Effect::Failed)
    );
    let book = bench.machine.book();
    assert_eq!((book.consecutive_failures(), book.window().len()), (0, 0));
    assert_eq!(bench.machine.restarts(), 1);

    // one that waits is replaced, too, and goes on waiting
    let record = super::record(&bench.machine);
    let mut successor = Machine::new(in_a_group(), 9);
    let effects = successor.resume(&record, Presence::Gone, bench.now);
    assert_eq!(effects, [Effect::AwaitTurn(Generation(2))]);
    assert_eq!(successor.next(Event::TakenAlong("again".into()), bench.now), []);
}

#[test]
fn its_own_failure_is_told_and_one_that_ends_its_tries_is_not() {
    let restart = RestartPolicy { max_consecutive_failures: 1, ..defaults().restart };
    let mut bench = Bench::new(Policies { restart, ..in_a_group() });
    bench.feed(Event::Start);
    for (failed, state) in [(true, State::Starting), (false, State::Parked)] {
        turn(&mut bench);
        bench.spawned();
        let effects = bench.exits(ExitStatus::Code(3));
        assert_eq!(effects.contains(&Effect::Failed), failed, "{effects:?}");
        assert_eq!(bench.state(), state);
    }
}

#[test]
fn a_temporary_bystander_is_not_started_again() {
    let restart = RestartPolicy { class: RestartClass::Temporary, ..defaults().restart };
    let mut bench = Bench::new(Policies { restart, ..in_a_group() });
    bench.feed(Event::Start);
    turn(&mut bench);
    bench.ready();
    bench.feed(Event::TakenAlong("with draft: exit 3".into()));
    bench.exits(ExitStatus::Code(0));
    assert_eq!((bench.state(), reason(&bench)), (State::Stopped, "with draft: exit 3 (exit 0)"));
}

#[test]
fn who_is_parked_along_is_so_from_wherever_it_stands() {
    let park = || Event::ParkedAlong {
        why: "with draft: exit 3".into(),
        cool_off: Duration::from_secs(60),
    };
    type Lead = fn(&mut Bench);
    let ways: [(&str, Lead); 6] = [
        ("waiting", |_| {}),
        ("ready", |bench| {
            turn(bench);
            bench.ready();
        }),
        ("ordered", |bench| drop(turn(bench))),
        ("going along", |bench| {
            turn(bench);
            bench.ready();
            bench.feed(Event::TakenAlong("with draft: exit 3".into()));
        }),
        ("in backoff", |bench| {
            for _ in 0..2 {
                turn(bench);
                bench.spawned();
                bench.exits(ExitStatus::Code(3));
            }
            assert_eq!(bench.state(), State::Backoff);
        }),
        ("parked", |bench| drop(bench.feed(park_by_other()))),
    ];
    for (what, lead) in ways {
        let mut bench = Bench::new(in_a_group());
        bench.feed(Event::Start);
        lead(&mut bench);
        bench.feed(park());
        if bench.state() == State::Stopping {
            let generation = bench.generation();
            // what was only ordered is taken back
            bench.feed(Event::SpawnCancelled(generation));
            bench.exits(ExitStatus::Code(0));
        }
        assert_eq!(bench.state(), State::Parked, "{what}");
        assert!(reason(&bench).starts_with("with draft: exit 3; one trial start"), "{what}");
        let trial = bench.pass(Duration::from_secs(60));
        assert!(trial.iter().any(|effect| matches!(effect, Effect::AwaitTurn(_))), "{what}");
    }
    // a stop by hand is stronger
    let mut bench = Bench::new(in_a_group());
    bench.feed(Event::Start);
    turn(&mut bench);
    bench.ready();
    bench.feed(Event::Stop);
    bench.feed(park());
    bench.exits(ExitStatus::Code(0));
    assert_eq!(bench.state(), State::Stopped);
}

fn park_by_other() -> Event {
    Event::ParkedAlong { why: "with draft: exit 3".into(), cool_off: Duration::from_secs(60) }
}

#[test]
fn what_a_group_gives_up_follows_the_members_own_policy() {
    for (on_give_up, state) in [
        (GiveUp::Park, State::Parked),
        (GiveUp::Retry, State::Backoff),
        (GiveUp::Escalate, State::Backoff),
    ] {
        let restart = RestartPolicy { on_give_up, ..defaults().restart };
        let mut bench = Bench::new(Policies { restart, ..in_a_group() });
        bench.feed(Event::Start);
        turn(&mut bench);
        assert_eq!(bench.feed(Event::GroupGaveUp("late".into())), [], "it has its turn already");
        bench.spawned();
        bench.exits(ExitStatus::Code(3));
        let effects = bench.feed(Event::GroupGaveUp("group g: used up".into()));
        assert_eq!(bench.state(), state, "{on_give_up:?}");
        let escalates = effects.contains(&Effect::Escalate("group g: used up".into()));
        assert_eq!(escalates, on_give_up == GiveUp::Escalate);
        if on_give_up == GiveUp::Retry {
            let rest = bench.machine.wait_until().map(|at| at.since(bench.now));
            assert_eq!(rest, Some(Duration::from_secs(60)), "at the longest delay");
        }
    }
}

#[test]
fn a_restart_by_hand_of_one_that_waits_forgets_its_failures() {
    let mut bench = Bench::new(in_a_group());
    bench.feed(Event::Start);
    turn(&mut bench);
    bench.spawned();
    bench.exits(ExitStatus::Code(3));
    assert_eq!(bench.machine.book().consecutive_failures(), 1);
    assert_eq!(bench.feed(Event::Restart), [], "it has no process that could be replaced");
    assert_eq!(bench.machine.book().consecutive_failures(), 0);
}
