//! Section 3: the commands, their data and their error texts.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::backend::until;
use crate::support::client::Client;
use crate::support::{Place, Service, fake, fake_with, kill_pid, runs, service_with};

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("a table").keys().map(String::as_str).collect()
}

fn names(models: &Value) -> Vec<&str> {
    models.as_array().expect("models").iter().map(|m| m["name"].as_str().expect("text")).collect()
}

/// Models that stay in one state each, besides `never`.
fn one_of_each_state() -> Vec<Value> {
    let steady = json!({"every": "1s", "timeout": "50ms", "misses": 1000});
    let slow_backoff = json!({"backoff_min": "10m", "backoff_max": "10m", "max_consecutive_failures": 3,
                              "window_max": 2, "window_period": "3h"});
    vec![
        fake("starting", &["--load-time", "1h"]),
        fake("ready", &[]),
        fake_with("unhealthy", &["--hang-after-requests", "0"], json!({"health": steady})),
        fake_with(
            "backoff",
            &["--exit-before-ready", "--exit-code", "4"],
            json!({"restart": slow_backoff}),
        ),
        fake_with("stopping", &["--ignore-term"], json!({"stop": {"grace": "1h"}})),
        fake_with(
            "parked",
            &["--exit-before-ready", "--exit-code", "5"],
            json!({"restart": {"fatal_codes": [5]}}),
        ),
        fake("never", &[]),
    ]
}

fn bring_all_up(service: &Service) -> Client {
    let mut waiting = service.cli();
    for name in ["starting", "unhealthy", "backoff", "parked"] {
        waiting.begin("load-model", json!({"model_name": name, "wait": true}));
    }
    service.load("ready");
    service.load("stopping");
    waiting.begin("unload-model", json!({"model_name": "stopping"}));
    for name in ["starting", "unhealthy", "backoff", "parked", "stopping"] {
        service.model_becomes(name, name);
    }
    waiting
}

#[test]
fn status_lists_every_loaded_model_with_all_keys_and_with_all_the_others() {
    let (place, service) = service_with(one_of_each_state());
    let _waiting = bring_all_up(&service);
    let mut cli = service.cli();

    let status = cli.data("status", json!({}));
    assert_eq!(
        keys(&status),
        BTreeSet::from([
            "service_status",
            "is_running",
            "binary",
            "version",
            "pid",
            "uptime",
            "client_endpoint",
            "cli_endpoint",
            "model_count",
            "models",
        ])
    );
    assert_eq!(
        (&status["service_status"], &status["is_running"]),
        (&json!("running"), &json!(true))
    );
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], service.pid());
    assert!(status["uptime"].is_u64());
    assert_eq!(status["client_endpoint"], place.client_endpoint());
    assert_eq!(status["cli_endpoint"], place.cli_endpoint());
    let loaded = ["starting", "ready", "unhealthy", "backoff", "stopping"];
    assert_eq!(names(&status["models"]), loaded);
    assert_eq!(status["model_count"], loaded.len());

    let all = cli.data("status", json!({"all": true}));
    let every = ["starting", "ready", "unhealthy", "backoff", "stopping", "parked", "never"];
    assert_eq!(names(&all["models"]), every);
    assert_eq!(all["model_count"], every.len());
    for model in all["models"].as_array().expect("models") {
        let name = model["name"].as_str().expect("text");
        for key in [
            "name",
            "model_name",
            "type",
            "model_type",
            "fullname",
            "endpoint",
            "pid",
            "started_at",
            "uptime",
            "is_alive",
            "state",
            "generation",
            "restarts",
            "last_exit",
            "supported_protocols",
        ] {
            assert!(model.get(key).is_some(), "{key} of {model}");
        }
        assert_eq!(
            (&model["model_name"], &model["fullname"]),
            (&json!(name), &json!(format!("org/{name}")))
        );
        assert_eq!((&model["type"], &model["model_type"]), (&json!("fake"), &json!("fake")));
        assert!(model["uptime"].is_u64() && model["restarts"].is_u64(), "{model}");
        let has_process = ["starting", "ready", "unhealthy", "stopping"].contains(&name);
        assert_eq!(model["pid"].is_u64(), has_process, "{model}");
        assert_eq!(model["started_at"].is_f64(), has_process, "{model}");
        assert_eq!(model["is_alive"], ["ready", "unhealthy"].contains(&name), "{model}");
        let is_known = name != "never";
        assert_eq!(model["endpoint"] != "", is_known, "{model}");
        assert_eq!(model["state"], if is_known { name } else { "stopped" });
        let failed = ["backoff", "parked"].contains(&name);
        assert_eq!(model["last_exit"].is_object(), failed, "{model}");
    }
    let ready = service.model("ready");
    assert_eq!(ready["supported_protocols"], json!(["l4m", "ping"]));
    let parked = service.model("parked");
    assert_eq!(parked["last_exit"]["status"], json!({"code": 5}), "{parked}");
    let pid_line = parked["last_exit"]["output"][0].as_str().expect("its output");
    assert!(pid_line.starts_with("pid "), "{parked}");
    assert!(
        parked["reason"].as_str().is_some_and(|reason| reason.contains("exit code 5")),
        "{parked}"
    );

    let list = cli.data("list-models", json!({}));
    assert_eq!(
        keys(&list),
        BTreeSet::from(["loaded_models", "installed_models", "supported_models"])
    );
    assert_eq!(names(&list["loaded_models"]), loaded);
    assert_eq!(keys(&list["loaded_models"][0]), keys(&status["models"][0]));
    assert_eq!(list["installed_models"], json!([]));
    assert_eq!(names(&list["supported_models"]), every);
    for model in list["supported_models"].as_array().expect("models") {
        assert_eq!(
            keys(model),
            BTreeSet::from(["name", "fullname", "type", "state", "restart", "log"])
        );
        let name = model["name"].as_str().expect("text");
        assert_eq!(model["state"], if name == "never" { "stopped" } else { name });
    }
    // nobody waits for the one that ignores TERM: the second signal of the end kills it
    drop(service);
    place.assert_nothing_left();
}

