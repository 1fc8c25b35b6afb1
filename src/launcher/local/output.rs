//! The output thread: follows the logs of all backends, measures processes, answers questions for log lines.
//!
//! Apart from the spawner thread, so that neither a full disk nor a flood of output delays the notice of an exit.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use actix::Recipient;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::fs::inotify;

use super::bell::Bell;
use super::follower::{Follow, Follower, Turn};
use super::outlive::outlive;
use super::{log_read, procfs};
use crate::clock::{Clock, Moment};
use crate::ids::ProcessKey;
use crate::launcher::{Report, TailOrder};
use crate::limits;

const WAKE: Token = Token(0);
const CHANGES: Token = Token(1);
/// Room for a few hundred changes at one time; each has 16 bytes and a file name.
const CHANGES_BUFFER: usize = 16 * 1024;
/// Changes read in one go; where there are more, looking at every log is cheaper.
const CHANGES_AT_ONCE: usize = 4096;

/// What the output thread is told.
#[derive(Debug)]
pub(super) enum OutputOrder {
    /// Answers go there from now on.
    Subscribe(Recipient<Report>),
    /// A process began.
    Follow(Box<Follow>),
    /// A process ended.
    Finish {
        /// Which.
        key: ProcessKey,
        /// Its log.
        path: PathBuf,
    },
    /// Measure a process.
    Sample {
        /// Which.
        key: ProcessKey,
        /// Its log.
        path: PathBuf,
        /// Its pid.
        pid: u32,
        /// Its start, so that no other process with this pid is measured.
        start_ticks: u64,
        /// Told the largest address space.
        peak_address_space: Arc<AtomicU64>,
    },
    /// Read a log.
    Tail(TailOrder),
    /// Panic, for a test.
    Crash,
    /// Pass on what is left, and end.
    End,
}

/// The way to the output thread.
#[derive(Debug, Clone)]
pub(super) struct OutputHandle {
    orders: Sender<OutputOrder>,
    bell: Arc<Bell>,
}

impl OutputHandle {
    /// Gives an order. After the end of the thread it is without effect.
    pub(super) fn send(&self, order: OutputOrder) {
        if self.orders.send(order).is_ok() {
            self.bell.ring();
        }
    }
}

/// The output thread's state.
pub(super) struct OutputThread {
    poll: Poll,
    orders: Receiver<OutputOrder>,
    bell: Arc<Bell>,
    subscriber: Option<Recipient<Report>>,
    report_lines: bool,
    followers: HashMap<PathBuf, Follower>,
    /// Logs that may have grown.
    changed: HashSet<PathBuf>,
    changes: Option<Changes>,
    clock: Clock,
    next_turn: Moment,
}

