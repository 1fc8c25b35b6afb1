//! A private folder, and sources that see nothing of the machine the test runs on.

use std::path::{Path, PathBuf};

use symphony::settings::model::{ModelSpec, Settings};
use symphony::settings::{Loaded, Overrides, SettingsError, Sources, load};

/// A folder with configuration files, removed at the end.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) sources: Sources,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let sources = Sources {
            overrides: Overrides::default(),
            environment: Vec::new(),
            working_dir: folder.path().to_owned(),
            binary_dir: None,
            user: 1000,
        };
        Self { folder, sources }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file and makes it the configuration.
    pub(crate) fn with_file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.sources.overrides.config = Some(self.write(name, content));
        self
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("folder made");
        std::fs::write(&path, content).expect("file written");
        path
    }

    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.into(), value.into()));
        self
    }

    pub(crate) fn load(&self) -> Result<Loaded, SettingsError> {
        load(&self.sources)
    }

    pub(crate) fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|error| panic!("{error}")).settings
    }

    /// Every fault as one line; panics where there is none.
    pub(crate) fn faults(&self) -> Vec<String> {
        match self.load() {
            Err(SettingsError::Faulty(list)) => {
                list.faults.iter().map(ToString::to_string).collect()
            }
            Err(other) => panic!("cannot be read at all: {other}"),
            Ok(_) => panic!("no fault was found"),
        }
    }
}

/// The settings of a TOML file.
pub(crate) fn toml(content: &str) -> World {
    World::new().with_file("symphony.toml", content)
}

/// The settings of a JSON file.
pub(crate) fn json(content: &str) -> World {
    World::new().with_file("config.json", content)
}

pub(crate) fn model<'a>(settings: &'a Settings, name: &str) -> &'a ModelSpec {
    let found = settings.models.iter().find(|model| model.name.as_str() == name);
    found.unwrap_or_else(|| panic!("no model {name}"))
}

/// Asserts that one of the lines is exactly this one.
#[track_caller]
pub(crate) fn assert_line(lines: &[String], expected: &str) {
    assert!(
        lines.iter().any(|line| line == expected),
        "{expected}\nis not among\n{}",
        lines.join("\n")
    );
}
