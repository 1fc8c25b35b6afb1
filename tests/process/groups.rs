//! Models whose failures concern each other, on real processes: groups, and models that are started after others.

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::backend::until;
use crate::manager::Manager;
use crate::service::{Model, Row, Service, fake};

/// A service with these models in one group, in this order.
fn grouped(strategy: &str, models: &[Model]) -> Service {
    grouped_with(models, json!({ "strategy": strategy }))
}

fn grouped_with(models: &[Model], keys: Value) -> Service {
    Service::start_with(models, |configuration| {
        let models = configuration["supported_models"].as_array().expect("a list").iter();
        let members: Vec<_> = models.map(|model| model["name"].clone()).collect();
        let mut group = json!({ "name": "pair", "members": members });
        for (key, value) in keys.as_object().expect("a table") {
            group[key] = value.clone();
        }
        configuration["groups"] = json!([group]);
    })
}

/// When a model reached a state for the last time.
fn last_at(service: &Service, model: &str, kind: &str) -> f64 {
    let events = service.events(model);
    let last = events.iter().rev().find(|event| event.kind() == kind);
    last.unwrap_or_else(|| panic!("{model} was never {kind}")).at_ms()
}

/// A backend that serves as long as this file is there, and then exits with 3.
fn fragile(name: &str, file: &Path) -> Model {
    let script = format!(
        "test -e {file} || exit 3; {fake} --ipc-endpoint \"$0\" & \
         while test -e {file}; do sleep 0.01; done; kill $!; exit 3",
        file = file.display(),
        fake = crate::backend::FAKE,
    );
    crate::service::program(name, &["/bin/sh", "-c", &script, "{endpoint}"])
}

#[test]
fn a_draft_that_dies_takes_its_target_along_and_both_come_back() {
    let service = grouped("one_for_all", &[fake("draft", &[]), fake("target", &[])]);
    let target = service.load("target");
    let draft = service.row("draft");
    assert_eq!(draft.state(), "ready", "one is loaded with the other, and before it");
    assert!(last_at(&service, "draft", "ready") <= last_at(&service, "target", "ready"));
    assert_eq!(draft.0["group"], "pair");

    draft.signal(Signal::KILL);
    let (draft, target) = (service.wait_for_successor(&draft), service.wait_for_successor(&target));
    assert_eq!((draft.generation(), target.generation()), (2, 2));
    assert_eq!((draft.restarts(), target.restarts()), (1, 1));
    assert_eq!(draft.exit_reason(), "signal 9");
    assert_eq!(target.exit_reason(), "with draft: signal 9 (exit 0)", "it ended in order");
    let events = service.happened_to("group pair");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((events[0].kind(), events[0].cause()), ("group_restarting", "draft: signal 9"));
    // the target is gone before the draft has a process again, and comes when the draft is ready
    assert!(last_at(&service, "target", "exited") <= last_at(&service, "draft", "ready"));
    assert!(last_at(&service, "draft", "ready") <= last_at(&service, "target", "ready"));

    // the other way round as well
    target.signal(Signal::KILL);
    service.wait_for_successor(&target);
    let again = service.wait_for_successor(&draft);
    assert_eq!(again.exit_reason(), "with target: signal 9 (exit 0)");
    service.stop();
}

#[test]
fn the_rest_goes_with_the_one_they_depend_on() {
    let names = ["a", "b", "c"];
    let service = grouped("rest_for_one", &names.map(|name| fake(name, &[])));
    service.load("c");
    let [a, b, c] = names.map(|name| service.row(name));
    assert!([&a, &b, &c].iter().all(|row| row.state() == "ready"), "those before it come, too");
    b.signal(Signal::KILL);
    let successors = [service.wait_for_successor(&b), service.wait_for_successor(&c)];
    assert_eq!(successors.map(|row| row.generation()), [2, 2]);
    assert_eq!(service.row("a").pid(), a.pid(), "what it does not depend on is left alone");
    assert_eq!(service.row("c").exit_reason(), "with b: signal 9 (exit 0)");

    // who depends on it goes first
    service.ask("unload-model", json!({ "model_name": "b" }));
    let states = names.map(|name| service.row(name).state().to_owned());
    assert_eq!(states, ["ready", "stopped", "stopped"]);
    assert!(last_at(&service, "c", "stopped") <= last_at(&service, "b", "stopping"));
    service.stop();
}

