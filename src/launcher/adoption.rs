//! What becomes of the processes that an earlier core of this service left: facts in, decisions out. Pure.
//!
//! A pid on record proves nothing: it may be another's by now, and the record may be forged. Taken over is only a process that
//! began when the record says, and that shows by something beyond its pid that we started it. Whatever does not is never
//! touched.

use std::collections::{BTreeMap, BTreeSet};

use super::InstanceRecord;
use crate::ids::{Generation, InstanceId, ProcessKey};

/// All that is known.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Instances of the present configuration.
    pub known: BTreeSet<InstanceId>,
    /// What was written down, one for each instance.
    pub recorded: Vec<Recorded>,
    /// Processes that carry the mark of this service. Those on record are among them, where they carry it.
    pub marked: Vec<Marked>,
}

/// What was written down of an instance.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Which.
    pub instance: InstanceId,
    /// Its last generation, by its record; `None` where that cannot be read.
    pub last: Option<LastKnown>,
    /// Where its processes are reached, by its record: another one since it was loaded anew.
    pub endpoint: Option<String>,
    /// The process that was written down.
    pub process: Option<RecordedProcess>,
}

/// What a record says of the processes of its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastKnown {
    /// The last generation.
    pub generation: Generation,
    /// It may have a process: one was ordered, or none was seen to end.
    pub may_live: bool,
}

impl LastKnown {
    /// As a record tells it.
    pub fn of(record: &InstanceRecord) -> Self {
        let rests = ["stopped", "exited", "backoff", "parked"].contains(&record.state.as_str());
        Self { generation: record.generation, may_live: !rests }
    }
}

/// A process on record, and what its pid leads to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedProcess {
    /// Which start of the instance.
    pub generation: Generation,
    /// As it was written down.
    pub pid: u32,
    /// As it was written down, in ticks since boot.
    pub start_ticks: u64,
    /// What has this pid now.
    pub found: Option<Found>,
}

/// What has a recorded pid now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Its start in ticks since boot.
    pub start_ticks: u64,
    /// It ended, and was not reaped.
    pub ended: bool,
    /// It is a child of this process or of its heart.
    pub is_child: bool,
    /// It carries the mark of this service.
    pub is_marked: bool,
    /// It writes into the log on record.
    pub writes_its_log: bool,
}

/// A live process with the mark of this service, which everything that a backend starts inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// Its pid.
    pub pid: u32,
    /// Its start in ticks since boot.
    pub start_ticks: u64,
    /// Its process group.
    pub group: u32,
    /// Whose it is by its marks.
    pub key: ProcessKey,
    /// Where it is reached, as it says.
    pub endpoint: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Take it over.
    Adopt {
        /// As what.
        key: ProcessKey,
        /// Its pid.
        pid: u32,
        /// Its start in ticks since boot.
        start_ticks: u64,
        /// It is known by its marks alone: nothing was written down of this start.
        by_marks: bool,
    },
    /// Tell that it is gone.
    Gone {
        /// Which.
        key: ProcessKey,
        /// It had this pid, which is another's now.
        replaced: Option<u32>,
    },
    /// End it: it is ours, and nobody will ever use it.
    End {
        /// Whose it was.
        key: ProcessKey,
        /// Its pid.
        pid: u32,
        /// Its start in ticks since boot.
        start_ticks: u64,
        /// With its whole group.
        group: bool,
    },
}

