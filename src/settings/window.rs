//! Whether a sliding window can ever be full.

use std::time::Duration;

use super::policy::{GiveUp, RestartClass, RestartPolicy};

/// Whether the window of this policy could ever give up.
///
/// The window allows `window_max` restarts in `window_period`; the next one gives up. Backoff keeps restarts apart, and
/// the count of consecutive failures ends a series of them, until a readiness of `reset_after` begins a new series.
/// When even the fastest series that these rules let through needs more than `window_period` for `window_max + 1`
/// restarts, the window allows more than its period can hold: it would guard nothing, and its author believes it does.
pub(super) fn can_ever_fill(policy: &RestartPolicy) -> bool {
    let series_length = match policy.on_give_up {
        GiveUp::Retry => u64::MAX,
        GiveUp::Park | GiveUp::Escalate => u64::from(policy.max_consecutive_failures),
    };
    if policy.class == RestartClass::Temporary || series_length == 0 || policy.window_max == 0 {
        // there is no restart, or no second one, that a window would have to count
        return true;
    }
    fastest_restarts(policy, u64::from(policy.window_max) + 1, series_length)
        <= policy.window_period.as_secs_f64()
}

/// The least seconds between the first and the last of `restarts`.
///
/// Restarts come in series: the first of each has no delay, the next ones have growing ones, and `reset_after` lies
/// between two series. As delays only grow, restarts spread evenly over the series are the fastest for each number of series.
fn fastest_restarts(policy: &RestartPolicy, restarts: u64, series_length: u64) -> f64 {
    let longest = series_length.min(restarts);
    let elapsed = elapsed_in_series(policy, longest);
    let reset = policy.reset_after.as_secs_f64();
    (restarts.div_ceil(longest)..=restarts)
        .map(|series| {
            let (each, longer) = (restarts / series, restarts % series);
            // "one longer" is read only where some series is longer, so never past the longest
            let of = |length: u64| elapsed[length as usize];
            let longer_ones = if longer > 0 { longer as f64 * of(each + 1) } else { 0.0 };
            (series - 1) as f64 * reset + longer_ones + (series - longer) as f64 * of(each)
        })
        .fold(f64::INFINITY, f64::min)
}

/// Seconds from the first to the last of 0, 1, 2 … restarts of one series, with delays as short as jitter makes them.
fn elapsed_in_series(policy: &RestartPolicy, longest: u64) -> Vec<f64> {
    let shortest = 1.0 - policy.jitter;
    let cap = policy.backoff_max.as_secs_f64();
    let mut delay = policy.backoff_min.as_secs_f64();
    let mut total = 0.0;
    let mut elapsed = vec![0.0, 0.0];
    for _ in 1..longest {
        total += delay.min(cap) * shortest;
        elapsed.push(total);
        delay = (delay * policy.backoff_factor).min(cap);
    }
    elapsed
}

/// The least time in which the members of a group, whose rules these are, could be restarted once more often than
/// `intensity` allows; `None` where that is no matter of time. Never more than it truly is: each is taken for as fast as
/// the fastest of them.
pub(super) fn least_period_of_group(
    members: &[&RestartPolicy],
    intensity: u32,
) -> Option<Duration> {
    let restarted = || members.iter().filter(|policy| policy.class != RestartClass::Temporary);
    let share = (u64::from(intensity) + 1).div_ceil(restarted().count().max(1) as u64);
    let fastest = restarted().map(|policy| match policy.on_give_up {
        GiveUp::Retry => fastest_restarts(policy, share, u64::MAX),
        GiveUp::Park | GiveUp::Escalate => {
            let series_length = u64::from(policy.max_consecutive_failures);
            // given up at its first failure: no restart is ever counted
            if series_length == 0 { 0.0 } else { fastest_restarts(policy, share, series_length) }
        }
    });
    let seconds = fastest
        .fold(None, |least: Option<f64>, one| Some(least.map_or(one, |least| least.min(one))))?;
    Some(Duration::try_from_secs_f64(seconds.ceil()).unwrap_or(Duration::MAX))
}

