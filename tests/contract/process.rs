//! Section 1: start, flags, exit codes, sockets, a second service.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::support::backend::until;
use crate::support::client::Client;
use crate::support::{Place, fake, fake_with, runs, service_with};

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("there").permissions().mode() & 0o7777
}

#[test]
fn log_levels_are_taken_in_any_case() {
    let levels = [("debug", true), ("Info", true), ("WARN", false), ("Warning", false)];
    for (level, speaks) in levels.into_iter().chain([("eRRor", false)]) {
        let place = Place::with_models(Vec::new());
        let mut service = place.serve(&["--log-level", level]);
        service.stop();
        let log = service.log();
        assert_eq!(log.contains("service_started"), speaks, "{level}: {log}");
    }
}

#[test]
fn help_and_version_need_no_service() {
    let place = Place::new();
    for line in [&["--help"][..], &["serve", "--help"], &["start-service", "--help"]] {
        let run = place.run(line);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{line:?}");
        assert!(run.stdout.contains("Usage: symphony"), "{run:?}");
    }
    let version = format!("symphony {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(place.run(&["--version"]).all(), (Some(0), version.as_str(), ""));
}

#[test]
fn wrong_usage_ends_with_2_and_starts_nothing() {
    let place = Place::with_models(Vec::new());
    let lines = [
        &["serve", "--log-level", "LOUD"][..],
        &["serve", "--log-format", "xml"],
        &["serve", "--no-such-flag"],
        &["start-service", "--daemonize", "surplus"],
        &["serve", "--config"],
        &["--endpoint", "ipc:///tmp/x", "serve"],
        &[],
    ];
    for line in lines {
        let run = place.run(line);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{line:?}");
        assert!(!run.stderr.is_empty(), "{line:?}");
    }
    assert!(!place.path("run").exists(), "nothing was made");
}

#[test]
fn a_service_ends_with_0_after_stop_service_int_and_term() {
    for signal in [None, Some(Signal::INT), Some(Signal::TERM)] {
        let (place, mut service) = service_with(vec![fake("tiny", &[])]);
        let pid = service.load("tiny")["pid"].clone();
        match signal {
            None => service.stop(),
            Some(signal) => service.signal(signal),
        }
        assert_eq!(service.ended().code(), Some(0), "{signal:?}: {}", service.log());
        assert!(!runs(&pid));
        place.assert_nothing_left();
    }
}

#[test]
fn a_service_that_is_stopping_is_neither_running_nor_an_error_to_stop() {
    let stubborn = fake_with("stubborn", &["--ignore-term"], json!({ "stop": { "grace": "3s" } }));
    let (place, mut service) = service_with(vec![stubborn]);
    service.load("stubborn");
    let run = place.run(&["stop-service"]);
    assert_eq!(run.all(), (Some(0), "Service shutdown requested\n", ""));
    for line in [&["serve"][..], &["start-service", "--daemonize"]] {
        let run = place.run(line);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{line:?}");
        assert!(run.stderr.contains("is stopping, start again when it is gone"), "{run:?}");
    }
    let run = place.run(&["stop-service", "--wait"]);
    assert_eq!(run.all(), (Some(0), "Management service is stopping\n", ""));
    assert_eq!(service.ended().code(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn too_few_descriptors_are_an_error_and_no_abort() {
    let place = Place::with_models(Vec::new());
    for descriptors in (12..=32).step_by(2) {
        let mut limited = Command::new("sh");
        let run = place.command(&["serve"]);
        let wrapper = format!("ulimit -n {descriptors}; exec \"$0\" serve");
        limited.args(["-c", &wrapper]).arg(run.get_program());
        for (name, value) in run.get_envs() {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        limited.current_dir(place.folder());
        let ended = limited.output().expect("ran");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{descriptors}: {told}");
        assert!(told.contains("descriptors") || told.contains("open files"), "{told}");
    }
    place.assert_nothing_left();
}

#[test]
fn a_bad_configuration_ends_with_1_and_starts_nothing() {
    let place = Place::new();
    let missing = place.text("nowhere.json");
    place.write("broken.json", "{\"endpoints\": ");
    place.write(
        "faulty.json",
        &json!({
            "endpoints": {"client_handshake": "nowhere", "cli_management": place.cli_endpoint()},
            "model_backends": {"a": {"command": [], "restart": {"backof_min": "5s"}}},
            "supported_models": [{"name": "", "type": "a", "autostart": true}],
        })
        .to_string(),
    );
    let cases = [
        (missing.as_str(), vec![format!("Error: Configuration file not found at {missing}\n")]),
        ("broken.json", vec!["Error: Invalid JSON in configuration file: ".to_owned()]),
        (
            "faulty.json",
            [
                "endpoints.client_handshake",
                "model_backends.a.command",
                "'backoff_min'",
                "supported_models",
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
    ];
    for (file, words) in cases {
        for line in [&["serve"][..], &["start-service"], &["start-service", "--daemonize"]] {
            let mut line = line.to_vec();
            line.extend(["--config", file]);
            let run = place.run(&line);
            assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{line:?}: {run:?}");
            for word in &words {
                assert!(run.stderr.contains(word), "{word} in {run:?}");
            }
        }
    }
    assert_eq!(place.processes(), [0; 0]);
    let mut left: Vec<_> = std::fs::read_dir(place.folder())
        .expect("folder")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["broken.json", "faulty.json"], "nothing was made");
}

#[test]
fn sockets_are_there_before_ready_is_told_and_gone_after_the_end() {
    let place = Place::with_models(vec![fake("tiny", &[])]);
    std::fs::create_dir(place.path("logs")).expect("folder");
    let shared = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path("logs"), shared).expect("mode");
    let mut service = place.serve(&[]);
    service.logs("service_started");
    for socket in ["run/cli", "run/clients"] {
        assert_eq!(mode(&place.path(socket)), 0o600, "{socket}");
    }
    service.load("tiny");
    let models: Vec<_> = std::fs::read_dir(place.path("models")).expect("folder").collect();
    assert_eq!(models.len(), 1, "{models:?}");
    assert_eq!(mode(&models[0].as_ref().expect("entry").path()), 0o600);
    for folder in ["run", "models", "runtime"] {
        assert_eq!(mode(&place.path(folder)), 0o700, "{folder}");
    }
    assert_eq!(mode(&place.path("logs")), 0o755, "a folder that was there is left as it was");
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn stale_sockets_of_a_dead_service_do_not_stop_a_start() {
    let (place, mut service) = service_with(vec![fake("tiny", &[])]);
    let leftover = service.load("tiny")["pid"].clone();
    service.kill();
    assert!(place.path("run/cli").exists() && place.path("run/clients").exists(), "stale files");
    let mut successor = place.serve(&[]);
    assert_eq!(successor.cli().data("version", json!({}))["pid"], successor.pid());
    let pid = successor.load("tiny")["pid"].clone();
    successor.stop();
    assert!(!place.path("run/cli").exists() && !place.path("run/clients").exists());
    assert!(!runs(&pid) && !runs(&leftover), "whether it was taken over or not");
}

#[test]
fn a_second_service_is_refused_and_the_first_untouched() {
    let (place, mut service) = service_with(vec![fake("tiny", &[])]);
    let pid = service.load("tiny")["pid"].clone();
    let files =
        || ["run/cli", "run/clients"].map(|name| place.path(name).metadata().expect("there").ino());
    let before = files();

    // the same service: there is nothing to do
    let already = (Some(0), "Management service is already running\n", "");
    for line in [&["serve"][..], &["start-service"], &["start-service", "--daemonize"]] {
        assert_eq!(place.run(line).all(), already, "{line:?}");
    }

    // another one that wants one of its sockets, and is found out only when it binds
    let mut other = place.configuration(Vec::new());
    other["endpoints"]["cli_management"] = format!("ipc://{}", place.text("run/other")).into();
    other["service"]["runtime_dir"] = place.text("runtime-2").into();
    place.write("other.json", &other.to_string());
    for line in [&["serve"][..], &["start-service", "--daemonize"]] {
        let mut line = line.to_vec();
        line.extend(["--config", "other.json"]);
        let run = place.run(&line);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
        assert!(run.stderr.contains(&place.text("run/clients")), "it names the socket: {run:?}");
    }
    assert!(!place.path("run/other").exists(), "what it bound before is gone");

    assert_eq!(files(), before);
    assert_eq!(service.model("tiny")["pid"], pid);
    assert_eq!(service.client().handshake(None).protocols, ["l4m", "ping"]);
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn a_listener_that_is_no_service_is_left_alone() {
    let place = Place::with_models(Vec::new());
    std::fs::create_dir(place.path("run")).expect("folder");
    let socket = place.path("run/cli");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let before = socket.metadata().expect("there").ino();
    let run = place.run(&["serve"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.starts_with("Error: cannot start: something listens on"), "{run:?}");
    assert_eq!(socket.metadata().expect("still there").ino(), before);
}

#[test]
fn a_service_serves_over_tcp_where_it_is_told_to() {
    let place = Place::new();
    // held until both are known, so that they differ
    let free = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [cli, clients] =
        free.each_ref().map(|port| format!("tcp://{}", port.local_addr().expect("address")));
    drop(free);
    let mut configuration = place.configuration(vec![fake("tiny", &[])]);
    configuration["endpoints"] = json!({"client_handshake": clients, "cli_management": cli});
    place.configure(&configuration);
    let mut service = place.launch(&mut place.command(&["serve"]), &cli, &clients);
    service.load("tiny");
    assert_eq!(Client::dealer(&clients).handshake(Some("tiny")).state, "ready");
    service.stop();
    until("the port is given back", || (!crate::support::listens(&cli)).then_some(()));
    place.assert_nothing_left();
}
