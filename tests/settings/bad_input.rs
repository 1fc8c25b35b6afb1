//! Whatever is in a file: an answer, no panic, and nothing without bound.

use proptest::prelude::*;
use symphony::limits;
use symphony::settings::SettingsError;

use super::world::{World, json, toml};

/// A tree of values with the keys of real configurations in it, so that it gets past the first checks.
fn configuration() -> impl Strategy<Value = serde_json::Value> {
    const KEYS: &[&str] = &[
        "model_backends",
        "supported_models",
        "endpoints",
        "logging",
        "service",
        "name",
        "fullname",
        "type",
        "path",
        "command",
        "script",
        "embedded",
        "kind",
        "ready",
        "health",
        "restart",
        "stop",
        "limits",
        "log",
        "env",
        "start",
        "every",
        "timeout",
        "backoff_min",
        "backoff_max",
        "window_max",
        "window_period",
        "http",
        "fd",
        "delay",
        "cli_management",
        "client_handshake",
        "level",
        "memory",
        "max_consecutive_failures",
        "on_give_up",
        "é\u{1b}",
    ];
    const TEXTS: &[&str] = &[
        "5s",
        "0s",
        "16GiB",
        "http",
        "zmq",
        "retry",
        "ipc:///tmp/x",
        "tcp://h:1",
        "{port}",
        "{",
        "../x",
        "\u{0}",
        "",
        "m",
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        proptest::sample::select(TEXTS).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 80, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::vec((proptest::sample::select(KEYS), inner), 0..8).prop_map(
                |entries| {
                    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
                }
            ),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_never_panic(
        backend in configuration(), model in configuration(), rest in configuration(), whole in configuration(),
    ) {
        let shaped = serde_json::json!({
            "model_backends": {"x": backend}, "supported_models": [model], "logging": rest.clone(), "service": rest,
        });
        for tree in [shaped, whole] {
            if let Err(error) = json(&tree.to_string()).load() {
                prop_assert!(!error.to_string().chars().any(|c| c.is_control() && c != '\n'));
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, name in "(c\\.json|c\\.toml|c)") {
        let _ = World::new().with_file(&name, bytes).load();
    }

    #[test]
    fn random_variables_never_panic(name in "SYMPHONY__[A-Z_]{0,30}", value: String) {
        let _ = toml("[model_backends.x]\nembedded = true").with_variable(&name, &value).load();
    }
}

#[test]
fn a_key_that_stands_twice_is_a_fault() {
    let faults =
        json(r#"{"service": {}, "logging": {"level": "INFO", "level": "DEBUG"}}"#).faults();
    assert_eq!(faults, ["logging.level: this key stands here twice"]);
    assert!(matches!(toml("a = 1\na = 2").load(), Err(SettingsError::InvalidToml { .. })));
}

#[test]
fn a_file_beyond_the_bound_is_not_read() {
    let world = World::new().with_file("c.json", vec![b' '; limits::CONFIG_BYTES as usize + 1]);
    assert!(matches!(world.load(), Err(SettingsError::TooLarge { .. })));
}

#[test]
fn more_models_than_the_bound_are_refused() {
    let models: Vec<_> = (0..=limits::MODELS)
        .map(|number| serde_json::json!({"name": format!("m{number}"), "type": "x"}))
        .collect();
    let file = serde_json::json!({"service": {}, "model_backends": {"x": "a.py"}, "supported_models": models});
    assert_eq!(
        json(&file.to_string()).faults(),
        [format!("supported_models: has more than {} elements", limits::MODELS)]
    );
}

#[test]
fn a_flood_of_faults_is_counted() {
    let file: String =
        (0..limits::CONFIG_FAULTS + 5).map(|number| format!("key{number} = 1\n")).collect();
    let text = toml(&file).load().expect_err("faulty").to_string();
    assert!(text.contains(&format!("has {} faults", limits::CONFIG_FAULTS + 5)), "{text}");
    assert!(text.ends_with("and 5 more"), "{text}");
}

#[test]
fn what_is_no_regular_file_is_not_opened() {
    let mut world = World::new();
    world.sources.overrides.config = Some(".".into());
    let error = world.load().expect_err("a folder").to_string();
    assert!(error.ends_with("it is not a regular file"), "{error}");
    // reading it would never end
    world.sources.overrides.config = Some("/dev/zero".into());
    assert!(world.load().is_err());
}

#[test]
fn syntax_faults_name_the_file_and_the_line() {
    for (name, text, place) in [
        ("c.toml", &b"[logging]\nlevel = \n"[..], "line 2: "),
        ("c.toml", b"[logging]\nlevel = '\xff'", "line 2: is not UTF-8"),
        ("c.json", b"{\n\"a\": \"\xff\"}", "line 2: is not UTF-8"),
    ] {
        let world = World::new().with_file(name, text);
        let error = world.load().expect_err("cannot be parsed").to_string();
        let format = if name == "c.toml" { "TOML" } else { "JSON" };
        let file = world.path().join(name);
        let told = format!("Invalid {format} in configuration file: {}: {place}", file.display());
        assert!(error.starts_with(&told), "{error}");
    }
    assert!(json("[1]").faults()[0].starts_with("configuration: expected a table"));
}

#[test]
fn a_file_without_known_ending_is_told_by_its_first_character() {
    let toml = World::new().with_file("conf", "[logging]\nlevel = 'ERROR'");
    assert!(toml.load().is_ok());
    let json = World::new().with_file("conf", "  {\"service\": {}}");
    assert!(json.load().is_ok());
}
