//! What the manager of services is told, on its own socket.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::backend::{LIMIT, until};
use crate::processes;
use crate::service::{Service, fake, program};
use crate::through_heart;

/// The end of a manager of services.
struct Ear {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Ear {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        socket.set_read_timeout(Some(LIMIT)).expect("set");
        Self { socket, path, _folder: folder }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn hear(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("told in time");
        String::from_utf8(bytes[..length].to_vec()).expect("UTF-8")
    }

    /// Listens until something with this line comes; answers it.
    fn hear_of(&self, line: &str) -> String {
        let mut heard = Vec::new();
        // the last wait fails by the time limit of the socket
        while heard.len() < 1000 {
            let text = self.hear();
            if text.lines().any(|found| found.starts_with(line)) {
                return text;
            }
            heard.push(text);
        }
        panic!("nothing of {line}: {heard:?}");
    }
}

#[test]
fn each_step_from_start_to_stop_is_told() {
    let ear = Ear::new();
    let slow = fake("a", &[]).with("stop", json!({ "grace": "7s" }));
    let mut service = Service::start_by(&[slow], |command| {
        command.env("NOTIFY_SOCKET", ear.path());
    });
    assert_eq!(ear.hear(), "READY=1\n", "first of all, and it answers then");
    assert_eq!(ear.hear_of("STATUS="), "STATUS=ready, no model is loaded\n");
    service.load("a");
    ear.hear_of("STATUS=1 model: 1 ready");
    service.signal(Signal::HUP);
    let reloading = ear.hear_of("RELOADING=1");
    assert!(reloading.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reloading}");
    ear.hear_of("READY=1");
    service.ask("reload", json!({}));
    ear.hear_of("RELOADING=1");
    ear.hear_of("READY=1");
    service.signal(Signal::TERM);
    let stopping = ear.hear_of("STOPPING=1");
    let needs = stopping.lines().find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC="));
    let needs: u64 = needs.expect("how long it may take").parse().expect("a number");
    assert!(Duration::from_micros(needs) > Duration::from_secs(7), "{stopping}");
    service.ended_clean();
}

#[test]
fn the_watchdog_hears_nothing_while_the_tree_stands_still() {
    let ear = Ear::new();
    let service = Service::start_by(&[], |command| {
        command.env("NOTIFY_SOCKET", ear.path()).env("WATCHDOG_USEC", "200000");
    });
    for _ in 0..3 {
        ear.hear_of("WATCHDOG=1");
    }
    service.signal(Signal::STOP);
    // what was sent before is read first
    let pause = Some(Duration::from_secs(2));
    ear.socket.set_read_timeout(pause).expect("set");
    let mut bytes = [0; 4096];
    let silent = until("silence", || Some(ear.socket.recv(&mut bytes).is_err()).filter(|so| *so));
    assert!(silent);
    service.signal(Signal::CONT);
    ear.socket.set_read_timeout(Some(LIMIT)).expect("set");
    ear.hear_of("WATCHDOG=1");
    service.stop();
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let ear = Ear::new();
    let service = Service::start_by(&[fake("a", &[])], |command| {
        command.env("NOTIFY_SOCKET", ear.path());
        command.env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1");
    });
    service.load("a");
    let mut heard = String::new();
    while !heard.contains("1 ready") {
        heard = ear.hear();
        assert!(!heard.contains("WATCHDOG"), "{heard}");
    }
    service.stop();
}

#[test]
fn a_hostile_address_costs_a_line_of_the_log() {
    for name in
        ["relative/path", "/nowhere/at/all", "vsock:2:1234", &format!("/{}", "x".repeat(5000))]
    {
        let service = Service::start_by(&[], |command| {
            command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", "soon");
        });
        until("a word about it", || {
            let log = service.log();
            let told = log.contains("is no address of a notify socket")
                || log.contains("the service manager cannot be told how the service stands");
            (told && log.contains("WATCHDOG_USEC=\"soon\" is no number")).then_some(())
        });
        service.stop();
    }
}

#[test]
fn what_is_meant_for_the_service_is_not_handed_on() {
    let ear = Ear::new();
    let writes = "env > env.new; mv env.new env; exec sleep 1000";
    let model = program("a", &["sh", "-c", writes]);
    let service = Service::start_by(&[model], |command| {
        command.env("NOTIFY_SOCKET", ear.path()).env("WATCHDOG_USEC", "30000000");
        for name in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env(name, "1");
        }
    });
    let _ordered = service.order_load("a");
    let place = service.folder().join("env");
    let seen = until("the backend", || std::fs::read_to_string(&place).ok());
    for name in ["NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_"] {
        assert!(!seen.contains(name), "{seen}");
    }
    service.stop();
}

