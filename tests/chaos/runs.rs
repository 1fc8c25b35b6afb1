//! Whole runs of `symphony chaos`: what holds, what breaks and how that is told, and that nothing of it remains.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::backend::{FAKE, until};
use crate::service::{Service, fake, program};

/// `symphony chaos` with these arguments.
fn chaos(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symphony"));
    command.args(["--json", "chaos", "--clients", "3"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end. Answers its exit code and report.
fn ran(arguments: &[&str]) -> (i32, Value) {
    told(&chaos(arguments).output().expect("started"))
}

fn told(output: &Output) -> (i32, Value) {
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|fault| {
        let error = String::from_utf8_lossy(&output.stderr);
        panic!("no report ({fault}): {error}")
    });
    (output.status.code().expect("an exit code"), report)
}

fn against(service: &Service, arguments: &[&str]) -> (i32, Value) {
    let endpoint = service.endpoint("cli");
    ran(&[&["--endpoint", endpoint.as_str()], arguments].concat())
}

/// A service with ready models `a`, `b` and so on.
fn service(models: usize) -> Service {
    let names = &["a", "b", "c"][..models];
    let models: Vec<_> = names.iter().map(|name| fake(name, &[])).collect();
    let service = Service::start_by(&models, |command| {
        command.arg("--allow-chaos");
    });
    for name in names {
        service.load(name);
    }
    service
}

fn count(report: &Value, fault: &str, what: &str) -> u64 {
    let rows = report["faults"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["fault"] == fault);
    row.and_then(|row| row[what].as_u64()).unwrap_or(0)
}

fn invariants_broken(report: &Value) -> Vec<&str> {
    let rules = report["invariants"].as_array().expect("a list");
    assert_eq!(rules.len(), 7, "{rules:?}");
    let broken = rules.iter().filter(|rule| rule["held"] == false);
    broken.map(|rule| rule["invariant"].as_str().expect("a word")).collect()
}

#[test]
fn a_service_of_its_own_holds_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["--start=3", "--faults", "16", "--every", "250ms", "--seed", "7"];
    let output = chaos(&arguments).env("TMPDIR", home.path()).output().unwrap();
    let (code, report) = told(&output);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["held"], true);
    assert_eq!(invariants_broken(&report), [] as [&str; 0]);
    assert_eq!(report["seed"], 7);
    assert_eq!(report["models"], json!(["model-001", "model-002", "model-003"]));
    assert_eq!(report["plan"].as_array().unwrap().len(), 16);
    assert!(report["requests"]["answered"].as_u64().unwrap() > 0, "clients were at work");
    let kills = &report["faults"][0];
    assert_eq!(kills["fault"], "kill");
    let recovered = kills["recovered_ms"]["count"].as_u64().unwrap();
    assert!(recovered > 0 && recovered <= kills["count"].as_u64().unwrap(), "{kills}");
    let left: Vec<_> = home.path().read_dir().unwrap().flatten().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_service_of_its_own_goes_when_the_terminal_does() {
    let home = tempfile::tempdir().unwrap();
    let mut command = chaos(&["--start=4", "--for", "10m", "--only", "garbage"]);
    let running = command.env("TMPDIR", home.path()).spawn().unwrap();
    let entries = || home.path().read_dir().unwrap().flatten().collect::<Vec<_>>();
    until("the service's socket", || {
        entries().iter().any(|stage| stage.path().join("cli.sock").exists()).then_some(())
    });
    kill_process(Pid::from_child(&running), Signal::HUP).unwrap();
    let output = running.wait_with_output().unwrap();
    // without a report where its models were still loaded
    let (code, answer) = told(&output);
    let was_loading =
        answer["error"].as_str().is_some_and(|error| error.starts_with("interrupted"));
    assert!(was_loading && code == 1 || answer["interrupted"] == true && code == 0, "{answer}");
    assert!(entries().is_empty(), "left behind: {:?}", entries());
}

#[test]
fn the_same_seed_does_the_same_faults() {
    let service = service(2);
    let arguments = ["--seed", "4711", "--faults", "10", "--every", "40ms"];
    let (code, first) = against(&service, &arguments);
    assert_eq!(code, 0, "{first:#}");
    let (code, second) = against(&service, &arguments);
    assert_eq!(code, 0, "{second:#}");
    assert_eq!(first["plan"], second["plan"]);
    let (_, other) = against(&service, &["--seed", "4712", "--faults", "10", "--every", "40ms"]);
    assert_ne!(first["plan"], other["plan"]);
    service.stop();
}

#[test]
fn without_the_flag_panics_are_left_out_and_the_report_says_so() {
    let service = Service::start(&[fake("a", &[])]);
    service.load("a");
    let only = ["--only", "panic,garbage", "--faults", "30", "--every", "30ms", "--seed", "5"];
    let (code, report) = against(&service, &only);
    assert_eq!(code, 0, "{report:#}");
    let left_out = count(&report, "panic", "left_out");
    assert!(left_out > 0 && left_out < 30, "both kinds were planned: {report:#}");
    assert_eq!(count(&report, "panic", "count"), 0);
    let why = "panic: the service was started without --allow-chaos";
    assert_eq!(report["left_out"], json!({ why: left_out }));

    let endpoint = service.endpoint("cli");
    let output = chaos(&["--endpoint", &endpoint, "--only", "panic"]).output().expect("started");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("the service was started without --allow-chaos"), "{told}");
    service.stop();
}

