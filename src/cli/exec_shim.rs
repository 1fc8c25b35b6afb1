//! `symphony exec-shim`: sets up a backend's process from inside, then becomes the backend's program.
//!
//! Code between fork and exec would force a slow fork of the whole service (14-28 ms at 1 GiB), so what can only be
//! done in the child is done here, after a fast spawn of this small program. It knows no model and no actor.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;
use rustix::process::{Resource, Rlimit};

// one line each: no more of the launcher is any business of a helper
use crate::launcher::SHIM_FAILED;
use crate::launcher::SHIM_NOT_NOW;
use crate::launcher::SHIM_PREFIX;
use crate::launcher::account::{Account, AccountError};
use crate::launcher::transience::is_transient;
use crate::limits;

/// As shells do: the program does not exist.
const NOT_FOUND: u8 = SHIM_FAILED[1];
/// As shells do: the program cannot be executed, or not as asked.
const NOT_EXECUTABLE: u8 = SHIM_FAILED[0];

/// What to set up, and the program to become.
#[derive(Debug, Clone, Args)]
pub struct ExecShimArgs {
    /// Move standard input to this descriptor (and open /dev/null in its place)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(3..))]
    pub ready_fd: Option<i32>,
    /// Enter the cgroup of this folder (may be given again: one in each hierarchy)
    #[arg(long, value_name = "FOLDER")]
    pub cgroup: Vec<PathBuf>,
    /// Address space in bytes
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<u64>,
    /// CPU time in seconds
    #[arg(long, value_name = "N")]
    pub cpu_seconds: Option<u64>,
    /// Open descriptors
    #[arg(long, value_name = "N")]
    pub open_files: Option<u64>,
    /// Processes of the user
    #[arg(long, value_name = "N")]
    pub processes: Option<u64>,
    /// Added to the nice value
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub nice: Option<i32>,
    /// Become this user, with its groups
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Set this variable to what fits the user: HOME, USER or LOGNAME (may be given again)
    #[arg(long, value_name = "VARIABLE", requires = "user")]
    pub user_variable: Vec<String>,
    /// Program and arguments
    #[arg(required = true, last = true)]
    pub command: Vec<OsString>,
}

/// Sets everything up and executes the program; comes back only when that failed.
///
/// The exit code is then 127 (no such program), 75 (another try may do) or 126 (anything else), with one line on standard
/// error.
pub fn run(args: ExecShimArgs) -> ExitCode {
    let failure = become_program(&args);
    // the launcher knows the line by its beginning
    eprintln!("{SHIM_PREFIX}{failure}");
    ExitCode::from(failure.exit_code())
}

/// Why the program does not run.
#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error("cannot set up the readiness descriptor {number}: {reason}")]
    ReadyFd { number: i32, reason: io::Error },
    #[error("cannot enter the cgroup {folder}: {reason}")]
    Cgroup { folder: String, reason: io::Error },
    #[error("cannot limit {what} to {wanted}: {reason}")]
    Limit { what: &'static str, wanted: u64, reason: io::Error },
    #[error("cannot add {wanted} to the nice value: {reason}")]
    Nice { wanted: i32, reason: io::Error },
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("no program given")]
    NoProgram,
    #[error("cannot execute {program}: {reason}")]
    Exec { program: String, reason: io::Error },
    #[error("cannot start {program} now: {reason}")]
    ExecNow { program: String, reason: io::Error },
}

impl ShimError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Exec { reason, .. } if reason.kind() == io::ErrorKind::NotFound => NOT_FOUND,
            _ if self.is_transient() => SHIM_NOT_NOW,
            _ => NOT_EXECUTABLE,
        }
    }

    fn is_transient(&self) -> bool {
        match self {
            // made for this very start: where it is gone, the next start has another
            Self::Cgroup { .. } | Self::ExecNow { .. } => true,
            Self::ReadyFd { reason, .. }
            | Self::Limit { reason, .. }
            | Self::Nice { reason, .. } => is_transient(reason),
            Self::Account(error) => error.is_transient(),
            Self::NoProgram | Self::Exec { .. } => false,
        }
    }
}

fn become_program(args: &ExecShimArgs) -> ShimError {
    // lives until the exec, which hands the descriptor on
    let _ready = match args.ready_fd.map(move_stdin_to).transpose() {
        Ok(descriptor) => descriptor,
        Err(failure) => return failure,
    };
    let mut variables = Vec::new();
    let prepared = enter_cgroups(args).and_then(|()| set_limits(args)).and_then(|()| {
        variables = become_user(args)?;
        limit_memory(args)
    });
    if let Err(failure) = prepared {
        return failure;
    }
    let Some((program, rest)) = args.command.split_first() else { return ShimError::NoProgram };
    // exec() also sets SIGPIPE back to its default, which the Rust runtime ignores
    let reason = Command::new(program).args(rest).envs(variables).exec();
    not_executed(program.to_string_lossy().into_owned(), reason)
}

fn not_executed(program: String, reason: io::Error) -> ShimError {
    if is_transient(&reason) {
        ShimError::ExecNow { program, reason }
    } else {
        ShimError::Exec { program, reason }
    }
}

