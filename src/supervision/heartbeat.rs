//! When an actor counts as wedged. Pure: signs and moments in, a verdict out.

use std::time::Duration;

use crate::clock::Moment;

/// Judges one actor. It is asked for a sign and looked at one heartbeat later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    every: Duration,
    asked_at: Moment,
    shown_at: Moment,
}

/// What a look at an actor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It gave a sign.
    Alive,
    /// It gave none, but the look came so late that the whole thread must have been held up: nobody could.
    NotJudged,
    /// It gave none, although it could.
    Wedged {
        /// The time since its last sign.
        silent_for: Duration,
    },
}

impl Heartbeat {
    /// For an actor that was started at `now`, and is asked for its first sign at once.
    pub fn new(every: Duration, now: Moment) -> Self {
        Self { every, asked_at: now, shown_at: now }
    }

    /// A look at `now`, planned for one heartbeat after the question. The next question is asked at once.
    pub fn look(&mut self, shown: bool, now: Moment) -> Verdict {
        let waited = now.since(self.asked_at);
        self.asked_at = now;
        if shown {
            self.shown_at = now;
            return Verdict::Alive;
        }
        if waited > self.every + self.every / 2 {
            return Verdict::NotJudged;
        }
        Verdict::Wedged { silent_for: now.since(self.shown_at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(3);

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    #[test]
    fn who_gives_signs_is_alive() {
        let mut heartbeat = Heartbeat::new(BEAT, at(0));
        for beat in 1..100 {
            assert_eq!(heartbeat.look(true, at(beat * 3)), Verdict::Alive);
        }
    }

    #[test]
    fn one_missed_sign_is_enough_and_the_silence_is_measured_from_the_last_one() {
        let mut heartbeat = Heartbeat::new(BEAT, at(0));
        heartbeat.look(true, at(3));
        assert_eq!(heartbeat.look(false, at(6)), Verdict::Wedged { silent_for: BEAT });
    }

    #[test]
    fn a_thread_that_was_held_up_is_nobodys_fault() {
        let mut heartbeat = Heartbeat::new(BEAT, at(0));
        assert_eq!(heartbeat.look(false, at(60)), Verdict::NotJudged);
        // from then on the actor has a whole heartbeat
        assert_eq!(
            heartbeat.look(false, at(63)),
            Verdict::Wedged { silent_for: Duration::from_secs(63) }
        );
    }

    #[test]
    fn a_look_that_is_a_little_late_counts() {
        let mut heartbeat = Heartbeat::new(BEAT, at(0));
        assert!(matches!(heartbeat.look(false, at(4)), Verdict::Wedged { .. }));
    }
}