#[test]
fn what_is_frozen_has_the_time_to_be_noticed_and_replaced() {
    let soon = json!({ "every": "300ms", "timeout": "300ms", "misses": 2 });
    let models = ["a", "b"].map(|name| fake(name, &[]).with("health", soon.clone()));
    let service = Service::start(&models);
    let before = ["a", "b"].map(|name| service.load(name).generation());
    // over before anybody can notice the first
    let only = ["--only", "freeze", "--faults", "1", "--every", "50ms"];
    let (code, report) = against(&service, &only);
    assert_eq!(code, 0, "{report:#}");
    let freeze = &report["faults"][0];
    assert_eq!(freeze["detected_ms"]["count"], 1, "{freeze}");
    assert_eq!(freeze["recovered_ms"]["count"], 1, "{freeze}");
    let after = ["a", "b"].map(|name| service.row(name).generation());
    assert_eq!(after.iter().sum::<u64>(), before.iter().sum::<u64>() + 1);
    service.stop();
}

#[test]
fn floods_and_garbage_and_vanishing_clients_cost_no_process() {
    let service = service(1);
    let before = service.row("a");
    let only = "flood,garbage,drop-clients";
    let arguments = ["--only", only, "--faults", "12", "--every", "60ms", "--seed", "3"];
    let (code, report) = against(&service, &arguments);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(service.row("a").pid(), before.pid());
    assert_eq!(report["requests"]["failed"], 0, "{report:#}");
    service.stop();
}

#[test]
fn a_file_that_a_backend_writes_to_by_itself_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results.txt");
    let script = format!("exec {FAKE} --ipc-endpoint {{endpoint}} >> {}", results.display());
    let service = Service::start(&[program("a", &["sh", "-c", &script])]);
    service.load("a");
    let only = ["--only", "flood,log-quota", "--faults", "4", "--every", "50ms"];
    let (code, report) = against(&service, &only);
    assert_eq!(code, 1, "a run that did nothing proves nothing: {report:#}");
    for fault in ["flood", "log-quota"] {
        assert_eq!(count(&report, fault, "count"), 0, "{report:#}");
    }
    let text = std::fs::read_to_string(&results).unwrap();
    assert!(!text.contains("lazy dog") && !text.contains("xxxx"), "written to: {text:.200}");
    service.stop();
}

/// A process that pretends to be another one of the same instance.
struct Impostor(Child);

