//! What the frames of a message mean, after the client's identity was taken off. Pure.

use std::ops::Deref;

/// A message with a count of frames that the contract does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} frames and no empty delimiter first, one frame was expected")]
pub(super) struct WrongFrames(pub(super) usize);

/// A request as it stands in its frames.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Framed<'a> {
    /// Whether it came behind an empty delimiter, as from a REQ socket.
    pub(super) delimiter: bool,
    /// The request itself.
    pub(super) payload: &'a [u8],
}

/// Finds the request: one frame, or one behind an empty delimiter. `count` is the number of frames that the message
/// had; of endless ones not all were kept.
///
/// # Errors
/// [`WrongFrames`] for everything else.
pub(super) fn split<F: Deref<Target = [u8]>>(
    frames: &[F],
    count: usize,
) -> Result<Framed<'_>, WrongFrames> {
    match frames {
        [payload] if count == 1 => Ok(Framed { delimiter: false, payload }),
        [delimiter, payload] if count == 2 && delimiter.is_empty() => {
            Ok(Framed { delimiter: true, payload })
        }
        _ => Err(WrongFrames(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_of<'a>(frames: &'a [&'a [u8]]) -> Result<Framed<'a>, WrongFrames> {
        split(frames, frames.len())
    }

    #[test]
    fn a_dealer_sends_one_frame_and_a_req_two() {
        assert_eq!(split_of(&[b"x"]), Ok(Framed { delimiter: false, payload: b"x" }));
        assert_eq!(split_of(&[b"", b"x"]), Ok(Framed { delimiter: true, payload: b"x" }));
        // an empty handshake is valid, so an empty frame alone is a payload
        assert_eq!(split_of(&[b""]), Ok(Framed { delimiter: false, payload: b"" }));
        assert_eq!(split_of(&[b"", b""]), Ok(Framed { delimiter: true, payload: b"" }));
    }

    #[test]
    fn everything_else_is_refused() {
        assert_eq!(split_of(&[]), Err(WrongFrames(0)));
        assert_eq!(split_of(&[b"x", b"y"]), Err(WrongFrames(2)));
        assert_eq!(split_of(&[b"", b"x", b"y"]), Err(WrongFrames(3)));
        let kept: [&[u8]; 1] = [b"x"];
        assert_eq!(split(&kept, 9), Err(WrongFrames(9)), "not all frames were kept");
    }
}
