//! Carries faults out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::garbage;
use super::hold::{self, Holds, Over};
use super::invariants::logs::LogLimits;
use super::plan::{Fault, FaultKind, Garbage, Part};
use super::processes::Backend;
use super::service::{Facts, Model, ModelLog, Service};
use super::tally::Hit;
use crate::cli::client::ClientError;
use crate::limits;

/// Bytes written at one time to a log.
const BLOCK: usize = 64 * 1024;

/// Carries faults out, and holds those that last. Dropping it undoes them.
#[derive(Default)]
pub struct Faults {
    holds: Holds,
}

/// What is there to be hit.
pub struct Targets<'a> {
    /// The models, sorted by name.
    pub names: &'a [String],
    /// Where each stands now.
    pub models: &'a BTreeMap<String, Model>,
    /// The actor of each.
    pub instances: &'a BTreeMap<String, String>,
    /// What does not change.
    pub facts: &'a Facts,
    /// Panics below the root within its window, whoever made them.
    pub root_panics: usize,
}

/// A fault that was done.
pub struct Done {
    /// Whom it hit.
    pub hit: Hit,
    /// The process that has to end by it.
    pub ends: Option<Backend>,
    /// Log files to be looked at later.
    pub log: Option<LogToCheck>,
}

/// The log of a model that got more than it may hold.
pub struct LogToCheck {
    /// The model.
    pub model: String,
    /// The current file.
    pub path: PathBuf,
    /// What may be kept of it.
    pub bounds: LogLimits,
    /// The thread that writes the flood holds the other end, which closes however that ends.
    pub writes: Receiver<Infallible>,
}

impl LogToCheck {
    /// Whether all of the flood was written, or given up.
    pub fn is_written(&self) -> bool {
        matches!(self.writes.try_recv(), Err(TryRecvError::Disconnected))
    }
}

impl Faults {
    /// Whether one that lasts is still under way.
    pub fn last(&self) -> bool {
        self.holds.last()
    }

    /// Ends what lasts.
    pub fn end(&mut self) {
        self.holds.end();
    }

    /// Carries one out.
    ///
    /// # Errors
    /// Why it was left out.
    pub fn carry_out(
        &mut self,
        fault: &Fault,
        targets: &Targets<'_>,
        service: &mut Service,
    ) -> Result<Done, String> {
        let name = fault.target.and_then(|index| targets.names.get(index));
        let (mut log, mut ends) = (None, None);
        let hit = match (fault.kind, name) {
            (FaultKind::Garbage, _) => {
                let shape = fault.garbage.unwrap_or(Garbage::Random);
                for endpoint in [service.endpoint(), &targets.facts.client_endpoint] {
                    garbage::send(endpoint, shape, fault.seed)?;
                }
                Hit::Nobody
            }
            (FaultKind::DropClients, _) => self.drop_clients(fault, targets, service)?,
            (FaultKind::Panic, _) => panic(fault, name, targets, service)?,
            (kind, Some(name)) => {
                let backend = backend(name, targets)?;
                match kind {
                    FaultKind::Kill => ends = Some(strike(backend, Signal::KILL)?),
                    FaultKind::Stop => ends = Some(strike(backend, Signal::TERM)?),
                    FaultKind::Freeze => {
                        self.holds
                            .hold(limits::CHAOS_FREEZE, move |over| hold::freeze(&backend, over))?;
                    }
                    FaultKind::Slow => {
                        let lasts = fault.lasts.unwrap_or(limits::CHAOS_LOOK);
                        self.holds.hold(lasts, move |over| hold::slow(&backend, over))?;
                    }
                    _ => log = Some(self.flood(fault, name, &backend, targets)?),
                }
                match kind {
                    FaultKind::Flood | FaultKind::LogQuota => Hit::Nobody,
                    _ => Hit::Model(name.clone()),
                }
            }
            (_, None) => return Err("there is no model to hit".to_owned()),
        };
        Ok(Done { hit, ends, log })
    }

    fn drop_clients(
        &mut self,
        fault: &Fault,
        targets: &Targets<'_>,
        service: &Service,
    ) -> Result<Hit, String> {
        let mut silent = Vec::new();
        for _ in 0..fault.amount.unwrap_or(1) {
            for endpoint in [service.endpoint(), &targets.facts.client_endpoint] {
                garbage::ask_and_leave(endpoint)?;
                silent.push(garbage::raw(endpoint)?);
            }
        }
        let lasts = fault.lasts.unwrap_or(limits::CHAOS_LOOK);
        self.holds.hold(lasts, move |over| {
            over.pause(lasts);
            drop(silent);
        })?;
        Ok(Hit::Nobody)
    }

    fn flood(
        &mut self,
        fault: &Fault,
        model: &str,
        backend: &Backend,
        targets: &Targets<'_>,
    ) -> Result<LogToCheck, String> {
        let log = targets.facts.logs.get(model).cloned();
        let ModelLog { file: path, bounds } =
            log.ok_or("the service does not tell where it logs")?;
        let bytes = match fault.kind {
            FaultKind::LogQuota => bounds.quota().saturating_add(bounds.max_bytes),
            _ => fault.amount.unwrap_or(0),
        };
        if bytes > limits::CHAOS_LOG_BYTES {
            return Err(format!(
                "to fill its logs takes {bytes} bytes, more than {} are not written",
                limits::CHAOS_LOG_BYTES
            ));
        }
        let mut file = backend.open_log(&path).map_err(|error| error.to_string())?;
        let lines = fault.lines.unwrap_or(true);
        let (writing, writes) = channel();
        self.holds.hold(limits::CHAOS_FREEZE, move |over| {
            // a full disk ends the flood, as it does that of a backend
            let _ = write_flood(&mut file, bytes, lines, over);
            drop(writing);
        })?;
        Ok(LogToCheck { model: model.to_owned(), path, bounds, writes })
    }
}

