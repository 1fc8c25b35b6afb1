//! Writes down what the spawner thread knows, on a thread of its own: a disk that is full, slow or gone delays no exit.
//!
//! One batch is under way at a time. What changes meanwhile is noted by name only and goes out with the next one as it is
//! then, so that neither a flood of changes nor a disk that stands still piles anything up.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::outlive::outlive;
use crate::clock::Moment;
use crate::ids::InstanceId;
use crate::launcher::InstanceRecord;
use crate::limits;
use crate::state::files::{InstanceFile, ProcessFile, ServiceFile};
use crate::state::folder::StateFolder;

/// What is known of one instance, to be written down.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// Its record.
    pub record: Option<InstanceRecord>,
    /// Its process.
    pub process: Option<ProcessFile>,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Instances whose files are not as they should be.
    failed: Vec<InstanceId>,
    service_failed: bool,
    /// The folder was lost and is a new one: nothing that was written before is in it.
    anew: bool,
    error: Option<String>,
}

/// What the writer is told.
enum Job {
    Write(Batch),
    /// Remove everything but what is known of these.
    Clear(Vec<InstanceId>, SyncSender<()>),
    /// Tell when all before is done.
    Tell(SyncSender<()>),
}

#[derive(Default)]
struct Batch {
    instances: Vec<(InstanceId, Entry)>,
    service: Option<ServiceFile>,
}

/// What changed about the writing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turned {
    /// It fails from now on, and why.
    Failing(String),
    /// It works again.
    Working,
}

/// The spawner thread's side.
pub(super) struct Keeper {
    jobs: SyncSender<Job>,
    service: ServiceFile,
    last_event: Arc<AtomicU64>,
    changed: BTreeSet<InstanceId>,
    service_changed: bool,
    under_way: bool,
    /// While it fails: when it is tried again.
    retry_at: Option<Moment>,
    failing: bool,
    /// Held as long as this launcher uses the folder.
    _lock: OwnedFd,
}

impl Keeper {
    /// Starts the writer. `on_written` is called on its thread after each batch; what it gets goes to
    /// [`Keeper::on_written`].
    ///
    /// # Errors
    /// When there is no thread.
    pub(super) fn start(
        place: Place,
        on_written: impl Fn(Written) + Send + 'static,
    ) -> io::Result<Self> {
        let Place { path, folder, lock, service, last_event } = place;
        // the batch under way, and one last job
        let (jobs, receiver) = sync_channel(2);
        let writer = Writer { path, folder };
        std::thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || writer.run(&receiver, &on_written))?;
        Ok(Self {
            jobs,
            service,
            last_event,
            changed: BTreeSet::new(),
            // also where it was written just now: what is under way tells whether that works
            service_changed: true,
            under_way: false,
            retry_at: None,
            failing: false,
            _lock: lock,
        })
    }

    /// Something about an instance changed.
    pub(super) fn note(&mut self, instance: &InstanceId) {
        if !self.changed.contains(instance) {
            self.changed.insert(instance.clone());
        }
    }

    /// An instance was taken in hand: a core that comes after this one need not load it because of the configuration.
    pub(super) fn is_in_hand(&mut self, instance: &InstanceId) {
        self.service_changed |= self.service.awaited.remove(instance);
    }

    /// Hands over what changed, unless a batch is under way or a failure has its rest.
    pub(super) fn flush(&mut self, now: Moment, look: impl Fn(&InstanceId) -> Entry) {
        if self.under_way || self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        let events = self.last_event.load(Ordering::Relaxed);
        if events.saturating_add(limits::EVENTS_AHEAD / 2) > self.service.last_event {
            self.service.last_event = events.saturating_add(limits::EVENTS_AHEAD);
            self.service_changed = true;
        }
        if self.changed.is_empty() && !self.service_changed {
            return;
        }
        let changed = std::mem::take(&mut self.changed);
        let instances = changed.into_iter().map(|instance| {
            let entry = look(&instance);
            (instance, entry)
        });
        let service = std::mem::take(&mut self.service_changed).then(|| self.service.clone());
        let batch = Batch { instances: instances.collect(), service };
        self.retry_at = None;
        // never full: nothing is under way
        self.under_way = self.jobs.try_send(Job::Write(batch)).is_ok();
    }

    /// A batch is done. `all`: every instance that there is.
    pub(super) fn on_written(
        &mut self,
        written: Written,
        now: Moment,
        all: impl FnOnce() -> Vec<InstanceId>,
    ) -> Option<Turned> {
        self.under_way = false;
        self.changed.extend(written.failed);
        self.service_changed |= written.service_failed;
        if written.anew {
            self.changed.extend(all());
            self.service_changed = true;
        }
        match written.error {
            Some(error) => {
                self.retry_at = Some(now + limits::STATE_RETRY);
                (!std::mem::replace(&mut self.failing, true)).then_some(Turned::Failing(error))
            }
            None => std::mem::take(&mut self.failing).then_some(Turned::Working),
        }
    }

    /// When to flush again; `None` while there is nothing that waits for its time.
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.retry_at.map(|_| limits::STATE_RETRY)
    }

    /// Writes down everything as it is, and waits for that.
    pub(super) fn finish(
        mut self,
        all: Vec<InstanceId>,
        limit: Duration,
        look: impl Fn(&InstanceId) -> Entry,
    ) {
        self.changed.extend(all);
        let instances = std::mem::take(&mut self.changed).into_iter().map(|instance| {
            let entry = look(&instance);
            (instance, entry)
        });
        let batch = Batch { instances: instances.collect(), service: Some(self.service.clone()) };
        let (done, wait) = sync_channel(1);
        // where the one under way never ends, neither would this
        if self.jobs.try_send(Job::Write(batch)).is_ok() {
            let _ = self.jobs.send(Job::Tell(done));
        }
        if wait.recv_timeout(limit).is_err() {
            tracing::error!(target: "symphony-mgmt", "the state of the service was not written down in time");
        }
    }

    /// Removes everything but what is known of `kept`, and waits for that.
    pub(super) fn close(self, kept: Vec<InstanceId>) {
        let (done, wait) = sync_channel(1);
        let told = self.jobs.try_send(Job::Clear(kept, done));
        if told.is_err() || wait.recv_timeout(limits::STATE_END).is_err() {
            tracing::error!(target: "symphony-mgmt", "the state files of the service were not removed in time");
        }
    }
}

