//! Whether a folder is this user's alone to write in: names below `/tmp` can be guessed, and made first by others.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Looks at a folder in which private files are to lie.
///
/// # Errors
/// When it belongs to another user, every user may write in it, or it cannot be looked at.
pub fn refuse_foreign(folder: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    // a link leads wherever its owner wants, so that it is judged as well; its mode means nothing
    let (named, facts) = (std::fs::symlink_metadata(folder)?, std::fs::metadata(folder)?);
    judge(named.uid(), 0, own)
        .and_then(|()| judge(facts.uid(), facts.mode(), own))
        .map_err(|why| io::Error::new(io::ErrorKind::PermissionDenied, why))
}

fn judge(owner: u32, mode: u32, own: u32) -> Result<(), String> {
    // root may do everything anyway, and makes folders for others
    if ![own, 0].contains(&owner) {
        return Err(format!("it belongs to another user ({owner}), this one is {own}"));
    }
    if mode & 0o002 != 0 {
        return Err("every user may write in it: take the permission away (chmod o-w)".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_folder_of_this_user_that_not_everybody_writes_in_is_good() {
        assert!(judge(5, 0o40700, 5).is_ok() && judge(5, 0o40775, 5).is_ok());
        assert!(judge(0, 0o40755, 0).is_ok() && judge(0, 0o42775, 5).is_ok());
        assert!(judge(6, 0o40700, 5).unwrap_err().contains("another user (6)"));
        assert!(judge(5, 0o40700, 0).is_err(), "what a user made first is no folder for root");
        assert!(judge(5, 0o41777, 5).unwrap_err().contains("every user"));

        let folder = tempfile::tempdir().unwrap();
        refuse_foreign(folder.path()).unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refuse_foreign(folder.path()).is_err());
        assert!(refuse_foreign(&folder.path().join("none")).is_err());
    }
}
