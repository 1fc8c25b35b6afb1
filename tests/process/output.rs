//! What backends write: harmless in any amount and form, kept within bounds, there when it is needed.

use rustix::process::Signal;
use serde_json::json;

use crate::backend::until;
use crate::processes::{resident_kib_of, runs, tree_of};
use crate::service::{Service, fake};

const MIB: u64 = 1024 * 1024;

/// The lines that `logs` tells.
fn lines(service: &Service, name: &str, count: u64) -> Vec<String> {
    let page = service.ask("logs", json!({ "model_name": name, "lines": count }));
    let lines = page["lines"].as_array().expect("a list").iter();
    lines.map(|line| line.as_str().expect("text").to_owned()).collect()
}

fn log_bytes(service: &Service) -> u64 {
    let files = tree_of(&service.folder().join("logs"));
    // a file may be rotated away between the listing and the look at it
    files.iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum()
}

#[test]
fn stdout_flood_64mb() {
    // whole lines of 80 bytes
    const FLOOD: &str = "64000000";
    let log = json!({ "max_size": "4MiB", "keep": 2 });
    let service = Service::start(&[
        fake("one-line", &["--flood", FLOOD, "--flood-no-newline"]).with("log", log.clone()),
        fake("lines", &["--flood", FLOOD]).with("log", log),
        fake("other", &[]),
    ]);
    let before = resident_kib_of(service.pid());
    for name in ["one-line", "lines"] {
        let load = service.order_load(name);
        // the service answers all the while
        let other = service.load("other");
        assert_eq!(service.row("other").pid(), other.pid());
        assert_eq!(load.outcome().expect("a flood blocks nobody")["state"], "ready");
    }
    // two logs of three files each, and one that outgrows its rotation is cut at twice its size
    until("the bounds of the logs", || (log_bytes(&service) <= 2 * 3 * 8 * MIB).then_some(()));
    let grown = resident_kib_of(service.pid()).saturating_sub(before);
    assert!(grown < 48 * 1024, "the service grew by {grown} KiB");
    for name in ["one-line", "lines"] {
        let row = service.row(name);
        assert_eq!((row.generation(), row.state()), (1, "ready"));
        let told = lines(&service, name, 10);
        let longest = told.iter().map(String::len).max().expect("some lines");
        assert!(longest <= 2 * symphony::limits::OUTPUT_LINE_BYTES, "{name}: {longest} bytes");
    }
    service.stop();
}

#[test]
fn non_utf8_output() {
    let once = json!({ "max_consecutive_failures": 0 });
    let flags = ["--non-utf8", "--exit-before-ready", "--exit-code", "9"];
    let service =
        Service::start(&[fake("a", &flags).with("restart", once), fake("b", &["--non-utf8"])]);
    let error = service.fails_to_load("a");
    assert!(error.contains("exit 9 before ready") && error.contains('\u{fffd}'), "{error}");
    let row = service.row("a");
    assert!(row.exit_output().iter().any(|line| line.contains('\u{fffd}')), "{row:?}");
    service.load("b");
    until("the line", || {
        lines(&service, "b", 10).iter().any(|line| line.contains('\u{fffd}')).then_some(())
    });
    until("the line in the service's log", || service.log().contains("[b] bytes ").then_some(()));
    assert!(
        !service.log().contains('\u{1b}'),
        "no control sequence of a backend reaches a terminal"
    );
    service.stop();
}

#[test]
fn output_after_restart() {
    let service = Service::start(&[fake("a", &[])]);
    let before = service.load("a");
    before.signal(Signal::KILL);
    let after = service.wait_for_successor(&before);
    let expected = [before.pid(), after.pid()].map(|pid| format!("pid {pid}"));
    until("the output of both", || {
        let lines = lines(&service, "a", 100);
        expected.iter().all(|line| lines.contains(line)).then_some(())
    });
    // the exit tells the output of its own process alone
    assert_eq!(after.exit_output(), [&*expected[0], "ready"]);
    let log = |row: &crate::service::Row| format!("[a] pid {}", row.pid());
    until("both in the service's log", || {
        (service.log().contains(&log(&before)) && service.log().contains(&log(&after)))
            .then_some(())
    });
    service.stop();
}

#[test]
fn logs_stay_within_their_bounds_over_many_restarts() {
    let log = json!({ "max_size": "16KiB", "keep": 2 });
    let restart = json!({
        "max_consecutive_failures": 1000, "reset_after": "1ms", "backoff_min": "1ms",
        "backoff_max": "1ms", "window_max": 1000,
    });
    let model = fake("a", &["--flood", "20000"]).with("log", log).with("restart", restart);
    let service = Service::start(&[model]);
    let mut row = service.load("a");
    for _ in 0..20 {
        row.signal(Signal::KILL);
        row = service.wait_for_successor(&row);
    }
    until("the bounds of the log", || {
        let files = tree_of(&service.folder().join("logs"));
        // 400 KB were written; a file may hold one start's flood more than its bound when it is rotated
        (files.len() <= 3 && log_bytes(&service) <= 3 * (16 * 1024 + 21_000)).then_some(())
    });
    service.stop();
}

#[test]
fn grandchild_holds_stdout() {
    let flags = ["--fork", "1", "--grandchild-ignores-term"];
    let service = Service::start(&[fake("a", &flags)]);
    let before = service.load("a");
    let grandchild = until("the grandchild", || {
        let said = lines(&service, "a", 10);
        said.iter().find_map(|line| line.strip_prefix("grandchild ")?.parse::<u32>().ok())
    });
    assert!(runs(grandchild));
    before.signal(Signal::KILL);
    // the exit is seen although the log is still open elsewhere
    let after = service.wait_for_successor(&before);
    assert!(after.exit_output().contains(&"ready"), "{after:?}");
    until("the end of the grandchild", || (!runs(grandchild)).then_some(()));
    service.stop();
}
