//! What the service writes down of itself, so that whoever comes after it knows what lives.
//!
//! ```text
//! runtime_dir/state/
//! ├─ service.json        which service this is, since when, in which boot of the machine
//! └─ INSTANCE.json       one for each instance: its record, and its process if it has one
//! ```
//!
//! One file for each instance: a change costs the same with one model and with a thousand, and a damaged file harms only
//! itself. Nothing here must survive the end of the machine: processes do not either.
//!
//! It knows files and their form. What is in a record is the business of who keeps it; whether a process may be touched is
//! decided by who knows processes.
//!
//! - [`envelope`] is the form of every file, [`files`] what the two kinds hold, [`folder`] reads and writes them
//! - [`ownership`]: whether private files may lie in a folder

pub mod envelope;
pub mod files;
pub mod folder;
pub mod ownership;

/// The folder's name inside of the service's runtime folder.
pub const FOLDER: &str = "state";

/// The version of what is written. It goes up when a program that knows the present one could misread a file.
pub const VERSION: u32 = 1;

/// The oldest version that is understood.
pub const OLDEST: u32 = 1;
