//! The process table: the one actor that talks to the launcher.
//!
//! ```text
//!  InstanceActor ── Attach, Spawn, Signal … ──▶ ProcessTable ── orders ──▶ Launcher (own threads)
//!        ▲                                      │      ▲                          │
//!        └────────── reports of its key ────────┘      └──────── reports ─────────┘
//! ```
//!
//! It hands reports to the actor of each instance, keeps those that come while that actor is being replaced, smooths
//! storms of spawns, and never lets a generation start before the one before it is gone. It holds no process: when it
//! crashes, its successor asks the launcher what lives. Until that answer is there, questions about it wait.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::fut::{self, ActorFuture, ActorFutureExt};
use actix::{
    Actor, ActorContext, AsyncContext, Context, Handler, Recipient, ResponseActFuture,
    ResponseFuture,
};
use tokio::sync::oneshot;

use super::admission::Admission;
use super::table_messages::{
    Attach, Attached, CancelSpawn, Forget, Inventory, Keep, LogLines, ReadInventory, RemoveSocket,
    Sample, Signal, Spawn, Tail,
};
use super::{
    GroupSignal, InstanceRecord, Launcher, ProcessIdentity, ReadyEnd, Report, SpawnError,
    SpawnOrder, TailOrder,
};
use crate::ids::{InstanceId, ProcessKey};
use crate::limits;
use crate::supervision::StopActor;
use crate::supervision::crash::crashes_on_request;

/// See the [module](self).
pub struct ProcessTable {
    launcher: Arc<dyn Launcher>,
    /// False until the launcher has told what lives and what is remembered.
    inventory_known: bool,
    /// Wakes this actor's own task for questions that wait for the inventory.
    inventory_waker: Option<Waker>,
    live: BTreeMap<InstanceId, (ProcessKey, ProcessIdentity)>,
    records: BTreeMap<InstanceId, InstanceRecord>,
    /// Readiness channels that an earlier core had, for the actors to come.
    ready: HashMap<ProcessKey, ReadyEnd>,
    /// Records kept or forgotten while the inventory, which is older, was on its way.
    changed_early: HashSet<InstanceId>,
    attached: HashMap<InstanceId, Recipient<Report>>,
    /// Starts whose instance was forgotten before they were answered; as few as may be unanswered at one time.
    forgotten: HashSet<ProcessKey>,
    unclaimed: HashMap<InstanceId, VecDeque<Report>>,
    admission: Admission<SpawnOrder>,
    tails: HashMap<u64, oneshot::Sender<Result<LogLines, String>>>,
    last_ticket: u64,
}

impl ProcessTable {
    /// A table before `launcher`, with at most `spawns_at_once` unanswered spawns.
    pub fn new(launcher: Arc<dyn Launcher>, spawns_at_once: usize) -> Self {
        Self {
            launcher,
            inventory_known: false,
            inventory_waker: None,
            live: BTreeMap::new(),
            records: BTreeMap::new(),
            ready: HashMap::new(),
            changed_early: HashSet::new(),
            attached: HashMap::new(),
            unclaimed: HashMap::new(),
            forgotten: HashSet::new(),
            admission: Admission::new(spawns_at_once),
            tails: HashMap::new(),
            last_ticket: 0,
        }
    }

