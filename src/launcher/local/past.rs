//! What an earlier core of this service left: read, looked at, taken over. Done once, before the launcher takes orders.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::child::Child;
use super::follower::Follow;
use super::keeper::Place;
use super::machine::Machine;
use super::marks::{self, Marks};
use super::process_file::{self, Details};
use super::recorded::usable;
use super::{KnownInstance, StateOptions, procfs, socket_file, state_place};
use crate::clock::Clock;
use crate::ids::{InstanceId, ProcessKey};
use crate::launcher::adoption::{Facts, LastKnown, Marked, Recorded, RecordedProcess, Step, plan};
use crate::launcher::{ExitStatus, InstanceRecord, LauncherNotice, ReadyEnd, Report, TurnRecord};
use crate::limits;
use crate::state::files::{FileIdentity, InstanceFile, ProcessFile, ServiceFile};
use crate::state::folder::Contents;

/// What is taken over.
#[derive(Default)]
pub(super) struct Past {
    /// Processes that live, and those whose end the heart knows.
    pub children: Vec<Adopted>,
    /// What was remembered of instances.
    pub records: BTreeMap<InstanceId, InstanceRecord>,
    /// Processes that are gone.
    pub gone: Vec<Report>,
    /// What is to be told.
    pub notices: Vec<LauncherNotice>,
    /// Of whom another thing is known now than was written down.
    pub changed: BTreeSet<InstanceId>,
    /// What was killed, and where it said to be reached.
    killed: Vec<(Option<OwnedFd>, Option<String>)>,
}

/// A process that was taken over.
pub(super) struct Adopted {
    /// The process.
    pub child: Child,
    /// How its log is followed.
    pub follow: Option<Follow>,
    /// Its readiness channel, where it may still speak on it.
    pub ready: Option<ReadyEnd>,
}

/// Reads what there is, and takes over what is ours. The machine learns which service this is. Answers also where it is
/// written on, and whether this core goes on where another one was.
///
/// # Errors
/// When another launcher uses the folder, or what lives cannot be looked at: it must not be doubled then.
pub(super) fn take_over(
    options: &mut StateOptions,
    machine: &mut Machine,
    clock: Clock,
) -> io::Result<(Past, Place, bool)> {
    let (lock, folder, contents) = state_place::open(&options.runtime_dir)?;
    let mut past = Past::default();
    past.tell_damage(&contents);
    let sign = state_place::sign(&options.runtime_dir, &lock)?;
    let before = past.earlier_service(&contents, &sign, machine, options, clock)?;
    let continues = before.is_some();
    // before the first process is marked
    machine.service_id = format!("{sign}-{}", machine.service_id);
    if let Some(service) = &before {
        machine.service_id.clone_from(&service.id);
        past.adopt(contents.instances, options, machine, clock)?;
    } else if let Some(folder) = &folder {
        // of another boot, or of nobody: no process of it lives
        let processes = contents.instances.iter().filter_map(|file| file.process.as_ref());
        for socket in processes.filter_map(|process| process.socket_path.as_deref()) {
            socket_file::remove_abandoned(socket);
        }
        folder.forget()?;
    }
    let mut service = before.unwrap_or_else(|| ServiceFile {
        id: machine.service_id.clone(),
        boot_id: machine.boot_id.clone(),
        started: clock.started(),
        last_event: 0,
        awaited: options.awaited.clone(),
        autostart: None,
    });
    service.configure(&options.awaited);
    options.last_event.fetch_max(service.last_event, Ordering::Relaxed);
    service.last_event = service.last_event.saturating_add(limits::EVENTS_AHEAD);
    // before the first process is marked as one of this service
    let folder = state_place::begin(&options.runtime_dir, &service);
    let last_event = options.last_event.clone();
    let place = state_place::place(&options.runtime_dir, folder, lock, service, last_event);
    Ok((past, place, continues))
}

