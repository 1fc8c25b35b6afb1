//! What must hold of the pure cores after any sequence of events. Failing cases are kept in `tests/proptest-regressions`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests")]

mod group;
mod instance;
mod supervision;