/// The process that serves, as it tells itself.
fn core_of(service: &Service) -> u32 {
    let status = service.manager().ask_until_answered("status", &json!({}));
    u32::try_from(status["pid"].as_u64().expect("a number")).expect("fits")
}

#[test]
fn a_heart_speaks_for_its_cores() {
    let ear = Ear::new();
    let mut service = Service::start_by(&[fake("a", &[])], |command| {
        through_heart(command, &[]);
        command.env("NOTIFY_SOCKET", ear.path()).env("WATCHDOG_USEC", "200000");
    });
    let ready = ear.hear_of("READY=1");
    assert!(ready.contains(&format!("MAINPID={}\n", service.pid())), "{ready}");
    service.load("a");
    ear.hear_of("STATUS=1 model: 1 ready");
    ear.hear_of("WATCHDOG=1");
    service.signal(Signal::HUP);
    ear.hear_of("RELOADING=1");
    ear.hear_of("READY=1");
    let core = core_of(&service);
    assert_ne!(core, service.pid());
    for pid in [core, service.pid()] {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).expect("read");
        assert!(name.starts_with("symphony"), "what systemctl and ps show is {name}");
    }
    processes::signal(core, Signal::KILL);
    ear.hear_of("STATUS=the core is being replaced: signal 9");
    ear.hear_of("READY=1");
    assert_ne!(core_of(&service), core);
    service.signal(Signal::TERM);
    let stopping = ear.hear_of("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC="), "{stopping}");
    service.ended_clean();
}

#[test]
fn the_watchdog_of_a_heart_bites_a_heart_that_hangs_and_not_a_core() {
    let ear = Ear::new();
    let service = Service::start_by(&[], |command| {
        through_heart(command, &[]);
        command.env("NOTIFY_SOCKET", ear.path()).env("WATCHDOG_USEC", "200000");
    });
    ear.hear_of("READY=1");
    // a core that hangs is the heart's business
    processes::signal(core_of(&service), Signal::STOP);
    for _ in 0..20 {
        ear.hear_of("WATCHDOG=1");
    }
    ear.hear_of("STATUS=the core is being replaced: it gave no sign of life");
    ear.hear_of("READY=1");
    service.signal(Signal::STOP);
    ear.socket.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
    let mut bytes = [0; 4096];
    until("silence", || ear.socket.recv(&mut bytes).is_err().then_some(()));
    service.signal(Signal::CONT);
    service.stop();
}

#[test]
fn a_managed_service_that_loses_its_heart_leaves_its_models_to_the_next_start() {
    let ear = Ear::new();
    let managed = |command: &mut std::process::Command| {
        through_heart(command, &[]);
        command.env("NOTIFY_SOCKET", ear.path());
    };
    let mut service = Service::start_by(&[fake("a", &[])], managed);
    let before = service.load("a");
    let core = core_of(&service);
    service.crash();
    until("the end of the core", || (!processes::runs(core)).then_some(()));
    assert!(processes::runs(before.pid()), "the model runs on");
    // as the manager does it, after a rest
    service.start_again_by(managed);
    ear.hear_of("STATUS=1 model: 1 ready");
    let after = service.row("a");
    assert_eq!((after.pid(), after.generation()), (before.pid(), before.generation()));
    service.stop();
}

#[test]
fn models_of_a_managed_service_that_is_never_started_again_are_ended_by_the_guard() {
    let ear = Ear::new();
    let change = |configuration: &mut serde_json::Value| {
        configuration["service"]["heart"] = json!({ "adoption_grace": "1s" });
    };
    let service = Service::start_all(&[fake("a", &[])], change, |command| {
        through_heart(command, &[]);
        command.env("NOTIFY_SOCKET", ear.path());
    });
    service.load("a");
    // the heart alone: its guard stays on its post
    service.signal(Signal::KILL);
    until("the end of all its processes", || service.mark().processes().is_empty().then_some(()));
}
