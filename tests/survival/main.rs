//! Symphony dies, hangs and is replaced under load; the models stay. Real processes, kills at random moments.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests; clippy sees helpers of integration tests as plain code"
)]
#![allow(missing_docs, reason = "tests")]

#[path = "../support/contract.rs"]
mod contract;
#[path = "../support/processes.rs"]
mod processes;

use contract::backend;

mod both_killed;
mod core_kills;
mod gaps;
mod load;
mod stage;
