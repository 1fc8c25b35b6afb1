//! What the [`ProcessTable`](super::table::ProcessTable) may be asked.

use std::path::PathBuf;

use actix::{Message, MessageResponse, Recipient};

use super::{GroupSignal, InstanceRecord, ProcessIdentity, ReadyEnd, Report, SpawnOrder};
use crate::ids::{Generation, InstanceId, ProcessKey};

/// An instance's actor is there, and takes the reports about its processes from now on.
///
/// A later one replaces the former: it is the successor of an actor that crashed.
#[derive(Debug, Message)]
#[rtype(result = "Attached")]
pub struct Attach {
    /// The instance.
    pub instance: InstanceId,
    /// Where its reports go.
    pub reports: Recipient<Report>,
}

/// What an instance's actor finds when it attaches.
#[derive(Debug, Default, MessageResponse)]
pub struct Attached {
    /// What was remembered of the instance.
    pub record: Option<InstanceRecord>,
    /// Its process, if one lives.
    pub live: Option<(ProcessKey, ProcessIdentity)>,
    /// A start that was ordered and not answered yet.
    pub ordered: Option<Generation>,
    /// Reports that came while no actor took them, the oldest first.
    pub missed: Vec<Report>,
    /// The readiness channel of its process, where an earlier core started it.
    pub ready: Option<ReadyEnd>,
}

/// Starts a process. Answered by exactly one [`Report::Spawned`] or [`Report::SpawnFailed`], unless it is cancelled.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Spawn(pub SpawnOrder);

/// Takes a spawn back that has not gone out yet. Answers whether that was so; if not, a report will come.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub struct CancelSpawn(pub ProcessKey);

/// Signals the whole group of a process. One that is gone is no error.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Signal {
    /// The process.
    pub key: ProcessKey,
    /// The signal.
    pub signal: GroupSignal,
}

/// Asks for a [`Report::Sampled`]; none comes for a process that is gone.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Sample {
    /// The process.
    pub key: ProcessKey,
}

/// Reads the end of a log.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<LogLines, String>")]
pub struct Tail {
    /// The file.
    pub log_path: PathBuf,
    /// Lines at most.
    pub lines: usize,
    /// Only whole lines behind this offset.
    pub after_offset: Option<u64>,
}

/// Some lines of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLines {
    /// The lines.
    pub lines: Vec<String>,
    /// Where to go on.
    pub next_offset: u64,
}

/// Remembers an instance beyond the life of its actor.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Keep(pub InstanceRecord);

/// Forgets an instance.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Forget(pub InstanceId);

/// Removes the socket file of an instance; anything but a socket is left alone.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct RemoveSocket(pub PathBuf);

/// All that lives and all that is remembered.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Inventory")]
pub struct ReadInventory;

/// Answer to [`ReadInventory`], both in the order of instances.
#[derive(Debug, Clone, PartialEq, MessageResponse)]
pub struct Inventory {
    /// What is remembered.
    pub records: Vec<InstanceRecord>,
    /// Processes that live.
    pub live: Vec<(ProcessKey, ProcessIdentity)>,
}
