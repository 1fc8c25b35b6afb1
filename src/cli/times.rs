//! Spans and moments as people read them.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

/// A span in its two largest units: `42s`, `3m 07s`, `5h 03m`, `2d 04h`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if minutes == 0 {
        format!("{seconds}s")
    } else if hours == 0 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else if days == 0 {
        format!("{hours}h {:02}m", minutes % 60)
    } else {
        format!("{days}d {:02}h", hours % 24)
    }
}

/// A moment given in seconds since 1970, in local time to the millisecond.
pub fn moment(seconds: f64) -> String {
    in_zone(seconds, TimeZone::system())
}

fn in_zone(seconds: f64, zone: TimeZone) -> String {
    // `as` saturates, and a service that tells nonsense gets it back as a number
    match Timestamp::from_millisecond((seconds * 1000.0).round() as i64) {
        Ok(time) => time.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        Err(_) => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_in_two_units() {
        let text = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(
            [text(0), text(59), text(187), text(18_180), text(187_200)],
            ["0s", "59s", "3m 07s", "5h 03m", "2d 04h"]
        );
    }

    #[test]
    fn moments_to_the_millisecond() {
        assert_eq!(in_zone(1_735_787_045.678, TimeZone::UTC), "2025-01-02 03:04:05.678");
        assert_eq!(in_zone(0.0, TimeZone::UTC), "1970-01-01 00:00:00.000");
    }

    #[test]
    fn nonsense_is_shown_as_it_is() {
        assert_eq!(in_zone(1e300, TimeZone::UTC), 1e300.to_string());
    }
}
