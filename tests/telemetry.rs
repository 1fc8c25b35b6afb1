//! The log of a whole process: what reaches stderr, and what a broken stderr costs.
//!
//! A process has one log, so each case runs the first test below in a process of its own.

#![expect(clippy::expect_used, reason = "a test ends where what must hold does not")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use symphony::settings::model::{LogForm, LogLevel, LoggingSettings};
use symphony::telemetry::record::BACKEND_TARGET;
use symphony::telemetry::{Destination, Telemetry, TelemetryError};

/// Generous: the machine may be busy with other tests.
const LIMIT: Duration = Duration::from_secs(60);
/// Far more than a pipe and the queue hold.
const FLOOD: usize = 50_000;

const CASE: &str = "SYMPHONY_TEST_LOG_CASE";

fn settings(form: LogForm) -> LoggingSettings {
    LoggingSettings {
        level: LogLevel::Info,
        form,
        format: "%(asctime)s [%(levelname)8s] %(name)s: %(message)s".into(),
        date_format: "%Y".into(),
    }
}

/// Opens the log once and writes every kind of line.
#[test]
fn a_process_has_one_log() {
    let case = std::env::var(CASE).unwrap_or_default();
    let form = if case == "json" { LogForm::Json } else { LogForm::Text };
    let log = Telemetry::install(&settings(form), Destination::Stderr).expect("the first log");
    let second = Telemetry::install(&settings(form), Destination::Stderr);
    assert!(matches!(second, Err(TelemetryError::Taken)));
    tracing::info!(target: "symphony::test", model = "phi", "loaded");
    tracing::debug!(target: "symphony::test", "not asked for");
    tracing::info!(target: BACKEND_TARGET, model = "phi", "[phi] one\nFAKE two\u{1b}[2J");
    tracing::info!(target: "hyper", "chatter");
    log.level_switch().set(LogLevel::Debug);
    tracing::debug!(target: "symphony::test", "asked for now");
    let panicked = std::thread::Builder::new()
        .name("victim".into())
        .spawn(|| panic!("on purpose\nsecond line"))
        .expect("spawned")
        .join();
    assert!(panicked.is_err());
    if case == "flood" {
        for number in 0..FLOOD {
            tracing::info!(target: "symphony::test", number, "flood");
        }
    }
    drop(log);
    println!("the service went on");
}

fn child(case: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--exact", "a_process_has_one_log", "--nocapture"]).env(CASE, case);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).env_remove("RUST_BACKTRACE");
    command
}

/// Waits for the end; answers whether it went well, and its stdout.
fn finish(mut child: Child) -> (bool, String) {
    let mut stdout = child.stdout.take().expect("piped");
    let (done, wait) = channel();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stdout.read_to_string(&mut text);
        let _ = done.send(text);
    });
    let text = wait.recv_timeout(LIMIT);
    if text.is_err() {
        child.kill().expect("killed");
    }
    let status = child.wait().expect("waited");
    reader.join().expect("read");
    (status.success(), text.expect("ends in time"))
}

fn lines_of(case: &str) -> Vec<String> {
    let output = child(case).stderr(Stdio::piped()).output().expect("ran");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn one_event_is_one_line_by_the_configured_pattern() {
    let lines = lines_of("text");
    let year = &lines[0][..4];
    assert!(year.parse::<u16>().is_ok(), "{lines:?}");
    assert_eq!(lines[0], format!("{year} [    INFO] symphony-mgmt: loaded model=phi"));
    assert_eq!(
        lines[1],
        format!("{year} [    INFO] symphony-backend: [phi] one\\nFAKE two\\x1b[2J")
    );
    assert_eq!(lines[2], format!("{year} [   DEBUG] symphony-mgmt: asked for now"));
    let panic = format!("{year} [   ERROR] symphony-mgmt: panic: on purpose\\nsecond line place=");
    assert!(lines[3].starts_with(&panic) && lines[3].ends_with("thread=victim"), "{lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
}

#[test]
fn json_lines_are_objects() {
    let lines = lines_of("json");
    let objects: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(objects[0]["name"], "symphony-mgmt");
    assert_eq!(objects[0]["message"], "loaded");
    assert_eq!(objects[0]["fields"]["model"], "phi");
    assert_eq!(objects[1]["name"], "symphony-backend");
    assert_eq!(objects[1]["message"], "[phi] one\nFAKE two\u{1b}[2J");
    assert!(objects[1]["timestamp"].as_str().expect("text").contains('T'));
    assert_eq!(objects.len(), 4);
}

#[test]
fn a_closed_stderr_ends_nothing() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let child = child("flood").stderr(writer).spawn().expect("spawned");
    let (success, text) = finish(child);
    assert!(success && text.contains("the service went on"), "{text}");
}

#[test]
fn a_full_disk_ends_nothing() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("opened");
    let child = child("flood").stderr(full).spawn().expect("spawned");
    let (success, text) = finish(child);
    assert!(success && text.contains("the service went on"), "{text}");
}

#[test]
fn a_stderr_that_nobody_reads_delays_nothing() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let child = child("flood").stderr(writer).spawn().expect("spawned");
    let (success, text) = finish(child);
    assert!(success && text.contains("the service went on"), "{text}");
    let kept = BufReader::new(reader).lines().count();
    assert!(kept > 0 && kept < FLOOD, "{kept} lines fitted into the pipe");
}

#[test]
fn lines_are_whole_also_in_a_flood() {
    let mut child = child("flood").stderr(Stdio::piped()).spawn().expect("spawned");
    let stderr = child.stderr.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map(|line| line.expect("UTF-8"));
        lines.filter(|line| line.contains("flood")).all(|line| line.contains(": flood number="))
    });
    assert!(finish(child).0);
    assert!(reader.join().expect("read"));
}
