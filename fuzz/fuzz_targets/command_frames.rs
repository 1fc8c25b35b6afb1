//! The frames of a message at the CLI socket: delimiters and JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| symphony::fuzzing::command_frames(bytes));
