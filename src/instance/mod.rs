//! One backend's life: states, readiness, health, stop, restart.
//!
//! Requests by model name come to the [`desk`]; it has one [`actor`] per instance, which feeds the pure [`machine`]
//! (with [`restart`] and [`health`]) and carries out what that decides. A [`group`] stands between instances whose
//! failures concern each other.

pub mod actor;
pub mod command_line;
pub mod desk;
pub mod endpoint;
pub mod group;
mod grouping;
pub mod health;
pub mod known;
pub mod machine;
pub mod messages;
pub mod order_digest;
pub mod preflight;
pub mod restart;
pub mod services;
pub mod state;
mod taking_up;
mod unload;

#[doc(hidden)]
pub use grouping::FindGroup;
#[doc(hidden)]
pub use unload::{FindLive, Present};
