//! The JSON schema of the configuration, made from the raw types, and ways to walk through it.

use std::sync::LazyLock;

use jsonschema::Validator;
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Map, Value, json};

use super::logging::{FORM_FORMAT, LEVEL_FORMAT};
use super::model::{LogForm, LogLevel};
use super::quantity::{DURATION_FORMAT, SIZE_FORMAT, parse_duration, parse_size};
use super::raw::RawSettings;
use super::written::default_values;

/// The JSON schema (draft 2020-12) of a configuration file, with the defaults of its keys.
///
/// `null` counts as an absent key everywhere, which the schema does not show.
pub fn schema() -> Value {
    let mut schema = generate(false);
    for (definition, defaults) in default_values() {
        for (key, default) in defaults {
            let place = format!("/$defs/{definition}/properties/{key}");
            if let Some(Value::Object(property)) = schema.pointer_mut(&place) {
                property.insert("default".into(), default);
            }
        }
    }
    schema
}

/// The same schema without references: a path in it leads straight to what it says about a key.
pub(super) fn inlined() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| generate(true));
    &SCHEMA
}

/// The validator of [`inlined`].
pub(super) fn validator() -> &'static Validator {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
        let built = jsonschema::options()
            .should_validate_formats(true)
            .with_format(DURATION_FORMAT, |text: &str| parse_duration(text).is_ok())
            .with_format(SIZE_FORMAT, |text: &str| parse_size(text).is_ok())
            .with_format(LEVEL_FORMAT, |text: &str| text.parse::<LogLevel>().is_ok())
            .with_format(FORM_FORMAT, |text: &str| text.parse::<LogForm>().is_ok())
            .build(inlined());
        #[expect(
            clippy::expect_used,
            reason = "the schema depends on the code alone, a test builds it"
        )]
        built.expect("the generated schema is valid")
    });
    &VALIDATOR
}

/// What is wrong with `text` by one of our formats, in words.
pub(super) fn format_fault(format: &str, text: &str) -> Option<String> {
    match format {
        DURATION_FORMAT => parse_duration(text).err(),
        SIZE_FORMAT => parse_size(text).err(),
        LEVEL_FORMAT => text.parse::<LogLevel>().err(),
        FORM_FORMAT => text.parse::<LogForm>().err(),
        _ => None,
    }
}

fn generate(inline: bool) -> Value {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = inline)
        .with_transform(RecursiveTransform(without_absence))
        .into_generator()
        .into_root_schema_for::<RawSettings>()
        .to_value()
}

/// An optional key is one that may be absent, and `null` is absent: the schema need not repeat it for each.
fn without_absence(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    // what serde fills in for an absent key is no default of the setting: those are added by `schema`
    object.remove("default");
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(options)) = object.get_mut("enum") {
        options.retain(|option| !option.is_null());
    }
    if let Some(Value::Array(branches)) = object.get_mut("anyOf") {
        branches.retain(|branch| *branch != json!({ "type": "null" }));
        if let [Value::Object(only)] = branches.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
}

/// The keys that a table may have; empty for a table of free names.
pub(super) fn known_keys(table: &Value) -> impl Iterator<Item = &str> {
    table
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::keys)
        .map(String::as_str)
}

/// The ways to write a value: the schema itself, or the branches of its `anyOf`.
pub(super) fn branches(schema: &Value) -> &[Value] {
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(branches) => branches,
        None => std::slice::from_ref(schema),
    }
}

/// The names of the JSON types that a value may have.
pub(super) fn types(schema: &Value) -> Vec<&str> {
    branches(schema)
        .iter()
        .flat_map(|branch| match branch.get("type") {
            Some(Value::String(name)) => vec![name.as_str()],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            // a choice of words
            _ => vec!["string"],
        })
        .collect()
}

/// The words that a value may be, where it is a choice.
pub(super) fn choices(schema: &Value) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let described = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    listed
        .filter_map(Value::as_str)
        .chain(described.flat_map(|option| {
            let constant = option.get("const").and_then(Value::as_str);
            let several = option.get("enum").and_then(Value::as_array).into_iter().flatten();
            constant.into_iter().chain(several.filter_map(Value::as_str))
        }))
        .collect()
}
