//! A client of a backend itself, as an inference engine has one: handshake, then numbered protocols.

use std::time::Duration;

use prost::Message;
use zmq::{Context, DEALER, DONTWAIT, POLLIN, Socket};

use super::ClientError;
use crate::clock::{Clock, Moment};
use crate::limits;
use crate::protocols::handshake::{Request, Response};
use crate::protocols::ping::{Ping, Pong};

/// One DEALER, connected once. When the backend dies and comes back under its endpoint, ZeroMQ connects it again.
pub struct BackendClient {
    // declared before the context: a context ends only when its sockets are closed
    socket: Socket,
    _context: Context,
    endpoint: String,
    clock: Clock,
    ping_index: Option<u8>,
    last_id: u32,
}

impl BackendClient {
    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`].
    pub fn connect(endpoint: &str) -> Result<Self, ClientError> {
        let context = Context::new();
        let open = || -> Result<Socket, zmq::Error> {
            let socket = context.socket(DEALER)?;
            socket.set_linger(0)?;
            socket.set_maxmsgsize(limits::FRAME_BYTES)?;
            socket.set_reconnect_ivl(RECONNECT_MS)?;
            socket.connect(endpoint)?;
            Ok(socket)
        };
        let socket = open().map_err(|error| unreachable(endpoint, error))?;
        Ok(Self {
            socket,
            _context: context,
            endpoint: endpoint.to_owned(),
            clock: Clock::start(),
            ping_index: None,
            last_id: 0,
        })
    }

    /// Greets the backend; again and again until it answers, since what is sent while there is none gets lost.
    /// Answers the protocols.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] after `patience`.
    pub fn greet(&mut self, patience: Duration) -> Result<Vec<String>, ClientError> {
        let deadline = self.clock.now() + patience;
        loop {
            self.send(&[&Request::default().encode_to_vec()])?;
            let turn = deadline.min(self.clock.now() + GREET_AGAIN);
            while let Some(frames) = self.receive(turn)? {
                if let [frame] = frames.as_slice()
                    && let Ok(response) = Response::decode(frame.as_slice())
                    && !response.protocols.is_empty()
                {
                    let at = response.protocols.iter().position(|name| name == "ping");
                    self.ping_index = at.and_then(|at| u8::try_from(at).ok());
                    return Ok(response.protocols);
                }
            }
            if self.clock.now() >= deadline {
                return Err(ClientError::Timeout);
            }
        }
    }

    /// Sends one ping and waits for its pong. Answers the words of the pong and the round trip.
    ///
    /// # Errors
    /// [`ClientError::Timeout`], [`ClientError::Malformed`] when the backend offers no `ping`.
    pub fn ping(
        &mut self,
        words: &str,
        patience: Duration,
    ) -> Result<(String, Duration), ClientError> {
        let index = self
            .ping_index
            .ok_or_else(|| ClientError::Malformed("the backend offers no ping".to_owned()))?;
        self.last_id = self.last_id.wrapping_add(1);
        let ping = Ping { correlation_id: self.last_id, message: words.to_owned() };
        let sent = self.clock.now();
        self.send(&[&[index], &ping.encode_to_vec()])?;
        let deadline = sent + patience;
        while let Some(frames) = self.receive(deadline)? {
            if let [tag, frame] = frames.as_slice()
                && tag == &[index]
                && let Ok(pong) = Pong::decode(frame.as_slice())
                && pong.correlation_id == self.last_id
            {
                return Ok((pong.message, self.clock.now() - sent));
            }
        }
        Err(ClientError::Timeout)
    }

    fn send(&self, frames: &[&[u8]]) -> Result<(), ClientError> {
        match self.socket.send_multipart(frames, DONTWAIT) {
            // nobody there and the queue is full: as good as lost, and asked again by the caller
            Ok(()) | Err(zmq::Error::EAGAIN) => Ok(()),
            Err(error) => Err(unreachable(&self.endpoint, error)),
        }
    }

    fn receive(&self, deadline: Moment) -> Result<Option<Vec<Vec<u8>>>, ClientError> {
        loop {
            let left = deadline.since(self.clock.now());
            let left_ms = i64::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i64::MAX);
            match self.socket.poll(POLLIN, left_ms) {
                Ok(0) | Err(zmq::Error::EINTR) if left.is_zero() => return Ok(None),
                Ok(0) | Err(zmq::Error::EINTR) => {}
                Ok(_) => {
                    let frames = self.socket.recv_multipart(DONTWAIT);
                    return frames.map(Some).map_err(|error| unreachable(&self.endpoint, error));
                }
                Err(error) => return Err(unreachable(&self.endpoint, error)),
            }
        }
    }
}

/// Milliseconds between two attempts of ZeroMQ to connect again.
const RECONNECT_MS: i32 = 5;
/// How long an answer to a greeting is waited for before it is sent again.
const GREET_AGAIN: Duration = Duration::from_millis(10);

fn unreachable(endpoint: &str, error: zmq::Error) -> ClientError {
    ClientError::Unreachable { endpoint: endpoint.to_owned(), reason: error.message().to_owned() }
}
