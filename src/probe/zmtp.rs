//! The little of ZMTP 3.0 (RFC 23) that one DEALER needs to talk to one backend: bytes in, messages out, no socket.
//!
//! Why not libzmq, as everywhere else: each of its sockets keeps message pipes in pages of 16 KiB. Measured with a
//! thousand connections, a DEALER held 33 KiB after its handshake and 101 KiB after 600 pings, which alone breaks the
//! memory bound of the whole service, and took two descriptors and 53 µs CPU time a ping. A backend watched through
//! this client costs 6 KiB with all that belongs to it, one descriptor and 23 µs a ping (`tests/probe_scale.rs`). It
//! also tells a refused connection from a silent backend, and has no edge-triggered descriptor to get wrong.
//!
//! ```text
//! greeting (64 bytes) ──▶ READY command ──▶ messages, each of frames [flags][size][body]
//! ```
//! Everything that comes in is bounded: a backend may be broken or hostile.

use crate::limits;

/// The greeting that is sent: ZMTP 3.0, no security mechanism.
pub const GREETING: [u8; 64] = {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    let mechanism = b"NULL";
    let mut i = 0;
    while i < mechanism.len() {
        greeting[12 + i] = mechanism[i];
        i += 1;
    }
    greeting
};

/// The READY command of a DEALER, as a whole frame.
pub const READY: &[u8] = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER";

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Why a peer is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZmtpError {
    /// What came does not begin as a ZeroMQ peer begins.
    #[error("the peer does not speak ZeroMQ")]
    NotZmtp,
    /// ZMTP 1 or 2 (libzmq before 4.0).
    #[error("the peer speaks ZMTP {0}, 3 is needed")]
    OldVersion(u8),
    /// The peer asks for a password or keys.
    #[error("the peer asks for the security mechanism {0:?}")]
    Mechanism(String),
    /// The peer refused the connection.
    #[error("the peer refused the connection: {0:?}")]
    Refused(String),
    /// Flags or commands that the protocol does not have here.
    #[error("the peer broke the protocol: {0}")]
    Broken(&'static str),
    /// More than any honest answer has.
    #[error(
        "the peer sent more than {} bytes or {} frames in one message",
        limits::PROBE_ANSWER_BYTES,
        limits::FRAME_PARTS
    )]
    TooMuch,
}

/// Something whole that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// The peer's greeting; now it may be sent [`READY`].
    Greeting,
    /// The peer is ready for messages.
    Ready,
    /// A message.
    Message(Vec<Vec<u8>>),
    /// A heartbeat; the frame to answer it with.
    Heartbeat(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Handshake,
    Traffic,
}

/// Takes the peer's bytes apart.
#[derive(Debug)]
pub struct Decoder {
    phase: Phase,
    buffer: Vec<u8>,
    frames: Vec<Vec<u8>>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { phase: Phase::Greeting, buffer: Vec::new(), frames: Vec::new() }
    }
}

impl Decoder {
    /// Takes bytes in, in whatever pieces they come. Call [`Decoder::next`] until it gives nothing.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole arrival, if there is one.
    ///
    /// # Errors
    /// [`ZmtpError`]; the connection is of no use then.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: it goes on after None")]
    pub fn next(&mut self) -> Result<Option<Arrival>, ZmtpError> {
        if self.phase == Phase::Greeting {
            return self.greeting();
        }
        while let Some((flags, body)) = self.frame()? {
            if let Some(arrival) = self.arrival(flags, body)? {
                return Ok(Some(arrival));
            }
        }
        Ok(None)
    }

    fn greeting(&mut self) -> Result<Option<Arrival>, ZmtpError> {
        // told early, so that a peer of another kind that sends little is not waited for
        let odd = |at: usize, want: u8| self.buffer.get(at).is_some_and(|byte| *byte != want);
        if odd(0, 0xff) || odd(9, 0x7f) {
            return Err(ZmtpError::NotZmtp);
        }
        if let Some(version) = self.buffer.get(10)
            && *version < 3
        {
            return Err(ZmtpError::OldVersion(*version));
        }
        if self.buffer.len() < GREETING.len() {
            return Ok(None);
        }
        let mechanism: Vec<u8> =
            self.buffer[12..32].iter().copied().take_while(|byte| *byte != 0).collect();
        if mechanism != b"NULL" {
            return Err(ZmtpError::Mechanism(String::from_utf8_lossy(&mechanism).into_owned()));
        }
        self.buffer.drain(..GREETING.len());
        self.phase = Phase::Handshake;
        Ok(Some(Arrival::Greeting))
    }

