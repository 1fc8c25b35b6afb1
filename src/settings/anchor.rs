//! Where relative paths of a configuration begin.

use std::path::PathBuf;

use serde_json::Value;

use super::origin::{Origin, Origins};
use super::path::KeyPath;
use super::sources::Sources;

/// Turns paths as they are written into whole ones.
///
/// A relative path in a file begins at the folder of that file, one in a variable or a flag at the working directory.
pub(super) struct Anchors<'a> {
    pub sources: &'a Sources,
    pub origins: &'a Origins,
    pub values: &'a Value,
}

impl Anchors<'_> {
    /// The whole path of `text`, which stands at `at`.
    ///
    /// # Errors
    /// When it holds what no path may hold, or begins at a home folder that is unknown.
    pub fn resolve(&self, at: &KeyPath, text: &str) -> Result<PathBuf, String> {
        if text.contains('\0') {
            return Err("a path holds no NUL".into());
        }
        if let Some(below_home) = text.strip_prefix("~/") {
            let home = self.sources.folder("HOME").ok_or("there is no home folder for '~'")?;
            return Ok(home.join(below_home));
        }
        let folder = match self.origins.of(self.values, at) {
            Origin::File(file) => file.parent().map(|folder| self.sources.working_dir.join(folder)),
            _ => None,
        };
        Ok(folder.unwrap_or_else(|| self.sources.working_dir.clone()).join(text))
    }

    /// The same for a program: a name without a slash is looked up in `PATH` when it is started.
    ///
    /// # Errors
    /// As [`Anchors::resolve`].
    pub fn resolve_program(&self, at: &KeyPath, text: &str) -> Result<String, String> {
        if !text.contains('/') || text.starts_with('/') || text.contains('{') {
            return Ok(text.to_owned());
        }
        let path = self.resolve(at, text)?;
        path.into_os_string()
            .into_string()
            .map_err(|_| "the folder it begins at is not UTF-8".into())
    }
}
