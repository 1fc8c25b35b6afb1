//! The calendar is set back or ahead under the service: it counts in a clock that only goes on.

use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::crash_loops::{Counted, three_restarts};
use crate::service::{Row, Service, fake};

const DAY: f64 = 86_400.0;

/// A library that makes the calendar of one process jump; the machine's clock is nobody's to set.
fn library(folder: &std::path::Path) -> PathBuf {
    let library = folder.join("jump.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/clock_jumps/jump.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    assert!(compiler.status().expect("a C compiler, as the build needs it").success());
    library
}

/// How far the calendar of the service stands from ours, by what it tells of a start just now.
fn calendar_offset(row: &Row) -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    row.0["started_at"].as_f64().expect("a time") - now.expect("after 1970").as_secs_f64()
}

#[test]
fn clock_jump_changes_nothing() {
    let scratch = tempfile::tempdir().expect("folder");
    let (library, jump) = (library(scratch.path()), scratch.path().join("jump"));
    let counted = Counted::new();
    let mut restart = three_restarts();
    restart["cool_off"] = json!("1h");
    let crashing = ["--crash-at-start", "1000", "--exit-code", "3"];
    let frequent = json!({ "every": "300ms", "timeout": "300ms", "misses": 100 });
    let service = Service::start_by(
        &[
            fake("a", &[]).with("health", frequent),
            counted.model("parked", &crashing).with("restart", restart),
        ],
        |command| {
            command.env("LD_PRELOAD", &library).env("SYMPHONY_TEST_JUMP", &jump);
        },
    );
    let mut row = service.load("a");
    assert!(calendar_offset(&row).abs() < DAY / 2.0);
    service.fails_to_load("parked");
    for (bytes, days) in [("b", -1.0), ("aa", 1.0), ("b", -1.0)] {
        std::fs::write(&jump, bytes).expect("written");
        let uptime = service.row("a").0["uptime"].as_i64().expect("a number");
        assert!((0..3600).contains(&uptime), "{uptime} s");
        row.signal(Signal::KILL);
        let next = service.wait_for_successor(&row);
        assert_eq!(next.restarts(), row.restarts() + 1, "the jump itself replaced nobody");
        let offset = calendar_offset(&next);
        assert!((offset - days * DAY).abs() < DAY / 2.0, "the jump took place: {offset}");
        assert_eq!((service.row("parked").state(), counted.starts("parked")), ("parked", 4));
        row = next;
    }
    // in the order in which it happened, whatever the calendar said
    let at: Vec<f64> = service.events("a").iter().map(crate::service::Event::at_ms).collect();
    assert!(at.is_sorted(), "{at:?}");
    service.stop();
}
