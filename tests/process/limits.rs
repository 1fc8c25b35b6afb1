//! A limit that ends a backend is told to whoever asks: in the state, in the events, and to who waits for the model.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;
use symphony::launcher::account;

use crate::backend::FAKE;
use crate::open_place::OpenPlace;
use crate::service::{Service, fake, program};

#[test]
fn cpu_time_limit_is_reported() {
    let busy = program("a", &["/bin/sh", "-c", "while :; do :; done"])
        .with("limits", json!({ "cpu_time": "1s" }))
        .with("restart", json!({ "max_consecutive_failures": 0 }));
    let service = Service::start(&[busy]);
    let error = service.fails_to_load("a");
    assert!(error.contains("the last: cpu time limit 1s before ready"), "{error}");
    let row = service.row("a");
    assert_eq!(row.exit_reason(), "cpu time limit 1s before ready");
    assert!(row.reason().contains("cpu time limit 1s"), "{row:?}");
    let told = |event: &crate::service::Event| event.cause().contains("cpu time limit 1s");
    assert!(service.events("a").iter().any(told));
    service.stop();
}

#[test]
fn memory_limit_is_reported() {
    let script = "head -c 500000000 /dev/zero | tail -n 1 >/dev/null; exit 4";
    let large = program("a", &["/bin/sh", "-c", script])
        .with("limits", json!({ "memory": "256MiB" }))
        .with("restart", json!({ "max_consecutive_failures": 0 }));
    let service = Service::start_with(&[large], |configuration| {
        // what holds the limit is another matter where the tests themselves run in a delegated cgroup
        configuration["service"]["cgroup"] = json!("off");
    });
    let error = service.fails_to_load("a");
    assert!(error.contains("memory limit 256MiB (address space)"), "{error}");
    assert!(error.contains("exit 4 before ready, out of memory by its own words"), "{error}");
    service.stop();
}

#[test]
fn a_program_that_cannot_be_executed_is_told_in_words_behind_the_shim() {
    let service =
        Service::start(
            &[fake("a", &[]).with("limits", json!({ "user": "no-such-user-anywhere" }))],
        );
    let error = service.fails_to_load("a");
    assert!(error.contains("there is no user 'no-such-user-anywhere'"), "{error}");
    let row = service.row("a");
    assert_eq!((row.state(), row.generation()), ("parked", 1), "no other try can help");
    service.stop();
}

#[test]
fn a_backend_of_another_user_serves() {
    if let Some(why) = account::obstacle("nobody") {
        let told = format!("left out: a_backend_of_another_user_serves ({why})\n");
        // not by a macro: what those write is shown of failed tests only
        let _ = std::io::stderr().write_all(told.as_bytes());
        return;
    }
    // what that user needs: a program that it may execute, and a folder in which it may make a socket
    let place = OpenPlace::new();
    let program_file = place.program(FAKE);
    let path = program_file.to_str().expect("UTF-8");
    let model = program("a", &[path, "--ipc-endpoint", "{endpoint}"])
        .with("working_dir", json!("/"))
        .with("limits", json!({ "user": "nobody" }));
    let service = Service::start_with(&[model], |configuration| {
        configuration["service"]["model_socket_dir"] = json!(place.path());
    });
    let row = service.load("a");
    assert_eq!(row.state(), "ready");
    let socket = row.endpoint().strip_prefix("ipc://").expect("a path").to_owned();
    let owner = |path: &str| std::fs::metadata(path).expect("there").uid();
    assert_ne!(owner(&socket), 0);
    assert_eq!(owner(&socket), owner(&format!("/proc/{}", row.pid())));
    service.ask("unload-model", json!({ "model_name": "a" }));
    assert!(!Path::new(&socket).exists(), "and it is cleaned up after");
    service.stop();
}
