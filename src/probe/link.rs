//! A connection to a backend over ZeroMQ: handshake, then pings, kept from the first to the last.

use std::io;
use std::path::Path;

use prost::Message;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::zmtp::{self, Arrival, Decoder, ZmtpError};
use crate::limits;
use crate::protocols::{handshake, ping};

/// Bytes taken from the socket at one time: a handshake's answer fits.
const READ_BYTES: usize = 4096;

/// Why a backend could not be asked, or gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Probing knows addresses of socket files alone.
    #[error("endpoint {0:?} is not of the form ipc://PATH")]
    BadEndpoint(String),
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("the connection broke: {0}")]
    Broke(#[source] io::Error),
    #[error("the backend closed the connection")]
    Closed,
    #[error(transparent)]
    Protocol(#[from] ZmtpError),
    #[error("the handshake was answered with no handshake response")]
    BadHandshake,
    #[error("the backend asked for a handshake again and again")]
    Forgetful,
    #[error("the backend sent {} bytes without an answer", limits::PROBE_DRAIN_BYTES)]
    Flood,
}

impl LinkError {
    /// Whether another attempt fails the same way: the address itself is at fault (no path, or one too long).
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::BadEndpoint(_) => true,
            Self::Connect(error) => error.kind() == io::ErrorKind::InvalidInput,
            _ => false,
        }
    }
}

/// A greeted connection.
///
/// Waiting for an answer may be given up at any await: what has come so far stays in the decoder.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    decoder: Decoder,
    protocols: Vec<String>,
    last_id: u32,
    /// A frame was sent in part: nothing more may be sent.
    torn: bool,
    /// Bytes that came since the last question.
    drained: usize,
}

impl Link {
    /// Connects and asks for the handshake.
    pub(super) async fn open(endpoint: &str) -> Result<Self, LinkError> {
        let path = socket_path(endpoint)?;
        let stream = UnixStream::connect(path).await.map_err(LinkError::Connect)?;
        let mut link = Self {
            stream,
            decoder: Decoder::default(),
            protocols: Vec::new(),
            last_id: 0,
            torn: false,
            drained: 0,
        };
        link.send(&zmtp::GREETING).await?;
        link.expect(&Arrival::Greeting).await?;
        link.send(zmtp::READY).await?;
        link.expect(&Arrival::Ready).await?;
        link.greet().await?;
        Ok(link)
    }

    /// What the backend speaks, in the order of its handshake.
    pub(super) fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// Whether it may be asked again.
    pub(super) fn is_whole(&self) -> bool {
        !self.torn
    }

    /// Where `ping` stands in the handshake; `None` where it is not offered.
    pub(super) fn ping_index(&self) -> Option<u8> {
        let position = self.protocols.iter().position(|protocol| protocol == "ping")?;
        u8::try_from(position).ok()
    }

    /// Sends a ping and waits for the pong to it; a late pong to an earlier ping is passed over.
    pub(super) async fn ping(&mut self, index: u8) -> Result<(), LinkError> {
        self.drained = 0;
        let mut index = index;
        let mut greeted_again = false;
        let mut id = self.send_ping(index).await?;
        loop {
            let message = self.message().await?;
            if is_pong(&message, index, id) {
                return Ok(());
            }
            // the backend restarted behind the same socket, or forgot an old client
            if message.len() == 1 && message[0] == [0x00] {
                if greeted_again {
                    return Err(LinkError::Forgetful);
                }
                greeted_again = true;
                self.greet().await?;
                index = self.ping_index().ok_or(LinkError::BadHandshake)?;
                id = self.send_ping(index).await?;
            }
        }
    }

    async fn send_ping(&mut self, index: u8) -> Result<u32, LinkError> {
        self.last_id = self.last_id.wrapping_add(1);
        let ping = ping::Ping { correlation_id: self.last_id, message: "symphony".to_owned() };
        let bytes = zmtp::encode_message(&[&[index], &ping.encode_to_vec()]);
        self.send(&bytes).await?;
        Ok(self.last_id)
    }

