//! The generic OTP layer: actors that fail are replaced, in order, within limits, or the failure goes up.
//!
//! It names no model, process or socket. Specs and flags say what is wanted ([`spec`]), the pure [`core`] decides with
//! a [`window`], and the [`supervisor`] actor carries it out with a monitor that misses no exit ([`child`]).
//!
//! Rules and defaults are those of Erlang/OTP's `supervisor`.

pub mod backoff;
pub mod child;
pub mod core;
#[doc(hidden)]
pub mod crash;
pub mod exit;
pub mod heartbeat;
pub mod progress;
pub mod spec;
pub mod supervisor;
pub mod tree;
pub mod watchdog;
pub mod window;

pub use child::{ChildSpec, Init, RunningChild, Start, StopActor, launch};
pub use exit::{ExitReason, ExitSlot};
pub use progress::{LongSection, Progress};
pub use spec::{
    AutoShutdown, ChildId, ChildKind, ChildRules, Restart, Shutdown, Strategy, SupervisorFlags,
};
pub use supervisor::{Supervisor, SupervisorSpec};
