//! Where configuration files, backend scripts and the service's own folders are looked for.

use std::path::{Path, PathBuf};

use super::error::SettingsError;
use super::sources::Sources;
use crate::limits;

/// The configuration file to read; `None`: there is none, the built-in default counts.
///
/// # Errors
/// [`SettingsError::NotFound`] when a file that was named is missing; [`SettingsError::Unreadable`] when it cannot be told.
pub(super) fn configuration_file(sources: &Sources) -> Result<Option<PathBuf>, SettingsError> {
    let named = sources.overrides.config.clone();
    if let Some(named) = named.or_else(|| sources.variable("SYMPHONY_CONFIG").map(PathBuf::from)) {
        let path = sources.working_dir.join(&named);
        return if exists(&path)? {
            Ok(Some(path))
        } else {
            Err(SettingsError::NotFound { path: named })
        };
    }
    for path in usual_places(sources) {
        if exists(&path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Where a file is looked for that nobody named, in this order.
fn usual_places(sources: &Sources) -> Vec<PathBuf> {
    let in_home = || sources.folder("HOME").map(|home| home.join(".config"));
    let mut places = vec![
        sources.working_dir.join("config.json"),
        sources.working_dir.join("config").join("symphony.toml"),
    ];
    places.extend(
        sources
            .folder("XDG_CONFIG_HOME")
            .or_else(in_home)
            .map(|folder| folder.join("symphony").join("symphony.toml")),
    );
    places.push(PathBuf::from("/etc/symphony/symphony.toml"));
    places
}

/// A place that cannot be looked at is no reason to go on without it: the service would run with other settings.
fn exists(path: &Path) -> Result<bool, SettingsError> {
    match path.metadata() {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Ok(false),
            _ => {
                Err(SettingsError::Unreadable { path: path.to_owned(), reason: error.to_string() })
            }
        },
    }
}

/// `backend/backend-python` beside the binary, under the working directory, or in one of the folders above that.
pub(super) fn backend_path(sources: &Sources) -> Option<PathBuf> {
    let from_working_dir = sources.working_dir.ancestors().take(1 + limits::BACKEND_PATH_PARENTS);
    sources
        .binary_dir
        .as_deref()
        .into_iter()
        .chain(from_working_dir)
        .map(|folder| folder.join("backend").join("backend-python"))
        .find(|path| path.is_dir())
}

/// The folders of a service, made of its command line endpoint so that two services never share one.
#[derive(Debug)]
pub(super) struct ServiceFolders {
    /// Log files; kept when the service is gone.
    pub log_dir: PathBuf,
    /// Short-lived files.
    pub runtime_dir: PathBuf,
}

impl ServiceFolders {
    /// The folders of the service with this command line endpoint.
    pub fn of(cli_endpoint: &str, sources: &Sources) -> Self {
        // a digest that stays the same over releases: logs are found again after an upgrade
        let digest = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, cli_endpoint.as_bytes());
        let (digest, _) = digest.as_u64_pair();
        let temporary = sources.folder("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"));
        let own =
            |kind: &str| temporary.join(format!("symphony-{}-{digest:016x}{kind}", sources.user));
        let state = sources
            .folder("XDG_STATE_HOME")
            .or_else(|| sources.folder("HOME").map(|home| home.join(".local").join("state")));
        Self {
            log_dir: match state {
                Some(state) => state.join("symphony").join(format!("{digest:016x}")).join("logs"),
                None => own("-logs"),
            },
            runtime_dir: match sources.folder("XDG_RUNTIME_DIR") {
                Some(folder) => folder.join(format!("symphony-{digest:016x}")),
                None => own(""),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::sources::Overrides;

    fn sources(folder: &Path, environment: &[(&str, &Path)]) -> Sources {
        Sources {
            overrides: Overrides::default(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.display().to_string()))
                .collect(),
            working_dir: folder.to_owned(),
            binary_dir: None,
            user: 7,
        }
    }

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().expect("below a folder")).expect("folder made");
        std::fs::write(path, "{}").expect("file written");
    }

    #[test]
    fn files_are_found_in_the_order_of_the_contract() {
        let folder = tempfile::tempdir().expect("folder");
        let here = folder.path();
        let [flag, variable, json, toml, xdg] = [
            "flag.json",
            "variable.json",
            "config.json",
            "config/symphony.toml",
            "xdg/symphony/symphony.toml",
        ]
        .map(|name| here.join(name));
        let mut sources = sources(
            here,
            &[("SYMPHONY_CONFIG", &variable), ("XDG_CONFIG_HOME", &here.join("xdg"))],
        );
        sources.overrides.config = Some("flag.json".into());
        for path in [&flag, &variable, &json, &toml, &xdg] {
            touch(path);
        }
        assert_eq!(configuration_file(&sources), Ok(Some(flag)));
        sources.overrides.config = None;
        assert_eq!(configuration_file(&sources), Ok(Some(variable)));
        sources.environment.remove(0);
        for path in [json, toml, xdg] {
            assert_eq!(configuration_file(&sources), Ok(Some(path.clone())));
            std::fs::remove_file(path).expect("removed");
        }
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let folder = tempfile::tempdir().expect("folder");
        let mut sources = sources(folder.path(), &[("SYMPHONY_CONFIG", Path::new("gone.toml"))]);
        let error = configuration_file(&sources).expect_err("missing");
        assert_eq!(error.to_string(), "Configuration file not found at gone.toml");
        sources.overrides.config = Some("/nowhere/x.json".into());
        let error = configuration_file(&sources).expect_err("missing");
        assert_eq!(error.to_string(), "Configuration file not found at /nowhere/x.json");
    }

    #[test]
    fn the_backend_path_is_looked_for_five_folders_above() {
        let folder = tempfile::tempdir().expect("folder");
        let backend = folder.path().join("backend/backend-python");
        std::fs::create_dir_all(&backend).expect("made");
        let deep =
            |levels: usize| (0..levels).fold(folder.path().to_owned(), |path, _| path.join("d"));
        assert_eq!(backend_path(&sources(&deep(5), &[])), Some(backend.clone()));
        assert_eq!(backend_path(&sources(&deep(6), &[])), None);
        let mut beside = sources(&deep(6), &[]);
        beside.binary_dir = Some(folder.path().to_owned());
        assert_eq!(backend_path(&beside), Some(backend));
    }

    #[test]
    fn services_and_users_never_share_a_folder() {
        let home = sources(Path::new("/w"), &[("HOME", Path::new("/home/u"))]);
        let a = ServiceFolders::of("ipc:///tmp/a", &home);
        let b = ServiceFolders::of("ipc:///tmp/b", &home);
        assert_ne!(a.log_dir, b.log_dir);
        assert_ne!(a.runtime_dir, b.runtime_dir);
        assert!(
            a.log_dir.starts_with("/home/u/.local/state/symphony") && a.log_dir.ends_with("logs")
        );
        assert!(!a.log_dir.starts_with(&a.runtime_dir), "logs outlive the runtime folder");

        let nobody = ServiceFolders::of("ipc:///tmp/a", &sources(Path::new("/w"), &[]));
        assert!(nobody.log_dir.starts_with("/tmp") && nobody.runtime_dir.starts_with("/tmp"));
        assert!(!nobody.log_dir.starts_with(&nobody.runtime_dir));
        assert!(nobody.runtime_dir.display().to_string().contains("symphony-7-"));
    }
}
