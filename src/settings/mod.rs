//! File, environment and flags become validated [`Settings`](model::Settings), or all faults at once.
//!
//! # Layout
//! The way of a value, in this order:
//! - [`sources`], `lookup`: what there is to read, and where it is looked for
//! - `document`: a file as a tree of values, before anything is known about their meaning
//! - `environment`, `origin`: what is laid over it, and who said what
//! - `raw`, `schema`, `shape`: what a file may look like, and what is told where it does not
//! - `backend`, `policies`, `models`, `groups`, `service`: its meaning, read by `reader`, with all faults of it; beside them
//!   [`quantity`], [`placeholder`], [`logging`], `endpoint`, `window`, `anchor`
//! - [`model`], [`policy`]: the result; `builder` makes the same in code
//! - [`Effective`], `written`: the result with its origins, for people; [`diff`]: what a change means for a running service
//! - [`load()`] goes this way; [`SettingsError`], [`Fault`] tell what was wrong on it
//!
//! Nothing here creates or changes anything on the disk.

mod anchor;
mod backend;
mod builder;
pub mod diff;
mod document;
mod effective;
mod endpoint;
mod environment;
mod error;
mod fault;
mod groups;
mod heart;
mod load;
pub mod logging;
mod lookup;
pub mod model;
mod models;
mod origin;
mod path;
pub mod placeholder;
mod policies;
pub mod policy;
pub mod quantity;
mod raw;
mod reader;
mod schema;
mod service;
mod shape;
pub mod sources;
mod window;
mod written;

pub use effective::Effective;
pub use error::{FaultList, SettingsError};
pub use fault::Fault;
pub use load::{Loaded, load, load_bytes};
pub use origin::Origin;
pub use path::{KeyPath, Step};
pub use schema::schema;
pub use sources::{Overrides, Sources};
