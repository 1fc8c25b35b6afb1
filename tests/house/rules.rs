//! Rules about how the code is written.

use crate::sources::{Source, below, no_faults, root, text};

/// The length of a file that fits into a head.
const LINES: usize = 500;

/// Files beyond it, with the length they must not exceed: each is one thing that reads worse in pieces. They may only
/// get shorter; a file that fits is taken off the list.
const LONG: &[(&str, usize)] = &[];

/// Who may hold a lock, and why none of them is between actors.
const LOCKS: &[&str] = &[
    // the join handles, taken once by whoever ends the launcher
    "src/launcher/local/mod.rs",
    // fakes: a test and the actor under test look at the same script
    "src/launcher/scripted.rs",
    "src/probe/scripted.rs",
];

fn manifest() -> toml::Table {
    text("Cargo.toml").parse().expect("TOML")
}

#[test]
fn panics_unwind_in_every_profile() {
    let manifest = manifest();
    let profiles = manifest["profile"].as_table().expect("profiles");
    for name in ["dev", "release"] {
        assert_eq!(profiles[name]["panic"].as_str(), Some("unwind"), "profile {name}");
    }
    for (name, profile) in profiles {
        let panic = profile.get("panic").and_then(toml::Value::as_str);
        assert!(
            panic.is_none_or(|panic| panic == "unwind"),
            "profile {name}: supervision catches panics"
        );
    }
    // `cargo` reads this file, too
    assert!(
        !text(".cargo/config.toml").contains("panic"),
        "a profile in .cargo/config.toml counts as well"
    );
}

#[test]
fn unsafe_code_is_forbidden() {
    let manifest = manifest();
    assert_eq!(manifest["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for source in below(&["src", "tests", "examples", "benches"]) {
        for (number, line) in source.code() {
            // "forbid" makes an allowance an error already; this finds a block behind a `cfg` that nobody builds
            let block = ["unsafe {", "unsafe fn ", "unsafe impl "];
            let is_text = source.path.starts_with("tests/house/");
            assert!(
                is_text || !block.iter().any(|block| line.contains(block)),
                "{}:{number}: {line}",
                source.path
            );
        }
    }
}

#[test]
fn no_state_is_shared_behind_a_lock() {
    let mut faults = Vec::new();
    for source in below(&["src"]) {
        let locked = source.product().find(|(_, line)| {
            line.contains("Mutex") || line.contains("RwLock") || line.contains("parking_lot")
        });
        let listed = LOCKS.contains(&source.path.as_str());
        match locked {
            Some((number, line)) if !listed => {
                faults.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
            None if listed => faults.push(format!("{}: holds no lock any more", source.path)),
            _ => {}
        }
    }
    no_faults(&faults);
}

#[test]
fn every_bound_has_a_reason_and_is_used() {
    let limits = text("src/limits.rs");
    let lines: Vec<_> = limits.lines().collect();
    let users: Vec<_> = below(&["src"]);
    let mut faults = Vec::new();
    let mut bounds = 0;
    for (index, line) in lines.iter().enumerate() {
        let Some(rest) = line.strip_prefix("pub const ") else { continue };
        let name = rest.split(':').next().unwrap_or(rest);
        bounds += 1;
        if index == 0 || !lines[index - 1].starts_with("///") {
            faults.push(format!("{name}: no reason is given"));
        }
        let used = |source: &Source| {
            source.path != "src/limits.rs" && source.product().any(|(_, line)| has_word(line, name))
        };
        if !users.iter().any(used) {
            faults.push(format!("{name}: bounds nothing"));
        }
    }
    assert!(bounds > 50, "this test looks at the wrong file");
    no_faults(&faults);
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let ends = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        ends(line[..at].chars().next_back()) && ends(line[at + word.len()..].chars().next())
    })
}

#[test]
fn files_fit_into_a_head() {
    let mut faults = Vec::new();
    for source in below(&["src"]) {
        let lines = source.text.lines().count();
        match LONG.iter().find(|(path, _)| *path == source.path) {
            Some((path, _)) if lines <= LINES => {
                faults.push(format!("{path} has {lines} lines: take it off the list"));
            }
            Some((path, most)) if lines > *most => {
                faults
                    .push(format!("{path} has {lines} lines, more than the {most} it is allowed"));
            }
            None if lines > LINES => {
                faults.push(format!("{} has {lines} lines: divide it", source.path));
            }
            _ => {}
        }
    }
    for (path, _) in LONG {
        if !root().join(path).exists() {
            faults.push(format!("{path} is gone: take it off the list"));
        }
    }
    no_faults(&faults);
}

#[test]
fn every_module_says_what_it_owns() {
    let mut faults = Vec::new();
    for source in below(&["src"]) {
        // files of tests are named after what they test
        let is_test = source.path.ends_with("tests.rs") || source.path.contains("/tests/");
        if !is_test && !source.text.starts_with("//! ") {
            faults.push(format!("{}: begins without a word about itself", source.path));
        }
    }
    no_faults(&faults);
}

#[test]
fn tests_are_never_left_out() {
    let mut faults = Vec::new();
    for source in below(&["src", "tests", "benches"]) {
        for (number, line) in source.code() {
            let code = line.trim_start();
            if code.starts_with("#[ignore")
                || code.contains("todo!(")
                || code.contains("unimplemented!(")
            {
                let is_text = source.path.starts_with("tests/house/");
                if !is_text {
                    faults.push(format!("{}:{number}: {code}", source.path));
                }
            }
        }
    }
    no_faults(&faults);
}

