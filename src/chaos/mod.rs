//! Chaos: faults on purpose against a real service, while clients use it and the invariants are watched.
//!
//! It knows the service from outside alone: its sockets, `/proc`, and the log files of its models. What decides is pure, and
//! what touches processes and sockets stands beside it.
//!
//! | file | owns |
//! |---|---|
//! | [`run`] | a whole run, from the first quiet look to the report |
//! | [`plan`] | pure: a seed gives the faults |
//! | [`invariants`], [`history`] | pure: what must hold, and the events that show where it did not |
//! | [`tally`], [`report`] | pure: counts and times |
//! | [`faults`], [`hold`], [`garbage`] | carry faults out, and undo those that last |
//! | [`load`] | clients that use the service meanwhile |
//! | [`watch`], [`service`], [`processes`] | what is seen of the service |

pub mod faults;
pub mod garbage;
pub mod history;
pub mod hold;
pub mod invariants;
pub mod load;
pub mod plan;
pub mod processes;
pub mod report;
pub mod run;
pub mod service;
pub mod tally;
pub mod watch;
