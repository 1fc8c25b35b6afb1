use std::ffi::OsString;
use std::path::Path;

use super::*;

const OWN: u32 = 4711;

fn by(pairs: &[(&str, &str)]) -> (Notifier, Vec<NotifyError>) {
    let find = |name: &str| pairs.iter().find(|(key, _)| *key == name);
    Notifier::by(|name| find(name).map(|(_, value)| OsString::from(value)), OWN)
}

/// A manager that listens on a path, and the notifier that tells it.
fn manager(path: &Path) -> (UnixDatagram, Notifier) {
    let socket = UnixDatagram::bind(path).expect("bound");
    socket.set_nonblocking(true).expect("set");
    let (notifier, faults) = by(&[("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))]);
    assert!(faults.is_empty(), "{faults:?}");
    (socket, notifier)
}

fn heard(socket: &UnixDatagram) -> Option<String> {
    let mut bytes = [0; limits::NOTIFY_BYTES];
    let length = socket.recv(&mut bytes).ok()?;
    Some(String::from_utf8(bytes[..length].to_vec()).expect("UTF-8"))
}

#[test]
fn words_of_the_protocol() {
    let folder = tempfile::tempdir().expect("folder");
    let (socket, mut notifier) = manager(&folder.path().join("notify"));
    assert!(notifier.is_wanted() && notifier.watchdog_every().is_none());
    let first = [News::MainPid(7), News::Status("2 models ready"), News::Ready];
    notifier.tell(&first).expect("told");
    assert_eq!(heard(&socket).as_deref(), Some("MAINPID=7\nSTATUS=2 models ready\nREADY=1\n"));
    notifier.tell(&[News::Stopping, News::Extend(Duration::from_millis(1500))]).expect("told");
    assert_eq!(heard(&socket).as_deref(), Some("STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000\n"));
    notifier.tell(&[News::Watchdog]).expect("told");
    assert_eq!(heard(&socket).as_deref(), Some("WATCHDOG=1\n"));
    let before = monotonic_usec();
    notifier.tell(&[News::Reloading]).expect("told");
    let text = heard(&socket).expect("heard");
    let when = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&text).trim_end();
    assert!((before..=monotonic_usec()).contains(&when.parse().expect("a number")));
}

#[test]
fn abstract_sockets_are_found() {
    let name = format!("symphony-test-{}", uuid::Uuid::new_v4());
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    let socket = UnixDatagram::bind_addr(&address).expect("bound");
    let (mut notifier, faults) = by(&[("NOTIFY_SOCKET", &format!("@{name}"))]);
    assert!(faults.is_empty());
    notifier.tell(&[News::Ready]).expect("told");
    socket.set_nonblocking(true).expect("set");
    assert_eq!(heard(&socket).as_deref(), Some("READY=1\n"));
}

#[test]
fn a_status_is_one_line_whatever_it_says() {
    let folder = tempfile::tempdir().expect("folder");
    let (socket, mut notifier) = manager(&folder.path().join("notify"));
    let hostile = format!("a\nREADY=1\r\0{}", "ä".repeat(100_000));
    notifier.tell(&[News::Status(&hostile)]).expect("told");
    let text = heard(&socket).expect("heard");
    assert!(text.starts_with("STATUS=a READY=1  ää") && text.matches('\n').count() == 1, "{text}");
}

#[test]
fn hostile_addresses_are_a_fault_and_nothing_else() {
    let long = format!("/{}", "x".repeat(4096));
    for name in ["relative", "vsock:2:1234", "\n", &long, &format!("@{long}"), "~/x"] {
        let (mut notifier, faults) = by(&[("NOTIFY_SOCKET", name), ("WATCHDOG_USEC", "1000")]);
        assert!(matches!(&faults[..], [NotifyError::Address(..)]), "{name}: {faults:?}");
        assert!(!notifier.is_wanted() && notifier.watchdog_every().is_none());
        notifier.tell(&[News::Ready]).expect("nobody to tell");
    }
    let (notifier, faults) = by(&[("NOTIFY_SOCKET", "")]);
    assert!(!notifier.is_wanted() && faults.is_empty());
}

#[test]
fn nobody_listening_is_told_once_and_what_waits_comes_in_order() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("notify");
    let (mut notifier, _) = by(&[("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))]);
    assert!(matches!(notifier.tell(&[News::Ready]), Err(NotifyError::Unsent(_))));
    assert!(notifier.tell(&[News::Watchdog]).is_ok(), "told already");
    assert!(notifier.tell(&[News::Stopping]).is_ok(), "told already");
    let socket = UnixDatagram::bind(&path).expect("bound");
    socket.set_nonblocking(true).expect("set");
    notifier.again().expect("sent");
    assert_eq!(heard(&socket).as_deref(), Some("READY=1\n"));
    assert_eq!(heard(&socket).as_deref(), Some("STOPPING=1\n"));
    assert_eq!(heard(&socket), None, "a sign of life is not kept");
    drop(socket);
    assert!(notifier.tell(&[News::Watchdog]).is_err(), "a new row of failures");
}

#[test]
fn a_manager_that_reads_nothing_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("folder");
    let (socket, mut notifier) = manager(&folder.path().join("notify"));
    // the queue of a datagram socket is full after some hundred at most
    let told = (0..100_000).find(|_| notifier.tell(&[News::Watchdog]).is_err());
    assert!(told.is_some(), "the queue has no end");
    for _ in 0..100 {
        notifier.tell(&[News::Reloading]).expect("told already");
    }
    notifier.tell(&[News::Ready]).expect("told already");
    assert_eq!(notifier.unsent.len(), limits::MANAGER_NEWS);
    let mut last = None;
    while !notifier.unsent.is_empty() {
        last = heard(&socket).or(last);
        // what it reads makes room for one, and the next one fails again
        let _ = notifier.again();
    }
    last = std::iter::from_fn(|| heard(&socket)).last().or(last);
    assert_eq!(last.as_deref(), Some("READY=1\n"));
}

#[test]
fn the_watchdog_is_fed_twice_as_often_as_it_bites() {
    let every = |pairs: &[(&str, &str)]| {
        let mut all = vec![("NOTIFY_SOCKET", "/nowhere")];
        all.extend(pairs);
        let (notifier, faults) = by(&all);
        (notifier.watchdog_every(), faults.len())
    };
    let seconds = |n| Some(Duration::from_secs(n));
    assert_eq!(every(&[("WATCHDOG_USEC", "30000000")]), (seconds(15), 0));
    let (usec, own, other) =
        (("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "4711"), ("WATCHDOG_PID", "1"));
    assert_eq!(every(&[usec, own]), (seconds(15), 0));
    assert_eq!(every(&[usec, other]), (None, 0));
    assert_eq!(every(&[usec, ("WATCHDOG_PID", "x")]), (None, 0));
    assert_eq!(every(&[]), (None, 0));
    for wrong in ["0", "-1", "5s", "99999999999999999999999"] {
        assert_eq!(every(&[("WATCHDOG_USEC", wrong)]), (None, 1), "{wrong}");
    }
    assert_eq!(every(&[("WATCHDOG_USEC", "1")]), (Some(limits::MANAGER_WATCHDOG_MIN), 0));
    assert_eq!(
        every(&[("WATCHDOG_USEC", "18446744073709551615")]),
        (Some(limits::DURATION_MAX), 0)
    );
}
