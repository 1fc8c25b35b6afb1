//! A service that is killed leaves its models, and the next one takes them over.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::backend::until;
use crate::processes::{runs, signal};
use crate::service::{Model, Row, Service, fake};

/// Waits until everything that is known is written down, so that a kill loses nothing.
fn written_down(service: &Service, what: &str, so: impl Fn(&Value) -> bool) {
    until(what, || bodies(service).iter().any(&so).then_some(()));
}

/// The bodies of all instances' files.
fn bodies(service: &Service) -> Vec<Value> {
    let entries = std::fs::read_dir(service.state()).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| {
        path.extension().is_some_and(|ending| ending == "json") && !path.ends_with("service.json")
    });
    // one may be replaced between the listing and the look at it
    let texts = files.filter_map(|path| std::fs::read_to_string(path).ok());
    texts.map(|text| serde_json::from_str::<Value>(&text).expect("JSON")["body"].take()).collect()
}

fn is_ready(row: &Row) -> impl Fn(&Value) -> bool {
    let (name, pid) = (row.name().to_owned(), row.pid());
    move |body| {
        body["record"]["model"] == name.as_str()
            && body["record"]["state"] == "ready"
            && body["process"]["pid"] == pid
    }
}

fn file_of(service: &Service, model: &str) -> PathBuf {
    let entries = std::fs::read_dir(service.state()).expect("listed").flatten();
    let of_model = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(&format!("{model}-")) && name.ends_with(".json")
    };
    let found = entries.map(|entry| entry.path()).find(of_model);
    found.unwrap_or_else(|| panic!("no state file of {model}"))
}

/// Whether nothing but the process that looks at it changed.
fn is_the_same(before: &Row, after: &Row) {
    for key in [
        "name",
        "pid",
        "endpoint",
        "generation",
        "restarts",
        "state",
        "started_at",
        "supported_protocols",
    ] {
        assert_eq!(before.0[key], after.0[key], "{key} of {}", before.name());
    }
    assert!(after.0["uptime"].as_u64() >= before.0["uptime"].as_u64());
}

#[test]
fn core_killed_is_adopted() {
    let parked = fake("parked", &["--exit-before-ready"])
        .with("restart", json!({ "max_consecutive_failures": 1, "backoff_min": "10ms" }));
    let mut service = Service::start(&[fake("a", &[]), fake("b", &[]), parked, fake("idle", &[])]);
    service.load("a");
    let first = service.load("b");
    service.fails_to_load("parked");
    first.signal(Signal::KILL);
    let before = [service.row("a"), service.wait_for_successor(&first)];
    let parked = service.wait_for_state("parked", "parked");
    let seen = service.ask("events", json!({ "since": 0 }))["next"].as_u64().expect("a number");
    let uptime = service.ask("status", json!({}))["uptime"].as_u64().expect("a number");
    for row in &before {
        written_down(&service, "a ready model", is_ready(row));
    }
    written_down(&service, "a parked model", |body| body["record"]["state"] == "parked");

    service.crash();
    assert!(before.iter().all(|row| runs(row.pid())), "the models stay");
    service.start_again();

    for row in &before {
        is_the_same(row, &service.wait_for_state(row.name(), "ready"));
        let kinds = service.kinds(row.name());
        assert_eq!(kinds, ["adopted"], "{}", row.name());
    }
    let after = service.row("parked");
    assert_eq!((after.state(), after.generation()), ("parked", parked.generation()));
    assert_eq!(after.reason(), parked.reason());
    assert_eq!(after.0["last_exit"], parked.0["last_exit"]);
    assert!(service.kinds("idle").is_empty());
    let status = service.ask("status", json!({}));
    assert!(status["uptime"].as_u64().expect("a number") >= uptime, "it is the same service");
    // a follower goes on with the number that it was told last, and misses nothing
    let page = service.ask("events", json!({ "since": seen }));
    let events = page["events"].as_array().expect("a list");
    assert!(events.iter().any(|event| event["kind"] == "adopted"), "{events:?}");
    assert!(events.iter().all(|event| event["seq"].as_u64() > Some(seen)));

    // what was taken over is watched, restarted, stopped and cleaned up as any other
    let [a, b] = before;
    a.signal(Signal::KILL);
    let successor = service.wait_for_successor(&a);
    assert_eq!(successor.endpoint(), a.endpoint());
    assert_eq!(successor.restarts(), a.restarts() + 1);
    service.ask("unload-model", json!({ "model_name": "b" }));
    until("the end of an unloaded model", || (!runs(b.pid())).then_some(()));
    service.stop();
}

