//! Sections 2 and 5: the configuration of the Python service as it is, and how its script backends are started.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::backend::FAKE;
use crate::support::program::{finish, spawn};
use crate::support::{Place, Service};

/// A stand-in for Python: tells how it was called, then serves as the fake backend with the script's own arguments.
fn interpreter() -> String {
    format!(
        "#!/bin/sh\necho \"cwd $(pwd)\"\nfor word in \"$@\"; do echo \"arg $word\"; done\n\
         shift 2\nexec '{FAKE}' --print-env \"$@\"\n"
    )
}

/// Starts the service with a file that is not written for tests: what must be private comes from the environment.
fn serve(place: &Place, configuration: &Path, arguments: &[&str]) -> Service {
    let path = std::env::var("PATH").expect("set");
    place.write_program("bin/python3", &interpreter());
    let mut command = place.command(&["serve", "--config"]);
    command.arg(configuration).args(arguments);
    command.env("PATH", format!("{}:{path}", place.text("bin")));
    command.env("TMPDIR", place.folder());
    command.env("SYMPHONY__ENDPOINTS__CLI_MANAGEMENT", place.cli_endpoint());
    command.env("SYMPHONY__ENDPOINTS__CLIENT_HANDSHAKE", place.client_endpoint());
    command.env("SYMPHONY__SERVICE__MODEL_SOCKET_DIR", place.text("models"));
    place.launch(&mut command, &place.cli_endpoint(), &place.client_endpoint())
}

/// What the stand-in told of its call.
fn told(service: &Service, model: &str) -> Vec<String> {
    let page = service.cli().data("logs", json!({"model_name": model, "lines": 1000}));
    let lines = page["lines"].as_array().expect("lines").iter();
    lines.map(|line| line.as_str().expect("text").to_owned()).collect()
}

fn said<'a>(lines: &'a [String], word: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect()
}

#[test]
fn the_seed_configuration_works_as_it_is() {
    let place = Place::new();
    let folder = place.write("backend-python/l4m_backend.py", "");
    let folder = folder.parent().expect("a folder").to_owned();
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/config.json");
    let mut service = serve(&place, &seed, &["--backend-path", "backend-python"]);

    let name = "Llama-3.1-8B-Instruct";
    let fullname = "meta-llama/Llama-3.1-8B-Instruct";
    let endpoint = service.load(name)["endpoint"].as_str().expect("text").to_owned();
    let lines = told(&service, name);
    let script = folder.join("l4m_backend.py").display().to_string();
    assert_eq!(
        said(&lines, "arg"),
        ["-u", &script, "--ipc-endpoint", &endpoint, "--model-name", fullname]
    );
    assert_eq!(said(&lines, "cwd"), [folder.to_str().expect("UTF-8")]);
    let environment = said(&lines, "env");
    for (key, value) in [
        ("PYTHONPATH", folder.to_str().expect("UTF-8")),
        ("PYTHONUNBUFFERED", "1"),
        ("PIE_MODEL_NAME", fullname),
        ("PIE_ENDPOINT", &endpoint),
        ("SYMPHONY_MODEL_NAME", fullname),
        ("SYMPHONY_ENDPOINT", &endpoint),
    ] {
        assert!(environment.contains(&format!("{key}={value}").as_str()), "{key} in {lines:#?}");
    }
    let instance = environment.iter().find_map(|line| line.strip_prefix("SYMPHONY_INSTANCE_ID="));
    assert!(instance.is_some_and(|id| id.starts_with("Llama-3.1-8B-Instruct-")), "{instance:?}");

    // the other model's script is not there, and its name is not the one of its backend
    let error = service.cli().error("load-model", json!({"model_name": "DeepSeek-V3-0324"}));
    let missing = folder.join("deepseek_backend.py");
    assert_eq!(error, format!("Backend script not found: {}", missing.display()));
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn keys_of_the_seed_form_that_nobody_knows_are_warnings() {
    let place = Place::new();
    place.write("scripts/b.py", "");
    let configuration = json!({
        "model_backends": {"llama3": "b.py"},
        "endpoints": {"client_handshake": "ipc:///tmp/symphony-ipc",
                      "cli_management": "ipc:///tmp/symphony-cli", "metrics": "ipc:///tmp/m"},
        "comment": "of some owner",
        "backend_path": "scripts",
        "supported_models": [
            {"name": "plain", "type": "llama3", "quantisation": 4},
            {"name": "lost", "type": "gone"}
        ],
    });
    let file = place.write("seed.json", &configuration.to_string());
    let mut service = serve(&place, &file, &[]);
    for key in ["endpoints.metrics", "comment", "quantisation"] {
        assert!(service.logs(key).contains("WARNING"), "{}", service.log());
    }
    // a model without a full name: none is passed, and its own name is told
    let endpoint = service.load("plain")["endpoint"].clone();
    let lines = told(&service, "plain");
    let arguments = said(&lines, "arg");
    assert_eq!(Value::from(arguments[2..].to_vec()), json!(["--ipc-endpoint", endpoint]));
    assert!(said(&lines, "env").contains(&"PIE_MODEL_NAME=plain"), "{lines:#?}");
    let missing = "Backend for model type 'gone' not configured";
    let mut cli = service.cli();
    for command in ["load-model", "restart-model"] {
        assert_eq!(cli.error(command, json!({"model_name": "lost"})), missing, "{command}");
    }
    assert_eq!(service.client().handshake(Some("lost")).error, missing);
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn what_the_seed_form_requires_is_required() {
    let place = Place::new();
    let file = place.write("seed.json", "{\"logging\": {\"level\": \"INFO\"}}");
    let mut command = place.command(&["serve", "--config"]);
    let run = finish(spawn(command.arg(file)));
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    for key in ["endpoints", "model_backends"] {
        assert!(run.stderr.contains(key), "{key}: {run:?}");
    }
}
