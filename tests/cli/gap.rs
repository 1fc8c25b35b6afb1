//! The moment in which a service has no core: it holds its lock, and nobody listens.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use super::program::{command, finish, spawn};
use super::service::{answering, status_with};

/// A configuration for a service in this folder.
fn configured(folder: &Path) -> String {
    let endpoint = |name: &str| format!("ipc://{}", folder.join(name).display());
    let config = json!({
        "model_backends": {}, "supported_models": [],
        "endpoints": {"client_handshake": endpoint("client"), "cli_management": endpoint("cli")},
        "service": {"runtime_dir": folder},
    });
    let path = folder.join("config.json");
    fs::write(&path, config.to_string()).expect("written");
    path.display().to_string()
}

fn started(folder: &Path, more: &[&str]) -> std::process::Child {
    let config = configured(folder);
    let mut command = command(folder);
    command.args(["--config", &config]).args(more).arg("status");
    spawn(&mut command)
}

fn locked(folder: &Path) -> File {
    fs::write(folder.join("service.pid"), "1\n").expect("written");
    let file = File::open(folder.join("service.pid")).expect("there");
    flock(&file, FlockOperation::LockExclusive).expect("locked");
    file
}

#[test]
fn a_command_waits_for_the_next_core() {
    let folder = tempfile::tempdir().expect("folder");
    let _lock = locked(folder.path());
    let asked = started(folder.path(), &[]);
    let service = answering(status_with(&json!([])));
    let bound = service.endpoint();
    let bound = bound.strip_prefix("ipc://").expect("a file");
    fs::rename(bound, folder.path().join("cli")).expect("moved");
    let run = finish(asked);
    assert!(run.stdout.starts_with("Service Status: running"), "{:?}", run.all());
}

#[test]
fn a_lock_that_is_given_back_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("folder");
    let lock = locked(folder.path());
    let asked = started(folder.path(), &[]);
    drop(lock);
    assert_eq!(finish(asked).all(), (Some(1), "", "Management service is not running\n"));
}

#[test]
fn the_wait_has_an_end() {
    let folder = tempfile::tempdir().expect("folder");
    let _lock = locked(folder.path());
    let run = finish(started(folder.path(), &["--timeout", "300ms"]));
    assert_eq!(run.all(), (Some(1), "", "Management service is not running\n"));
}
