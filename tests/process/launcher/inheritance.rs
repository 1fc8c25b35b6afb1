//! What a child gets from us, and what it must not get.

use std::collections::BTreeSet;
use std::os::unix::net::{UnixDatagram, UnixListener};

use nix::sys::signal::{SigSet, Signal};
use symphony::launcher::{ExitStatus, GroupSignal, Launcher, ReadyChannel};
use symphony::settings::policy::StopSignal;

use crate::bench::{Bench, state_of, wait_until};

fn descriptors(pid: u32) -> BTreeSet<i32> {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        // one may be closed between the listing and the look at it
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Descriptors above the standard ones that this very process was given without a close-on-exec mark, by whoever ran it.
fn strays() -> BTreeSet<i32> {
    descriptors(std::process::id())
        .into_iter()
        .filter(|number| *number > 2)
        .filter(|number| {
            let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
            let flags = facts.ok().and_then(|facts| {
                let octal = facts.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
                u32::from_str_radix(octal, 8).ok()
            });
            // a listing shows its own descriptor, which is closed by now
            flags.is_some_and(|flags| flags & rustix::fs::OFlags::CLOEXEC.bits() == 0)
        })
        .collect()
}

#[test]
fn no_descriptor_of_ours_is_inherited() {
    // in a process of its own, where nothing of other tests can be taken for a stray
    let this = std::env::current_exe().unwrap();
    let output = std::process::Command::new(this)
        .args(["--exact", "inheritance::children_have_what_they_were_given_alone"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn children_have_what_they_were_given_alone() {
    let strays = strays();
    let given = |more: &[i32]| -> BTreeSet<i32> {
        [0, 1, 2].iter().chain(more).chain(&strays).copied().collect()
    };
    let bench = Bench::new();
    let _others: Vec<_> = (0..5)
        .map(|n| bench.start(bench.order(&format!("other{n}"), "sleep", &["1000"])))
        .collect();
    let plain = bench.start(bench.order("a", "sleep", &["1000"]));
    // the dynamic linker, and the shim, have more for a moment
    wait_until("the standard descriptors alone", || descriptors(plain.pid) == given(&[]));

    let mut order = bench.order("b", "sleep", &["1000"]);
    order.ready_channel = ReadyChannel::Fd { number: 5 };
    let ready = bench.start(order);
    wait_until("the readiness descriptor alone", || descriptors(ready.pid) == given(&[5]));

    let mut order = bench.order("c", "sleep", &["1000"]);
    order.ready_channel = ReadyChannel::Notify { path: bench.folder.path().join("notify") };
    let notify = bench.start(order);
    wait_until("the standard descriptors alone", || descriptors(notify.pid) == given(&[]));
}

#[test]
fn input_is_empty_and_the_group_its_own() {
    let bench = Bench::new();
    let process = bench.start(bench.order("a", "sleep", &["1000"]));
    let input = std::fs::read_link(format!("/proc/{}/fd/0", process.pid)).unwrap();
    assert_eq!(input, std::path::Path::new("/dev/null"));
    let pid = rustix::process::Pid::from_raw(process.pid as i32).unwrap();
    assert_eq!(rustix::process::getpgid(Some(pid)).unwrap(), pid);
}

#[test]
fn environment_is_what_the_order_says() {
    let bench = Bench::new();
    let mut order = bench.order("a", "env", &[]);
    order.command.env_allow = Some(vec!["PATH".into(), "NO_SUCH_VARIABLE_ANYWHERE".into()]);
    order.command.env.insert("MODEL".into(), "a b".into());
    // by its marks its process is found again, whatever is allowed and configured
    order.command.env.insert("SYMPHONY_GENERATION".into(), "77".into());
    let instance = format!("SYMPHONY_INSTANCE_ID={}", order.key.instance);
    let (_, output) = bench.run(order);
    let path = format!("PATH={}", std::env::var("PATH").unwrap());
    let (service, output): (Vec<_>, Vec<_>) =
        output.into_iter().partition(|line| line.starts_with("SYMPHONY_SERVICE="));
    assert!(service.len() == 1 && service[0].len() > "SYMPHONY_SERVICE=".len(), "{service:?}");
    let expected = [path, "MODEL=a b".to_owned(), instance, "SYMPHONY_GENERATION=1".to_owned()];
    assert_eq!(BTreeSet::from_iter(output), BTreeSet::from(expected));

    let mut order = bench.shell("b", "echo $PATH; echo $CARGO_MANIFEST_DIR");
    order.command.env.insert("PATH".into(), "/bin".into());
    let (_, output) = bench.run(order);
    let inherited = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    assert_eq!(output, ["/bin".to_owned(), inherited]);
}

#[test]
fn working_directory_is_the_childs() {
    let bench = Bench::new();
    let mut order = bench.order("a", "pwd", &[]);
    let folder = bench.folder.path().canonicalize().unwrap();
    order.command.working_dir = Some(folder.clone());
    assert_eq!(bench.run(order).1, [folder.to_str().unwrap()]);
}

#[test]
fn blocked_signals_are_not_inherited() {
    // the thread that starts the launcher blocks TERM, as a careless embedder may
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.thread_block().unwrap();
    let bench = Bench::new();
    mask.thread_unblock().unwrap();
    let process = bench.start(bench.order("a", "sleep", &["1000"]));
    bench.launcher.signal(&process.key, GroupSignal::Stop(StopSignal::Term));
    let ended = ExitStatus::Signal { number: 15, core_dumped: false };
    assert_eq!(bench.exit_of(&process.key).0, ended);
    // told a moment before it is reaped
    wait_until("the reaping", || state_of(process.pid).is_none());
}

#[test]
fn own_stale_socket_removed() {
    let bench = Bench::new();
    let path = bench.folder.path().join("model");
    drop(UnixListener::bind(&path).unwrap());
    let mut order = bench.shell("a", "test -e model || echo free");
    order.command.working_dir = Some(bench.folder.path().to_owned());
    order.socket_path = Some(path);
    assert_eq!(bench.run(order).1, ["free"]);
}

#[test]
fn foreign_file_untouched() {
    let bench = Bench::new();
    let (file, live) = (bench.folder.path().join("file"), bench.folder.path().join("live"));
    std::fs::write(&file, "precious").unwrap();
    let listener = UnixListener::bind(&live).unwrap();
    let order = |model: &str, path: &std::path::Path| {
        let mut order = bench.order(model, "true", &[]);
        order.socket_path = Some(path.to_owned());
        order
    };
    // what is started there would remove it
    let refused = bench.refused(order("a", &file)).to_string();
    assert!(refused.contains("is left alone"), "{refused}");
    assert_eq!(bench.run(order("b", &live)).0, ExitStatus::Code(0));
    bench.launcher.remove_socket(file.clone());
    assert_eq!(bench.live(), []);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    drop(listener);
    assert!(live.exists());
    bench.launcher.remove_socket(live.clone());
    assert_eq!(bench.live(), []);
    assert!(!live.exists());
}

#[test]
fn notify_socket_of_somebody_else_is_left_alone() {
    let bench = Bench::new();
    let path = bench.folder.path().join("notify");
    let theirs = UnixDatagram::bind(&path).unwrap();
    let mut order = bench.order("a", "true", &[]);
    order.ready_channel = ReadyChannel::Notify { path: path.clone() };
    assert!(bench.refused(order).to_string().contains("readiness channel"));
    drop(theirs);
    assert!(path.exists());
}
