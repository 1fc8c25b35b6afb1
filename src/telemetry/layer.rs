//! The tracing layer: an event becomes one line in the sink's queue. Nothing here waits.

use std::process;

use jiff::Zoned;
use jiff::fmt::strtime::{BrokenDownTime, Config};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::pattern::Pattern;
use super::record::{Collector, LogRecord, name_of};
use super::sink::Sink;
use crate::clock::{Clock, Moment};

/// How a line is written.
#[derive(Debug, Clone)]
pub enum LineStyle {
    /// By a Python pattern.
    Text {
        /// The pattern.
        pattern: Pattern,
        /// `strftime` pattern of `%(asctime)s`; empty: Python's default with milliseconds.
        date_format: String,
    },
    /// One JSON object a line.
    Json,
}

/// Writes every event into a sink.
pub struct LogLayer {
    style: LineStyle,
    sink: Sink,
    clock: Clock,
    opened: Moment,
}

impl LogLayer {
    /// A layer that writes to `sink`.
    pub fn new(style: LineStyle, sink: Sink) -> Self {
        let clock = Clock::start();
        Self { style, sink, clock, opened: clock.now() }
    }

    fn line(&self, event: &Event<'_>) -> String {
        let metadata = event.metadata();
        let mut collector = Collector::default();
        event.record(&mut collector);
        let now = Zoned::now();
        let thread = std::thread::current();
        let mut record = LogRecord {
            level: (*metadata.level()).into(),
            name: name_of(metadata.target()),
            target: metadata.target(),
            message: String::new(),
            fields: Vec::new(),
            asctime: String::new(),
            created: now.timestamp().as_nanosecond() as f64 / 1e9,
            since_start_ms: self.clock.now().since(self.opened).as_secs_f64() * 1000.0,
            file: metadata.file(),
            line: metadata.line(),
            process: process::id(),
            thread: thread.name().unwrap_or("unnamed").to_owned(),
            thread_number: number_of(thread.id()),
        };
        match &self.style {
            LineStyle::Text { pattern, date_format } => {
                record.message = collector.into_line(metadata.target());
                record.asctime = asctime(&now, date_format);
                pattern.render(&record)
            }
            LineStyle::Json => {
                (record.message, record.fields) = collector.into_parts();
                record.to_json(&now.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string())
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        self.sink.write(self.line(event));
    }
}

/// Local time by a `strftime` pattern. What the pattern asks for in vain is left out: a log line is never lost to it.
fn asctime(now: &Zoned, date_format: &str) -> String {
    let format = if date_format.is_empty() { "%Y-%m-%d %H:%M:%S,%3f" } else { date_format };
    let config = Config::new().lenient(true);
    let mut text = String::new();
    match BrokenDownTime::from(now).format_with_config(&config, format, &mut text) {
        Ok(()) => super::escape::one_line(&text).into_owned(),
        Err(_) => now.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    }
}

/// Python's `%(thread)d` needs a number; std shows one in the debug form of the id only.
fn number_of(id: std::thread::ThreadId) -> u64 {
    let text = format!("{id:?}");
    text.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn moment() -> Zoned {
        "2025-01-02T03:04:05.678Z"
            .parse::<jiff::Timestamp>()
            .expect("a time")
            .to_zoned(TimeZone::UTC)
    }

    #[test]
    fn dates_follow_the_configuration() {
        assert_eq!(asctime(&moment(), "%Y-%m-%d %H:%M:%S"), "2025-01-02 03:04:05");
        assert_eq!(asctime(&moment(), "%d/%b %H:%M"), "02/Jan 03:04");
        assert_eq!(asctime(&moment(), ""), "2025-01-02 03:04:05,678");
    }

    #[test]
    fn a_strange_date_format_costs_no_line() {
        assert!(asctime(&moment(), "%Y %~ %!").starts_with("2025"));
        assert!(!asctime(&moment(), "a\nb").contains('\n'));
    }

    #[test]
    fn threads_have_numbers() {
        let here = number_of(std::thread::current().id());
        let there = std::thread::spawn(|| number_of(std::thread::current().id()));
        assert_ne!(here, there.join().expect("joined"));
        assert_ne!(here, 0);
    }
}
