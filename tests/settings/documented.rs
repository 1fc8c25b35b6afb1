//! Schema, code, example and handbook say the same.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use symphony::settings::{Loaded, schema};

use super::world::{World, toml};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// Every key of the schema with its default: `restart.jitter` for a key in a table, `name` for one of a model.
fn keys() -> BTreeMap<String, Option<Value>> {
    let schema = schema();
    let mut keys = BTreeMap::new();
    let sections = [
        ("Endpoints", "endpoints."),
        ("Logging", "logging."),
        ("Service", "service."),
        ("Heart", "service.heart."),
        ("Model", ""),
        ("Group", "groups."),
        ("Backend", ""),
        ("ReadyTable", "ready."),
        ("Start", "start."),
        ("Health", "health."),
        ("Restart", "restart."),
        ("Stop", "stop."),
        ("Limits", "limits."),
        ("Log", "log."),
    ];
    let tables = schema["$defs"].as_object().expect("definitions");
    let with_keys = tables.values().filter(|table| table.get("properties").is_some()).count();
    assert_eq!(with_keys, sections.len(), "a table of the schema is not looked at here");
    for (table, prefix) in sections {
        for (key, property) in tables[table]["properties"].as_object().expect(table) {
            keys.insert(format!("{prefix}{key}"), property.get("default").cloned());
        }
    }
    for key in schema["properties"].as_object().expect("sections").keys() {
        keys.insert(key.clone(), None);
    }
    keys
}

fn as_toml(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{text}\""),
        other => other.to_string(),
    }
}

#[test]
fn every_key_stands_in_the_handbook_with_its_default() {
    let handbook = read("docs/configuration.md");
    for (key, default) in keys() {
        let row = handbook.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md has no row for `{key}`"));
        if let Some(default) = default {
            let cell = format!("| `{}` ", as_toml(&default));
            assert!(
                row.contains(&cell),
                "the row of `{key}` does not show the default `{}`",
                as_toml(&default)
            );
        }
    }
}

#[test]
fn every_key_stands_in_the_reference_file_with_its_default() {
    let reference = read("config/reference.toml");
    for (key, default) in keys() {
        let last = key.rsplit('.').next().expect("has a last part");
        let shown = |line: &str| {
            let line = line.trim_start_matches("# ");
            line.split([' ', '=']).next() == Some(last)
                || line.contains(&format!("{last} = "))
                || line.starts_with(&format!("[{last}]"))
                || line.contains(&format!("[{last}."))
                || line.contains(&format!("[[{last}]]"))
                || line.contains(&format!(".{last}]"))
        };
        assert!(reference.lines().any(shown), "config/reference.toml does not show `{key}`");
        if let Some(default) = default.filter(|_| key != "embedded") {
            let line = format!("{last} = {}", as_toml(&default));
            assert!(reference.contains(&line), "config/reference.toml does not show `{line}`");
        }
    }
}

/// Takes the "# " from every line that shows a key, as the file asks its reader to do.
#[test]
fn the_defaults_of_the_reference_file_are_those_of_the_code() {
    let reference = read("config/reference.toml");
    let not_defaults = [
        "backend_path",
        "log_dir",
        "runtime_dir",
        "symphony_binary",
        "script",
        "command",
        "path",
        "fullname",
        "working_dir",
        "env_allow",
        "OMP_NUM_THREADS",
        "memory",
        "cpu_time",
        "open_files",
        "processes",
        "nice",
        "user",
        "pass_model_name",
    ];
    let uncommented: String = reference
        .lines()
        .map(|line| {
            match line
                .strip_prefix("# ")
                .and_then(|line| line.split_once(" = ").map(|(key, _)| (key, line)))
            {
                Some((key, line)) if !key.contains(' ') && !not_defaults.contains(&key) => {
                    format!("{line}\n")
                }
                _ => format!("{line}\n"),
            }
        })
        .collect();
    assert_ne!(uncommented, reference);
    let values = |loaded: &Loaded| loaded.effective.document.clone();
    let as_it_is = values(&toml(&reference).load().expect("valid"));
    let with_defaults =
        values(&toml(&uncommented).load().unwrap_or_else(|error| panic!("{error}")));
    let folders_aside = |mut document: Value| {
        for key in ["log_dir", "runtime_dir"] {
            document["service"][key].take();
        }
        document
    };
    assert_eq!(folders_aside(as_it_is), folders_aside(with_defaults));
}

#[test]
fn every_key_is_described_in_the_schema() {
    let schema = schema();
    for table in schema["$defs"].as_object().expect("definitions").values() {
        for (key, property) in
            table.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            assert!(property.get("description").is_some(), "{key} has no description");
            assert_ne!(property.get("default"), Some(&Value::Null), "{key}");
        }
    }
    assert!(!schema.to_string().contains("\"null\""), "an optional key is one that may be absent");
}

#[test]
fn the_effective_configuration_is_a_file_that_means_the_same() {
    for name in [
        "config.json",
        "embedded.toml",
        "llama-server.toml",
        "pair.toml",
        "python-script.toml",
        "reference.toml",
        "vllm.toml",
    ] {
        let mut world = World::new();
        world.sources.overrides.config =
            Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name));
        let first = world.load().unwrap_or_else(|error| panic!("{error}"));
        let text = first.effective.to_text();
        let second = World::new()
            .with_file("shown.toml", &text)
            .load()
            .unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        assert_eq!(first.settings.models, second.settings.models, "{name}");
        assert_eq!(first.settings.groups, second.settings.groups, "{name}");
        assert_eq!(first.settings.service, second.settings.service, "{name}");
        assert_eq!(first.effective.document, second.effective.document, "{name}");
    }
}