#[test]
fn unload_is_answered_when_the_process_is_gone() {
    let stubborn = json!({"stop": {"grace": "300ms"}});
    let (place, mut service) = service_with(vec![
        fake("tiny", &["--fork", "2"]),
        fake_with("stubborn", &["--ignore-term"], stubborn),
    ]);
    let mut cli = service.cli();
    for name in ["tiny", "stubborn"] {
        let loaded = service.load(name);
        let socket = loaded["endpoint"]
            .as_str()
            .expect("text")
            .strip_prefix("ipc://")
            .expect("ipc")
            .to_owned();
        // by its full name as well
        let asked = format!("org/{name}");
        let data = cli.data("unload-model", json!({"model_name": asked}));
        assert_eq!(data, json!({"message": format!("Model {asked} unloaded")}));
        assert!(!runs(&loaded["pid"]), "{name} runs");
        until("its socket is removed", || (!std::path::Path::new(&socket).exists()).then_some(()));
        assert_eq!(cli.data("status", json!({}))["models"], json!([]));
        assert_eq!(
            cli.error("unload-model", json!({"model_name": name})),
            format!("Model {name} not found")
        );
    }
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn restart_replaces_the_process_and_keeps_the_endpoint() {
    let (place, mut service) = service_with(vec![fake("tiny", &[]), fake("idle", &[])]);
    let first = service.load("tiny");
    let mut cli = service.cli();
    let second = cli.data("restart-model", json!({"model_name": "org/tiny", "wait": true}));
    assert_eq!(
        keys(&second),
        BTreeSet::from(["endpoint", "model_name", "model_type", "pid", "state"])
    );
    assert_eq!(second["endpoint"], first["endpoint"]);
    assert_eq!((&second["state"], &second["model_name"]), (&json!("ready"), &json!("tiny")));
    assert_ne!(second["pid"], first["pid"]);
    assert!(!runs(&first["pid"]) && runs(&second["pid"]));
    let model = service.model("tiny");
    assert_eq!((&model["restarts"], &model["generation"]), (&json!(1), &json!(2)));
    // one that does not run is started
    let idle = cli.data("restart-model", json!({"model_name": "idle", "wait": true}));
    assert_eq!(idle["state"], "ready");
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn every_error_text_of_the_table() {
    let place = Place::new();
    let mut configuration = place.configuration(vec![
        json!({"name": "Llama", "fullname": "org/Llama-3", "type": "fake"}),
        json!({"name": "Phi", "type": "fake"}),
        json!({"name": "PHI", "type": "fake"}),
        json!({"name": "lost", "type": "script"}),
    ]);
    configuration["model_backends"]["script"] = json!("lost.py");
    configuration["backend_path"] = json!("scripts");
    place.configure(&configuration);
    let mut service = place.serve(&[]);
    let mut cli = service.cli();
    let missing = format!("Backend script not found: {}", place.text("scripts/lost.py"));
    let unknown = "Unknown model 'x' - not found in configuration";
    let one = "Unknown model 'llama' - not found in configuration. Similar model name found. Do you mean: Llama?";
    let two = "Unknown model 'phi' - not found in configuration. Similar model names found. Do you mean: Phi, PHI?";
    let table = [
        ("load-model", json!({}), "model_name parameter required"),
        ("load-model", json!({"model_name": ""}), "model_name parameter required"),
        ("load-model", json!({"model_name": null}), "model_name parameter required"),
        ("restart-model", json!({}), "model_name parameter required"),
        ("unload-model", json!({}), "model_name parameter required"),
        ("logs", json!({}), "model_name parameter required"),
        ("load-model", json!({"model_name": "x"}), unknown),
        ("restart-model", json!({"model_name": "x"}), unknown),
        ("load-model", json!({"model_name": "llama"}), one),
        ("load-model", json!({"model_name": "phi"}), two),
        ("load-model", json!({"model_name": "lost"}), &missing),
        ("unload-model", json!({"model_name": "x"}), "Model x not found"),
        ("unload-model", json!({"model_name": "Llama"}), "Model Llama not found"),
        ("dance", json!({}), "Unknown command: dance"),
        ("install-model", json!({"model_name": "x"}), "Unknown command: install-model"),
    ];
    for (command, params, text) in table {
        assert_eq!(cli.error(command, params.clone()), text, "{command} {params}");
    }
    // names hold exactly, then full names
    let data = cli.data("load-model", json!({"model_name": "org/Llama-3", "wait": true}));
    assert_eq!(data["model_name"], "Llama");
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn requests_of_any_shape_are_answered_as_the_contract_says() {
    let (_place, mut service) = service_with(vec![fake("tiny", &[])]);
    let cli = service.cli();
    for text in [
        "",
        "x",
        "[]",
        "{}",
        "\"status\"",
        r#"{"command":"status","surplus":1}"#,
        r#"{"command":7}"#,
    ] {
        cli.send(text);
        let reply = cli.receive_json();
        assert_eq!(
            (&reply["correlation_id"], &reply["success"]),
            (&json!("unknown"), &json!(false))
        );
        let error = reply["error"].as_str().expect("text");
        assert!(error.starts_with("Invalid command format: "), "{text}: {error}");
        assert!(reply.get("data").is_none(), "{reply}");
    }
    for text in
        [r#"{"command":"version"}"#, r#"{"command":"version","correlation_id":"","params":null}"#]
    {
        cli.send(text);
        let reply = cli.receive_json();
        let id = uuid::Uuid::parse_str(reply["correlation_id"].as_str().expect("text"));
        assert_eq!(id.expect("a uuid").get_version_num(), 4);
        assert_eq!(keys(&reply), BTreeSet::from(["correlation_id", "success", "data"]));
    }
    // a REQ brings its delimiter and wants it back
    let mut req = Client::req(&_place.cli_endpoint());
    let loaded = req.data("load-model", json!({"model_name": "tiny", "wait": true}));
    assert_eq!(loaded["state"], "ready");
    assert_eq!(req.error("dance", json!({})), "Unknown command: dance");
    assert_eq!(
        req.data("unload-model", json!({"model_name": "tiny"}))["message"],
        "Model tiny unloaded"
    );
    service.stop();
}

#[test]
fn logs_are_followed_by_offset_over_a_restart() {
    let (_place, mut service) =
        service_with(vec![fake("tiny", &["--print-args"]), fake("idle", &[])]);
    let first = service.load("tiny")["pid"].clone();
    let mut cli = service.cli();
    let page = until("its first lines", || {
        let page = cli.data("logs", json!({"model_name": "tiny"}));
        page["lines"]
            .as_array()
            .is_some_and(|lines| lines.iter().any(|l| l == "ready"))
            .then_some(page)
    });
    assert_eq!(keys(&page), BTreeSet::from(["model_name", "lines", "next_offset"]));
    assert_eq!(page["lines"][0], format!("pid {first}"));
    let last = cli.data("logs", json!({"model_name": "org/tiny", "lines": 1}));
    assert_eq!(last["lines"], json!(["ready"]));
    let offset = page["next_offset"].clone();
    let nothing = cli.data("logs", json!({"model_name": "tiny", "after_offset": offset}));
    assert_eq!((&nothing["lines"], &nothing["next_offset"]), (&json!([]), &offset));

    kill_pid(&first, Signal::KILL);
    let second = until("its successor", || {
        Some(service.model("tiny")).filter(|m| m["state"] == "ready" && m["pid"] != first)
    });
    let next = until("the successor's lines", || {
        let page = cli.data("logs", json!({"model_name": "tiny", "after_offset": offset}));
        page["lines"]
            .as_array()
            .is_some_and(|lines| lines.iter().any(|l| l == "ready"))
            .then_some(page)
    });
    assert_eq!(next["lines"][0], format!("pid {}", second["pid"]), "nothing old, nothing lost");
    let nothing = json!({"model_name": "idle", "lines": [], "next_offset": 0});
    assert_eq!(cli.data("logs", json!({"model_name": "idle"})), nothing, "it was never started");
    let unknown = "Unknown model 'x' - not found in configuration";
    assert_eq!(cli.error("logs", json!({"model_name": "x"})), unknown);
    service.stop();
}

#[test]
fn events_tree_and_version() {
    let (_place, mut service) = service_with(vec![fake("tiny", &[])]);
    let mut cli = service.cli();
    // clients are served a moment before it is told
    service.logs("service_started");
    let before = cli.data("events", json!({}));
    assert_eq!(keys(&before), BTreeSet::from(["events", "next", "missed", "dropped"]));
    let pid = service.load("tiny")["pid"].clone();
    kill_pid(&pid, Signal::KILL);
    until("it is back", || {
        Some(service.model("tiny")).filter(|m| m["state"] == "ready" && m["restarts"] == 1)
    });
    let page = cli.data("events", json!({"since": before["next"]}));
    let kinds: Vec<_> = page["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| {
            assert_eq!(
                (&event["model"], event["subject"].is_string()),
                (&json!("tiny"), true),
                "{event}"
            );
            (event["kind"].as_str().expect("text"), event["generation"].as_u64().expect("number"))
        })
        .collect();
    assert_eq!(
        kinds,
        [("starting", 1), ("ready", 1), ("exited", 1), ("starting", 2), ("ready", 2)]
    );
    let exited = &page["events"][2];
    assert!(exited["cause"].as_str().is_some_and(|cause| cause.contains("signal 9")), "{exited}");
    let limited = cli.data("events", json!({"since": before["next"], "limit": 1}));
    // the newest, and how many were left out
    assert_eq!(limited["events"], json!([page["events"][4]]));
    assert_eq!((&limited["missed"], &limited["next"]), (&json!(4), &page["next"]));
    assert_eq!(cli.data("events", json!({"since": page["next"]}))["events"], json!([]));

    let tree = cli.data("tree", json!({}));
    assert_eq!(tree["name"], "root");
    let parts: Vec<_> = names(&tree["children"]);
    assert_eq!(
        parts,
        [
            "process_table",
            "event_log",
            "registry",
            "model_desk",
            "instance_supervisor",
            "gateway_supervisor"
        ]
    );
    let process = &tree["children"][4]["children"][0]["children"][0];
    let pid = service.model("tiny")["pid"].clone();
    assert_eq!(
        (&process["name"], &process["kind"]),
        (&json!(format!("pid {pid}")), &json!("process"))
    );
    assert_eq!(
        cli.data("version", json!({})),
        json!({"version": env!("CARGO_PKG_VERSION"), "pid": service.pid(), "chaos_allowed": false})
    );
    service.stop();
}
