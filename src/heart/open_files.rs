//! The limit of open files: lifted for this process, and as it was for those that it starts.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Read once per process, before the first lift: who lifts again must not take the lifted limit for the original.
static INHERITED: OnceLock<Rlimit> = OnceLock::new();

/// The limit that this process was started with.
pub fn inherited() -> Rlimit {
    *INHERITED.get_or_init(|| getrlimit(Resource::Nofile))
}

/// Lifts the limit to the most that is allowed, where it is lower.
///
/// # Errors
/// When the system refuses; the limit is as before then.
pub fn lift() -> io::Result<()> {
    let maximum = inherited().maximum;
    if inherited().current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(())
}

/// How many files this process may have open just now.
pub fn room() -> usize {
    let now = getrlimit(Resource::Nofile).current;
    now.map_or(usize::MAX, |now| usize::try_from(now).unwrap_or(usize::MAX))
}

/// Starts something that gets the limit that this process was started with. What is open already stays open, whatever its
/// number. For processes of one thread: no other one can open anything meanwhile.
pub fn with_inherited<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let lifted = getrlimit(Resource::Nofile);
    if lifted == inherited() {
        return start();
    }
    // where it cannot be lowered, the child begins with the lifted one: better than no child
    let _ = setrlimit(Resource::Nofile, inherited());
    let started = start();
    // up to the maximum everybody may, and that one was not touched
    let _ = setrlimit(Resource::Nofile, lifted);
    started
}
