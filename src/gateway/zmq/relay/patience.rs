//! When a relay has done its duty. Pure.
//!
//! A client that is connected may ask at any moment, and what it sends into a connection that is just being closed is lost:
//! libzmq has no word for "ask elsewhere". So the relay waits until nobody has asked for a while. Whoever asks without a
//! pause gets a long time, and at its end a short pause will do.

use std::fmt;
use std::time::Duration;

use crate::clock::Moment;
use crate::limits;

/// How a relay stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// Since when it is one.
    pub(super) since: Moment,
    /// When anything was last passed on, either way.
    pub(super) last: Moment,
    /// Whether a reply is to come, or on its way.
    pub(super) is_owing: bool,
    /// Whether the successor has taken its place.
    pub(super) is_replaced: bool,
    /// Whether it was asked to end.
    pub(super) is_asked: bool,
}

/// Why a relay ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Nobody asks any more.
    Quiet,
    /// It was asked to.
    Asked,
    /// It has lasted too long: a client that asks just now is not answered.
    Late,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quiet => "nobody asks any more",
            Self::Asked => "asked to end",
            Self::Late => "its time is over",
        })
    }
}

/// What to do now, and if it is to go on, until when nothing changes by time alone.
pub(super) fn judge(standing: Standing, now: Moment) -> Result<Moment, Over> {
    let Standing { since, last, is_owing, is_replaced, is_asked } = standing;
    if is_asked {
        return Err(Over::Asked);
    }
    let late = since + limits::RELAY_FOR;
    let end = late + limits::RELAY_LAST;
    if now >= end {
        return Err(Over::Late);
    }
    let pause = pause(now >= late);
    if is_owing || !is_replaced {
        return Ok(end);
    }
    let quiet = last + pause;
    if now >= quiet {
        Err(Over::Quiet)
    } else {
        Ok(if now < late { quiet.min(late) } else { quiet })
    }
}

fn pause(is_late: bool) -> Duration {
    if is_late { limits::RELAY_LAST_QUIET } else { limits::RELAY_QUIET }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_millis(1000);

    fn standing() -> Standing {
        Standing { since: START, last: START, is_owing: false, is_replaced: true, is_asked: false }
    }

    #[test]
    fn it_ends_when_nobody_has_asked_for_a_while() {
        let quiet = START + limits::RELAY_QUIET;
        assert_eq!(judge(standing(), START), Ok(quiet));
        assert_eq!(judge(standing(), quiet), Err(Over::Quiet));
        let asked = Standing { last: quiet, ..standing() };
        assert_eq!(judge(asked, quiet), Ok(quiet + limits::RELAY_QUIET));
    }

    #[test]
    fn it_does_not_end_while_it_owes_or_has_no_successor() {
        let later = START + limits::RELAY_QUIET * 5;
        let end = START + limits::RELAY_FOR + limits::RELAY_LAST;
        for standing in [
            Standing { is_owing: true, ..standing() },
            Standing { is_replaced: false, ..standing() },
        ] {
            assert_eq!(judge(standing, later), Ok(end));
            assert_eq!(judge(standing, end), Err(Over::Late));
            assert_eq!(judge(Standing { is_asked: true, ..standing }, later), Err(Over::Asked));
        }
    }

    #[test]
    fn who_never_pauses_gets_a_long_time_and_then_a_short_pause_will_do() {
        let late = START + limits::RELAY_FOR;
        let busy = |now: Moment| Standing { last: now - Duration::from_millis(1), ..standing() };
        let before = late - Duration::from_millis(10);
        assert_eq!(judge(busy(before), before), Ok(late), "it looks again when it is late");
        assert!(judge(busy(late), late).is_ok());
        let paused = Standing { last: late, ..standing() };
        assert_eq!(judge(paused, late + limits::RELAY_LAST_QUIET), Err(Over::Quiet));
        let end = late + limits::RELAY_LAST;
        assert_eq!(judge(busy(end), end), Err(Over::Late));
    }
}
