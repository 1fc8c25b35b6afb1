//! Python `logging` patterns: `%(asctime)s [%(levelname)8s] %(name)s: %(message)s`.
//!
//! A configuration file of the Python service is valid here, so its log lines keep their look.

use super::record::LogRecord;
use crate::limits;

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A name that log records do not have.
    #[error("unknown log field '{0}'")]
    UnknownField(String),
    /// `%` without a field and a conversion after it; `%%` is a plain per cent sign.
    #[error("'%' at byte {0} begins no field: write '%(name)s', or '%%' for the sign itself")]
    Malformed(usize),
    /// A conversion that the field does not allow, such as `%(message)d`.
    #[error("log field '{field}' cannot be written as '%{conversion}'")]
    Conversion {
        /// The field.
        field: String,
        /// The letter.
        conversion: char,
    },
    /// Wider than a log line could use.
    #[error("a log field is at most {} characters wide", limits::LOG_FIELD_WIDTH)]
    TooWide,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field, Spec),
}

/// A field of a log record, by its name in Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Asctime,
    Created,
    FileName,
    FuncName,
    LevelName,
    LevelNo,
    LineNo,
    Message,
    Module,
    Msecs,
    Name,
    PathName,
    Process,
    ProcessName,
    RelativeCreated,
    Thread,
    ThreadName,
}

const FIELDS: [(&str, Field); 17] = [
    ("asctime", Field::Asctime),
    ("created", Field::Created),
    ("filename", Field::FileName),
    ("funcName", Field::FuncName),
    ("levelname", Field::LevelName),
    ("levelno", Field::LevelNo),
    ("lineno", Field::LineNo),
    ("message", Field::Message),
    ("module", Field::Module),
    ("msecs", Field::Msecs),
    ("name", Field::Name),
    ("pathname", Field::PathName),
    ("process", Field::Process),
    ("processName", Field::ProcessName),
    ("relativeCreated", Field::RelativeCreated),
    ("thread", Field::Thread),
    ("threadName", Field::ThreadName),
];

impl Field {
    fn is_number(self) -> bool {
        matches!(
            self,
            Field::Created
                | Field::LevelNo
                | Field::LineNo
                | Field::Msecs
                | Field::Process
                | Field::RelativeCreated
                | Field::Thread
        )
    }
}

/// How a field is written: what stands between its name and its letter, and the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Spec {
    left: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Form {
    #[default]
    Text,
    Integer,
    Float,
}

