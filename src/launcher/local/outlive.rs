//! Threads that must not end early: a panic in one step of their work is that step's failure, and the next one is taken.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Takes a step; `None` where it panicked, which the panic hook and this have logged then.
///
/// What the step worked on is plain data of its thread, and every later step finds it as far as it was changed.
pub(super) fn outlive<T>(what: &str, step: impl FnOnce() -> T) -> Option<T> {
    let outcome = catch_unwind(AssertUnwindSafe(step)).ok();
    if outcome.is_none() {
        tracing::error!(target: "symphony-mgmt", what, "a step of the launcher panicked; its thread goes on");
    }
    outcome
}
