//! The local launcher with real processes.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests; clippy sees helpers of integration tests as plain code"
)]
#![allow(missing_docs, reason = "tests")]

mod adoption;
mod bench;
mod cgroups;
mod inheritance;
mod limits;
#[path = "../../support/open_place.rs"]
mod open_place;
mod output;
mod readiness;
mod signals;
mod starts;