impl Past {
    fn tell(
        &mut self,
        kind: &'static str,
        about: Option<(&ProcessKey, Option<&str>)>,
        cause: String,
    ) {
        let (key, model) = about.unzip();
        self.notices.push(LauncherNotice {
            instance: key.map(|key| key.instance.clone()),
            model: model.flatten().map(str::to_owned),
            generation: key.map(|key| key.generation),
            kind,
            cause,
        });
    }

    fn tell_damage(&mut self, contents: &Contents) {
        for file in &contents.damaged {
            let cause = format!("{} was set aside: {}", file.name, file.damage);
            self.tell("state_damaged", None, cause);
        }
    }

    /// The service whose files these are, where its processes may still live.
    /// `sign`: how its id begins, where the files are lost.
    fn earlier_service(
        &mut self,
        contents: &Contents,
        sign: &str,
        machine: &Machine,
        options: &StateOptions,
        clock: Clock,
    ) -> io::Result<Option<ServiceFile>> {
        let service = contents.service.clone();
        let service = service.or_else(|| service_of(&contents.instances));
        let count = contents.instances.len();
        match service {
            Some(service) if service.boot_id == machine.boot_id => return Ok(Some(service)),
            Some(_) if count > 0 => {
                let cause = format!("of {count} instances: the machine was started anew since");
                self.tell("state_dropped", None, cause);
            }
            Some(_) => {}
            None => {
                if let Some(id) = marks::service_with(sign)? {
                    let cause = "it is lost which service this is: known by its processes alone";
                    self.tell("state_damaged", None, cause.to_owned());
                    return Ok(Some(ServiceFile {
                        id,
                        boot_id: machine.boot_id.clone(),
                        started: clock.started(),
                        last_event: more_than_any_event(),
                        // nobody knows any more which of them wait to be started again
                        awaited: options.awaited.clone(),
                        autostart: None,
                    }));
                }
                if count > 0 {
                    let cause =
                        format!("of {count} instances: it is not known which service wrote it");
                    self.tell("state_dropped", None, cause);
                }
            }
        }
        Ok(None)
    }

    fn adopt(
        &mut self,
        files: Vec<InstanceFile>,
        options: &mut StateOptions,
        machine: &Machine,
        clock: Clock,
    ) -> io::Result<()> {
        let mut parents = vec![std::process::id()];
        parents.extend(options.heart.as_ref().map(|heart| heart.pid));
        let mut processes = BTreeMap::new();
        let mut facts = Facts {
            known: options.known.keys().cloned().collect(),
            marked: marks::find(&machine.service_id)?,
            recorded: Vec::new(),
        };
        let marked: BTreeSet<_> =
            facts.marked.iter().map(|process| (process.pid, process.start_ticks)).collect();
        for file in files {
            let instance = file.instance.clone();
            let (record, process) = match usable(file, &machine.boot_id) {
                Ok(usable) => usable,
                Err(why) => {
                    self.tell(
                        "state_damaged",
                        None,
                        format!("what is kept of {instance} makes no sense: {why}"),
                    );
                    // as if it had never been written: its process is known by its marks
                    continue;
                }
            };
            facts.recorded.push(Recorded {
                instance: instance.clone(),
                last: record.as_ref().map(LastKnown::of),
                endpoint: record.as_ref().map(|record| record.endpoint.clone()),
                process: process.as_ref().map(|(process, _)| RecordedProcess {
                    generation: process.generation,
                    pid: process.pid,
                    start_ticks: process.start_ticks,
                    found: marks::look_at(process, &marked, &parents),
                }),
            });
            if let Some(record) = record {
                self.records.insert(instance.clone(), record);
            }
            processes.extend(process.map(|process| (instance, process)));
        }
        for step in plan(&facts) {
            match step {
                Step::Adopt { key, pid, start_ticks, by_marks } => {
                    let found = match by_marks {
                        false => processes.remove(&key.instance),
                        true => self.by_marks(&key, pid, start_ticks, options, machine, clock),
                    };
                    match found {
                        Some((file, details)) => self.take(key, &file, details, options)?,
                        None => self.end(&key, pid, start_ticks, true, None),
                    }
                }
                Step::Gone { key, replaced } => {
                    if let Some(pid) = replaced {
                        let model = self.model_of(&key);
                        let cause = format!("pid {pid} is another process now, and is left alone");
                        self.tell("not_adopted", Some((&key, model.as_deref())), cause);
                    }
                    let file = processes.remove(&key.instance).map(|(file, _)| file);
                    self.gone(key, file.as_ref());
                }
                Step::End { key, pid, start_ticks, group } => {
                    let of_it = |process: &&Marked| {
                        process.pid == pid && process.start_ticks == start_ticks
                    };
                    let process = facts.marked.iter().find(of_it);
                    let address = process.and_then(|process| process.endpoint.as_deref());
                    self.end(&key, pid, start_ticks, group, address);
                }
            }
        }
        self.wait_for_killed();
        Ok(())
    }

