//! The protocol between a client and a backend: frames in, frames out, no socket.
//!
//! ```text
//! unknown ──[Request]──▶ greeted ──[index][protobuf]──▶ greeted     [index][protobuf] back, or nothing
//!    └──── anything else ──▶ unknown                                [0x00] back
//! ```
//! A greeted client that sends one frame alone greets again (it restarted under the same identity). A REQ socket
//! puts an empty delimiter first; it is answered with one.

use prost::Message;

use super::l4m::{self, Outcome};
use super::peers::PeerTable;
use super::serve::Answerer;
use crate::limits;
use crate::protocols::{handshake, ping};

/// The answer to a handshake that is none. A client that gets it has to greet (again).
pub const BAD_HANDSHAKE: &[u8] = &[0x00];

/// What the embedded backend speaks, in the order of its handshake.
pub fn default_protocols() -> Vec<String> {
    vec!["l4m".to_owned(), "ping".to_owned()]
}

/// Every client of one backend.
#[derive(Debug)]
pub struct Session {
    protocols: Vec<String>,
    model_name: String,
    peers: PeerTable,
    refused: u64,
}

impl Session {
    /// A session that offers these protocols; only `ping` and `l4m` are answered.
    pub fn new(protocols: Vec<String>, model_name: &str) -> Self {
        Self {
            protocols,
            model_name: model_name.to_owned(),
            peers: PeerTable::new(limits::BACKEND_PEERS),
            refused: 0,
        }
    }

    /// Messages that got no answer because they were none of the protocol.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether this client has done its handshake.
    pub fn is_greeted(&mut self, identity: &[u8]) -> bool {
        self.peers.is_greeted(identity)
    }

    fn reply(&mut self, identity: &[u8], frames: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        let greeted = self.peers.is_greeted(identity);
        match frames {
            [request] => Some(vec![self.greet(identity, request)]),
            _ if !greeted => {
                self.refuse("first message is no handshake");
                Some(vec![BAD_HANDSHAKE.to_vec()])
            }
            [index, payload] => self.dispatch(index, payload),
            _ => {
                self.refuse("wrong number of frames");
                None
            }
        }
    }

    fn greet(&mut self, identity: &[u8], request: &[u8]) -> Vec<u8> {
        if handshake::Request::decode(request).is_err() {
            self.refuse("handshake is no protobuf");
            return BAD_HANDSHAKE.to_vec();
        }
        self.peers.greet(identity);
        let response =
            handshake::Response { protocols: self.protocols.clone(), ..Default::default() };
        response.encode_to_vec()
    }

    fn dispatch(&mut self, index: &[u8], payload: &[u8]) -> Option<Vec<Vec<u8>>> {
        let [position] = index else {
            self.refuse("protocol index is not one byte");
            return None;
        };
        let outcome = match self.protocols.get(usize::from(*position)).map(String::as_str) {
            Some("ping") => pong(payload),
            Some("l4m") => l4m::answer(&self.model_name, payload),
            Some(_) => Outcome::Taken,
            None => Outcome::Refused("protocol index was not offered"),
        };
        match outcome {
            Outcome::Answer(answer) => Some(vec![vec![*position], answer]),
            Outcome::Taken => None,
            Outcome::Refused(reason) => {
                self.refuse(reason);
                None
            }
        }
    }

    /// Counts, and logs the first and then every power of two: a flood of nonsense must not become a flood of lines.
    fn refuse(&mut self, reason: &'static str) {
        self.refused += 1;
        if self.refused.is_power_of_two() {
            tracing::warn!(reason, refused = self.refused, "message refused");
        }
    }
}

impl Answerer for Session {
    fn answer(&mut self, identity: &[u8], frames: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        // an empty frame followed by others can only be a delimiter: a protocol index has one byte
        match frames {
            [delimiter, rest @ ..] if delimiter.is_empty() && !rest.is_empty() => {
                let mut reply = self.reply(identity, rest)?;
                reply.insert(0, Vec::new());
                Some(reply)
            }
            frames => self.reply(identity, frames),
        }
    }
}