    /// Answers at once where the inventory is known, else as soon as it is.
    fn when_known<R: 'static>(
        &mut self,
        answer: impl FnOnce(&mut Self) -> R + 'static,
    ) -> ResponseActFuture<Self, R> {
        if self.inventory_known {
            return Box::pin(fut::ready(answer(self)));
        }
        Box::pin(InventoryKnown.map(|(), table: &mut Self, _| answer(table)))
    }

    fn attach(&mut self, attach: Attach) -> Attached {
        let Attach { instance, reports } = attach;
        let live = self.live.get(&instance).cloned();
        let attached = Attached {
            ready: live.as_ref().and_then(|(key, _)| self.ready.remove(key)),
            record: self.records.get(&instance).cloned(),
            live,
            ordered: self.admission.pending(&instance).map(|key| key.generation),
            missed: self.unclaimed.remove(&instance).unwrap_or_default().into(),
        };
        self.attached.insert(instance, reports);
        attached
    }

    /// Why this process cannot be started now.
    fn obstacle(&self, key: &ProcessKey) -> Option<String> {
        if let Some((live, _)) = self.live.get(&key.instance) {
            return Some(format!("generation {} of it is not gone yet", live.generation));
        }
        let pending = self.admission.pending(&key.instance)?;
        Some(format!("generation {} of it is being started already", pending.generation))
    }

    /// Lets go out what may.
    fn pump(&mut self) {
        while self.inventory_known
            && let Some((key, order)) = self.admission.let_out()
        {
            match self.live.get(&key.instance) {
                None => self.launcher.spawn(order),
                Some((live, _)) => {
                    let reason = format!("generation {} of it is not gone yet", live.generation);
                    self.admission.answered(&key);
                    self.refuse(order, reason);
                }
            }
        }
    }

    fn refuse(&mut self, order: SpawnOrder, reason: String) {
        let program = order.command.program.to_string_lossy().into_owned();
        let error = SpawnError::Transient { program, reason };
        let instance = order.key.instance.clone();
        self.deliver(&instance, Report::SpawnFailed { key: order.key, error });
    }

    /// Gets a report to the instance's actor, or keeps it for the successor.
    fn deliver(&mut self, instance: &InstanceId, report: Report) {
        match self.attached.get(instance) {
            Some(recipient) if recipient.connected() => recipient.do_send(report),
            _ => self.keep_unclaimed(instance, report),
        }
    }

    fn keep_unclaimed(&mut self, instance: &InstanceId, report: Report) {
        // answers to questions of an actor that is gone
        if matches!(report, Report::Sampled { .. }) {
            return;
        }
        let kept = self.unclaimed.entry(instance.clone()).or_default();
        if kept.len() == limits::UNCLAIMED_REPORTS {
            kept.pop_front();
            tracing::warn!(
                target: "symphony-mgmt", instance = %instance,
                "too many reports that no actor takes: the oldest is dropped"
            );
        }
        kept.push_back(report);
    }

    fn take_inventory(
        &mut self,
        processes: Vec<(ProcessKey, ProcessIdentity)>,
        records: Vec<InstanceRecord>,
    ) {
        self.live = processes.into_iter().map(|entry| (entry.0.instance.clone(), entry)).collect();
        for record in records {
            if !self.changed_early.contains(&record.instance) {
                self.records.insert(record.instance.clone(), record);
            }
        }
        self.changed_early.clear();
        self.inventory_known = true;
        if let Some(waker) = self.inventory_waker.take() {
            waker.wake();
        }
    }
}

/// Resolves when the table knows the inventory.
struct InventoryKnown;

impl ActorFuture<ProcessTable> for InventoryKnown {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        table: &mut ProcessTable,
        _: &mut Context<ProcessTable>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        if table.inventory_known {
            return Poll::Ready(());
        }
        // all futures of an actor share its task, so the last waker serves them all
        table.inventory_waker = Some(task.waker().clone());
        Poll::Pending
    }
}

impl Actor for ProcessTable {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.launcher.subscribe(ctx.address().recipient());
        self.launcher.inventory();
    }
}

impl Handler<StopActor> for ProcessTable {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Report> for ProcessTable {
    type Result = ();

    fn handle(&mut self, report: Report, _: &mut Self::Context) {
        match &report {
            Report::Spawned { key, identity, .. } => {
                let (key, identity) = (key.clone(), identity.clone());
                self.admission.answered(&key);
                self.live.insert(key.instance.clone(), (key.clone(), identity));
                if self.forgotten.remove(&key) {
                    // nobody would ever end it
                    self.launcher.signal(&key, GroupSignal::Kill);
                }
                self.deliver(&key.instance, report);
            }
            Report::SpawnFailed { key, .. } => {
                let key = key.clone();
                self.forgotten.remove(&key);
                self.admission.answered(&key);
                self.deliver(&key.instance, report);
            }
            Report::Exited { key, .. } => {
                let key = key.clone();
                if self.live.get(&key.instance).is_some_and(|(live, _)| *live == key) {
                    self.live.remove(&key.instance);
                }
                self.ready.remove(&key);
                self.deliver(&key.instance, report);
            }
            Report::Sampled { key, .. } | Report::SignalRefused { key, .. } => {
                let instance = key.instance.clone();
                self.deliver(&instance, report);
            }
            Report::Output { .. } => {
                if let Report::Output { ticket, lines, next_offset } = report
                    && let Some(asker) = self.tails.remove(&ticket)
                {
                    // an asker that is gone needs no answer
                    let _ = asker.send(lines.map(|lines| LogLines { lines, next_offset }));
                }
            }
            Report::Inventory { .. } => {
                if let Report::Inventory { processes, records, ready } = report {
                    self.ready = ready.into_iter().collect();
                    self.take_inventory(processes, records);
                }
            }
        }
        self.pump();
    }
}

impl Handler<Attach> for ProcessTable {
    type Result = ResponseActFuture<Self, Attached>;

