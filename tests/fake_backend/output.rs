//! What it writes. An output that nobody takes any more is no reason to end.

use std::io::Write;

use crate::script::Script;

/// Writes one line at once.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Who it is and what it was given.
pub fn introduction(script: &Script) {
    line(&format!("pid {}", std::process::id()));
    if script.print_args {
        for arg in std::env::args().skip(1) {
            line(&format!("arg {arg}"));
        }
    }
    if script.print_env {
        for (key, value) in std::env::vars_os() {
            line(&format!("env {}={}", key.to_string_lossy(), value.to_string_lossy()));
        }
    }
    if script.non_utf8 {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(b"bytes \xff\xfe\xc3\x28 \x00\x1b[31m\n").and_then(|()| out.flush());
    }
}

/// `--flood`: blocks while nobody takes it.
pub fn flood(script: &Script) {
    const LINE: usize = 80;
    let mut chunk = vec![b'x'; LINE * 100];
    if !script.flood_no_newline {
        chunk.iter_mut().skip(LINE - 1).step_by(LINE).for_each(|byte| *byte = b'\n');
    }
    let mut left = script.flood;
    let mut out = std::io::stdout().lock();
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        if out.write_all(&chunk[..count]).is_err() {
            return;
        }
        left -= count as u64;
    }
    let _ = out.flush();
}
