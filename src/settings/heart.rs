//! `service.heart`: how the parent process of the service judges it.

use std::time::Duration;

use super::model::HeartSettings;
use super::raw::RawHeart;
use super::reader::Reader;

/// As long as the watchdog inside the service waits before it says that the thread of all actors stands still.
const WEDGE_TIMEOUT: Duration = Duration::from_secs(10);
/// A beat comes each second: a shorter patience would take a busy machine for a fault.
const LEAST_WEDGE_TIMEOUT: Duration = Duration::from_secs(2);
const RESTARTS: u32 = 5;
const PERIOD: Duration = Duration::from_secs(60);
/// A shorter window forgets a failure before its restart is over.
const LEAST_PERIOD: Duration = Duration::from_secs(1);
const ADOPTION_GRACE: Duration = Duration::from_secs(30);
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(60);
/// A service needs some time to get ready, however small it is.
const LEAST_UPGRADE_TIMEOUT: Duration = Duration::from_secs(1);

impl Default for HeartSettings {
    fn default() -> Self {
        Self {
            wedge_timeout: WEDGE_TIMEOUT,
            restarts: RESTARTS,
            period: PERIOD,
            adoption_grace: ADOPTION_GRACE,
            upgrade_timeout: UPGRADE_TIMEOUT,
        }
    }
}

/// Reads the table; `reader` is that of `service`.
pub(super) fn read(raw: &RawHeart, reader: &mut Reader<'_>) -> HeartSettings {
    let default = HeartSettings::default();
    let mut span = |least: Duration, key: &str, text, default: Duration| {
        reader.duration_from(least, &["heart", key], text).unwrap_or(default)
    };
    HeartSettings {
        wedge_timeout: span(
            LEAST_WEDGE_TIMEOUT,
            "wedge_timeout",
            raw.wedge_timeout.as_ref(),
            default.wedge_timeout,
        ),
        restarts: raw.restarts.unwrap_or(default.restarts),
        period: span(LEAST_PERIOD, "period", raw.period.as_ref(), default.period),
        adoption_grace: span(
            Duration::ZERO,
            "adoption_grace",
            raw.adoption_grace.as_ref(),
            default.adoption_grace,
        ),
        upgrade_timeout: span(
            LEAST_UPGRADE_TIMEOUT,
            "upgrade_timeout",
            raw.upgrade_timeout.as_ref(),
            default.upgrade_timeout,
        ),
    }
}
