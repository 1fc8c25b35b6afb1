//! Sections 1 and 6: `start-service --daemonize`, its log, its end.

use std::os::unix::fs::PermissionsExt;

use rustix::process::{Pid, Signal, getsid, kill_process};
use serde_json::{Value, json};

use crate::support::backend::until;
use crate::support::client::Client;
use crate::support::{Place, fake, runs};

fn pid_in(message: &str) -> Value {
    let pid = message
        .strip_prefix("Management service started successfully (pid ")
        .and_then(|rest| rest.strip_suffix(")\n"))
        .and_then(|pid| pid.parse::<u32>().ok());
    Value::from(pid.unwrap_or_else(|| panic!("no pid: {message}")))
}

fn pid_of(value: &Value) -> Option<Pid> {
    Pid::from_raw(i32::try_from(value.as_i64().expect("a number")).expect("a pid"))
}

/// As the service under test is no child of ours, its end is seen in the process table.
fn gone(pid: &Value) {
    until("the daemon's end", || (!runs(pid)).then_some(()));
}

#[test]
fn a_daemon_is_ready_when_the_command_returns_and_gone_when_it_is_stopped() {
    let place = Place::with_models(vec![fake("tiny", &[])]);
    let run = place.run(&["start-service", "--daemonize", "--log-level", "debug"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let pid = pid_in(&run.stdout);
    assert!(place.path("run/cli").exists() && place.path("run/clients").exists());
    let mut cli = Client::dealer(&place.cli_endpoint());
    assert_eq!(cli.data("status", json!({}))["heart"]["pid"], pid);
    let told = std::fs::read_to_string(place.path("runtime/service.pid")).expect("its pid file");
    assert_eq!(told, format!("{pid}\n"));
    // it is out of reach of this terminal's end
    assert_eq!(getsid(pid_of(&pid)).expect("it runs"), pid_of(&pid).expect("a pid"));

    let already = (Some(0), "Management service is already running\n", "");
    for line in [&["start-service", "--daemonize"][..], &["start-service"], &["up"]] {
        assert_eq!(place.run(line).all(), already, "{line:?}");
    }
    let loaded = cli.data("load-model", json!({"model_name": "tiny", "wait": true}));
    let log = place.path("logs/service.log");
    assert_eq!(log.metadata().expect("its log").permissions().mode() & 0o777, 0o600);
    until("the backend's line in the log", || {
        let text = std::fs::read_to_string(&log).expect("read");
        text.contains(&format!("symphony-backend: [tiny] pid {}", loaded["pid"])).then_some(())
    });
    let text = std::fs::read_to_string(&log).expect("read");
    assert!(text.contains("symphony-mgmt: service_started"), "{text}");

    let run = place.run(&["stop-service", "--wait"]);
    assert_eq!(run.all(), (Some(0), "Service shutdown requested\n", ""));
    gone(&pid);
    assert!(!runs(&loaded["pid"]));
    place.assert_nothing_left();
}

#[test]
fn without_the_flag_the_service_runs_in_the_foreground() {
    let place = Place::with_models(vec![fake("tiny", &[])]);
    let mut command = place.command(&["start-service", "--log-level", "Debug"]);
    let mut service = place.launch(&mut command, &place.cli_endpoint(), &place.client_endpoint());
    assert_eq!(service.cli().data("status", json!({}))["heart"]["pid"], service.pid());
    service.load("tiny");
    service.logs("symphony-mgmt: service_started");
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn json_tells_the_pid_of_a_daemon() {
    let place = Place::with_models(Vec::new());
    let run = place.run(&["--json", "start-service", "--daemonize"]);
    let told = run.json();
    let message = format!("Management service started successfully (pid {})", told["pid"]);
    assert_eq!((run.code, &told["message"]), (Some(0), &json!(message)));
    // a daemon is stopped by TERM as well
    kill_process(pid_of(&told["pid"]).expect("a pid"), Signal::TERM).expect("signalled");
    gone(&told["pid"]);
    place.assert_nothing_left();
}

#[test]
fn a_daemon_can_be_started_right_after_one_that_was_stopped() {
    let place = Place::with_models(Vec::new());
    for wait in [&["stop-service", "--wait"][..], &["stop-service"]] {
        for _ in 0..3 {
            let started = place.run(&["start-service", "--daemonize"]);
            assert!(started.stdout.contains("successfully"), "after {wait:?}: {started:?}");
            assert_eq!(place.run(wait).code, Some(0));
        }
    }
    assert_eq!(place.run(&["stop-service", "--wait"]).code, Some(0));
    place.assert_nothing_left();
}

#[test]
fn two_daemons_at_once_leave_one() {
    let place = Place::with_models(Vec::new());
    let starts = [(); 2].map(|()| {
        crate::support::program::spawn(&mut place.command(&["start-service", "--daemonize"]))
    });
    let runs = starts.map(crate::support::program::finish);
    let started: Vec<_> = runs.iter().filter(|run| run.stdout.contains("successfully")).collect();
    assert_eq!(started.len(), 1, "{runs:?}");
    // the other found it running, or lost the race for the folder or the sockets and says why
    let other = runs.iter().find(|run| !run.stdout.contains("successfully")).expect("the other");
    let found = other.all() == (Some(0), "Management service is already running\n", "");
    let named = ["runtime", "run/cli"].map(|name| place.text(name));
    let lost = other.code == Some(1) && named.iter().any(|name| other.stderr.contains(name));
    assert!(found || lost, "{other:?}");
    let pid = pid_in(&started[0].stdout);
    let status = Client::dealer(&place.cli_endpoint()).data("status", json!({}));
    assert_eq!(status["heart"]["pid"], pid);
    assert_eq!(place.run(&["stop-service", "--wait"]).code, Some(0));
    gone(&pid);
    place.assert_nothing_left();
}

#[test]
fn a_daemon_that_cannot_start_tells_why_with_the_last_lines_of_its_log() {
    let place = Place::with_models(Vec::new());
    std::fs::create_dir(place.path("run")).expect("folder");
    // somebody else's file where the client socket should be: found only by the daemon itself
    place.write("run/clients", "my thesis");
    let run = place.run(&["start-service", "--daemonize"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    let reason = "Error: Management service failed to start: it ended with exit code 1\n";
    assert!(run.stderr.starts_with(reason), "{run:?}");
    assert!(run.stderr[reason.len()..].contains(&place.text("run/clients")), "{run:?}");
    assert_eq!(std::fs::read_to_string(place.path("run/clients")).expect("untouched"), "my thesis");
    assert!(!place.path("run/cli").exists());
    assert_eq!(place.processes(), [0; 0]);
}
