//! Clients that use the service meanwhile: commands on the management socket, handshakes, pings straight to backends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::invariants::answers::{Oddity, Outcome};
use crate::cli::client::ClientError;
use crate::cli::client::backend::BackendClient;
use crate::cli::client::listener::Listener;
use crate::cli::client::wire::Wire;
use crate::clock::Clock;
use crate::limits;
use crate::protocols::handshake::{Request, Response};

/// Commands that are answered from memory.
const COMMANDS: [&str; 5] = ["status", "version", "list-models", "events", "tree"];
/// Ids of answered requests that are remembered, to know a second answer.
const REMEMBERED: usize = 256;
/// Pings of one visit at a backend.
const PINGS: usize = 4;

/// What clients use.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// How many clients.
    pub clients: usize,
    /// Where managers ask.
    pub management: String,
    /// Where clients ask.
    pub client_endpoint: String,
    /// Models that clients wish for.
    pub models: Vec<String>,
    /// What they do is drawn from it.
    pub seed: u64,
}

/// Something worth telling at once.
#[derive(Debug)]
pub enum Note {
    /// A request to the service was not answered once.
    Odd(Oddity),
    /// A request failed.
    Failed,
}

/// How many requests there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Sent to the service or to backends.
    pub sent: u64,
    /// Answered as wished.
    pub answered: u64,
    /// Answered with an error, such as that a model was given up.
    pub refused: u64,
    /// Neither: lost with a backend or a gateway, or later than it was waited for.
    pub failed: u64,
}

/// The clients at work. Dropping it stops them.
pub struct Load {
    over: Arc<AtomicBool>,
    notes: Receiver<Note>,
    clients: Vec<JoinHandle<Requests>>,
}

impl Load {
    /// Lets clients begin.
    ///
    /// # Errors
    /// When no thread or socket can be had.
    pub fn start(options: &LoadOptions) -> Result<Self, ClientError> {
        let (tell, notes) = channel();
        let mut load = Self { over: Arc::default(), notes, clients: Vec::new() };
        for number in 0..options.clients {
            let client = Client::connect(options, number, load.over.clone(), tell.clone())?;
            let thread = thread::Builder::new().name("client".to_owned());
            let thread = thread.spawn(move || client.run()).map_err(|error| {
                let endpoint = options.management.clone();
                ClientError::Unreachable { endpoint, reason: error.to_string() }
            })?;
            load.clients.push(thread);
        }
        Ok(load)
    }

    /// What was told since the last call.
    pub fn notes(&self) -> Vec<Note> {
        self.notes.try_iter().collect()
    }

