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
//! - [`protocol`]: what the two tell each other; [`channel`]: how it gets across
//! - [`link`]: the core's side

pub mod channel;
pub mod link;
pub mod protocol;
