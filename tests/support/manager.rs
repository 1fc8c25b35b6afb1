//! A client of the management socket that keeps its connection.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::expect_used, reason = "tests only")]

use std::cell::Cell;

use serde_json::{Value, json};

use crate::backend::LIMIT;

/// A DEALER on the management socket.
pub struct Manager {
    socket: zmq::Socket,
    asked: Cell<u64>,
}

impl Manager {
    /// Connects; the service may come later.
    pub fn connect(endpoint: &str) -> Self {
        let socket = zmq::Context::new().socket(zmq::DEALER).expect("socket");
        socket.set_linger(0).expect("linger");
        socket.set_reconnect_ivl(5).expect("interval");
        socket.set_rcvtimeo(i32::try_from(LIMIT.as_millis()).expect("fits")).expect("limit");
        socket.connect(endpoint).expect("connected");
        Self { socket, asked: Cell::new(0) }
    }

    /// Sends a request; answers its id.
    pub fn send(&self, command: &str, params: &Value) -> String {
        self.asked.set(self.asked.get() + 1);
        let id = format!("request-{}", self.asked.get());
        let request = json!({ "command": command, "params": params, "correlation_id": id });
        self.socket.send(&request.to_string(), 0).expect("sent");
        id
    }

    /// Receives the next reply.
    pub fn receive(&self) -> Value {
        let frames = self.socket.recv_multipart(0).expect("a reply in time");
        assert_eq!(frames.len(), 1, "one frame each way");
        serde_json::from_slice(&frames[0]).expect("JSON")
    }

    /// Receives the outcome of the one request under way.
    pub fn outcome(&self) -> Result<Value, String> {
        outcome_of(&self.receive())
    }

    /// Asks and waits for the outcome.
    pub fn ask(&self, command: &str, params: Value) -> Result<Value, String> {
        let id = self.send(command, &params);
        let reply = self.receive();
        assert_eq!(reply["correlation_id"], id, "the reply to this request: {reply}");
        outcome_of(&reply)
    }

    /// Asks again and again, as a client does whose request was lost with the gateway that held it.
    pub fn ask_until_answered(&self, command: &str, params: &Value) -> Value {
        let asked = crate::backend::patiently(|| {
            let id = self.send(command, params);
            let mut answer = None;
            // replies to requests before this one may come late
            while answer.is_none() && self.socket.poll(zmq::POLLIN, 500).expect("polled") > 0 {
                let reply = self.receive();
                answer = (reply["correlation_id"] == id).then_some(reply);
            }
            answer.filter(|reply| reply["success"] == true)
        });
        let reply = asked.unwrap_or_else(|| panic!("{command} is never answered"));
        reply["data"].clone()
    }

    /// Whether a reply has come that nobody asked for.
    pub fn has_more(&self) -> bool {
        self.socket.poll(zmq::POLLIN, 0).expect("polled") > 0
    }
}

fn outcome_of(reply: &Value) -> Result<Value, String> {
    match reply["success"].as_bool() {
        Some(true) => Ok(reply["data"].clone()),
        _ => Err(reply["error"].as_str().expect("an error's text").to_owned()),
    }
}
