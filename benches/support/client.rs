//! A client that asks as fast as it can.

use std::time::Duration;

use serde_json::{Value, json};

/// How long a reply may take before the benchmark fails: a thousand models load in less.
const PATIENCE: Duration = Duration::from_secs(120);

/// `status` as the bytes that are sent.
pub const STATUS: &[u8] =
    br#"{"command":"status","params":{},"correlation_id":"00000000-0000-4000-8000-000000000000"}"#;

/// A DEALER with a context of its own, as a client process has.
pub struct Client {
    pub socket: zmq::Socket,
    reply: zmq::Message,
}

impl Client {
    /// Connects; the service may come later.
    pub fn connect(endpoint: &str) -> Self {
        let socket = zmq::Context::new().socket(zmq::DEALER).expect("socket");
        let patience = i32::try_from(PATIENCE.as_millis()).expect("fits");
        socket.set_linger(0).expect("linger");
        socket.set_rcvtimeo(patience).expect("limit");
        socket.set_sndtimeo(patience).expect("limit");
        socket.connect(endpoint).expect("connected");
        Self { socket, reply: zmq::Message::new() }
    }

    /// Sends a request.
    pub fn send(&self, request: &[u8]) {
        self.socket.send(request, 0).expect("sent");
    }

    /// The next reply.
    pub fn receive(&mut self) -> &[u8] {
        self.socket.recv(&mut self.reply, 0).expect("a reply in time");
        &self.reply
    }

    /// Whether a reply lay ready; it is thrown away.
    pub fn drop_reply(&mut self) -> bool {
        self.socket.recv(&mut self.reply, zmq::DONTWAIT).is_ok()
    }

    /// Asks, and takes the answer.
    pub fn ask(&mut self, request: &[u8]) -> &[u8] {
        self.send(request);
        self.receive()
    }

    /// Loads models, all at once, and waits until each is ready.
    pub fn load(&mut self, models: &[String]) {
        for model in models {
            let params = json!({ "model_name": model, "wait": true });
            let request =
                json!({ "command": "load-model", "params": params, "correlation_id": model });
            self.send(request.to_string().as_bytes());
        }
        for _ in models {
            let reply: Value = serde_json::from_slice(self.receive()).expect("json");
            assert_eq!(reply["data"]["state"], "ready", "{reply}");
        }
    }
}