/// The shortest period that this policy's window could be full in, for the message about one that is too short.
pub(super) fn least_period(policy: &RestartPolicy) -> Duration {
    let series_length = match policy.on_give_up {
        GiveUp::Retry => u64::MAX,
        GiveUp::Park | GiveUp::Escalate => u64::from(policy.max_consecutive_failures).max(1),
    };
    let seconds = fastest_restarts(policy, u64::from(policy.window_max) + 1, series_length);
    Duration::try_from_secs_f64(seconds.ceil()).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy() -> RestartPolicy {
        RestartPolicy { jitter: 0.0, ..RestartPolicy::default() }
    }

    #[test]
    fn the_default_window_can_fill() {
        assert!(can_ever_fill(&RestartPolicy::default()));
    }

    #[test]
    fn a_window_shorter_than_its_delays_guards_nothing() {
        // without end of a series, 4 restarts lie 10 + 10 + 10 s apart, or 3 x reset_after
        let mut policy = RestartPolicy {
            window_max: 3,
            window_period: Duration::from_secs(29),
            backoff_min: Duration::from_secs(10),
            backoff_factor: 1.0,
            backoff_max: Duration::from_secs(10),
            reset_after: Duration::from_secs(60),
            ..policy()
        };
        assert!(!can_ever_fill(&policy));
        assert_eq!(least_period(&policy), Duration::from_secs(30));
        policy.window_period = Duration::from_secs(30);
        assert!(can_ever_fill(&policy));
        policy.window_period = Duration::from_secs(29);
        policy.jitter = 0.2;
        assert!(can_ever_fill(&policy), "jitter may shorten the delays");
        policy.jitter = 0.0;
        policy.reset_after = Duration::from_secs(1);
        assert!(can_ever_fill(&policy), "short readiness between crashes needs 3 s");
        policy.class = RestartClass::Temporary;
        policy.window_period = Duration::from_millis(1);
        assert!(can_ever_fill(&policy), "nothing is restarted");
    }

    #[test]
    fn the_end_of_a_series_counts() {
        // series of 2 at once, then a readiness of 100 s: 4 restarts need 0 + 100 + 0 s
        let policy = RestartPolicy {
            window_max: 3,
            window_period: Duration::from_secs(99),
            max_consecutive_failures: 2,
            backoff_min: Duration::ZERO,
            backoff_max: Duration::ZERO,
            reset_after: Duration::from_secs(100),
            ..policy()
        };
        assert!(!can_ever_fill(&policy));
        assert!(can_ever_fill(&RestartPolicy { on_give_up: GiveUp::Retry, ..policy }));
    }

    proptest! {
        /// The fastest way found by trying every choice of "delay or new series" before each restart.
        #[test]
        fn the_even_spread_is_the_fastest(
            window_max in 1u32..8, failures in 1u32..6, min in 0u64..5000, factor in 1.0f64..4.0,
            reset in 0u64..20_000,
        ) {
            let policy = RestartPolicy {
                window_max,
                max_consecutive_failures: failures,
                backoff_min: Duration::from_millis(min),
                backoff_factor: factor,
                backoff_max: Duration::from_secs(8),
                reset_after: Duration::from_millis(reset),
                ..policy()
            };
            fn search(policy: &RestartPolicy, left: u32, in_series: u32, delay: f64) -> f64 {
                if left == 0 {
                    return 0.0;
                }
                let min = policy.backoff_min.as_secs_f64();
                let anew = policy.reset_after.as_secs_f64() + search(policy, left - 1, 1, min);
                if in_series >= policy.max_consecutive_failures {
                    return anew;
                }
                let cap = policy.backoff_max.as_secs_f64();
                let next = (delay * policy.backoff_factor).min(cap);
                anew.min(delay.min(cap) + search(policy, left - 1, in_series + 1, next))
            }
            let least = search(&policy, window_max, 1, policy.backoff_min.as_secs_f64());
            let computed = fastest_restarts(&policy, u64::from(window_max) + 1, u64::from(failures));
            prop_assert!((least - computed).abs() < 1e-6, "{least} {computed}");
        }
    }
}
