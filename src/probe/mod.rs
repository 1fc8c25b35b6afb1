//! Asking backends whether they are ready and well, away from the actors' thread.
//!
//! It knows the protocols of backends (ZeroMQ handshake and ping, HTTP, TCP, pipes, notify sockets); it decides nothing.
//!
//! | file | owns |
//! |---|---|
//! | [`local`] | the prober of real backends: one thread, one task per wait or question |
//! | `asked` | what is open, kept over a crash |
//! | `ready`, `health` | what is waited for, what is asked |
//! | [`zmtp`], `link` | a ZeroMQ connection to a backend |
//! | `http`, `tcp`, `channel` | the other ways to ask and to be told |
//! | [`scripted`] | a fake for tests of what rests on a prober |

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use actix::{Message, Recipient};

use crate::ids::ProcessKey;

mod asked;
mod channel;
mod health;
mod http;
mod link;
pub mod local;
mod ready;
pub mod scripted;
mod tcp;
pub mod zmtp;

/// Carries out probes. No call blocks; answers arrive as [`ProbeReport`]s.
pub trait Prober: Send + Sync {
    /// Begins to wait for readiness: attempts are repeated until one succeeds or [`Prober::forget`] is called.
    fn await_ready(&self, key: ProcessKey, sign: ReadySign, answer: Recipient<ProbeReport>);
    /// Asks once for a sign of life; answers [`Finding::Alive`] or [`Finding::Silent`] within `timeout`.
    /// One question per process at a time: a second one replaces the first.
    fn check(
        &self,
        key: ProcessKey,
        question: HealthQuestion,
        timeout: Duration,
        answer: Recipient<ProbeReport>,
    );
    /// Sends what is found about a process to another recipient from now on; a finding that could not be delivered is
    /// sent again. For the successor of an actor whose readiness wait is still under way. Where none ever was, which only
    /// happens after an earlier service, the answer is [`Finding::NeverReady`].
    fn redirect(&self, key: &ProcessKey, answer: Recipient<ProbeReport>);
    /// Drops everything kept for a process (connections, waits).
    fn forget(&self, key: &ProcessKey);
    /// Tells of every crash of the prober itself from now on; one that has no thread of its own has none to tell.
    fn tell_crashes(&self, _to: Recipient<ProberCrashed>) {}
    /// Makes the prober panic, to see that nothing comes of it; one that has no thread of its own takes no notice.
    #[doc(hidden)]
    fn crash_for_test(&self) {}
    /// Ends the prober's threads; blocks until that is done, a second at most.
    fn end(&self);
}

/// What tells that a process is ready.
#[derive(Debug)]
pub enum ReadySign {
    /// An answered ZeroMQ handshake.
    Handshake {
        /// `ipc://…`.
        endpoint: String,
    },
    /// An HTTP answer with this status.
    Http {
        /// Loopback port.
        port: u16,
        /// Path.
        path: String,
        /// Status.
        status: u16,
    },
    /// A TCP connection.
    Tcp {
        /// Loopback port.
        port: u16,
    },
    /// A newline on a pipe.
    Pipe(OwnedFd),
    /// `READY=1` on a datagram socket.
    Notify(UnixDatagram),
}

/// How to ask for a sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthQuestion {
    /// ZeroMQ `ping`, or a fresh handshake where the backend does not offer `ping`.
    Ping {
        /// `ipc://…`.
        endpoint: String,
    },
    /// `GET path` answered with 2xx.
    Http {
        /// Loopback port.
        port: u16,
        /// Path.
        path: String,
    },
    /// A TCP connection is taken.
    Tcp {
        /// Loopback port.
        port: u16,
    },
}

/// The prober panicked, with this text, and goes on: what was open is asked again.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ProberCrashed(pub String);

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ProbeReport {
    /// The process asked.
    pub key: ProcessKey,
    /// What came of it.
    pub finding: Finding,
}

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is ready; with the protocols it speaks, where the handshake told them.
    Ready {
        /// In the order of the handshake.
        protocols: Vec<String>,
    },
    /// It is loading and said how far it is (`STATUS=` on a notify socket).
    Progress(String),
    /// It answers the question for readiness as no loading backend does, and with what; `None`: it does so no more.
    /// Told when it changes.
    WrongAnswer(Option<String>),
    /// The readiness channel closed, or can never work.
    NeverReady(String),
    /// It answered a health question.
    Alive {
        /// How long the answer took.
        round_trip: Duration,
    },
    /// It did not answer a health question, and why (as far as can be told).
    Silent(String),
}
