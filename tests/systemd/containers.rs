//! The service as process 1 of a pid namespace, as in a container, and the files for one.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use symphony::cli::args::Invocation;

use crate::backend::{FAKE, until};
use crate::processes;
use crate::service::{Service, program};
use crate::{left_out, through_heart};

const DOCKERFILE: &str = "Dockerfile";
const CONFIGURATION: &str = "packaging/container/symphony.toml";

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// What runs a command as process 1 of a namespace of its own, where the machine lets us.
fn in_namespace() -> Option<&'static [&'static str]> {
    let plain: &[&str] = &["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let as_user: &[&str] = &[
        "unshare",
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
    ];
    [plain, as_user].into_iter().find(|words| {
        let mut tried = Command::new(words[0]);
        let tried = tried.args(&words[1..]).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

#[test]
fn process_1_reaps_strangers_and_stops_in_order() {
    let Some(words) = in_namespace() else {
        return left_out(
            "process_1_reaps_strangers_and_stops_in_order",
            "no pid namespace can be made",
        );
    };
    // leaves a helper behind that is nobody's child, and ends soon
    let orphan = format!("(setsid sleep 1.375 &); exec {FAKE} --ipc-endpoint \"$0\"");
    let model = program("a", &["sh", "-c", &orphan, "{endpoint}"]);
    let mut service = Service::start_by(&[model], |command| {
        through_heart(command, words);
    });
    let init = until("process 1", || processes::children_of(service.pid()).first().copied());
    let is_orphan = |pid: &u32| processes::words_of(*pid) == ["sleep", "1.375"];
    let _ordered = service.order_load("a");
    let orphan = until("the helper", || {
        service.mark().processes().into_iter().find(|pid| {
            is_orphan(pid) && processes::parent_of(*pid).is_some_and(|parent| parent == init)
        })
    });
    service.wait_for_state("a", "ready");
    until("its end, and that somebody took note of it", || {
        processes::state_of(orphan).is_none().then_some(())
    });
    processes::signal(init, Signal::TERM);
    service.ended_clean();
}

#[test]
fn a_second_term_ends_process_1_at_once() {
    let Some(words) = in_namespace() else {
        return left_out("a_second_term_ends_process_1_at_once", "no pid namespace can be made");
    };
    let stubborn = program("a", &[FAKE, "--ipc-endpoint", "{endpoint}", "--ignore-term"])
        .with("stop", serde_json::json!({ "grace": "10m" }));
    let mut service = Service::start_by(&[stubborn], |command| {
        through_heart(command, words);
    });
    let init = until("process 1", || processes::children_of(service.pid()).first().copied());
    service.load("a");
    processes::signal(init, Signal::TERM);
    service.wait_for_state("a", "stopping");
    processes::signal(init, Signal::TERM);
    service.ended_clean();
}

/// The words of an instruction in the form of a list, wherever it stands.
fn words(dockerfile: &str, instruction: &str) -> Vec<Vec<String>> {
    let lines = dockerfile.lines().filter_map(|line| line.trim().strip_prefix(instruction));
    lines.map(|line| serde_json::from_str(line.trim()).expect(line)).collect()
}

#[test]
fn commands_of_the_image_can_be_typed() {
    let dockerfile = text(DOCKERFILE);
    let [entry] = &words(&dockerfile, "ENTRYPOINT")[..] else { panic!("{dockerfile}") };
    assert_eq!(*entry, ["symphony"]);
    // the last one is what the image starts, the one before what its health check does
    let [checks, starts] = &words(&dockerfile, "CMD")[..] else { panic!("{dockerfile}") };
    for line in [checks.clone(), [entry.clone(), starts.clone()].concat()] {
        let words = line.iter().map(OsString::from);
        Invocation::parse(words).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    }
}

#[test]
fn the_image_is_built_of_what_there_is_and_runs_without_rights() {
    let dockerfile = text(DOCKERFILE);
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    for line in dockerfile.lines().filter(|line| line.starts_with("COPY ")) {
        let source = line.split_whitespace().nth(1).expect("a source");
        assert!(source.starts_with("--from=") || project.join(source).exists(), "{line}");
    }
    let user = dockerfile.lines().rfind(|line| line.starts_with("USER ")).expect("a user");
    let number = user.split([' ', ':']).nth(1).and_then(|number| number.parse::<u32>().ok());
    assert!(number.is_some_and(|number| number > 0), "{user}: engines see only numbers");
    let toolchain: toml::Table = text("Cargo.toml").parse().expect("TOML");
    let floor = toolchain["package"]["rust-version"].as_str().expect("a version");
    assert!(dockerfile.contains(&format!("FROM rust:{floor}-bookworm AS build")), "{floor}");
    // nothing that the build needs is left out of it
    let ignored = text(".dockerignore");
    for needed in ["src", "native", "proto", "build.rs", "Cargo.lock", ".cargo", "tests", "benches"]
    {
        assert!(project.join(needed).exists() && !ignored.lines().any(|line| line == needed));
    }
    let checked = Command::new(env!("CARGO_BIN_EXE_symphony"))
        .args(["config", "check"])
        .arg(project.join(CONFIGURATION))
        .output()
        .expect("run");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let volumes = words(&dockerfile, "VOLUME").concat();
    for place in ["/run/symphony", "/var/lib/symphony"] {
        assert!(
            volumes.iter().any(|volume| volume == place) && text(CONFIGURATION).contains(place)
        );
    }
}
