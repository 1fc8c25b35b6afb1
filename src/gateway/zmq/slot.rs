//! The duty to answer one request: exactly one reply leaves, whatever happens to who holds the slot.

use std::sync::Arc;

use serde::Serialize;

use super::shared::{Lane, Outgoing, Route, Shared};
use super::{handshake, reply};
use crate::protocols::handshake::Response;

/// Text of the reply that is sent when a request was dropped without an answer.
pub(super) const DROPPED: &str = "internal error: the request was dropped";
/// Text of the reply to requests that come, or are still under way, when the service goes down.
pub(super) const SHUTTING_DOWN: &str = "Service is shutting down";

/// In which words a failure is told.
#[derive(Debug)]
enum Form {
    Command { correlation_id: String },
    Handshake,
}

/// The route back, the form of the answer, and a guard: dropped without an answer it sends a failure.
#[derive(Debug)]
struct Slot {
    /// `None` once it was answered.
    route: Option<Route>,
    form: Form,
    /// What a successor of this gateway is to be asked, if nobody answers before it comes.
    again: Option<Vec<u8>>,
    shared: Arc<Shared>,
}

impl Slot {
    fn send(&mut self, payload: &[u8]) {
        if let Some(route) = self.route.take() {
            self.shared.enqueue(Outgoing::new(route, payload));
        }
    }

    fn fail(&mut self, text: &str) {
        let payload = match &self.form {
            Form::Command { correlation_id } => reply::failure(correlation_id, text),
            Form::Handshake => handshake::failure(text),
        };
        self.send(&payload);
    }

    fn count_for_desk(&mut self, again: Option<Vec<u8>>) {
        self.again = again;
        if let Some(route) = &mut self.route {
            route.lane = Lane::Desk;
        }
    }

    /// Whether a successor answers in our place.
    fn pass_on(&mut self) -> bool {
        let Some(again) = self.again.take_if(|_| self.shared.is_handing_over()) else {
            return false;
        };
        let Some(route) = self.route.take() else { return false };
        let request = Outgoing { is_request: true, ..Outgoing::new(route, &again) };
        self.shared.enqueue(request);
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.route.is_none() || self.pass_on() {
            return;
        }
        self.shared.counters.abandoned.one();
        self.fail(if self.shared.intake_is_closed() { SHUTTING_DOWN } else { DROPPED });
    }
}

/// The duty to answer a command.
#[derive(Debug)]
pub(super) struct CommandSlot(Slot);

impl CommandSlot {
    pub(super) fn new(route: Route, correlation_id: String, shared: Arc<Shared>) -> Self {
        let form = Form::Command { correlation_id };
        Self(Slot { route: Some(route), form, again: None, shared })
    }

    /// The id that the client finds its answer by.
    pub(super) fn correlation_id(&self) -> &str {
        match &self.0.form {
            Form::Command { correlation_id } => correlation_id,
            Form::Handshake => "",
        }
    }

    /// Answers with data.
    pub(super) fn success(mut self, data: &impl Serialize) {
        let Form::Command { correlation_id } = &self.0.form else { return };
        match reply::success(correlation_id, data) {
            Ok(payload) => self.0.send(&payload),
            Err(error) => self.0.fail(&format!("internal error: {error}")),
        }
    }

    /// Answers with an error text.
    pub(super) fn failure(mut self, text: &str) {
        self.0.fail(text);
    }

    /// Answers with one or the other.
    pub(super) fn settle<D: Serialize, E: std::fmt::Display>(self, outcome: Result<D, E>) {
        match outcome {
            Ok(data) => self.success(&data),
            Err(error) => self.failure(&error.to_string()),
        }
    }

    /// Charges the request to the budget of those that may wait for a process. `again`: what a successor of this gateway is
    /// asked in its place when the sockets are handed over meanwhile.
    pub(super) fn count_for_desk(&mut self, again: Option<Vec<u8>>) {
        self.0.count_for_desk(again);
    }
}

/// The duty to answer a handshake.
#[derive(Debug)]
pub(super) struct HandshakeSlot(Slot);

