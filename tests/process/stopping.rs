//! The end of the service: everything it started goes along, and nothing is left behind.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::backend::until;
use crate::processes::{runs, state_of};
use crate::service::{Model, Row, Service, fake, program, second_service};

/// Backends that are hard to end, each in its own way.
fn hard_to_end() -> Vec<Model> {
    let brief = json!({ "grace": "300ms" });
    let once = json!({ "max_consecutive_failures": 0 });
    vec![
        fake("plain", &[]),
        fake("ignores-term", &["--ignore-term"]).with("stop", brief.clone()),
        fake("forked", &["--fork", "3", "--grandchild-ignores-term"]),
        fake("forked-and-ignores", &["--fork", "2", "--ignore-term", "--grandchild-ignores-term"])
            .with("stop", brief),
        fake("frozen", &[]),
        fake("loading", &["--load-time", "1h"]),
        fake("parked", &["--exit-before-ready"]).with("restart", once),
        fake("waits-for-notify", &["--load-time", "1h", "--notify"]).with("ready", json!("notify")),
        program("shell", &["sh", "-c", "sleep 600 & sleep 600 & wait"])
            .with("ready", json!({ "delay": "1ms" }))
            .unwatched(),
        program("limited", &[crate::backend::FAKE, "--ipc-endpoint", "{endpoint}"])
            .with("limits", json!({ "open_files": 512 })),
        fake("never-loaded", &[]),
    ]
}

/// Brings them all into the state in which they are to be ended.
fn bring_up(service: &Service) {
    let ready =
        ["plain", "ignores-term", "forked", "forked-and-ignores", "frozen", "shell", "limited"];
    for name in ready {
        service.load(name);
    }
    service.fails_to_load("parked");
    for name in ["loading", "waits-for-notify"] {
        let load = service.manager();
        // answered after a moment, with the state "starting"
        load.ask("load-model", json!({ "model_name": name })).expect("it goes well so far");
    }
    let frozen = service.row("frozen");
    frozen.signal(Signal::STOP);
    until("it is frozen", || (state_of(frozen.pid()) == Some('T')).then_some(()));
}

#[test]
fn stop_service_leaves_nothing() {
    let mut service = Service::start(&hard_to_end());
    bring_up(&service);
    let answer = service.ask("stop-service", json!({}));
    assert_eq!(answer, json!({ "message": "Service shutdown requested" }));
    service.ended_clean();
}

#[test]
fn sigterm_leaves_nothing() {
    let mut service = Service::start(&hard_to_end());
    bring_up(&service);
    service.signal(Signal::TERM);
    service.ended_clean();
}

#[test]
fn sigint_leaves_nothing() {
    let mut service = Service::start(&hard_to_end());
    bring_up(&service);
    service.signal(Signal::INT);
    service.ended_clean();
}

#[test]
fn unload_leaves_nothing_of_the_model() {
    let service = Service::start(&hard_to_end());
    bring_up(&service);
    let loaded = hard_to_end().len() - 1;
    let status = service.ask("status", json!({ "all": true }));
    let rows = status["models"].as_array().expect("a list").iter().cloned().map(Row);
    let rows: Vec<Row> = rows.filter(|row| row.name() != "never-loaded").collect();
    assert_eq!(rows.len(), loaded);
    for row in &rows {
        let message = service.ask("unload-model", json!({ "model_name": row.name() }));
        assert_eq!(message["message"], format!("Model {} unloaded", row.name()));
        // answered once the process is gone
        if let Some(pid) = row.0["pid"].as_u64() {
            assert!(!runs(pid as u32), "{}", row.name());
        }
    }
    until("the service alone", || (service.processes() == [service.pid()]).then_some(()));
    let sockets = crate::processes::tree_of(&service.folder().join("sockets"));
    let of_models = sockets.iter().filter(|path| path.to_string_lossy().contains("model"));
    assert_eq!(of_models.count(), 0, "{sockets:?}");
    let run = service.folder().join("run");
    until("the end of all that is known of the models", || {
        // written by a thread of its own
        let left = crate::processes::tree_of(&run);
        let of_service = [run.join("service.pid"), run.join("state").join("service.json")];
        left.iter().all(|path| of_service.contains(path)).then_some(())
    });
    service.stop();
}

#[test]
fn second_term_kills_at_once() {
    let patient = json!({ "grace": "1h" });
    let stubborn = ["--ignore-term", "--fork", "1", "--grandchild-ignores-term"];
    for second in [Signal::TERM, Signal::INT] {
        let mut service = Service::start(&[
            fake("a", &stubborn).with("stop", patient.clone()),
            fake("b", &["--load-time", "1h", "--ignore-term"]).with("stop", patient.clone()),
        ]);
        service.load("a");
        let _load = service.order_load("b");
        // its first word comes when it ignores TERM
        until("a word of b", || {
            let log = service.ask("logs", json!({ "model_name": "b", "lines": 1 }));
            log["lines"].as_array().filter(|lines| !lines.is_empty()).map(|_| ())
        });
        service.signal(Signal::TERM);
        // `status` is answered to the end
        service.wait_for_state("a", "stopping");
        service.wait_for_state("b", "stopping");
        service.signal(second);
        service.ended_clean();
    }
}

