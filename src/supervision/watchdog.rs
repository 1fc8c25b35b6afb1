//! Notices that a whole thread of actors stands still, which nobody on that thread can.
//!
//! An actor that blocks its thread (a lock, a file, an endless loop in a handler) holds up all others there, their
//! supervisors too. A small thread looks whether the arbiter still ticks, tells in which actor it hangs, and tells again
//! when it is over. Nothing can be replaced meanwhile: a thread cannot be ended from outside. That needs another process.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::task::{Context, Poll};
use std::time::Duration;

use actix::Message;
use tokio::sync::watch;

use super::child::KillOnDrop;
use crate::clock::{Clock, Moment};

/// Something about a thread that stood still.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Stall {
    /// It does.
    Began {
        /// The time since it was last seen to get on.
        silent_for: Duration,
        /// The actor it is in, `supervisor/child`; `None`: in something else, or in an actor nobody named.
        inside: Option<String>,
    },
    /// It gets on again.
    Over {
        /// How long it stood still.
        lasted: Duration,
        /// The actor it was in.
        inside: Option<String>,
    },
}

/// Watches the thread it was started on. Dropping it ends the watch.
pub struct Watchdog {
    _ticker: KillOnDrop,
    /// The thread ends when this is gone.
    _alive: Sender<()>,
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog").finish_non_exhaustive()
    }
}

impl Watchdog {
    /// Watches the present arbiter: one that does not tick for `limit` stands still. `tell` is called on the watchdog's
    /// own thread. Actors that are started from now on are told by name.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start(limit: Duration, tell: impl FnMut(Stall) + Send + 'static) -> io::Result<Self> {
        let pace = limit / LOOKS_PER_LIMIT;
        let place = Place::here();
        let names = NAMES.with_borrow_mut(|names| {
            names.get_or_insert_with(|| watch::Sender::new(HashMap::new())).subscribe()
        });
        let (alive, end) = channel();
        let watched = place.clone();
        std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch_it(limit, &watched, &names, &end, tell))?;
        let ticker = actix_rt::spawn(async move {
            loop {
                place.ticks.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(pace).await;
            }
        });
        Ok(Self { _ticker: KillOnDrop(ticker.abort_handle()), _alive: alive })
    }
}

/// Looks within the limit: a stall is noticed a quarter of the limit late at the most.
const LOOKS_PER_LIMIT: u32 = 4;

fn watch_it(
    limit: Duration,
    place: &Place,
    names: &watch::Receiver<HashMap<u64, String>>,
    end: &Receiver<()>,
    mut tell: impl FnMut(Stall),
) {
    let clock = Clock::start();
    let mut stillness = Stillness::new(limit, clock.now());
    let mut inside = None;
    while end.recv_timeout(limit / LOOKS_PER_LIMIT) == Err(RecvTimeoutError::Timeout) {
        let ticks = place.ticks.load(Ordering::Relaxed);
        match stillness.look(ticks, clock.now()) {
            Some(Change::Began(silent_for)) => {
                let number = place.inside.load(Ordering::Relaxed);
                inside = names.borrow().get(&number).cloned();
                tell(Stall::Began { silent_for, inside: inside.clone() });
            }
            Some(Change::Over(lasted)) => tell(Stall::Over { lasted, inside: inside.take() }),
            None => {}
        }
    }
}

/// Judges a thread by its ticks. Pure.
#[derive(Debug)]
struct Stillness {
    limit: Duration,
    ticks: u64,
    moved_at: Moment,
    looked_at: Moment,
    still: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Began(Duration),
    Over(Duration),
}

impl Stillness {
    fn new(limit: Duration, now: Moment) -> Self {
        Self { limit, ticks: 0, moved_at: now, looked_at: now, still: false }
    }

    fn look(&mut self, ticks: u64, now: Moment) -> Option<Change> {
        let since_look = now.since(self.looked_at);
        self.looked_at = now;
        if ticks != self.ticks {
            let lasted = now.since(self.moved_at);
            self.ticks = ticks;
            self.moved_at = now;
            return std::mem::take(&mut self.still).then_some(Change::Over(lasted));
        }
        // this look comes late itself: the whole process was held up (stopped, out of memory) and the thread could not
        // tick either
        if since_look > self.limit / LOOKS_PER_LIMIT * 2 && !self.still {
            self.moved_at = now;
            return None;
        }
        let silent_for = now.since(self.moved_at);
        if self.still || silent_for < self.limit {
            return None;
        }
        self.still = true;
        Some(Change::Began(silent_for))
    }
}

/// Where a thread is, for others to read.
#[derive(Debug, Default)]
struct Place {
    /// Turns of the ticker.
    ticks: AtomicU64,
    /// The number of the actor that is being run; 0 for none.
    inside: AtomicU64,
}

