//! What backends write: kept, bounded, passed on.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use symphony::launcher::{ExitStatus, GroupSignal, Launcher, Report, TailOrder};
use symphony::limits;
use symphony::settings::policy::LogFilePolicy;

use crate::bench::{Bench, catch_service_log, runs, service_log, wait_until};

const MIB: u64 = 1024 * 1024;

fn folder_bytes(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .unwrap()
        // a file may be rotated away between the listing and the look at it
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|facts| facts.len())
        .sum()
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn tail(bench: &Bench, path: &Path, lines: usize, after_offset: Option<u64>) -> (Vec<String>, u64) {
    bench.launcher.tail(TailOrder { ticket: 7, log_path: path.to_owned(), lines, after_offset });
    let report = bench.expect("lines", |r| matches!(r, Report::Output { ticket: 7, .. }));
    match report {
        Report::Output { lines, next_offset, .. } => (lines.unwrap(), next_offset),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn exit_carries_the_last_lines_of_its_own_process() {
    let bench = Bench::new();
    let (_, output) = bench.run(bench.shell("a", "echo out; echo err >&2; exit 1"));
    assert_eq!(output, ["out", "err"]);
    let mut order = bench.shell("a", "printf 'no line end'");
    order.key.generation = order.key.generation.next();
    assert_eq!(bench.run(order).1, ["no line end"]);
    let mut order = bench.shell("a", "seq 1 1000");
    order.key.generation = order.key.generation.next().next();
    let (_, output) = bench.run(order);
    assert_eq!(output.len(), limits::EXIT_OUTPUT_LINES);
    assert_eq!(output.last().unwrap(), "1000");
}

#[test]
fn non_utf8_output() {
    let bench = Bench::new();
    let (_, output) = bench.run(bench.shell("a", r"printf 'a\377b\n'"));
    assert_eq!(output, ["a\u{fffd}b"]);
}

#[test]
fn grandchild_holds_stdout() {
    let bench = Bench::new();
    // a session of its own: not in the group, so it survives and holds the log open
    let script = "setsid sh -c 'echo $$; : >up; exec sleep 100' & until [ -e up ]; do sleep 0.01; done; exit 5";
    let mut order = bench.shell("a", script);
    order.command.working_dir = Some(bench.folder.path().to_owned());
    let process = bench.start(order);
    assert_eq!(bench.exit_of(&process.key).0, ExitStatus::Code(5));
    assert!(runs(process.first_line().parse().unwrap()), "only our own group is ended");
    let holder: u32 = process.first_line().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(holder as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_until("the end of the holder", || !runs(holder));
}

#[test]
fn stdout_flood_64mb() {
    catch_service_log();
    let bench = Bench::new();
    let before = resident_bytes();
    let mut order = bench.shell("flood", "head -c 67108864 /dev/zero; echo; echo done");
    order.log = LogFilePolicy { max_bytes: MIB, keep: 1 };
    let logs = order.log_path.parent().unwrap().to_owned();
    let process = bench.start(order);
    // meanwhile everything else goes on
    assert_eq!(bench.run(bench.shell("other", "echo hello")).1, ["hello"]);
    let (status, output) = bench.exit_of(&process.key);
    assert_eq!(status, ExitStatus::Code(0));
    assert!(output.len() <= limits::EXIT_OUTPUT_LINES);
    assert!(output.iter().all(|line| line.len() <= 3 * limits::OUTPUT_LINE_BYTES));
    wait_until("the disk is freed", || folder_bytes(&logs) <= 3 * MIB);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 48 * MIB, "memory grew by {grown} bytes");
    wait_until("what was not shown is told", || {
        service_log().lines().any(|line| line.contains("[flood]") && line.contains("more bytes"))
    });
}

#[test]
fn log_is_rotated_while_the_child_writes_on() {
    let bench = Bench::new();
    let script = "i=0; while :; do echo line-$i; i=$((i+1)); done";
    let mut order = bench.shell("a", script);
    order.log = LogFilePolicy { max_bytes: 64 * 1024, keep: 2 };
    let process = bench.start(order);
    let rotated = |n: u32| process.log_path.with_extension(format!("log.{n}"));
    wait_until("two rotations", || rotated(1).exists() && rotated(2).exists());
    let (_, written, _) = bench.sample(&process.key);
    assert!(written >= 2 * 64 * 1024, "output counts on over rotations: {written}");
    let (_, later, _) = bench.sample(&process.key);
    assert!(later >= written);
    bench.launcher.signal(&process.key, GroupSignal::Kill);
    let (_, output) = bench.exit_of(&process.key);
    assert!(output.iter().any(|line| line.starts_with("line-")), "{output:?}");
    assert!(!rotated(3).exists());
    for path in [process.log_path.clone(), rotated(1), rotated(2)] {
        let facts = std::fs::metadata(&path).unwrap();
        assert!(facts.blocks() * 512 + 4096 >= facts.len(), "{} has a hole", path.display());
        let text = std::fs::read(&path).unwrap();
        assert!(!text.contains(&0), "{} has a hole", path.display());
    }
}

#[test]
fn output_after_restart() {
    catch_service_log();
    let bench = Bench::new();
    for generation in 1..=3 {
        let mut order = bench.shell("restarted", &format!("echo life $((100+{generation}))"));
        order.key.generation = symphony::ids::Generation(generation);
        bench.run(order);
    }
    for life in ["life 101", "life 102", "life 103"] {
        let line = format!("[restarted] {life}");
        wait_until(&line, || service_log().contains(&line));
        assert_eq!(service_log().matches(&line).count(), 1, "{line} once");
    }
}

#[test]
fn lines_reach_the_service_log_a_few_at_a_time() {
    catch_service_log();
    let bench = Bench::new();
    let (status, _) = bench.run(bench.shell("chatty", "seq -f 'word-%.0f' 1 5000"));
    assert_eq!(status, ExitStatus::Code(0));
    wait_until("the summary", || {
        service_log().lines().any(|line| line.contains("[chatty]") && line.contains("more lines"))
    });
    let log = service_log();
    let shown = log.lines().filter(|line| line.contains("[chatty] word-")).count();
    assert!(log.contains("symphony-backend: [chatty] word-1 "), "target and form of the contract");
    assert!((limits::OUTPUT_LINES_PER_SECOND..5000).contains(&shown), "{shown} lines");
}

#[test]
fn tail_and_follow() {
    let bench = Bench::new();
    let script = "echo one; echo two; printf half; read stop < stop; echo; echo three; sleep 1000";
    let mut order = bench.shell("a", script);
    order.command.working_dir = Some(bench.folder.path().to_owned());
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        bench.folder.path().join("stop"),
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .unwrap();
    let process = bench.start(order);
    let path = &process.log_path;
    wait_until("half a line", || tail(&bench, path, 9, None).0 == ["one", "two", "half"]);
    let (lines, next) = tail(&bench, path, 9, Some(0));
    assert_eq!(lines, ["one", "two"], "whole lines only");
    std::fs::write(bench.folder.path().join("stop"), "go\n").unwrap();
    wait_until("the rest", || tail(&bench, path, 9, Some(next)).0 == ["half", "three"]);
    assert_eq!(tail(&bench, path, 1, Some(1_000_000)).0, ["one"], "rotated: from the beginning");
}

#[test]
fn work_of_descendants_counts() {
    let bench = Bench::new();
    let busy = bench.start(bench.shell("a", "sh -c 'while :; do :; done' & wait"));
    wait_until("CPU time of the grandchild", || {
        bench.sample(&busy.key).0 >= Duration::from_millis(50)
    });
    let (_, output, resident) = bench.sample(&busy.key);
    assert_eq!(output, 0);
    assert!(resident > 0);
}
