//! What `status` shows, and what `--json` passes on.

use serde_json::json;

use super::program::ask;
use super::service::{Reply, Service, answering, phi, status_with};

#[test]
fn status_without_models() {
    let service = answering(status_with(&json!([])));
    let run = ask(&service.endpoint(), &["status"]);
    let text = "Service Status: running\nClient Endpoint: ipc:///tmp/i\nCLI Endpoint: ipc:///tmp/c\n\n\
                No models currently loaded\n";
    assert_eq!(run.all(), (Some(0), text, ""));
    assert_eq!(service.params_of("status"), json!({"all": true}));
}

#[test]
fn status_lists_models_under_each_other() {
    let service = answering(status_with(&json!([phi("ready")])));
    let run = ask(&service.endpoint(), &["ps"]);
    let text = "Service Status: running\nClient Endpoint: ipc:///tmp/i\nCLI Endpoint: ipc:///tmp/c\n\n\
                NAME  TYPE  STATE  UPTIME  RESTARTS  ENDPOINT      PID\n\
                phi   t     ready  1h 01m  2         ipc:///tmp/m  -\n";
    assert_eq!(run.all(), (Some(0), text, ""));
}

#[test]
fn status_tells_why_a_model_was_given_up() {
    let mut parked = phi("parked");
    parked["reason"] = "gave up after 5 restarts".into();
    parked["last_exit"] =
        json!({"reason": "exit 3", "output": ["Traceback", "out of memory\u{7}"]});
    let service = answering(status_with(&json!([parked])));
    let run = ask(&service.endpoint(), &["status"]);
    assert!(run.stdout.contains("No models currently loaded\n"), "{run:?}");
    let told = "phi is parked: gave up after 5 restarts\n  last output:\n    Traceback\n    out of memory\\x07\n";
    assert!(run.stdout.ends_with(told), "{run:?}");
}

#[test]
fn status_of_an_older_service() {
    let models = json!([{"model_name": "phi", "model_type": "t", "endpoint": "ipc:///tmp/m",
                         "is_alive": true, "uptime": 5, "pid": 1}]);
    let service = answering(status_with(&models));
    let run = ask(&service.endpoint(), &["status"]);
    assert!(
        run.stdout.contains("phi   t     running  5s      -         ipc:///tmp/m  1\n"),
        "{run:?}"
    );
}

#[test]
fn json_is_exactly_the_data_of_the_reply() {
    // spaces, order, number forms and escapes are the service's own
    let data = r#"{"z": 1.10, "a":12345678901234567890123,"n":null, "text":"\u00fc\u001b[2J"}"#;
    let service = Service::start(move |_| Reply::Data(data.to_owned()));
    for line in [
        &["status", "--json"][..],
        &["--json", "load-model", "phi"],
        &["--json", "unload-model", "phi"],
        &["--json", "restart-model", "phi"],
        &["--json", "list-models"],
        &["--json", "stop-service"],
        &["--json", "tree"],
        &["--json", "reload"],
    ] {
        let run = ask(&service.endpoint(), line);
        assert_eq!(run.all(), (Some(0), &*format!("{data}\n"), ""), "{line:?}");
    }
}

#[test]
fn json_status_asks_for_all_only_when_told_to() {
    let service = answering(status_with(&json!([])));
    assert_eq!(ask(&service.endpoint(), &["--json", "status"]).json()["model_count"], 1);
    assert_eq!(service.params_of("status"), json!({}));
    let service = answering(status_with(&json!([])));
    ask(&service.endpoint(), &["--json", "status", "--all"]);
    assert_eq!(service.params_of("status"), json!({"all": true}));
}
