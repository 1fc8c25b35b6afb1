//! What holds of the pure decisions after any sequence of events. Seeds of failed cases are kept in `proptest-regressions/`.

#![allow(clippy::expect_used, reason = "tests: what is expected is what is tested")]

mod supervision;