thread_local! {
    static PLACE: OnceCell<Arc<Place>> = const { OnceCell::new() };
    static STARTING: RefCell<Option<Rc<str>>> = const { RefCell::new(None) };
    static NAMES: RefCell<Option<watch::Sender<HashMap<u64, String>>>> = const { RefCell::new(None) };
}

/// The next actor's number. Zero is nobody.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Place {
    fn here() -> Arc<Self> {
        PLACE.with(|place| place.get_or_init(Arc::default).clone())
    }
}

/// An actor's life that leaves a note of whose it is while it runs: two stores to memory for a turn.
pub(super) struct Noted<F> {
    life: F,
    number: u64,
    place: Arc<Place>,
}

impl<F> Noted<F> {
    pub(super) fn new(life: F) -> Self {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self { life, number, place: Place::here() }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl<F: Future + Unpin> Future for Noted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.place.inside.store(this.number, Ordering::Relaxed);
        // also where it panics
        let _leave = Leave(&this.place.inside);
        Pin::new(&mut this.life).poll(task)
    }
}

struct Leave<'a>(&'a AtomicU64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Who is being started, so that its actor has a name from its first turn on.
#[derive(Clone)]
pub(super) struct Starting(Option<Rc<str>>);

impl Starting {
    /// Costs nothing where no watchdog was started.
    pub(super) fn new(name: impl FnOnce() -> String) -> Self {
        let armed = NAMES.with_borrow(Option::is_some);
        Self(armed.then(|| name().into()))
    }

    /// Runs a part of the start.
    pub(super) fn run<R>(&self, part: impl FnOnce() -> R) -> R {
        let before = STARTING.replace(self.0.clone());
        let _after = Restore(before);
        part()
    }

    /// Runs the rest of the start, whenever it gets a turn.
    pub(super) fn rest<F: Future + Unpin>(self, mut rest: F) -> impl Future<Output = F::Output> {
        std::future::poll_fn(move |task| self.run(|| Pin::new(&mut rest).poll(task)))
    }
}

struct Restore(Option<Rc<str>>);

impl Drop for Restore {
    fn drop(&mut self) {
        STARTING.set(self.0.take());
    }
}

/// The name of an actor, for as long as it is kept.
pub(super) struct Name(Option<u64>);

impl Name {
    /// Gives the name of whoever is being started.
    pub(super) fn give(number: u64) -> Self {
        let Some(name) = STARTING.with_borrow(Clone::clone) else { return Self(None) };
        NAMES.with_borrow(|names| {
            let Some(names) = names else { return Self(None) };
            names.send_modify(|names| {
                names.insert(number, name.as_ref().to_owned());
            });
            Self(Some(number))
        })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let Some(number) = self.0 else { return };
        // a thread that ends may have dropped its table already
        let _ = NAMES.try_with(|names| {
            if let Some(names) = &*names.borrow() {
                names.send_modify(|names| {
                    names.remove(&number);
                });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn a_thread_that_ticks_is_left_alone() {
        let mut stillness = Stillness::new(LIMIT, at(0));
        for look in 1..100 {
            // a tick may be missed now and then
            assert_eq!(stillness.look(look / 2, at(look * 2500)), None);
        }
    }

    #[test]
    fn a_stall_is_told_once_and_so_is_its_end() {
        let mut stillness = Stillness::new(LIMIT, at(0));
        assert_eq!(stillness.look(1, at(2500)), None);
        for look in 2..5 {
            assert_eq!(stillness.look(1, at(look * 2500)), None, "within the limit");
        }
        assert_eq!(stillness.look(1, at(12_500)), Some(Change::Began(LIMIT)));
        assert_eq!(stillness.look(1, at(15_000)), None);
        assert_eq!(stillness.look(1, at(60_000)), None, "told once");
        let lasted = Duration::from_millis(60_000);
        assert_eq!(stillness.look(2, at(62_500)), Some(Change::Over(lasted)));
        assert_eq!(stillness.look(3, at(65_000)), None);
    }

    #[test]
    fn a_process_that_was_stopped_as_a_whole_has_not_stalled() {
        let mut stillness = Stillness::new(LIMIT, at(0));
        stillness.look(1, at(2500));
        assert_eq!(stillness.look(1, at(3_600_000)), None);
        assert_eq!(stillness.look(2, at(3_602_500)), None);
        // nor where the pause alone is shorter than the limit, and the silence before it makes it up
        assert_eq!(stillness.look(2, at(3_605_000)), None);
        assert_eq!(stillness.look(2, at(3_614_000)), None);
        assert_eq!(stillness.look(3, at(3_616_500)), None);
    }
}
