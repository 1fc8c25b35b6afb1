//! TCP sockets that are older than the gateway: opened by a manager of services, or by the service before its gateway.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::backend::{LIMIT, until};
use crate::manager::Manager;
use crate::processes;
use crate::service::{Service, fake, program};
use crate::{left_out, through_heart};

/// Lets `command` be run with these as its descriptors 3 and 4, announced as systemd announces them. Without `unsafe`, a
/// descriptor gets to its number by way of a shell.
fn pass(command: &mut Command, first: impl Into<OwnedFd>, second: Option<OwnedFd>) {
    let count = 1 + usize::from(second.is_some());
    let moves =
        if count == 2 { "exec 3<&0 4<&1 </dev/null >/dev/null" } else { "exec 3<&0 </dev/null" };
    let script = format!(
        "{moves}; export LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES=first:second; exec \"$0\" \"$@\""
    );
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(command.get_program()).args(command.get_args());
    shell.env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell.current_dir(command.get_current_dir().expect("a folder"));
    shell.stdin(first.into());
    if let Some(second) = second {
        shell.stdout(second);
    }
    let log = command.get_current_dir().expect("a folder").join("service.log");
    shell.stderr(std::fs::File::create(log).expect("made"));
    *command = shell;
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Sets the endpoint of one of the two sockets.
fn endpoint(which: &'static str, address: SocketAddr) -> impl FnOnce(&mut Value) {
    move |configuration| configuration["endpoints"][which] = json!(format!("tcp://{address}"))
}

/// A client that knows nothing of ZeroMQ, connected; it sends what begins a connection.
fn connect(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("not refused");
    client.set_read_timeout(Some(LIMIT)).expect("set");
    client.write_all(&GREETING).expect("written");
    client
}

/// Waits for the first bytes of a peer that speaks ZMTP.
fn is_served(mut client: TcpStream) {
    let mut greeting = [0; 10];
    client.read_exact(&mut greeting).expect("a greeting");
    assert_eq!((greeting[0], greeting[9]), (0xff, 0x7f), "{greeting:?}");
}

/// The signature and the version of ZMTP 3.0.
const GREETING: [u8; 11] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3];

#[test]
fn a_client_that_is_older_than_the_service_is_served() {
    let (listener, address) = listener();
    let early = connect(address);
    let service = Service::start_all(&[], endpoint("client_handshake", address), |command| {
        pass(command, listener, None);
    });
    is_served(early);
    is_served(connect(address));
    assert!(!service.log().contains("is closed"), "{}", service.log());
    service.stop();
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_management_socket_that_was_opened_for_it_is_no_other_service() {
    let (listener, address) = listener();
    let service =
        Service::launch_all(&[fake("a", &[])], endpoint("cli_management", address), |command| {
            pass(command, listener, None);
        });
    let manager = Manager::connect(&format!("tcp://{address}"));
    let status = manager.ask("status", json!({})).expect("answered");
    assert_eq!(status["is_running"], true);
    manager.ask("load-model", json!({ "model_name": "a", "wait": true })).expect("loaded");
    service.stop();
}

#[test]
fn a_socket_for_both_families_serves_the_wildcard() {
    // as systemd opens it for a bare port
    let Ok(listener) = TcpListener::bind("[::]:0") else {
        return left_out("a_socket_for_both_families_serves_the_wildcard", "no IPv6 here");
    };
    let port = listener.local_addr().expect("an address").port();
    let early = connect(SocketAddr::from(([127, 0, 0, 1], port)));
    let wildcard = SocketAddr::from(([0, 0, 0, 0], port));
    let service = Service::start_all(&[], endpoint("client_handshake", wildcard), |command| {
        pass(command, listener, None);
    });
    is_served(early);
    is_served(connect(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))));
    service.stop();
}

#[test]
fn sockets_that_fit_nothing_are_closed_and_told() {
    let (strange, address) = listener();
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let list = "ls -l /proc/self/fd > fds.new; mv fds.new fds; exec sleep 1000";
    let model = program("a", &["sh", "-c", list]);
    let service = Service::start_all(
        &[model],
        |_| {},
        |command| {
            pass(command, strange, Some(datagrams.into()));
        },
    );
    until("words about both", || {
        let log = service.log();
        let first = log.contains(&format!("name=tcp://{address}"));
        let second =
            log.contains("the socket \"second\" that was opened for the service is closed");
        (first && second).then_some(())
    });
    assert!(TcpStream::connect(address).is_err(), "nobody listens there any more");
    let _ordered = service.order_load("a");
    let seen = until("the backend", || std::fs::read_to_string(service.folder().join("fds")).ok());
    assert!(!seen.contains("socket:"), "{seen}");
    service.stop();
}

#[test]
fn what_is_no_socket_is_closed_too() {
    let pipe = std::io::pipe().expect("a pipe");
    let service = Service::start_all(&[], |_| {}, |command| pass(command, pipe.0, None));
    until("a word about it", || {
        service.log().contains("the socket \"first\" that was opened for the service").then_some(())
    });
    let (mut writer, _) = (pipe.1, ());
    // the one reader of this pipe was the descriptor that was passed
    assert!(writer.write_all(b"x").is_err(), "somebody holds the other end");
    service.stop();
}

