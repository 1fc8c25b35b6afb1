//! Medians, percentiles and the machine's monotonic clock.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The monotonic clock that all processes of the machine share, unlike `symphony::clock`.
pub fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).expect("the clock began at zero");
    Duration::new(seconds, u32::try_from(now.tv_nsec).expect("less than a second"))
}

/// The span since `earlier`.
pub fn since(earlier: Duration) -> Duration {
    monotonic().saturating_sub(earlier)
}

/// The middle value.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values, 50.0)
}

/// The smallest value that is not below so many percent of all (nearest rank).
pub fn percentile(values: impl IntoIterator<Item = f64>, percent: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// In microseconds.
pub fn microseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// In milliseconds.
pub fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
