//! Starts that work and starts that cannot.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit};
use symphony::ids::Generation;
use symphony::launcher::exit_cause::ExitCause;
use symphony::launcher::{ExitStatus, GroupSignal, Launcher, ReadyChannel, Report, SpawnError};

use crate::bench::{Bench, runs, wait_until};
use crate::open_place::OpenPlace;

fn fatal_text(error: SpawnError) -> String {
    assert!(matches!(error, SpawnError::Fatal { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn exit_codes_and_signals_are_told_apart() {
    let bench = Bench::new();
    assert_eq!(bench.run(bench.shell("a", "exit 3")).0, ExitStatus::Code(3));
    assert_eq!(bench.run(bench.shell("b", "exit 0")).0, ExitStatus::Code(0));
    let killed = ExitStatus::Signal { number: 9, core_dumped: false };
    assert_eq!(bench.run(bench.shell("c", "kill -9 $$")).0, killed);
}

#[test]
fn exits_are_seen_although_sigchld_was_ignored_at_the_start() {
    let this = std::env::current_exe().unwrap();
    let script = "trap '' CHLD; exec \"$0\" --exact starts::exit_codes_and_signals_are_told_apart";
    let output = Command::new("/bin/sh").args(["-c", script]).arg(this).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_panic_of_the_launcher_loses_neither_a_process_nor_its_exit() {
    let bench = Bench::new();
    let process = bench.start(bench.shell("a", "echo begun; sleep 600"));
    assert_eq!(process.first_line(), "begun");
    bench.launcher.crash_for_test();
    assert!(bench.live().contains(&process.key));
    bench.sample(&process.key);
    process.signal(rustix::process::Signal::KILL);
    let (status, output) = bench.exit_of(&process.key);
    assert_eq!(status, ExitStatus::Signal { number: 9, core_dumped: false });
    assert_eq!(output, ["begun"]);
    bench.launcher.crash_for_test();
    assert_eq!(bench.run(bench.shell("a", "exit 3")).0, ExitStatus::Code(3));
    assert_eq!(bench.launcher.end(crate::bench::PATIENCE), 0);
}

#[test]
fn program_is_found_by_name() {
    let bench = Bench::new();
    assert_eq!(bench.run(bench.order("a", "true", &[])).0, ExitStatus::Code(0));
}

#[test]
fn execv_fail() {
    let bench = Bench::new();
    let none = fatal_text(bench.refused(bench.order("a", "/no/such/program", &[])));
    assert!(none.starts_with("cannot execute /no/such/program: No such file"), "{none}");
    let unknown = fatal_text(bench.refused(bench.order("b", "no-such-name-anywhere", &[])));
    assert!(unknown.contains("No such file"), "{unknown}");

    let file = bench.folder.path().join("file");
    std::fs::write(&file, "neither script nor binary").unwrap();
    let file_name = file.to_str().unwrap();
    let forbidden = fatal_text(bench.refused(bench.order("c", file_name, &[])));
    assert!(forbidden.contains("Permission denied"), "{forbidden}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
    let no_format = fatal_text(bench.refused(bench.order("d", file_name, &[])));
    assert!(no_format.contains("Exec format error"), "{no_format}");

    let nul = fatal_text(bench.refused(bench.order("e", "true", &["a\0b"])));
    assert!(nul.contains("nul byte"), "{nul}");
}

#[test]
fn execv_fail_behind_the_shim() {
    let bench = Bench::new();
    let mut order = bench.order("a", "no-such-name-anywhere", &[]);
    order.limits.open_files = Some(64);
    assert!(fatal_text(bench.refused(order)).contains("No such file"));

    // what only the exec itself finds out: the script's interpreter
    let script = bench.folder.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut order = bench.order("b", script.to_str().unwrap(), &[]);
    order.limits.open_files = Some(64);
    let process = bench.start(order);
    let (status, cause, output) = bench.end_of(&process.key);
    assert_eq!(status, ExitStatus::Code(127));
    assert!(output.last().unwrap().contains("cannot execute"), "{output:?}");
    assert!(matches!(cause, Some(ExitCause::NotExecuted(_))), "{cause:?}");

    // the same code by a program that did begin
    let mut order = bench.shell("c", "exit 127");
    order.limits.open_files = Some(64);
    assert_eq!(bench.run_to_its_cause(order), None);
}

#[test]
fn a_program_that_is_being_written_is_transient_behind_the_shim() {
    let bench = Bench::new();
    let program = bench.folder.path().join("program");
    std::fs::copy("/bin/true", &program).unwrap();
    let order = || {
        let mut order = bench.order("a", program.to_str().unwrap(), &[]);
        order.limits.open_files = Some(64);
        order
    };
    let writer = std::fs::File::options().append(true).open(&program).unwrap();
    let cause = bench.run_to_its_cause(order());
    let Some(ExitCause::NotExecutedNow(why)) = cause else { panic!("{cause:?}") };
    assert!(why.starts_with("cannot start /") && why.contains("now: Text file busy"), "{why}");
    drop(writer);
    assert_eq!(bench.run(order()).0, ExitStatus::Code(0));
}

#[test]
fn cwd_fail() {
    let bench = Bench::new();
    let mut order = bench.order("a", "true", &[]);
    order.command.working_dir = Some("/no/such/folder".into());
    let text = fatal_text(bench.refused(order));
    assert!(text.contains("working directory /no/such/folder: No such file"), "{text}");

    let mut order = bench.order("b", "true", &[]);
    order.command.working_dir = Some("/etc/passwd".into());
    assert!(fatal_text(bench.refused(order)).contains("Not a directory"));
}

#[test]
fn log_that_cannot_be_opened_is_named() {
    let bench = Bench::new();
    let mut order = bench.order("a", "true", &[]);
    order.log_path = "/etc/passwd/a.log".into();
    assert!(fatal_text(bench.refused(order)).contains("log file /etc/passwd/a.log"));
}

/// Set for the process of its own that [`starved_starts_are_transient`] needs.
const MAY_STARVE: &str = "SYMPHONY_TEST_MAY_STARVE";

#[test]
fn make_pipes_emfile() {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this)
        .args(["--exact", "starts::starved_starts_are_transient", "--nocapture"])
        .env(MAY_STARVE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("refused before it succeeded"), "{text}");
}

/// Takes all descriptors of its process away, so it does nothing where other tests run beside it.
#[test]
fn starved_starts_are_transient() {
    if std::env::var_os(MAY_STARVE).is_none() {
        return;
    }
    let bench = Bench::new();
    let hard = Rlimit { current: Some(100), maximum: Some(100) };
    rustix::process::setrlimit(Resource::Nofile, hard).unwrap();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let mut refusals = 0;
    // one descriptor more each time: every step of a start is the one that fails for once
    let process = loop {
        let model = format!("m{refusals}");
        let mut order = bench.order(&model, "sleep", &["1000"]);
        order.ready_channel = ReadyChannel::Fd { number: 9 };
        match bench.try_start(order) {
            Ok(process) => break process,
            Err(error) => {
                assert!(matches!(error, SpawnError::Transient { .. }), "{error:?}");
                assert!(error.to_string().contains("Too many open files"), "{error}");
            }
        }
        refusals += 1;
        assert!(refusals < 50, "descriptors leak");
        hoard.pop();
    };
    assert!(refusals >= 5, "each step of a start needs descriptors");
    println!("{refusals} times refused before it succeeded");
    hoard.clear();
    assert_eq!(bench.live(), std::slice::from_ref(&process.key));
    bench.launcher.signal(&process.key, GroupSignal::Kill);
    bench.exit_of(&process.key);
    drop(process);
    // a refused start must not keep any: as many as before are left
    let before = open();
    for attempt in 0..3 {
        let mut order = bench.order(&format!("after{attempt}"), "true", &[]);
        order.ready_channel = ReadyChannel::Fd { number: 9 };
        bench.run(order);
    }
    wait_until("all descriptors are given back", || open() <= before);
}

/// Set for the process of its own, under a user of its own, that [`crowded_starts_are_transient`] needs.
const MAY_CROWD: &str = "SYMPHONY_TEST_MAY_CROWD";

#[test]
fn fork_eagain() {
    if !rustix::process::geteuid().is_root() {
        // not by a macro: what those write is shown of failed tests only
        let told = b"left out: fork_eagain (root has no limit of processes, and only root may act as another user)\n";
        let _ = std::io::stderr().write_all(told);
        return;
    }
    // a user whom nobody else has: the limit counts all processes of a user
    let user = 2_000_000_000 + std::process::id();
    let place = OpenPlace::new();
    let this = place.program(std::env::current_exe().unwrap());
    let output = Command::new(&this)
        .args(["--exact", "starts::crowded_starts_are_transient", "--nocapture"])
        .env(MAY_CROWD, "1")
        .env("TMPDIR", place.path())
        .current_dir(place.path())
        .uid(user)
        .gid(user)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("refused, then started"), "{output:?}");
}

/// Lets its user have no further process, so it does nothing where other tests run beside it.
#[test]
fn crowded_starts_are_transient() {
    if std::env::var_os(MAY_CROWD).is_none() {
        return;
    }
    let bench = Bench::new();
    let limit = |processes: u64| {
        let limits = Rlimit { current: Some(processes), maximum: Some(1000) };
        rustix::process::setrlimit(Resource::Nproc, limits).unwrap();
    };
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count() as u64;
    limit(threads);
    let error = bench.refused(bench.order("a", "sleep", &["1000"]));
    assert!(matches!(error, SpawnError::Transient { .. }), "{error:?}");
    assert!(error.to_string().contains("Resource temporarily unavailable"), "{error}");
    limit(1000);
    bench.start(bench.order("a", "sleep", &["1000"]));
    println!("refused, then started");
}

#[test]
fn forget_without_stop() {
    let bench = Bench::new();
    let process = bench.start(bench.order("a", "sleep", &["1000"]));
    bench.launcher.forget(&process.key.instance);
    // whoever is forgotten still lives, is known, and cannot be doubled
    assert_eq!(bench.live(), std::slice::from_ref(&process.key));
    let mut second = bench.order("a", "sleep", &["1000"]);
    second.key.generation = Generation(2);
    assert!(matches!(bench.refused(second), SpawnError::Transient { .. }));
    process.signal(rustix::process::Signal::KILL);
    let killed = ExitStatus::Signal { number: 9, core_dumped: false };
    assert_eq!(bench.exit_of(&process.key).0, killed);
}

#[test]
fn spawn_already_running() {
    let bench = Bench::new();
    let first = bench.start(bench.order("a", "sleep", &["1000"]));
    let mut second = bench.order("a", "sleep", &["1000"]);
    second.key.generation = Generation(2);
    let error = bench.refused(second);
    assert!(matches!(error, SpawnError::Transient { .. }), "{error:?}");
    assert!(error.to_string().contains("generation 1 of it is not gone yet"), "{error}");
    assert_eq!(bench.live(), [first.key]);
}

#[test]
fn storm_of_spawns_is_answered_whole() {
    let bench = Bench::new();
    let orders: Vec<_> =
        (0..100).map(|n| bench.order(&format!("m{n}"), "sleep", &["1000"])).collect();
    let keys: Vec<_> = orders.iter().map(|order| order.key.clone()).collect();
    for order in orders {
        bench.launcher.spawn(order);
    }
    for wanted in &keys {
        bench.expect("a start", |r| matches!(r, Report::Spawned { key, .. } if key == wanted));
    }
    assert_eq!(bench.live().len(), keys.len());
}

#[test]
fn end_leaves_nothing_behind() {
    let bench = Bench::new();
    let stubborn =
        bench.start(bench.shell("a", "trap '' TERM; echo up; while :; do sleep 1; done"));
    stubborn.first_line();
    let family = bench.start(bench.shell("b", "sleep 1000 & echo $!; wait"));
    let grandchild: u32 = family.first_line().parse().unwrap();
    assert_eq!(bench.launcher.end(crate::bench::PATIENCE), 0);
    assert_eq!(crate::bench::state_of(stubborn.pid), None, "reaped");
    assert_eq!(crate::bench::state_of(family.pid), None, "reaped");
    wait_until("the end of the grandchild", || !runs(grandchild));
    // without effect, and no panic
    bench.launcher.spawn(bench.order("c", "true", &[]));
    assert_eq!(bench.launcher.end(crate::bench::PATIENCE), 0);
}

#[test]
fn dropped_launcher_leaves_nothing_behind() {
    let bench = Bench::new();
    let process = bench.start(bench.order("a", "sleep", &["1000"]));
    drop(bench);
    // told a moment before it is reaped
    crate::bench::wait_until("the reaping", || crate::bench::state_of(process.pid).is_none());
}
