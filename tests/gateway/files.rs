//! The socket files: private, ours alone, and nobody else's harmed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;

use serde_json::json;
use symphony::gateway::zmq::OpenError;

use crate::client::Client;
use crate::open_place::OpenPlace;
use crate::world::{Plan, World, names};

#[test]
fn sockets_are_0600() {
    let world = World::new();
    for name in ["cli", "client"] {
        let meta = fs::symlink_metadata(world.folder().join(name)).expect("there");
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(names(world.folder()), ["cli", "cli.lock", "client", "client.lock"]);
}

#[test]
fn second_service_on_same_sockets_refused() {
    let world = World::new();
    let error = World::open(world.folder(), Plan::default()).err().expect("refused");
    let cli = world.folder().join("cli");
    assert_eq!(error, OpenError::Locked { path: cli, pid: Some(std::process::id()) });
    let told = error.to_string();
    assert!(told.starts_with("another service (pid ") && told.contains("is running on"), "{told}");
    // the live one is as it was
    assert_eq!(names(world.folder()), ["cli", "cli.lock", "client", "client.lock"]);
    Client::dealer(&world.cli()).data("status", json!({}));
    assert_eq!(Client::dealer(&world.client()).handshake(None).protocols.len(), 2);
}

#[test]
fn foreign_socket_and_file_untouched() {
    let folder = tempfile::tempdir().expect("folder");
    let client = folder.path().join("client");
    let foreign = UnixListener::bind(&client).expect("bind");
    let error = World::open(folder.path(), Plan::default()).err().expect("refused");
    assert_eq!(error, OpenError::InUse(client.clone()));
    std::os::unix::net::UnixStream::connect(&client).expect("the foreign service still answers");
    assert_eq!(names(folder.path()), ["client"], "and nothing of ours is left");
    drop(foreign);

    fs::remove_file(&client).expect("remove");
    fs::write(&client, "my thesis").expect("write");
    let error = World::open(folder.path(), Plan::default()).err().expect("refused");
    assert_eq!(error, OpenError::NotASocket(client.clone()));
    assert_eq!(fs::read_to_string(&client).expect("there"), "my thesis");
    assert_eq!(names(folder.path()), ["client"]);
}

#[test]
fn another_zeromq_service_on_the_path_is_not_robbed() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("cli");
    // knows nothing of our lock
    let other = zmq::Context::new().socket(zmq::REP).expect("socket");
    other.bind(&format!("ipc://{}", path.display())).expect("bind");
    let error = World::open(folder.path(), Plan::default()).err().expect("refused");
    assert_eq!(error, OpenError::InUse(path.clone()));
    let client = Client::req(&format!("ipc://{}", path.display()));
    client.send("still there?");
    assert_eq!(other.recv_bytes(0).expect("request"), b"still there?");
    other.send("yes", 0).expect("send");
    assert_eq!(client.receive(), b"yes");
}

#[test]
fn sockets_of_a_killed_service_are_replaced() {
    let folder = tempfile::tempdir().expect("folder");
    for name in ["cli", "client"] {
        drop(UnixListener::bind(folder.path().join(name)).expect("bind"));
        fs::write(folder.path().join(format!("{name}.lock")), "symphony-lock 1\n").expect("write");
    }
    let world = World::open(folder.path(), Plan::default()).expect("nobody lives there");
    Client::dealer(&world.cli()).data("status", json!({}));
    drop(world);
    assert_eq!(names(folder.path()), [""; 0]);
}

/// The user that owns nothing.
const NOBODY: u32 = 65_534;

#[test]
fn other_user_refused() {
    if !rustix::process::geteuid().is_root() {
        // not by a macro: what those write is shown of failed tests only
        let told = b"left out: other_user_refused (only root may act as another user)\n";
        let _ = std::io::stderr().write_all(told);
        return;
    }
    // the folder lets everybody through, so that the socket's own mode is what refuses
    let place = OpenPlace::new();
    let program = place.program(env!("CARGO_BIN_EXE_symphony"));
    let world = World::open(place.path(), Plan::default()).expect("open");
    let ask = |user: u32| {
        let mut command = std::process::Command::new(&program);
        command.args(["--endpoint", &world.cli(), "--timeout", "2s", "status"]);
        command.env_clear().uid(user).gid(user).current_dir("/");
        let output = command.output().expect("started");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (served, text) = ask(NOBODY);
    assert!(!served && text.contains("Permission denied"), "{text}");
    let (served, text) = ask(0);
    assert!(served && text.contains("Service Status: running"), "{text}");
    // nothing but the mode stood in the way
    let socket = world.folder().join("cli");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("set");
    let (served, text) = ask(NOBODY);
    assert!(served, "{text}");
}
