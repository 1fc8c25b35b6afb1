//! Why the gateway's sockets could not be opened.

use std::path::PathBuf;

/// Why the two sockets could not be opened. Nothing of ours is left behind then, and nothing of others was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Neither a usable `ipc://` nor a `tcp://` address.
    #[error("endpoint {endpoint}: {reason}")]
    BadEndpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Both sockets on one address.
    #[error("endpoint {0} is configured for both sockets, each needs its own")]
    SameEndpoint(String),
    /// The path, or the one it is prepared under, does not fit into a socket address.
    #[error("socket path {} is too long: the kernel takes {limit} bytes", .path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// How many bytes it may have.
        limit: usize,
    },
    /// Another Symphony holds the lock.
    #[error(
        "another service{} is running on {}: stop it, or configure another endpoint",
        holder(.pid), .path.display()
    )]
    Locked {
        /// The socket's path.
        path: PathBuf,
        /// The process that holds it, where it left its number.
        pid: Option<u32>,
    },
    /// Somebody who does not know our lock answers there.
    #[error("another program is listening on {}: stop it, or configure another endpoint", .0.display())]
    InUse(PathBuf),
    /// There is a file of another kind; it is left alone.
    #[error("{} exists and is not a socket: move it away, or configure another endpoint", .0.display())]
    NotASocket(PathBuf),
    /// The lock file's name is taken by something that we did not write; it is left alone.
    #[error("{} exists and is no lock file of symphony: move it away, or configure another endpoint", .0.display())]
    NotOurLock(PathBuf),
    /// The system refused a step.
    #[error("cannot {action} {}: {reason}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's word.
        reason: String,
    },
    /// libzmq refused a step.
    #[error("cannot {action} {endpoint}: {reason}")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// With what.
        endpoint: String,
        /// libzmq's word.
        reason: String,
    },
    /// The gateway's thread could not be started, or ended before it answered.
    #[error("the gateway's thread did not come up: {0}")]
    Thread(String),
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

impl OpenError {
    pub(super) fn file(
        action: &'static str,
        path: &std::path::Path,
        error: impl std::fmt::Display,
    ) -> Self {
        Self::File { action, path: path.to_owned(), reason: error.to_string() }
    }

    pub(super) fn socket(action: &'static str, endpoint: &str, error: zmq::Error) -> Self {
        Self::Socket { action, endpoint: endpoint.to_owned(), reason: error.to_string() }
    }
}