    /// One frame off the buffer: its flags and its body.
    fn frame(&mut self) -> Result<Option<(u8, Vec<u8>)>, ZmtpError> {
        let Some(flags) = self.buffer.first().copied() else { return Ok(None) };
        if flags & !(MORE | LONG | COMMAND) != 0 {
            return Err(ZmtpError::Broken("unknown flags"));
        }
        let (header, size) = if flags & LONG == 0 {
            let Some(size) = self.buffer.get(1) else { return Ok(None) };
            (2, usize::from(*size))
        } else {
            let Some(size) = self.buffer.get(1..9) else { return Ok(None) };
            let size = size.iter().fold(0u64, |size, byte| size << 8 | u64::from(*byte));
            (9, usize::try_from(size).unwrap_or(usize::MAX))
        };
        // before it is waited for, let alone kept
        if size > limits::PROBE_ANSWER_BYTES {
            return Err(ZmtpError::TooMuch);
        }
        if self.buffer.len() < header + size {
            return Ok(None);
        }
        let body = self.buffer[header..header + size].to_vec();
        self.buffer.drain(..header + size);
        if self.buffer.is_empty() {
            // a connection that idles between two pings holds no memory
            self.buffer = Vec::new();
        }
        Ok(Some((flags, body)))
    }

    fn arrival(&mut self, flags: u8, body: Vec<u8>) -> Result<Option<Arrival>, ZmtpError> {
        if flags & COMMAND != 0 {
            return self.command(&body);
        }
        if self.phase != Phase::Traffic {
            return Err(ZmtpError::Broken("a message before READY"));
        }
        self.frames.push(body);
        let bytes: usize = self.frames.iter().map(Vec::len).sum();
        if self.frames.len() > limits::FRAME_PARTS || bytes > limits::PROBE_ANSWER_BYTES {
            return Err(ZmtpError::TooMuch);
        }
        let whole = flags & MORE == 0;
        Ok(whole.then(|| Arrival::Message(std::mem::take(&mut self.frames))))
    }

    fn command(&mut self, body: &[u8]) -> Result<Option<Arrival>, ZmtpError> {
        let Some((length, rest)) = body.split_first() else {
            return Err(ZmtpError::Broken("a command without a name"));
        };
        let Some((name, data)) = rest.split_at_checked(usize::from(*length)) else {
            return Err(ZmtpError::Broken("a command shorter than its name"));
        };
        match (name, self.phase) {
            (b"READY", Phase::Handshake) => {
                self.phase = Phase::Traffic;
                Ok(Some(Arrival::Ready))
            }
            (b"ERROR", _) => {
                let reason = data.get(1..).unwrap_or_default();
                Err(ZmtpError::Refused(String::from_utf8_lossy(reason).into_owned()))
            }
            // [time to live, 2 bytes][context, at most 16 bytes]
            (b"PING", Phase::Traffic) => {
                let context = data.get(2..).unwrap_or_default();
                let context = &context[..context.len().min(16)];
                let mut body = b"\x04PONG".to_vec();
                body.extend_from_slice(context);
                Ok(Some(Arrival::Heartbeat(frame(COMMAND, &body))))
            }
            (_, Phase::Traffic) => Ok(None),
            _ => Err(ZmtpError::Broken("an unexpected command")),
        }
    }
}

