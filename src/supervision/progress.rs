//! How an actor shows that it gets on, and how it says that it will be busy for long.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::{Actor, ActorFuture};

/// What an actor and its watcher share. Both live on the actor's thread.
///
/// A watched actor need not do anything with it. One that is going to keep its context from everything else on purpose
/// (`ctx.wait` for an upload, say) declares that with [`Progress::protect`].
#[derive(Clone, Default)]
pub struct Progress(Rc<Shared>);

#[derive(Default)]
struct Shared {
    /// Counts the questions.
    asked: Cell<u64>,
    /// The last question that was answered.
    answered: Cell<u64>,
    /// Long sections that are open.
    sections: Cell<u32>,
    /// Of the actor.
    waker: RefCell<Option<Waker>>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("sections", &self.0.sections.get()).finish_non_exhaustive()
    }
}

impl Progress {
    /// Declares a long section: until the guard is dropped, silence is no sign of anything.
    pub fn protect(&self) -> LongSection {
        self.0.sections.set(self.0.sections.get() + 1);
        LongSection(self.clone())
    }

    /// Asks the actor for a sign.
    pub(super) fn ask(&self) {
        self.0.asked.set(self.0.asked.get() + 1);
        if let Some(waker) = self.0.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Whether it has given one since it was asked, or need not.
    pub(super) fn is_shown(&self) -> bool {
        self.0.sections.get() > 0 || self.0.answered.get() == self.0.asked.get()
    }

    fn show(&self) {
        self.0.answered.set(self.0.asked.get());
    }
}

/// A long section of an actor, until it is dropped.
#[derive(Debug)]
#[must_use = "the section ends when this is dropped"]
pub struct LongSection(Progress);

impl Drop for LongSection {
    fn drop(&mut self) {
        let Progress(shared) = &self.0;
        shared.sections.set(shared.sections.get() - 1);
        // the question that came meanwhile counts as answered: the next one is the first to be held against it
        self.0.show();
    }
}

/// Runs in an actor's context and answers for it. It gets a turn when the actor's own futures and timers do: behind the
/// mailbox, and not while `ctx.wait` holds everything back.
pub(super) struct Pulse(pub(super) Progress);

impl<A: Actor> ActorFuture<A> for Pulse {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        _: &mut A,
        _: &mut A::Context,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        self.0.show();
        let mut waker = self.0.0.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(task.waker()),
            None => *waker = Some(task.waker().clone()),
        }
        Poll::Pending
    }
}
