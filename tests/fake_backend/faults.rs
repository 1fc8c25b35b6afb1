//! The embedded backend's answers, spoiled.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use symphony::engine::serve::Answerer;
use symphony::engine::session::Session;
use tokio::time::Instant;

use crate::patience::Patience;
use crate::script::{Lie, Script};

/// Answers as a session does, until a fault is due.
pub struct FaultyAnswerer<'a> {
    session: Session,
    script: &'a Script,
    patience: &'a Patience,
    ready_at: Instant,
    requests: u64,
}

impl<'a> FaultyAnswerer<'a> {
    pub fn new(script: &'a Script, patience: &'a Patience) -> Self {
        let session = Session::new(script.offered(), &script.model_name);
        Self { session, script, patience, ready_at: Instant::now(), requests: 0 }
    }

    fn must_hang(&self) -> bool {
        let by_count = self.script.hang_after_requests.is_some_and(|most| self.requests > most);
        let by_time = self.script.hang_after.is_some_and(|span| self.ready_at.elapsed() >= span);
        by_count || by_time
    }

    /// Lives and answers nobody, until a stop is asked for.
    fn hang(&self) {
        if self.script.busy_hang {
            while !self.patience.burn(Duration::from_secs(1)) {}
        } else {
            self.patience.wait_for_stop();
        }
    }
}

impl Answerer for FaultyAnswerer<'_> {
    fn answer(&mut self, identity: &[u8], frames: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        let is_request = frames.len() > 1 && self.session.is_greeted(identity);
        if is_request {
            self.requests += 1;
        }
        if self.must_hang() {
            self.hang();
            return None;
        }
        if is_request {
            if self.script.crash_on_request == Some(self.requests) {
                die();
            }
            if self.script.lie == Some(Lie::Ready) {
                return None;
            }
            if self.script.slow_ping.is_some_and(|span| self.patience.wait(span)) {
                return None;
            }
        }
        self.session.answer(identity, frames)
    }
}

/// Dies by a signal, without a core file.
pub fn die() -> ! {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    std::process::abort()
}
