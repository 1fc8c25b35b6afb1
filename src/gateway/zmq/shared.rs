//! What the gateway's thread and the actors that answer share: the outbox, the bell, two flags and counters.
//!
//! No lock: a queue with many senders and one reader, an eventfd, atomics.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{OnceLock, mpsc};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::watch;

use super::counters::Counters;

/// Which of the two sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Door {
    /// JSON commands.
    Cli,
    /// Protobuf handshakes.
    Handshake,
}

/// Whose budget a request counts for while it is inside the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Answered in microseconds; bounded by `GATEWAY_CREDITS`.
    Direct,
    /// May wait for a process; bounded by `GATEWAY_DESK_REQUESTS`.
    Desk,
    /// Came after the intake was closed: as `Direct`, but the end of the service does not wait for it.
    Late,
}

/// The way back to who asked.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) door: Door,
    /// As it was received: short ones, and libzmq's own are, need no memory of their own in a message.
    pub(super) identity: zmq::Message,
    /// A REQ socket sends an empty frame first and drops answers without one.
    pub(super) delimiter: bool,
    pub(super) lane: Lane,
}

/// A reply on its way to the gateway's thread.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) route: Route,
    pub(super) payload: zmq::Message,
    /// No reply but the request once more, for the successor that gets the sockets.
    pub(super) is_request: bool,
}

impl Outgoing {
    /// Copies the bytes into a message of libzmq's while they are still in the cache of who made them.
    pub(super) fn new(route: Route, payload: &[u8]) -> Self {
        Self { route, payload: payload.into(), is_request: false }
    }
}

/// Shared by the thread, the actor and every request that is under way.
#[derive(Debug)]
pub(super) struct Shared {
    outbox: mpsc::Sender<Outgoing>,
    bell: Bell,
    closing: AtomicBool,
    stopping: AtomicBool,
    /// Set when the sockets are handed over: the TCP endpoints that the successor can share.
    handing_over: OnceLock<Vec<String>>,
    /// Whether no request is inside the tree any more, told by a thread that hands over.
    settled: watch::Sender<bool>,
    pub(super) counters: Counters,
}

impl Shared {
    /// The shared part and the reading end of its outbox.
    ///
    /// # Errors
    /// When the system gives no eventfd.
    pub(super) fn new() -> rustix::io::Result<(Self, mpsc::Receiver<Outgoing>)> {
        let (outbox, inbox) = mpsc::channel();
        let shared = Self {
            outbox,
            bell: Bell::new()?,
            closing: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            handing_over: OnceLock::new(),
            settled: watch::Sender::new(false),
            counters: Counters::default(),
        };
        Ok((shared, inbox))
    }

    /// Hands a reply to the thread. Bounded by the budgets: each request gives one reply, and a budget is given back
    /// when the thread takes it. When the thread is gone, so is everybody who waits.
    pub(super) fn enqueue(&self, outgoing: Outgoing) {
        if self.outbox.send(outgoing).is_ok() {
            self.bell.ring();
        }
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// From now on new requests are refused.
    pub(super) fn close_intake(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn intake_is_closed(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Lets the thread send what is left and end.
    pub(super) fn stop(&self) {
        self.close_intake();
        self.stopping.store(true, Ordering::SeqCst);
        self.bell.ring();
    }

    /// From now on requests are for a successor: new ones, and those that are dropped unanswered.
    pub(super) fn hand_over(&self, kept_endpoints: Vec<String>) {
        // a second time changes nothing
        let _ = self.handing_over.set(kept_endpoints);
        self.bell.ring();
    }

    pub(super) fn is_handing_over(&self) -> bool {
        self.handing_over.get().is_some()
    }

    /// TCP endpoints that the successor can share.
    pub(super) fn kept_endpoints(&self) -> &[String] {
        self.handing_over.get().map_or(&[], Vec::as_slice)
    }

    /// No request is inside the tree any more.
    pub(super) fn settle(&self) {
        self.settled.send_if_modified(|settled| !std::mem::replace(settled, true));
    }

    /// Learns of [`Shared::settle`].
    pub(super) fn settled(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// Wakes the thread. A system call only when it really sleeps.
#[derive(Debug)]
pub(super) struct Bell {
    asleep: AtomicBool,
    eventfd: OwnedFd,
}

impl Bell {
    fn new() -> rustix::io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { asleep: AtomicBool::new(false), eventfd })
    }

    /// Called after something was left for the thread.
    fn ring(&self) {
        // pairs with the fence in `lie_down`: either we see `asleep`, or the thread sees what we left
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // fails only when the counter is full, and then the thread is woken anyway
            let _ = rustix::io::write(self.eventfd.as_fd(), &1_u64.to_ne_bytes());
        }
    }

    /// Announces sleep. The caller looks once more for work before it really sleeps.
    pub(super) fn lie_down(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// After sleep; `rang` when the bell's descriptor was readable.
    pub(super) fn get_up(&self, rang: bool) {
        // a ring that comes between the poll and this line is found by the next look or ends the next sleep
        self.asleep.store(false, Ordering::SeqCst);
        if rang {
            let mut count = [0; 8];
            let _ = rustix::io::read(self.eventfd.as_fd(), &mut count);
        }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ringing(bell: &Bell) -> bool {
        let mut fds = [rustix::event::PollFd::new(&bell.eventfd, rustix::event::PollFlags::IN)];
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&none)).expect("poll") == 1
    }

    #[test]
    fn the_bell_costs_a_system_call_only_when_the_thread_sleeps() {
        let bell = Bell::new().expect("eventfd");
        bell.ring();
        assert!(!is_ringing(&bell));
        bell.lie_down();
        bell.ring();
        assert!(is_ringing(&bell));
        bell.get_up(true);
        assert!(!is_ringing(&bell));
    }

    #[test]
    fn no_ring_is_lost() {
        let (shared, inbox) = Shared::new().expect("eventfd");
        let count = 50_000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..count {
                    let route = Route {
                        door: Door::Cli,
                        identity: zmq::Message::new(),
                        delimiter: false,
                        lane: Lane::Direct,
                    };
                    shared.enqueue(Outgoing::new(route, b""));
                }
            });
            let mut seen = 0;
            while seen < count {
                while inbox.try_recv().is_ok() {
                    seen += 1;
                }
                shared.bell.lie_down();
                if inbox.try_recv().is_ok() {
                    seen += 1;
                    shared.bell.get_up(false);
                } else if seen < count {
                    let descriptor = &shared.bell.eventfd;
                    let mut fds =
                        [rustix::event::PollFd::new(descriptor, rustix::event::PollFlags::IN)];
                    let limit = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
                    let rang = rustix::event::poll(&mut fds, Some(&limit)).expect("poll");
                    assert_eq!(rang, 1, "slept through a ring after {seen}");
                    shared.bell.get_up(true);
                }
            }
        });
    }
}
