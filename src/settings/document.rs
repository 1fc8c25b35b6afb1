//! A configuration file as a tree of values, before anything is known about their meaning.

use std::cell::RefCell;
use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::error::SettingsError;
use super::fault::Faults;
use super::path::KeyPath;
use crate::limits;

/// How strictly unknown keys are taken.
///
/// A file is in the *seed form* when it is JSON, has no `service` section and every backend in it is the name of a
/// script: the files of the Python service. Everything else is in the *extended form*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Unknown keys of the seed's own tables are ignored with a warning; `endpoints` and `model_backends` are required.
    Seed,
    /// Unknown keys are faults; everything has a default.
    Extended,
}

/// A parsed file.
#[derive(Debug)]
pub(super) struct Document {
    /// Its values; `null` counts as absent and is gone.
    pub values: Value,
    /// Its form.
    pub form: Form,
}

/// Reads and parses a file.
///
/// # Errors
/// What keeps it from being read as JSON or TOML at all. Keys that stand twice go to `faults`.
pub(super) fn read(path: &Path, faults: &mut Faults) -> Result<Document, SettingsError> {
    parse(path, &read_bounded(path)?, faults)
}

/// Parses the bytes of a file; its name tells the language, else its first character.
///
/// # Errors
/// As [`read`].
pub(super) fn parse(
    path: &Path,
    bytes: &[u8],
    faults: &mut Faults,
) -> Result<Document, SettingsError> {
    let is_toml = match path.extension().and_then(|extension| extension.to_str()) {
        Some(extension) if extension.eq_ignore_ascii_case("toml") => true,
        Some(extension) if extension.eq_ignore_ascii_case("json") => false,
        _ => bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{'),
    };
    let parsed = if is_toml { parse_toml(bytes) } else { parse_json(bytes, faults) };
    parsed.map_err(|error| error.in_file(path))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, SettingsError> {
    let unreadable = |reason: String| SettingsError::Unreadable { path: path.to_owned(), reason };
    let not_readable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            SettingsError::NotFound { path: path.to_owned() }
        }
        _ => unreadable(error.to_string()),
    };
    // asked before opening: to open a pipe without a writer would wait for ever
    if !path.metadata().map_err(not_readable)?.is_file() {
        return Err(unreadable("it is not a regular file".into()));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(not_readable)?;
    file.take(limits::CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(not_readable)?;
    if bytes.len() as u64 > limits::CONFIG_BYTES {
        return Err(SettingsError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Parses a JSON file.
///
/// # Errors
/// [`SettingsError::InvalidJson`].
pub(super) fn parse_json(bytes: &[u8], faults: &mut Faults) -> Result<Document, SettingsError> {
    let invalid = |detail: String| SettingsError::InvalidJson { detail };
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = utf8(bytes).map_err(invalid)?;
    let twice = RefCell::new(Vec::new());
    let mut parser = serde_json::Deserializer::from_str(text);
    let values = JsonSeed { here: Trail::Root, twice: &twice }
        .deserialize(&mut parser)
        .and_then(|values| parser.end().map(|()| values))
        .map_err(|error| invalid(error.to_string()))?;
    for path in twice.into_inner() {
        faults.push(path, "this key stands here twice");
    }
    let values = normalised(values);
    Ok(Document { form: form_of_json(&values), values })
}

/// Parses a TOML file.
///
/// # Errors
/// [`SettingsError::InvalidToml`].
pub(super) fn parse_toml(bytes: &[u8]) -> Result<Document, SettingsError> {
    let invalid = |detail: String| SettingsError::InvalidToml { detail };
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = utf8(bytes).map_err(invalid)?;
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let line =
            error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        let message = error.message().replace('\n', ", ");
        invalid(line.map_or_else(|| message.clone(), |line| format!("line {line}: {message}")))
    })?;
    let values = normalised(from_toml(toml::Value::Table(table)));
    Ok(Document { form: Form::Extended, values })
}

/// The bytes as text, or where they are none.
fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("line {line}: is not UTF-8")
    })
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn form_of_json(values: &Value) -> Form {
    let backends = values.get("model_backends").and_then(Value::as_object);
    let only_scripts = backends.is_none_or(|table| !table.values().any(Value::is_object));
    if values.get("service").is_none() && only_scripts { Form::Seed } else { Form::Extended }
}

/// A TOML value as JSON. Dates, and numbers that JSON does not have, become text: no key takes them, and the fault
/// shows what was written.
pub(super) fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => Number::from_f64(number)
            .map_or_else(|| Value::String(number.to_string()), Value::Number),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(elements) => elements.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(key, value)| (key, from_toml(value))).collect()
        }
    }
}

/// Takes out keys with `null`, and writes `5.0` as `5`: to a person both are the same number.
fn normalised(value: Value) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Object(table) => table
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, normalised(value)))
            .collect(),
        Value::Array(elements) => elements.into_iter().map(normalised).collect(),
        Value::Number(number) if number.is_f64() => match number.as_f64() {
            Some(whole) if whole.fract() == 0.0 && whole.abs() < EXACT => (whole as i64).into(),
            _ => Value::Number(number),
        },
        other => other,
    }
}

/// Reads JSON as `Value` does, and remembers keys that stand twice in one object; the last one counts.
struct JsonSeed<'a> {
    here: Trail<'a>,
    twice: &'a RefCell<Vec<KeyPath>>,
}

/// The way to a value, built on the stack: a path is made of it only when there is something to tell.
enum Trail<'a> {
    Root,
    Key(&'a Trail<'a>, &'a str),
    Index(&'a Trail<'a>, usize),
}

impl Trail<'_> {
    fn path(&self) -> KeyPath {
        match self {
            Self::Root => KeyPath::root(),
            Self::Key(parent, key) => parent.path().key(*key),
            Self::Index(parent, index) => parent.path().index(*index),
        }
    }
}

impl<'de> DeserializeSeed<'de> for JsonSeed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        loop {
            let here = Trail::Index(&self.here, array.len());
            match elements.next_element_seed(JsonSeed { here, twice: self.twice })? {
                Some(element) => array.push(element),
                None => return Ok(Value::Array(array)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let here = Trail::Key(&self.here, &key);
            let value = entries.next_value_seed(JsonSeed { here, twice: self.twice })?;
            let mut twice = self.twice.borrow_mut();
            if table.contains_key(&key) && twice.len() < limits::CONFIG_FAULTS {
                twice.push(Trail::Key(&self.here, &key).path());
            }
            table.insert(key, value);
        }
        Ok(Value::Object(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_that_stand_twice_are_found_wherever_they_are() {
        let mut faults = Faults::default();
        let text = br#"{"a": [{"b": 1, "b": 2}], "c": null, "d": 3.0}"#;
        let document = parse_json(text, &mut faults).expect("is JSON");
        assert_eq!(document.values, serde_json::json!({"a": [{"b": 2}], "d": 3}));
        let (faults, _) = faults.into_parts();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].0.to_string(), "a[0].b");
    }

    #[test]
    fn a_thousand_levels_are_an_error_and_no_overflow() {
        let deep = "[".repeat(100_000);
        assert!(parse_json(deep.as_bytes(), &mut Faults::default()).is_err());
        assert!(parse_toml(format!("a = {deep}").as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_are_an_error_or_a_value(bytes: Vec<u8>) {
            let _ = parse_toml(&bytes);
            let ours = parse_json(&bytes, &mut Faults::default()).is_ok();
            prop_assert_eq!(ours, serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }
}