/// Where state is kept.
pub(super) struct Place {
    /// The folder of state files.
    pub path: PathBuf,
    /// As it is open; `None` where it could not be made so far.
    pub folder: Option<StateFolder>,
    /// Nobody else has it.
    pub lock: OwnedFd,
    /// What `service.json` holds.
    pub service: ServiceFile,
    /// The last number of an event.
    pub last_event: Arc<AtomicU64>,
}

/// The writer thread's state.
struct Writer {
    path: PathBuf,
    folder: Option<StateFolder>,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>, on_written: &impl Fn(Written)) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Write(batch) => {
                    let names: Vec<_> =
                        batch.instances.iter().map(|(name, _)| name.clone()).collect();
                    let crashed = || Written {
                        failed: names,
                        service_failed: true,
                        anew: false,
                        error: Some("the writer panicked".to_owned()),
                    };
                    on_written(outlive("state", || self.write(batch)).unwrap_or_else(crashed));
                }
                Job::Clear(kept, done) => {
                    if let Some(folder) = &self.folder
                        && let Err(error) = folder.clear(&kept)
                    {
                        tracing::warn!(
                            target: "symphony-mgmt", folder = %self.path.display(), %error,
                            "state files are left behind"
                        );
                    }
                    // whoever waited may have given up
                    let _ = done.send(());
                }
                Job::Tell(done) => drop(done.send(())),
            }
        }
    }

    fn write(&mut self, batch: Batch) -> Written {
        let mut written = Written::default();
        let note = |written: &mut Written, error: io::Error| {
            written.error.get_or_insert_with(|| format!("{}: {error}", self.path.display()));
        };
        if self.folder.as_ref().is_none_or(|folder| !folder.is_in_place()) {
            match StateFolder::make(&self.path) {
                Ok(made) => {
                    written.anew = true;
                    self.folder = Some(made);
                }
                Err(error) => note(&mut written, error),
            }
        }
        let Some(folder) = &self.folder else {
            written.failed = batch.instances.into_iter().map(|(instance, _)| instance).collect();
            written.service_failed = batch.service.is_some();
            return written;
        };
        for (instance, entry) in batch.instances {
            if let Err(error) = write_instance(folder, &instance, entry) {
                note(&mut written, error);
                written.failed.push(instance);
            }
        }
        // last: what it says of the others is true by now
        if let Some(service) = batch.service
            && let Err(error) = folder.write_service(&service)
        {
            note(&mut written, error);
            written.service_failed = true;
        }
        written
    }
}

fn write_instance(folder: &StateFolder, instance: &InstanceId, entry: Entry) -> io::Result<()> {
    if entry.record.is_none() && entry.process.is_none() {
        return folder.remove_instance(instance);
    }
    let record = entry.record.map(|record| serde_json::value::to_raw_value(&record)).transpose()?;
    let instance = instance.clone();
    folder.write_instance(&InstanceFile { instance, record, process: entry.process })
}