impl HandshakeSlot {
    pub(super) fn new(route: Route, shared: Arc<Shared>) -> Self {
        Self(Slot { route: Some(route), form: Form::Handshake, again: None, shared })
    }

    /// Answers.
    pub(super) fn respond(mut self, response: &Response) {
        self.0.send(&handshake::encode(response));
    }

    /// Answers with an error text.
    pub(super) fn failure(mut self, text: &str) {
        self.0.fail(text);
    }

    /// Charges the request to the budget of those that may wait for a process. `again`: what a successor of this gateway is
    /// asked in its place when the sockets are handed over meanwhile.
    pub(super) fn count_for_desk(&mut self, again: Option<Vec<u8>>) {
        self.0.count_for_desk(again);
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared::Door;
    use super::*;

    fn route() -> Route {
        Route {
            door: Door::Cli,
            identity: b"me".as_slice().into(),
            delimiter: false,
            lane: Lane::Direct,
        }
    }

    #[test]
    fn an_answered_slot_sends_one_reply() {
        let (shared, inbox) = Shared::new().expect("eventfd");
        CommandSlot::new(route(), "c".into(), Arc::new(shared))
            .success(&serde_json::json!({"a": 1}));
        let reply = inbox.try_recv().expect("one reply");
        assert_eq!(&*reply.payload, br#"{"correlation_id":"c","success":true,"data":{"a":1}}"#);
        assert!(inbox.try_recv().is_err(), "and no second");
    }

    #[test]
    fn a_dropped_slot_sends_a_failure() {
        let (shared, inbox) = Shared::new().expect("eventfd");
        let shared = Arc::new(shared);
        drop(CommandSlot::new(route(), "c".into(), shared.clone()));
        let text =
            String::from_utf8(inbox.try_recv().expect("reply").payload.to_vec()).expect("text");
        assert!(text.contains(DROPPED) && text.contains(r#""success":false"#), "{text}");

        drop(HandshakeSlot::new(route(), shared.clone()));
        let response = handshake::decode_response(&inbox.try_recv().expect("reply").payload);
        assert_eq!(response.error, DROPPED);

        shared.close_intake();
        drop(HandshakeSlot::new(route(), shared.clone()));
        let response = handshake::decode_response(&inbox.try_recv().expect("reply").payload);
        assert_eq!(response.error, SHUTTING_DOWN);
        assert_eq!(shared.counters.state(true).abandoned, 3);
    }

    #[test]
    fn a_slot_that_is_dropped_in_a_handover_asks_the_successor() {
        let (shared, inbox) = Shared::new().expect("eventfd");
        let shared = Arc::new(shared);
        let slot = || {
            let mut slot = CommandSlot::new(route(), "c".into(), shared.clone());
            slot.count_for_desk(Some(b"once more".to_vec()));
            slot
        };
        let (before, after) = (slot(), slot());
        drop(before);
        assert!(!inbox.try_recv().expect("a reply").is_request, "nobody comes after us yet");
        shared.hand_over(Vec::new());
        drop(after);
        let asked = inbox.try_recv().expect("a request");
        assert!(asked.is_request && asked.route.lane == Lane::Desk, "{asked:?}");
        assert_eq!(&*asked.payload, b"once more");
        drop(CommandSlot::new(route(), "c".into(), shared.clone()));
        assert!(!inbox.try_recv().expect("a reply").is_request, "nothing to ask for");
        assert!(inbox.try_recv().is_err(), "one for each");
    }

    #[test]
    fn data_that_cannot_be_written_is_a_failure() {
        let (shared, inbox) = Shared::new().expect("eventfd");
        let keys_that_are_no_text = std::collections::BTreeMap::from([((1, 2), 3)]);
        CommandSlot::new(route(), "c".into(), Arc::new(shared)).success(&keys_that_are_no_text);
        let text =
            String::from_utf8(inbox.try_recv().expect("reply").payload.to_vec()).expect("text");
        assert!(text.contains("internal error: key must be a string"), "{text}");
        assert!(inbox.try_recv().is_err());
    }
}
