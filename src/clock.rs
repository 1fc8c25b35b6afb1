//! Time as the decisions see it: monotonic, and virtual in tests.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in monotonic time, as the span since its clock was made.
///
/// Pure cores take and keep moments, never a clock; a jump of the wall clock does not touch them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `ms` milliseconds after the clock's origin.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// The span since the clock's origin.
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// The span since `earlier`; zero when that lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, span: Duration) -> Moment {
        Moment(self.0.saturating_sub(span))
    }
}

impl Sub<Moment> for Moment {
    type Output = Duration;
    fn sub(self, earlier: Moment) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
    }
}

/// When something was started, for people and for counting: a jump of the wall clock makes nothing older or younger.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Seconds since 1970.
    pub wall_seconds: f64,
    /// The same in monotonic time.
    pub at: Moment,
}

/// The one source of time. Follows tokio's clock, so a paused runtime makes it virtual.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        Moment(tokio::time::Instant::now().saturating_duration_since(self.origin))
    }

    /// The present moment as the start of something.
    pub fn started(&self) -> Started {
        Started { wall_seconds: Self::wall_seconds(), at: self.now() }
    }

    /// Seconds since 1970, for people and records only: no decision may rest on it.
    pub fn wall_seconds() -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |span| span.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_never_run_backwards() {
        let early = Moment::from_millis(5);
        let late = early + Duration::from_millis(7);
        assert_eq!(late.since(early), Duration::from_millis(7));
        assert_eq!(early.since(late), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_runtime_makes_time_virtual() {
        let clock = Clock::start();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.now().since_origin(), Duration::from_secs(60));
    }
}
