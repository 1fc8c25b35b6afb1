//! When a process is started through `symphony exec-shim`, and with which arguments.

use super::cgroup::cell::Cell;
use crate::launcher::{ReadyChannel, SpawnOrder};

/// What tells a program whose process it is.
const USER_VARIABLES: [&str; 3] = ["HOME", "USER", "LOGNAME"];

/// The arguments in front of the program, or `None` where a direct start does.
///
/// Limits and descriptors must be set in the child before its program begins. Code between fork and exec would force a
/// slow fork of the whole service, so a small program of our own does it.
pub(super) fn arguments(order: &SpawnOrder, cell: Option<&Cell>) -> Option<Vec<String>> {
    let ready_fd = match order.ready_channel {
        ReadyChannel::Fd { number } => Some(number),
        ReadyChannel::None | ReadyChannel::Notify { .. } => None,
    };
    if ready_fd.is_none() && order.limits.is_unlimited() && cell.is_none() {
        return None;
    }
    let limits = &order.limits;
    // what the cgroup holds is not limited twice: as address space, memory means something else
    let memory = limits.memory.filter(|_| !cell.is_some_and(Cell::holds_memory));
    let processes = limits.processes.filter(|_| !cell.is_some_and(Cell::holds_processes));
    // the kernel counts whole seconds, and 0 would mean "at once"
    let cpu_seconds = limits.cpu_time.map(|time| time.as_millis().div_ceil(1000).max(1));
    let options = [
        ("--ready-fd", ready_fd.map(|value| value.to_string())),
        ("--memory", memory.map(|value| value.to_string())),
        ("--cpu-seconds", cpu_seconds.map(|value| value.to_string())),
        ("--open-files", limits.open_files.map(|value| value.to_string())),
        ("--processes", processes.map(|value| value.to_string())),
        ("--nice", limits.nice.map(|value| value.to_string())),
        ("--user", limits.user.clone()),
    ];
    let mut arguments = vec!["exec-shim".to_owned()];
    for folder in cell.into_iter().flat_map(Cell::folders) {
        arguments.extend(["--cgroup".to_owned(), folder.display().to_string()]);
    }
    for (name, value) in options {
        if let Some(value) = value {
            arguments.extend([name.to_owned(), value]);
        }
    }
    // what the configuration sets itself is kept
    for name in USER_VARIABLES.iter().filter(|_| limits.user.is_some()) {
        if !order.command.env.contains_key(*name) {
            arguments.extend(["--user-variable".to_owned(), (*name).to_owned()]);
        }
    }
    arguments.push("--".to_owned());
    Some(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::launcher::testing::sleeping_order;
    use crate::settings::policy::ResourceLimits;

    #[test]
    fn direct_start_unless_something_must_be_set() {
        assert_eq!(arguments(&sleeping_order("a", 1), None), None);
    }

    #[test]
    fn every_limit_has_its_argument() {
        let mut order = sleeping_order("a", 1);
        order.ready_channel = ReadyChannel::Fd { number: 5 };
        order.command.env.insert("USER".into(), "configured".into());
        order.limits = ResourceLimits {
            memory: Some(1 << 30),
            cpu_time: Some(Duration::from_millis(1500)),
            open_files: Some(64),
            processes: Some(100),
            nice: Some(-3),
            user: Some("nobody".into()),
        };
        let line = arguments(&order, None).unwrap().join(" ");
        assert_eq!(
            line,
            "exec-shim --ready-fd 5 --memory 1073741824 --cpu-seconds 2 --open-files 64 --processes 100 --nice -3 \
             --user nobody --user-variable HOME --user-variable LOGNAME --"
        );
    }
}
