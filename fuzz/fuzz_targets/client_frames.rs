//! The frames of a message at the client socket: delimiters and protobuf.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| symphony::fuzzing::client_frames(bytes));
