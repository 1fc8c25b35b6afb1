//! The service's own log: tracing events become lines on stderr, as the Python service wrote them, or JSON.
//!
//! One event is one line, whatever a backend puts into it. A stderr that is closed, full or stalled neither ends nor
//! delays the service: lines are queued up to a bound, written by a thread of their own, dropped and counted beyond it.

pub mod escape;
pub mod layer;
pub mod pattern;
pub mod record;
pub mod service_log;
pub mod sink;

use std::io;
use std::path::PathBuf;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::limits;
use crate::settings::model::{LogForm, LogLevel, LoggingSettings};
use layer::{LineStyle, LogLayer};
use pattern::{Pattern, PatternError};
use sink::{RawStderr, Sink};

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Stderr, whatever that is.
    Stderr,
    /// Stderr that was led to this file; it is renewed when it is full.
    ServiceLog(PathBuf),
}

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The configured pattern.
    #[error("logging.format: {0}")]
    Pattern(#[from] PatternError),
    /// No thread for the writer.
    #[error("cannot start the log writer: {0}")]
    Writer(#[from] io::Error),
    /// The program has a tracing subscriber already.
    #[error("a log is open already in this process")]
    Taken,
}

/// The open log. Dropping it waits for its last lines, [`limits::SERVICE_LOG_FLUSH`] at most.
#[derive(Debug)]
pub struct Telemetry {
    sink: Sink,
    level: LevelSwitch,
}

/// Changes the level while the service runs.
#[derive(Debug, Clone)]
pub struct LevelSwitch(reload::Handle<Targets, Registry>);

impl LevelSwitch {
    /// From now on nothing below `level` is written.
    pub fn set(&self, level: LogLevel) {
        // fails only when the log is gone, and then there is nothing to set
        let _ = self.0.reload(targets(level));
    }
}

impl Telemetry {
    /// Opens the log of this process; panics are logged from then on, too.
    ///
    /// # Errors
    /// [`TelemetryError`]; nothing was changed then.
    pub fn install(
        settings: &LoggingSettings,
        destination: Destination,
    ) -> Result<Self, TelemetryError> {
        let style = match settings.form {
            LogForm::Json => LineStyle::Json,
            LogForm::Text => LineStyle::Text {
                pattern: Pattern::parse(&settings.format)?,
                date_format: settings.date_format.clone(),
            },
        };
        let sink = match destination {
            Destination::Stderr => Sink::start(RawStderr)?,
            Destination::ServiceLog(path) => Sink::start(service_log::ServiceLog::new(path))?,
        };
        let (filter, handle) = reload::Layer::new(targets(settings.level));
        let layer = LogLayer::new(style, sink.clone()).with_filter(filter);
        tracing::subscriber::set_global_default(Registry::default().with(layer))
            .map_err(|_| TelemetryError::Taken)?;
        log_panics();
        Ok(Self { sink, level: LevelSwitch(handle) })
    }

    /// A handle that changes the level.
    pub fn level_switch(&self) -> LevelSwitch {
        self.level.clone()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.sink.flush(limits::SERVICE_LOG_FLUSH);
    }
}

/// Symphony and its backends at the configured level; other libraries only where they warn.
fn targets(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // a target counts for all that begin with it: `symphony-backend` is one of them
    Targets::new().with_target("symphony", own).with_default(own.min(LevelFilter::WARN))
}

/// A panic is a line of the log like any other, and never blocks on stderr.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(
            place,
            thread = thread.name().unwrap_or("unnamed"),
            "panic: {}",
            panic.payload_as_str().unwrap_or("without a text")
        );
    }));
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn other_libraries_are_heard_only_when_they_warn() {
        let debug = targets(LogLevel::Debug);
        assert!(debug.would_enable("symphony::instance", &Level::DEBUG));
        assert!(debug.would_enable(record::BACKEND_TARGET, &Level::DEBUG));
        assert!(!debug.would_enable("hyper", &Level::INFO));
        assert!(debug.would_enable("hyper", &Level::WARN));
        let error = targets(LogLevel::Error);
        assert!(!error.would_enable("symphony", &Level::WARN));
        assert!(!error.would_enable("hyper", &Level::WARN));
    }
}