    /// All at once: each may take its time, and nobody is answered before.
    fn wait_for_killed(&mut self) {
        let (processes, addresses): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.killed).into_iter().unzip();
        marks::wait_for_ends(&Vec::from_iter(processes.into_iter().flatten()));
        for socket in addresses.iter().flatten().filter_map(|address| model_socket(address)) {
            socket_file::remove_abandoned(socket);
        }
    }

    fn model_of(&self, key: &ProcessKey) -> Option<String> {
        self.records.get(&key.instance).map(|record| record.model.clone())
    }

    fn take(
        &mut self,
        key: ProcessKey,
        file: &ProcessFile,
        details: Details,
        options: &mut StateOptions,
    ) -> io::Result<()> {
        let name = process_file::channel_name(&key);
        let held = options.heart.as_mut().and_then(|heart| heart.held.remove(&name));
        let Some((mut child, follow)) = process_file::adopt(key.clone(), file, details)? else {
            self.gone(key, Some(file));
            return Ok(());
        };
        // the one path where a launcher of ours binds one; whatever else is on record is a stranger's
        let expected = state_place::notify_path(&options.runtime_dir, &key);
        child.notify_path = child.notify_path.filter(|path| *path == expected);
        let mut ready = None;
        if let Some(record) = self.records.get_mut(&key.instance)
            && record.generation == key.generation
        {
            // the record may be older than the process
            let is_of_process = record.started_at.is_some_and(|at| at.at >= file.started.at);
            if !is_of_process {
                record.started_at = Some(file.started);
                self.changed.insert(key.instance.clone());
            }
            if record.state == "starting" {
                ready = process_file::channel(held, child.notify_path.as_deref());
            }
        }
        if child.ended().is_none() {
            let model = self.model_of(&key);
            let cause = format!("pid {} runs on", file.pid);
            self.tell("adopted", Some((&key, model.as_deref())), cause);
        }
        self.children.push(Adopted { child, follow, ready });
        Ok(())
    }

    /// A process that its instance's record says to run, and that does not.
    fn gone(&mut self, key: ProcessKey, file: Option<&ProcessFile>) {
        self.changed.insert(key.instance.clone());
        let expected = self.records.get(&key.instance).map(LastKnown::of);
        if expected.is_some_and(|last| last.may_live && last.generation == key.generation) {
            let output = file.map(process_file::last_output).unwrap_or_default();
            let status = ExitStatus::Unknown;
            self.gone.push(Report::Exited { key, status, cause: None, output });
        }
    }

    /// `address`: where it says to be reached.
    fn end(
        &mut self,
        key: &ProcessKey,
        pid: u32,
        start_ticks: u64,
        group: bool,
        address: Option<&str>,
    ) {
        self.changed.insert(key.instance.clone());
        self.killed.push((marks::kill(pid, start_ticks, group), address.map(str::to_owned)));
        let model = self.model_of(key);
        let cause = format!("pid {pid} was of this service, and nobody would ever use it");
        self.tell("leftover_ended", Some((key, model.as_deref())), cause);
    }

    /// What can be known of a process that was not written down, and a record that fits it.
    fn by_marks(
        &mut self,
        key: &ProcessKey,
        pid: u32,
        start_ticks: u64,
        options: &StateOptions,
        machine: &Machine,
        clock: Clock,
    ) -> Option<(ProcessFile, Details)> {
        let known = options.known.get(&key.instance)?;
        let marks = Marks::of(pid, &machine.service_id)?;
        let before = self.records.get(&key.instance);
        let endpoint = marks.endpoint.or_else(|| before.map(|record| record.endpoint.clone()))?;
        let started = procfs::started(start_ticks, clock);
        let socket_path = endpoint.strip_prefix("ipc://").map(PathBuf::from);
        let record = match before {
            Some(record) if record.generation == key.generation => {
                InstanceRecord { endpoint, started_at: Some(started), ..record.clone() }
            }
            before => InstanceRecord { endpoint, ..fresh_record(key, known, before) },
        };
        self.changed.insert(key.instance.clone());
        self.records
            .insert(key.instance.clone(), InstanceRecord { started_at: Some(started), ..record });
        let log_length = std::fs::metadata(&known.log_path).map_or(0, |facts| facts.len());
        let details = Details {
            label: known.label.clone(),
            log: known.log.clone(),
            log_start: log_length,
            log_removed: 0,
            limits: known.limits.clone(),
            through_shim: false,
            cell: None,
        };
        let notify_path = state_place::notify_path(&options.runtime_dir, key);
        let file = ProcessFile {
            service: machine.service_id.clone(),
            generation: key.generation,
            pid,
            start_ticks,
            boot_id: machine.boot_id.clone(),
            started,
            log_path: known.log_path.clone(),
            // what lies there is followed only where it is what the process writes into
            log_file: marks::output_of(pid).unwrap_or(FileIdentity { device: 0, inode: 0 }),
            socket_path,
            notify_path: Some(notify_path).filter(|path| path.exists()),
            details: serde_json::value::to_raw_value(&details).ok()?,
        };
        Some((file, details))
    }
}

