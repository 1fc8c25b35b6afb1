//! The parameters of a command. Pure.
//!
//! They are read into small values of known kinds: a parameter that no command knows, a list or an object is skipped
//! without being kept, whatever its size or depth.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::command::{CommandError, once};

/// The value of a parameter, as far as any command can use it.
#[derive(Debug)]
enum Argument {
    /// How a Python client writes "not given".
    Null,
    Flag(bool),
    Number(u64),
    Text(String),
    /// Nothing that a command takes.
    Other,
}

macro_rules! params {
    ($($name:ident $key:ident,)*) => {
        /// The parameters of all commands; others are ignored, as they always were.
        #[derive(Debug, Default)]
        pub(super) struct Params {
            $($name: Option<Argument>,)*
        }

        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "snake_case")]
        enum Key {
            $($key,)*
            #[serde(other)]
            Other,
        }

        impl Params {
            fn place(&mut self, key: Key) -> Option<(&'static str, &mut Option<Argument>)> {
                match key {
                    $(Key::$key => Some((stringify!($name), &mut self.$name)),)*
                    Key::Other => None,
                }
            }
        }
    };
}

params! {
    model_name ModelName,
    config_path ConfigPath,
    wait Wait,
    all All,
    lines Lines,
    after_offset AfterOffset,
    since Since,
    limit Limit,
    actor Actor,
    binary Binary,
    again Again,
}

impl Params {
    pub(super) fn model_name(&mut self) -> Result<String, CommandError> {
        match self.model_name.take() {
            Some(Argument::Text(name)) if !name.is_empty() => Ok(name),
            _ => Err(CommandError::ModelNameRequired),
        }
    }

    pub(super) fn actor(&mut self) -> Result<String, CommandError> {
        match self.actor.take() {
            Some(Argument::Text(name)) if !name.is_empty() => Ok(name),
            _ => Err(CommandError::ActorRequired),
        }
    }

    /// `None`: not given.
    pub(super) fn binary(&mut self) -> Result<Option<String>, CommandError> {
        match self.binary.take() {
            None | Some(Argument::Null) => Ok(None),
            Some(Argument::Text(path)) if !path.is_empty() => Ok(Some(path)),
            Some(_) => Err(CommandError::BadParameter { name: "binary", expected: "a path" }),
        }
    }

    pub(super) fn has_config_path(&self) -> bool {
        !matches!(self.config_path, None | Some(Argument::Null))
    }

    pub(super) fn wait(&self) -> Result<bool, CommandError> {
        flag("wait", self.wait.as_ref())
    }

    /// Whether it was asked before, of a service that handed the question over.
    pub(super) fn again(&self) -> Result<bool, CommandError> {
        flag("again", self.again.as_ref())
    }

    pub(super) fn all(&self) -> Result<bool, CommandError> {
        flag("all", self.all.as_ref())
    }

    pub(super) fn lines(&self) -> Result<Option<u64>, CommandError> {
        number("lines", self.lines.as_ref())
    }

    pub(super) fn after_offset(&self) -> Result<Option<u64>, CommandError> {
        number("after_offset", self.after_offset.as_ref())
    }

    pub(super) fn since(&self) -> Result<Option<u64>, CommandError> {
        number("since", self.since.as_ref())
    }

    pub(super) fn limit(&self) -> Result<Option<u64>, CommandError> {
        number("limit", self.limit.as_ref())
    }
}

fn flag(name: &'static str, value: Option<&Argument>) -> Result<bool, CommandError> {
    match value {
        None | Some(Argument::Null) => Ok(false),
        Some(Argument::Flag(flag)) => Ok(*flag),
        Some(_) => Err(CommandError::BadParameter { name, expected: "true or false" }),
    }
}

fn number(name: &'static str, value: Option<&Argument>) -> Result<Option<u64>, CommandError> {
    match value {
        None | Some(Argument::Null) => Ok(None),
        Some(Argument::Number(number)) => Ok(Some(*number)),
        Some(_) => Err(CommandError::BadParameter { name, expected: "a whole number, 0 or more" }),
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParamsVisitor)
    }
}

struct ParamsVisitor;

impl<'de> Visitor<'de> for ParamsVisitor {
    type Value = Params;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
        let mut params = Params::default();
        while let Some(key) = map.next_key()? {
            match params.place(key) {
                Some((name, place)) => once(name, place, map.next_value()?)?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(params)
    }
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ArgumentVisitor)
    }
}

struct ArgumentVisitor;

impl<'de> Visitor<'de> for ArgumentVisitor {
    type Value = Argument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Argument, E> {
        Ok(Argument::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Argument, E> {
        Ok(Argument::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Argument, E> {
        Ok(Argument::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Argument, E> {
        Ok(u64::try_from(number).map_or(Argument::Other, Argument::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Argument, E> {
        Ok(Argument::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Argument, E> {
        Ok(Argument::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Argument, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Argument::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Argument, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Argument::Other)
    }
}