/// Decides.
pub fn plan(facts: &Facts) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut adopted = BTreeSet::new();
    let mut recorded = BTreeMap::new();
    for record in &facts.recorded {
        recorded.insert(&record.instance, record);
        let Some(process) = &record.process else { continue };
        let instance = record.instance.clone();
        let key = ProcessKey { instance, generation: process.generation };
        if is_ours(process) && record.last.is_none() {
            // it was forgotten already, and was to be ended
            adopted.insert(record.instance.clone());
            let (pid, start_ticks) = (process.pid, process.start_ticks);
            steps.push(Step::End { key, pid, start_ticks, group: true });
        } else if is_ours(process) {
            adopted.insert(record.instance.clone());
            let (pid, start_ticks) = (process.pid, process.start_ticks);
            steps.push(Step::Adopt { key, pid, start_ticks, by_marks: false });
        } else {
            steps.extend(rest_of_group(facts, &key, process.pid));
            let replaced = process.found.filter(|found| !found.ended).map(|_| process.pid);
            steps.push(Step::Gone { key, replaced });
        }
    }
    let mut leaders: BTreeMap<&InstanceId, Vec<&Marked>> = BTreeMap::new();
    for process in facts.marked.iter().filter(|process| process.group == process.pid) {
        leaders.entry(&process.key.instance).or_default().push(process);
    }
    for (instance, leaders) in leaders {
        if adopted.contains(instance) {
            // helpers that it put into groups of their own
            continue;
        }
        let record = recorded.get(instance);
        let address = record.and_then(|record| record.endpoint.as_ref());
        let is_elsewhere = |process: &&Marked| match (address, &process.endpoint) {
            (Some(address), Some(other)) => address != other,
            _ => false,
        };
        let (strangers, leaders): (Vec<_>, Vec<_>) = leaders.into_iter().partition(is_elsewhere);
        // it was unloaded and loaded again, and the files were not written any more: nobody knows this one
        steps.extend(strangers.into_iter().map(|process| end(process, true)));
        if leaders.is_empty() {
            continue;
        }
        if record.is_none() && !facts.known.contains(instance) {
            steps.extend(leaders.into_iter().map(|process| end(process, true)));
        } else if let Some(process) = unrecorded(record.copied(), &leaders) {
            let has_place =
                process.endpoint.is_some() || record.is_some_and(|record| record.last.is_some());
            steps.push(match has_place {
                true => Step::Adopt {
                    key: process.key.clone(),
                    pid: process.pid,
                    start_ticks: process.start_ticks,
                    by_marks: true,
                },
                // nobody could be led to it
                false => end(process, true),
            });
        }
    }
    steps
}

/// Its start is the one on record, and it shows that we started it. One that ended counts where its parent keeps its status.
fn is_ours(process: &RecordedProcess) -> bool {
    process.found.is_some_and(|found| {
        let is_same = found.start_ticks == process.start_ticks;
        let shows_it = found.is_child || !found.ended && (found.is_marked || found.writes_its_log);
        is_same && shows_it
    })
}

/// Those that its leader left in its group, as an exit that is seen ends them.
fn rest_of_group<'a>(
    facts: &'a Facts,
    key: &'a ProcessKey,
    group: u32,
) -> impl Iterator<Item = Step> + 'a {
    let rest = facts.marked.iter().filter(move |process| {
        process.key == *key && process.group == group && process.pid != group
    });
    rest.map(|process| end(process, false))
}

/// The process of a start that was not written down any more: its service was killed in that very moment.
fn unrecorded<'a>(record: Option<&Recorded>, leaders: &[&'a Marked]) -> Option<&'a Marked> {
    let newest = leaders.iter().map(|process| process.key.generation).max()?;
    let known = |known: Option<Generation>| known.unwrap_or_default();
    let may_be = match record.map(|record| (record.last, record.process)) {
        // nothing is known: whatever is the newest
        None | Some((None, None)) => true,
        Some((last, process)) => {
            let seen = known(process.map(|process| process.generation));
            let ordered = last.filter(|last| last.may_live && last.generation > seen);
            let ordered = known(ordered.map(|last| last.generation));
            let past = known(last.map(|last| last.generation)).max(seen);
            newest > past || newest == ordered && newest > Generation::default()
        }
    };
    // what it started itself, in a group of its own, is younger than it
    let of_newest = leaders.iter().filter(|process| process.key.generation == newest);
    let oldest = of_newest.min_by_key(|process| (process.start_ticks, process.pid))?;
    may_be.then_some(*oldest)
}

fn end(process: &Marked, group: bool) -> Step {
    let Marked { pid, start_ticks, .. } = *process;
    Step::End { key: process.key.clone(), pid, start_ticks, group }
}

#[cfg(test)]
#[path = "adoption_tests.rs"]
mod tests;