#[test]
fn members_of_one_for_one_are_only_counted_together() {
    let window = json!({ "strategy": "one_for_one", "intensity": 1, "period": "1h" });
    let service = grouped_with(&[fake("a", &[]), fake("b", &[])], window);
    let a = service.load("a");
    assert_eq!(service.row("b").state(), "stopped", "nobody else is loaded");
    let b = service.load("b");
    a.signal(Signal::KILL);
    service.wait_for_successor(&a);
    assert_eq!(service.row("b").pid(), b.pid());
    b.signal(Signal::KILL);
    let reason = "group pair: 1 restart in 1h used up, last: b: signal 9";
    for name in ["a", "b"] {
        let parked = service.wait_for_state(name, "parked");
        assert!(parked.reason().starts_with(reason), "{parked:?}");
    }
    service.stop();
}

#[test]
fn a_restart_by_hand_of_any_member_forgets_the_failures_of_all() {
    let window = json!({ "strategy": "one_for_all", "intensity": 1, "period": "1h" });
    let service = grouped_with(&[fake("draft", &[]), fake("target", &[])], window);
    let mut draft = service.load("draft");
    draft.signal(Signal::KILL);
    draft = service.wait_for_successor(&draft);
    draft.signal(Signal::KILL);
    service.wait_for_state("target", "parked");

    service.ask("restart-model", json!({ "model_name": "target", "wait": true }));
    let draft = service.wait_for_state("draft", "ready");
    draft.signal(Signal::KILL);
    let again = service.wait_for_successor(&draft);
    assert_eq!(again.state(), "ready", "it counts from the beginning: {again:?}");
    service.stop();
}

#[test]
fn a_group_whose_window_is_used_up_is_parked_as_a_whole_and_comes_back_by_a_load() {
    let window = json!({ "strategy": "one_for_all", "intensity": 2, "period": "1h" });
    let service = grouped_with(&[fake("draft", &[]), fake("target", &[])], window);
    let mut target = service.load("target");
    let draft = service.row("draft");
    for _ in 0..2 {
        target.signal(Signal::KILL);
        target = service.wait_for_successor(&target);
    }
    target.signal(Signal::KILL);
    let reason = "group pair: 2 restarts in 1h used up, last: target: signal 9; one trial start";
    for name in ["draft", "target"] {
        let parked = service.wait_for_state(name, "parked");
        assert!(parked.reason().starts_with(reason), "{parked:?}");
    }
    let told = service.happened_to("group pair");
    let kinds: Vec<_> = told.iter().map(|event| event.kind()).collect();
    assert!(kinds.contains(&"group_gave_up") && kinds.contains(&"group_parked"), "{kinds:?}");
    assert!(service.row("draft").generation() > draft.generation());
    assert_eq!(
        service.row("draft").exit_reason(),
        "group pair: 2 restarts in 1h used up, last: target: signal 9 (exit 0)"
    );

    let draft = service.load("draft");
    assert_eq!(draft.state(), "ready");
    service.wait_for_state("target", "ready");
    service.stop();
}

#[test]
fn what_is_parked_by_its_own_rules_is_not_parked_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("alive");
    std::fs::write(&file, "").expect("written");
    let restart =
        json!({ "max_consecutive_failures": 1, "backoff_min": "1ms", "backoff_max": "1ms" });
    let models = [fake("draft", &[]), fragile("target", &file).with("restart", restart)];
    let service = grouped("one_for_all", &models);
    service.load("target");
    std::fs::remove_file(&file).expect("removed");
    let target = service.wait_for_state("target", "parked");
    assert!(target.reason().contains("2 failures in a row, the last: exit 3"), "{target:?}");
    let draft = service.wait_for_state("draft", "parked");
    assert!(draft.reason().starts_with("with target: 2 failures in a row"), "{draft:?}");
    std::fs::write(&file, "").expect("written");
    service.load("target");
    assert_eq!(service.row("draft").state(), "ready");
    service.stop();
}

#[test]
fn a_stop_wins_while_others_are_taken_along() {
    let slow = fake("target", &["--ignore-term"]).with("stop", json!({ "grace": "1s" }));
    let service = grouped("one_for_all", &[fake("draft", &[]), slow]);
    service.load("target");
    service.row("draft").signal(Signal::KILL);
    service.wait_for_state("target", "stopping");
    service.ask("unload-model", json!({ "model_name": "draft" }));
    for name in ["draft", "target"] {
        let row = service.wait_for_state(name, "stopped");
        assert_eq!(row.0["pid"], Value::Null);
    }
    assert!(service.events("draft").iter().all(|event| event.generation() <= 2));
    service.stop();
}