    async fn greet(&mut self) -> Result<(), LinkError> {
        let request = handshake::Request::default().encode_to_vec();
        self.send(&zmtp::encode_message(&[&request])).await?;
        loop {
            match &self.message().await?[..] {
                [response] => {
                    self.protocols = offered(response).ok_or(LinkError::BadHandshake)?;
                    return Ok(());
                }
                // a late pong
                [_, _] => {}
                _ => return Err(LinkError::BadHandshake),
            }
        }
    }

    async fn expect(&mut self, expected: &Arrival) -> Result<(), LinkError> {
        if self.arrival().await? == *expected {
            return Ok(());
        }
        Err(ZmtpError::Broken("out of order").into())
    }

    async fn message(&mut self) -> Result<Vec<Vec<u8>>, LinkError> {
        loop {
            match self.arrival().await? {
                Arrival::Message(frames) => return Ok(frames),
                Arrival::Heartbeat(answer) => self.send(&answer).await?,
                _ => return Err(ZmtpError::Broken("out of order").into()),
            }
        }
    }

    async fn arrival(&mut self) -> Result<Arrival, LinkError> {
        loop {
            if let Some(arrival) = self.decoder.next()? {
                return Ok(arrival);
            }
            if self.drained > limits::PROBE_DRAIN_BYTES {
                return Err(LinkError::Flood);
            }
            self.stream.readable().await.map_err(broken)?;
            let mut bytes = [0; READ_BYTES];
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(count) => {
                    self.drained += count;
                    self.decoder.feed(&bytes[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }

    async fn send(&mut self, mut bytes: &[u8]) -> Result<(), LinkError> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.ready(Interest::WRITABLE).await.map_err(broken)?;
                }
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }
}

fn broken(error: io::Error) -> LinkError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => LinkError::Closed,
        _ => LinkError::Broke(error),
    }
}

fn socket_path(endpoint: &str) -> Result<&Path, LinkError> {
    endpoint
        .strip_prefix("ipc://")
        .filter(|path| !path.is_empty())
        .map(Path::new)
        .ok_or_else(|| LinkError::BadEndpoint(endpoint.to_owned()))
}

/// The protocols of a handshake response; `None` where it is none, or offers what no honest backend does.
fn offered(response: &[u8]) -> Option<Vec<String>> {
    let response = handshake::Response::decode(response).ok()?;
    let fits = response.protocols.len() <= limits::PROTOCOLS
        && response.protocols.iter().all(|name| name.len() <= limits::PROTOCOL_NAME_BYTES);
    fits.then_some(response.protocols)
}

fn is_pong(message: &[Vec<u8>], index: u8, id: u32) -> bool {
    match message {
        [first, payload] if *first == [index] => {
            ping::Pong::decode(&payload[..]).is_ok_and(|pong| pong.correlation_id == id)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_counts_for_its_own_ping_alone() {
        let pong = ping::Pong { correlation_id: 4, message: "Pong:symphony".into() };
        let message = vec![vec![1], pong.encode_to_vec()];
        assert!(is_pong(&message, 1, 4));
        assert!(!is_pong(&message, 1, 5), "a late one");
        assert!(!is_pong(&message, 0, 4), "of another protocol");
        assert!(!is_pong(&[vec![1], vec![0xff; 5]], 1, 4));
        assert!(!is_pong(&[vec![1]], 1, 4));
    }

    #[test]
    fn offers_beyond_an_index_of_one_byte_are_no_handshake() {
        let response = |count: usize, name: &str| {
            let protocols = vec![name.to_owned(); count];
            handshake::Response { protocols, ..Default::default() }.encode_to_vec()
        };
        assert_eq!(offered(&response(2, "ping")), Some(vec!["ping".to_owned(); 2]));
        assert_eq!(offered(&[]), Some(vec![]), "a backend that offers nothing is one");
        assert_eq!(offered(&response(limits::PROTOCOLS + 1, "p")), None);
        assert_eq!(offered(&response(1, &"p".repeat(limits::PROTOCOL_NAME_BYTES + 1))), None);
        assert_eq!(offered(&[0]), None);
    }
}
