//! `chaos-panic`: parts of the service panic on request, where it was started for that.

use serde_json::{Value, json};

use crate::backend::until;
use crate::service::{Service, fake};

fn allowing() -> Service {
    Service::start_by(&[fake("a", &[])], |command| {
        command.arg("--allow-chaos");
    })
}

/// How often an actor was restarted, by the tree.
fn restarts(tree: &Value, name: &str) -> Option<u64> {
    if tree["name"].as_str().is_some_and(|found| found.starts_with(name)) {
        return tree["restarts"].as_u64();
    }
    tree["children"].as_array()?.iter().find_map(|child| restarts(child, name))
}

#[test]
fn panics_are_refused_without_the_flag() {
    let service = Service::start(&[fake("a", &[])]);
    service.load("a");
    for params in [json!({"actor": "registry"}), json!({"actor": "instance", "model_name": "a"})] {
        assert_eq!(
            service.refused("chaos-panic", params),
            "chaos is not allowed here: start the service with --allow-chaos"
        );
    }
    assert_eq!(service.ask("version", json!({}))["chaos_allowed"], false);
    let tree = service.ask("tree", json!({}));
    assert_eq!(restarts(&tree, "registry"), Some(0), "nothing has panicked");
    service.stop();
}

#[test]
fn what_cannot_panic_is_told() {
    let service = allowing();
    let refused = |params| service.refused("chaos-panic", params);
    assert_eq!(refused(json!({})), "actor parameter required");
    assert_eq!(refused(json!({"actor": "instance"})), "model_name parameter required");
    assert_eq!(
        refused(json!({"actor": "instance", "model_name": "a"})),
        "model a has no actor just now"
    );
    assert!(
        refused(json!({"actor": "heart"})).starts_with("no part \"heart\" can be made to panic")
    );
    service.stop();
}

#[test]
fn each_part_panics_and_costs_no_process() {
    let parts = ["registry", "event_log", "model_desk", "zmq_gateway", "process_table", "prober"];
    for part in parts {
        let service = allowing();
        assert_eq!(service.ask("version", json!({}))["chaos_allowed"], true);
        let before = service.load("a");
        // the gateway's answer gets out before it panics; that of one started after the part may be lost
        let manager = service.manager();
        manager.send("chaos-panic", &json!({"actor": part}));
        until("the panic in the log", || {
            service.log().contains("crashed on request").then_some(())
        });
        until("the restart", || {
            let tree = service.manager().ask_until_answered("tree", &json!({}));
            (part == "prober" || restarts(&tree, part) == Some(1)).then_some(())
        });
        let pid = until("the model in the status", || {
            let status = service.manager().ask_until_answered("status", &json!({}));
            status["models"][0]["pid"].as_u64()
        });
        assert_eq!(pid, u64::from(before.pid()), "{part}");
        service.stop();
    }
}

#[test]
fn an_instance_panics_and_keeps_its_process() {
    let service = allowing();
    let before = service.load("a");
    service.ask("chaos-panic", json!({"actor": "instance", "model_name": "a"}));
    until("the restart", || {
        let tree = service.ask("tree", json!({}));
        (restarts(&tree, "fake-a").or(restarts(&tree, "a-")) == Some(1)).then_some(())
    });
    let after = service.wait_for_state("a", "ready");
    assert_eq!((after.pid(), after.generation()), (before.pid(), before.generation()));
    service.stop();
}
