//! Every input that fuzzing kept goes through the same functions again: those that found their own way (`fuzz/corpus`), and
//! those that once broke something (`fuzz/artifacts`).

#![allow(clippy::expect_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::path::{Path, PathBuf};

use symphony::fuzzing::TARGETS;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn kept_inputs_do_no_harm() {
    for (name, target) in TARGETS {
        let corpus = files(&fuzz().join("corpus").join(name));
        assert!(!corpus.is_empty(), "no inputs are kept for {name}");
        for file in corpus.iter().chain(&files(&fuzz().join("artifacts").join(name))) {
            let bytes = std::fs::read(file).expect("read");
            let done = std::panic::catch_unwind(|| target(&bytes));
            assert!(done.is_ok(), "{} breaks {name}", file.display());
        }
    }
}

#[test]
fn every_target_has_its_program_and_every_folder_its_target() {
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).expect("read");
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} cannot be run");
        let program = fuzz().join("fuzz_targets").join(format!("{name}.rs"));
        let text = std::fs::read_to_string(program).expect("read");
        assert!(text.contains(&format!("symphony::fuzzing::{name}(bytes)")), "{name}: {text}");
    }
    for kept in ["corpus", "artifacts"] {
        for entry in std::fs::read_dir(fuzz().join(kept)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            assert!(TARGETS.iter().any(|(known, _)| name == *known), "{name:?} is no target");
        }
    }
}
