//! Environment variables that go over the file: `SYMPHONY__SECTION__KEY`.

use serde_json::Value;

use super::document::from_toml;
use super::fault::{Fault, hint};
use super::origin::{Origin, Origins};
use super::path::{KeyPath, shown};
use super::schema::{branches, inlined, known_keys, types};

/// What the names of such variables begin with. `SYMPHONY_CONFIG` has a single underscore and names the file.
const PREFIX: &str = "SYMPHONY__";

/// Lays the variables over `values`. Answers the faults of their names; those of their values are found with all others.
pub(super) fn overlay(
    environment: &[(String, String)],
    values: &mut Value,
    origins: &mut Origins,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut variables: Vec<_> = environment
        .iter()
        .filter(|(name, _)| {
            name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        })
        .collect();
    // a whole table before single keys in it, and the same order each time
    variables.sort_by_key(|(name, _)| (name.matches("__").count(), name.clone()));
    for (name, text) in variables {
        let segments: Vec<&str> = name[PREFIX.len()..].split("__").collect();
        match resolve(&segments, inlined(), values, KeyPath::root()) {
            Ok((path, schema)) => {
                let path = if path == KeyPath::of(&["backend_path"]) {
                    KeyPath::of(&["service", "backend_path"])
                } else {
                    path
                };
                let value = read_value(text, schema);
                origins.overlay(values, &path, value, Origin::Variable(name.clone()));
            }
            Err(message) => faults.push(Fault { place: shown(name), message }),
        }
    }
    faults
}