fn pong(payload: &[u8]) -> Outcome {
    match ping::Ping::decode(payload) {
        Ok(ping) => {
            let pong = ping::Pong {
                correlation_id: ping.correlation_id,
                message: format!("Pong:{}", ping.message),
            };
            Outcome::Answer(pong.encode_to_vec())
        }
        Err(_) => Outcome::Refused("not a ping"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PING: u8 = 1;

    fn session() -> Session {
        Session::new(default_protocols(), "m")
    }

    fn ping(id: u32) -> Vec<u8> {
        ping::Ping { correlation_id: id, message: "hello".into() }.encode_to_vec()
    }

    #[test]
    fn empty_request_is_a_valid_handshake() {
        let reply = session().answer(b"a", &[vec![]]).expect("answered");
        let response = handshake::Response::decode(&reply[0][..]).expect("a response");
        assert_eq!((reply.len(), response.protocols), (1, default_protocols()));
    }

    #[test]
    fn first_message_that_is_no_handshake_is_told_so_until_one_comes() {
        let mut session = session();
        assert_eq!(session.answer(b"a", &[vec![0xff]]), Some(vec![vec![0]]));
        assert_eq!(session.answer(b"a", &[vec![PING], ping(1)]), Some(vec![vec![0]]));
        assert!(session.answer(b"a", &[vec![]]).expect("answered")[0].len() > 1);
        assert!(session.answer(b"a", &[vec![PING], ping(1)]).is_some());
        assert_eq!(session.refused(), 2);
    }

    #[test]
    fn pong_carries_the_index_the_id_and_the_message_of_its_ping() {
        let mut session = session();
        session.answer(b"a", &[vec![]]);
        let reply = session.answer(b"a", &[vec![PING], ping(77)]).expect("answered");
        let pong = ping::Pong::decode(&reply[1][..]).expect("a pong");
        assert_eq!((&reply[0][..], pong.correlation_id), (&[PING][..], 77));
        assert_eq!(pong.message, "Pong:hello");
    }

    #[test]
    fn delimiter_of_a_req_is_echoed() {
        let mut session = session();
        let greeted = session.answer(b"a", &[vec![], vec![]]).expect("answered");
        assert!(greeted.len() == 2 && greeted[0].is_empty());
        let pong = session.answer(b"a", &[vec![], vec![PING], ping(1)]).expect("answered");
        assert!(pong.len() == 3 && pong[0].is_empty());
    }

    #[test]
    fn what_is_no_message_of_the_protocol_is_counted_and_not_answered() {
        let mut session = session();
        session.answer(b"a", &[vec![]]);
        for frames in [
            vec![vec![9], ping(1)],
            vec![vec![1, 1], ping(1)],
            vec![vec![PING], vec![0xff; 20]],
            vec![vec![PING], ping(1), vec![]],
            vec![],
        ] {
            assert_eq!(session.answer(b"a", &frames), None, "{frames:?}");
        }
        assert_eq!(session.refused(), 5);
        assert!(session.answer(b"a", &[vec![PING], ping(1)]).is_some(), "it goes on");
    }

    #[test]
    fn clients_are_greeted_each_for_itself_and_may_greet_again() {
        let mut session = session();
        session.answer(b"a", &[vec![]]);
        assert_eq!(session.answer(b"b", &[vec![PING], ping(1)]), Some(vec![vec![0]]));
        assert!(session.answer(b"a", &[vec![]]).expect("answered")[0].len() > 1);
    }

    proptest! {
        #[test]
        fn random_frames_never_panic_and_the_next_good_client_is_answered(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5),
            greeted in any::<bool>(),
        ) {
            let mut session = session();
            if greeted {
                session.answer(b"x", &[vec![]]);
            }
            session.answer(b"x", &frames);
            session.answer(b"good", &[vec![]]);
            prop_assert!(session.answer(b"good", &[vec![PING], ping(1)]).is_some());
        }
    }
}
