//! What backends get from the service, and what neither they nor hostile names get.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use prost::Message;
use rustix::process::Signal;
use serde_json::json;
use symphony::protocols::handshake;

use crate::backend::{Client, FAKE, patiently};
use crate::processes::{descriptors_of, runs, tree_of, words_of};
use crate::service::{Model, Service, fake, program};

/// Descriptors above the standard ones that this process was given without a close-on-exec mark, by whoever ran it.
fn strays() -> BTreeSet<i32> {
    let marked = |number: &i32| {
        let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
        let flags = facts.ok().and_then(|facts| {
            let octal = facts.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
            u32::from_str_radix(octal, 8).ok()
        });
        // a listing shows its own descriptor, which is closed by now
        flags.is_none_or(|flags| flags & rustix::fs::OFlags::CLOEXEC.bits() != 0)
    };
    let descriptors = descriptors_of(std::process::id());
    descriptors.into_iter().filter(|number| *number > 2 && !marked(number)).collect()
}

/// A backend that opens nothing by itself.
fn sleeper(name: &str) -> Model {
    program(name, &["sleep", "600"]).with("ready", json!({ "delay": "1ms" })).unwatched()
}

#[test]
fn no_descriptor_of_ours_is_inherited() {
    let strays = strays();
    let given = |more: &[i32]| -> BTreeSet<i32> {
        [0, 1, 2].iter().chain(more).chain(&strays).copied().collect()
    };
    let service = Service::start(&[
        sleeper("a"),
        sleeper("limited").with("limits", json!({ "open_files": 512 })),
        sleeper("fd").with("ready", json!({ "fd": 5 })),
        sleeper("notify").with("ready", json!("notify")),
        fake("others", &[]),
    ]);
    service.load("others");
    // clients are connected to everything that can be connected to, and requests are under way
    let managers: Vec<_> = (0..5).map(|_| service.manager()).collect();
    for manager in &managers {
        manager.ask("status", json!({})).expect("answered");
    }
    let clients: Vec<_> = (0..5).map(|_| Client::connect(&service.endpoint("client"))).collect();
    for client in &clients {
        assert_eq!(client.greet(), ["l4m", "ping"]);
    }
    let _loads = [service.order_load("fd"), service.order_load("notify")];
    let rows = ["a", "limited"].map(|name| service.load(name));
    let starting = ["fd", "notify"]
        .map(|name| service.wait_for(name, "its process", |row| !row.0["pid"].is_null()));
    let expect = |pid: u32, more: &[i32]| {
        let expected = given(more);
        // the dynamic linker, and the shim, have more for a moment
        let exact = patiently(|| {
            let seen = (words_of(pid), descriptors_of(pid));
            (seen.0[0].ends_with("sleep") && seen.1 == expected).then_some(())
        });
        let seen = descriptors_of(pid);
        assert!(exact.is_some(), "{seen:?} instead of {expected:?} in {:?}", words_of(pid));
    };
    expect(rows[0].pid(), &[]);
    expect(rows[1].pid(), &[]);
    expect(starting[0].pid(), &[5]);
    expect(starting[1].pid(), &[]);

    // a successor has no more than the first one had
    rows[0].signal(Signal::KILL);
    let successor = service.wait_for_successor(&rows[0]);
    expect(successor.pid(), &[]);
    drop((managers, clients));
    service.stop();
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn sockets_and_files_are_for_their_owner_alone() {
    let notify = fake("notify", &["--load-time", "1h"]).with("ready", json!("notify"));
    let service = Service::start(&[fake("a", &[]), notify]);
    let row = service.load("a");
    let _load = service.order_load("notify");
    service.wait_for("notify", "its process", |row| !row.0["pid"].is_null());
    for folder in ["sockets", "run", "logs"] {
        assert_eq!(mode(&service.folder().join(folder)), 0o700, "{folder}");
    }
    let mut sockets = 0;
    for path in
        ["sockets", "run", "logs"].iter().flat_map(|name| tree_of(&service.folder().join(name)))
    {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let kind = std::fs::symlink_metadata(&path).expect("it is there").file_type();
        sockets += usize::from(kind.is_socket());
    }
    assert_eq!(sockets, 4, "cli, client, the ready model's, the notify socket");
    assert!(Path::new(row.endpoint().strip_prefix("ipc://").expect("ipc")).exists());
    service.stop();
}

/// Names that would do harm as a path, a word of a shell, a flag or a format.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "../../x",
        "../../../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "-rf",
        "--ipc-endpoint=ipc:///tmp/elsewhere",
        "$(touch f)",
        "`touch f`",
        "a; touch f",
        "a && touch f",
        "a | tee f",
        "> f",
        "a b\u{a0}c",
        "'\"\\",
        "*",
        "~root",
        "%s%n",
        "{endpoint}",
        "日本語モデル",
        "\u{202e}gnp.exe",
        "é",
        "e\u{301}",
    ]
    .map(str::to_owned)
    .into();
    names.push("x".repeat(256));
    names.push("../".repeat(85));
    names
}