#[test]
fn who_is_killed_while_it_starts_takes_nobody_into_a_second_process() {
    let service =
        grouped("one_for_all", &[fake("draft", &[]), fake("target", &["--load-time", "1h"])]);
    let load = service.order_load("target");
    let target = service.wait_for("target", "spawned", |row| row.0["pid"].is_u64());
    let draft = service.wait_for_state("draft", "ready");
    target.signal(Signal::KILL);
    let draft = service.wait_for_successor(&draft);
    assert_eq!(draft.exit_reason(), "with target: signal 9 before ready (exit 0)");
    let target = service
        .wait_for("target", "spawned anew", |row| row.generation() == 2 && row.0["pid"].is_u64());
    assert_eq!(service.processes().len(), 3, "the service and one process for each");
    // also while it waits for the other one
    draft.signal(Signal::KILL);
    service.wait_for("target", "replaced", |row| {
        row.generation() > target.generation() && row.0["pid"].is_u64()
    });
    service.ask("unload-model", json!({ "model_name": "target" }));
    assert!(load.outcome().is_err());
    assert_eq!(service.row("draft").state(), "stopped");
    service.stop();
}

/// The end of an escalation takes the gateway along, and requests with it: asked until it is answered.
fn wait_for_ready(manager: &Manager, model: &str, after: u64) -> Row {
    until("the next process of the member", || {
        let status = manager.ask_until_answered("status", &json!({}));
        let mut rows = status["models"].as_array().expect("a list").iter().cloned().map(Row);
        rows.find(|row| row.name() == model && row.state() == "ready" && row.generation() > after)
    })
}

#[test]
fn an_escalation_travels_from_the_member_over_its_group_to_the_top() {
    let restart = json!({ "on_give_up": "escalate", "backoff_min": "1ms", "backoff_max": "1ms" });
    let window = json!({ "strategy": "one_for_all", "intensity": 0, "period": "1h" });
    let target = fake("target", &[]).with("restart", restart);
    let mut service = grouped_with(&[fake("draft", &[]), target], window);
    service.load("target").signal(Signal::KILL);
    let manager = service.manager();
    let mut last = wait_for_ready(&manager, "target", 1);
    wait_for_ready(&manager, "draft", 1);

    let page = manager.ask_until_answered("events", &json!({ "since": 0 }));
    let events = page["events"].as_array().expect("a list").iter();
    let steps = events.filter(|event| {
        event["kind"] == "escalated" || event["subject"] == "root/instance_supervisor"
    });
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let steps: Vec<_> =
        steps.map(|event| ["subject", "kind", "cause"].map(|key| text(event, key))).collect();
    let why = "group pair: 0 restarts in 1h used up, last: target: signal 9";
    let expected = [
        [symphony_id("target"), "escalated".into(), why.into()],
        ["group pair".into(), "escalated".into(), format!("target: {why}")],
        ["instance_supervisor".into(), "escalated".into(), format!("group pair: target: {why}")],
    ];
    assert_eq!(steps[..3], expected);
    let [root, kind, _] = &steps[3];
    assert_eq!((root.as_str(), kind.as_str()), ("root/instance_supervisor", "actor_failed"));

    // until the root gives up
    for _ in 0..2 {
        last.signal(Signal::KILL);
        last = wait_for_ready(&manager, "target", last.generation());
    }
    last.signal(Signal::KILL);
    let status = service.ended();
    assert_eq!(status.code(), Some(3), "{}", service.log());
    service.left_nothing();
}

fn symphony_id(model: &str) -> String {
    let name = symphony::ids::ModelName::try_new(model).expect("a name");
    symphony::ids::InstanceId::of_model(&name).to_string()
}

