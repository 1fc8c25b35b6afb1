//! Clients that ask without pause, from threads of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use symphony::clock::Clock;

/// How long a client waits before it asks again, as those do whose request was lost with a core.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// How a client holds its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// One for all questions.
    Kept,
    /// One for each question, as the command line.
    Fresh,
}

/// A client that asks for `status` until it is told to end.
pub struct Asker {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    thread: JoinHandle<Duration>,
}

impl Asker {
    pub fn start(endpoint: &str, connection: Connection) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let (endpoint, ends, counted) = (endpoint.to_owned(), over.clone(), answers.clone());
        let thread = std::thread::spawn(move || ask(&endpoint, connection, &ends, &counted));
        Self { over, answers, thread }
    }

    /// Answers so far.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Acquire)
    }

    /// Ends it; the longest time between two of its answers.
    pub fn end(self) -> Duration {
        self.over.store(true, Ordering::Release);
        self.thread.join().expect("every answer was right")
    }
}

fn ask(endpoint: &str, connection: Connection, over: &AtomicBool, answers: &AtomicU64) -> Duration {
    let context = zmq::Context::new();
    let mut socket = connect(&context, endpoint);
    let clock = Clock::start();
    let mut last = clock.now();
    let mut longest = Duration::ZERO;
    let mut asked = 0;
    while !over.load(Ordering::Acquire) {
        if connection == Connection::Fresh {
            socket = connect(&context, endpoint);
        }
        asked += 1;
        let id = format!("question-{asked}");
        let request = json!({"command": "status", "params": {}, "correlation_id": id});
        // fails only where the queue to a service that is away is full: asked again
        let _ = socket.send(&request.to_string(), zmq::DONTWAIT);
        if let Some(reply) = answer(&socket, &id) {
            assert_eq!(reply["success"], true, "{reply}");
            longest = longest.max(clock.now().since(last));
            last = clock.now();
            answers.fetch_add(1, Ordering::AcqRel);
        }
        std::thread::park_timeout(PAUSE);
    }
    longest
}

fn connect(context: &zmq::Context, endpoint: &str) -> zmq::Socket {
    let socket = context.socket(zmq::DEALER).expect("socket");
    socket.set_linger(0).expect("linger");
    socket.set_reconnect_ivl(10).expect("interval");
    socket.connect(endpoint).expect("connected");
    socket
}

/// The answer to this question; answers to those before it are late, and no fault.
fn answer(socket: &zmq::Socket, id: &str) -> Option<Value> {
    let clock = Clock::start();
    let until = clock.now() + ASK_AGAIN;
    loop {
        let left = until.since(clock.now());
        if socket.poll(zmq::POLLIN, i64::try_from(left.as_millis()).expect("fits")).expect("polled")
            == 0
        {
            return None;
        }
        let frames = socket.recv_multipart(0).expect("a reply");
        let reply: Value = serde_json::from_slice(&frames[0]).expect("JSON");
        if reply["correlation_id"] == id {
            return Some(reply);
        }
    }
}