/// The writing end of the readiness pipe arrives as standard input: the one place a fast spawn can put a descriptor.
fn move_stdin_to(number: i32) -> Result<OwnedFd, ShimError> {
    let failed = |reason| ShimError::ReadyFd { number, reason };
    let moved = rustix::io::fcntl_dupfd_cloexec(io::stdin(), number)
        .map_err(|errno| failed(errno.into()))?;
    if moved.as_raw_fd() != number {
        return Err(failed(io::Error::other("the number is in use")));
    }
    rustix::io::fcntl_setfd(&moved, rustix::io::FdFlags::empty())
        .map_err(|errno| failed(errno.into()))?;
    let null = File::open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdin(&null).map_err(|errno| failed(errno.into()))?;
    Ok(moved)
}

/// Before the program begins, so that nothing of it is ever outside.
fn enter_cgroups(args: &ExecShimArgs) -> Result<(), ShimError> {
    for folder in &args.cgroup {
        // 0 stands for who writes it
        std::fs::write(folder.join("cgroup.procs"), "0")
            .map_err(|reason| ShimError::Cgroup { folder: folder.display().to_string(), reason })?;
    }
    Ok(())
}

fn set_limits(args: &ExecShimArgs) -> Result<(), ShimError> {
    if let Some(wanted) = args.nice {
        rustix::process::nice(wanted)
            .map_err(|errno| ShimError::Nice { wanted, reason: errno.into() })?;
    }
    let limited = [
        ("cpu seconds", Resource::Cpu, args.cpu_seconds),
        ("open files", Resource::Nofile, args.open_files),
        ("processes", Resource::Nproc, args.processes),
    ];
    for (what, resource, wanted) in limited {
        let Some(wanted) = wanted else { continue };
        let maximum = match resource {
            Resource::Cpu => most_cpu_time(wanted),
            _ => wanted,
        };
        let limit = Rlimit { current: Some(wanted), maximum: Some(maximum) };
        set_limit(what, resource, wanted, limit)?;
    }
    Ok(())
}

/// After all else: this very program must still be able to allocate, and users may be looked up by libraries of any size.
fn limit_memory(args: &ExecShimArgs) -> Result<(), ShimError> {
    let Some(wanted) = args.memory else { return Ok(()) };
    let limit = Rlimit { current: Some(wanted), maximum: Some(wanted) };
    set_limit("memory", Resource::As, wanted, limit)
}

fn set_limit(
    what: &'static str,
    resource: Resource,
    wanted: u64,
    limit: Rlimit,
) -> Result<(), ShimError> {
    rustix::process::setrlimit(resource, limit).map_err(|errno| ShimError::Limit {
        what,
        wanted,
        reason: errno.into(),
    })
}

/// After cgroups, limits and nice values, which the user may not be allowed to set. Answers variables that fit the user.
fn become_user(args: &ExecShimArgs) -> Result<Vec<(&'static str, String)>, ShimError> {
    let Some(name) = &args.user else { return Ok(Vec::new()) };
    let account = Account::of(name)?;
    account.become_it()?;
    let wanted = |variable: &str| args.user_variable.iter().any(|known| known == variable);
    Ok(account.variables().into_iter().filter(|(variable, _)| wanted(variable)).collect())
}

/// A program that does not end by SIGXCPU at its limit is killed here; where less is allowed already, there.
fn most_cpu_time(wanted: u64) -> u64 {
    let graceful = wanted.saturating_add(limits::CPU_TIME_GRACE);
    let allowed = rustix::process::getrlimit(Resource::Cpu).maximum;
    allowed.map_or(graceful, |allowed| graceful.min(allowed.max(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Shim {
        #[command(flatten)]
        args: ExecShimArgs,
    }

    #[test]
    fn arguments_of_the_program_are_never_taken_for_ours() {
        let line = ["shim", "--ready-fd", "7", "--nice", "-5", "--", "prog", "--nice", "3", "--"];
        let args = Shim::try_parse_from(line).expect("valid").args;
        assert_eq!((args.ready_fd, args.nice), (Some(7), Some(-5)));
        assert_eq!(args.command, ["prog", "--nice", "3", "--"]);
    }

    #[test]
    fn standard_descriptors_and_a_missing_program_are_refused() {
        assert!(Shim::try_parse_from(["shim", "--ready-fd", "2", "--", "prog"]).is_err());
        assert!(Shim::try_parse_from(["shim", "--memory", "5"]).is_err());
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        let exec = |kind: io::ErrorKind| not_executed("p".into(), kind.into());
        assert_eq!(exec(io::ErrorKind::NotFound).exit_code(), 127);
        assert_eq!(exec(io::ErrorKind::PermissionDenied).exit_code(), 126);
    }

    #[test]
    fn what_may_go_well_at_another_try_has_a_code_of_its_own() {
        let exec = |errno: rustix::io::Errno| not_executed("p".into(), errno.into()).exit_code();
        for errno in [rustix::io::Errno::TXTBSY, rustix::io::Errno::AGAIN, rustix::io::Errno::NOMEM]
        {
            assert_eq!(exec(errno), SHIM_NOT_NOW, "{errno:?}");
        }
        assert_eq!(exec(rustix::io::Errno::NOEXEC), NOT_EXECUTABLE);
        let gone = rustix::io::Errno::NOENT.into();
        assert_eq!(
            ShimError::Cgroup { folder: "/x".into(), reason: gone }.exit_code(),
            SHIM_NOT_NOW
        );
        let lookup = AccountError::Lookup { name: "a".into(), reason: "no answer".into() };
        assert_eq!(ShimError::Account(lookup).exit_code(), SHIM_NOT_NOW);
        let unknown = AccountError::Unknown("a".into());
        assert_eq!(ShimError::Account(unknown).exit_code(), NOT_EXECUTABLE);
    }
}
