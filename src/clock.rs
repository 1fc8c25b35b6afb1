//! Time as the decisions see it: monotonic, and virtual in tests.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in monotonic time, as the span since the origin of its clock: for the service the boot of the machine, so that
/// moments mean the same to every process that reads them.
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
    made: tokio::time::Instant,
    /// The moment at which it was made.
    base: Moment,
    /// Since when what it belongs to runs.
    running_since: Moment,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        Self::with_base(Moment::default())
    }

    /// A clock whose origin is the boot of this machine: moments that were written down by an earlier process of the same
    /// boot can be compared with its own. Like timers it stands still while the machine sleeps.
    pub fn since_boot() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        // never negative: the kernel counts up from zero
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
        Self::with_base(Moment(Duration::new(seconds, nanos)))
    }

    fn with_base(base: Moment) -> Self {
        Self { made: tokio::time::Instant::now(), base, running_since: base }
    }

    /// The same clock for what runs since `moment` and not since the clock was made.
    #[must_use]
    pub fn running_since(self, moment: Moment) -> Self {
        Self { running_since: moment.min(self.base), ..self }
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        self.base + tokio::time::Instant::now().saturating_duration_since(self.made)
    }

    /// How long at `moment` what this clock belongs to had been running.
    pub fn uptime_at(&self, moment: Moment) -> Duration {
        moment.since(self.running_since)
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
    async fn moments_since_boot_mean_the_same_to_every_clock() {
        let clock = Clock::since_boot();
        let later = Clock::since_boot();
        assert!(
            later.now() >= clock.now() && later.now().since(clock.now()) < Duration::from_secs(5)
        );
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.uptime_at(clock.now()), Duration::from_secs(60));
        let began = clock.now() - Duration::from_secs(3600);
        let continued = clock.running_since(began);
        assert_eq!(continued.uptime_at(continued.now()), Duration::from_secs(3600));
        assert_eq!(continued.now(), clock.now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_runtime_makes_time_virtual() {
        let clock = Clock::start();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.now().since_origin(), Duration::from_secs(60));
    }
}
