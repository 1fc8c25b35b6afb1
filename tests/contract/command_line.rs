//! Section 6: the command line against the real service: texts, exit codes, `--json`.

use serde_json::{Value, json};

use crate::support::backend::until;
use crate::support::{Place, fake, fake_with, runs, service_with};

#[test]
fn status_is_told_as_the_contract_has_it() {
    let (place, mut service) = service_with(vec![fake("tiny", &[]), fake("other", &[])]);
    let head = format!(
        "Service Status: running\nClient Endpoint: {}\nCLI Endpoint: {}\n\n",
        place.client_endpoint(),
        place.cli_endpoint()
    );
    let none = format!("{head}No models currently loaded\n");
    assert_eq!(place.run(&["status"]).all(), (Some(0), none.as_str(), ""));
    let loaded = service.load("tiny");
    let run = place.run(&["ps"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let table = run.stdout.strip_prefix(&head).expect("the same head");
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "TYPE", "STATE", "UPTIME", "RESTARTS", "ENDPOINT", "PID"]);
    let endpoint = loaded["endpoint"].as_str().expect("text");
    let pid = loaded["pid"].to_string();
    let [name, kind, state, _uptime, restarts, told, process] = rows[1][..] else {
        panic!("{table}")
    };
    assert_eq!([name, kind, state, restarts, told], ["tiny", "fake", "ready", "0", endpoint]);
    assert_eq!(process, pid);
    assert_eq!(rows.len(), 2);
    assert!(place.run(&["status", "--all"]).stdout.contains("\nother"));
    service.stop();
}

