//! Section 2: a changed configuration is applied as a difference, by `reload` and by SIGHUP.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::backend::{FAKE, until};
use crate::support::{Place, Service, fake, fake_with, runs, service_with};

/// Models before the change; all of them are loaded but the last.
fn before() -> Vec<Value> {
    ["kept", "told", "edited", "gone", "idle"].map(|name| fake(name, &[])).to_vec()
}

/// Models after it.
fn after() -> Vec<Value> {
    vec![
        fake("kept", &[]),
        fake_with("told", &[], json!({"health": {"every": "7s"}})),
        fake_with("edited", &[], json!({"env": {"ADDED_LATER": "yes"}})),
        fake("idle", &[]),
        fake("fresh", &[]),
    ]
}

fn load_all(service: &Service) -> [Value; 4] {
    ["kept", "told", "edited", "gone"].map(|name| service.load(name)["pid"].clone())
}

fn assert_applied(service: &Service, pids: &[Value; 4]) {
    let [kept, told, edited, gone] = pids;
    until("the removed model's end", || (!runs(gone)).then_some(()));
    for (name, pid) in [("kept", kept), ("told", told), ("edited", edited)] {
        let model = service.model(name);
        assert_eq!((&model["pid"], &model["state"]), (pid, &json!("ready")), "{name}");
    }
    // the new command counts from the next start on
    let restarted =
        service.cli().data("restart-model", json!({"model_name": "edited", "wait": true}));
    let environ =
        std::fs::read(format!("/proc/{}/environ", restarted["pid"])).expect("its environment");
    assert!(String::from_utf8_lossy(&environ).contains("ADDED_LATER=yes"));
    service.load("fresh");
    let mut cli = service.cli();
    let unknown = "Unknown model 'gone' - not found in configuration";
    assert_eq!(cli.error("load-model", json!({"model_name": "gone"})), unknown);
    until("the removed model is not listed", || {
        let list = cli.data("list-models", json!({}));
        let names = |key: &str| -> Vec<Value> {
            let models = list[key].as_array().expect("models").iter();
            models.map(|model| model["name"].clone()).collect()
        };
        assert_eq!(names("supported_models"), ["kept", "told", "edited", "idle", "fresh"]);
        (!names("loaded_models").contains(&json!("gone"))).then_some(())
    });
}