#[test]
fn hostile_names_never_become_a_path_or_a_word_of_a_shell() {
    let names = hostile_names();
    let flags = ["--model-name={name}"];
    let models: Vec<Model> = names
        .iter()
        .map(|name| fake(name, &flags).unwatched().with("fullname", json!(name)))
        .collect();
    let service = Service::start(&models);
    let outside = |service: &Service| {
        let mut seen: Vec<_> = std::fs::read_dir(service.folder())
            .expect("listed")
            .map(|entry| entry.expect("read").file_name().into_string().expect("UTF-8"))
            .collect();
        seen.sort();
        seen
    };
    let expected = ["config.json", "logs", "run", "scratch", "service.log", "sockets"];
    for name in &names {
        let row = service.load(name);
        let words = words_of(row.pid());
        let given = [FAKE, "--ipc-endpoint", row.endpoint(), &format!("--model-name={name}")];
        assert_eq!(words, given, "each word arrives as one");
        let file = row.endpoint().rsplit_once('/').expect("a path").1;
        let digits = file.strip_prefix("symphony-model-").expect("the contract's name");
        assert!(
            digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
            "{file}"
        );
        // over the handshake socket, too
        let client = Client::connect(&service.endpoint("client"));
        client.send(&[handshake::Request { model: name.clone() }.encode_to_vec()]);
        let answer = handshake::Response::decode(&client.receive()[0][..]).expect("a response");
        assert_eq!(answer.model_endpoint, row.endpoint());
        service.ask("logs", json!({ "model_name": name, "lines": 5 }));
    }
    assert_eq!(outside(&service), expected, "nothing was made elsewhere");
    let logs = tree_of(&service.folder().join("logs"));
    assert_eq!(logs.len(), names.len(), "one log each: {logs:?}");
    for log in &logs {
        assert_eq!(log.parent(), Some(&*service.folder().join("logs")));
        let name = log.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        assert!(name.chars().all(plain) && !name.starts_with(['-', '.']), "{name}");
    }
    service.stop();
}

#[test]
fn hostile_names_reach_a_script_as_they_are() {
    let names = hostile_names();
    let models: Vec<Model> = names
        .iter()
        .map(|name| Model::of_type(name, "script").with("fullname", json!(name)).unwatched())
        .collect();
    let scripts = tempfile::tempdir().expect("folder");
    let script = format!("exec '{FAKE}' \"$@\"\n");
    std::fs::write(scripts.path().join("backend.sh"), script).expect("written");
    let service = Service::start_with(&models, |configuration| {
        configuration["model_backends"]["script"] = json!({ "script": "backend.sh" });
        configuration["service"]["interpreter"] = json!("sh");
        configuration["service"]["backend_path"] = json!(scripts.path());
    });
    for name in &names {
        let row = service.load(name);
        let words = words_of(row.pid());
        let as_flag = format!("--model-name={name}");
        let expected: Vec<&str> = match name.starts_with('-') {
            true => vec![FAKE, "--ipc-endpoint", row.endpoint(), &as_flag],
            false => vec![FAKE, "--ipc-endpoint", row.endpoint(), "--model-name", name],
        };
        assert_eq!(words, expected);
        assert!(runs(row.pid()));
    }
    let beside = tree_of(scripts.path());
    assert_eq!(beside, [scripts.path().join("backend.sh")], "nothing was made beside it");
    service.stop();
}
