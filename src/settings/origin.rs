//! Where each value of a configuration comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::path::{KeyPath, Step};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable, by name.
    Variable(String),
    /// A flag of the command line, by name.
    Flag(&'static str),
    /// Found on the disk: the backend path.
    Found,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Found => f.write_str("found"),
        }
    }
}

/// The origins of all values of one configuration.
#[derive(Debug)]
pub(super) struct Origins {
    /// Of what stands in the document.
    document: Origin,
    /// Of what was laid over it.
    overlays: BTreeMap<KeyPath, Origin>,
}

impl Origins {
    /// Everything in the document comes from `document`.
    pub fn of_document(document: Origin) -> Self {
        Self { document, overlays: BTreeMap::new() }
    }

    /// Writes `value` over what stands at `path`, making tables on the way, and notes where it comes from.
    pub fn overlay(&mut self, values: &mut Value, path: &KeyPath, value: Value, origin: Origin) {
        if let Some(place) = table_entry(values, path) {
            *place = value;
            self.overlays.insert(path.clone(), origin);
        }
    }

    /// Where the value at `path` comes from, or the fault at it.
    pub fn of(&self, values: &Value, path: &KeyPath) -> Origin {
        let mut here = Some(path.clone());
        while let Some(path) = here {
            if let Some(origin) = self.overlays.get(&path) {
                return origin.clone();
            }
            here = path.parent();
        }
        if path.get(values).is_some() { self.document.clone() } else { Origin::Default }
    }
}

/// The place of a value, with tables made on the way where there is nothing yet. `None` where something else than a table
/// is in the way: that is a fault of its own, which must not be written over.
fn table_entry<'a>(values: &'a mut Value, path: &KeyPath) -> Option<&'a mut Value> {
    let mut here = values;
    for (depth, step) in path.steps().iter().enumerate() {
        here = match step {
            Step::Index(index) => here.get_mut(index)?,
            Step::Key(key) => {
                let is_backend = depth == 2 && path.starts_with(&KeyPath::of(&["model_backends"]));
                match here {
                    Value::Null => *here = json!({}),
                    // a backend that is only the name of a script
                    Value::String(script) if is_backend => *here = json!({ "script": script }),
                    _ => {}
                }
                here.as_object_mut()?.entry(key.as_str()).or_insert(Value::Null)
            }
        };
    }
    Some(here)
}
