//! The fake backend does what its flags say: other tests rest on it.
#![allow(clippy::expect_used, reason = "a test")]

#[path = "support/backend.rs"]
mod backend;

use std::os::unix::process::ExitStatusExt;

use backend::{Backend, Client, FAKE, until};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

fn says(backend: &Backend, text: &str) {
    until(text, || backend.output().contains(text).then_some(()));
}

#[test]
fn it_introduces_itself() {
    let backend = Backend::start(FAKE, &["--print-args", "--print-env", "--non-utf8"]);
    says(&backend, "ready");
    let output = backend.output();
    let pid = format!("pid {}\n", backend.pid().as_raw_nonzero());
    assert!(output.starts_with(&pid), "{output}");
    assert!(
        output.contains("\narg --ipc-endpoint\n") && output.contains("\nenv PATH="),
        "{output}"
    );
    assert!(output.contains('\u{fffd}'), "bytes that are no text: {output}");
}

#[test]
fn exits_come_as_told() {
    for (args, code) in [
        (&["--exit-before-ready"][..], 0),
        (&["--exit-before-ready", "--exit-code", "3"], 3),
        (&["--exit-after", "50ms", "--exit-code", "7"], 7),
    ] {
        let mut backend = Backend::start(FAKE, args);
        assert_eq!(backend.ended().code(), Some(code), "{args:?}");
        assert!(!backend.socket_file().exists());
        assert_eq!(backend.output().contains("ready"), args.contains(&"--exit-after"));
    }
}

#[test]
fn first_starts_crash_and_are_counted() {
    let folder = tempfile::tempdir().expect("folder");
    let count = folder.path().join("count");
    let count = count.to_str().expect("utf-8");
    let args = ["--crash-at-start", "2", "--state-file", count];
    let mut backend = Backend::start(FAKE, &args);
    assert_eq!(backend.ended().signal(), Some(Signal::ABORT.as_raw()));
    backend.restart(FAKE, &[&args[..], &["--exit-code", "5"]].concat());
    assert_eq!(backend.ended().code(), Some(5));
    backend.restart(FAKE, &args);
    says(&backend, "ready");
    assert!(backend.output().contains("start 3"), "{}", backend.output());
}

#[test]
fn crash_comes_at_the_request_told() {
    let mut backend = Backend::start(FAKE, &["--crash-on-request", "3"]);
    let client = Client::connect(&backend.endpoint());
    client.greet();
    for id in 1..3 {
        assert_eq!(client.ping(1, id, "").correlation_id, id);
    }
    client.send_ping(1, 3, "");
    assert_eq!(backend.ended().signal(), Some(Signal::ABORT.as_raw()));
}

#[test]
fn hang_answers_nobody_and_ends_on_term() {
    for args in [
        &["--hang-after-requests", "2"][..],
        &["--hang-after-requests", "2", "--busy-hang"],
        &["--hang-after", "0s"],
    ] {
        let mut backend = Backend::start(FAKE, args);
        says(&backend, "ready");
        let client = Client::connect(&backend.endpoint());
        if args.contains(&"2") {
            client.greet();
            client.ping(1, 1, "");
            client.ping(1, 2, "");
        }
        client.send_ping(1, 3, "");
        assert!(client.is_unanswered());
        backend.signal(Signal::TERM);
        assert_eq!(backend.ended().code(), Some(0), "{args:?}");
    }
}

#[test]
fn ignored_term_leaves_kill_alone() {
    let mut backend = Backend::start(FAKE, &["--ignore-term"]);
    says(&backend, "ready");
    backend.signal(Signal::TERM);
    let client = Client::connect(&backend.endpoint());
    client.greet();
    assert_eq!(client.ping(1, 1, "alive").message, "Pong:alive");
    backend.signal(Signal::KILL);
    assert_eq!(backend.ended().signal(), Some(Signal::KILL.as_raw()));
}

#[test]
fn grandchildren_sleep_until_they_are_ended() {
    let mut backend = Backend::start(FAKE, &["--fork", "2"]);
    says(&backend, "ready");
    let output = backend.output();
    let pids: Vec<Pid> = output
        .lines()
        .filter_map(|line| line.strip_prefix("grandchild ")?.parse().ok().and_then(Pid::from_raw))
        .collect();
    assert_eq!(pids.len(), 2, "{output}");
    for pid in &pids {
        test_kill_process(*pid).expect("it lives");
    }
    for pid in &pids {
        kill_process(*pid, Signal::KILL).expect("killed");
    }
    backend.kill();
}

#[test]
fn flood_has_the_bytes_and_the_lines_told() {
    for (args, lines) in
        [(&["--flood", "100000"][..], 1250), (&["--flood", "100000", "--flood-no-newline"], 0)]
    {
        let backend = Backend::start(FAKE, args);
        says(&backend, "ready");
        let output = backend.output();
        assert_eq!(output.matches('x').count() + lines, 100_000);
        assert_eq!(output.matches("x\n").count(), lines);
    }
}

#[test]
fn loading_shows_progress_and_no_socket() {
    let backend = Backend::start(FAKE, &["--load-time", "1h", "--load-output", "--load-busy"]);
    says(&backend, "loading: step 3");
    assert!(!backend.socket_file().exists());
    backend.signal(Signal::TERM);
}

#[test]
fn ready_descriptor_gets_its_newline() {
    // the shell gives its child a pipe as descriptor 3
    let script = format!("'{FAKE}' --ready-fd 3 --exit-after 0s 3>&1 >/dev/null");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("ran");
    assert_eq!(output.stdout, b"\n");
}
