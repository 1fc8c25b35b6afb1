//! Files of the Python service go on to work as they are.

use symphony::settings::SettingsError;
use symphony::settings::model::{LaunchForm, Transport};
use symphony::settings::policy::{HealthCheck, HealthPolicy, Readiness, RestartPolicy, StopPolicy};

use super::world::{World, assert_line, json, model};

/// As the contract shows it.
const SEED: &str = r#"{ "model_backends": {"llama3": "l4m_backend.py", "deepseek": "deepseek_backend.py"},
  "endpoints": {"client_handshake": "ipc:///tmp/symphony-ipc", "cli_management": "ipc:///tmp/symphony-cli"},
  "logging": {"level": "INFO", "format": "%(asctime)s [%(levelname)8s] %(name)s: %(message)s", "date_format": "%Y-%m-%d %H:%M:%S"},
  "supported_models": [{"name": "Llama-3.1-8B-Instruct", "fullname": "meta-llama/Llama-3.1-8B-Instruct", "type": "llama3"}] }"#;

#[test]
fn the_seed_file_is_valid_as_it_is() {
    let settings = json(SEED).settings();
    assert_eq!(settings.endpoints.client_handshake, "ipc:///tmp/symphony-ipc");
    assert_eq!(settings.endpoints.cli_management, "ipc:///tmp/symphony-cli");
    let model = model(&settings, "Llama-3.1-8B-Instruct");
    assert_eq!(model.fullname.as_deref(), Some("meta-llama/Llama-3.1-8B-Instruct"));
    let spec = model.backend.as_deref().expect("its type has a backend");
    assert_eq!(
        spec.launch,
        LaunchForm::Script { script: "l4m_backend.py".into(), pass_model_name: true }
    );
    assert_eq!(spec.transport, Transport::Zmq);
    assert_eq!(spec.start.ready, Readiness::Handshake);
    assert_eq!(spec.health.check, HealthCheck::Ping);
    assert_eq!(
        (&spec.health, &spec.restart, &spec.stop),
        (&HealthPolicy::default(), &RestartPolicy::default(), &StopPolicy::default())
    );
}

#[test]
fn logging_and_models_are_optional_and_null_is_absent() {
    let world = json(
        r#"{"model_backends": {}, "logging": null, "endpoints": {"client_handshake": "ipc:///tmp/a", "cli_management": "ipc:///tmp/b"}}"#,
    );
    assert!(world.settings().models.is_empty());
    let world = json(&SEED.replace(r#""meta-llama/Llama-3.1-8B-Instruct""#, "null"));
    assert_eq!(world.settings().models[0].fullname, None);
}

#[test]
fn a_type_without_backend_is_no_fault_until_it_is_loaded() {
    let settings = json(&SEED.replace(r#""type": "llama3""#, r#""type": "none""#)).settings();
    assert_eq!(settings.models[0].backend, None);
    assert_line(
        &settings.warnings,
        "supported_models[0].type: there is no backend 'none'; this model cannot be loaded",
    );
}

#[test]
fn unknown_keys_are_ignored_with_a_warning() {
    let file = SEED
        .replace(r#""level": "INFO""#, r#""level": "INFO", "colour": true"#)
        .replace(
            r#"{ "model_backends""#,
            r#"{ "suported_models": 1, "comment": {"a": [1]}, "model_backends""#,
        )
        .replace(r#""type": "llama3""#, r#""type": "llama3", "quantisation": "q4""#);
    let settings = json(&file).settings();
    assert_line(
        &settings.warnings,
        "suported_models: unknown key is ignored, did you mean 'supported_models'?",
    );
    for key in ["comment", "logging.colour", "supported_models[0].quantisation"] {
        assert!(settings.warnings.iter().any(|line| line.starts_with(key)), "{key}");
    }
}

#[test]
fn a_table_for_a_backend_or_a_service_section_makes_unknown_keys_faults() {
    for extended in [
        SEED.replace(r#""l4m_backend.py""#, r#"{"script": "l4m_backend.py"}"#),
        SEED.replace(r#"{ "model_backends""#, r#"{ "service": {}, "model_backends""#),
    ] {
        let world = json(&extended.replace(r#""level""#, r#""levle": 1, "level""#));
        assert_line(&world.faults(), "logging.levle: unknown key, did you mean 'level'?");
    }
}

#[test]
fn tables_laid_over_a_backend_are_strict_in_the_seed_form_too() {
    let file =
        SEED.replace(r#""type": "llama3""#, r#""type": "llama3", "x": 1, "stop": {"grase": "1s"}"#);
    assert_eq!(
        json(&file).faults(),
        ["supported_models[0].stop.grase: unknown key, did you mean 'grace'?"]
    );
}

#[test]
fn its_sections_are_required() {
    let faults = json("{}").faults();
    for key in ["endpoints.client_handshake", "endpoints.cli_management", "model_backends"] {
        assert_line(&faults, &format!("{key}: required key is missing"));
    }
    assert_eq!(faults.len(), 3);
}

#[test]
fn an_empty_name_is_refused() {
    let faults =
        json(&SEED.replace(r#""name": "Llama-3.1-8B-Instruct""#, r#""name": """#)).faults();
    assert_eq!(faults, ["supported_models[0].name: the name is empty"]);
}

#[test]
fn two_models_with_one_full_name_are_as_they_were() {
    let second = r#""type": "llama3"}, {"name": "again", "fullname": "meta-llama/Llama-3.1-8B-Instruct", "type": "deepseek"}"#;
    let settings = json(&SEED.replace(r#""type": "llama3"}"#, second)).settings();
    assert_eq!(settings.models.len(), 2);
    assert_line(
        &settings.warnings,
        "supported_models[1].fullname: leads to supported_models[0] and never to this model",
    );
}

#[test]
fn the_backend_path_may_stand_at_the_top() {
    let world = json(&SEED.replace(
        r#"{ "model_backends""#,
        r#"{ "backend_path": "backends", "x": 1, "model_backends""#,
    ));
    let settings = world.settings();
    assert_eq!(settings.service.backend_path, Some(world.path().join("backends")));
    assert!(
        settings.warnings.iter().any(|line| line.starts_with("x:")),
        "it is the seed form still"
    );
}

#[test]
fn the_texts_of_the_contract() {
    let mut world = World::new();
    world.sources.overrides.config = Some("gone.json".into());
    assert_eq!(
        world.load().expect_err("missing").to_string(),
        "Configuration file not found at gone.json"
    );
    let world = json("{ \"a\": }");
    let error = world.load().expect_err("no JSON");
    assert!(matches!(error, SettingsError::InvalidJson { .. }));
    let file = world.path().join("config.json");
    assert_eq!(
        error.to_string(),
        format!(
            "Invalid JSON in configuration file: {}: expected value at line 1 column 8",
            file.display()
        )
    );
}