#[test]
fn a_model_is_started_after_those_that_it_names() {
    let models = [
        fake("agent", &[]).with("after", json!(["db", "draft"])),
        fake("db", &["--load-time", "700ms"]),
        fake("draft", &[]),
    ];
    let service = Service::start(&models);
    let load = service.order_load("agent");
    let waiting = service.wait_for("agent", "waiting", |row| row.progress() == "waiting for db");
    assert_eq!((waiting.state(), &waiting.0["pid"]), ("starting", &Value::Null));
    let loaded = load.outcome().expect("it comes up");
    assert_eq!(loaded["state"], "ready");
    for name in ["db", "draft"] {
        assert_eq!(service.row(name).state(), "ready", "{name} was loaded for it");
        assert!(last_at(&service, name, "ready") <= last_at(&service, "agent", "ready"));
    }
    let agent = service.row("agent");
    assert_eq!(agent.progress(), "");

    // what is restarted later takes nobody along
    let db = service.row("db");
    db.signal(Signal::KILL);
    service.wait_for("db", "down", |row| row.generation() > db.generation());
    // and who is restarted waits again
    agent.signal(Signal::KILL);
    service.wait_for("agent", "waiting", |row| row.progress() == "waiting for db");
    service.wait_for_successor(&agent);
    assert_eq!(service.row("db").state(), "ready");
    service.stop();
}

#[test]
fn what_is_started_after_a_parked_model_is_parked_and_says_why() {
    let folder = tempfile::tempdir().expect("folder");
    let count = folder.path().join("starts");
    let count = count.to_str().expect("UTF-8");
    let crashing = ["--state-file", count, "--crash-at-start", "2", "--exit-code", "3"];
    let models = [
        fake("db", &crashing).with("restart", json!({ "max_consecutive_failures": 0 })),
        fake("agent", &[]).with("after", json!(["db"])),
        fake("chain", &[]).with("after", json!(["agent"])),
    ];
    let service = Service::start(&models);
    let error = service.fails_to_load("agent");
    assert!(error.starts_with("after db: 1 failure in a row, the last: exit 3"), "{error}");
    let parked = service.row("agent");
    assert_eq!(
        (parked.state(), parked.generation()),
        ("parked", 1),
        "it is not tried again and again"
    );
    let error = service.fails_to_load("chain");
    assert!(error.starts_with("after agent: after db: 1 failure in a row"), "{error}");
    let error = service.fails_to_load("agent");
    assert!(
        error.starts_with("after db: "),
        "a load gives the model a trial, not those before it: {error}"
    );

    service.fails_to_load("db");
    service.load("db");
    service.load("agent");
    service.load("chain");
    service.stop();
}

#[test]
fn a_stop_wins_over_the_wait_for_another_model() {
    let models =
        [fake("db", &["--load-time", "1h"]), fake("agent", &[]).with("after", json!(["db"]))];
    let service = Service::start(&models);
    let load = service.order_load("agent");
    service.wait_for("agent", "waiting", |row| row.progress() == "waiting for db");
    service.ask("unload-model", json!({ "model_name": "agent" }));
    let error = load.outcome().expect_err("it was stopped");
    assert!(error.contains("was stopped while it was starting"), "{error}");
    assert_eq!(service.row("agent").state(), "stopped");
    assert_eq!(service.row("db").state(), "starting", "who it waited for is left alone");

    // one that is unloaded is not waited for any longer
    let load = service.order_load("agent");
    service.wait_for("agent", "waiting", |row| row.progress() == "waiting for db");
    service.ask("unload-model", json!({ "model_name": "db" }));
    let error = load.outcome().expect_err("it cannot be started");
    assert!(error.starts_with("after db: Model db was stopped"), "{error}");
    // and a service that stops waits for nobody
    let _load = service.order_load("agent");
    service.wait_for("agent", "waiting", |row| row.progress() == "waiting for db");
    service.stop();
}

#[test]
fn the_tree_shows_members_below_their_group() {
    let service = grouped("one_for_all", &[fake("draft", &[]), fake("target", &[])]);
    service.load("draft");
    let target = service.wait_for_state("target", "ready");
    let tree = until("the whole tree", || {
        let tree = service.ask("tree", json!({}));
        let parts = tree["children"].as_array().expect("a list").iter();
        parts.clone().find(|node| node["name"] == "instance_supervisor").cloned()
    });
    let group = &tree["children"][0];
    assert_eq!((&group["name"], &group["kind"]), (&json!("group pair"), &json!("group")));
    assert_eq!(group["detail"], "one_for_all, 5 restarts in 10m");
    let names: Vec<_> = (0..2).map(|place| group["children"][place]["name"].clone()).collect();
    assert_eq!(names, [symphony_id("draft"), symphony_id("target")]);
    let process = &group["children"][1]["children"][0]["name"];
    assert_eq!(*process, format!("pid {}", target.pid()));
    service.stop();
}
