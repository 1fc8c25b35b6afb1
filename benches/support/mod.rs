//! What the benchmarks share.
//!
//! | file | owns |
//! |---|---|
//! | `run` | how a benchmark was called |
//! | `report` | the table that it prints, and the verdict |
//! | `figures` | medians and the clock |
//! | `client` | a DEALER that asks as fast as it can |
//! | `service` | `symphony serve` in a process and a folder of its own |
//! | `processes` | what the system tells of processes |

#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub mod client;
pub mod figures;
pub mod processes;
pub mod report;
pub mod run;
pub mod service;