impl Impostor {
    fn of(service: &Service, model: &str) -> Self {
        let mut command = Command::new("sleep");
        command.arg("600").process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        command.env("SYMPHONY_ENDPOINT", service.row(model).endpoint());
        command.env("SYMPHONY_INSTANCE_ID", "impostor");
        Self(command.spawn().unwrap())
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_second_process_of_an_instance_breaks_the_run_with_its_history() {
    let service = service(2);
    let impostor = Impostor::of(&service, "b");
    let arguments = ["--only", "garbage", "--for", "60s", "--every", "100ms"];
    let (code, report) = against(&service, &arguments);
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(invariants_broken(&report), ["one_generation"]);
    let violation = &report["violations"][0];
    assert_eq!(violation["subject"], "b");
    let what = violation["what"].as_str().unwrap();
    assert!(what.contains(&impostor.0.id().to_string()), "{what}");
    let history = violation["history"].as_array().unwrap();
    assert!(history.iter().any(|event| event["kind"] == "ready" && event["model"] == "b"));
    assert!(report["seconds"].as_f64().unwrap() < 60.0, "it ends when a rule is broken");

    // and for people
    let endpoint = service.endpoint("cli");
    let mut command = Command::new(env!("CARGO_BIN_EXE_symphony"));
    let output = command.args(["chaos", "--endpoint", endpoint.as_str(), "--only", "garbage"]);
    let output = output.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("seed "), "{text}");
    for words in ["BROKEN  never two live generations", "2 processes are alive at one time"] {
        assert!(text.contains(words), "{text}");
    }
    drop(impostor);
    service.stop();
}

#[test]
fn the_end_of_the_service_breaks_the_run() {
    let mut service = service(1);
    let endpoint = service.endpoint("cli");
    let only = ["--only", "kill", "--for", "10m", "--every", "50ms", "--settle", "5s"];
    let running = chaos(&[&["--endpoint", endpoint.as_str()], &only[..]].concat()).spawn().unwrap();
    service.wait_for("a", "killed", |row| row.restarts() > 0);
    service.signal(Signal::TERM);
    let (code, report) = told(&running.wait_with_output().unwrap());
    assert_eq!(code, 1, "{report:#}");
    assert!(invariants_broken(&report).contains(&"tree_whole"), "{report:#}");
    service.ended_clean();
}

/// The state of a process, as `/proc` tells it.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

#[test]
fn what_is_frozen_runs_on_when_the_run_is_interrupted() {
    let service = Service::start(&[fake("a", &[]).unwatched()]);
    let pid = service.load("a").pid();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let endpoint = service.endpoint("cli");
        let only = ["--only", "freeze", "--for", "10m", "--every", "50ms"];
        let running =
            chaos(&[&["--endpoint", endpoint.as_str()], &only[..]].concat()).spawn().unwrap();
        until("a frozen backend", || (state(pid) == Some('T')).then_some(()));
        kill_process(Pid::from_child(&running), signal).unwrap();
        let (code, report) = told(&running.wait_with_output().unwrap());
        assert_ne!(state(pid), Some('T'), "it runs on");
        assert_eq!((code, &report["interrupted"]), (0, &json!(true)), "{report:#}");
    }
    service.stop();
}

#[test]
fn what_dies_too_often_is_parked_by_the_default_limits_and_that_is_right() {
    let service = service(1);
    let arguments = ["--only", "kill", "--for", "15s", "--every", "100ms", "--seed", "5"];
    let (code, report) = against(&service, &arguments);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["given_up"], json!(["a"]), "{report:#}");
    // five restarts in a row are allowed, the sixth death is the last
    assert_eq!(count(&report, "kill", "count"), 6);
    assert_eq!(service.kinds("a").last().map(String::as_str), Some("parked"));
    service.stop();
}

#[test]
fn a_member_of_a_group_that_is_taken_along_keeps_its_limits() {
    let often = json!({ "max_consecutive_failures": 100, "window_max": 100 });
    let models = [fake("a", &[]).with("restart", often), fake("b", &[])];
    let service = Service::start_with(&models, |file| {
        let pair = json!({ "name": "pair", "strategy": "one_for_all", "members": ["a", "b"],
                           "intensity": 100, "period": "30m" });
        file["groups"] = json!([pair]);
    });
    service.load("a");
    service.load("b");
    let along = |events: Vec<String>| events.iter().filter(|kind| *kind == "exited").count();
    // more often than b may fail by itself
    until("b is taken along more often than it may fail", || {
        let only = ["--only", "kill", "--models", "a", "--faults", "8", "--every", "300ms"];
        let (code, report) = against(&service, &only);
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(report["given_up"], json!([]));
        (along(service.kinds("b")) > 5).then_some(())
    });
    assert!(service.row("b").exit_reason().starts_with("with a: signal 9"));
    service.stop();
}

#[test]
fn there_must_be_something_to_hit() {
    let service = Service::start(&[fake("a", &[])]);
    let endpoint = service.endpoint("cli");
    let error = |arguments: &[&str]| {
        let output =
            chaos(&[&["--endpoint", endpoint.as_str()], arguments].concat()).output().unwrap();
        let (code, answer) = told(&output);
        assert_eq!(code, 1);
        answer["error"].as_str().unwrap().to_owned()
    };
    let nothing = "no model is loaded: load some first, or try a service of its own with --start";
    assert_eq!(error(&[]), nothing);
    assert_eq!(error(&["--models", "a"]), "model a is not loaded");
    service.stop();
    let (code, answer) = ran(&["--endpoint", endpoint.as_str()]);
    assert_eq!((code, &answer["error"]), (1, &json!("Management service is not running")));
}
