//! The Python that the tests may use.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::Write;
use std::path::{Path, PathBuf};

/// The interpreter named by `SYMPHONY_TEST_PYTHON`, else the one that `tests/python/make_venv.sh` makes. Without one
/// the test is named on stderr as left out.
pub fn interpreter(test: &str) -> Option<String> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python-venv/bin/python");
    let named = std::env::var_os("SYMPHONY_TEST_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or(made);
    if python.exists() {
        return Some(python.display().to_string());
    }
    let told = format!(
        "left out: {test} ({} is not there; tests/python/make_venv.sh makes it)\n",
        python.display()
    );
    // not by a macro: what those write is shown of failed tests only
    let _ = std::io::stderr().write_all(told.as_bytes());
    None
}

/// One of the scripts under `examples/python`.
pub fn script(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python");
    folder.join(name).display().to_string()
}
