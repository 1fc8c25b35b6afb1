//! The bytes of a backend, as the prober reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| symphony::fuzzing::zmtp(bytes));
