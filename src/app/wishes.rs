//! What the program around the service, or the system by a signal, wants of the service as a whole.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What somebody outside wants of the whole service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// An orderly end; the second one means now.
    Stop,
    /// The configuration read again.
    Reload,
}

/// Where wishes come from.
pub trait Wishes {
    /// The next wish; pending for ever when none will come.
    fn next(&mut self) -> impl Future<Output = Wish>;
}

impl<W: Wishes> Wishes for &mut W {
    fn next(&mut self) -> impl Future<Output = Wish> {
        W::next(self)
    }
}

/// SIGTERM and SIGINT stop, SIGHUP reloads.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    /// Takes the signals over from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }
}

impl Wishes for Signals {
    async fn next(&mut self) -> Wish {
        tokio::select! {
            Some(()) = self.term.recv() => Wish::Stop,
            Some(()) = self.int.recv() => Wish::Stop,
            Some(()) = self.hup.recv() => Wish::Reload,
            else => std::future::pending().await,
        }
    }
}

/// One wish to stop, then none.
pub(super) struct StopOnce(pub(super) bool);

impl Wishes for StopOnce {
    async fn next(&mut self) -> Wish {
        if std::mem::replace(&mut self.0, true) { std::future::pending().await } else { Wish::Stop }
    }
}