#[test]
fn load_unload_and_restart() {
    let failing = json!({"restart": {"max_consecutive_failures": 0}});
    let (place, mut service) = service_with(vec![
        fake("tiny", &[]),
        fake("slow", &["--load-time", "1h"]),
        fake_with("failing", &["--exit-before-ready", "--exit-code", "3", "--print-args"], failing),
    ]);
    for line in [
        &["load-model", "tiny"][..],
        &["load", "org/tiny"],
        &["load-model", "tiny", "--config", "P"],
        &["load-model", "tiny", "--config-path", "P"],
    ] {
        let run = place.run(line);
        let endpoint = service.model("tiny")["endpoint"].as_str().expect("text").to_owned();
        let told = format!("Model loaded successfully on endpoint: {endpoint}\n");
        assert_eq!(run.all(), (Some(0), told.as_str(), ""), "{line:?}");
    }
    let run = place.run(&["restart", "tiny"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(run.stdout.starts_with("Model restarted successfully on endpoint: ipc://"), "{run:?}");
    let run = place.run(&["load", "slow", "--no-wait"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(
        run.stdout.starts_with("Model is starting; it will serve on endpoint: ipc://"),
        "{run:?}"
    );
    let run = place.run(&["load", "slow", "--timeout", "200ms"]);
    let told = "Service not responding (timeout)\nno answer within 200ms: slow is starting";
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(
        run.stderr.starts_with(told) && run.stderr.ends_with("it goes on loading\n"),
        "{run:?}"
    );
    for line in [&["unload-model", "slow"][..], &["unload", "tiny"]] {
        assert_eq!(place.run(line).all(), (Some(0), "Model unloaded successfully\n", ""));
    }

    let run = place.run(&["load", "failing"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.starts_with("Error loading model: "), "{run:?}");
    assert!(
        run.stderr.contains("exit 3 before ready") && run.stderr.contains("arg --exit-code"),
        "{run:?}"
    );
    let run = place.run(&["load", "TINY"]);
    let told = "Error loading model: Unknown model 'TINY' - not found in configuration. \
                Similar model name found. Do you mean: tiny?\n";
    assert_eq!(run.all(), (Some(1), "", told));
    let run = place.run(&["unload", "tiny"]);
    assert_eq!(run.all(), (Some(1), "", "Error unloading model: Model tiny not found\n"));
    let run = place.run(&["restart", "x"]);
    let told = "Error restarting model: Unknown model 'x' - not found in configuration\n";
    assert_eq!(run.all(), (Some(1), "", told));
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn the_other_views() {
    let (place, mut service) =
        service_with(vec![fake("tiny", &["--print-args"]), fake("other", &[])]);
    service.logs("service_started");
    let pid = service.load("tiny")["pid"].clone();
    let view = |line: &[&str]| {
        let run = place.run(line);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{line:?}");
        run.stdout
    };
    let list = view(&["ls"]);
    assert!(list.starts_with("NAME "), "{list}");
    assert!(
        list.contains("\ntiny") && list.contains("\nother") && list.contains("org/other"),
        "{list}"
    );
    let tree = view(&["tree"]);
    assert!(tree.starts_with("root (supervisor) running"), "{tree}");
    assert!(tree.contains(&format!("pid {pid} (process) ready")), "{tree}");
    let events = view(&["events"]);
    let kinds: Vec<_> =
        events.lines().map(|line| line.split("  ").nth(2).expect("a kind")).collect();
    assert_eq!(kinds, ["service_started", "starting", "ready"]);
    until("its output", || view(&["logs", "tiny"]).contains("\nready\n").then_some(()));
    assert_eq!(view(&["logs", "-n", "1", "tiny"]), "ready\n");
    let all = view(&["logs"]);
    assert!(
        all.lines().all(|line| line.contains("tiny")) && all.contains(&format!("pid {pid}")),
        "{all}"
    );
    assert_eq!(view(&["logs", "other"]), "");
    assert!(view(&["handshake"]).contains("l4m"));
    assert!(view(&["handshake", "--model", "other"]).contains("ipc://"));
    assert!(view(&["reload"]).starts_with("Configuration reloaded\nUnchanged models: 2\n"));
    for name in ["install-model", "uninstall-model"] {
        let run = place.run(&[name, "x", "--local-dir", "y"]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
        assert!(run.stderr.contains("model library"), "it says so plainly: {run:?}");
    }
    assert!(view(&["completions", "bash"]).contains("symphony"));
    assert!(view(&["man", "load-model"]).starts_with(".ie"));
    service.stop();
}

#[test]
fn json_is_the_data_of_the_reply_and_nothing_else() {
    let (place, mut service) = service_with(vec![fake("tiny", &[])]);
    let mut cli = service.cli();
    let loaded = place.run(&["--json", "load", "tiny"]);
    assert_eq!((loaded.code, loaded.stderr.as_str()), (Some(0), ""));
    assert_eq!(loaded.json(), cli.data("load-model", json!({"model_name": "tiny"})));
    // what does not change between two looks
    for (line, command, params) in [
        (&["list-models"][..], "list-models", json!({})),
        (&["tree"], "tree", json!({})),
        (&["events"], "events", json!({})),
        (&["logs", "tiny"], "logs", json!({"model_name": "tiny"})),
        (&["status"], "status", json!({})),
    ] {
        let mut line = line.to_vec();
        line.push("--json");
        let same = until(command, || {
            let run = place.run(&line);
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
            let (mut shown, mut asked) = (run.json(), cli.data(command, params.clone()));
            forget_uptimes(&mut shown);
            forget_uptimes(&mut asked);
            // its first lines may just have been written between the two
            (shown == asked).then_some(shown)
        });
        assert!(same.is_object());
    }
    let run = place.run(&["--json", "unload", "tiny"]);
    assert_eq!((run.json(), run.code), (json!({"message": "Model tiny unloaded"}), Some(0)));
    let run = place.run(&["--json", "unload", "tiny"]);
    assert_eq!((run.json(), run.code), (json!({"error": "Model tiny not found"}), Some(1)));
    assert_eq!(run.stderr, "");
    let run = place.run(&["--json", "load", "x"]);
    let unknown = json!({"error": "Unknown model 'x' - not found in configuration"});
    assert_eq!((run.json(), run.code), (unknown, Some(1)));
    let run = place.run(&["--json", "stop-service", "--wait"]);
    assert_eq!((run.json(), run.code), (json!({"message": "Service shutdown requested"}), Some(0)));
    assert_eq!(service.ended().code(), Some(0));
    let run = place.run(&["--json", "status"]);
    assert_eq!(
        (run.json(), run.code),
        (json!({"error": "Management service is not running"}), Some(1))
    );
}

fn forget_uptimes(value: &mut Value) {
    match value {
        Value::Object(table) => {
            table.remove("uptime");
            table.values_mut().for_each(forget_uptimes);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_uptimes),
        _ => {}
    }
}

#[test]
fn without_a_service_every_command_says_so() {
    let place = Place::with_models(vec![fake("tiny", &[])]);
    let told = "Management service is not running\n";
    for line in [
        &["status"][..],
        &["unload", "tiny"],
        &["restart", "tiny"],
        &["ls"],
        &["logs"],
        &["tree"],
        &["events"],
        &["reload"],
        &["handshake"],
    ] {
        assert_eq!(place.run(line).all(), (Some(1), "", told), "{line:?}");
    }
    let run = place.run(&["load-model", "tiny"]);
    let start_first = "Management service is not running. Start it first with 'start-service'\n";
    assert_eq!(run.all(), (Some(1), "", start_first));
    assert_eq!(place.run(&["stop-service"]).all(), (Some(0), "", told));
    assert_eq!(place.run(&["down", "--wait"]).all(), (Some(0), "", told));
}

#[test]
fn stop_service_waits_for_the_end_when_asked_to() {
    let stubborn = json!({"stop": {"grace": "500ms"}});
    let (place, mut service) = service_with(vec![fake_with("tiny", &["--ignore-term"], stubborn)]);
    let pid = service.load("tiny")["pid"].clone();
    let run = place.run(&["stop-service", "--wait"]);
    assert_eq!(run.all(), (Some(0), "Service shutdown requested\n", ""));
    assert!(!runs(&pid));
    assert!(!place.path("run/cli").exists());
    assert_eq!(service.ended().code(), Some(0));
    place.assert_nothing_left();
}
