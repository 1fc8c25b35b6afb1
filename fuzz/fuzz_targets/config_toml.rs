//! A configuration file in TOML, up to validated settings and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| symphony::fuzzing::config_toml(bytes));
