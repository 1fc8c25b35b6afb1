//! Signals reach whole groups, and nobody else.

use std::process::Command;

use rustix::process::{Pid, Signal};
use symphony::launcher::{ExitStatus, GroupSignal, Launcher};
use symphony::settings::policy::StopSignal;

use crate::bench::{Bench, runs, state_of, wait_until};

const TERM: GroupSignal = GroupSignal::Stop(StopSignal::Term);

fn by_signal(number: i32) -> ExitStatus {
    ExitStatus::Signal { number, core_dumped: false }
}

#[test]
fn kill_nopid() {
    let bench = Bench::new();
    let never_started = bench.order("a", "true", &[]).key;
    bench.launcher.signal(&never_started, GroupSignal::Kill);
    bench.launcher.sample(&never_started);
    assert_eq!(bench.live(), []);
}

#[test]
fn kill_esrch() {
    let bench = Bench::new();
    let process = bench.start(bench.order("a", "true", &[]));
    assert_eq!(bench.exit_of(&process.key).0, ExitStatus::Code(0));
    bench.launcher.signal(&process.key, TERM);
    bench.launcher.signal(&process.key, GroupSignal::Kill);
    assert_eq!(bench.live(), []);
}

#[test]
fn signal_for_an_older_generation_changes_nothing() {
    let bench = Bench::new();
    let old = bench.start(bench.order("a", "true", &[]));
    bench.exit_of(&old.key);
    let mut order = bench.order("a", "sleep", &["1000"]);
    order.key.generation = order.key.generation.next();
    let new = bench.start(order);
    bench.launcher.signal(&old.key, GroupSignal::Kill);
    assert_eq!(bench.live(), std::slice::from_ref(&new.key));
    bench.launcher.signal(&new.key, TERM);
    assert_eq!(bench.exit_of(&new.key).0, by_signal(15));
}

#[test]
fn stop_kills_group() {
    let bench = Bench::new();
    let family = bench.start(bench.shell("a", "sleep 1000 & echo $!; wait"));
    let grandchild: u32 = family.first_line().parse().unwrap();
    assert!(runs(grandchild));
    bench.launcher.signal(&family.key, TERM);
    assert_eq!(bench.exit_of(&family.key).0, by_signal(15));
    wait_until("the end of the grandchild", || !runs(grandchild));
}

#[test]
fn wrapper_shell_and_grandchild_die() {
    let bench = Bench::new();
    // the grandchild ignores TERM, and only its wrapper is killed: the group goes all the same
    let script = "(trap '' TERM; sleep 1000) & echo $!; wait";
    let wrapper = bench.start(bench.shell("a", script));
    let grandchild: u32 = wrapper.first_line().parse().unwrap();
    wrapper.signal(Signal::KILL);
    assert_eq!(bench.exit_of(&wrapper.key).0, by_signal(9));
    wait_until("the end of the grandchild", || !runs(grandchild));
}

#[test]
fn frozen_process_is_stopped() {
    let bench = Bench::new();
    let frozen = bench.start(bench.order("a", "sleep", &["1000"]));
    frozen.signal(Signal::STOP);
    wait_until("it is frozen", || state_of(frozen.pid) == Some('T'));
    bench.launcher.signal(&frozen.key, TERM);
    assert_eq!(bench.exit_of(&frozen.key).0, by_signal(15));
}

#[test]
fn process_that_ignores_term_is_killed() {
    let bench = Bench::new();
    let stubborn =
        bench.start(bench.shell("a", "trap 'echo no' TERM; echo up; while :; do sleep 0.01; done"));
    stubborn.first_line();
    bench.launcher.signal(&stubborn.key, TERM);
    wait_until("the refusal", || {
        std::fs::read_to_string(&stubborn.log_path).is_ok_and(|text| text.contains("no\n"))
    });
    assert_eq!(bench.live(), std::slice::from_ref(&stubborn.key));
    bench.launcher.signal(&stubborn.key, GroupSignal::Kill);
    assert_eq!(bench.exit_of(&stubborn.key).0, by_signal(9));
}

#[test]
fn each_configured_stop_signal_is_sent() {
    let bench = Bench::new();
    for (signal, number) in [
        (StopSignal::Int, 2),
        (StopSignal::Hup, 1),
        (StopSignal::Usr1, 10),
        (StopSignal::Usr2, 12),
        (StopSignal::Kill, 9),
    ] {
        let process = bench.start(bench.order(&format!("{signal:?}"), "sleep", &["1000"]));
        bench.launcher.signal(&process.key, GroupSignal::Stop(signal));
        assert_eq!(bench.exit_of(&process.key).0, by_signal(number));
    }
}

#[test]
fn unknown_pid_reaped() {
    // as process 1 of a container we are the one who gets the orphans
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    // a child of other code in this process keeps its status for that code
    let mut foreign = Command::new("/bin/sh").args(["-c", "exit 42"]).spawn().unwrap();
    wait_until("the end of the foreign child", || state_of(foreign.id()) == Some('Z'));

    let bench = Bench::new();
    let wrapper = bench.start(bench.shell("a", "sleep 1000 & echo $!; wait"));
    let orphan: u32 = wrapper.first_line().parse().unwrap();
    wrapper.signal(Signal::KILL);
    bench.exit_of(&wrapper.key);
    wait_until("the orphan is reaped", || state_of(orphan).is_none());
    assert_eq!(foreign.wait().unwrap().code(), Some(42));
}

#[test]
fn status_that_somebody_else_took_is_unknown_and_harms_nothing() {
    let bench = Bench::new();
    let robbed = bench.start(bench.order("a", "sleep", &["1000"]));
    let pid = Pid::from_raw(robbed.pid as i32).unwrap();
    // racing the launcher for the status: whoever wins, there is one exit report
    let thief = std::thread::spawn(move || {
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
    });
    robbed.signal(Signal::KILL);
    let status = bench.exit_of(&robbed.key).0;
    assert!(status == by_signal(9) || status == ExitStatus::Unknown, "{status}");
    let stolen = thief.join().unwrap();
    // both have it when the thief comes between the launcher's look and its reaping
    assert!(stolen.is_ok() || status == by_signal(9), "{stolen:?} {status}");
    assert_eq!(bench.live(), []);
}
