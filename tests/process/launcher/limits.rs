//! Limits of a backend on real processes: that they hold, and that the one that ended a process is named.

use std::io::Write;
use std::process::{Command, Output};
use std::time::Duration;

use symphony::launcher::exit_cause::ExitCause;
use symphony::launcher::{ExitStatus, ReadyChannel, SpawnOrder, account};

use crate::bench::Bench;
use crate::open_place::OpenPlace;

/// The only line of a process that ends well.
fn only_line(bench: &Bench, order: SpawnOrder) -> String {
    let (status, output) = bench.run(order);
    assert_eq!(status, ExitStatus::Code(0), "{output:?}");
    let [line] = output.as_slice() else { panic!("{output:?}") };
    line.clone()
}

fn near_limit(cause: Option<ExitCause>) -> String {
    match cause {
        Some(ExitCause::NearLimit(what)) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn limits_are_set_before_the_program_begins() {
    let bench = Bench::new();
    let script = "ulimit -n; ulimit -v; ulimit -t; ulimit -p 2>/dev/null || ulimit -u";
    let mut order = bench.shell("a", script);
    order.limits.open_files = Some(64);
    order.limits.memory = Some(1 << 32);
    order.limits.cpu_time = Some(Duration::from_secs(100));
    order.limits.processes = Some(5000);
    let (status, output) = bench.run(order);
    assert_eq!(status, ExitStatus::Code(0), "{output:?}");
    assert_eq!(output, ["64", "4194304", "100", "5000"]);
}

#[test]
fn nice_is_added() {
    let bench = Bench::new();
    let own = rustix::process::getpriority_process(None).unwrap();
    let mut order = bench.shell("a", "nice");
    order.limits.nice = Some(3);
    assert_eq!(only_line(&bench, order), (own + 3).min(19).to_string());
}

#[test]
fn memory_limit_is_reported() {
    let bench = Bench::new();
    let mut order = bench.shell("a", "head -c 500000000 /dev/zero | tail -n 1 >/dev/null");
    order.limits.memory = Some(256 << 20);
    let told = near_limit(bench.run_to_its_cause(order));
    assert!(told.contains("memory limit 256MiB (address space)"), "{told}");
}

#[test]
fn memory_limit_is_reported_of_a_silent_program() {
    let bench = Bench::new();
    // a shell cannot grow on purpose: one that has less than it needs to begin with was seen near its limit
    let process = bench.start({
        let mut order = bench.shell("a", "echo begun; read line </proc/self/comm; while [ ! -e go ]; do sleep 0.01; done; exit 3");
        order.command.working_dir = Some(bench.folder.path().to_owned());
        order
    });
    process.first_line();
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    std::fs::write(bench.folder.path().join("go"), "").unwrap();
    assert_eq!(bench.end_of(&process.key).1, None, "nothing was limited");
    std::fs::remove_file(bench.folder.path().join("go")).unwrap();

    let mut order = bench.shell(
        "b",
        "echo begun; read line </proc/self/comm; while [ ! -e go ]; do sleep 0.01; done; exit 3",
    );
    order.command.working_dir = Some(bench.folder.path().to_owned());
    order.limits.memory = Some(kib * 1024 + (kib * 1024) / 50);
    let process = bench.start(order);
    process.first_line();
    bench.sample(&process.key);
    std::fs::write(bench.folder.path().join("go"), "").unwrap();
    let (status, cause, output) = bench.end_of(&process.key);
    assert_eq!(status, ExitStatus::Code(3), "{output:?}");
    let told = near_limit(cause);
    assert!(told.starts_with("near its memory limit"), "{told}");
}

#[test]
fn cpu_time_limit_is_reported() {
    let bench = Bench::new();
    let mut order = bench.shell("a", "while :; do :; done");
    order.limits.cpu_time = Some(Duration::from_secs(1));
    let cause = bench.run_to_its_cause(order);
    assert_eq!(cause, Some(ExitCause::Limit("cpu time limit 1s".into())));
}

#[test]
fn cpu_time_limit_ends_also_who_does_not_listen() {
    let bench = Bench::new();
    let mut order = bench.shell("a", "trap '' XCPU; echo $(ulimit -Ht); while :; do :; done");
    order.limits.cpu_time = Some(Duration::from_secs(1));
    let process = bench.start(order);
    let (status, cause, output) = bench.end_of(&process.key);
    assert_eq!(status, ExitStatus::Signal { number: 9, core_dumped: false });
    assert_eq!(output, ["6"], "some time to put things in order");
    assert_eq!(cause, Some(ExitCause::Limit("cpu time limit 1s".into())));
}

#[test]
fn a_kill_from_elsewhere_is_not_taken_for_a_limit() {
    let bench = Bench::new();
    let mut order = bench.shell("a", "kill -KILL $$");
    order.limits.cpu_time = Some(Duration::from_secs(60));
    order.limits.memory = Some(1 << 32);
    let process = bench.start(order);
    let (status, cause, _) = bench.end_of(&process.key);
    assert_eq!(status, ExitStatus::Signal { number: 9, core_dumped: false });
    assert_eq!(cause, None);
}

#[test]
fn open_files_limit_holds() {
    let bench = Bench::new();
    // each redirection takes a descriptor; the shell itself needs one at 10 or above
    let script = "exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null 7</dev/null; : </dev/null; cat /dev/null /dev/null";
    let mut order = bench.shell("a", script);
    order.limits.open_files = Some(8);
    let process = bench.start(order);
    let (status, cause, output) = bench.end_of(&process.key);
    assert_ne!(status, ExitStatus::Code(0), "{output:?}");
    let told = near_limit(cause);
    assert_eq!(told, "out of open files by its own words, with a limit of 8");
}

/// A user without rights whom root may become; else the test is named on stderr as left out.
fn nobody(test: &str) -> Option<String> {
    let user = "nobody".to_owned();
    let Some(why) = account::obstacle(&user) else { return Some(user) };
    // not by a macro: what those write is shown of failed tests only
    let _ = std::io::stderr().write_all(format!("left out: {test} ({why})\n").as_bytes());
    None
}

#[test]
fn user_is_changed() {
    let Some(user) = nobody("user_is_changed") else { return };
    let bench = Bench::new();
    let script =
        "id -un; id -gn; id -Gn; echo $HOME $USER $LOGNAME; id -u >&7; grep Cap /proc/self/status";
    let mut order = bench.shell("a", script);
    order.limits.user = Some(user.clone());
    order.limits.nice = Some(-1);
    order.ready_channel = ReadyChannel::Fd { number: 7 };
    order.command.env.insert("LOGNAME".into(), "configured".into());
    let (status, output) = bench.run(order);
    assert_eq!(status, ExitStatus::Code(0), "{output:?}");
    let of = |args: &[&str]| {
        let told = Command::new("id").args(args).arg(&user).output().unwrap();
        String::from_utf8(told.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(output[..3], [of(&["-un"]), of(&["-gn"]), of(&["-Gn"])]);
    let mut told = output[3].rsplitn(3, ' ');
    assert_eq!((told.next(), told.next()), (Some("configured"), Some("nobody")));
    assert_ne!(told.next(), std::env::var("HOME").ok().as_deref());
    let effective = output.iter().find(|line| line.starts_with("CapEff")).unwrap();
    assert!(effective.ends_with("0000000000000000"), "{effective}");
}

/// A user without a name that is neither root nor [`nobody`].
const STRANGER: &str = "12345";

/// The exec shim, started to become nobody by a process that is not root and has these capabilities, also over an exec;
/// `None` where such a process cannot be had: then the test is named on stderr as left out.
fn shim_of_a_stranger(test: &str, capabilities: &str, command: &[&str]) -> Option<Output> {
    let user = nobody(test)?;
    let run = |line: &[&str]| {
        let ambient = ["--inh-caps", capabilities, "--ambient-caps", capabilities];
        let own = ["--reuid", STRANGER, "--regid", STRANGER, "--clear-groups"];
        Command::new("setpriv").args(own).args(ambient).args(line).output().ok()
    };
    let place = OpenPlace::new();
    let program = place.program(env!("CARGO_BIN_EXE_symphony"));
    let symphony = program.to_str().unwrap();
    if run(&[symphony, "--version"]).is_none_or(|tried| !tried.status.success()) {
        let told = format!("left out: {test} (setpriv of util-linux is not there)\n");
        let _ = std::io::stderr().write_all(told.as_bytes());
        return None;
    }
    let shim = [symphony, "exec-shim", "--user", &user, "--"];
    Some(run(&[&shim, command].concat()).unwrap())
}

#[test]
fn another_user_gets_none_of_the_services_capabilities() {
    let test = "another_user_gets_none_of_the_services_capabilities";
    let all = "+setuid,+setgid,+kill,+net_admin";
    let Some(output) = shim_of_a_stranger(test, all, &["cat", "/proc/self/status"]) else { return };
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let of = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(of(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(of("NoNewPrivs:"), ["1"]);
    assert!(!of("Uid:").contains(&STRANGER.to_owned()));
}

#[test]
fn a_user_whose_processes_could_not_be_ended_is_refused() {
    let test = "a_user_whose_processes_could_not_be_ended_is_refused";
    let Some(output) = shim_of_a_stranger(test, "+setuid,+setgid", &["true"]) else { return };
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(126), "{told}");
    assert!(told.contains("runs as user 12345") && told.contains("CAP_KILL"), "{told}");
}

#[test]
fn a_user_that_cannot_be_become_is_told_and_never_tried_again() {
    let bench = Bench::new();
    let mut order = bench.shell("a", "echo never");
    order.limits.user = Some("no-such-user-anywhere".into());
    let process = bench.start(order);
    let (_, cause, output) = bench.end_of(&process.key);
    let why = "there is no user 'no-such-user-anywhere'".to_owned();
    assert_eq!(cause, Some(ExitCause::NotExecuted(why)), "{output:?}");
}

#[test]
fn processes_limit_holds() {
    // root is not limited
    let Some(user) = nobody("processes_limit_holds") else { return };
    let bench = Bench::new();
    let mut order = bench.shell("a", "for i in $(seq 60); do sleep 1000 & done; wait");
    order.limits.user = Some(user);
    // others may run processes of this user just now
    order.limits.processes = Some(30);
    let process = bench.start(order);
    let (status, cause, output) = bench.end_of(&process.key);
    assert_ne!(status, ExitStatus::Code(0), "{output:?}");
    let told = near_limit(cause);
    assert_eq!(told, "out of processes by its own words, with a limit of 30", "{output:?}");
}

#[test]
fn environment_allow_list_holds() {
    let bench = Bench::new();
    let mut order = bench.order("a", "/usr/bin/env", &[]);
    order.command.env_allow = Some(vec!["PATH".into(), "NO_SUCH_VARIABLE_HERE".into()]);
    order.command.env.insert("OWN".into(), "1".into());
    order.limits.nice = Some(0);
    let (_, mut output) = bench.run(order);
    output.sort();
    let path = format!("PATH={}", std::env::var("PATH").unwrap());
    output.retain(|line| !line.starts_with("SYMPHONY_"));
    assert_eq!(output, ["OWN=1".to_owned(), path]);
}
