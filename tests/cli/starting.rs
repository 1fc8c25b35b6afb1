//! Starting a service: its configuration, a service that runs already, and `symphony config`.

use std::path::Path;

use serde_json::json;

use super::program::{Run, command, finish, spawn};
use super::service::{Reply, Service, answering, silent};

fn run_in(home: &Path, arguments: &[&str]) -> Run {
    let mut command = command(home);
    finish(spawn(command.args(arguments)))
}

fn configuration(cli: &str) -> String {
    let client = format!("{cli}-clients");
    json!({
        "model_backends": {"llama3": "backend.py"},
        "endpoints": {"client_handshake": client, "cli_management": cli}
    })
    .to_string()
}

#[test]
fn a_missing_configuration_is_named() {
    let home = tempfile::tempdir().expect("folder");
    for line in [&["serve"][..], &["start-service"], &["start-service", "--daemonize"], &["status"]]
    {
        let mut line = line.to_vec();
        line.extend(["--config", "/nowhere/config.json"]);
        let run = run_in(home.path(), &line);
        let told = "Error: Configuration file not found at /nowhere/config.json\n";
        assert_eq!(run.all(), (Some(1), "", told), "{line:?}");
        line.push("--json");
        let run = run_in(home.path(), &line);
        let error = "Configuration file not found at /nowhere/config.json";
        assert_eq!((run.json(), run.code), (json!({ "error": error }), Some(1)), "{line:?}");
    }
}

#[test]
fn garbage_is_no_configuration() {
    let home = tempfile::tempdir().expect("folder");
    let garbage: [&[u8]; 4] = [b"", b"{\"model_backends\": ", b"\xff\xfe\x00garbage", b"[[[["];
    for bytes in garbage {
        std::fs::write(home.path().join("config.json"), bytes).expect("written");
        for line in [&["serve"][..], &["start-service", "--daemonize"], &["config", "check"]] {
            let run = run_in(home.path(), line);
            assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
            let told = "Error: Invalid JSON in configuration file: ";
            assert!(run.stderr.starts_with(told), "{bytes:?}: {run:?}");
        }
    }
    assert!(!home.path().join(".local").exists(), "nothing was made");
}