/// Follows the segments of a variable's name through the schema, and through the names in the file where keys are free.
fn resolve<'s>(
    segments: &[&str],
    schema: &'s Value,
    values: &Value,
    here: KeyPath,
) -> Result<(KeyPath, &'s Value), String> {
    let Some((segment, rest)) = segments.split_first() else { return Ok((here, schema)) };
    let present = here.get(values);
    for branch in branches(schema) {
        if branch.get("properties").is_some() {
            let key = known_keys(branch).find(|key| key.eq_ignore_ascii_case(segment));
            let key = key.ok_or_else(|| unknown(segment, known_keys(branch)))?;
            return resolve(rest, &branch["properties"][key], values, here.key(key));
        }
        if let Some(element) = branch.get("additionalProperties").filter(|free| free.is_object()) {
            if types(element) == ["string"] {
                // variables of a backend: names with a case of their own, which may hold "__"
                return Ok((here.key(segments.join("__")), element));
            }
            let names =
                present.and_then(Value::as_object).into_iter().flat_map(|table| table.keys());
            let names: Vec<&str> = names.map(String::as_str).collect();
            let name = names[only_match(segment, &names)?];
            return resolve(rest, element, values, here.key(name));
        }
        if let Some(element) =
            branch.get("items").filter(|items| known_keys(items).any(|key| key == "name"))
        {
            let elements = present.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let name =
                |element: &'_ Value| element.get("name").and_then(Value::as_str).map(str::to_owned);
            let names: Vec<String> =
                elements.iter().map(|model| name(model).unwrap_or_default()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let index = only_match(segment, &names)?;
            return resolve(rest, element, values, here.index(index));
        }
    }
    Err(format!("{here} has no keys below it"))
}

/// The place of the one name that a segment means: letters in any case, and anything but letters and digits as `_`.
fn only_match(segment: &str, names: &[&str]) -> Result<usize, String> {
    let mut matching =
        (0..names.len()).filter(|index| as_variable(names[*index]) == as_variable(segment));
    let first = matching.next().ok_or_else(|| unknown(segment, names.iter().copied()))?;
    match matching.next() {
        None => Ok(first),
        Some(second) => Err(format!(
            "'{}' may mean '{}' or '{}'",
            shown(segment),
            shown(names[first]),
            shown(names[second])
        )),
    }
}

fn as_variable(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn unknown<'a>(segment: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    format!("unknown key '{}'{}", shown(segment), hint(segment, known))
}

/// Text where the schema wants text; else a TOML value. What is neither stays text, and the schema says what is wrong.
fn read_value(text: &str, schema: &Value) -> Value {
    if types(schema) == ["string"] {
        return text.into();
    }
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}"));
    match parsed.map(|mut table| (table.remove("value"), table.is_empty())) {
        Ok((Some(value), true)) => from_toml(value),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn overlaid(mut values: Value, name: &str, text: &str) -> Result<Value, String> {
        let mut origins = Origins::of_document(Origin::Default);
        let faults = overlay(&[(name.into(), text.into())], &mut values, &mut origins);
        faults.first().map_or(Ok(values), |fault| Err(fault.to_string()))
    }

    #[test]
    fn variables_reach_every_kind_of_place() {
        let file = json!({
            "model_backends": {"llama-3": "a.py"},
            "supported_models": [{"name": "Llama-3.1-8B", "type": "llama-3"}],
        });
        let cases = [
            ("SYMPHONY__LOGGING__LEVEL", "DEBUG", "/logging/level", json!("DEBUG")),
            ("symphony__service__spawns_at_once", "2", "/service/spawns_at_once", json!(2)),
            ("SYMPHONY__BACKEND_PATH", "/b", "/service/backend_path", json!("/b")),
            (
                "SYMPHONY__MODEL_BACKENDS__LLAMA_3__RESTART__JITTER",
                "0.5",
                "/model_backends/llama-3/restart/jitter",
                json!(0.5),
            ),
            (
                "SYMPHONY__MODEL_BACKENDS__LLAMA_3__KIND",
                "http",
                "/model_backends/llama-3/kind",
                json!("http"),
            ),
            (
                "SYMPHONY__MODEL_BACKENDS__LLAMA_3__READY",
                "tcp",
                "/model_backends/llama-3/ready",
                json!("tcp"),
            ),
            (
                "SYMPHONY__MODEL_BACKENDS__LLAMA_3__READY",
                "{ fd = 3 }",
                "/model_backends/llama-3/ready",
                json!({"fd": 3}),
            ),
            (
                "SYMPHONY__MODEL_BACKENDS__LLAMA_3__ENV__My__Var",
                "1",
                "/model_backends/llama-3/env/My__Var",
                json!("1"),
            ),
            (
                "SYMPHONY__MODEL_BACKENDS__LLAMA_3__COMMAND",
                "['a', 'b']",
                "/model_backends/llama-3/command",
                json!(["a", "b"]),
            ),
            (
                "SYMPHONY__SUPPORTED_MODELS__LLAMA_3_1_8B__AUTOSTART",
                "true",
                "/supported_models/0/autostart",
                json!(true),
            ),
        ];
        for (name, text, pointer, expected) in cases {
            let values =
                overlaid(file.clone(), name, text).unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(values.pointer(pointer), Some(&expected), "{name}");
        }
        let values =
            overlaid(file, "SYMPHONY__MODEL_BACKENDS__LLAMA_3__KIND", "http").expect("is known");
        assert_eq!(
            values.pointer("/model_backends/llama-3/script"),
            Some(&json!("a.py")),
            "the script is kept"
        );
    }

    #[test]
    fn unknown_variables_name_the_nearest_key() {
        let file = json!({"model_backends": {"gguf": "a.py"}});
        let cases = [
            ("SYMPHONY__LOGING__LEVEL", "logging"),
            ("SYMPHONY__MODEL_BACKENDS__GUFF__SCRIPT", "gguf"),
            ("SYMPHONY__SERVICE__DRAIN", "drain_timeout"),
        ];
        for (name, near) in cases {
            let fault = overlaid(file.clone(), name, "1").expect_err("is unknown");
            assert!(fault.contains(&format!("did you mean '{near}'")), "{fault}");
        }
        for name in [
            "SYMPHONY__",
            "SYMPHONY____",
            "SYMPHONY__LOGGING__LEVEL__X",
            "SYMPHONY__SUPPORTED_MODELS__X",
        ] {
            assert!(overlaid(file.clone(), name, "1").is_err(), "{name}");
        }
    }

    #[test]
    fn one_variable_cannot_smuggle_a_second_key() {
        let values = overlaid(json!({}), "SYMPHONY__SERVICE__SPAWNS_AT_ONCE", "1\nother = 2")
            .expect("is known");
        assert_eq!(values.pointer("/service/spawns_at_once"), Some(&json!("1\nother = 2")));
    }
}
