//! From OTP's `supervisor_SUITE`.

mod changes;
mod counting;
mod dynamic;
mod escalation;
mod groups;
mod requests;
mod restarts;
mod scale;
mod significant;
mod specs;
mod start;
mod stop;
