//! Chaos: faults on purpose against a real service, while clients use it and the invariants are watched.
//!
//! It knows the service from outside alone: its sockets, `/proc`, and the log files of its models. What decides (the plan
//! of faults, the invariants, the figures) is pure; what touches processes and sockets stands beside it.

pub mod history;
pub mod invariants;
pub mod plan;
