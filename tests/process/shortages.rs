//! A machine that has no more to give: no descriptors, no folder to write to. The service lives on, tells what is
//! missing, and goes on when it is there again.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::json;

use crate::backend::until;
use crate::processes::descriptors_of;
use crate::service::{Service, fake};

fn descriptors(service: &Service) -> usize {
    descriptors_of(service.pid()).len()
}

/// Leaves the service `spare` descriptors more than it has; answers how many it may have.
fn limit_descriptors(service: &Service, spare: usize) -> usize {
    let most = descriptors(service) + spare;
    let limit = Some(u64::try_from(most).unwrap());
    let pid = Pid::from_raw(i32::try_from(service.pid()).unwrap());
    prlimit(pid, Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    most
}

#[test]
fn a_service_without_descriptors_goes_on_and_recovers() {
    let service = Service::start(&[fake("a", &[]), fake("b", &[])]);
    let before = service.load("a");
    let most = limit_descriptors(&service, 8);
    let socket = service.endpoint("cli");
    let socket = socket.strip_prefix("ipc://").unwrap();
    let crowd: Vec<_> = (0..50).map(|_| UnixStream::connect(socket).unwrap()).collect();
    until("a full table", || (descriptors(&service) >= most).then_some(()));

    // who is connected already is served as before
    let load = json!({ "model_name": "b" });
    let refused = service.refused("load-model", load);
    assert!(refused.contains("open files"), "{refused}");
    let starved = service.row("b");
    assert!(starved.reason().contains("next start in"), "{starved:?}");
    assert_eq!((service.row("a").pid(), service.row("a").state()), (before.pid(), "ready"));

    drop(crowd);
    service.wait_for_state("b", "ready");
    let newcomer = service.manager();
    newcomer.ask("version", json!({})).unwrap();
    service.stop();
}

/// The soft limit of open files, and the hard one.
fn open_files(pid: u32) -> (String, String) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let mut words = line.split_ascii_whitespace().skip(3).map(str::to_owned);
    (words.next().expect("soft"), words.next().expect("hard"))
}

#[test]
fn heart_and_core_lift_a_low_limit_of_open_files_and_models_get_it_back() {
    let service = Service::through_heart_with_open_files(&[fake("a", &[])], 200);
    let row = service.load("a");
    for pid in [service.pid(), service.core_pid()] {
        let (soft, hard) = open_files(pid);
        assert_eq!(soft, hard, "of {pid}");
        assert_ne!(soft, "200", "of {pid}");
    }
    until("the limit of the model", || (open_files(row.pid()).0 == "200").then_some(()));
    let core = service.core_pid();
    crate::processes::signal(core, Signal::KILL);
    service.replaced(1);
    // the next core was started by a heart that had lifted its own by then
    let row = service.row("a");
    row.signal(Signal::KILL);
    let next = service.wait_for_successor(&row);
    until("the limit of the next one", || (open_files(next.pid()).0 == "200").then_some(()));
    service.stop();
}

#[test]
fn folders_that_are_removed_under_a_service_are_made_again() {
    let told = fake("told", &["--notify"]).with("ready", json!("notify"));
    let service = Service::start_with(&[fake("a", &[]), told], |configuration| {
        let folder = configuration["service"]["runtime_dir"].as_str().unwrap();
        configuration["service"]["model_socket_dir"] = json!(format!("{folder}-models"));
    });
    let before = [service.load("a"), service.load("told")];
    for folder in ["logs", "run", "run-models"] {
        fs::remove_dir_all(service.folder().join(folder)).unwrap();
    }
    // what runs is not disturbed, and can be asked about
    service.ask("logs", json!({ "model_name": "a" }));
    for old in &before {
        assert_eq!(
            (service.row(old.name()).pid(), service.row(old.name()).state()),
            (old.pid(), "ready")
        );
        old.signal(Signal::KILL);
    }
    for old in &before {
        service.wait_for_successor(old);
        service.wait_for(old.name(), "heard again", |row| {
            let page = service.ask("logs", json!({ "model_name": old.name(), "lines": 100 }));
            let lines = page["lines"].as_array().unwrap();
            lines.iter().any(|line| line == &format!("pid {}", row.pid()))
        });
    }
    service.stop();
}

#[test]
fn a_log_that_cannot_be_written_is_told_and_mended() {
    let service = Service::start(&[fake("a", &[])]);
    let logs = service.folder().join("logs");
    fs::remove_dir_all(&logs).unwrap();
    fs::write(&logs, "in the way").unwrap();
    let refused = service.fails_to_load("a");
    assert!(refused.contains("log file") && refused.contains("Not a directory"), "{refused}");
    assert_eq!(service.row("a").state(), "parked", "no restart mends it");
    fs::remove_file(&logs).unwrap();
    service.load("a");
    service.stop();
}

/// Lets the service say much, and do what it is there for.
fn is_of_use(service: &Service) {
    for _ in 0..10 {
        let row = service.load("a");
        row.signal(Signal::KILL);
        service.wait_for_successor(&row);
        service.ask("unload-model", json!({ "model_name": "a" }));
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let size = rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let service = Service::start_by(&[fake("a", &[])], |command| {
        command.stderr(writer).args(["--log-level", "debug"]);
    });
    is_of_use(&service);
    until("a full pipe", || {
        let waiting = rustix::io::ioctl_fionread(&reader).unwrap();
        // the next line does not fit any more
        (waiting + 512 > size as u64).then_some(())
    });
    is_of_use(&service);
    service.stop();
}

#[test]
fn a_log_whose_reader_is_gone_ends_nothing() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let service = Service::start_by(&[fake("a", &[])], |command| {
        command.stderr(writer);
    });
    is_of_use(&service);
    drop(reader);
    is_of_use(&service);
    service.stop();
}

#[test]
fn a_service_needs_no_standard_descriptors() {
    let service = Service::start_by(&[fake("a", &[])], |command| {
        let mut closed = Command::new("sh");
        closed.env_clear();
        closed.args(["-c", "exec \"$0\" \"$@\" <&- >&- 2>&-"]);
        closed.arg(command.get_program()).args(command.get_args());
        closed.current_dir(command.get_current_dir().unwrap());
        closed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        *command = closed;
    });
    let row = service.load("a");
    // nothing of the service's own took the numbers that programs write to
    for number in 0..3 {
        let target = fs::read_link(format!("/proc/{}/fd/{number}", service.pid())).unwrap();
        assert_eq!(target.to_str(), Some("/dev/null"), "descriptor {number}");
    }
    let input = fs::read_link(format!("/proc/{}/fd/0", row.pid())).unwrap();
    assert_eq!(input.to_str(), Some("/dev/null"));
    is_of_use(&service);
    service.stop();
}
