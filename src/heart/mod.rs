//! The parent process of the service: it outlives the core, and the models with it.
//!
//! ```text
//!  heart  ◀── beats, descriptors to hold ──  core (the whole service)
//!    │   ── held descriptors, exit statuses ─▶
//!    └─ starts a new core when this one dies or stands still; inherits the backends meanwhile
//! ```
//!
//! It knows processes, signals and descriptors, and neither actors nor models nor settings: what is small does not fail.
//!
//! - [`protocol`]: what the two tell each other; [`channel`]: how it gets across; [`link`]: the core's side
//! - [`core`]: what the heart decides; [`run`]: the loop that does it
//! - [`process`]: the running core; [`binaries`]: what it is made of; [`children`], [`ending`]: the other children, and their end; [`store`]: held descriptors
//! - [`guard`]: what ends the backends when heart and core are both killed, by a [`hunt`] and its [`leavings`]; [`guarding`]: the heart's side of it
//! - [`pid_file`], [`options`], [`log`], [`signals`], [`procfs`]: what they stand on
//! - [`notify`]: word to whoever manages services on this machine; [`activation`]: the sockets that it opened; [`manager`]: the
//!   heart's side of both

use std::process::ExitCode;

use self::options::{GuardOptions, HeartOptions};

pub mod activation;
pub mod binaries;
pub mod channel;
pub mod children;
pub mod core;
pub mod ending;
pub mod guard;
pub mod guarding;
pub mod hunt;
pub mod leavings;
pub mod link;
pub mod log;
pub mod manager;
pub mod notify;
pub mod open_files;
pub mod options;
pub mod pid_file;
pub mod process;
pub mod procfs;
pub mod program;
pub mod protocol;
pub mod run;
pub mod signals;
pub mod store;

/// The file with heart and guard alone, beside that of the service.
pub const SMALL_PROGRAM: &str = "symphony-heart";

/// Exit code of wrong usage.
const USAGE: u8 = 2;

/// Does the work of a heart or a guard, where this process was started as one; `None` where it is something else.
pub fn main() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next()?;
    let outcome = if command == options::HEART {
        HeartOptions::parse(arguments).map(run::run)
    } else if command == options::GUARD {
        GuardOptions::parse(arguments).map(guard::run)
    } else {
        return None;
    };
    Some(outcome.unwrap_or_else(|error| {
        eprintln!("Error: {error}");
        ExitCode::from(USAGE)
    }))
}
