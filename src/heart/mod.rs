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
//! - [`core`](self::core): what the heart decides; [`run`]: the loop that does it
//! - [`process`]: the running core; [`binaries`]: what it is made of; [`children`], [`ending`]: the other children, and their end; [`store`]: held descriptors
//! - [`guard`]: what ends the backends when heart and core are both killed, by a [`hunt`]; [`guarding`]: the heart's side of it
//! - [`pid_file`], [`options`], [`log`], [`signals`], [`procfs`]: what they stand on

pub mod binaries;
pub mod channel;
pub mod children;
pub mod core;
pub mod ending;
pub mod guard;
pub mod guarding;
pub mod hunt;
pub mod link;
pub mod log;
pub mod options;
pub mod pid_file;
pub mod process;
pub mod procfs;
pub mod protocol;
pub mod run;
pub mod signals;
pub mod store;
