//! The supervision layer with real actors, in virtual time. Names of OTP's `supervisor_SUITE` are kept where a case
//! comes from it.

#![allow(clippy::expect_used, reason = "tests: what is expected is what is tested")]

mod bench;

mod dynamic;
mod escalation;
mod groups;
mod requests;
mod restarts;
mod significant;
mod start;
mod stop;
