//! The way from a file, the environment and flags to settings: what is accepted, what is refused and how it is told.

#![allow(clippy::expect_used, reason = "in a test an expectation that fails is the answer")]

mod bad_input;
mod documented;
mod examples;
mod faults;
mod layers;
mod seed;
mod world;
