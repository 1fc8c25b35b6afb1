//! Closed pipes, full disks, output without a terminal.

use std::io::Read;
use std::sync::mpsc::channel;

use serde_json::json;

use super::program::{command, finish, spawn};
use super::service::{Reply, Service, answering, event, phi, status_with};

#[test]
fn a_closed_pipe_is_no_error() {
    let (close, closed) = channel::<()>();
    let service = Service::start(move |_| {
        // answered only when nobody reads any more
        let _ = closed.recv();
        Reply::data(status_with(&json!([phi("ready")])))
    });
    for line in [&["status"][..], &["--json", "status"]] {
        let home = tempfile::tempdir().expect("folder");
        let mut command = command(home.path());
        command.args(["--endpoint", &service.endpoint()]).args(line);
        let mut child = spawn(&mut command);
        drop(child.stdout.take());
        close.send(()).expect("the service waits");
        assert_eq!(finish(child).all(), (Some(0), "", ""));
    }
    for line in [&["--help"][..], &["completions", "bash"], &["man"]] {
        let home = tempfile::tempdir().expect("folder");
        let mut command = command(home.path());
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.args(line).stdout(writer).stderr(std::process::Stdio::piped());
        let run = finish(command.spawn().expect("spawned"));
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{line:?}");
    }
}

#[test]
fn following_ends_with_its_reader_also_when_nothing_happens() {
    let service = Service::start(|request| match request["params"]["since"].as_u64() {
        Some(0) => Reply::data(json!({"events": [event(5, "exited")], "next": 5, "missed": 0})),
        _ => Reply::data(json!({"events": [], "next": 5, "missed": 0})),
    });
    let home = tempfile::tempdir().expect("folder");
    let mut command = command(home.path());
    command.args(["--endpoint", &service.endpoint(), "events", "-f"]);
    let mut child = spawn(&mut command);
    let mut stdout = child.stdout.take().expect("piped");
    let mut first = [0; 1];
    stdout.read_exact(&mut first).expect("the first event");
    drop(stdout);
    assert_eq!(finish(child).all(), (Some(0), "", ""));
}

#[test]
fn an_output_that_cannot_be_written_is_told() {
    let service = answering(status_with(&json!([])));
    let home = tempfile::tempdir().expect("folder");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("opened");
    let mut command = command(home.path());
    command.args(["--endpoint", &service.endpoint(), "status"]);
    command.stdout(full).stderr(std::process::Stdio::piped());
    let run = finish(command.spawn().expect("spawned"));
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with("Error: cannot write the output"), "{run:?}");
}

#[test]
fn no_colours_without_a_terminal() {
    let service = answering(status_with(&json!([phi("ready")])));
    let home = tempfile::tempdir().expect("folder");
    let mut command = command(home.path());
    command.args(["--endpoint", &service.endpoint(), "status"]);
    command.env("TERM", "xterm-256color").env("CLICOLOR_FORCE", "1");
    let run = finish(spawn(&mut command));
    assert!(run.stdout.contains("ready") && !run.stdout.contains('\u{1b}'), "{run:?}");
}
