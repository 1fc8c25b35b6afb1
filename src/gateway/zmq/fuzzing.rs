//! What the gateway's thread does with the frames of one message before any actor hears of it, for who feeds it random ones.

use super::command::{self, Envelope};
use super::frames::split;
use super::handshake::{self, Wish};
use super::reply;
use crate::limits;

/// A reply to a refused command carries no more than this back: the text that is echoed in it and its frame, each
/// character escaped in the longest way.
const REFUSAL_BYTES: usize = limits::ECHO_CHARS * 12 + 1024;

/// A message at the client socket; answers the bytes of a refusal, where there is one.
///
/// # Panics
/// When what is made of it breaks the contract.
pub fn client_message(frames: &[Vec<u8>]) -> Option<Vec<u8>> {
    let framed = split(&borrowed(frames), frames.len()).ok().map(|framed| framed.payload.to_vec());
    match handshake::decode(&framed?) {
        Ok(Wish::Model(model)) => {
            assert!(!model.is_empty(), "an empty name is no wish");
            Some(handshake::failure(&model))
        }
        Ok(Wish::Protocols) | Err(_) => None,
    }
}

/// A message at the CLI socket; answers the bytes of a refusal, where there is one.
///
/// # Panics
/// When what is made of it breaks the contract.
pub fn command_message(frames: &[Vec<u8>]) -> Option<Vec<u8>> {
    let framed = split(&borrowed(frames), frames.len()).ok().map(|framed| framed.payload.to_vec());
    let refusal = match command::parse(&framed?) {
        Ok(Envelope { correlation_id, command }) => {
            assert_ne!(correlation_id.as_deref(), Some(""), "an empty id counts as none");
            let refusal = command.err()?;
            reply::failure("", &refusal.to_string())
        }
        Err(error) => reply::malformed(&error.to_string()),
    };
    let read: serde_json::Result<serde_json::Value> = serde_json::from_slice(&refusal);
    let says_no = read.is_ok_and(|reply| reply["success"] == false && reply["error"].is_string());
    assert!(says_no, "a refusal is a failure in JSON");
    assert!(refusal.len() <= REFUSAL_BYTES, "a refusal of {} bytes", refusal.len());
    Some(refusal)
}

fn borrowed(frames: &[Vec<u8>]) -> Vec<&[u8]> {
    frames.iter().map(Vec::as_slice).collect()
}
