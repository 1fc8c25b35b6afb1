//! Readiness channels, and the limit of open files that a backend inherits.

use std::io::Read;

use symphony::launcher::{GroupSignal, Launcher, ReadyChannel, ReadyEnd};

use crate::bench::{Bench, wait_until};

#[test]
fn fd_channel_carries_a_newline() {
    let bench = Bench::new();
    let mut order = bench.shell("a", "readlink /proc/self/fd/0; echo >&7; sleep 1000");
    order.ready_channel = ReadyChannel::Fd { number: 7 };
    let mut process = bench.start(order);
    let Some(ReadyEnd::Pipe(pipe)) = process.ready.take() else { panic!("a pipe was asked for") };
    let mut pipe = std::fs::File::from(pipe);
    let mut sign = [0];
    pipe.read_exact(&mut sign).unwrap();
    assert_eq!(sign, *b"\n");
    assert_eq!(process.first_line(), "/dev/null", "its input is what every child has");
    bench.launcher.signal(&process.key, GroupSignal::Kill);
    assert_eq!(pipe.read(&mut sign).unwrap(), 0, "nobody else holds the writing end");
}

#[test]
fn fd_channel_never_takes_a_standard_descriptor() {
    let bench = Bench::new();
    let mut order = bench.order("a", "true", &[]);
    order.ready_channel = ReadyChannel::Fd { number: 1 };
    assert!(bench.refused(order).to_string().contains("descriptor 1 is a standard one"));
}

#[test]
fn notify_channel_receives_and_its_file_goes_with_the_process() {
    let bench = Bench::new();
    let path = bench.folder.path().join("run").join("notify");
    let mut order = bench.shell("a", "echo $NOTIFY_SOCKET; sleep 1000");
    order.ready_channel = ReadyChannel::Notify { path: path.clone() };
    let mut process = bench.start(order);
    let Some(ReadyEnd::Notify(socket)) = process.ready.take() else { panic!("a socket") };
    let told = process.first_line();
    assert_eq!(told, path.to_str().unwrap());

    let mut buffer = [0; 64];
    let empty = socket.recv(&mut buffer).unwrap_err();
    assert_eq!(empty.kind(), std::io::ErrorKind::WouldBlock);
    let child_side = std::os::unix::net::UnixDatagram::unbound().unwrap();
    child_side.send_to(b"READY=1", &told).unwrap();
    let count = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"READY=1");

    bench.launcher.signal(&process.key, GroupSignal::Kill);
    bench.exit_of(&process.key);
    assert!(!path.exists());
}

#[test]
fn failed_start_leaves_no_notify_file() {
    let bench = Bench::new();
    let path = bench.folder.path().join("notify");
    let mut order = bench.order("a", "true", &["nul\0byte"]);
    order.ready_channel = ReadyChannel::Notify { path: path.clone() };
    bench.refused(order);
    assert!(!path.exists());
}

#[test]
fn backends_get_the_inherited_limit_of_open_files_back() {
    // the launcher lifts the limit of its own process, so a process with a low one is needed
    let this = std::env::current_exe().unwrap();
    let script = "ulimit -Sn 1000 && exec \"$0\" --exact readiness::limit_of_open_files_is_that_of_the_start --nocapture";
    let output = std::process::Command::new("/bin/sh").args(["-c", script]).arg(this).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(text.contains("inherited 1000"), "{text}");
}

#[test]
fn limit_of_open_files_is_that_of_the_start() {
    let inherited = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let bench = Bench::new();
    let now = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert_eq!(now.current, now.maximum, "lifted for ourselves");
    // another test of this process may have lifted it before this one looked
    let Some(soft) = inherited.current.filter(|_| inherited != now) else { return };
    println!("inherited {soft}");
    // set from outside right after the start: the child sees it in a moment
    let process = bench.start(bench.order("a", "sleep", &["1000"]));
    wait_until("the limit", || {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid)).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        line.split_ascii_whitespace().nth(3) == Some(soft.to_string().as_str())
    });
}
