//! The error of a failed start: worth another try or not.

use std::io;

use crate::launcher::SpawnError;
use crate::launcher::transience::is_transient;

/// The error of a start of `program`; `stage` says what was being done, if not the start itself.
pub(super) fn spawn_error(program: &str, stage: Option<&str>, error: &io::Error) -> SpawnError {
    let reason = match stage {
        Some(stage) => format!("{stage}: {error}"),
        None => error.to_string(),
    };
    let program = program.to_owned();
    if is_transient(error) {
        SpawnError::Transient { program, reason }
    } else {
        SpawnError::Fatal { program, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn of(errno: Errno) -> SpawnError {
        spawn_error("prog", None, &errno.into())
    }

    #[test]
    fn fork_eagain_and_make_pipes_emfile_are_worth_another_try() {
        for errno in [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE] {
            assert!(matches!(of(errno), SpawnError::Transient { .. }), "{errno:?}");
        }
    }

    #[test]
    fn what_no_restart_can_mend_is_fatal() {
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC, Errno::NOTDIR, Errno::TOOBIG] {
            assert!(matches!(of(errno), SpawnError::Fatal { .. }), "{errno:?}");
        }
        let nul = io::Error::new(io::ErrorKind::InvalidInput, "nul byte found in provided data");
        assert!(matches!(spawn_error("prog", None, &nul), SpawnError::Fatal { .. }));
    }

    #[test]
    fn stage_stands_before_the_systems_word() {
        let error = spawn_error("prog", Some("working directory /x"), &Errno::NOENT.into());
        let text = error.to_string();
        assert!(text.starts_with("cannot execute prog: working directory /x: No such"), "{text}");
    }
}
