//! The doors for random input: each feeds bytes from outside to the very functions that the service uses.
//!
//! `fuzz/` calls them with what cargo-fuzz makes up, `tests/fuzz_corpus.rs` with all inputs that were kept. A fault is a
//! panic, a memory that grows, or an input that takes too long.

use std::path::Path;

use crate::gateway::zmq::fuzzing::{client_message, command_message};
use crate::limits;
use crate::probe::zmtp::{Arrival, Decoder};
use crate::settings::{self, Overrides, Sources};

/// A door: bytes in, a panic where something is wrong.
pub type Target = fn(&[u8]);

/// All doors, by the names of their folders below `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 5] = [
    ("client_frames", client_frames),
    ("command_frames", command_frames),
    ("config_json", config_json),
    ("config_toml", config_toml),
    ("zmtp", zmtp),
];

/// Frames of the client socket: a byte with the number of those before the last one, each of these behind a byte with its
/// length, and the last one.
pub fn client_frames(bytes: &[u8]) {
    client_message(&frames_of(bytes));
}

/// Frames of the CLI socket, written in the same way.
pub fn command_frames(bytes: &[u8]) {
    command_message(&frames_of(bytes));
}

/// A configuration in JSON.
pub fn config_json(bytes: &[u8]) {
    configuration("/nowhere/symphony/config.json", bytes);
}

/// A configuration in TOML.
pub fn config_toml(bytes: &[u8]) {
    configuration("/nowhere/symphony/symphony.toml", bytes);
}

/// What a backend may answer to the prober: its bytes, in pieces as long as the first one says.
///
/// # Panics
/// When more is kept than an honest answer has.
pub fn zmtp(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let mut decoder = Decoder::default();
    for piece in bytes.chunks(usize::from(*piece).max(1)) {
        decoder.feed(piece);
        loop {
            match decoder.next() {
                Ok(Some(Arrival::Message(frames))) => {
                    let length: usize = frames.iter().map(Vec::len).sum();
                    assert!(length <= limits::PROBE_ANSWER_BYTES, "a message of {length} bytes");
                    assert!(frames.len() <= limits::FRAME_PARTS, "{} frames", frames.len());
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// The first byte is the number of frames before the last one; each of those has a byte with its length in front.
/// What is left is the last frame.
fn frames_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Some((count, mut rest)) = bytes.split_first() else { return Vec::new() };
    let mut frames = Vec::new();
    for _ in 0..*count % 4 {
        let Some((length, after)) = rest.split_first() else { break };
        let (frame, after) = after.split_at(usize::from(*length).min(after.len()));
        frames.push(frame.to_vec());
        rest = after;
    }
    frames.push(rest.to_vec());
    frames
}

/// What is valid is written out, and means the same when it is read again.
fn configuration(path: &str, bytes: &[u8]) {
    let sources = Sources {
        overrides: Overrides::default(),
        environment: Vec::new(),
        working_dir: "/nowhere/symphony".into(),
        binary_dir: None,
        user: 1000,
    };
    match settings::load_bytes(Path::new(path), bytes, &sources) {
        // the one thing that only a file of the seed form may say: a model whose type has no backend
        Ok(loaded) if loaded.settings.models.iter().any(|model| model.backend.is_none()) => {}
        Ok(loaded) => {
            let text = loaded.effective.to_text();
            let again = settings::load_bytes(
                Path::new("/nowhere/symphony/again.toml"),
                text.as_bytes(),
                &sources,
            );
            match again {
                Ok(again) => assert_eq!(
                    loaded.effective.document, again.effective.document,
                    "written out, it means something else:\n{text}"
                ),
                Err(error) => panic!("written out, it is not valid: {error}\n{text}"),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty(), "a fault without a word"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_apart_without_a_rest() {
        assert_eq!(frames_of(b""), Vec::<Vec<u8>>::new());
        assert_eq!(frames_of(b"\x00abc"), [b"abc"]);
        assert_eq!(frames_of(b"\x01\x00abc"), [&b""[..], b"abc"]);
        assert_eq!(frames_of(b"\x02\x01a\xffbc"), [&b"a"[..], b"bc", b""]);
        assert_eq!(frames_of(b"\x03"), [b""]);
    }
}
