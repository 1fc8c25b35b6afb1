//! What the spawner thread is told, and the way to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, SyncSender};
use std::time::Duration;

use actix::Recipient;
use mio::Token;

use super::bell::Bell;
use super::keeper::Written;
use crate::heart::protocol::Ended;
use crate::ids::{InstanceId, ProcessKey};
use crate::launcher::{GroupSignal, InstanceRecord, LauncherNotice, Report, SpawnOrder, TailOrder};

/// What the spawner thread is told; the calls of [`Launcher`](crate::launcher::Launcher), in the order in which they were made.
#[derive(Debug)]
pub(super) enum Order {
    /// Reports go there.
    Subscribe(Recipient<Report>),
    /// Start a process.
    Spawn(Box<SpawnOrder>),
    /// Signal a group.
    Signal(ProcessKey, GroupSignal),
    /// Measure a process.
    Sample(ProcessKey),
    /// Read a log.
    Tail(TailOrder),
    /// Remember an instance.
    Keep(Box<InstanceRecord>),
    /// Forget an instance.
    Forget(InstanceId),
    /// Tell all.
    Inventory,
    /// What nobody asked for is told there.
    TellNotices(Recipient<LauncherNotice>),
    /// A batch of state was written.
    Written(Written),
    /// The heart told how a process ended, or that nobody knows.
    Collected(Token, Option<Ended>),
    /// Remove a socket file.
    RemoveSocket(PathBuf),
    /// Panic, for a test.
    Crash,
    /// Write down what lives, leave it, and end.
    LetGo {
        /// Time for that.
        limit: Duration,
        /// Told when it is done.
        done: SyncSender<usize>,
    },
    /// Kill what is left and end.
    End {
        /// Time for that.
        limit: Duration,
        /// Told how many were not gone in time.
        done: SyncSender<usize>,
    },
}

/// The way to the spawner thread.
#[derive(Debug, Clone)]
pub(super) struct SpawnerHandle {
    pub(super) orders: Sender<Order>,
    pub(super) bell: Arc<Bell>,
    pub(super) ending: Arc<AtomicBool>,
    pub(super) living: Arc<AtomicUsize>,
}

impl SpawnerHandle {
    /// Gives an order. Answers whether the thread is still there.
    pub(super) fn send(&self, order: Order) -> bool {
        let sent = self.orders.send(order).is_ok();
        if sent {
            self.bell.ring();
        }
        sent
    }

    /// Processes that live just now.
    pub(super) fn living(&self) -> usize {
        self.living.load(Ordering::Acquire)
    }

    /// From now on no spawn is carried out, also those ordered before.
    pub(super) fn refuse_spawns(&self) {
        self.ending.store(true, Ordering::Release);
    }
}
