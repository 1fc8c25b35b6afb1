//! Growing delays between attempts.

use std::time::Duration;

/// Exponential backoff with jitter. Pure: the random number comes from the caller.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first delay.
    pub min: Duration,
    /// What each further delay is multiplied with.
    pub factor: f64,
    /// The largest delay, before jitter.
    pub max: Duration,
    /// The share by which a delay may be longer or shorter.
    pub jitter: f64,
}

impl Backoff {
    /// The delay before attempt `nth` (1 for the first one that has a delay), spread by `random` in `0.0..1.0`.
    pub fn delay(&self, nth: u32, random: f64) -> Duration {
        let exponent = f64::from(nth.saturating_sub(1));
        let grown = self.min.as_secs_f64() * self.factor.max(1.0).powf(exponent);
        // a large power is infinite, and `min` brings it back to the cap
        let capped = grown.min(self.max.as_secs_f64());
        let spread = 1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * random - 1.0);
        Duration::try_from_secs_f64(capped * spread).unwrap_or(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        min: Duration::from_millis(500),
        factor: 2.0,
        max: Duration::from_secs(60),
        jitter: 0.2,
    };

    #[test]
    fn delays_double_up_to_the_cap() {
        let delays: Vec<_> = (1..=9).map(|n| BACKOFF.delay(n, 0.5).as_millis()).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
        assert_eq!(BACKOFF.delay(u32::MAX, 0.5), Duration::from_secs(60));
    }

    #[test]
    fn jitter_stays_inside_its_share() {
        assert_eq!(BACKOFF.delay(1, 0.0), Duration::from_millis(400));
        assert!(BACKOFF.delay(1, 0.999_999) <= Duration::from_millis(600));
    }
}
