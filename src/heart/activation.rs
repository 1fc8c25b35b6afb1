//! Sockets that were opened before the service was started: `LISTEN_FDS`, as systemd's socket units pass them.
//!
//! They come as bare numbers. Each becomes a listener that is owned, or is closed, before anything else is opened: what
//! stayed open without an owner would be inherited by every backend.

use std::ffi::OsString;
use std::net::TcpListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::limits;

/// Variables that announce such sockets. They are for the service alone, never for a backend.
pub const VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", FIRST];

/// Of the library alone: the number of the first socket, where it is not three.
const FIRST: &str = "LISTEN_FDS_FIRST_FD";

/// Why a socket, or all of them, cannot be used. It is no reason not to start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActivationError {
    /// The variable makes no sense.
    #[error("LISTEN_FDS={0:?} is no number of sockets from 1 to {max}: no socket is taken over", max = limits::LISTEN_FDS)]
    Count(String),
    /// One of them is no TCP socket that listens.
    #[error("the socket {name:?} that was opened for the service is closed: {reason}")]
    Useless {
        /// By `LISTEN_FDNAMES`, or its place.
        name: String,
        /// What it is not.
        reason: String,
    },
}

/// Whether sockets were opened for this very process: then whoever did that owns their addresses, and no other service
/// listens there.
pub fn is_announced() -> bool {
    matches!(announced(|name| std::env::var_os(name), std::process::id()), Ok(Some(_)))
}

/// Takes over the listening TCP sockets that were opened for this process, and closes all others. To be called once, before
/// any thread is started and any file is opened.
pub fn take() -> (Vec<TcpListener>, Vec<ActivationError>) {
    match announced(|name| std::env::var_os(name), std::process::id()) {
        Ok(None) => (Vec::new(), Vec::new()),
        Err(fault) => (Vec::new(), vec![fault]),
        Ok(Some(count)) => {
            let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
            take_all(count, &names)
        }
    }
}

fn take_all(count: usize, names: &str) -> (Vec<TcpListener>, Vec<ActivationError>) {
    let mut sockets = ListenFd::from_env();
    let mut names = names.split(':');
    let (mut taken, mut faults) = (Vec::new(), Vec::new());
    for index in 0..count {
        let name = names.next().filter(|name| !name.is_empty());
        let name = name.map_or_else(|| (index + 1).to_string(), str::to_owned);
        match take_one(&mut sockets, index) {
            Ok(listener) => taken.push(listener),
            Err(reason) => faults.push(ActivationError::Useless { name, reason }),
        }
    }
    (taken, faults)
}

fn take_one(sockets: &mut ListenFd, index: usize) -> Result<TcpListener, String> {
    let refused = match sockets.take_tcp_listener(index) {
        Ok(Some(socket)) => match socket_acceptconn(&socket) {
            Ok(true) => return Ok(socket),
            Ok(false) => return Err("it does not listen".into()),
            Err(error) => return Err(error.to_string()),
        },
        Ok(None) => return Err("it is not there".into()),
        Err(error) => error.to_string(),
    };
    // no TCP socket: it has no owner yet
    if let Ok(Some(number)) = sockets.take_raw_fd(index) {
        // one that is not even open is closed already
        let _ = nix::unistd::close(number);
    }
    Err(refused)
}

/// How many sockets were opened for the process `own_pid`; `None` when there are none, or they are for another one that
/// has our environment.
fn announced(
    variable: impl Fn(&str) -> Option<OsString>,
    own_pid: u32,
) -> Result<Option<usize>, ActivationError> {
    let number = |value: &OsString| value.to_str().and_then(|text| text.parse::<usize>().ok());
    let is_ours = variable("LISTEN_PID").as_ref().and_then(number) == Some(own_pid as usize);
    let Some(count) = variable("LISTEN_FDS").filter(|_| is_ours) else { return Ok(None) };
    match number(&count) {
        Some(0) => Ok(None),
        // a program between us and systemd may count from elsewhere; we do not
        Some(known) if known <= limits::LISTEN_FDS && variable(FIRST).is_none() => Ok(Some(known)),
        _ => Err(ActivationError::Count(count.to_string_lossy().into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_announced_to_this_process_counts() {
        let count = |fds: &str, pid: &str| {
            let variable = |name: &str| match name {
                "LISTEN_FDS" => Some(OsString::from(fds)),
                "LISTEN_PID" => Some(OsString::from(pid)),
                _ => None,
            };
            announced(variable, 4711)
        };
        assert_eq!(count("2", "4711"), Ok(Some(2)));
        assert_eq!(count("0", "4711"), Ok(None));
        for other in ["1", "", "x", "-4711", "4711x"] {
            assert_eq!(count("2", other), Ok(None), "{other}");
        }
        for wrong in ["", "-1", "x", "99999999999999999999999", "4000000000"] {
            assert_eq!(count(wrong, "4711"), Err(ActivationError::Count(wrong.into())));
        }
        assert_eq!(announced(|_| None, 1), Ok(None));
        let strange =
            |name: &str| Some(OsString::from(if name == "LISTEN_PID" { "1" } else { "2" }));
        assert!(announced(strange, 1).is_err(), "numbers that begin elsewhere");
    }
}
