use super::*;

const RULES: Rules = Rules {
    wedge_timeout: Duration::from_secs(10),
    start_timeout: Duration::from_secs(60),
    restarts: 5,
    period: Duration::from_secs(60),
    end_timeout: Duration::from_secs(30),
};
const GRACE: Duration = Duration::from_secs(10);
const KILLED: Option<Ended> = Some(Ended::Signal { number: 9, core_dumped: false });

/// A heart in virtual time that looks at its core each second, as the real one does.
struct Heart {
    core: Core,
    now: Moment,
    effects: Vec<Effect>,
}

impl Heart {
    fn new() -> Self {
        let now = Moment::from_millis(1000);
        let (core, effects) = Core::new(RULES, GRACE, now);
        Self { core, now, effects }
    }

    fn running() -> Self {
        let mut heart = Self::new();
        assert_eq!(heart.done(), [Effect::Start(Program::Own)]);
        heart.on(Event::Started { pid: 7 });
        heart.on(Event::Beat);
        heart.on(Event::Ready);
        assert_eq!(heart.done(), []);
        heart
    }

    fn on(&mut self, event: Event) {
        self.effects.extend(self.core.on(event, self.now));
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.now = self.now + Duration::from_millis(100);
            self.on(Event::Tick);
        }
    }

    fn beat_for(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.on(Event::Beat);
            self.wait(1);
        }
    }

    /// What was to be done since the last look, without the words.
    fn done(&mut self) -> Vec<Effect> {
        let is_deed = |effect: &Effect| !matches!(effect, Effect::Say(_));
        std::mem::take(&mut self.effects).into_iter().filter(is_deed).collect()
    }

    fn said(&self) -> String {
        let lines = self.effects.iter().filter_map(|effect| match effect {
            Effect::Say(line) => Some(line.as_str()),
            _ => None,
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

const START: Effect = Effect::Start(Program::Own);

#[test]
fn a_core_that_beats_is_left_alone() {
    let mut heart = Heart::running();
    heart.beat_for(1000);
    assert_eq!(heart.done(), []);
}

#[test]
fn a_core_that_dies_is_replaced_at_once() {
    let mut heart = Heart::running();
    heart.on(Event::Ended(KILLED));
    assert_eq!(heart.done(), [START]);
    assert_eq!((heart.core.restarts(), heart.core.incarnation()), (1, 2));
    assert_eq!(heart.core.last_cause(), Some("signal 9"));
}

#[test]
fn silence_is_answered_by_kill_and_a_new_core() {
    let mut heart = Heart::running();
    heart.wait(9);
    assert_eq!(heart.done(), []);
    heart.wait(1);
    assert!(heart.said().contains("the core (pid 7): it gave no sign of life for 10s"));
    assert_eq!(heart.done(), [Effect::Kill]);
    // it stays one KILL, however long the exit takes
    heart.wait(30);
    assert_eq!(heart.done(), []);
    heart.on(Event::Ended(KILLED));
    assert_eq!(heart.done(), [START]);
    assert_eq!(heart.core.last_cause(), Some("it gave no sign of life for 10s"));
}

#[test]
fn a_core_that_never_says_anything_has_longer() {
    let mut heart = Heart::new();
    heart.done();
    heart.on(Event::Started { pid: 7 });
    heart.wait(59);
    assert_eq!(heart.done(), []);
    heart.wait(1);
    assert_eq!(heart.done(), [Effect::Kill]);
}

#[test]
fn who_was_away_itself_judges_nobody_by_it() {
    let mut heart = Heart::running();
    // the machine, or the container, was frozen for an hour
    heart.now = heart.now + Duration::from_secs(3600);
    heart.on(Event::Tick);
    assert_eq!(heart.done(), []);
    heart.wait(9);
    assert_eq!(heart.done(), []);
    heart.wait(1);
    assert_eq!(heart.done(), [Effect::Kill]);
}

#[test]
fn a_beat_that_was_on_its_way_counts_before_the_judgement() {
    let mut heart = Heart::running();
    heart.now = heart.now + Duration::from_millis(10_500);
    heart.on(Event::Beat);
    heart.on(Event::Tick);
    assert_eq!(heart.done(), []);
}

#[test]
fn the_window_allows_five_restarts_and_the_next_ends_everything() {
    let mut heart = Heart::running();
    for _ in 0..5 {
        heart.on(Event::Ended(KILLED));
        heart.on(Event::Started { pid: 8 });
        heart.on(Event::Ready);
    }
    assert_eq!(heart.done(), vec![START; 5]);
    heart.on(Event::Ended(KILLED));
    assert!(heart.said().contains("gave up after 5 restarts in 1m: signal 9"), "{}", heart.said());
    assert_eq!(heart.done(), [Effect::EndAll { grace: GRACE }]);
    heart.wait(100);
    heart.on(Event::AllGone);
    assert_eq!(heart.done(), [Effect::Exit(GAVE_UP)]);
}

#[test]
fn old_restarts_leave_the_window() {
    let mut heart = Heart::running();
    for _ in 0..20 {
        heart.beat_for(13);
        heart.on(Event::Ended(KILLED));
        heart.on(Event::Started { pid: 8 });
        heart.on(Event::Ready);
    }
    assert_eq!(heart.done(), vec![START; 20]);
}

#[test]
fn starts_that_come_to_nothing_are_spaced_out_and_end_in_giving_up() {
    let mut heart = Heart::new();
    heart.done();
    let crash = Some(Ended::Code(101));
    for pause_ms in [100, 200, 400, 800, 1600] {
        heart.on(Event::Ended(crash));
        let until = heart.core.deadline().expect("a next start");
        assert_eq!(until.since(heart.now), Duration::from_millis(pause_ms));
        heart.now = until;
        assert_eq!(heart.done(), []);
        heart.on(Event::Tick);
        assert_eq!(heart.done(), [START]);
    }
    heart.on(Event::Ended(crash));
    heart.on(Event::AllGone);
    assert_eq!(heart.done(), [Effect::EndAll { grace: GRACE }, Effect::Exit(3)]);
}

#[test]
fn a_first_core_that_cannot_start_has_said_why_and_is_not_tried_again() {
    for code in [1, 2] {
        let mut heart = Heart::new();
        heart.done();
        heart.on(Event::Beat);
        heart.on(Event::Ended(Some(Ended::Code(code))));
        heart.on(Event::AllGone);
        assert_eq!(heart.said(), "");
        assert_eq!(
            heart.done(),
            [Effect::EndAll { grace: Duration::ZERO }, Effect::Exit(code as u8)]
        );
        // a start that follows may take over what an earlier service left
        assert!(heart.core.could_not_start());
    }
}

#[test]
fn a_later_core_that_cannot_start_is_tried_again() {
    let mut heart = Heart::running();
    heart.on(Event::Ended(KILLED));
    heart.on(Event::Ended(Some(Ended::Code(1))));
    heart.wait(1);
    assert_eq!(heart.done(), [START, START]);
}

#[test]
fn an_orderly_end_is_the_end() {
    let mut heart = Heart::running();
    heart.on(Event::StopGrace(Duration::from_secs(3)));
    heart.on(Event::Stopping);
    // the tree is down before the last processes are: no beats, and no verdict
    heart.wait(32);
    heart.on(Event::Ended(Some(Ended::Code(0))));
    heart.on(Event::AllGone);
    let grace = Duration::from_secs(3);
    assert_eq!(heart.done(), [Effect::EndAll { grace }, Effect::Exit(0)]);
}

#[test]
fn a_stop_is_passed_on_and_the_second_one_too() {
    let mut heart = Heart::running();
    heart.on(Event::StopAsked);
    heart.on(Event::StopAsked);
    heart.on(Event::Stopping);
    assert_eq!(heart.done(), [Effect::PassOnStop, Effect::PassOnStop]);
    heart.on(Event::Ended(Some(Ended::Code(0))));
    heart.on(Event::AllGone);
    assert_eq!(heart.done(), [Effect::EndAll { grace: GRACE }, Effect::Exit(0)]);
}

#[test]
fn a_core_that_does_not_end_is_killed_and_not_replaced() {
    let mut heart = Heart::running();
    heart.on(Event::StopAsked);
    heart.wait(39);
    assert_eq!(heart.done(), [Effect::PassOnStop]);
    heart.wait(1);
    heart.on(Event::Ended(KILLED));
    heart.on(Event::AllGone);
    assert_eq!(heart.done(), [Effect::Kill, Effect::EndAll { grace: GRACE }, Effect::Exit(1)]);
}

#[test]
fn a_core_that_crashes_while_it_stops_is_not_replaced() {
    let mut heart = Heart::running();
    heart.on(Event::Stopping);
    heart.on(Event::Ended(Some(Ended::Code(101))));
    assert!(heart.said().contains("ended while it was stopping: exit 101"));
    heart.on(Event::AllGone);
    assert_eq!(heart.done(), [Effect::EndAll { grace: GRACE }, Effect::Exit(1)]);
}

#[test]
fn a_stop_that_a_core_meets_before_it_listens_is_an_orderly_one() {
    let mut heart = Heart::new();
    heart.on(Event::Started { pid: 7 });
    heart.on(Event::StopAsked);
    heart.on(Event::Ended(Some(Ended::Signal { number: 15, core_dumped: false })));
    heart.on(Event::AllGone);
    assert_eq!(heart.said(), "");
    assert_eq!(
        heart.done(),
        [START, Effect::PassOnStop, Effect::EndAll { grace: GRACE }, Effect::Exit(0)]
    );
}

#[test]
fn a_core_that_somebody_else_ends_by_term_is_no_stop() {
    let mut heart = Heart::running();
    heart.on(Event::Stopping);
    heart.on(Event::Ended(Some(Ended::Signal { number: 15, core_dumped: false })));
    heart.on(Event::AllGone);
    assert_eq!(heart.done(), [Effect::EndAll { grace: GRACE }, Effect::Exit(1)]);
}

#[test]
fn a_stop_between_two_cores_starts_none() {
    let mut heart = Heart::running();
    heart.on(Event::Ended(KILLED));
    heart.on(Event::Ended(KILLED));
    heart.on(Event::StopAsked);
    heart.wait(5);
    assert_eq!(heart.done(), [START, Effect::EndAll { grace: GRACE }]);
    assert!(!heart.core.could_not_start());
    // whoever asks once more is in a hurry
    heart.on(Event::StopAsked);
    assert_eq!(heart.done(), [Effect::EndAll { grace: Duration::ZERO }]);
}

#[test]
fn a_stop_in_the_moment_of_a_kill_starts_none() {
    let mut heart = Heart::running();
    heart.wait(10);
    heart.on(Event::StopAsked);
    heart.on(Event::Ended(KILLED));
    assert_eq!(heart.done(), [Effect::Kill, Effect::EndAll { grace: GRACE }]);
}

#[test]
fn a_core_that_cannot_even_be_started_counts() {
    let mut heart = Heart::running();
    heart.on(Event::Ended(KILLED));
    heart.on(Event::StartFailed("no memory".into()));
    assert!(heart.said().contains("it cannot be started: no memory"));
    heart.wait(1);
    assert_eq!(heart.done(), [START, START]);
    assert_eq!(heart.core.restarts(), 2);
}

fn upgrading() -> Heart {
    let mut heart = Heart::running();
    let timeout = Duration::from_secs(20);
    heart.on(Event::Upgrade { program: new(), timeout });
    heart.on(Event::Ended(Some(Ended::Code(LET_GO.into()))));
    assert_eq!(heart.done(), [Effect::Start(new())]);
    assert_eq!(heart.core.programs(), [&new(), &Program::Own]);
    heart
}

fn new() -> Program {
    Program::At { path: "/new".into(), number: 1 }
}

#[test]
fn a_core_that_lives_on_for_its_clients_is_followed_at_once() {
    let mut heart = Heart::running();
    heart.on(Event::LetGo);
    assert_eq!(heart.done(), [], "it named no program");
    heart.on(Event::Upgrade { program: new(), timeout: Duration::from_secs(20) });
    heart.beat_for(1);
    assert_eq!(heart.done(), [], "it is still about to");
    heart.on(Event::LetGo);
    assert_eq!(heart.done(), [Effect::Start(new())]);
    heart.on(Event::Beat);
    heart.on(Event::Ready);
    assert_eq!(heart.core.programs(), [&new()]);
}

#[test]
fn a_core_that_is_killed_when_it_was_about_to_let_go_is_replaced_by_the_old_program() {
    let mut heart = Heart::running();
    heart.on(Event::Upgrade { program: new(), timeout: Duration::from_secs(20) });
    heart.on(Event::Ended(KILLED));
    assert_eq!(heart.done(), [START]);
    assert_eq!(heart.core.programs(), [&Program::Own]);
}

#[test]
fn a_stop_that_comes_while_the_core_lets_go_is_not_lost() {
    let mut heart = Heart::running();
    heart.on(Event::Upgrade { program: new(), timeout: Duration::from_secs(20) });
    heart.on(Event::StopAsked);
    heart.on(Event::LetGo);
    assert_eq!(heart.done(), [Effect::PassOnStop, Effect::EndAll { grace: GRACE }]);
    heart.on(Event::AllGone);
    assert_eq!(heart.done(), [Effect::Exit(0)]);
}

#[test]
fn a_program_that_does_not_serve_gives_the_old_one_its_place_back() {
    let mut heart = upgrading();
    heart.on(Event::Ended(Some(Ended::Code(0))));
    assert_eq!(heart.done(), [START]);
    assert_eq!(heart.core.programs(), [&Program::Own]);
    let notice = heart.core.take_notice().expect("why");
    assert!(notice.ends_with("did not get ready: exit 0 before it was ready"), "{notice}");
}

#[test]
fn a_core_that_lets_go_is_followed_by_the_program_that_it_named() {
    let mut heart = upgrading();
    heart.on(Event::Beat);
    heart.on(Event::Ready);
    heart.beat_for(60);
    assert_eq!(heart.core.restarts(), 0);
    assert_eq!(heart.core.take_notice(), None);
    // from now on it is the program
    heart.on(Event::Ended(KILLED));
    assert_eq!(heart.done(), [Effect::Start(new())]);
}

#[test]
fn a_new_program_that_is_not_ready_in_time_gives_way_to_the_old_one() {
    let mut heart = upgrading();
    heart.beat_for(20);
    assert_eq!(heart.done(), [Effect::Kill]);
    heart.on(Event::Ended(KILLED));
    assert_eq!(heart.done(), [START]);
    assert_eq!(
        heart.core.take_notice().as_deref(),
        Some("/new did not get ready: it was not ready in time")
    );
    assert_eq!(heart.core.take_notice(), None);
    assert_eq!(heart.core.restarts(), 0);
}

#[test]
fn a_new_program_that_crashes_gives_way_at_once() {
    let mut heart = upgrading();
    heart.on(Event::Ended(Some(Ended::Code(1))));
    assert_eq!(heart.done(), [START]);
}

#[test]
fn the_code_for_letting_go_means_nothing_without_a_word_before() {
    let mut heart = Heart::running();
    heart.on(Event::Ended(Some(Ended::Code(LET_GO.into()))));
    assert_eq!(heart.done(), [START]);
    assert_eq!(heart.core.restarts(), 1);
}
