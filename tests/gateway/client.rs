//! Clients of the two sockets.

use std::time::Duration;

use prost::Message;
use serde_json::{Value, json};
use symphony::protocols::handshake::{Request, Response};

/// How long a reply may take before a test fails: far more than any honest one.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A client with one socket.
pub struct Client {
    pub socket: zmq::Socket,
    next_id: u64,
}

impl Client {
    /// A DEALER, as the Python client uses it.
    pub fn dealer(endpoint: &str) -> Self {
        Self::connect(zmq::DEALER, endpoint, |_| {})
    }

    /// A REQ, which sends an empty frame first and wants it back.
    pub fn req(endpoint: &str) -> Self {
        Self::connect(zmq::REQ, endpoint, |_| {})
    }

    /// Any socket, set up by `configure` before it connects.
    pub fn connect(
        kind: zmq::SocketType,
        endpoint: &str,
        configure: impl FnOnce(&zmq::Socket),
    ) -> Self {
        let socket = zmq::Context::new().socket(kind).expect("socket");
        socket.set_linger(0).expect("linger");
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32).expect("timeout");
        socket.set_sndtimeo(PATIENCE.as_millis() as i32).expect("timeout");
        configure(&socket);
        socket.connect(endpoint).expect("connect");
        Self { socket, next_id: 0 }
    }

    /// Sends a frame.
    pub fn send(&self, payload: impl AsRef<[u8]>) {
        self.socket.send(payload.as_ref(), 0).expect("send");
    }

    /// Waits for a message of one frame.
    pub fn receive(&self) -> Vec<u8> {
        let frames = self.socket.recv_multipart(0).expect("a reply");
        assert_eq!(frames.len(), 1, "one frame back: {frames:?}");
        frames.into_iter().next().expect("one")
    }

    /// Waits for a JSON reply.
    pub fn receive_json(&self) -> Value {
        serde_json::from_slice(&self.receive()).expect("json")
    }

    /// Sends a command without waiting; gives its correlation id.
    pub fn begin(&mut self, command: &str, params: Value) -> String {
        self.next_id += 1;
        let id = format!("request-{}", self.next_id);
        let request = json!({"command": command, "params": params, "correlation_id": id});
        self.send(request.to_string());
        id
    }

    /// Sends a command and waits for its reply.
    pub fn ask(&mut self, command: &str, params: Value) -> Value {
        let id = self.begin(command, params);
        let reply = self.receive_json();
        assert_eq!(reply["correlation_id"], id.as_str(), "{reply}");
        reply
    }

    /// The data of a command that succeeds.
    pub fn data(&mut self, command: &str, params: Value) -> Value {
        let mut reply = self.ask(command, params);
        assert_eq!(reply["success"], true, "{reply}");
        reply["data"].take()
    }

    /// The error text of a command that fails.
    pub fn error(&mut self, command: &str, params: Value) -> String {
        let reply = self.ask(command, params);
        assert_eq!(reply["success"], false, "{reply}");
        reply["error"].as_str().expect("a text").to_owned()
    }

    /// A handshake: `None` asks for the protocols alone.
    pub fn handshake(&self, model: Option<&str>) -> Response {
        self.send(Request { model: model.unwrap_or_default().into() }.encode_to_vec());
        Response::decode(&*self.receive()).expect("protobuf")
    }
}
