//! Faults that last: each is held by a thread of its own, and undone when it is over, also when the tool fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;

use super::processes::Backend;
use crate::clock::Clock;
use crate::limits;

/// Faults that are under way. Dropping it ends them all.
#[derive(Default)]
pub struct Holds {
    held: Vec<JoinHandle<()>>,
    over: Arc<AtomicBool>,
}

/// Whether a fault that lasts has to end.
#[derive(Clone)]
pub struct Over {
    over: Arc<AtomicBool>,
    clock: Clock,
    limit: Duration,
}

impl Over {
    /// Whether it is time to end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.clock.now().since_origin() >= self.limit
    }

    /// A pause that ends early when it is over.
    pub fn pause(&self, span: Duration) {
        let clock = Clock::start();
        loop {
            let left = span.saturating_sub(clock.now().since_origin());
            if left.is_zero() || self.is_over() {
                return;
            }
            thread::park_timeout(left.min(limits::CHAOS_TURN));
        }
    }
}

impl Holds {
    /// Holds a fault for `limit` at most.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn hold(
        &mut self,
        limit: Duration,
        fault: impl FnOnce(&Over) + Send + 'static,
    ) -> Result<(), String> {
        self.held.retain(|thread| !thread.is_finished());
        let over = Over { over: self.over.clone(), clock: Clock::start(), limit };
        let thread = thread::Builder::new().name("fault".to_owned()).spawn(move || fault(&over));
        self.held.push(thread.map_err(|error| format!("no thread for it: {error}"))?);
        Ok(())
    }

    /// Whether any is still under way.
    pub fn last(&self) -> bool {
        self.held.iter().any(|thread| !thread.is_finished())
    }

    /// Ends all of them and waits until they are undone.
    pub fn end(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.held.drain(..) {
            // one that panicked has undone its fault while it unwound
            let _ = thread.join();
        }
        self.over = Arc::default();
    }
}

impl Drop for Holds {
    fn drop(&mut self) {
        self.end();
    }
}

/// A backend that does not run. Dropping it lets it run on.
struct Stopped<'a>(&'a Backend);

impl<'a> Stopped<'a> {
    fn stop(backend: &'a Backend) -> Self {
        // one that has ended meanwhile needs none
        let _ = backend.signal(Signal::STOP);
        Self(backend)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let _ = self.0.signal(Signal::CONT);
    }
}

/// Stops a backend until it is replaced or this is over.
pub fn freeze(backend: &Backend, over: &Over) {
    let _stopped = Stopped::stop(backend);
    while !over.is_over() && !backend.has_ended() {
        over.pause(limits::CHAOS_TURN);
    }
}

/// Lets a backend run for short whiles only.
pub fn slow(backend: &Backend, over: &Over) {
    while !over.is_over() && !backend.has_ended() {
        let stopped = Stopped::stop(backend);
        over.pause(limits::CHAOS_SLOW_STOPPED);
        drop(stopped);
        over.pause(limits::CHAOS_SLOW_RUNS);
    }
}

#[cfg(test)]
mod tests {
    use super::super::processes::testing::{Sleeper, until};
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn becomes(sleeper: &Sleeper, wanted: char) {
        until(|| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", sleeper.pid()));
            let stat = stat.expect("alive");
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(wanted))
        });
    }

    #[test]
    fn what_is_frozen_runs_on_when_the_holds_are_dropped() {
        let sleeper = Sleeper::start();
        let backend = sleeper.backend();
        let mut holds = Holds::default();
        holds.hold(LONG, move |over| freeze(&backend, over)).expect("held");
        becomes(&sleeper, 'T');
        drop(holds);
        becomes(&sleeper, 'S');
    }

    #[test]
    fn a_fault_that_panics_is_undone_too() {
        let sleeper = Sleeper::start();
        let backend = sleeper.backend();
        let mut holds = Holds::default();
        let fault = move |_: &Over| {
            let _stopped = Stopped::stop(&backend);
            panic!("on purpose");
        };
        holds.hold(LONG, fault).expect("held");
        holds.end();
        becomes(&sleeper, 'S');
    }

    #[test]
    fn what_is_slowed_stops_and_runs_and_the_limit_ends_it() {
        let sleeper = Sleeper::start();
        let backend = sleeper.backend();
        let mut holds = Holds::default();
        holds.hold(Duration::from_millis(300), move |over| slow(&backend, over)).expect("held");
        becomes(&sleeper, 'T');
        becomes(&sleeper, 'S');
        until(|| holds.held.iter().all(JoinHandle::is_finished));
        becomes(&sleeper, 'S');
    }
}
