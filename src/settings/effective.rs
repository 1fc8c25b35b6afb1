//! The settings that count, with the origin of each value, for people and for JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::model::Settings;
use super::models::Backends;
use super::origin::{Origin, Origins};
use super::path::{KeyPath, Step};
use super::written::{backend, endpoints, group, insert, logging, merge, service_table};

/// The configuration that counts: every key with its value, also those that nobody set.
///
/// Written as text it is a TOML file that means the same, unless a model has no backend: only the seed form may say that.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The file it was read from; `None` for the built-in default.
    pub source: Option<PathBuf>,
    /// All values, in the form of a configuration file.
    pub document: Value,
    /// Where each value comes from.
    pub origins: BTreeMap<KeyPath, Origin>,
    /// Things worth telling.
    pub warnings: Vec<String>,
}

impl Effective {
    pub(super) fn of(
        settings: &Settings,
        backends: &Backends,
        given: &Origins,
        values: &Value,
    ) -> Self {
        let tables: BTreeMap<_, _> =
            backends.iter().map(|(name, spec)| (name.as_str(), backend(spec))).collect();
        let models: Value = settings.models.iter().map(|model| {
            let mut table = json!({ "name": model.name, "type": model.model_type, "autostart": model.autostart });
            insert(&mut table, "fullname", model.fullname.as_deref());
            insert(&mut table, "path", model.path.as_deref());
            if !model.after.is_empty() {
                insert(&mut table, "after", Some(json!(model.after)));
            }
            if let Some(spec) = &model.backend {
                let base = tables.get(model.model_type.as_str()).unwrap_or(&Value::Null);
                merge(&mut table, difference(&backend(spec), base));
            }
            table
        }).collect();
        let document = json!({
            "endpoints": endpoints(&settings.endpoints),
            "logging": logging(&settings.logging),
            "service": service_table(&settings.service),
            "model_backends": tables,
            "supported_models": models,
            "groups": settings.groups.iter().map(|spec| group(spec)).collect::<Value>(),
        });
        let mut origins = BTreeMap::new();
        collect(&document, &KeyPath::root(), &mut |at| {
            origins.insert(at.clone(), given.of(values, at));
        });
        let backend_path = KeyPath::of(&["service", "backend_path"]);
        if let Some(origin @ Origin::Default) = origins.get_mut(&backend_path) {
            *origin = Origin::Found;
        }
        Self {
            source: settings.source.clone(),
            document,
            origins,
            warnings: settings.warnings.clone(),
        }
    }

    /// `{"source", "configuration", "origins": {key: origin}, "warnings"}`.
    pub fn to_json(&self) -> Value {
        let origins: Map<String, Value> = self
            .origins
            .iter()
            .map(|(at, origin)| (at.to_string(), origin.to_string().into()))
            .collect();
        json!({
            "source": self.source,
            "configuration": self.document,
            "origins": origins,
            "warnings": self.warnings,
        })
    }

    /// A TOML file in which a comment behind each value tells its origin.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        match &self.source {
            Some(path) => line(&mut text, format_args!("# {}", path.display())),
            None => line(&mut text, format_args!("# no configuration file: the built-in default")),
        }
        self.write_table(&mut text, &KeyPath::root(), &self.document, "");
        // at the end, where a person's eye is after a long listing
        if !self.warnings.is_empty() {
            text.push('\n');
        }
        for warning in &self.warnings {
            // a line break would end the comment
            line(&mut text, format_args!("# warning: {}", warning.replace(['\n', '\r'], " ")));
        }
        text
    }

    fn write_table(&self, text: &mut String, at: &KeyPath, table: &Value, header: &str) {
        let entries = || table.as_object().into_iter().flatten();
        for (key, value) in entries().filter(|(key, value)| is_leaf(key, value)) {
            let at = at.key(key.as_str());
            let origin = self.origins.get(&at).unwrap_or(&Origin::Default);
            let origin = origin.to_string().escape_debug().to_string();
            line(text, format_args!("{} = {}  # {origin}", toml_key(key), inline(value)));
        }
        for (key, value) in entries().filter(|(key, value)| !is_leaf(key, value)) {
            let at = at.key(key.as_str());
            let dot = if header.is_empty() { "" } else { "." };
            let header = format!("{header}{dot}{}", toml_key(key));
            match value {
                Value::Array(elements) => {
                    for (index, element) in elements.iter().enumerate() {
                        line(text, format_args!("\n[[{header}]]"));
                        self.write_table(text, &at.index(index), element, &header);
                    }
                }
                table => {
                    let has_leaves = table
                        .as_object()
                        .into_iter()
                        .flatten()
                        .any(|(key, value)| is_leaf(key, value));
                    if has_leaves {
                        line(text, format_args!("\n[{header}]"));
                    }
                    self.write_table(text, &at, table, &header);
                }
            }
        }
    }
}

/// The entries of `table` that `base` does not have in the same way.
fn difference(table: &Value, base: &Value) -> Value {
    let mut different = Map::new();
    for (key, value) in table.as_object().into_iter().flatten() {
        match base.get(key) {
            Some(same) if same == value => {}
            Some(other) if !is_leaf(key, value) => {
                different.insert(key.clone(), difference(value, other));
            }
            _ => {
                different.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(different)
}

/// A value that is shown on one line and has one origin.
fn is_leaf(key: &str, value: &Value) -> bool {
    match value {
        Value::Object(_) => key == "ready",
        Value::Array(elements) => {
            !elements.iter().any(Value::is_object) && !["supported_models", "groups"].contains(&key)
        }
        _ => true,
    }
}

fn collect(value: &Value, at: &KeyPath, found: &mut impl FnMut(&KeyPath)) {
    let key = match at.steps().last() {
        Some(Step::Key(key)) => key.as_str(),
        _ => "",
    };
    match value {
        value if is_leaf(key, value) => found(at),
        Value::Object(table) => {
            table.iter().for_each(|(key, value)| collect(value, &at.key(key.as_str()), found));
        }
        Value::Array(elements) => {
            elements
                .iter()
                .enumerate()
                .for_each(|(index, value)| collect(value, &at.index(index), found));
        }
        _ => {}
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(content);
    debug_assert!(written.is_ok(), "writing to a string does not fail");
    text.push('\n');
}

fn toml_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { toml_text(key) }
}

/// A basic string of TOML: that of JSON, except that TOML wants DEL escaped.
fn toml_text(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => toml_text(text),
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Object(table) => {
            let entry =
                |(key, value): (&String, &Value)| format!("{} = {}", toml_key(key), inline(value));
            format!("{{ {} }}", table.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}