#[test]
fn a_start_under_way_goes_on() {
    let slow = fake("slow", &["--load-time", "2s"]);
    let mut service = Service::start(&[slow]);
    let _order = service.order_load("slow");
    let row = service.wait_for("slow", "a process", |row| row.0["pid"].is_u64());
    written_down(&service, "the process", |body| body["process"]["pid"] == row.pid());
    service.crash();
    service.start_again();
    let after = service.wait_for_state("slow", "ready");
    assert_eq!((after.pid(), after.generation()), (row.pid(), row.generation()));
    service.stop();
}

#[test]
fn a_stop_under_way_goes_on() {
    let stubborn = fake("stubborn", &["--ignore-term"]).with("stop", json!({ "grace": "3s" }));
    let mut service = Service::start(&[stubborn]);
    let row = service.load("stubborn");
    let manager = service.manager();
    manager.send("unload-model", &json!({ "model_name": "stubborn" }));
    written_down(&service, "the stop", |body| body["record"]["state"] == "stopping");
    service.crash();
    assert!(runs(row.pid()));
    service.start_again();
    service.wait_for_state("stubborn", "stopped");
    until("the end of the process", || (!runs(row.pid())).then_some(()));
    service.stop();
}

#[test]
fn a_model_that_died_in_the_gap_is_restarted_and_nobody_knows_how_it_ended() {
    let mut service = Service::start(&[fake("m", &[])]);
    let row = service.load("m");
    written_down(&service, "a ready model", is_ready(&row));
    service.crash();
    row.signal(Signal::KILL);
    until("its end", || (!runs(row.pid())).then_some(()));
    service.start_again();
    let after = service.wait_for_successor(&row);
    assert_eq!(after.endpoint(), row.endpoint());
    assert_eq!((after.generation(), after.restarts()), (row.generation() + 1, row.restarts() + 1));
    assert!(after.exit_reason().contains("unknown exit"), "{}", after.exit_reason());
    assert_eq!(after.exit_output().last().copied(), Some("ready"), "its last words are kept");
    service.stop();
}

#[test]
fn what_was_unloaded_is_not_loaded_again_because_it_starts_with_the_service() {
    let mut service = Service::start(&[fake("m", &[]).autostart(), fake("n", &[]).autostart()]);
    let row = service.wait_for_state("m", "ready");
    service.wait_for_state("n", "ready");
    service.ask("unload-model", json!({ "model_name": "n" }));
    written_down(&service, "a ready model", is_ready(&row));
    until("the end of what is known of the other", || (bodies(&service).len() == 1).then_some(()));
    service.crash();
    service.start_again();
    is_the_same(&row, &service.wait_for_state("m", "ready"));
    assert_eq!(service.row("n").state(), "stopped");
    assert!(service.kinds("n").is_empty());
    service.stop();
}

/// Starts a service with a ready model, kills it, does harm to its state, and starts it again.
fn after_harm(harm: impl FnOnce(&Service)) -> (Service, Row) {
    let mut service = Service::start(&[fake("m", &[])]);
    let row = service.load("m");
    written_down(&service, "a ready model", is_ready(&row));
    service.crash();
    harm(&service);
    service.start_again();
    (service, row)
}