#[test]
fn reload_applies_the_difference_and_lists_it() {
    let (place, mut service) = service_with(before());
    let pids = load_all(&service);
    place.configure(&place.configuration(after()));
    let outcome = service.cli().data("reload", json!({}));
    assert_eq!(
        outcome,
        json!({
            "added": ["fresh"],
            "changed": [{"name": "told", "restart_needed": false},
                        {"name": "edited", "restart_needed": true}],
            "removed": ["gone"],
            "unchanged": 2,
            "needs_service_restart": [],
            "applied": [],
        })
    );
    assert_applied(&service, &pids);
    // once more: nothing changed
    let outcome = service.cli().data("reload", json!({}));
    assert_eq!((&outcome["unchanged"], &outcome["changed"]), (&json!(5), &json!([])));
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn sighup_applies_the_difference_and_logs_it() {
    let (place, mut service) = service_with(before());
    let pids = load_all(&service);
    place.configure(&place.configuration(after()));
    service.signal(Signal::HUP);
    let line = service.logs("configuration reloaded");
    for name in ["fresh", "edited", "gone"] {
        assert!(line.contains(name), "{line}");
    }
    assert_applied(&service, &pids);
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn the_command_line_tells_the_difference() {
    let (place, mut service) = service_with(before());
    let mut configuration = place.configuration(after());
    configuration["logging"] = json!({"level": "debug"});
    configuration["service"]["spawns_at_once"] = 2.into();
    place.configure(&configuration);
    let run = place.run(&["reload"]);
    let told = "Configuration reloaded\nAdded: fresh\nChanged, takes effect when the model is restarted: edited\n\
                Changed, in force: told\nRemoved: gone\nApplied: logging.level\n\
                Takes effect when the service is restarted: service.spawns_at_once\n\
                Unchanged models: 2\n";
    assert_eq!(run.all(), (Some(0), told, ""));
    let line = service.logs("configuration reloaded: ");
    let told = "added fresh; changed told, edited (restart needed); removed gone; applied logging.level; \
                at the next start of the service service.spawns_at_once; 2 models unchanged";
    assert!(line.ends_with(told), "{line}");
    service.stop();
}

#[test]
fn a_bad_file_changes_nothing_and_all_its_faults_are_told() {
    let (place, mut service) = service_with(before());
    let pids = load_all(&service);
    let mut faulty = place.configuration(vec![
        fake("kept", &[]),
        fake_with("told", &[], json!({"health": {"every": "soon"}})),
        json!({"name": "", "type": "fake"}),
        json!({"name": "lost", "type": "fack"}),
    ]);
    faulty["servce"] = json!({});
    place.configure(&faulty);
    let error = service.cli().error("reload", json!({}));
    for fault in ["health.every", "name", "servce", "did you mean 'fake'"] {
        assert!(error.contains(fault), "{fault}: {error}");
    }
    let run = place.run(&["reload", "--endpoint", &place.cli_endpoint()]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.contains("health.every"), "{run:?}");
    place.write("config.json", "{");
    service.signal(Signal::HUP);
    assert!(service.logs("Invalid JSON").contains("ERROR"), "{}", service.log());
    std::fs::remove_file(place.path("config.json")).expect("removed");
    let error = service.cli().error("reload", json!({}));
    assert!(error.starts_with("Configuration file not found at"), "{error}");
    for (name, pid) in ["kept", "told", "edited", "gone"].into_iter().zip(&pids) {
        assert_eq!(&service.model(name)["pid"], pid, "{name}");
    }
    service.load("idle");
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn a_model_that_is_added_with_autostart_is_loaded() {
    let place = Place::with_models(vec![fake_with("first", &[], json!({"autostart": true}))]);
    let mut service = place.serve(&[]);
    let first = service.model_becomes("first", "ready");
    place.configure(&place.configuration(vec![
        fake_with("first", &[], json!({"autostart": true})),
        fake_with("second", &[], json!({"autostart": true})),
    ]));
    assert_eq!(service.cli().data("reload", json!({}))["added"], json!(["second"]));
    service.model_becomes("second", "ready");
    assert_eq!(service.model("first")["pid"], first["pid"]);
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn a_model_that_speaks_something_else_gets_another_endpoint_at_its_next_start() {
    let over_http = || {
        let command = json!([FAKE, "--http", "{port}"]);
        json!({"name": "a", "type": "fake", "kind": "http", "command": command})
    };
    let place = Place::with_models(vec![fake("a", &[])]);
    let mut service = place.serve(&[]);
    let before = service.load("a");
    let restart = json!({"model_name": "a", "wait": true});
    place.configure(&place.configuration(vec![over_http()]));
    let outcome = service.cli().data("reload", json!({}));
    assert_eq!(outcome["changed"], json!([{"name": "a", "restart_needed": true}]));
    let row = service.model("a");
    assert_eq!((&row["pid"], &row["endpoint"]), (&before["pid"], &before["endpoint"]));
    let after = service.cli().data("restart-model", restart.clone());
    let text = |reply: &Value| reply["endpoint"].as_str().expect("a text").to_owned();
    assert!(text(&after).starts_with("http://127.0.0.1:"), "{after}");
    assert_eq!(service.model("a")["state"], "ready");
    let socket = text(&before).replace("ipc://", "");
    assert!(!std::path::Path::new(&socket).exists(), "the socket of its former life");

    place.configure(&place.configuration(vec![fake("a", &[])]));
    service.cli().data("reload", json!({}));
    let back = service.cli().data("restart-model", restart);
    assert!(text(&back).starts_with("ipc://"), "{back}");
    service.stop();
    place.assert_nothing_left();
}
