//! Groups and dependencies that a reload brings, changes and takes away: what runs keeps running.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::backend::until;
use crate::service::{Service, fake};

/// Rewrites the configuration and has it read; answers what it did.
fn reload(service: &Service, change: impl FnOnce(&mut Value)) -> Result<Value, String> {
    let file = service.folder().join("config.json");
    let text = std::fs::read_to_string(&file).expect("readable");
    let mut configuration: Value = serde_json::from_str(&text).expect("JSON");
    change(&mut configuration);
    std::fs::write(&file, configuration.to_string()).expect("written");
    service.manager().ask("reload", json!({}))
}

fn pair(strategy: &str, members: [&str; 2]) -> Value {
    json!([{ "name": "pair", "strategy": strategy, "members": members }])
}

fn pids(service: &Service) -> [u32; 2] {
    ["draft", "target"].map(|name| service.row(name).pid())
}

#[test]
fn a_group_comes_changes_and_goes_and_nobody_loses_a_process_for_it() {
    let service = Service::start(&[fake("draft", &[]), fake("target", &[])]);
    service.load("draft");
    service.load("target");
    let before = pids(&service);

    let outcome =
        reload(&service, |file| file["groups"] = pair("one_for_all", ["draft", "target"]));
    let outcome = outcome.expect("it is good");
    assert_eq!(outcome["applied"], json!(["groups.pair"]));
    let changed = |name| json!({ "name": name, "restart_needed": false });
    assert_eq!(outcome["changed"], json!([changed("draft"), changed("target")]));
    assert_eq!(pids(&service), before);
    assert_eq!(service.row("draft").0["group"], "pair");
    // what came up before the group did belongs to it
    let [draft, target] = ["draft", "target"].map(|name| service.row(name));
    draft.signal(Signal::KILL);
    service.wait_for_successor(&draft);
    let target = service.wait_for_successor(&target);
    assert!(target.exit_reason().starts_with("with draft: signal 9"), "{target:?}");

    // now the draft comes after the target
    let before = pids(&service);
    let outcome =
        reload(&service, |file| file["groups"] = pair("rest_for_one", ["target", "draft"]));
    assert_eq!(outcome.expect("it is good")["applied"], json!(["groups.pair"]));
    assert_eq!(pids(&service), before);
    let draft = service.row("draft");
    draft.signal(Signal::KILL);
    let draft = service.wait_for_successor(&draft);
    assert_eq!(service.row("target").pid(), before[1], "it does not depend on the draft any more");
    service.row("target").signal(Signal::KILL);
    service.wait_for_successor(&draft);

    // a bad one changes nothing
    let before = pids(&service);
    let error = reload(&service, |file| file["groups"] = pair("one_for_all", ["draft", "nobody"]));
    assert!(error.expect_err("faulty").contains("there is no model 'nobody'"));
    assert_eq!((pids(&service), &service.row("draft").0["group"]), (before, &json!("pair")));

    let outcome = reload(&service, |file| file["groups"] = json!([]));
    assert_eq!(outcome.expect("it is good")["applied"], json!(["groups.pair"]));
    assert_eq!(pids(&service), before);
    assert_eq!(service.row("draft").0["group"], Value::Null);
    until("a tree without it", || {
        let tree = service.ask("tree", json!({})).to_string();
        (!tree.contains("group pair")).then_some(())
    });
    let target = service.row("target");
    target.signal(Signal::KILL);
    service.wait_for_successor(&target);
    assert_eq!(service.row("draft").pid(), before[0], "each stands for itself again");
    service.stop();
}

#[test]
fn who_is_moved_to_another_group_while_it_runs_belongs_to_that_one_alone() {
    let models = ["a", "b", "c", "d"].map(|name| fake(name, &[]));
    let groups = |first: &[&str], second: &[&str]| {
        let group = |name, members| json!({ "name": name, "strategy": "one_for_all", "members": members, "intensity": 2 });
        json!([group("first", first), group("second", second)])
    };
    let service = Service::start_with(&models, |file| {
        file["groups"] = groups(&["a", "b"], &["c", "d"]);
    });
    service.load("b");
    service.load("d");
    // each group is in its second round now, and has counted one failure
    for (failed, other) in [("a", "b"), ("c", "d")] {
        let [failed, other] = [failed, other].map(|name| service.row(name));
        failed.signal(Signal::KILL);
        service.wait_for_successor(&failed);
        service.wait_for_successor(&other);
    }
    let [a, c, d] = ["a", "c", "d"].map(|name| service.row(name));
    // and one more of the first, in its third
    a.signal(Signal::KILL);
    let a = service.wait_for_successor(&a);
    service.wait_for("b", "ready", |row| row.state() == "ready" && row.restarts() == 2);

    let outcome = reload(&service, |file| file["groups"] = groups(&["b"], &["c", "d", "a"]));
    outcome.expect("it is good");
    let b = service.row("b");
    assert_eq!(service.row("a").pid(), a.pid(), "what runs keeps running");
    c.signal(Signal::KILL);
    for other in [&d, &a] {
        let other = service.wait_for_successor(other);
        assert!(other.exit_reason().starts_with("with c: signal 9"), "{other:?}");
    }
    // with the two failures of the other group it would have been given up
    service.wait_for_successor(&c);
    assert_eq!(service.row("b").pid(), b.pid());
    service.stop();
}

#[test]
fn who_waits_for_a_group_that_is_taken_away_waits_no_longer() {
    let slow = fake("draft", &["--load-time", "1h"]);
    let service = Service::start_with(&[slow, fake("target", &[])], |file| {
        file["groups"] = pair("one_for_all", ["draft", "target"]);
    });
    let load = service.order_load("target");
    service.wait_for("target", "waiting", |row| row.progress() == "waiting for draft");
    reload(&service, |file| file["groups"] = json!([])).expect("it is good");
    assert_eq!(load.outcome().expect("it comes up")["state"], "ready");
    assert_eq!(service.row("draft").state(), "starting");
    service.stop();
}

#[test]
fn a_dependency_that_a_reload_brings_counts_from_the_next_start_on() {
    let service = Service::start(&[fake("agent", &[]), fake("db", &[])]);
    let agent = service.load("agent");
    let outcome = reload(&service, |file| file["supported_models"][0]["after"] = json!(["db"]));
    let changed = json!([{ "name": "agent", "restart_needed": false }]);
    assert_eq!(outcome.expect("it is good")["changed"], changed);
    assert_eq!(service.row("agent").pid(), agent.pid());
    assert_eq!(service.row("db").state(), "stopped");
    agent.signal(Signal::KILL);
    service.wait_for_successor(&agent);
    assert_eq!(service.row("db").state(), "ready", "loaded for the next start");
    let circle = reload(&service, |file| file["supported_models"][1]["after"] = json!(["agent"]));
    let error = circle.expect_err("faulty");
    assert!(error.contains("each waits for the next: agent -> db -> agent"), "{error}");
    service.stop();
}