fn backend(name: &str, targets: &Targets<'_>) -> Result<Backend, String> {
    let model = targets.models.get(name).ok_or("the model is not loaded")?;
    let pid = model.pid.ok_or("the model has no process just now")?;
    // the pid that was told may be gone: the reason must not name it, reasons are counted
    Backend::find(pid, &model.endpoint).map_err(|_| "its process has just been replaced".to_owned())
}

/// One that has ended already, and was not reaped yet, takes any signal: its end is not the work of this one.
fn strike(backend: Backend, signal: Signal) -> Result<Backend, String> {
    if backend.has_ended() || backend.signal(signal).is_err() {
        return Err("its process has just ended".to_owned());
    }
    Ok(backend)
}

fn write_flood(file: &mut impl Write, bytes: u64, lines: bool, over: &Over) -> io::Result<()> {
    let line = b"the quick brown fox jumps over the lazy dog, again and again\n";
    let mut block = line.repeat(BLOCK / line.len());
    if !lines {
        block.fill(b'x');
    }
    let mut left = bytes;
    while left > 0 && !over.is_over() {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(&block[..part])?;
        left -= part as u64;
    }
    // what the backend writes next begins a line of its own
    if lines { Ok(()) } else { file.write_all(b"\n") }
}

fn panic(
    fault: &Fault,
    model: Option<&String>,
    targets: &Targets<'_>,
    service: &mut Service,
) -> Result<Hit, String> {
    if !targets.facts.chaos_allowed {
        return Err("the service was started without --allow-chaos".to_owned());
    }
    let part = fault.part.ok_or("no part was planned")?;
    if part.is_below_root() && targets.root_panics >= super::plan::ROOT_PANICS {
        return Err("the window of the root is nearly used up".to_owned());
    }
    let mut params = json!({ "actor": part.as_str() });
    let mut name = part.as_str().to_owned();
    if part == Part::Instance {
        let model = model.ok_or("there is no model to hit")?;
        params["model_name"] = model.as_str().into();
        name = targets.instances.get(model).ok_or("the model has no actor")?.clone();
    }
    match service.ask::<Value>("chaos-panic", params, limits::CHAOS_LOOK) {
        Err(ClientError::Refused(_)) if part == Part::Instance => {
            Err("the model has no actor just now".to_owned())
        }
        Err(ClientError::Refused(why)) => Err(why),
        // its answer may be lost with the gateway
        _ => Ok(Hit::Part(name)),
    }
}

/// Bytes in the files of a log: the current one and those it was moved to.
///
/// # Errors
/// When its folder cannot be listed.
pub fn log_bytes(path: &Path) -> io::Result<u64> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let is_moved = file
            .strip_prefix(&format!("{name}."))
            .is_some_and(|number| number.chars().all(|c| c.is_ascii_digit()));
        if file == name || is_moved {
            bytes += entry.metadata().map_or(0, |facts| facts.len());
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::processes::testing::until;
    use super::*;

    #[test]
    fn a_flood_writes_what_it_should() {
        for (lines, bytes) in [(true, 200_000), (false, 70_000)] {
            let mut holds = Holds::default();
            let file = tempfile::NamedTempFile::new().expect("file");
            let mut open = file.reopen().expect("opened");
            let flood = move |over: &Over| {
                write_flood(&mut open, bytes, lines, over).expect("written");
            };
            holds.hold(Duration::from_secs(600), flood).expect("held");
            let wanted = if lines { bytes } else { bytes + 1 };
            until(|| file.path().metadata().expect("there").len() == wanted);
            let text = fs::read(file.path()).expect("read");
            assert_eq!(text[..1000].contains(&b'\n'), lines);
        }
    }

    #[test]
    fn a_log_is_written_when_its_writer_is_gone_however_that_came() {
        let (writing, writes) = channel();
        let bounds = LogLimits { max_bytes: 1, keep: 1 };
        let log = LogToCheck { model: "a".into(), path: "/a.log".into(), bounds, writes };
        assert!(!log.is_written());
        let mut holds = Holds::default();
        let fault = move |_: &Over| {
            let _writing = writing;
            panic!("on purpose");
        };
        holds.hold(Duration::from_secs(600), fault).expect("held");
        until(|| log.is_written());
    }

    #[test]
    fn all_files_of_a_log_count_and_no_other() {
        let folder = tempfile::tempdir().expect("folder");
        for (name, bytes) in [("a.log", 10), ("a.log.1", 20), ("a.log.old", 40), ("ba.log", 80)] {
            fs::write(folder.path().join(name), vec![b'x'; bytes]).expect("written");
        }
        assert_eq!(log_bytes(&folder.path().join("a.log")).expect("listed"), 30);
    }
}
