//! Replies for clients that do not read as fast as they ask. Pure: it is told what came of a try.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::shared::{Door, Outgoing};
use crate::clock::Moment;
use crate::limits;

/// What came of handing a reply to libzmq.
#[derive(Debug)]
pub(super) enum Handover {
    /// libzmq has it.
    Taken,
    /// The client's queue is full; the reply comes back.
    Full(Outgoing),
    /// The client is gone; the reply with it.
    Gone,
}

/// Replies lost, by reason.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Losses {
    /// Dropped for want of room.
    pub(super) dropped: usize,
    /// Their client is gone.
    pub(super) unreachable: usize,
    /// Not lost: sent after all.
    pub(super) sent: usize,
}

impl Losses {
    fn add(&mut self, more: Self) {
        self.dropped += more.dropped;
        self.unreachable += more.unreachable;
        self.sent += more.sent;
    }
}

type Peer = (Door, Box<[u8]>);

#[derive(Debug)]
struct Queue {
    replies: VecDeque<Outgoing>,
    bytes: usize,
    /// Since when the client reads nothing: a count that goes up whenever a queue begins or moves.
    since: u64,
}

impl Queue {
    /// Sends from the front until the client is full or nothing is left.
    fn try_again(
        &mut self,
        begun: &mut u64,
        send: &mut impl FnMut(Outgoing) -> Handover,
    ) -> Losses {
        let mut losses = Losses::default();
        let before = self.replies.len();
        while let Some(reply) = self.replies.pop_front() {
            let size = reply.payload.len();
            match send(reply) {
                Handover::Full(reply) => {
                    self.replies.push_front(reply);
                    break;
                }
                Handover::Taken => losses.sent += 1,
                Handover::Gone => losses.unreachable += 1,
            }
            self.bytes -= size;
        }
        if self.replies.len() < before {
            *begun += 1;
            self.since = *begun;
        }
        losses
    }
}

/// A queue per client, bounded in replies, clients and bytes.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    queues: HashMap<Peer, Queue>,
    replies: usize,
    bytes: usize,
    begun: u64,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub(super) fn peers(&self) -> usize {
        self.queues.len()
    }

    pub(super) fn replies(&self) -> usize {
        self.replies
    }

    /// Whether replies for this client have to queue up behind earlier ones.
    pub(super) fn holds(&self, door: Door, identity: &[u8]) -> bool {
        // the key type owns its bytes, so a look costs an allocation; it is paid only while somebody is slow
        !self.queues.is_empty() && self.queues.contains_key(&(door, Box::from(identity)))
    }

    /// Keeps a reply; the answer tells how many were dropped to make room.
    pub(super) fn push(&mut self, outgoing: Outgoing) -> usize {
        if outgoing.payload.len() > limits::BACKLOG_BYTES {
            return 1;
        }
        let mut dropped = 0;
        let peer = (outgoing.route.door, Box::from(&*outgoing.route.identity));
        if !self.queues.contains_key(&peer) && self.queues.len() >= limits::BACKLOGGED_PEERS {
            dropped += self.give_up_longest_waiting();
        }
        let begun = &mut self.begun;
        let queue = self.queues.entry(peer).or_insert_with(|| {
            *begun += 1;
            Queue { replies: VecDeque::new(), bytes: 0, since: *begun }
        });
        if queue.replies.len() >= limits::PEER_BACKLOG
            && let Some(oldest) = queue.replies.pop_front()
        {
            queue.bytes -= oldest.payload.len();
            self.bytes -= oldest.payload.len();
            self.replies -= 1;
            dropped += 1;
        }
        queue.bytes += outgoing.payload.len();
        self.bytes += outgoing.payload.len();
        self.replies += 1;
        queue.replies.push_back(outgoing);
        while self.bytes > limits::BACKLOG_BYTES {
            dropped += self.give_up_longest_waiting();
        }
        dropped
    }

    /// Tries every client again, oldest reply first, until it is full.
    pub(super) fn retry(&mut self, mut send: impl FnMut(Outgoing) -> Handover) -> Losses {
        let mut losses = Losses::default();
        let Self { queues, replies, bytes, begun } = self;
        queues.retain(|_, queue| {
            let before = (queue.replies.len(), queue.bytes);
            losses.add(queue.try_again(begun, &mut send));
            *replies -= before.0 - queue.replies.len();
            *bytes -= before.1 - queue.bytes;
            !queue.replies.is_empty()
        });
        losses
    }

    /// Tries one client again, and tells what came of it.
    pub(super) fn retry_one(
        &mut self,
        door: Door,
        identity: &[u8],
        mut send: impl FnMut(Outgoing) -> Handover,
    ) -> Losses {
        let Entry::Occupied(mut entry) = self.queues.entry((door, Box::from(identity))) else {
            return Losses::default();
        };
        let queue = entry.get_mut();
        let before = (queue.replies.len(), queue.bytes);
        let losses = queue.try_again(&mut self.begun, &mut send);
        self.replies -= before.0 - queue.replies.len();
        self.bytes -= before.1 - queue.bytes;
        if queue.replies.is_empty() {
            entry.remove();
        }
        losses
    }

    fn give_up_longest_waiting(&mut self) -> usize {
        let longest = self.queues.iter().min_by_key(|(_, queue)| queue.since);
        let Some(peer) = longest.map(|(peer, _)| peer.clone()) else { return 0 };
        let Some(queue) = self.queues.remove(&peer) else { return 0 };
        self.bytes -= queue.bytes;
        self.replies -= queue.replies.len();
        queue.replies.len()
    }
}

/// When a backlog is tried again: soon while it moves, more and more rarely while it does not.
#[derive(Debug, Default)]
pub(super) struct Retry {
    pause: std::time::Duration,
    due: Moment,
}

impl Retry {
    /// When to try next.
    pub(super) fn due(&self) -> Moment {
        self.due
    }

    /// A try was made, or a backlog just began.
    pub(super) fn arm(&mut self, now: Moment, moved: bool) {
        self.pause = if moved {
            limits::BACKLOG_RETRY_MIN
        } else {
            (self.pause * 2).clamp(limits::BACKLOG_RETRY_MIN, limits::BACKLOG_RETRY_MAX)
        };
        self.due = now + self.pause;
    }
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
