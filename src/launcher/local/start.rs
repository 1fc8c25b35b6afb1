//! Starts one process: everything is checked and opened first, the spawn itself comes last.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::fs::{Access, access};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::cgroup::cell::Cell;
use super::child::Child;
use super::failure::spawn_error;
use super::follower::Follow;
use super::machine::{self, Machine};
use super::{log_file, marks, procfs, program, shim, socket_file};
use crate::clock::Started as StartMoment;
use crate::heart::{activation, notify};
use crate::launcher::{
    ProcessCommand, ProcessIdentity, ReadyChannel, ReadyEnd, SpawnError, SpawnOrder,
};

/// Where systemd-style services say that they are ready.
const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";

/// A process that was started.
pub(super) struct Started {
    /// The process.
    pub child: Child,
    /// Its end of the readiness channel.
    pub ready: Option<ReadyEnd>,
    /// How its log is followed.
    pub follow: Follow,
}

/// A step of a start and what went wrong with it.
struct Fault {
    stage: Option<String>,
    error: io::Error,
}

impl Fault {
    fn at(stage: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let stage = stage.into();
        move |error| Self { stage: Some(stage), error }
    }
}

/// Starts a process.
///
/// # Errors
/// Fatal where no other try can help, else transient; nothing is left behind then but an empty log.
pub(super) fn start(
    order: SpawnOrder,
    cell: Option<&Cell>,
    machine: &Machine,
    at: StartMoment,
) -> Result<Started, SpawnError> {
    let program = order.command.program.to_string_lossy().into_owned();
    try_start(order, cell, machine, at)
        .map_err(|fault| spawn_error(&program, fault.stage.as_deref(), &fault.error))
}

fn try_start(
    order: SpawnOrder,
    cell: Option<&Cell>,
    machine: &Machine,
    at: StartMoment,
) -> Result<Started, Fault> {
    let program = locate(&order.command)?;
    let at_log = || format!("log file {}", order.log_path.display());
    let log = log_file::open(&order.log_path).map_err(Fault::at(at_log()))?;
    let log_facts = log.metadata().map_err(Fault::at(at_log()))?;
    if let Some(folder) = order.socket_path.as_deref().and_then(Path::parent) {
        socket_file::make_folder(folder)
            .map_err(Fault::at(format!("socket folder {}", folder.display())))?;
    }
    if let Some(socket) = &order.socket_path
        && socket_file::remove_abandoned(socket)
    {
        tracing::info!(
            target: "symphony-mgmt", instance = %order.key.instance, generation = %order.key.generation,
            path = %socket.display(), "removed the stale socket of a dead process"
        );
    }
    if let Some(socket) = &order.socket_path {
        // a library that binds there would remove it
        socket_file::refuse_foreign(socket)
            .map_err(Fault::at(format!("socket {}", socket.display())))?;
    }
    let channel = Channel::open(&order.ready_channel).map_err(Fault::at("readiness channel"))?;
    let Channel { ready, stdin, notify_path } = channel;

    let shim_arguments = shim::arguments(&order, cell);
    let through_shim = shim_arguments.is_some();
    let mut process = prepare(&order, &program, shim_arguments);
    marks::set(&mut process, &machine.service_id, &order.key);
    process.stdin(stdin.map_or_else(Stdio::null, Stdio::from));
    let spawned = outputs(&log)
        .and_then(|(stdout, stderr)| process.stdout(stdout).stderr(stderr).spawn())
        .and_then(|child| identify(&child, machine));
    // with it our copy of the pipe's writing end: only the child's may be left
    drop(process);
    let (pid, pidfd, identity) = match spawned {
        Ok(facts) => facts,
        Err(error) => {
            if let Some(path) = &notify_path {
                socket_file::remove(path);
            }
            return Err(Fault { stage: None, error });
        }
    };
    // where the shim limits it, ours might come after the shim's and undo it
    if order.limits.open_files.is_none() {
        machine.restore_open_files(pid);
    }

    let (log_start, log_file) = (log_facts.len(), log_file::identity(&log_facts));
    let log_removed = Arc::default();
    let follow = Follow {
        key: order.key.clone(),
        file: log,
        path: order.log_path.clone(),
        label: order.label.clone(),
        policy: order.log.clone(),
        start: log_start,
        removed: Arc::clone(&log_removed),
    };
    let child = Child {
        key: order.key,
        identity,
        pid,
        pidfd,
        is_own: true,
        collected_until: None,
        started: at,
        label: order.label,
        log_policy: order.log,
        log_path: order.log_path,
        log_file,
        log_start,
        log_removed,
        socket_path: order.socket_path,
        limits: order.limits,
        through_shim,
        peak_address_space: Arc::default(),
        notify_path,
        cell: None,
    };
    Ok(Started { child, ready, follow })
}

