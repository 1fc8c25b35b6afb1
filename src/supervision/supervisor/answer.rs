//! An answer that comes when it is decided on, without a task that waits for it.

use std::cell::Cell;
use std::rc::Rc;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Message};

use super::super::core::{AdminError, Done};

/// Given to the asker's message and kept by the supervisor. When both have let go of it without a word, the supervisor
/// is gone, and the asker is told so.
#[derive(Clone, Default)]
pub struct Answer(Rc<Slot>);

type Outcome = Result<Done, AdminError>;

#[derive(Default)]
struct Slot {
    outcome: Cell<Option<Outcome>>,
    asker: Cell<Option<OneshotSender<Outcome>>>,
}

impl Answer {
    /// Answers. It may come before the asker is known.
    pub(super) fn tell(self, outcome: Outcome) {
        match self.0.asker.take() {
            // whoever asked may have left
            Some(asker) => drop(asker.send(outcome)),
            None => self.0.outcome.set(Some(outcome)),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(asker) = self.asker.take() {
            let _ = asker.send(Err(AdminError::Stopping));
        }
    }
}

impl<A, M> MessageResponse<A, M> for Answer
where
    A: Actor,
    M: Message<Result = Outcome>,
{
    fn handle(self, _: &mut A::Context, asker: Option<OneshotSender<Outcome>>) {
        match (self.0.outcome.take(), asker) {
            (Some(outcome), Some(asker)) => drop(asker.send(outcome)),
            (None, asker) => self.0.asker.set(asker),
            // nobody wants to know
            (Some(_), None) => {}
        }
    }
}
