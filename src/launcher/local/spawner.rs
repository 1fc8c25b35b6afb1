//! The spawner thread: the one owner of every child process.
//!
//! It waits for orders and for exits at the same time. An exit never waits for more than one spawn (0.5 ms).

mod lasting;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::bell::Bell;
use super::cgroup::Cgroups;
use super::cgroup::cell::Cell;
use super::child::Child;
use super::keeper::Keeper;
use super::machine::{self, Machine};
use super::notices::Notices;
use super::orders::{Order, SpawnerHandle};
use super::orphans::Orphans;
use super::outlive::outlive;
use super::output::{OutputHandle, OutputOrder};
use super::reporter::Reporter;
use super::start;
use crate::clock::{Clock, Moment};
use crate::heart::link::HeartLink;
use crate::ids::{InstanceId, ProcessKey};
use crate::launcher::{
    ExitStatus, GroupSignal, InstanceRecord, ReadyEnd, Report, SpawnError, SpawnOrder,
};
use crate::limits;

const WAKE: Token = Token(0);

/// The spawner thread's state.
pub(super) struct Spawner {
    poll: Poll,
    orders: Receiver<Order>,
    bell: Arc<Bell>,
    ending: Arc<AtomicBool>,
    machine: Machine,
    reporter: Reporter,
    output: OutputHandle,
    children: HashMap<Token, Child>,
    /// Their number, for an end that cannot wait for this thread.
    living: Arc<AtomicUsize>,
    /// One live process per instance at most.
    by_instance: HashMap<InstanceId, Token>,
    records: BTreeMap<InstanceId, InstanceRecord>,
    /// Sockets that processes were started with, until their removal is ordered: what is killed at the end, and what
    /// nobody lived to clean up after, leaves its file.
    sockets: BTreeMap<InstanceId, PathBuf>,
    /// Those of processes that an earlier launcher started: who is behind them is not known, so that none is removed that
    /// anybody answers on.
    inherited_sockets: BTreeMap<InstanceId, PathBuf>,
    /// Readiness channels of processes that an earlier launcher started, until they are ready.
    ready: HashMap<ProcessKey, ReadyEnd>,
    heart: Option<HeartLink>,
    /// Starts whose readiness channel the heart holds.
    held_channels: BTreeSet<ProcessKey>,
    /// Processes that ended, and of which the heart was asked how.
    collecting: BTreeSet<Token>,
    /// `None`: nothing is written down.
    keeper: Option<Keeper>,
    notices: Notices,
    /// For who has to tell this thread something.
    handle: SpawnerHandle,
    orphans: Orphans,
    cgroups: Cgroups,
    /// Starts that wait for the cgroup of the process before them to be empty, and how long they do.
    held: Vec<(SpawnOrder, Moment)>,
    clock: Clock,
    last_token: usize,
}

/// What the thread works with.
pub(super) struct Parts {
    /// The machine.
    pub machine: Machine,
    /// Places for cgroups.
    pub cgroups: Cgroups,
    /// The way to the output thread.
    pub output: OutputHandle,
    /// The heart, if there is one.
    pub heart: Option<HeartLink>,
    /// The time.
    pub clock: Clock,
}

