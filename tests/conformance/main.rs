//! What supervisors of others are tested for, held by this supervision layer: real actors in virtual time.
//!
//! Each case keeps the name it has where it comes from. Where it cannot be taken word for word, its comment says what the
//! case of origin checks and what this one does. `docs/conformance.md` has the table of all.

#![allow(clippy::expect_used, reason = "tests: what is expected is what is tested")]

mod bench;

mod elixir;
mod kameo;
mod otp;
mod ours;
mod quickwit;
