//! A demo that is interrupted takes its service, its backends and its folder along, at whatever moment that is.

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::Instant;

use super::program::{LIMIT, command, spawn};

/// When the signal comes.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// As soon as the program was started.
    Spawned,
    /// The private folder is there.
    Folder,
    /// The configuration is written: the service is just being started.
    Configuration,
    /// The service has made its log: it is not ready yet.
    Service,
    /// It has bound its sockets.
    Socket,
    /// The demo has said this.
    Says(&'static str),
}

const MOMENTS: [Moment; 11] = [
    Moment::Spawned,
    Moment::Folder,
    Moment::Configuration,
    Moment::Service,
    Moment::Socket,
    Moment::Says("1. The service"),
    Moment::Says("2. Two models"),
    Moment::Says("alpha: ready"),
    Moment::Says("4. alpha is killed"),
    Moment::Says("noticed"),
    Moment::Says("6. What happened"),
];

/// A running demo in a group of its own. Whatever is left of it when it is dropped is killed.
struct Demo {
    home: tempfile::TempDir,
    child: Child,
    said: Receiver<String>,
}

impl Demo {
    fn start() -> Self {
        let home = tempfile::tempdir().expect("folder");
        let mut command = command(home.path());
        command.arg("demo").env("TMPDIR", home.path()).process_group(0);
        let mut child = spawn(&mut command);
        let (tell, said) = channel();
        let stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Self { home, child, said }
    }

    fn folder(&self) -> Option<PathBuf> {
        let mut entries = std::fs::read_dir(self.home.path()).expect("listed").flatten();
        let is_stage = |path: &PathBuf| path.to_string_lossy().contains("symphony-demo-");
        entries.by_ref().map(|entry| entry.path()).find(is_stage)
    }

    /// Waits for the moment, with open eyes: the early ones last for less than a millisecond.
    fn reaches(&self, moment: Moment) {
        let end = Instant::now() + LIMIT;
        if let Moment::Says(text) = moment {
            while !self.said.recv_timeout(LIMIT).expect("it goes on").contains(text) {}
            return;
        }
        let there = |name: &str| self.folder().is_some_and(|folder| folder.join(name).exists());
        while !match moment {
            Moment::Spawned | Moment::Says(_) => true,
            Moment::Folder => self.folder().is_some(),
            Moment::Configuration => there("symphony.json"),
            Moment::Service => there("state/logs/service.log"),
            Moment::Socket => there("cli.sock"),
        } {
            assert!(Instant::now() < end, "{moment:?} does not come");
        }
    }

    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status;
            }
            assert!(Instant::now() < end, "the demo does not end");
            std::thread::yield_now();
        }
    }

    /// Every live process with the private folder in its arguments, but for the demo itself.
    fn processes(&self) -> Vec<i32> {
        processes_with(self.home.path())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in self.processes() {
            let _ = kill_process(Pid::from_raw(pid).expect("no zero"), Signal::KILL);
        }
    }
}

fn processes_with(folder: &Path) -> Vec<i32> {
    let wanted = folder.to_str().expect("UTF-8");
    let pids = std::fs::read_dir("/proc").expect("listed").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(wanted)
        })
        .collect()
}

fn interrupted(moment: Moment, signal: Signal, whole_group: bool) {
    let mut demo = Demo::start();
    demo.reaches(moment);
    let pid = Pid::from_child(&demo.child);
    // not reaped yet, so both are its own
    let sent =
        if whole_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    sent.expect("signalled");
    let status = demo.ended();
    let what = format!("{moment:?}, {signal:?}, group: {whole_group}: {status:?}");
    let number = signal.as_raw();
    // before the demo has made anything a signal just ends it; at its very end it may come too late
    let fits = status.code() == Some(128 + number)
        || status.signal() == Some(number)
        || (status.success() && matches!(moment, Moment::Says("6. What happened")));
    assert!(fits, "{what}");
    assert_eq!(demo.processes(), [0; 0], "{what}: processes are left");
    assert_eq!(demo.folder(), None, "{what}: the folder is left");
}

#[test]
fn ctrl_c_takes_everything_away_at_any_moment() {
    for moment in MOMENTS {
        interrupted(moment, Signal::INT, true);
    }
}

#[test]
fn a_demo_that_is_ended_alone_takes_everything_away_at_any_moment() {
    for moment in MOMENTS {
        interrupted(moment, Signal::TERM, false);
    }
}

#[test]
fn a_terminal_that_is_closed_takes_everything_away() {
    for moment in [Moment::Service, Moment::Says("alpha: ready")] {
        interrupted(moment, Signal::HUP, true);
    }
}

#[test]
fn a_demo_that_comes_to_its_end_leaves_nothing() {
    let mut demo = Demo::start();
    demo.reaches(Moment::Says("Stopped; no process"));
    assert!(demo.ended().success());
    assert_eq!((demo.processes(), demo.folder()), (vec![], None));
}