#[test]
fn all_faults_are_told_at_once_and_nothing_is_started() {
    let home = tempfile::tempdir().expect("folder");
    let faulty = json!({"model_backends": {"a": {"command": [], "restart": {"jitter": 7}}},
                        "endpoints": {"client_handshake": "nowhere"}});
    std::fs::write(home.path().join("config.json"), faulty.to_string()).expect("written");
    let run = run_in(home.path(), &["start-service", "--daemonize"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    for place in ["model_backends.a.restart.jitter", "endpoints.client_handshake"] {
        assert!(run.stderr.contains(place), "{place}: {run:?}");
    }
    assert!(!home.path().join(".local").exists(), "nothing was made");
}

#[test]
fn a_service_that_runs_already_is_left_alone() {
    let service = answering(json!({"service_status": "running", "pid": 1}));
    let home = tempfile::tempdir().expect("folder");
    let text = configuration(&service.endpoint());
    std::fs::write(home.path().join("config.json"), text).expect("written");
    for line in [&["start-service"][..], &["up", "--daemonize"], &["serve"]] {
        let run = run_in(home.path(), line);
        let told = "Management service is already running\n";
        assert_eq!(run.all(), (Some(0), told, ""), "{line:?}");
    }
    let commands: Vec<_> =
        service.requests().iter().map(|request| request["command"].clone()).collect();
    let asked = ["status", "list-models"].repeat(3);
    assert_eq!(commands, asked, "it was only asked whether it lives, and is not stopping");
    assert_eq!(run_in(home.path(), &["status"]).code, Some(0), "its socket still answers");
}

#[test]
fn a_service_that_refuses_the_question_runs_too() {
    let service = Service::start(|_| Reply::Error("busy"));
    let home = tempfile::tempdir().expect("folder");
    let text = configuration(&service.endpoint());
    std::fs::write(home.path().join("config.json"), text).expect("written");
    let run = run_in(home.path(), &["start-service"]);
    assert_eq!(run.all(), (Some(0), "Management service is already running\n", ""));
}

#[test]
fn a_listener_that_does_not_answer_stops_a_start() {
    let service = silent();
    let home = tempfile::tempdir().expect("folder");
    let text = configuration(&service.endpoint());
    std::fs::write(home.path().join("config.json"), text).expect("written");
    let run = run_in(home.path(), &["start-service", "--daemonize"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.starts_with("Error: cannot start: something listens on"), "{run:?}");
}

#[test]
fn the_endpoint_comes_from_the_configuration_unless_it_is_named() {
    let service = answering(json!({"service_status": "running"}));
    let home = tempfile::tempdir().expect("folder");
    let path = home.path().join("config.json");
    std::fs::write(&path, configuration(&service.endpoint())).expect("written");
    assert!(run_in(home.path(), &["status"]).stdout.starts_with("Service Status: running"));
    // a broken file keeps nobody from a service whose endpoint is named
    std::fs::write(&path, "{").expect("written");
    let run = run_in(home.path(), &["status"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.starts_with("Error: Invalid JSON in configuration file: "), "{run:?}");
    assert!(run.stderr.ends_with("reached without the file: --endpoint ENDPOINT\n"), "{run:?}");
    let run = run_in(home.path(), &["status", "--json"]);
    let error = run.json()["error"].as_str().expect("a text").to_owned();
    assert!(error.starts_with("Invalid JSON") && !error.contains("--endpoint"), "{run:?}");
    let run = run_in(home.path(), &["status", "--endpoint", &service.endpoint()]);
    assert!(run.stdout.starts_with("Service Status: running"), "{run:?}");
}

#[test]
fn faults_elsewhere_in_the_configuration_keep_nobody_from_a_service() {
    let service = answering(json!({"service_status": "running", "message": "yes"}));
    let home = tempfile::tempdir().expect("folder");
    let path = home.path().join("config.json");
    let cli = service.endpoint();
    let faulty = json!({
        "model_backends": {"a": {"command": [], "restart": {"jitter": 7}}},
        "endpoints": {"client_handshake": "nowhere", "cli_management": cli}
    });
    std::fs::write(&path, faulty.to_string()).expect("written");
    let told = format!(
        "Warning: Configuration {} has 3 faults; only its endpoint is used ('symphony config check' tells them)\n",
        path.display()
    );
    for line in [&["status"][..], &["load", "m"], &["stop-service"], &["status", "--json"]] {
        let run = run_in(home.path(), line);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), told.as_str()), "{line:?}");
    }
    assert_eq!(run_in(home.path(), &["start-service"]).code, Some(1), "nothing is started so");
}

#[test]
fn an_endpoint_that_may_have_been_meant_otherwise_is_not_guessed() {
    let home = tempfile::tempdir().expect("folder");
    let texts = [
        "endpoints = 7",
        "[endpoints]\ncli_management = \"nowhere\"",
        "[endpoints]\ncli_managment = \"ipc:///tmp/x\"",
        "[endpoint]\ncli_management = \"ipc:///tmp/x\"",
    ];
    for text in texts {
        std::fs::create_dir_all(home.path().join("config")).expect("made");
        std::fs::write(home.path().join("config/symphony.toml"), text).expect("written");
        let run = run_in(home.path(), &["status"]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{text}");
        assert!(run.stderr.contains("has 1 fault:\n  endpoint"), "{text}: {run:?}");
        assert!(run.stderr.contains("--endpoint ENDPOINT"), "{text}: {run:?}");
    }
}

#[test]
fn config_shows_what_takes_effect_and_its_schema() {
    let home = tempfile::tempdir().expect("folder");
    let path = home.path().join("some.json");
    std::fs::write(&path, configuration("ipc:///tmp/some-cli")).expect("written");
    let file = path.to_str().expect("UTF-8");
    for line in [&["config", "check", file][..], &["config", "show", "--config", file]] {
        let run = run_in(home.path(), line);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        assert!(run.stdout.contains("ipc:///tmp/some-cli"), "{run:?}");
        let mut json = line.to_vec();
        json.push("--json");
        let value = run_in(home.path(), &json).json();
        let endpoints = &value["configuration"]["endpoints"];
        assert_eq!(endpoints["cli_management"], "ipc:///tmp/some-cli");
    }
    let schema = run_in(home.path(), &["config", "schema"]).json();
    assert!(schema["properties"]["model_backends"].is_object());
}
