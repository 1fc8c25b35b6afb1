//! Names of things: newtypes that cannot hold an invalid value.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits;

/// A model's name as users write it: not empty, at most [`limits::MODEL_NAME_BYTES`] long, without control characters.
///
/// It may hold anything else (slashes, spaces, dots), so it is never used as a path or a shell word;
/// [`InstanceId`] is made for that.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(std::sync::Arc<str>);

impl ModelName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`InvalidName`] when the text is empty, too long, or holds a control character.
    pub fn try_new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
        let text = text.as_ref();
        if text.trim().is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > limits::MODEL_NAME_BYTES {
            return Err(InvalidName::TooLong { bytes: text.len() });
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidName::ControlCharacter);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ModelName {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::try_new(text)
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> String {
        name.0.to_string()
    }
}

/// A group's name, under the same rules as a model's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupName(ModelName);

impl GroupName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// As [`ModelName::try_new`].
    pub fn try_new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
        ModelName::try_new(text).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no model name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing, or white space alone.
    #[error("the name is empty")]
    Empty,
    /// Longer than [`limits::MODEL_NAME_BYTES`].
    #[error("the name has {bytes} bytes, at most {} are allowed", limits::MODEL_NAME_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A line break, an escape, a NUL.
    #[error("the name holds a control character")]
    ControlCharacter,
    /// Of an id: anything but letters, digits, dots, dashes and underscores, or a dot or dash in front.
    #[error("the id holds a character that none has")]
    StrangeCharacter,
}

/// One supervised backend, over all its restarts.
///
/// Safe as a file name: a readable part of `[A-Za-z0-9._-]` and eight hex digits of the model's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(std::sync::Arc<str>);

impl TryFrom<String> for InstanceId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::recorded(&text)
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> String {
        id.0.to_string()
    }
}

impl InstanceId {
    /// The instance that serves `model`.
    pub fn of_model(model: &ModelName) -> Self {
        let readable: String = model
            .as_str()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
            .take(limits::INSTANCE_SLUG_CHARS)
            .collect();
        let readable = readable.trim_matches(|c| c == '.' || c == '-');
        // a hash that stays the same over releases: records of instances outlive the binary
        let digest = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, model.as_str().as_bytes());
        let (digest, ..) = digest.as_fields();
        Self(format!("{readable}-{digest:08x}").trim_start_matches('-').into())
    }

    /// An instance whose id was written down, in a file or in the environment of a process.
    ///
    /// # Errors
    /// [`InvalidName`] when no id looks like that: it might lead out of a folder.
    pub fn recorded(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > limits::INSTANCE_SLUG_CHARS + "-xxxxxxxx".len() {
            return Err(InvalidName::TooLong { bytes: text.len() });
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if text.starts_with(['.', '-']) || !text.chars().all(fits) {
            return Err(InvalidName::StrangeCharacter);
        }
        Ok(Self(text.into()))
    }

    /// The name of the file that its output goes to.
    pub fn log_name(&self) -> String {
        format!("{self}.log")
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which start of an instance: 1 for its first process, one more for each process after it.
///
/// What arrives with an older generation than the current one changes nothing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One process of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessKey {
    /// The instance it belongs to.
    pub instance: InstanceId,
    /// Which of its starts.
    pub generation: Generation,
}

impl fmt::Display for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.instance, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_never_become_a_path() {
        for name in ["../../etc/passwd", "a/b", "..", "$(reboot)", "ü", ".hidden", "--flag", "a b"]
        {
            let id = InstanceId::of_model(&ModelName::try_new(name).expect("valid"));
            let text = id.as_str();
            assert!(
                !text.contains('/') && !text.starts_with('.') && !text.starts_with('-'),
                "{text}"
            );
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)), "{text}");
            assert_eq!(InstanceId::recorded(text), Ok(id.clone()));
        }
        for text in ["", "../x", "a/b", ".hidden", "-x", "a b", "ü", &"x".repeat(100)] {
            assert!(InstanceId::recorded(text).is_err(), "{text}");
            assert!(serde_json::from_value::<InstanceId>(text.into()).is_err(), "{text}");
        }
    }

    #[test]
    fn different_names_with_the_same_readable_part_differ() {
        let id = |text| InstanceId::of_model(&ModelName::try_new(text).expect("valid"));
        assert_ne!(id("a/b"), id("a b"));
        assert_eq!(id("a/b"), id("a/b"));
    }

    #[test]
    fn control_characters_empty_and_endless_names_are_refused() {
        assert_eq!(ModelName::try_new(" "), Err(InvalidName::Empty));
        assert_eq!(ModelName::try_new("a\nb"), Err(InvalidName::ControlCharacter));
        assert!(ModelName::try_new("x".repeat(limits::MODEL_NAME_BYTES + 1)).is_err());
    }
}
