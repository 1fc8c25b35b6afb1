//! A management service that answers by script: a ROUTER that speaks the contract's frames and nothing else.

#![expect(clippy::expect_used, reason = "a test ends where what must hold does not")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// What the service answers to a request.
pub enum Reply {
    /// Success with this data, sent exactly as it is written here.
    Data(String),
    /// Failure.
    Error(&'static str),
    /// This frame, whatever it is.
    Frame(Vec<u8>),
    /// Nothing.
    Silence,
}

impl Reply {
    /// Success with this data.
    pub fn data(value: Value) -> Self {
        Self::Data(value.to_string())
    }

    fn frame(self, id: &str) -> Option<Vec<u8>> {
        let id = Value::from(id);
        match self {
            Self::Data(data) => {
                Some(format!(r#"{{"correlation_id":{id},"success":true,"data":{data}}}"#).into())
            }
            Self::Error(error) => {
                let error = Value::from(error);
                Some(format!(r#"{{"correlation_id":{id},"success":false,"error":{error}}}"#).into())
            }
            Self::Frame(frame) => Some(frame),
            Self::Silence => None,
        }
    }
}

/// A running scripted service; it ends when it is dropped.
pub struct Service {
    folder: tempfile::TempDir,
    requests: Arc<Mutex<Vec<Value>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// A service that answers each request by `script`.
    pub fn start(script: impl FnMut(&Value) -> Reply + Send + 'static) -> Self {
        Self::with_handshake(script, |_| None)
    }

    /// The same with an answer for the client socket.
    pub fn with_handshake(
        mut script: impl FnMut(&Value) -> Reply + Send + 'static,
        handshake: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let context = zmq::Context::new();
        let bind = |name: &str| {
            let socket = context.socket(zmq::ROUTER).expect("socket");
            socket.set_linger(0).expect("set");
            socket.bind(&format!("ipc://{}", folder.path().join(name).display())).expect("bound");
            socket
        };
        let (cli, client) = (bind("cli"), bind("client"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, ended) = (Arc::clone(&requests), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let mut items = [cli.as_poll_item(zmq::POLLIN), client.as_poll_item(zmq::POLLIN)];
                zmq::poll(&mut items, 10).expect("polled");
                let (cli_asked, client_asked) = (items[0].is_readable(), items[1].is_readable());
                if cli_asked {
                    let mut parts = cli.recv_multipart(0).expect("received");
                    assert_eq!(parts.len(), 2, "a DEALER sends one frame");
                    let request: Value = serde_json::from_slice(&parts[1]).expect("JSON");
                    let id = request["correlation_id"].as_str().expect("an id").to_owned();
                    let reply = script(&request);
                    log.lock().expect("unpoisoned").push(request);
                    if let Some(frame) = reply.frame(&id) {
                        parts[1] = frame;
                        cli.send_multipart(parts, 0).expect("sent");
                    }
                }
                if client_asked {
                    let mut parts = client.recv_multipart(0).expect("received");
                    if let Some(frame) = handshake(&parts[1]) {
                        parts[1] = frame;
                        client.send_multipart(parts, 0).expect("sent");
                    }
                }
            }
        });
        Self { folder, requests, stop, thread: Some(thread) }
    }

    /// The management endpoint.
    pub fn endpoint(&self) -> String {
        format!("ipc://{}", self.folder.path().join("cli").display())
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Value> {
        self.requests.lock().expect("unpoisoned").clone()
    }

    /// The parameters of the only request of this command.
    pub fn params_of(&self, command: &str) -> Value {
        let requests = self.requests();
        let mut asked = requests.iter().filter(|request| request["command"] == command);
        let only = asked.next().expect("it was asked");
        assert!(asked.next().is_none(), "asked twice: {requests:?}");
        only["params"].clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            if !std::thread::panicking() {
                outcome.expect("the service did not panic");
            }
        }
    }
}

/// A service that answers everything with this data.
pub fn answering(data: Value) -> Service {
    Service::start(move |_| Reply::data(data.clone()))
}

/// A service that refuses everything with these words.
pub fn refusing(error: &'static str) -> Service {
    Service::start(move |_| Reply::Error(error))
}

/// A service that answers nothing.
pub fn silent() -> Service {
    Service::start(|_| Reply::Silence)
}

/// The data of a `status` with these models.
pub fn status_with(models: &Value) -> Value {
    json!({
        "service_status": "running", "is_running": true, "client_endpoint": "ipc:///tmp/i",
        "cli_endpoint": "ipc:///tmp/c", "model_count": 1, "models": models
    })
}

/// A model in this state.
pub fn phi(state: &str) -> Value {
    json!({
        "name": "phi", "model_name": "phi", "type": "t", "model_type": "t", "state": state,
        "endpoint": "ipc:///tmp/m", "uptime": 3661, "restarts": 2, "generation": 3, "is_alive": true
    })
}

/// An event of an instance.
pub fn event(seq: u64, kind: &str) -> Value {
    json!({"seq": seq, "at": 0.5, "since_start_ms": 1.0, "subject": "phi-1", "generation": 2,
           "kind": kind, "cause": "exit 3"})
}
