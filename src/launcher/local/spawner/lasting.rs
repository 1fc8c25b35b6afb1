//! What outlasts this thread: state that is written down, processes and channels of an earlier one, the heart.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use mio::{Events, Token};

use super::Spawner;
use crate::clock::Moment;
use crate::heart::protocol::Ended;
use crate::ids::{InstanceId, ProcessKey};
use crate::launcher::local::child::Child;
use crate::launcher::local::keeper::{Entry, Keeper, Place, Turned, Written};
use crate::launcher::local::orders::Order;
use crate::launcher::local::outlive::outlive;
use crate::launcher::local::output::OutputOrder;
use crate::launcher::local::past::{Adopted, Past};
use crate::launcher::local::{process_file, socket_file};
use crate::launcher::{ExitStatus, InstanceRecord, LauncherNotice, ReadyEnd};
use crate::limits;

/// The state of a record in which its process may still say that it is ready.
const STARTING: &str = "starting";

impl Spawner {
    /// Goes on where an earlier launcher was.
    ///
    /// # Errors
    /// When a process cannot be watched, or there is no thread to write on.
    pub(in crate::launcher::local) fn take_over(
        &mut self,
        past: Past,
        place: Place,
    ) -> io::Result<()> {
        let handle = self.handle.clone();
        // its thread ends with the keeper, and this thread's end is no loss to it
        let written = move |written| {
            handle.send(Order::Written(written));
        };
        self.keeper = Some(Keeper::start(place, written)?);
        self.records = past.records;
        for adopted in past.children {
            self.adopt(adopted)?;
        }
        for instance in past.changed {
            self.note(&instance);
        }
        for report in past.gone {
            self.reporter.report(report);
        }
        for notice in past.notices {
            self.notices.tell(notice);
        }
        Ok(())
    }

    fn adopt(&mut self, adopted: Adopted) -> io::Result<()> {
        let Adopted { child, follow, ready } = adopted;
        self.last_token += 1;
        let token = Token(self.last_token);
        // one that ended already is told at the first look
        child.watch(self.poll.registry(), token)?;
        let key = child.key.clone();
        self.by_instance.insert(key.instance.clone(), token);
        if let Some(socket) = &child.socket_path {
            self.inherited_sockets.insert(key.instance.clone(), socket.clone());
        }
        if let Some(follow) = follow {
            self.output.send(OutputOrder::Follow(Box::new(follow)));
        }
        if let Some(ready) = ready {
            self.hold_channel(&key, Some(&ready));
            self.ready.insert(key, ready);
        }
        self.children.insert(token, child);
        self.living.store(self.children.len(), std::sync::atomic::Ordering::Release);
        Ok(())
    }

    // ---- state -------------------------------------------------------------------------------------------------

    /// Something about an instance changed.
    pub(super) fn note(&mut self, instance: &InstanceId) {
        if let Some(keeper) = &mut self.keeper {
            keeper.note(instance);
        }
    }

    pub(super) fn keep(&mut self, record: InstanceRecord) {
        if let Some(keeper) = &mut self.keeper {
            keeper.is_in_hand(&record.instance);
            keeper.note(&record.instance);
        }
        if record.state != STARTING {
            let generation = record.generation;
            self.close_channel(&ProcessKey { instance: record.instance.clone(), generation });
        }
        self.records.insert(record.instance.clone(), record);
    }

    /// Hands over what changed since the last time.
    pub(super) fn write_down(&mut self) {
        let Some(mut keeper) = self.keeper.take() else { return };
        keeper.flush(self.clock.now(), |instance| self.entry(instance));
        self.keeper = Some(keeper);
    }

    fn entry(&self, instance: &InstanceId) -> Entry {
        let child = self.by_instance.get(instance).and_then(|token| self.children.get(token));
        Entry {
            record: self.records.get(instance).cloned(),
            process: child
                .and_then(|child| process_file::of_child(child, &self.machine.service_id)),
        }
    }

    fn all(&self) -> Vec<InstanceId> {
        let mut all: Vec<_> = self.records.keys().chain(self.by_instance.keys()).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    pub(super) fn on_written(&mut self, written: Written) {
        let Some(mut keeper) = self.keeper.take() else { return };
        let turned = keeper.on_written(written, self.clock.now(), || self.all());
        self.keeper = Some(keeper);
        let (kind, cause) = match turned {
            None => return,
            Some(Turned::Failing(error)) => {
                tracing::error!(
                    target: "symphony-mgmt", error,
                    "cannot write down the state of the service: what runs would not be found again after a crash"
                );
                ("state_unsaved", error)
            }
            Some(Turned::Working) => {
                tracing::info!(target: "symphony-mgmt", "the state of the service is written down again");
                ("state_saved", "it is written down again".to_owned())
            }
        };
        self.notices.tell(LauncherNotice {
            instance: None,
            model: None,
            generation: None,
            kind,
            cause,
        });
    }

    /// At an orderly end: what is left is only what could not be ended.
    pub(super) fn remove_state(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.close(self.by_instance.keys().cloned().collect());
        }
    }

