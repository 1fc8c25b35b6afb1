//! Section 6: commands that go on: `logs -f`, `events -f`, `status --watch`, and how they end.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::backend::until;
use crate::support::program::{finish, spawn};
use crate::support::{Place, fake, kill_pid, service_with};

/// A command that goes on, and its output line by line.
struct Stream {
    child: Option<Child>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Stream {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut child = spawn(&mut place.command(arguments));
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child: Some(child), lines }
    }

    /// Reads on to a line with this text.
    fn says(&mut self, text: &str) -> String {
        for line in &mut self.lines {
            let line = line.expect("UTF-8");
            if line.contains(text) {
                return line;
            }
        }
        panic!("it ended before it said {text}");
    }

    /// Nobody reads any more: it ends by itself, without a word and without an error.
    fn ends_with_its_reader(mut self) {
        let child = self.child.take().expect("running");
        drop(self);
        assert_eq!(finish(child).all(), (Some(0), "", ""));
    }

    /// Interrupted as with Ctrl-C.
    fn ends_by_interrupt(mut self) {
        let mut child = self.child.take().expect("running");
        kill_process(Pid::from_child(&child), Signal::INT).expect("signalled");
        let status = until("its end", || child.try_wait().expect("waited"));
        assert_eq!(status.signal(), Some(2), "shells tell an interrupt by the signal: {status}");
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn logs_are_followed_over_a_restart() {
    let (place, mut service) = service_with(vec![fake("tiny", &[]), fake("late", &[])]);
    let first = service.load("tiny")["pid"].clone();
    let mut human = Stream::start(&place, &["logs", "-f", "tiny"]);
    let mut json = Stream::start(&place, &["--json", "logs", "-f", "tiny"]);
    let mut every = Stream::start(&place, &["logs", "-f"]);
    // a model that is started only later
    let mut late = Stream::start(&place, &["logs", "-f", "late"]);
    for stream in [&mut human, &mut json, &mut every] {
        stream.says(&format!("pid {first}"));
    }
    kill_pid(&first, Signal::KILL);
    let second = until("its successor", || {
        Some(service.model("tiny")).filter(|m| m["state"] == "ready" && m["pid"] != first)
    });
    let line = format!("pid {}", second["pid"]);
    assert_eq!(human.says(&line), line);
    let page: Value = serde_json::from_str(&json.says(&line)).expect("one object a line");
    assert_eq!((&page["model_name"], &page["lines"][0]), (&json!("tiny"), &json!(line)));
    assert!(every.says(&line).contains("tiny"));
    let pid = service.load("late")["pid"].clone();
    late.says(&format!("pid {pid}"));
    every.says(&format!("pid {pid}"));
    human.ends_with_its_reader();
    json.ends_by_interrupt();
    every.ends_with_its_reader();
    late.ends_by_interrupt();
    service.stop();
}

#[test]
fn events_are_followed() {
    let (place, mut service) = service_with(vec![fake("tiny", &[])]);
    let mut human = Stream::start(&place, &["events", "-f"]);
    let mut json = Stream::start(&place, &["--json", "events", "--follow"]);
    human.says("service_started");
    json.says("service_started");
    service.load("tiny");
    assert!(human.says("  ready").contains("tiny-"));
    let page: Value = serde_json::from_str(&json.says("\"ready\"")).expect("one object a line");
    assert!(page["events"].is_array() && page["next"].is_u64(), "{page}");
    human.ends_by_interrupt();
    json.ends_with_its_reader();
    service.stop();
}

#[test]
fn the_status_is_watched() {
    let (place, mut service) = service_with(vec![fake("tiny", &[])]);
    let mut human = Stream::start(&place, &["status", "--watch"]);
    let mut json = Stream::start(&place, &["--json", "status", "-w"]);
    human.says("No models currently loaded");
    json.says("\"models\":[]");
    service.load("tiny");
    human.says("tiny");
    let status: Value = serde_json::from_str(&json.says("tiny")).expect("one object a line");
    assert_eq!(status["model_count"], 1);
    human.ends_with_its_reader();
    json.ends_by_interrupt();
    service.stop();
}

#[test]
fn a_stream_whose_service_ends_tells_it_and_ends() {
    let (place, mut service) = service_with(vec![fake("tiny", &["--print-args"])]);
    service.load("tiny");
    let lines = [
        &["events", "-f"][..],
        &["logs", "-f"],
        &["logs", "-f", "tiny"],
        &["--json", "logs", "-f", "tiny"],
    ];
    let mut streams = lines.map(|line| Stream::start(&place, line));
    let mut watch = Stream::start(&place, &["status", "-w"]);
    streams[0].says("service_started");
    streams[1..].iter_mut().for_each(|stream| drop(stream.says("ready")));
    watch.says("tiny");
    service.stop();
    for mut stream in streams {
        let run = finish(stream.child.take().expect("running"));
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stderr.starts_with("Management service "), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    }
    let run = finish(watch.child.take().expect("running"));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(!run.stderr.is_empty() && !run.stderr.contains("panicked"), "{run:?}");
}