#[test]
fn no_restart_while_shutting_down() {
    let patient = json!({ "grace": "1h" });
    let mut service =
        Service::start(&[fake("slow", &["--ignore-term"]).with("stop", patient), fake("a", &[])]);
    let slow = service.load("slow");
    service.load("a");
    service.signal(Signal::TERM);
    service.wait_for_state("slow", "stopping");
    let error = service.fails_to_load("a");
    assert_eq!(error, "Service is shutting down");
    until("the end of the other", || {
        let row = service.row("a");
        (row.state() == "stopped" && row.0["pid"].is_null()).then_some(())
    });
    // SIGHUP while it goes down changes nothing
    service.signal(Signal::HUP);
    service.wait_for_state("slow", "stopping");
    slow.signal(Signal::KILL);
    service.ended_clean();
    let log = service.log();
    assert_eq!(
        log.matches("starting subject=slow").count(),
        1,
        "its death restarts nothing: {log}"
    );
}

#[test]
fn clients_with_open_requests_get_an_answer_and_do_not_hold_the_end() {
    let mut service = Service::start(&[fake("a", &["--load-time", "1h"]), fake("b", &[])]);
    let loads: Vec<_> = (0..5).map(|_| service.order_load("a")).collect();
    for load in &loads {
        // requests of one client are taken in their order: with this answer the load is under way
        let id = load.send("version", &json!({}));
        assert_eq!(load.receive()["correlation_id"], id);
    }
    service.wait_for("a", "its process", |row| !row.0["pid"].is_null());
    let stop = service.manager();
    stop.ask("stop-service", json!({})).expect("granted");
    for load in &loads {
        let error = load.outcome().expect_err("it never got ready");
        assert!(error.contains("stopped") || error.contains("shutting down"), "{error}");
    }
    service.ended_clean();
}

/// Three models that come up and go down differently.
fn started_by_itself() -> Vec<Model> {
    vec![
        fake("a", &["--load-time", "50ms"]).autostart(),
        fake("b", &["--fork", "1", "--grandchild-ignores-term"]).autostart(),
        fake("c", &["--ignore-term"]).with("stop", json!({ "grace": "20ms" })).autostart(),
    ]
}

#[test]
fn term_at_any_moment_of_start() {
    const MOMENTS: u32 = 36;
    let clock = symphony::clock::Clock::start();
    let mut service = Service::launch(&started_by_itself());
    for name in ["a", "b", "c"] {
        service.wait_for_state(name, "ready");
    }
    let whole_start = clock.now().since_origin();
    service.signal(Signal::TERM);
    service.ended_clean();

    let mut ends_before_main = 0;
    for moment in 0..MOMENTS {
        let begun = clock.now();
        let mut service = Service::launch(&started_by_itself());
        // the moment itself is what is tried here: spread over the whole start and somewhat beyond
        let at = begun + whole_start * moment * 5 / (4 * MOMENTS);
        loop {
            let left = at.since(clock.now());
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left.min(Duration::from_millis(1)));
        }
        service.signal(Signal::TERM);
        let status = service.ended();
        if status.code().is_none() {
            // the program was not even loaded: nobody could take the signal
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
            assert_eq!(service.log(), "");
            assert!(!service.folder().join("sockets").exists(), "nothing was begun");
            ends_before_main += 1;
            continue;
        }
        assert_eq!(status.code(), Some(0), "moment {moment}: {status:?}\n{}", service.log());
        service.left_nothing();
    }
    assert!(ends_before_main < MOMENTS / 2, "{ends_before_main} of {MOMENTS} before main()");
}

#[test]
fn a_second_service_on_live_sockets_refuses_and_harms_nothing() {
    let service = Service::start(&[fake("a", &[])]);
    let row = service.load("a");
    // another folder of short-lived files and another CLI socket, the same client socket
    let other = json!(format!("{}-of-another", service.endpoint("cli")));
    let text = std::fs::read_to_string(service.folder().join("config.json")).expect("read");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    config["endpoints"]["cli_management"] = other;
    config["service"]["runtime_dir"] = json!(service.scratch("other-run"));
    std::fs::write(service.folder().join("config.json"), config.to_string()).expect("written");
    let status = second_service(&service);
    assert_eq!(status.code(), Some(1), "{status:?}");
    assert_eq!(service.row("a").pid(), row.pid());
    let client = crate::backend::Client::connect(&service.endpoint("client"));
    assert_eq!(client.greet(), ["l4m", "ping"], "its client socket is untouched");
    assert!(!service.scratch("other-run").exists(), "the refused one left nothing");
    service.stop();
}