/// What keeps a process of this command from being started, as far as files tell it. Starts nothing.
pub(super) fn obstacle(command: &ProcessCommand) -> Option<SpawnError> {
    let program = command.program.to_string_lossy();
    let fault = locate(command).err()?;
    Some(spawn_error(&program, fault.stage.as_deref(), &fault.error))
}

/// The program of a command, as an absolute path; its working directory is there.
fn locate(command: &ProcessCommand) -> Result<PathBuf, Fault> {
    if let Some(folder) = &command.working_dir {
        check_working_dir(folder)
            .map_err(Fault::at(format!("working directory {}", folder.display())))?;
    }
    let folder = command.working_dir.as_deref();
    program::resolve(&command.program, folder, search_path(command).as_deref())
        .map_err(|error| Fault { stage: None, error })
}

/// The kernel's own error would not say whether the folder or the program is missing.
fn check_working_dir(folder: &Path) -> io::Result<()> {
    if !std::fs::metadata(folder)?.is_dir() {
        return Err(rustix::io::Errno::NOTDIR.into());
    }
    Ok(access(folder, Access::EXEC_OK)?)
}

/// Where the program is looked for: in the `PATH` that the child gets, else in ours.
fn search_path(command: &ProcessCommand) -> Option<OsString> {
    command.env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH"))
}

/// The command without its descriptors. Nothing here may take it off the fast path of the standard library:
/// an absolute program, no user, no closure before the exec.
fn prepare(order: &SpawnOrder, program: &Path, shim_arguments: Option<Vec<String>>) -> Command {
    let mut process = match shim_arguments {
        None => Command::new(program),
        Some(arguments) => {
            let mut process = Command::new(order.shim.clone().unwrap_or_else(machine::own_program));
            process.args(arguments).arg(program);
            process
        }
    };
    process.args(&order.command.args).process_group(0);
    if let Some(folder) = &order.command.working_dir {
        process.current_dir(folder);
    }
    match &order.command.env_allow {
        // ours, if we have one, is between us and whoever started us
        None => {
            for variable in notify::VARIABLES.iter().chain(&activation::VARIABLES) {
                process.env_remove(variable);
            }
        }
        Some(allowed) => {
            process.env_clear();
            for name in allowed {
                if let Some(value) = std::env::var_os(name) {
                    process.env(name, value);
                }
            }
        }
    }
    process.envs(order.command.env.iter().map(|(name, value)| (OsStr::new(name), value)));
    if let ReadyChannel::Notify { path } = &order.ready_channel {
        process.env(NOTIFY_VARIABLE, path);
    }
    process
}

fn outputs(log: &File) -> io::Result<(Stdio, Stdio)> {
    Ok((log.try_clone()?.into(), log.try_clone()?.into()))
}

/// Gets hold of a fresh child. Until it is reaped its pid cannot be anybody else's, so there is no race.
fn identify(
    child: &std::process::Child,
    machine: &Machine,
) -> io::Result<(Pid, OwnedFd, ProcessIdentity)> {
    let pid = Pid::from_child(child);
    let facts = pidfd_open(pid, PidfdFlags::empty())
        .map_err(io::Error::from)
        .and_then(|pidfd| Ok((pidfd, procfs::stat(child.id())?.start_ticks)));
    match facts {
        Ok((pidfd, start_ticks)) => {
            let boot_id = machine.boot_id.clone();
            Ok((pid, pidfd, ProcessIdentity { pid: child.id(), start_ticks, boot_id }))
        }
        Err(error) => {
            // a child that cannot be watched must not live
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            Err(error)
        }
    }
}

/// Both ends of a readiness channel.
struct Channel {
    ready: Option<ReadyEnd>,
    stdin: Option<OwnedFd>,
    notify_path: Option<std::path::PathBuf>,
}

impl Channel {
    fn open(wanted: &ReadyChannel) -> io::Result<Self> {
        match wanted {
            ReadyChannel::None => Ok(Self { ready: None, stdin: None, notify_path: None }),
            ReadyChannel::Fd { number } if *number < 3 => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("descriptor {number} is a standard one, 3 or more are allowed"),
            )),
            ReadyChannel::Fd { .. } => {
                let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
                let ready = Some(ReadyEnd::Pipe(reading));
                Ok(Self { ready, stdin: Some(writing), notify_path: None })
            }
            ReadyChannel::Notify { path } => {
                let ready = Some(ReadyEnd::Notify(socket_file::bind_notify(path)?));
                Ok(Self { ready, stdin: None, notify_path: Some(path.clone()) })
            }
        }
    }
}