    /// Stops the clients when each has its last answer. Answers what was told meanwhile, and the sum.
    pub fn end(mut self) -> (Vec<Note>, Requests) {
        self.over.store(true, Ordering::Relaxed);
        let mut sum = Requests::default();
        for client in self.clients.drain(..) {
            let one = client.join().unwrap_or_default();
            sum.sent += one.sent;
            sum.answered += one.answered;
            sum.refused += one.refused;
            sum.failed += one.failed;
        }
        (self.notes(), sum)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

/// A reply as far as it is looked at.
#[derive(Deserialize)]
struct Reply {
    correlation_id: String,
    success: bool,
}

struct Client {
    options: LoadOptions,
    management: Wire,
    handshake: Wire,
    backend: Option<(String, BackendClient)>,
    random: fastrand::Rng,
    clock: Clock,
    over: Arc<AtomicBool>,
    tell: Sender<Note>,
    requests: Requests,
    answered: VecDeque<String>,
    given_up: VecDeque<String>,
}

impl Client {
    fn connect(
        options: &LoadOptions,
        number: usize,
        over: Arc<AtomicBool>,
        tell: Sender<Note>,
    ) -> Result<Self, ClientError> {
        let management = Wire::connect(Listener::of(&options.management), limits::CLI_REPLY_BYTES)?;
        Ok(Self {
            management,
            handshake: handshake_wire(options)?,
            backend: None,
            random: fastrand::Rng::with_seed(options.seed ^ number as u64),
            clock: Clock::start(),
            over,
            tell,
            requests: Requests::default(),
            answered: VecDeque::new(),
            given_up: VecDeque::new(),
            options: options.clone(),
        })
    }

    fn run(mut self) -> Requests {
        while !self.is_over() {
            match self.random.u8(0..8) {
                0..4 => self.manage(),
                4 => drop(self.greet(None)),
                _ => self.visit(),
            }
            thread::park_timeout(limits::CHAOS_TURN);
        }
        // a second answer to the last request would be here by now
        self.look_for_more();
        self.requests
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn failed(&mut self) {
        self.requests.failed += 1;
        // who watches may have left
        let _ = self.tell.send(Note::Failed);
    }

    fn odd(&self, request: &str, asked_at: f64, outcome: Outcome) {
        let ended_at = Clock::wall_seconds();
        let oddity = Oddity { request: request.to_owned(), asked_at, ended_at, outcome };
        let _ = self.tell.send(Note::Odd(oddity));
    }

    // ---- the management socket ---------------------------------------------------------------------------------

    fn manage(&mut self) {
        let command = COMMANDS[self.random.usize(0..COMMANDS.len())];
        let id = uuid::Uuid::new_v4().to_string();
        let params = if command == "events" { json!({ "limit": 5 }) } else { json!({}) };
        let request = json!({ "command": command, "params": params, "correlation_id": id });
        let asked_at = Clock::wall_seconds();
        self.requests.sent += 1;
        if self.management.send(request.to_string().as_bytes()).is_err() {
            return self.failed();
        }
        let end = self.clock.now() + limits::CHAOS_ANSWER;
        while self.clock.now() < end {
            match self.management.receive(self.management.deadline(limits::CHAOS_LOOK)) {
                Ok(frame) => {
                    if let Some(success) = self.take(&frame, &id, asked_at) {
                        let count = if success {
                            &mut self.requests.answered
                        } else {
                            &mut self.requests.refused
                        };
                        *count += 1;
                        return;
                    }
                }
                Err(ClientError::Timeout) => {}
                // the gateway is being replaced; ZeroMQ connects again by itself
                Err(_) => thread::park_timeout(limits::CHAOS_TURN),
            }
        }
        remember(&mut self.given_up, id);
        self.odd(command, asked_at, Outcome::Unanswered);
        self.failed();
    }

    /// Takes a reply; answers whether it is that to `id`, and whether that succeeded.
    fn take(&mut self, frame: &[u8], id: &str, asked_at: f64) -> Option<bool> {
        let Ok(reply) = serde_json::from_slice::<Reply>(frame) else {
            self.odd("a reply that cannot be read", asked_at, Outcome::Doubled);
            return None;
        };
        if reply.correlation_id == id {
            remember(&mut self.answered, reply.correlation_id);
            return Some(reply.success);
        }
        match self.given_up.iter().position(|late| *late == reply.correlation_id) {
            Some(index) => {
                self.given_up.remove(index);
                remember(&mut self.answered, reply.correlation_id);
            }
            None => self.odd(&reply.correlation_id, asked_at, Outcome::Doubled),
        }
        None
    }

    fn look_for_more(&mut self) {
        let now = Clock::wall_seconds();
        while let Ok(frame) = self.management.receive(self.management.deadline(Duration::ZERO)) {
            self.take(&frame, "", now);
        }
    }

    // ---- the client socket -------------------------------------------------------------------------------------

    /// One handshake. Answers where the model is, if one was wished for and is there.
    fn greet(&mut self, model: Option<&str>) -> Option<String> {
        let request = if model.is_some() { "handshake for a model" } else { "handshake" };
        let asked_at = Clock::wall_seconds();
        if self.handshake.receive(self.handshake.deadline(Duration::ZERO)).is_ok() {
            self.odd(request, asked_at, Outcome::Doubled);
        }
        self.requests.sent += 1;
        let wish = Request { model: model.unwrap_or_default().to_owned() };
        if self.handshake.send(&wish.encode_to_vec()).is_err() {
            self.failed();
            return None;
        }
        let limit = if model.is_some() { limits::CHAOS_WISH } else { limits::CHAOS_ANSWER };
        let end = self.clock.now() + limit;
        while self.clock.now() < end {
            match self.handshake.receive(self.handshake.deadline(limits::CHAOS_LOOK)) {
                Ok(frame) => return self.answered_by(&frame),
                // one that waits for a model may wait beyond the end
                Err(ClientError::Timeout) if model.is_some() && self.is_over() => {
                    self.requests.sent -= 1;
                    return None;
                }
                Err(ClientError::Timeout) => {}
                Err(_) => thread::park_timeout(limits::CHAOS_TURN),
            }
        }
        // a wish may be held until its model is ready, however long that takes
        if model.is_none() {
            self.odd(request, asked_at, Outcome::Unanswered);
        }
        self.failed();
        // a late answer must not be taken for that to the next question
        if let Ok(fresh) = handshake_wire(&self.options) {
            self.handshake = fresh;
        }
        None
    }

    fn answered_by(&mut self, frame: &[u8]) -> Option<String> {
        match Response::decode(frame) {
            Ok(response) if response.error.is_empty() => {
                self.requests.answered += 1;
                Some(response.model_endpoint).filter(|endpoint| !endpoint.is_empty())
            }
            Ok(_) => {
                self.requests.refused += 1;
                None
            }
            Err(_) => {
                self.failed();
                None
            }
        }
    }

    // ---- backends ----------------------------------------------------------------------------------------------

    /// Asks for a model, and talks to it.
    fn visit(&mut self) {
        let models = &self.options.models;
        let Some(model) = models.get(self.random.usize(0..models.len().max(1))).cloned() else {
            return;
        };
        let Some(endpoint) = self.greet(Some(&model)) else { return };
        if !endpoint.starts_with("ipc://") {
            return;
        }
        let known = self.backend.take().filter(|(old, _)| *old == endpoint);
        let mut client = match known {
            Some((_, client)) => client,
            None => match BackendClient::connect(&endpoint) {
                Ok(client) => client,
                Err(_) => return self.failed(),
            },
        };
        if client.greet(limits::CHAOS_LOOK).is_err() {
            self.requests.sent += 1;
            return self.failed();
        }
        for _ in 0..PINGS {
            self.requests.sent += 1;
            match client.ping("chaos", limits::CHAOS_LOOK) {
                Ok(_) => self.requests.answered += 1,
                // it has no ping: nothing to be had from it
                Err(ClientError::Malformed(_)) => {
                    self.requests.sent -= 1;
                    break;
                }
                Err(_) => return self.failed(),
            }
        }
        self.backend = Some((endpoint, client));
    }
}

fn handshake_wire(options: &LoadOptions) -> Result<Wire, ClientError> {
    Wire::connect(Listener::of(&options.client_endpoint), limits::FRAME_BYTES)
}

fn remember(ids: &mut VecDeque<String>, id: String) {
    if ids.len() == REMEMBERED {
        ids.pop_front();
    }
    ids.push_back(id);
}
