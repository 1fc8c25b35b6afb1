//! Wakes a thread of the launcher; a system call only when it really sleeps.
//!
//! One change of an instance gives the spawner several orders in a row, and each write to its eventfd costs the actors'
//! thread more than the order itself.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use mio::{Registry, Token, Waker};

/// Shared by the thread that sleeps in `poll` and those who leave orders for it.
#[derive(Debug)]
pub(super) struct Bell {
    asleep: AtomicBool,
    waker: Waker,
}

impl Bell {
    /// A bell that makes the poll of `registry` return with `token`.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self { asleep: AtomicBool::new(false), waker: Waker::new(registry, token)? })
    }

    /// Called after an order was left.
    pub(super) fn ring(&self) {
        // pairs with the fence in `lie_down`: either we see `asleep`, or the thread sees the order
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // fails only where the counter is full: then the thread wakes anyway
            let _ = self.waker.wake();
        }
    }

    /// Announces sleep. The thread looks once more for orders before it really sleeps.
    pub(super) fn lie_down(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// After sleep. A ring that came meanwhile ends the next sleep at once, which does no harm.
    pub(super) fn get_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    use mio::{Events, Poll};

    const TOKEN: Token = Token(0);

    #[test]
    fn no_ring_is_lost_and_none_is_made_for_a_thread_that_is_awake() {
        let mut poll = Poll::new().expect("epoll");
        let bell = Bell::new(poll.registry(), TOKEN).expect("bell");
        let mut events = Events::with_capacity(4);
        bell.ring();
        poll.poll(&mut events, Some(Duration::ZERO)).expect("polled");
        assert!(events.is_empty(), "it was awake");

        let (orders, inbox) = mpsc::channel();
        let count = 50_000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..count {
                    orders.send(n).expect("somebody takes orders");
                    bell.ring();
                }
            });
            let mut taken = 0;
            while taken < count {
                let mut order = inbox.try_recv();
                if order.is_err() {
                    bell.lie_down();
                    order = inbox.try_recv();
                    let limit = if order.is_ok() { 0 } else { 60 };
                    poll.poll(&mut events, Some(Duration::from_secs(limit))).expect("polled");
                    assert!(order.is_ok() || !events.is_empty(), "slept after {taken} orders");
                    bell.get_up();
                }
                taken += usize::from(order.is_ok());
            }
        });
    }
}