/// The socket file of an address, where it has the name of one that we gave to a model: an environment may say anything.
fn model_socket(address: &str) -> Option<&Path> {
    let path = Path::new(address.strip_prefix("ipc://")?);
    let is_ours = path.file_name()?.to_str()?.starts_with("symphony-model-");
    (path.is_absolute() && is_ours).then_some(path)
}

/// A record for a start that was under way: the machine watches it as one.
fn fresh_record(
    key: &ProcessKey,
    known: &KnownInstance,
    before: Option<&InstanceRecord>,
) -> InstanceRecord {
    let base = before.cloned().unwrap_or_else(|| InstanceRecord {
        instance: key.instance.clone(),
        model: known.model.clone(),
        generation: key.generation,
        endpoint: String::new(),
        state: String::new(),
        wanted: true,
        restarts: 0,
        consecutive_failures: 0,
        park_level: 0,
        window: Vec::new(),
        wait_until: None,
        started_at: None,
        protocols: Vec::new(),
        reason: None,
        last_exit: None,
        turn: TurnRecord::default(),
        order: None,
    });
    InstanceRecord {
        generation: key.generation,
        state: "starting".to_owned(),
        wanted: true,
        wait_until: None,
        protocols: Vec::new(),
        reason: None,
        order: None,
        ..base
    }
}

/// Files of processes name their service, too, for the case that `service.json` is lost.
/// What was loaded of `autostart`, and unloaded again, is not known then: it is left as it is.
fn service_of(instances: &[InstanceFile]) -> Option<ServiceFile> {
    let process = instances.iter().find_map(|file| file.process.as_ref())?;
    Some(ServiceFile {
        id: process.service.clone(),
        boot_id: process.boot_id.clone(),
        started: process.started,
        last_event: more_than_any_event(),
        awaited: BTreeSet::new(),
        autostart: None,
    })
}

/// A number that no event had: nobody has one for each second since 1970.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive")]
fn more_than_any_event() -> u64 {
    Clock::wall_seconds() as u64
}
