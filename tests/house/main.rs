//! The rules of the house, held by a machine: what a review would otherwise have to look for.
//!
//! - `imports`: which room may name which, and who may name which library
//! - `rules`: profiles, lints, locks, bounds, length of files, waiting in tests
//! - `conformance`: every case that comes from elsewhere has its test, or a reason
//! - `documents`: what the documents promise is there
//!
//! A rule that stands in the way is changed here, with its reason, in the commit that needs it.
#![allow(clippy::expect_used, reason = "a test")]

mod conformance;
mod documents;
mod imports;
mod rules;
mod sources;
