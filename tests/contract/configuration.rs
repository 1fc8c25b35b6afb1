//! Sections 1 and 2: where the configuration and the scripts are looked for, what goes over what, `config check|show|schema`.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Place, Service};

/// A configuration whose service answers on `{name}-cli`.
fn named(place: &Place, name: &str) -> String {
    let mut configuration = place.configuration(Vec::new());
    configuration["endpoints"] = json!({
        "client_handshake": format!("ipc://{}-clients", place.text(name)),
        "cli_management": format!("ipc://{}-cli", place.text(name)),
    });
    configuration.to_string()
}

/// The same as TOML.
fn named_toml(place: &Place, name: &str) -> String {
    let value: Value = serde_json::from_str(&named(place, name)).expect("JSON");
    let mut text = format!(
        "endpoints = {{ client_handshake = {}, cli_management = {} }}\n[service]\n",
        value["endpoints"]["client_handshake"], value["endpoints"]["cli_management"]
    );
    for (key, value) in value["service"].as_object().expect("a table") {
        text.push_str(&format!("{key} = {value}\n"));
    }
    text
}

fn start(place: &Place, name: &str, command: &mut Command) -> Service {
    let [cli, clients] = ["cli", "clients"].map(|end| format!("ipc://{}-{end}", place.text(name)));
    place.launch(command, &cli, &clients)
}