impl OutputThread {
    /// Prepares the thread and the way to it.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub(super) fn prepare(report_lines: bool) -> io::Result<(Self, OutputHandle)> {
        let poll = Poll::new()?;
        let bell = Arc::new(Bell::new(poll.registry(), WAKE)?);
        let (orders, receiver) = std::sync::mpsc::channel();
        let changes = Changes::watch()
            .inspect_err(|error| {
                tracing::warn!(target: "symphony-mgmt", %error, "cannot watch logs: they are looked at once a second");
            })
            .ok();
        let clock = Clock::start();
        let thread = Self {
            poll,
            orders: receiver,
            bell: Arc::clone(&bell),
            subscriber: None,
            report_lines,
            followers: HashMap::new(),
            changed: HashSet::new(),
            changes,
            clock,
            next_turn: clock.now(),
        };
        Ok((thread, OutputHandle { orders, bell }))
    }

    /// Runs until [`OutputOrder::End`].
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(2);
        loop {
            // before the orders are taken: one that comes later rings
            self.bell.lie_down();
            let Some(more_orders) = self.take_orders() else { return self.end() };
            self.listen();
            let timeout = if more_orders { Some(Duration::ZERO) } else { self.time_to_next_turn() };
            // only an interrupting signal ends it early, and that is as good as a time-out
            let _ = self.poll.poll(&mut events, timeout);
            self.bell.get_up();
            if events.iter().any(|event| event.token() == CHANGES) {
                outlive("changes of logs", || self.note_changes());
            }
            if self.clock.now() >= self.next_turn {
                outlive("reading logs", || self.take_turns());
            }
        }
    }

    /// `None` at the end, else whether there may be more.
    fn take_orders(&mut self) -> Option<bool> {
        for _ in 0..limits::OUTPUT_ORDERS {
            match self.orders.try_recv() {
                Ok(OutputOrder::End) | Err(TryRecvError::Disconnected) => return None,
                Ok(order) => {
                    outlive("order", || self.carry_out(order));
                }
                Err(TryRecvError::Empty) => return Some(false),
            }
        }
        Some(true)
    }

    fn carry_out(&mut self, order: OutputOrder) {
        match order {
            OutputOrder::Subscribe(subscriber) => self.subscriber = Some(subscriber),
            OutputOrder::Follow(follow) => self.follow(*follow),
            OutputOrder::Finish { key, path } => {
                if let Some(follower) = self.followers.get_mut(&path).filter(|f| *f.key() == key) {
                    follower.finish();
                    self.changed.insert(path);
                }
            }
            OutputOrder::Sample { key, path, pid, start_ticks, peak_address_space } => {
                let Some(usage) = procfs::usage(pid, start_ticks) else { return };
                peak_address_space.fetch_max(usage.peak_address_space, Ordering::Relaxed);
                let follower = self.followers.get_mut(&path).filter(|f| *f.key() == key);
                let output_bytes = follower.map_or(0, Follower::output_bytes);
                self.report(Report::Sampled {
                    key,
                    cpu_time: usage.cpu_time,
                    output_bytes,
                    resident_bytes: usage.resident_bytes,
                });
            }
            OutputOrder::Tail(order) => {
                let (lines, next_offset) = log_read::tail(&order);
                self.report(Report::Output { ticket: order.ticket, lines, next_offset });
            }
            OutputOrder::Crash => panic!("crashed on request"),
            OutputOrder::End => {}
        }
    }

    /// An asker that is gone needs no answer.
    fn report(&self, report: Report) {
        if let Some(subscriber) = &self.subscriber {
            subscriber.do_send(report);
        }
    }

    fn follow(&mut self, follow: Follow) {
        let path = follow.path.clone();
        if let Some(changes) = &mut self.changes
            && let Some(folder) = path.parent()
            && let Err(error) = changes.add_folder(folder)
        {
            tracing::warn!(
                target: "symphony-mgmt", folder = %folder.display(), %error,
                "cannot watch logs: they are looked at once a second"
            );
            self.changes = None;
        }
        let follower = match self.followers.remove(&path) {
            Some(before) => before.succeeded_by(follow, self.clock.now()),
            None => Follower::new(follow, self.report_lines),
        };
        self.followers.insert(path.clone(), follower);
        self.changed.insert(path);
    }

    fn take_turns(&mut self) {
        // here too, since a flood of one backend keeps the thread from listening
        self.note_changes();
        if self.changes.is_none() {
            self.changed.extend(self.followers.keys().cloned());
        }
        let now = self.clock.now();
        for path in std::mem::take(&mut self.changed) {
            let Some(follower) = self.followers.get_mut(&path) else { continue };
            // one that cannot be read is followed no more: it would fail again
            match outlive("a log", || follower.turn(now)).unwrap_or(Turn::Done) {
                Turn::Idle => {}
                Turn::Again => {
                    self.changed.insert(path);
                }
                Turn::Done => {
                    self.followers.remove(&path);
                }
            }
        }
        self.next_turn = self.clock.now() + limits::OUTPUT_TURN_EVERY;
    }

    fn time_to_next_turn(&self) -> Option<Duration> {
        if !self.changed.is_empty() {
            return Some(self.next_turn.since(self.clock.now()));
        }
        let must_look = self.changes.is_none() && !self.followers.is_empty();
        must_look.then_some(limits::LOG_LOOK_EVERY)
    }

    /// Changes wake the thread only while there is nothing to wait for: a backend that writes line by line
    /// costs one wake-up per turn, not one per line.
    fn listen(&mut self) {
        if let Some(changes) = &mut self.changes {
            let wanted = self.changed.is_empty();
            if let Err(error) = changes.set_listening(self.poll.registry(), wanted) {
                tracing::warn!(target: "symphony-mgmt", %error, "cannot watch logs: they are looked at once a second");
                self.changes = None;
            }
        }
    }

    fn note_changes(&mut self) {
        let Some(changes) = &mut self.changes else { return };
        let followers = &self.followers;
        let changed = &mut self.changed;
        let overflowed = changes.read(|path| {
            if followers.contains_key(&path) {
                changed.insert(path);
            }
        });
        if overflowed {
            self.changed.extend(self.followers.keys().cloned());
        }
    }

    fn end(mut self) {
        let now = self.clock.now();
        for follower in self.followers.values_mut() {
            follower.end(now);
        }
    }
}

/// What the kernel tells about changed files.
struct Changes {
    inotify: OwnedFd,
    folders: HashMap<i32, PathBuf>,
    listening: bool,
}

impl Changes {
    fn watch() -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self { inotify: inotify::init(flags)?, folders: HashMap::new(), listening: false })
    }

    fn add_folder(&mut self, folder: &Path) -> io::Result<()> {
        if self.folders.values().any(|known| known == folder) {
            return Ok(());
        }
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::ONLYDIR;
        let watch = inotify::add_watch(&self.inotify, folder, flags)?;
        self.folders.insert(watch, folder.to_owned());
        Ok(())
    }

    /// Registering again tells also of what came meanwhile.
    fn set_listening(&mut self, registry: &mio::Registry, wanted: bool) -> io::Result<()> {
        if self.listening == wanted {
            return Ok(());
        }
        let descriptor = self.inotify.as_raw_fd();
        let mut source = SourceFd(&descriptor);
        if wanted {
            registry.register(&mut source, CHANGES, Interest::READABLE)?;
        } else {
            registry.deregister(&mut source)?;
        }
        self.listening = wanted;
        Ok(())
    }

    /// Takes all changes; answers whether some were lost.
    fn read(&mut self, mut changed: impl FnMut(PathBuf)) -> bool {
        let mut buffer = [const { MaybeUninit::uninit() }; CHANGES_BUFFER];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut overflowed = false;
        for seen in 0.. {
            let Ok(event) = reader.next() else { break };
            if event.events().contains(inotify::ReadFlags::IGNORED) {
                // the folder is gone; one of the same name is watched anew
                self.folders.remove(&event.wd());
                continue;
            }
            if seen >= CHANGES_AT_ONCE
                || event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW)
            {
                overflowed = true;
                break;
            }
            if let (Some(folder), Some(name)) = (self.folders.get(&event.wd()), event.file_name()) {
                changed(folder.join(OsStr::from_bytes(name.to_bytes())));
            }
        }
        overflowed
    }
}
