use std::path::PathBuf;

use super::*;
use crate::settings::model::{ModelSpec, Settings};

fn service() -> ServiceSettings {
    let mut service = Settings::in_folder(Path::new("/srv/s")).expect("settings").service;
    service.backend_path = Some(PathBuf::from("/srv/backends"));
    service
}

fn line(
    backend: BackendSpec,
    change: impl FnOnce(&mut ModelSpec),
) -> Result<ProcessCommand, CommandError> {
    let mut model = ModelSpec::new("Llama $(reboot)", backend.clone()).expect("a name");
    change(&mut model);
    let instance = model.instance_id();
    let facts =
        StartFacts { model: &model, instance: &instance, endpoint: "ipc:///tmp/e", port: None };
    command(&backend, &service(), &facts)
}

#[test]
fn a_script_is_started_as_the_contract_says() {
    let made = line(BackendSpec::script("l4m_backend.py"), |model| {
        model.fullname = Some("meta/Llama".into());
    });
    let made = made.expect("a command");
    assert_eq!(made.program, Path::new("python3"));
    let expected = [
        "-u",
        "/srv/backends/l4m_backend.py",
        "--ipc-endpoint",
        "ipc:///tmp/e",
        "--model-name",
        "meta/Llama",
    ];
    assert_eq!(made.args, expected);
    assert_eq!(made.working_dir.as_deref(), Some(Path::new("/srv/backends")));
    for (name, value) in [
        ("PYTHONPATH", "/srv/backends"),
        ("PYTHONUNBUFFERED", "1"),
        ("PIE_MODEL_NAME", "meta/Llama"),
        ("PIE_ENDPOINT", "ipc:///tmp/e"),
        ("SYMPHONY_MODEL_NAME", "meta/Llama"),
        ("SYMPHONY_ENDPOINT", "ipc:///tmp/e"),
    ] {
        assert_eq!(made.env.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(made.env["SYMPHONY_INSTANCE_ID"].starts_with("Llama"));
}

#[test]
fn without_a_full_name_none_is_passed() {
    let made = line(BackendSpec::script("b.py"), |_| {}).expect("a command");
    assert!(!made.args.iter().any(|arg| arg.contains("--model-name")), "{:?}", made.args);
}

#[test]
fn hostile_values_stay_one_argument() {
    let argv = ["server", "--name={name}", "{{literal}}", "{fullname}"];
    let made = line(BackendSpec::command(argv), |model| {
        model.fullname = Some("--flag; rm -rf / {port}".into());
    });
    let expected = ["--name=Llama $(reboot)", "{literal}", "--flag; rm -rf / {port}"];
    assert_eq!(made.expect("a command").args, expected, "what is filled in is not read again");
    let script = line(BackendSpec::script("b.py"), |model| model.fullname = Some("--x".into()));
    assert!(script.expect("a command").args.contains(&"--model-name=--x".to_owned()));
}

#[test]
fn a_placeholder_without_a_value_is_told() {
    let made = line(BackendSpec::command(["server", "{path}"]), |_| {});
    assert_eq!(made, Err(CommandError::NoValue("path".into())));
    assert_eq!(line(BackendSpec::command(Vec::<String>::new()), |_| {}), Err(CommandError::Empty));
}

#[test]
fn the_model_folder_is_that_of_its_path() {
    let made = line(BackendSpec::command(["server", "{model_dir}"]), |model| {
        model.path = Some("/models/a.gguf".into());
    });
    assert_eq!(made.expect("a command").args, ["/models"]);
}
