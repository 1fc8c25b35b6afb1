//! What the documents say is there, and what they tell to type can be typed.

use std::collections::BTreeSet;
use std::ffi::OsString;

use symphony::cli::args::Invocation;

use crate::sources::{below, no_faults, root, text};

const DOCUMENTS: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "docs/chaos.md",
    "docs/cli.md",
    "docs/compatibility.md",
    "docs/configuration.md",
    "docs/conformance.md",
    "docs/operations.md",
    "docs/runtime-semantics.md",
];

/// What stands between backticks, with the number of its line. Blocks of code are left out.
fn quoted(document: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (index, line) in document.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            let words = line.split('`').skip(1).step_by(2);
            found.extend(words.map(|word| (index + 1, word.to_owned())));
        }
    }
    found
}

/// Whether a word means a file or folder of the project.
fn is_path(word: &str) -> bool {
    let places = [
        "src/",
        "tests/",
        "examples/",
        "benches/",
        "config/",
        "docs/",
        "packaging/",
        "proto/",
        ".ci/",
        ".cargo/",
    ];
    places.iter().any(|place| word.starts_with(place)) && !word.contains([' ', '*', '<', '{'])
}

#[test]
fn paths_in_documents_exist() {
    let mut faults = Vec::new();
    for document in DOCUMENTS {
        for (number, word) in quoted(&text(document)) {
            // `tests/house/rules.rs::a_test` names a test in a file
            let path = word.split("::").next().unwrap_or(&word);
            if is_path(path) && !root().join(path).exists() {
                faults.push(format!("{document}:{number}: {path} does not exist"));
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut faults = Vec::new();
    for document in DOCUMENTS {
        let text = text(document);
        let folder = root().join(document);
        let folder = folder.parent().expect("a folder");
        for (index, line) in text.lines().enumerate() {
            for rest in line.split("](").skip(1) {
                let target = rest.split(')').next().unwrap_or(rest);
                if target.starts_with("http") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let wanted =
                    if path.is_empty() { root().join(document) } else { folder.join(path) };
                let Ok(linked) = std::fs::read_to_string(&wanted) else {
                    if !wanted.exists() {
                        faults.push(format!("{document}:{}: {target} leads nowhere", index + 1));
                    }
                    continue;
                };
                if !anchor.is_empty() && !anchors(&linked).contains(anchor) {
                    faults.push(format!("{document}:{}: no heading for #{anchor}", index + 1));
                }
            }
        }
    }
    no_faults(&faults);
}

/// The anchors of a document's headings.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn the_code_map_has_every_room_and_file_of_the_top() {
    let map = text("ARCHITECTURE.md");
    let mut faults = Vec::new();
    for entry in std::fs::read_dir(root().join("src")).expect("readable") {
        let entry = entry.expect("readable");
        let name = entry.file_name().into_string().expect("UTF-8");
        let path = format!("`src/{name}{}`", if entry.path().is_dir() { "/" } else { "" });
        if !map.contains(&path) {
            faults.push(format!("{path} is not in the code map"));
        }
    }
    no_faults(&faults);
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let architecture = text("ARCHITECTURE.md");
    let mut faults = Vec::new();
    let mut invariants = 0;
    let paragraphs = architecture.split("\n\n");
    for paragraph in paragraphs.filter(|text| text.contains("**Architecture Invariant:**")) {
        invariants += 1;
        let first = paragraph.lines().next().unwrap_or(paragraph);
        let tests: Vec<_> = quoted(paragraph)
            .into_iter()
            .filter_map(|(_, word)| named_test(&word).map(|(file, test)| (file, test.to_owned())))
            .collect();
        if tests.is_empty() {
            faults.push(format!("no test: {first}"));
        }
        for (file, test) in tests {
            let found = std::fs::read_to_string(root().join(&file));
            if !found.is_ok_and(|text| text.contains(&format!("fn {test}("))) {
                faults.push(format!("{file} has no test {test}: {first}"));
            }
        }
    }
    assert!(invariants >= 8, "this test looks at the wrong words");
    no_faults(&faults);
}

/// A test that a document names, `tests/house/rules.rs::a_test`, split; `None` for any other word.
fn named_test(word: &str) -> Option<(String, &str)> {
    let (file, test) = word.split_once(".rs::")?;
    Some((format!("{file}.rs"), test))
}

#[test]
fn tests_named_in_documents_exist() {
    let mut faults = Vec::new();
    for document in DOCUMENTS {
        for (number, word) in quoted(&text(document)) {
            let Some((file, test)) = named_test(&word).filter(|(file, _)| is_path(file)) else {
                continue;
            };
            let found = std::fs::read_to_string(root().join(&file));
            if !found.is_ok_and(|text| text.contains(&format!("fn {test}("))) {
                faults.push(format!("{document}:{number}: {file} has no test {test}"));
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn every_guarantee_of_the_supervision_layer_names_its_tests() {
    let semantics = text("docs/runtime-semantics.md");
    let mut faults = Vec::new();
    let mut answers = 0;
    for section in semantics.split("\n## ").skip(1) {
        let question = section.lines().next().unwrap_or(section);
        // what is not guaranteed has no test
        if question.starts_with("What is not") {
            continue;
        }
        answers += 1;
        let tests = quoted(section);
        if !tests.iter().any(|(_, word)| named_test(word).is_some()) {
            faults.push(format!("{question}: no test holds it"));
        }
    }
    assert!(answers > 10, "this test looks at the wrong words");
    no_faults(&faults);
}

/// The commands of `symphony` in the blocks of a document that are for a shell.
fn commands(document: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for (index, line) in document.lines().enumerate() {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(fence.to_owned()) };
            continue;
        }
        let typed = match block.as_deref() {
            Some("sh") => line.trim(),
            // a transcript: what was typed stands behind a dollar
            Some("console") => match line.trim().strip_prefix("$ ") {
                Some(typed) => typed,
                None => continue,
            },
            _ => continue,
        };
        for part in typed.split(" | ").flat_map(|part| part.split(" && ")) {
            let part = part.split(" #").next().unwrap_or(part).split(" > ").next().unwrap_or(part);
            let command = part.trim().trim_end_matches(" &");
            let cargo = command.strip_prefix("cargo run --release -- ");
            if let Some(arguments) = cargo.or_else(|| command.strip_prefix("symphony ")) {
                found.push((index + 1, arguments.trim().to_owned()));
            }
        }
    }
    found
}

#[test]
fn commands_in_documents_can_be_typed() {
    let mut faults = Vec::new();
    let mut typed = 0;
    for document in DOCUMENTS {
        for (number, arguments) in commands(&text(document)) {
            typed += 1;
            let words = std::iter::once("symphony").chain(arguments.split_whitespace());
            if let Err(error) = Invocation::parse(words.map(OsString::from))
                && error.use_stderr()
            {
                faults.push(format!("{document}:{number}: symphony {arguments}\n{error}"));
            }
        }
    }
    assert!(typed > 15, "this test looks at the wrong words");
    no_faults(&faults);
}

#[test]
fn the_readme_has_its_two_commands() {
    let readme = text("README.md");
    for command in ["cargo run --release -- demo", "cargo test"] {
        assert!(readme.lines().any(|line| line.trim().starts_with(command)), "{command}");
    }
}

#[test]
fn every_example_is_run_and_shown() {
    let (ci, readme) = (text(".ci/run"), text("README.md"));
    for example in below(&["examples"]) {
        let name = example.path.trim_start_matches("examples/").trim_end_matches(".rs");
        assert!(
            ci.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name),
            "{name} is not run by .ci/run"
        );
        assert!(readme.contains(&example.path), "{name} is not in the README");
    }
}

#[test]
fn every_command_is_in_the_handbook() {
    let handbook = text("docs/cli.md");
    let command = symphony::cli::args::command();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = sub.get_name();
        assert!(
            handbook.contains(&format!("`{name}")) || name == "completions" || name == "man",
            "docs/cli.md says nothing of {name}"
        );
    }
}

#[test]
fn the_rules_of_this_file_see_what_they_look_for() {
    let document = "# A heading, twice\n`src/x.rs` and `words`\n```sh\nsymphony status  # now\n\
        SYMPHONY=1\ncargo run --release -- demo\n```\n```console\n$ symphony --json ps | jq .\n\
        NAME\n```\n```text\nsymphony nonsense\n```\n";
    let paths: Vec<_> = quoted(document).into_iter().filter(|(_, word)| is_path(word)).collect();
    assert_eq!(paths, [(2, "src/x.rs".to_owned())]);
    let typed: Vec<_> = commands(document).into_iter().map(|(_, typed)| typed).collect();
    assert_eq!(typed, ["status", "demo", "--json ps"]);
    assert!(anchors(document).contains("a-heading-twice"));
}
