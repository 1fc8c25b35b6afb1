//! The words of the `logging` section and of the flags for it.

use std::fmt;
use std::str::FromStr;

use super::fault::hint;
use super::model::{LogForm, LogLevel, LoggingSettings};
use super::path::shown;

/// Name of the format of log levels in the schema.
pub(super) const LEVEL_FORMAT: &str = "symphony-log-level";
/// Name of the format of log forms in the schema.
pub(super) const FORM_FORMAT: &str = "symphony-log-form";

const LEVELS: [&str; 4] = ["DEBUG", "INFO", "WARNING", "ERROR"];

impl FromStr for LogLevel {
    type Err = String;

    /// Reads a level in any case. `WARN` is `WARNING`; Python's `CRITICAL` and `FATAL` count as `ERROR`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_uppercase().as_str() {
            "DEBUG" => Ok(Self::Debug),
            "INFO" => Ok(Self::Info),
            "WARNING" | "WARN" => Ok(Self::Warning),
            "ERROR" | "CRITICAL" | "FATAL" => Ok(Self::Error),
            _ => Err(format!(
                "'{}' is no log level; it is one of {}{}",
                shown(text),
                LEVELS.join(", "),
                hint(text, LEVELS)
            )),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        })
    }
}

impl FromStr for LogForm {
    type Err = String;

    /// Reads `text` or `json`, in any case.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("'{}' is no log form; it is one of text, json", shown(text))),
        }
    }
}

impl fmt::Display for LogForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl Default for LoggingSettings {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            form: LogForm::Text,
            format: "%(asctime)s [%(levelname)8s] %(name)s: %(message)s".into(),
            date_format: "%Y-%m-%d %H:%M:%S".into(),
        }
    }
}