fn happened(service: &Service, kind: &str) -> Vec<String> {
    let page = service.ask("events", json!({ "since": 0 }));
    let events = page["events"].as_array().expect("a list").iter();
    events
        .filter(|event| event["kind"] == kind)
        .map(|event| event["cause"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_model_whose_file_is_damaged_is_known_by_its_marks() {
    type Harm = fn(&Service);
    let harms: [Harm; 6] = [
        |service| std::fs::remove_file(file_of(service, "m")).expect("removed"),
        |service| std::fs::write(file_of(service, "m"), "").expect("written"),
        |service| {
            let bytes = std::fs::read(file_of(service, "m")).expect("read");
            std::fs::write(file_of(service, "m"), &bytes[..bytes.len() - 40]).expect("written");
        },
        |service| std::fs::write(file_of(service, "m"), r#"{"version":7}"#).expect("written"),
        // the file of the service itself: its id is in those of the processes, too
        |service| std::fs::write(service.state().join("service.json"), "{}").expect("written"),
        // all of them: its id is in the environment of its processes, and can be told from those of other services
        |service| std::fs::remove_dir_all(service.state()).expect("removed"),
    ];
    for (at, harm) in harms.into_iter().enumerate() {
        let (service, row) = after_harm(harm);
        let after = service.wait_for_state("m", "ready");
        assert_eq!((after.pid(), after.generation()), (row.pid(), row.generation()), "harm {at}");
        assert_eq!(after.endpoint(), row.endpoint(), "harm {at}");
        let told = happened(&service, "state_damaged");
        assert_eq!(told.len(), usize::from(at > 0), "harm {at}: {told:?}");
        // and it is one process still
        service.load("m");
        assert_eq!(service.row("m").pid(), row.pid(), "harm {at}");
        service.stop();
    }
}

/// Changes the body of a state file, and makes it look as if the service had written it so.
fn forge(path: &PathBuf, change: impl FnOnce(&mut Value)) {
    let mut body: Value =
        symphony::state::envelope::open(&std::fs::read(path).expect("read")).expect("whole");
    change(&mut body);
    std::fs::write(path, symphony::state::envelope::seal(&body).expect("sealed")).expect("written");
}

fn start_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields = stat.rsplit_once(") ").expect("a name").1;
    fields.split(' ').nth(19).expect("field 22").parse().expect("a number")
}

/// A process that has nothing to do with any service.
struct Foreigner(std::process::Child);

impl Foreigner {
    fn start() -> Self {
        let mut command = std::process::Command::new("sleep");
        // a group of its own: what is sent to one must not get here either
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Self(command.arg("600").spawn().expect("started"))
    }
}

impl Drop for Foreigner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_foreign_process_with_a_recorded_pid_is_never_touched() {
    let foreigner = Foreigner::start();
    let pid = foreigner.0.id();
    let (service, row) = after_harm(|service| {
        signal(bodies(service)[0]["process"]["pid"].as_u64().expect("a pid") as u32, Signal::KILL);
        forge(&file_of(service, "m"), |body| {
            body["process"]["pid"] = json!(pid);
            body["process"]["start_ticks"] = json!(start_ticks(pid));
        });
    });
    let after = service.wait_for_successor(&row);
    assert_ne!(after.pid(), pid);
    let told = happened(&service, "not_adopted");
    assert!(matches!(&told[..], [one] if one.contains(&format!("pid {pid} "))), "{told:?}");
    service.stop();
    assert!(runs(pid), "it goes on");
}

#[test]
fn foreign_files_on_recorded_paths_are_left_alone() {
    let place = tempfile::tempdir().expect("folder");
    let (log, socket) = (place.path().join("log"), place.path().join("socket"));
    std::fs::write(&log, "precious\n".repeat(100_000)).expect("written");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let (service, row) = after_harm(|service| {
        forge(&file_of(service, "m"), |body| {
            let process = &mut body["process"];
            process["log_path"] = json!(log);
            process["socket_path"] = json!(socket);
            process["notify_path"] = json!(socket);
            // small enough to be cut at once, if it were taken for a log of ours
            let mut details = process["details"].take();
            details["log"] = json!({ "max_bytes": 1, "keep": 0 });
            process["details"] = details;
        });
    });
    is_the_same(&row, &service.wait_for_state("m", "ready"));
    row.signal(Signal::KILL);
    service.wait_for_successor(&row);
    service.stop();
    assert_eq!(std::fs::metadata(&log).expect("there").len(), 900_000);
    assert!(socket.exists(), "somebody listens there");
    drop(listener);
}

#[test]
fn state_of_another_boot_is_dropped_and_nothing_is_signalled() {
    let other = |body: &mut Value| body["boot_id"] = json!("another");
    let (service, row) = after_harm(|service| {
        forge(&service.state().join("service.json"), other);
        forge(&file_of(service, "m"), |body| other(&mut body["process"]));
    });
    assert!(runs(row.pid()), "whoever that is by now");
    assert_eq!(happened(&service, "state_dropped").len(), 1);
    assert_eq!(service.row("m").state(), "stopped");
    signal(row.pid(), Signal::KILL);
    // nobody answers on it any more, and nobody knows whose it was
    let socket = row.endpoint().strip_prefix("ipc://").expect("a path");
    std::fs::remove_file(socket).expect("it was left alone");
    service.stop();
}

#[test]
fn a_model_that_is_configured_no_more_is_ended() {
    let (service, row) = after_harm(|service| {
        service.configure(|configuration| configuration["supported_models"] = json!([]));
    });
    until("the end of the process", || (!runs(row.pid())).then_some(()));
    service.stop();
}

#[test]
fn readiness_said_to_an_earlier_service_is_not_needed_again_and_what_was_lost_is_told() {
    let notify = Model::of_type("notify", "fake")
        .with(
            "command",
            json!([crate::backend::FAKE, "--notify", "--load-time", "2s", "--http", "{port}"]),
        )
        .with("kind", json!("http"))
        .with("ready", json!("notify"))
        .with("health", json!({ "check": "none" }));
    let mut service = Service::start(&[notify]);
    let _order = service.order_load("notify");
    let row = service.wait_for("notify", "a process", |row| row.0["pid"].is_u64());
    written_down(&service, "the process", |body| body["process"]["pid"] == row.pid());
    service.crash();
    service.start_again();
    let after = service.wait_for_state("notify", "ready");
    assert_eq!(after.pid(), row.pid(), "it found the socket bound again");
    service.stop();
}

#[test]
fn what_was_started_by_another_configuration_is_called_outdated_and_runs_on() {
    let outdated = |row: &Row| row.0["outdated"] == true;
    let change = |configuration: &mut Value| {
        configuration["supported_models"][0]["env"] = json!({ "VERSION": "2" });
        // taken over by what runs
        configuration["supported_models"][1]["health"] = json!({ "every": "1s" });
    };
    // over a crash
    let mut service = Service::start(&[fake("m", &[]), fake("same", &[])]);
    let (row, same) = (service.load("m"), service.load("same"));
    for row in [&row, &same] {
        written_down(&service, "a ready model", is_ready(row));
    }
    service.crash();
    service.configure(change);
    service.start_again();
    let after = service.wait_for("m", "called outdated", outdated);
    is_the_same(&row, &after);
    is_the_same(&same, &service.wait_for_state("same", "ready"));
    assert!(!outdated(&service.row("same")));
    assert_eq!(happened(&service, "outdated").len(), 1);
    // again: it is told to each service once, and still known
    written_down(&service, "a ready model", is_ready(&row));
    service.crash();
    service.start_again();
    service.wait_for("m", "called outdated", outdated);
    // an own end is answered by the present configuration
    service.ask("restart-model", json!({ "model_name": "m", "wait": true }));
    let fresh = service.wait_for_state("m", "ready");
    assert!(!outdated(&fresh) && fresh.generation() == row.generation() + 1, "{fresh:?}");
    service.stop();

    // over a reload
    let service = Service::start(&[fake("m", &[]), fake("same", &[])]);
    let row = service.load("m");
    service.load("same");
    service.configure(change);
    let told = service.ask("reload", json!({}));
    assert_eq!(told["changed"][0]["restart_needed"], true, "{told}");
    is_the_same(&row, &service.wait_for("m", "called outdated", outdated));
    assert!(!outdated(&service.row("same")));
    service.configure(|configuration| {
        configuration["supported_models"][0].as_object_mut().expect("a table").remove("env");
    });
    service.ask("reload", json!({}));
    service.wait_for("m", "up to date again", |row| !outdated(row));
    service.stop();
}

#[test]
fn a_second_service_in_the_same_folder_is_refused_and_harms_nothing() {
    let service = Service::start(&[fake("m", &[])]);
    let row = service.load("m");
    written_down(&service, "a ready model", is_ready(&row));
    let elsewhere = service.scratch("other.json");
    let text = std::fs::read_to_string(service.folder().join("config.json")).expect("read");
    let mut configuration: Value = serde_json::from_str(&text).expect("JSON");
    for socket in ["client_handshake", "cli_management"] {
        let path = service.scratch(socket).display().to_string();
        configuration["endpoints"][socket] = json!(format!("ipc://{path}"));
    }
    std::fs::write(&elsewhere, configuration.to_string()).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_symphony"))
        .args(["serve", "--config"])
        .arg(&elsewhere)
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("run"), "{said}");
    is_the_same(&row, &service.row("m"));
    service.stop();
}

#[test]
fn killed_again_and_again_at_any_moment_there_is_never_a_second_process() {
    let models: Vec<_> = ["a", "b", "c"]
        .map(|name| fake(name, &["--load-time", "30ms"]).autostart())
        .into_iter()
        .collect();
    let mut service = Service::start(&models);
    let mut random = fastrand_lite(7);
    for round in 0..12 {
        let name = ["a", "b", "c"][random() % 3];
        let manager = service.manager();
        match random() % 3 {
            0 => drop(manager.send("load-model", &json!({ "model_name": name }))),
            1 => drop(manager.send("restart-model", &json!({ "model_name": name }))),
            _ => {}
        }
        let looks = random() % 40;
        for _ in 0..looks {
            service.row(name);
        }
        service.crash();
        service.start_again();
        let mut instances: Vec<_> =
            service.mark().processes().into_iter().filter_map(instance_of).collect();
        instances.sort();
        let count = instances.len();
        instances.dedup();
        assert_eq!(instances.len(), count, "round {round}: {instances:?}");
    }
    for name in ["a", "b", "c"] {
        service.load(name);
    }
    service.stop();
}

/// Whose backend a process is.
fn instance_of(pid: u32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let text = String::from_utf8_lossy(&environment).into_owned();
    let mut entries = text.split('\0');
    entries.find_map(|entry| entry.strip_prefix("SYMPHONY_INSTANCE_ID=").map(str::to_owned))
}

/// Numbers that are the same in every run.
fn fastrand_lite(seed: u64) -> impl FnMut() -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    move || random.usize(..1000)
}
