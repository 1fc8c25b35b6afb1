//! The files of the project as the rules look at them.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the package.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of the package.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file of Rust.
pub struct Source {
    /// From the folder of the package, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl Source {
    /// The lines of code with their numbers: no comments, no documentation.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The lines of [`Source::code`] that are part of the product: neither a file of tests nor the tests at the end.
    pub fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let endings = ["_tests.rs", "/properties.rs"];
        let is_test = self.path.contains("/tests")
            || endings.iter().any(|ending| self.path.ends_with(ending));
        let lines: Vec<_> = self.text.lines().collect();
        let module = lines.windows(2).position(|pair| {
            pair[0] == "#[cfg(test)]"
                && (pair[1].starts_with("mod tests") || pair[1].starts_with("#[path"))
        });
        let tests_begin = module.unwrap_or(usize::MAX);
        self.code().filter(move |(number, _)| !is_test && *number <= tests_begin)
    }

    /// The room of a file below `src/`: its folder there, or its own name.
    pub fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = below.split('/').next().unwrap_or(below);
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

/// Every file of Rust below these folders.
pub fn below(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "nothing below {folders:?}");
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("readable");
        let path = path.strip_prefix(root()).expect("below the package").display().to_string();
        Source { path, text }
    };
    paths.into_iter().map(source).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}")) {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            paths.push(path);
        }
    }
}

/// Fails with all faults at once.
pub fn no_faults(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
