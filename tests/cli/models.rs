//! Loading, unloading, restarting; stopping the service.

use serde_json::json;

use super::program::ask;
use super::service::{answering, refusing};

#[test]
fn load_waits_and_tells_the_endpoint() {
    let service = answering(json!({"endpoint": "ipc:///tmp/m", "state": "ready"}));
    let run = ask(&service.endpoint(), &["load-model", "phi"]);
    let text = "Model loaded successfully on endpoint: ipc:///tmp/m\n";
    assert_eq!(run.all(), (Some(0), text, ""));
    assert_eq!(service.params_of("load-model"), json!({"model_name": "phi", "wait": true}));
}

#[test]
fn load_without_waiting_does_not_call_it_loaded() {
    let service = answering(json!({"endpoint": "ipc:///tmp/m", "state": "starting"}));
    let run = ask(&service.endpoint(), &["load", "phi", "--no-wait", "--config", "old.json"]);
    let text = "Model is starting; it will serve on endpoint: ipc:///tmp/m\n";
    assert_eq!(run.all(), (Some(0), text, ""));
    let params = json!({"model_name": "phi", "config_path": "old.json"});
    assert_eq!(service.params_of("load-model"), params);
}

#[test]
fn load_unload_and_restart_pass_on_the_words_of_the_service() {
    let service = refusing("Unknown model 'x' - not found in configuration");
    for (line, prefix) in [
        (["load-model", "x"], "Error loading model"),
        (["unload-model", "x"], "Error unloading model"),
        (["restart-model", "x"], "Error restarting model"),
    ] {
        let run = ask(&service.endpoint(), &line);
        let told = format!("{prefix}: Unknown model 'x' - not found in configuration\n");
        assert_eq!(run.all(), (Some(1), "", told.as_str()));
        let run = ask(&service.endpoint(), &["--json", line[0], line[1]]);
        let error = "Unknown model 'x' - not found in configuration";
        assert_eq!((run.json(), run.code), (json!({ "error": error }), Some(1)));
    }
}

#[test]
fn unload_and_restart() {
    let service = answering(json!({"message": "Model phi unloaded"}));
    let run = ask(&service.endpoint(), &["unload-model", "phi"]);
    assert_eq!(run.all(), (Some(0), "Model unloaded successfully\n", ""));
    let service = answering(json!({"endpoint": "ipc:///tmp/m", "state": "ready"}));
    let run = ask(&service.endpoint(), &["restart", "phi"]);
    let text = "Model restarted successfully on endpoint: ipc:///tmp/m\n";
    assert_eq!(run.all(), (Some(0), text, ""));
    assert_eq!(service.params_of("restart-model"), json!({"model_name": "phi", "wait": true}));
}

#[test]
fn stop_service() {
    let service = answering(json!({"message": "Service shutdown requested"}));
    let run = ask(&service.endpoint(), &["down"]);
    assert_eq!(run.all(), (Some(0), "Service shutdown requested\n", ""));
    let run = ask(&service.endpoint(), &["stop-service", "--wait", "--timeout", "300ms"]);
    assert_eq!(run.all(), (Some(1), "", "Service not responding (timeout)\n"), "it does not go");
}