    /// Leaves everything as it is, written down; answers how many processes live on.
    pub(super) fn let_go(&mut self, events: &mut Events, limit: Duration) -> usize {
        let Some(keeper) = self.keeper.take() else { return self.end(events, limit) };
        // a start that was ordered and not begun is begun by whoever comes
        self.held.clear();
        keeper.finish(self.all(), limit, |instance| self.entry(instance));
        self.children.len()
    }

    // ---- processes that somebody else reaps --------------------------------------------------------------------

    /// Asks the heart how a process ended; answers whether there is one that may know.
    pub(super) fn collect(&mut self, token: Token) -> bool {
        let Some(child) = self.children.get_mut(&token) else { return false };
        if child.collected_until.is_some() {
            // asked already
            return true;
        }
        let Some(heart) = self.heart.as_ref().filter(|heart| !heart.is_lost()) else {
            return false;
        };
        child.collected_until = Some(self.clock.now() + limits::COLLECT);
        self.collecting.insert(token);
        let handle = self.handle.clone();
        let answer = move |ended| {
            handle.send(Order::Collected(token, ended));
        };
        heart.collect(child.identity.pid, child.identity.start_ticks, Box::new(answer));
        true
    }

    pub(super) fn on_collected(&mut self, token: Token, ended: Option<Ended>) {
        let status = match ended {
            Some(Ended::Code(code)) => ExitStatus::Code(code),
            Some(Ended::Signal { number, core_dumped }) => {
                ExitStatus::Signal { number, core_dumped }
            }
            // it is no child of the heart as long as the service that started it passes clients on
            None => self.status_of_zombie(token),
        };
        outlive("exit", || self.gone(token, status));
    }

    /// A heart that does not answer holds up no restart.
    pub(super) fn give_up_collecting(&mut self) {
        let now = self.clock.now();
        let is_over = |until: Option<Moment>| until.is_some_and(|until| until <= now);
        let asked = self.collecting.iter().filter(|token| {
            self.children.get(token).is_none_or(|child| is_over(child.collected_until))
        });
        for token in asked.copied().collect::<Vec<_>>() {
            self.collecting.remove(&token);
            self.gone(token, self.status_of_zombie(token));
        }
    }

    fn status_of_zombie(&self, token: Token) -> ExitStatus {
        self.children.get(&token).map_or(ExitStatus::Unknown, Child::status_of_zombie)
    }

    /// When to look again whether the heart takes too long.
    pub(super) fn next_answer(&self) -> Option<Duration> {
        (!self.collecting.is_empty()).then_some(limits::COLLECT)
    }

    // ---- readiness channels ------------------------------------------------------------------------------------

    /// The channel of a start outlives this process where there is a heart to hold it.
    pub(super) fn hold_channel(&mut self, key: &ProcessKey, ready: Option<&ReadyEnd>) {
        let (Some(heart), Some(ready)) = (&self.heart, ready) else { return };
        let descriptor = match ready {
            ReadyEnd::Pipe(pipe) => pipe.as_fd(),
            ReadyEnd::Notify(socket) => socket.as_fd(),
        };
        // without a descriptor left, the start is lost with this process and made anew
        if heart.hold(&process_file::channel_name(key), descriptor).is_ok() {
            self.held_channels.insert(key.clone());
        }
    }

    /// Nothing more will be said on it.
    pub(super) fn close_channel(&mut self, key: &ProcessKey) {
        self.ready.remove(key);
        if self.held_channels.remove(key)
            && let Some(heart) = &self.heart
        {
            heart.release(&process_file::channel_name(key));
        }
    }

    /// Channels for who attaches to processes that an earlier launcher started.
    pub(super) fn open_channels(&self) -> Vec<(ProcessKey, ReadyEnd)> {
        let open = self.ready.iter();
        open.filter_map(|(key, ready)| Some((key.clone(), ready.try_clone().ok()?))).collect()
    }

    // ---- socket files ------------------------------------------------------------------------------------------

    pub(super) fn remove_socket(&mut self, path: &Path) {
        // one that no process of this launcher made may be a stranger's by now
        match self.sockets.values().any(|socket| socket == path) {
            true => socket_file::remove(path),
            false => socket_file::remove_abandoned(path),
        };
        self.sockets.retain(|_, socket| socket != path);
        // one that its process still has is looked at again when that ended
        self.inherited_sockets.retain(|_, socket| socket != path || path.exists());
    }

    /// A process is gone: nobody will order the removal of its socket where its instance is forgotten.
    pub(super) fn drop_socket(&mut self, instance: &InstanceId) {
        if !self.records.contains_key(instance)
            && let Some(socket) = self.inherited_sockets.remove(instance)
        {
            socket_file::remove_abandoned(&socket);
        }
    }

    /// Removes the sockets of processes that are gone.
    pub(super) fn remove_sockets(&self) {
        let is_gone = |instance: &InstanceId| !self.by_instance.contains_key(instance);
        for (_, socket) in self.sockets.iter().filter(|(instance, _)| is_gone(instance)) {
            socket_file::remove(socket);
        }
        for (_, socket) in self.inherited_sockets.iter().filter(|(instance, _)| is_gone(instance)) {
            socket_file::remove_abandoned(socket);
        }
    }
}