#[test]
fn the_configuration_is_looked_up_in_order() {
    let place = Place::new();
    let here = "a/b";
    place.write("flag.json", &named(&place, "flag"));
    place.write("variable.toml", &named_toml(&place, "variable"));
    place.write("a/b/config.json", &named(&place, "json"));
    place.write("a/b/config/symphony.toml", &named_toml(&place, "toml"));
    place.write("xdg/symphony/symphony.toml", &named_toml(&place, "xdg"));
    let serve = |flag: bool, variable: bool| {
        let mut command = place.command(&["serve"]);
        command.current_dir(place.path(here)).env("XDG_CONFIG_HOME", place.path("xdg"));
        if flag {
            command.args(["--config", "../../flag.json"]);
        }
        if variable {
            command.env("SYMPHONY_CONFIG", place.path("variable.toml"));
        }
        command
    };
    let runs = [
        ("flag", serve(true, true), None),
        ("variable", serve(false, true), None),
        ("json", serve(false, false), Some("a/b/config.json")),
        ("toml", serve(false, false), Some("a/b/config/symphony.toml")),
        ("xdg", serve(false, false), Some("xdg/symphony/symphony.toml")),
    ];
    for (name, mut command, then_removed) in runs {
        let mut service = start(&place, name, &mut command);
        service.stop();
        if let Some(file) = then_removed {
            std::fs::remove_file(place.path(file)).expect("removed");
        }
    }
    // nothing is left but the built-in default, if the machine has no configuration of its own
    if Path::new("/etc/symphony/symphony.toml").exists() {
        return;
    }
    let mut command = serve(false, false);
    for (key, value) in [
        ("ENDPOINTS__CLI_MANAGEMENT", format!("ipc://{}", place.text("default-cli"))),
        ("ENDPOINTS__CLIENT_HANDSHAKE", format!("ipc://{}", place.text("default-clients"))),
        ("SERVICE__MODEL_SOCKET_DIR", place.text("models")),
        ("SERVICE__LOG_DIR", place.text("logs")),
        ("SERVICE__RUNTIME_DIR", place.text("runtime")),
    ] {
        command.env(format!("SYMPHONY__{key}"), value);
    }
    let mut service = start(&place, "default", &mut command);
    let list = service.cli().data("list-models", json!({}));
    let names: Vec<_> = list["supported_models"].as_array().expect("models").iter().collect();
    assert_eq!((&names[0]["name"], &names[1]["name"]), (&json!("builtin-a"), &json!("builtin-b")));
    service.load("builtin-a");
    assert_eq!(service.client().handshake(None).protocols, ["l4m", "ping"]);
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn a_named_configuration_that_is_missing_is_not_replaced_by_another() {
    let place = Place::with_models(Vec::new());
    for by_flag in [true, false] {
        let mut command = place.command(&["serve"]);
        match by_flag {
            true => command.args(["--config", "gone.json"]),
            false => command.env("SYMPHONY_CONFIG", "gone.json"),
        };
        let run = crate::support::program::finish(crate::support::program::spawn(&mut command));
        let told = "Error: Configuration file not found at gone.json\n";
        assert_eq!(run.all(), (Some(1), "", told));
    }
}

#[test]
fn environment_goes_over_the_file_and_flags_over_both() {
    let place = Place::with_models(Vec::new());
    for (flag, speaks) in [(None, false), (Some("info"), true)] {
        let mut command = place.command(&["serve"]);
        command.env("SYMPHONY__LOGGING__LEVEL", "error");
        command.args(flag.iter().flat_map(|level| ["--log-level", level]));
        let mut service =
            place.launch(&mut command, &place.cli_endpoint(), &place.client_endpoint());
        service.stop();
        assert_eq!(service.log().contains("service_started"), speaks, "{}", service.log());
    }
    let mut command = place.command(&["--json", "config", "show"]);
    command.env("SYMPHONY__LOGGING__LEVEL", "error");
    command.env("SYMPHONY__MODEL_BACKENDS__FAKE__STOP__GRACE", "7s");
    let run = crate::support::program::finish(crate::support::program::spawn(&mut command));
    let shown = run.json();
    assert_eq!(shown["configuration"]["logging"]["level"], "ERROR", "{shown}");
    assert_eq!(shown["configuration"]["model_backends"]["fake"]["stop"]["grace"], "7s", "{shown}");
    assert_eq!(shown["configuration"]["endpoints"]["cli_management"], place.cli_endpoint());
}

#[test]
fn scripts_are_looked_for_where_the_contract_says() {
    let place = Place::new();
    let deep = "1/2/3/4/5";
    std::fs::create_dir_all(place.path("backend/backend-python")).expect("folders");
    std::fs::create_dir_all(place.path(deep)).expect("folders");
    let mut configuration = place.configuration(Vec::new());
    configuration["model_backends"] = json!({"script": "missing.py"});
    configuration["supported_models"] = json!([{"name": "m", "type": "script"}]);
    let mut with_path = configuration.clone();
    with_path["backend_path"] = json!("in-file");
    place.write("plain.json", &configuration.to_string());
    place.write("with-path.json", &with_path.to_string());
    let cases: [(&str, &[&str], String); 3] = [
        ("plain.json", &[], place.text("backend/backend-python/missing.py")),
        ("with-path.json", &[], place.text("in-file/missing.py")),
        (
            "with-path.json",
            &["--backend-path", "in-flag"],
            place.text("1/2/3/4/5/in-flag/missing.py"),
        ),
    ];
    for (file, flags, expected) in cases {
        let mut command = place.command(&["serve", "--config"]);
        command.arg(place.path(file)).args(flags).current_dir(place.path(deep));
        let mut service =
            place.launch(&mut command, &place.cli_endpoint(), &place.client_endpoint());
        let error = service.cli().error("load-model", json!({"model_name": "m"}));
        assert_eq!(error, format!("Backend script not found: {expected}"), "{file} {flags:?}");
        service.stop();
    }
}

#[test]
fn config_check_tells_all_faults_or_what_counts_and_from_where() {
    let place = Place::with_models(Vec::new());
    let run = place.run(&["config", "check"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    assert!(
        run.stdout.contains(&place.cli_endpoint()) && run.stdout.contains("default"),
        "{run:?}"
    );
    for example in
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config")).expect("folder")
    {
        let path = example.expect("entry").path();
        let run = place.run(&["config", "check", path.to_str().expect("UTF-8")]);
        assert_eq!(run.code, Some(0), "{}: {run:?}", path.display());
    }
    let faulty = place.write(
        "faulty.toml",
        "[endpoints]\ncli_managment = \"ipc:///tmp/x\"\n[model_backends.a]\nembedded = true\n\
         health = { every = 5, timeout = \"-1s\" }\n[[supported_models]]\nname = \"m\"\n",
    );
    let run = place.run(&["config", "check", faulty.to_str().expect("UTF-8")]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    for word in ["cli_management", "health.every", "health.timeout", "supported_models", "type"] {
        assert!(run.stderr.contains(word), "{word}: {run:?}");
    }
    let schema = place.run(&["config", "schema"]).json();
    assert!(schema["properties"]["supported_models"].is_object(), "{schema}");
}

#[test]
fn config_check_warns_of_what_would_make_a_start_fail() {
    let place = Place::new();
    let plain_file = place.write("plain-file", "");
    place.write("scripts/here.py", "");
    let command = |program: &str| json!([program, "--ipc-endpoint", "{endpoint}", "{path}"]);
    let model = |name: &str, program: &str, path: &str| json!({"name": name, "type": name, "command": command(program), "path": path});
    let mut configuration = place.configuration(vec![
        model("good", "sh", "/"),
        model("nowhere", "no-such-program", "/"),
        model("plain", plain_file.to_str().expect("UTF-8"), "/"),
        model("empty", "sh", "/no/such/model.gguf"),
        model("hub", "sh", "org/model"),
        json!({"name": "lost-1", "type": "lost"}),
        json!({"name": "lost-2", "type": "lost"}),
        json!({"name": "here", "type": "here"}),
        json!({"name": "homeless", "type": "here", "working_dir": "no-folder"}),
    ]);
    configuration["model_backends"]["lost"] = json!("lost.py");
    configuration["model_backends"]["here"] = json!("here.py");
    configuration["backend_path"] = json!("scripts");
    configuration["service"]["interpreter"] = json!("sh");
    place.configure(&configuration);
    let run = place.run(&["--json", "config", "check"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    let expected = [
        "model nowhere: cannot execute no-such-program: No such file or directory in PATH"
            .to_owned(),
        format!("model plain: cannot execute {}: Permission denied", plain_file.display()),
        "model empty: its path /no/such/model.gguf does not exist".to_owned(),
        format!(
            "models lost-1, lost-2: Backend script not found: {}",
            place.text("scripts/lost.py")
        ),
        format!(
            "model homeless: cannot execute sh: working directory {}: No such file",
            place.text("no-folder")
        ),
    ];
    let report = run.json();
    let told = report["warnings"].as_array().expect("a list");
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(&expected) {
        assert!(told.as_str().is_some_and(|told| told.starts_with(expected)), "{told} {expected}");
    }
    // for people after all the values, where they are seen
    let run = place.run(&["config", "check"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    let lines: Vec<_> = run.stdout.lines().rev().take(expected.len()).collect();
    assert!(lines.iter().all(|line| line.starts_with("# warning: model")), "{run:?}");
    assert!(!place.run(&["config", "show"]).stdout.contains("# warning"));
}
