//! Values as they are typed: durations and endpoints.

use std::time::Duration;

use crate::limits;

/// A wait: `90`, `1.5` (seconds), `300ms`, `2m 30s`.
///
/// # Errors
/// A sentence for the user when it is no duration, zero, or longer than a year.
pub fn wait(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().map(Duration::try_from_secs_f64);
    let duration = match seconds {
        Some(seconds) => seconds.map_err(|_| "expected a positive number of seconds".to_owned())?,
        None => humantime::parse_duration(text)
            .map_err(|fault| format!("{fault} (write '300ms', '10s', '2m' or plain seconds)"))?,
    };
    match duration {
        Duration::ZERO => Err("expected more than zero".into()),
        long if long > limits::CLI_LONGEST_WAIT => Err("at most a year".into()),
        fits => Ok(fits),
    }
}

/// A ZeroMQ endpoint as a client may use it.
///
/// # Errors
/// A sentence that names the two forms.
pub fn endpoint(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("ipc://").or_else(|| text.strip_prefix("tcp://"));
    match address {
        Some(address) if !address.is_empty() && !address.contains(char::is_control) => {
            Ok(text.to_owned())
        }
        _ => Err("expected ipc:///path/to/socket or tcp://host:port".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_written_with_units_or_in_seconds() {
        assert_eq!(wait("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(wait("2m 30s"), Ok(Duration::from_secs(150)));
        assert_eq!(wait("5"), Ok(Duration::from_secs(5)));
        assert_eq!(wait("0.25"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn senseless_waits_are_refused() {
        for text in ["", "0", "0s", "-1", "nan", "inf", "1e300", "10 parsecs", "2000y"] {
            assert!(wait(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn endpoints_name_their_transport() {
        assert!(endpoint("ipc:///tmp/symphony-cli").is_ok());
        assert!(endpoint("tcp://127.0.0.1:5555").is_ok());
        for text in ["", "/tmp/x", "ipc://", "udp://x", "ipc:///tmp/a\nb"] {
            assert!(endpoint(text).is_err(), "{text:?}");
        }
    }
}
