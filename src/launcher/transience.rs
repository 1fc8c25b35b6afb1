//! Which errors of the system are worth another try. Pure.

use std::io;

use rustix::io::Errno;

/// What the machine may have again in a moment. All else (nothing of that name, no permission, no executable format)
/// stays as it is until somebody mends it.
const TRANSIENT: [Errno; 13] = [
    Errno::AGAIN,
    Errno::NOMEM,
    Errno::MFILE,
    Errno::NFILE,
    Errno::INTR,
    Errno::BUSY,
    Errno::NOSPC,
    Errno::DQUOT,
    Errno::IO,
    Errno::STALE,
    Errno::TIMEDOUT,
    // the program is just being written, by an installer for example
    Errno::TXTBSY,
    Errno::NOBUFS,
];

/// Whether what failed so may go well at another try.
pub fn is_transient(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| TRANSIENT.contains(&errno))
}
