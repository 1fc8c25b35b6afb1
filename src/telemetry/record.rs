//! One log event, ready to be written as text or JSON.

use std::fmt::{Debug, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};

use super::escape::{cut, one_line};
use crate::limits;

/// The target of backends' output lines; it is kept as the name of the line.
pub const BACKEND_TARGET: &str = "symphony-backend";
/// The name that the service itself logs under.
pub const SERVICE_NAME: &str = "symphony-mgmt";

/// One log event.
#[derive(Debug, Clone)]
pub struct LogRecord<'a> {
    /// How important it is.
    pub level: Level,
    /// Who says it.
    pub name: &'a str,
    /// The part of the code that says it.
    pub target: &'a str,
    /// One line.
    pub message: String,
    /// The structured fields, for JSON.
    pub fields: Vec<(&'static str, Value)>,
    /// Local time by the configured `date_format`.
    pub asctime: String,
    /// Seconds since 1970.
    pub created: f64,
    /// Milliseconds since the log was opened.
    pub since_start_ms: f64,
    /// Source file.
    pub file: Option<&'a str>,
    /// Line in it.
    pub line: Option<u32>,
    /// Process id.
    pub process: u32,
    /// Name of the thread.
    pub thread: String,
    /// A number of the thread, unique in the process.
    pub thread_number: u64,
}

/// The levels of Python's `logging` that a service uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `DEBUG`, and tracing's `TRACE`.
    Debug,
    /// `INFO`.
    Info,
    /// `WARNING`.
    Warning,
    /// `ERROR`.
    Error,
}

impl Level {
    /// The word in a log line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }

    /// Python's number.
    pub const fn number(self) -> f64 {
        match self {
            Self::Debug => 10.0,
            Self::Info => 20.0,
            Self::Warning => 30.0,
            Self::Error => 40.0,
        }
    }
}

impl From<tracing::Level> for Level {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warning,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Self::Debug,
        }
    }
}

/// The name that a tracing target logs under.
pub fn name_of(target: &str) -> &str {
    let crate_name = target.split("::").next().unwrap_or(target);
    if crate_name == "symphony" { SERVICE_NAME } else { crate_name }
}

impl LogRecord<'_> {
    /// One JSON object on one line.
    pub fn to_json(&self, timestamp: &str) -> String {
        let mut object = Map::new();
        object.insert("timestamp".into(), timestamp.into());
        object.insert("level".into(), self.level.name().into());
        object.insert("name".into(), self.name.into());
        object.insert("message".into(), self.message.as_str().into());
        object.insert("target".into(), self.target.into());
        object.insert("process".into(), self.process.into());
        if !self.fields.is_empty() {
            let fields = self.fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
            object.insert("fields".into(), Value::Object(fields.collect()));
        }
        Value::Object(object).to_string()
    }
}

/// Collects message and fields of a tracing event.
#[derive(Debug, Default)]
pub struct Collector {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Collector {
    /// Message and fields for JSON, where the fields stand apart.
    pub fn into_parts(self) -> (String, Vec<(&'static str, Value)>) {
        (cut(&self.message, limits::SERVICE_LOG_LINE_BYTES).into_owned(), self.fields)
    }

    /// One line: the message, then `key=value` for each field.
    ///
    /// A backend's own line stays as it is: it names the model itself.
    pub fn into_line(self, target: &str) -> String {
        let mut line = self.message;
        if target != BACKEND_TARGET {
            for (key, value) in &self.fields {
                let separator = if line.is_empty() { "" } else { " " };
                let _ = match value {
                    Value::String(text) if is_plain_word(text) => {
                        write!(line, "{separator}{key}={text}")
                    }
                    other => write!(line, "{separator}{key}={other}"),
                };
            }
        }
        cut(&one_line(&line), limits::SERVICE_LOG_LINE_BYTES).into_owned()
    }

    fn put(&mut self, field: &Field, value: Value) {
        match value {
            Value::String(text) if field.name() == "message" => self.message = text,
            // a field is a detail; one of them must not fill the line
            Value::String(text) => {
                let text = cut(&text, limits::SERVICE_LOG_LINE_BYTES / 4).into_owned();
                self.fields.push((field.name(), text.into()));
            }
            other => self.fields.push((field.name(), other)),
        }
    }
}

fn is_plain_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"' || c == '=')
}

impl Visit for Collector {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string().into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_and_its_backends_keep_their_names() {
        assert_eq!(name_of("symphony::instance::actor"), "symphony-mgmt");
        assert_eq!(name_of("symphony"), "symphony-mgmt");
        assert_eq!(name_of(BACKEND_TARGET), "symphony-backend");
        assert_eq!(name_of("hyper::client"), "hyper");
    }

    fn collector() -> Collector {
        Collector {
            message: "ended\nFAKE ERROR line".into(),
            fields: vec![("instance", "phi-1".into()), ("cause", "exit 3".into())],
        }
    }

    #[test]
    fn one_event_is_one_line_with_its_fields() {
        assert_eq!(
            collector().into_line("symphony::x"),
            "ended\\nFAKE ERROR line instance=phi-1 cause=\"exit 3\""
        );
        assert_eq!(collector().into_line(BACKEND_TARGET), "ended\\nFAKE ERROR line");
    }

    #[test]
    fn endless_messages_are_cut() {
        let long = Collector { message: "x".repeat(1 << 20), fields: Vec::new() };
        assert!(long.into_line("symphony").len() <= limits::SERVICE_LOG_LINE_BYTES + 3);
    }
}