#[test]
fn an_address_of_another_program_is_refused_as_ever() {
    let (foreign, address) = listener();
    let mut service = Service::launch_all(&[], endpoint("client_handshake", address), |_| {});
    assert_eq!(service.ended().code(), Some(1), "{}", service.log());
    let told = format!("cannot bind tcp://{address}: Address already in use");
    assert!(service.log().contains(&told), "{}", service.log());
    drop(foreign);
}

/// How often an actor was restarted, by the tree.
fn restarts(tree: &Value, name: &str) -> Option<u64> {
    if tree["name"].as_str().is_some_and(|found| found.starts_with(name)) {
        return tree["restarts"].as_u64();
    }
    tree["children"].as_array()?.iter().find_map(|child| restarts(child, name))
}

#[test]
fn no_client_is_refused_while_the_gateway_is_replaced() {
    let (listener, address) = listener();
    drop(listener);
    let change = endpoint("client_handshake", address);
    let service = Service::start_all(&[], change, |command| {
        command.arg("--allow-chaos");
    });
    for round in 1..=2 {
        // its answer may be lost with the gateway
        let asker = service.manager();
        asker.send("chaos-panic", &json!({ "actor": "zmq_gateway" }));
        let mut tried = 0;
        until("a new gateway", || {
            // not one of them is refused
            drop(connect(address));
            tried += 1;
            let tree = service.manager().ask_until_answered("tree", &json!({}));
            restarts(&tree, "zmq_gateway").filter(|restarts| *restarts == round)
        });
        is_served(connect(address));
    }
    service.stop();
}

/// The process that serves, as it tells itself.
fn core_of(service: &Service) -> u32 {
    let status = service.manager().ask_until_answered("status", &json!({}));
    u32::try_from(status["pid"].as_u64().expect("a number")).expect("fits")
}

/// Whether no thread of a process runs any more: a signal is on its way for a moment.
fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten();
    let mut states = threads.map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    });
    states.all(|state| state.is_none_or(|state| state == 'T'))
}

#[test]
fn a_client_that_comes_while_no_core_lives_waits_and_is_served() {
    let (listener, address) = listener();
    drop(listener);
    let change = endpoint("client_handshake", address);
    let service = Service::start_all(&[], change, |command| through_heart(command, &[]));
    for _ in 0..3 {
        let core = core_of(&service);
        // stopped, the core takes nobody in: the client is in the queue when it dies
        processes::signal(core, Signal::STOP);
        until("the stop of all its threads", || is_stopped(core).then_some(()));
        let waiting = connect(address);
        processes::signal(core, Signal::KILL);
        until("its end", || (!processes::runs(core)).then_some(()));
        let meanwhile = connect(address);
        is_served(waiting);
        is_served(meanwhile);
    }
    service.stop();
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn sockets_of_the_manager_go_from_core_to_core() {
    let (listener, address) = listener();
    let early = connect(address);
    let change = endpoint("cli_management", address);
    let service = Service::launch_all(&[fake("a", &[])], change, |command| {
        through_heart(command, &[]);
        pass(command, listener, None);
    });
    is_served(early);
    let manager = Manager::connect(&format!("tcp://{address}"));
    for restarts in 1..=2 {
        let status = manager.ask_until_answered("status", &json!({}));
        let core = u32::try_from(status["pid"].as_u64().expect("a number")).expect("fits");
        processes::signal(core, Signal::KILL);
        until("a new core", || {
            // no client is ever refused
            drop(connect(address));
            let status = manager.ask_until_answered("status", &json!({}));
            (status["heart"]["restarts"] == restarts).then_some(())
        });
    }
    service.stop();
}

#[test]
fn a_socket_that_fits_nothing_is_closed_by_the_heart_as_well() {
    let (strange, address) = listener();
    let service = Service::start_all(
        &[],
        |_| {},
        |command| {
            through_heart(command, &[]);
            pass(command, strange, None);
        },
    );
    until("the end of the listener", || TcpStream::connect(address).is_err().then_some(()));
    service.stop();
}

#[test]
fn no_client_is_refused_while_the_service_is_upgraded() {
    let (listener, address) = listener();
    drop(listener);
    let change = endpoint("client_handshake", address);
    let service =
        Service::start_all(&[fake("a", &[])], change, |command| through_heart(command, &[]));
    let model = service.load("a").pid();
    let other = service.scratch("symphony");
    std::fs::copy(env!("CARGO_BIN_EXE_symphony"), &other).expect("copied");
    let mut upgrade = Command::new(env!("CARGO_BIN_EXE_symphony"))
        .args(["--endpoint", &service.endpoint("cli"), "upgrade", "--binary"])
        .arg(&other)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("started");
    let upgraded = until("the end of the upgrade", || {
        // whoever comes is taken in, by the old service, the new one, or the queue between them
        drop(connect(address));
        upgrade.try_wait().expect("waited")
    });
    assert!(upgraded.success(), "{}", service.log());
    is_served(connect(address));
    let status = service.manager().ask_until_answered("status", &json!({}));
    assert_eq!(status["models"][0]["pid"], model, "{status}");
    service.stop();
}
