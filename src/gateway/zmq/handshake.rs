//! Handshake frames and their protobuf. Pure.

use prost::Message;

use crate::protocols::handshake::{Request, Response};
use crate::registry::messages::InstanceView;

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The protocols that are spoken at all.
    Protocols,
    /// A live instance of this model.
    Model(String),
}

/// Reads a request; 0 bytes are a valid one, unknown fields are ignored.
///
/// # Errors
/// When the bytes are no protobuf.
pub(super) fn decode(payload: &[u8]) -> Result<Wish, prost::DecodeError> {
    if payload.is_empty() {
        return Ok(Wish::Protocols);
    }
    let request = Request::decode(payload)?;
    Ok(if request.model.is_empty() { Wish::Protocols } else { Wish::Model(request.model) })
}

/// The answer without a wish.
pub(super) fn protocols(protocols: &[String]) -> Response {
    Response { protocols: protocols.to_vec(), ..Response::default() }
}

/// The answer that leads to an instance.
pub(super) fn instance(view: &InstanceView) -> Response {
    Response {
        protocols: view.protocols.clone(),
        model_endpoint: view.endpoint.clone(),
        error: String::new(),
        instance: view.instance.to_string(),
        generation: view.generation.0,
        state: view.state.as_str().to_owned(),
    }
}

/// The answer that tells why there is none.
pub(super) fn failure(text: &str) -> Vec<u8> {
    encode(&Response { error: text.to_owned(), ..Response::default() })
}

/// The bytes of an answer.
pub(super) fn encode(response: &Response) -> Vec<u8> {
    response.encode_to_vec()
}

#[cfg(test)]
pub(super) fn decode_response(payload: &[u8]) -> Response {
    Response::decode(payload).expect("a response")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_message_and_unknown_fields_ask_for_protocols() {
        assert_eq!(decode(b""), Ok(Wish::Protocols));
        // field 15, a varint, and field 16, bytes
        assert_eq!(decode(&[0x78, 0x01, 0x82, 0x01, 0x01, b'x']), Ok(Wish::Protocols));
    }

    #[test]
    fn a_model_may_be_named() {
        let bytes = Request { model: "phi".into() }.encode_to_vec();
        assert_eq!(decode(&bytes), Ok(Wish::Model("phi".into())));
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&[0xff_u8][..], &[0x0a, 0x05, b'x'], &[0x0a, 0x01, 0xff], b"{\"command\":1}"]
        {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn without_a_ready_backend_the_response_is_empty() {
        assert_eq!(encode(&protocols(&[])), b"");
    }
}