/// Files that may wait a fixed time, and why.
const SLEEPERS: &[(&str, &str)] = &[
    ("tests/conformance/", "the clock is virtual: a pause moves it and nothing waits"),
    ("tests/process/virtual_time/", "the clock is virtual there, too"),
    ("tests/backend_contract.rs", "TERM comes at spread moments of a start; each of them is right"),
];

#[test]
fn tests_wait_for_conditions_and_not_for_time() {
    let mut faults = Vec::new();
    for source in below(&["src", "tests", "examples"]) {
        let product: Vec<_> = source.product().map(|(number, _)| number).collect();
        let listed = SLEEPERS.iter().any(|(path, _)| source.path.starts_with(path));
        if listed || source.path.starts_with("tests/house/") {
            continue;
        }
        for (number, line) in source.code() {
            // the product has pauses of its own (backoff, pace of a poll); its tests are looked at
            let is_product = source.path.starts_with("src/") && product.contains(&number);
            // `tokio::time::advance` moves a virtual clock; `park_timeout` is a sleep that may end early
            let sleeps = ["sleep(", "park_timeout("].iter().any(|call| line.contains(call));
            if !is_product && sleeps && !stands_in_a_loop(&source, number) {
                faults.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    no_faults(&faults);
}

/// Whether a line stands in a loop of its function: then it is the pause between two looks at a condition.
fn stands_in_a_loop(source: &Source, number: usize) -> bool {
    let lines: Vec<_> = source.text.lines().take(number).collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut level = lines.last().map_or(0, |line| indent(line));
    for (at, line) in lines.iter().enumerate().rev().skip(1) {
        let code = line.trim_start();
        if code.is_empty() || indent(line) >= level {
            continue;
        }
        level = indent(line);
        let begins = |word: &str| code.starts_with(word) || code.contains(&format!(" {word}"));
        if begins("loop {") || begins("while ") {
            return true;
        }
        // a limited number of looks; without a way out it is a long sleep in pieces
        if begins("for ") {
            return lines[at..]
                .iter()
                .any(|line| line.contains("return") || line.contains("break"));
        }
        if code.contains("fn ") {
            return false;
        }
    }
    false
}

#[test]
fn failing_seeds_of_properties_are_kept() {
    let mut faults = Vec::new();
    for source in below(&["src", "tests"]) {
        for (number, line) in source.code() {
            let is_text = source.path.starts_with("tests/house/");
            if !is_text && line.contains("failure_persistence: None") {
                faults.push(format!("{}:{number}: a failing case would be lost", source.path));
            }
        }
    }
    // proptest keeps them beside the `main.rs` or `lib.rs` that it finds above a property, and nowhere where there is none
    for source in below(&["tests"]).iter().filter(|source| source.text.contains("proptest! {")) {
        let room = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !root().join(room).join("main.rs").exists() {
            faults.push(format!("{}: a failing case finds no place", source.path));
        }
    }
    let ignored = text(".gitignore");
    if ignored.contains("regressions") {
        faults.push(".gitignore: seeds of failed cases belong to the project".into());
    }
    no_faults(&faults);
}

#[test]
fn the_rules_of_this_file_see_what_they_look_for() {
    let source = |text: &str| Source { path: "tests/a.rs".into(), text: text.into() };
    let fixed = source("fn a() {\n    if x {\n        sleep(1);\n    }\n}\n");
    assert!(!stands_in_a_loop(&fixed, 3));
    let polled = source(
        "fn a() {\n    loop {\n        if x {\n            return;\n        }\n        sleep(1);\n    }\n}\n",
    );
    assert!(stands_in_a_loop(&polled, 6));
    let after = source("fn a() {\n    while x {\n        y();\n    }\n    sleep(1);\n}\n");
    assert!(!stands_in_a_loop(&after, 5));
    let counted = source("fn a() {\n    for _ in 0..9 {\n        sleep(1);\n    }\n}\n");
    assert!(!stands_in_a_loop(&counted, 3));
    assert!(has_word("x(limits::MODELS)", "MODELS") && !has_word("limits::MODELS_MAX", "MODELS"));
}

/// What decides: restarts, windows, delays, health, starts and stops, of actors and of processes.
const DECISION_CORES: &[&str] = &[
    "src/heart/core.rs",
    "src/instance/group/core.rs",
    "src/instance/group/standing.rs",
    "src/instance/health.rs",
    "src/instance/machine.rs",
    "src/instance/machine/",
    "src/instance/restart.rs",
    "src/instance/state.rs",
    "src/launcher/admission.rs",
    "src/launcher/adoption.rs",
    "src/supervision/backoff.rs",
    "src/supervision/core.rs",
    "src/supervision/core/",
    "src/supervision/heartbeat.rs",
    "src/supervision/spec.rs",
    "src/supervision/window.rs",
];

#[test]
fn decision_cores_have_no_clock_no_input_and_no_actor() {
    let foreign = [
        "Clock",
        "Instant",
        "SystemTime",
        "actix",
        "tokio",
        "std::env",
        "std::fs",
        "std::io",
        "std::net",
        "std::os",
        "std::process",
        "Atomic",
        "Mutex",
        "mpsc",
        "std::thread",
        "rustix",
        "nix::",
    ];
    let sources = below(&["src"]);
    let mut faults = Vec::new();
    for core in DECISION_CORES {
        let mut files = sources.iter().filter(|source| source.path.starts_with(core)).peekable();
        if files.peek().is_none() {
            faults.push(format!("{core} is not there"));
        }
        for source in files {
            for (number, line) in source.product() {
                for word in foreign.iter().filter(|word| line.contains(**word)) {
                    faults.push(format!("{}:{number} names {word}: {line}", source.path));
                }
            }
        }
    }
    no_faults(&faults);
}