/// A field's value before it is laid out.
enum Value<'a> {
    Text(std::borrow::Cow<'a, str>),
    Number(f64),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`], for what Python would refuse when the first line is logged.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            push_text(&mut pieces, &rest[..at]);
            let offset = text.len() - rest.len() + at;
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                push_text(&mut pieces, "%");
                rest = after;
                continue;
            }
            let (name, after) = rest
                .strip_prefix('(')
                .and_then(|inner| inner.split_once(')'))
                .ok_or(PatternError::Malformed(offset))?;
            let field = FIELDS
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, field)| *field)
                .ok_or_else(|| PatternError::UnknownField(name.to_owned()))?;
            let (spec, after) = Spec::parse(field, name, after, offset)?;
            pieces.push(Piece::Field(field, spec));
            rest = after;
        }
        push_text(&mut pieces, rest);
        Ok(Self { pieces })
    }

    /// One line for a record.
    pub fn render(&self, record: &LogRecord<'_>) -> String {
        let mut line = String::with_capacity(record.message.len() + 64);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Field(field, spec) => spec.write(value(*field, record), &mut line),
            }
        }
        line
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        _ if text.is_empty() => {}
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

impl Spec {
    /// Reads flags, width, precision and letter; answers what follows them.
    fn parse<'t>(
        field: Field,
        name: &str,
        text: &'t str,
        offset: usize,
    ) -> Result<(Self, &'t str), PatternError> {
        let mut spec = Spec::default();
        let flags_end =
            text.find(|c: char| !"-+ #0".contains(c)).ok_or(PatternError::Malformed(offset))?;
        spec.left = text[..flags_end].contains('-');
        spec.zeros = text[..flags_end].contains('0') && !spec.left;
        let (width, mut rest) = number(&text[flags_end..])?;
        spec.width = width.unwrap_or(0);
        if let Some(after) = rest.strip_prefix('.') {
            let (precision, after) = number(after)?;
            spec.precision = Some(precision.unwrap_or(0));
            rest = after;
        }
        let mut letters = rest.chars();
        let letter = letters.next().ok_or(PatternError::Malformed(offset))?;
        spec.form = match letter {
            's' | 'r' | 'a' => Form::Text,
            'd' | 'i' | 'u' if field.is_number() => Form::Integer,
            'f' | 'F' if field.is_number() => Form::Float,
            _ => {
                return Err(PatternError::Conversion {
                    field: name.to_owned(),
                    conversion: letter,
                });
            }
        };
        Ok((spec, letters.as_str()))
    }

    fn write(&self, value: Value<'_>, line: &mut String) {
        let text = match (value, self.form) {
            (Value::Text(text), _) => match self.precision {
                Some(most) => text.chars().take(most).collect(),
                None => text.into_owned(),
            },
            (Value::Number(number), Form::Float) => {
                format!("{number:.*}", self.precision.unwrap_or(6))
            }
            (Value::Number(number), _) => format!("{number:.0}", number = number.trunc()),
        };
        let padding = self.width.saturating_sub(text.chars().count());
        if self.left {
            line.push_str(&text);
            line.extend(std::iter::repeat_n(' ', padding));
        } else {
            let filler = if self.zeros && self.form != Form::Text { '0' } else { ' ' };
            line.extend(std::iter::repeat_n(filler, padding));
            line.push_str(&text);
        }
    }
}

/// Leading decimal digits and what follows them.
fn number(text: &str) -> Result<(Option<usize>, &str), PatternError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Ok((None, text));
    }
    let number = text[..end].parse().ok().filter(|width| *width <= limits::LOG_FIELD_WIDTH);
    Ok((Some(number.ok_or(PatternError::TooWide)?), &text[end..]))
}

fn value<'r>(field: Field, record: &'r LogRecord<'_>) -> Value<'r> {
    let file = record.file.unwrap_or("(unknown file)");
    let base = file.rsplit('/').next().unwrap_or(file);
    match field {
        Field::Asctime => Value::Text(record.asctime.as_str().into()),
        Field::Created => Value::Number(record.created),
        Field::FileName => Value::Text(base.into()),
        // what Python writes where it does not know the function; tracing never knows it
        Field::FuncName => Value::Text("(unknown function)".into()),
        Field::LevelName => Value::Text(record.level.name().into()),
        Field::LevelNo => Value::Number(record.level.number()),
        Field::LineNo => Value::Number(f64::from(record.line.unwrap_or(0))),
        Field::Message => Value::Text(record.message.as_str().into()),
        Field::Module => Value::Text(base.trim_end_matches(".rs").into()),
        Field::Msecs => Value::Number((record.created.fract() * 1000.0).floor()),
        Field::Name => Value::Text(record.name.into()),
        Field::PathName => Value::Text(file.into()),
        Field::Process => Value::Number(f64::from(record.process)),
        Field::ProcessName => Value::Text("MainProcess".into()),
        Field::RelativeCreated => Value::Number(record.since_start_ms),
        Field::Thread => Value::Number(record.thread_number as f64),
        Field::ThreadName => Value::Text(record.thread.as_str().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::model::LoggingSettings;
    use crate::telemetry::record::Level;

    fn record() -> LogRecord<'static> {
        LogRecord {
            level: Level::Info,
            name: "symphony-mgmt",
            target: "symphony::app",
            message: "ready".into(),
            fields: Vec::new(),
            asctime: "2025-01-02 03:04:05".into(),
            created: 1_735_787_045.25,
            since_start_ms: 1500.5,
            file: Some("src/app.rs"),
            line: Some(7),
            process: 42,
            thread: "main".into(),
            thread_number: 1,
        }
    }

    fn render(pattern: &str) -> String {
        Pattern::parse(pattern).expect("valid").render(&record())
    }

    #[test]
    fn the_pattern_of_the_contract() {
        assert_eq!(
            render(&LoggingSettings::default().format),
            "2025-01-02 03:04:05 [    INFO] symphony-mgmt: ready"
        );
    }

    #[test]
    fn widths_pad_and_precisions_cut() {
        assert_eq!(render("%(levelname)-8s|"), "INFO    |");
        assert_eq!(render("%(name).4s %(levelname).1s"), "symp I");
        assert_eq!(render("%(levelno)05d %(process)d %(msecs)03d"), "00020 42 250");
        assert_eq!(render("%(relativeCreated).1f %(created)f"), "1500.5 1735787045.250000");
    }

    #[test]
    fn places_in_the_code_and_plain_signs() {
        assert_eq!(render("100%% %(filename)s:%(lineno)d %(module)s"), "100% app.rs:7 app");
        assert_eq!(render("no fields"), "no fields");
        assert_eq!(render(""), "");
    }

    #[test]
    fn what_python_refuses_is_refused() {
        let error = |text| Pattern::parse(text).expect_err("invalid");
        assert_eq!(error("%(nope)s"), PatternError::UnknownField("nope".into()));
        assert_eq!(error("50% done"), PatternError::Malformed(2));
        assert_eq!(error("%(message"), PatternError::Malformed(0));
        assert_eq!(error("%(message)"), PatternError::Malformed(0));
        assert!(matches!(error("%(message)d"), PatternError::Conversion { .. }));
        assert_eq!(error("%(message)999999999999999999999s"), PatternError::TooWide);
    }
}