impl Spawner {
    /// Prepares the thread and the way to it.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub(super) fn prepare(parts: Parts) -> io::Result<(Self, SpawnerHandle)> {
        let Parts { machine, cgroups, output, heart, clock } = parts;
        let poll = Poll::new()?;
        let bell = Arc::new(Bell::new(poll.registry(), WAKE)?);
        let (orders, receiver) = std::sync::mpsc::channel();
        let ending = Arc::new(AtomicBool::new(false));
        let living = Arc::new(AtomicUsize::new(0));
        let handle = SpawnerHandle {
            orders,
            bell: Arc::clone(&bell),
            ending: Arc::clone(&ending),
            living: Arc::clone(&living),
        };
        let spawner = Self {
            poll,
            orders: receiver,
            bell: Arc::clone(&bell),
            ending: Arc::clone(&ending),
            machine,
            reporter: Reporter::default(),
            output,
            children: HashMap::new(),
            living: Arc::clone(&living),
            by_instance: HashMap::new(),
            records: BTreeMap::new(),
            sockets: BTreeMap::new(),
            inherited_sockets: BTreeMap::new(),
            ready: HashMap::new(),
            heart,
            held_channels: BTreeSet::new(),
            collecting: BTreeSet::new(),
            keeper: None,
            notices: Notices::default(),
            handle: handle.clone(),
            orphans: Orphans::default(),
            cgroups,
            held: Vec::new(),
            clock,
            last_token: WAKE.0,
        };
        Ok((spawner, handle))
    }

    /// Runs until [`Order::End`], or until nobody is left to give orders.
    pub(super) fn run(mut self) {
        machine::clear_signal_mask();
        let mut events = Events::with_capacity(limits::SPAWNER_EVENTS);
        loop {
            let mut order = self.orders.try_recv();
            if matches!(order, Err(TryRecvError::Empty)) {
                self.bell.lie_down();
                // one that came before rang no bell
                order = self.orders.try_recv();
            }
            let sleeps = matches!(order, Err(TryRecvError::Empty));
            let timeout = if sleeps { self.next_turn() } else { Some(Duration::ZERO) };
            // exits first, then one order, then exits again
            outlive("exits", || self.take_exits(&mut events, timeout));
            self.bell.get_up();
            match order {
                Ok(Order::End { limit, done }) => {
                    // nobody waits any longer when this fails
                    let _ = done.send(self.end(&mut events, limit));
                    return;
                }
                Ok(Order::LetGo { limit, done }) => {
                    let _ = done.send(self.let_go(&mut events, limit));
                    return;
                }
                Ok(order) => {
                    outlive("order", || self.carry_out(order));
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    self.end(&mut events, limits::LAUNCHER_END);
                    return;
                }
            }
            outlive("state", || self.write_down());
        }
    }

    fn take_exits(&mut self, events: &mut Events, timeout: Option<Duration>) {
        // only an interrupting signal ends it early, and the next turn waits again
        if self.poll.poll(events, timeout).is_err() {
            return;
        }
        for event in events.iter() {
            if event.token() != WAKE {
                outlive("exit", || self.on_exit(event.token()));
            }
        }
        if self.next_look().is_some() {
            self.orphans.sweep(self.clock.now());
            self.cgroups.sweep(self.clock.now());
            self.start_held(false);
            self.give_up_collecting();
        }
    }

    /// When to look again at what gone processes left; `None` while there is nothing.
    fn next_look(&self) -> Option<Duration> {
        let held = (!self.held.is_empty()).then_some(limits::HELD_STARTS_EVERY);
        let left = held.or(self.orphans.next_look()).or(self.cgroups.next_look());
        left.or(self.next_answer())
    }

    /// When to do something at the latest, without any event.
    fn next_turn(&self) -> Option<Duration> {
        self.next_look().or(self.keeper.as_ref().and_then(Keeper::next_look))
    }

    fn on_exit(&mut self, token: Token) {
        let Some(child) = self.children.get(&token) else { return };
        let Some(status) = child.ended() else {
            // not ended after all: asked again at the next event, which a new watch brings about
            child.unwatch(self.poll.registry());
            if let Err(error) = child.watch(self.poll.registry(), token) {
                tracing::error!(
                    target: "symphony-mgmt", instance = %child.key.instance, generation = %child.key.generation,
                    %error, "cannot watch a process"
                );
            }
            return;
        };
        if !child.is_own && self.collect(token) {
            return;
        }
        self.gone(token, status);
    }

    /// A process ended, and it is known how, as far as anybody can know.
    fn gone(&mut self, token: Token, status: ExitStatus) {
        let Some(mut child) = self.children.remove(&token) else { return };
        self.by_instance.remove(&child.key.instance);
        self.collecting.remove(&token);
        self.living.store(self.children.len(), Ordering::Release);
        child.clean_up();
        child.end_rest(&self.machine.service_id);
        // an exit is told, whatever the output of the process does to us
        let output = outlive("last output", || child.last_output()).unwrap_or_default();
        let cause = outlive("cause of an exit", || child.exit_cause(status, &output)).flatten();
        self.reporter.report(Report::Exited { key: child.key.clone(), status, cause, output });
        self.retire(&child.key, child.cell.take());
        // reaping takes as long as all before; it is done before the next order, so before any successor is started
        child.reap();
        child.unwatch(self.poll.registry());
        self.orphans.adopt(child.pid, self.clock.now());
        self.close_channel(&child.key);
        self.note(&child.key.instance);
        self.drop_socket(&child.key.instance);
        self.output.send(OutputOrder::Finish { key: child.key, path: child.log_path });
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Subscribe(subscriber) => {
                self.output.send(OutputOrder::Subscribe(subscriber.clone()));
                self.reporter.subscribe(subscriber);
            }
            Order::Spawn(order) if self.cgroups.is_leaving(&order.key.instance) => {
                self.held.push((*order, self.clock.now() + limits::HELD_START));
            }
            Order::Spawn(order) => self.spawn(*order),
            Order::Signal(key, signal) => {
                if let Some(child) = self.child(&key)
                    && let Err(error) = child.signal(signal)
                {
                    let reason = error.to_string();
                    self.reporter.report(Report::SignalRefused { key, reason });
                }
            }
            Order::Sample(key) => {
                if let Some(child) = self.child(&key) {
                    let order = OutputOrder::Sample {
                        key,
                        path: child.log_path.clone(),
                        pid: child.identity.pid,
                        start_ticks: child.identity.start_ticks,
                        peak_address_space: Arc::clone(&child.peak_address_space),
                    };
                    self.output.send(order);
                }
            }
            Order::Tail(order) => self.output.send(OutputOrder::Tail(order)),
            Order::Keep(record) => self.keep(*record),
            Order::Forget(instance) => {
                self.records.remove(&instance);
                self.note(&instance);
            }
            Order::Inventory => {
                // who asks for all counts on every start that was ordered before
                self.start_held(true);
                let mut processes: Vec<_> = self
                    .children
                    .values()
                    .map(|child| (child.key.clone(), child.identity.clone()))
                    .collect();
                processes.sort_by(|(a, _), (b, _)| a.cmp(b));
                let records = self.records.values().cloned().collect();
                let ready = self.open_channels();
                self.reporter.report(Report::Inventory { processes, records, ready });
            }
            Order::RemoveSocket(path) => self.remove_socket(&path),
            Order::TellNotices(to) => self.notices.subscribe(to),
            Order::Written(written) => self.on_written(written),
            Order::Collected(token, ended) => self.on_collected(token, ended),
            Order::Crash => panic!("crashed on request"),
            // taken out by the loop before
            Order::End { .. } | Order::LetGo { .. } => {}
        }
    }

    fn child(&self, key: &ProcessKey) -> Option<&Child> {
        let token = self.by_instance.get(&key.instance)?;
        self.children.get(token).filter(|child| child.key == *key)
    }

    /// Starts those that waited long enough, or need not any longer; on demand all of them.
    fn start_held(&mut self, all: bool) {
        let now = self.clock.now();
        for (order, until) in std::mem::take(&mut self.held) {
            let waits = self.cgroups.is_leaving(&order.key.instance) && now < until;
            if waits && !all {
                self.held.push((order, until));
            } else {
                self.spawn(order);
            }
        }
    }

    fn spawn(&mut self, order: SpawnOrder) {
        let key = order.key.clone();
        let program = order.command.program.to_string_lossy().into_owned();
        let started = outlive("spawn", || self.may_spawn(&order).and_then(|()| self.start(order)));
        let crashed = || {
            let (program, reason) = (program.clone(), "the launcher panicked".to_owned());
            Err(SpawnError::Transient { program, reason })
        };
        if let Err(error) = started.unwrap_or_else(crashed) {
            tracing::debug!(
                target: "symphony-mgmt", instance = %key.instance, generation = %key.generation,
                program, %error, "spawn failed"
            );
            self.reporter.report(Report::SpawnFailed { key, error });
        }
    }

    fn may_spawn(&self, order: &SpawnOrder) -> Result<(), SpawnError> {
        let reason = if self.ending.load(Ordering::Acquire) {
            "the service is going down".to_owned()
        } else if let Some(token) = self.by_instance.get(&order.key.instance)
            && let Some(child) = self.children.get(token)
        {
            format!("generation {} of it is not gone yet", child.key.generation)
        } else {
            return Ok(());
        };
        let program = order.command.program.to_string_lossy().into_owned();
        Err(SpawnError::Transient { program, reason })
    }

    fn start(&mut self, order: SpawnOrder) -> Result<(), SpawnError> {
        let program = order.command.program.to_string_lossy().into_owned();
        let socket = order.socket_path.clone();
        let cell = self.cell(&order);
        let key = order.key.clone();
        let started = match start::start(order, cell.as_ref(), &self.machine, self.clock.started())
        {
            Ok(started) => started,
            Err(error) => {
                self.retire(&key, cell);
                return Err(error);
            }
        };
        let mut child = started.child;
        child.cell = cell;
        self.last_token += 1;
        let token = Token(self.last_token);
        if let Err(error) = child.watch(self.poll.registry(), token) {
            child.kill_and_wait();
            child.clean_up();
            self.retire(&key, child.cell.take());
            return Err(SpawnError::Transient { program, reason: error.to_string() });
        }
        self.orphans.forget(child.pid);
        let identity = child.identity.clone();
        self.by_instance.insert(key.instance.clone(), token);
        self.inherited_sockets.remove(&key.instance);
        if let Some(socket) = socket {
            self.sockets.insert(key.instance.clone(), socket);
        }
        self.children.insert(token, child);
        self.living.store(self.children.len(), Ordering::Release);
        self.output.send(OutputOrder::Follow(Box::new(started.follow)));
        self.hold_channel(&key, started.ready.as_ref());
        self.note(&key.instance);
        self.reporter.report(Report::Spawned { key, identity, ready: started.ready });
        Ok(())
    }

    /// The cgroup for a start; none where there is no place for one, or it cannot be made just now.
    fn cell(&self, order: &SpawnOrder) -> Option<Cell> {
        self.cgroups.cell(&order.key, &order.limits).unwrap_or_else(|error| {
            tracing::warn!(
                target: "symphony-mgmt", instance = %order.key.instance, generation = %order.key.generation,
                error, "no cgroup: limits are set by rlimit"
            );
            None
        })
    }

    fn retire(&mut self, key: &ProcessKey, cell: Option<Cell>) {
        if let Some(cell) = cell {
            self.cgroups.retire(&key.instance, cell, self.clock.now());
        }
    }

    /// Kills everything and waits for it; answers how many were not gone in time.
    fn end(&mut self, events: &mut Events, limit: Duration) -> usize {
        self.ending.store(true, Ordering::Release);
        self.start_held(true);
        for child in self.children.values() {
            // who cannot be killed is counted among those that are left
            let _ = child.signal(GroupSignal::Kill);
        }
        let deadline = self.clock.now() + limit;
        loop {
            let left = deadline.since(self.clock.now());
            if self.children.is_empty() && self.next_look().is_none() || left.is_zero() {
                self.remove_sockets();
                self.cgroups.close();
                self.remove_state();
                return self.children.len();
            }
            let look = self.next_look().unwrap_or(left).min(left);
            self.take_exits(events, Some(look));
        }
    }
}