    fn handle(&mut self, attach: Attach, _: &mut Self::Context) -> Self::Result {
        self.when_known(|table| table.attach(attach))
    }
}

impl Handler<Spawn> for ProcessTable {
    type Result = ();

    fn handle(&mut self, Spawn(order): Spawn, _: &mut Self::Context) {
        match self.obstacle(&order.key) {
            Some(reason) => self.refuse(order, reason),
            None => {
                self.admission.enqueue(order.key.clone(), order);
                self.pump();
            }
        }
    }
}

impl Handler<CancelSpawn> for ProcessTable {
    type Result = bool;

    fn handle(&mut self, CancelSpawn(key): CancelSpawn, _: &mut Self::Context) -> bool {
        self.admission.cancel(&key).is_some()
    }
}

impl Handler<Signal> for ProcessTable {
    type Result = ();

    fn handle(&mut self, Signal { key, signal }: Signal, _: &mut Self::Context) {
        self.launcher.signal(&key, signal);
    }
}

impl Handler<Sample> for ProcessTable {
    type Result = ();

    fn handle(&mut self, Sample { key }: Sample, _: &mut Self::Context) {
        self.launcher.sample(&key);
    }
}

impl Handler<Tail> for ProcessTable {
    type Result = ResponseFuture<Result<LogLines, String>>;

    fn handle(&mut self, tail: Tail, _: &mut Self::Context) -> Self::Result {
        if self.tails.len() >= limits::TAILS_PENDING {
            return Box::pin(async {
                Err("too many requests for logs, try again later".to_owned())
            });
        }
        self.last_ticket += 1;
        let (asker, answer) = oneshot::channel();
        self.tails.insert(self.last_ticket, asker);
        self.launcher.tail(TailOrder {
            ticket: self.last_ticket,
            log_path: tail.log_path,
            lines: tail.lines,
            after_offset: tail.after_offset,
        });
        Box::pin(async {
            answer
                .await
                .unwrap_or_else(|_| Err("the process table was replaced, ask again".to_owned()))
        })
    }
}

impl Handler<Keep> for ProcessTable {
    type Result = ();

    fn handle(&mut self, Keep(record): Keep, _: &mut Self::Context) {
        if !self.inventory_known {
            self.changed_early.insert(record.instance.clone());
        }
        self.records.insert(record.instance.clone(), record.clone());
        self.launcher.keep(record);
    }
}

impl Handler<Forget> for ProcessTable {
    type Result = ();

    fn handle(&mut self, Forget(instance): Forget, _: &mut Self::Context) {
        if !self.inventory_known {
            self.changed_early.insert(instance.clone());
        }
        self.records.remove(&instance);
        // a later instance of this name begins anew: reports about this one must not reach it
        self.unclaimed.remove(&instance);
        self.attached.remove(&instance);
        if let Some(start) = self.admission.pending(&instance).cloned()
            && self.admission.cancel(&start).is_none()
        {
            self.forgotten.insert(start);
        }
        self.launcher.forget(&instance);
    }
}

impl Handler<RemoveSocket> for ProcessTable {
    type Result = ();

    fn handle(&mut self, RemoveSocket(path): RemoveSocket, _: &mut Self::Context) {
        self.launcher.remove_socket(path);
    }
}

impl Handler<ReadInventory> for ProcessTable {
    type Result = ResponseActFuture<Self, Inventory>;

    fn handle(&mut self, _: ReadInventory, _: &mut Self::Context) -> Self::Result {
        self.when_known(|table| Inventory {
            records: table.records.values().cloned().collect(),
            live: table.live.values().cloned().collect(),
        })
    }
}

crashes_on_request!(ProcessTable);

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
