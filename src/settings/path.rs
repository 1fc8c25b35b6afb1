//! Where a value stands in a configuration.

use std::fmt;

use serde_json::Value;

/// The way to a value: `supported_models[2].restart.class`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct KeyPath(Vec<Step>);

/// One step of a [`KeyPath`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Into a table.
    Key(String),
    /// Into an array.
    Index(usize),
}

impl KeyPath {
    /// The path of the whole configuration.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of these keys, one below the other.
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    /// The path of `key` in the table here.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.with(Step::Key(key.into()))
    }

    /// The path of element `index` in the array here.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The path of these keys, one below the other, from here.
    #[must_use]
    pub fn join(&self, keys: &[&str]) -> Self {
        keys.iter().fold(self.clone(), |path, key| path.key(*key))
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether `other` is this path or leads to something that holds it.
    pub fn starts_with(&self, other: &KeyPath) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The path of what holds the value here; `None` at the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    /// Translates a JSON pointer. Whether a number is a key or an index is told by `document`.
    pub fn from_pointer(pointer: &str, document: &Value) -> Self {
        let mut steps = Vec::new();
        let mut here = Some(document);
        for token in pointer.split('/').skip(1) {
            let key = token.replace("~1", "/").replace("~0", "~");
            let index = key.parse::<usize>().ok().filter(|_| here.is_some_and(Value::is_array));
            let step = index.map_or(Step::Key(key), Step::Index);
            here = here.and_then(|value| step.below(value));
            steps.push(step);
        }
        Self(steps)
    }

    /// The value at this place.
    pub fn get<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(document, |value, step| step.below(value))
    }

    /// The value at this place, to change.
    pub fn get_mut<'a>(&self, document: &'a mut Value) -> Option<&'a mut Value> {
        self.0.iter().try_fold(document, |value, step| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Index(index) => value.get_mut(index),
        })
    }
}

impl Step {
    fn below<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Key(key) => value.get(key),
            Self::Index(index) => value.get(index),
        }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("configuration");
        }
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(&shown_key(key))?;
                }
            }
        }
        Ok(())
    }
}

/// A key as it is written in TOML: bare where that is possible, else quoted, cut and escaped.
pub fn shown_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.len() <= SHOWN_CHARS && key.chars().all(bare) {
        return key.to_owned();
    }
    format!("\"{}\"", shown(key))
}

/// Text from outside as it may stand in a message: escaped, and cut where it is long.
pub fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_CHARS).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", cut.escape_debug())
}

/// Characters of a foreign text that a message shows: enough to find it, too few to flood a terminal.
const SHOWN_CHARS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_become_paths_by_what_they_lead_through() {
        let document = serde_json::json!({"a/b": [{"0": {"c~": 1}}]});
        let path = KeyPath::from_pointer("/a~1b/0/0/c~0", &document);
        assert_eq!(path.to_string(), "\"a/b\"[0].0.\"c~\"");
        assert_eq!(path.get(&document), Some(&Value::from(1)));
    }

    #[test]
    fn hostile_keys_are_escaped_and_cut() {
        let path = KeyPath::root().key("\u{1b}[31m").key("x".repeat(5000));
        let text = path.to_string();
        assert!(!text.contains('\u{1b}') && text.len() < 200, "{text}");
    }
}