/// A message as it goes over the wire.
pub fn encode_message(parts: &[&[u8]]) -> Vec<u8> {
    let last = parts.len().saturating_sub(1);
    let flagged = parts.iter().enumerate().map(|(i, part)| (if i < last { MORE } else { 0 }, part));
    flagged.flat_map(|(flags, part)| frame(flags, part)).collect()
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 9);
    match u8::try_from(body.len()) {
        Ok(size) => bytes.extend_from_slice(&[flags, size]),
        Err(_) => {
            bytes.push(flags | LONG);
            bytes.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connected() -> Decoder {
        let mut decoder = Decoder::default();
        decoder.feed(&GREETING);
        decoder.feed(READY);
        assert_eq!(decoder.next(), Ok(Some(Arrival::Greeting)));
        assert_eq!(decoder.next(), Ok(Some(Arrival::Ready)));
        decoder
    }

    #[test]
    fn ready_command_has_the_lengths_it_names() {
        assert_eq!(READY.len() - 2, usize::from(READY[1]));
    }

    #[test]
    fn messages_come_out_whole_whatever_pieces_they_come_in() {
        let long = vec![7; 300];
        let bytes = encode_message(&[&[1], &long]);
        for piece in [1, 2, 7, 100, 400] {
            let mut decoder = connected();
            let mut arrivals = Vec::new();
            for bytes in bytes.chunks(piece) {
                decoder.feed(bytes);
                arrivals.extend(decoder.next().expect("understood"));
            }
            assert_eq!(arrivals, [Arrival::Message(vec![vec![1], long.clone()])]);
            assert_eq!(decoder.buffer.capacity(), 0, "an idle connection holds nothing");
        }
    }

    #[test]
    fn peers_of_another_kind_are_told_apart_early() {
        let fed = |bytes: &[u8]| {
            let mut decoder = Decoder::default();
            decoder.feed(bytes);
            decoder.next()
        };
        assert_eq!(fed(b"HTTP/1.1 400"), Err(ZmtpError::NotZmtp));
        assert_eq!(fed(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1]), Err(ZmtpError::OldVersion(1)));
        let mut curve = GREETING;
        curve[12..17].copy_from_slice(b"CURVE");
        assert_eq!(fed(&curve), Err(ZmtpError::Mechanism("CURVE".into())));
        assert_eq!(fed(&GREETING[..63]), Ok(None));
    }

    #[test]
    fn endless_frames_and_endless_messages_are_refused_before_they_are_kept() {
        let mut decoder = connected();
        decoder.feed(&[LONG, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next(), Err(ZmtpError::TooMuch));

        let mut decoder = connected();
        decoder.feed(&[MORE, 0].repeat(limits::FRAME_PARTS + 1));
        assert_eq!(decoder.next(), Err(ZmtpError::TooMuch));

        let mut decoder = connected();
        let half = frame(MORE, &vec![0; limits::PROBE_ANSWER_BYTES / 2 + 1]);
        decoder.feed(&half);
        decoder.feed(&half);
        assert_eq!(decoder.next(), Err(ZmtpError::TooMuch));
    }

    #[test]
    fn refusal_and_heartbeat_are_understood() {
        let mut decoder = connected();
        decoder.feed(&frame(COMMAND, b"\x04PING\x00\x0acontext"));
        let answer = frame(COMMAND, b"\x04PONGcontext");
        assert_eq!(decoder.next(), Ok(Some(Arrival::Heartbeat(answer))));
        decoder.feed(&frame(COMMAND, b"\x05ERROR\x02no"));
        assert_eq!(decoder.next(), Err(ZmtpError::Refused("no".into())));
    }

    #[test]
    fn message_before_ready_breaks_the_protocol() {
        let mut decoder = Decoder::default();
        decoder.feed(&GREETING);
        decoder.feed(&encode_message(&[b"early"]));
        assert_eq!(decoder.next(), Ok(Some(Arrival::Greeting)));
        assert!(matches!(decoder.next(), Err(ZmtpError::Broken(_))));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_never_pile_up(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..50)
        ) {
            let mut decoder = connected();
            'fed: for piece in pieces {
                decoder.feed(&piece);
                loop {
                    match decoder.next() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'fed,
                    }
                }
                prop_assert!(decoder.buffer.len() <= limits::PROBE_ANSWER_BYTES + 9);
                prop_assert!(decoder.frames.len() <= limits::FRAME_PARTS);
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..8)
        ) {
            let mut decoder = connected();
            let borrowed: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            decoder.feed(&encode_message(&borrowed));
            prop_assert_eq!(decoder.next(), Ok(Some(Arrival::Message(parts))));
        }
    }
}
