//! Whether anybody listens on an endpoint: ZeroMQ itself would wait in silence for a service that does not run.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::ClientError;
use crate::limits;

/// The listening end of an endpoint.
#[derive(Debug, Clone)]
pub struct Listener {
    endpoint: String,
    address: Address,
}

#[derive(Debug, Clone)]
enum Address {
    /// A socket file.
    File(PathBuf),
    /// `host:port`.
    Tcp(String),
    /// Cannot be looked at (an abstract socket): ZeroMQ has to find out.
    Opaque,
}

impl Listener {
    /// The listening end of a configured endpoint; a wildcard address becomes the loopback one.
    pub fn of(endpoint: &str) -> Self {
        if let Some(path) = endpoint.strip_prefix("ipc://") {
            let abstract_name = path.starts_with('@');
            let address = if abstract_name { Address::Opaque } else { Address::File(path.into()) };
            return Self { endpoint: endpoint.to_owned(), address };
        }
        match endpoint.strip_prefix("tcp://") {
            Some(address) => {
                let address = match address.rsplit_once(':') {
                    Some(("*" | "0.0.0.0", port)) => format!("127.0.0.1:{port}"),
                    _ => address.to_owned(),
                };
                Self { endpoint: format!("tcp://{address}"), address: Address::Tcp(address) }
            }
            None => Self { endpoint: endpoint.to_owned(), address: Address::Opaque },
        }
    }

    /// The endpoint to connect to.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Looks whether anybody listens. Never waits longer than [`limits::CLI_TCP_CHECK`].
    ///
    /// # Errors
    /// [`ClientError::NoService`] when nobody does, [`ClientError::Unreachable`] when it may not be asked.
    pub fn check(&self) -> Result<(), ClientError> {
        match &self.address {
            Address::File(path) => self.check_file(path),
            Address::Tcp(address) => self.check_tcp(address),
            Address::Opaque => Ok(()),
        }
    }

    fn check_file(&self, path: &Path) -> Result<(), ClientError> {
        let address = SocketAddrUnix::new(path).map_err(|errno| self.unreachable(errno))?;
        // not blocking: a full backlog of a stalled service would hold a plain connect for ever
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|errno| self.unreachable(errno))?;
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS | Errno::INTR) => Ok(()),
            Err(Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR) => Err(ClientError::NoService),
            Err(errno) => Err(self.unreachable(errno)),
        }
    }

    fn check_tcp(&self, address: &str) -> Result<(), ClientError> {
        let mut addresses = address.to_socket_addrs().map_err(|error| self.unreachable(error))?;
        let Some(address) = addresses.next() else {
            return Err(self.unreachable("the host has no address"));
        };
        match TcpStream::connect_timeout(&address, limits::CLI_TCP_CHECK) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                Err(ClientError::NoService)
            }
            // a slow network is for ZeroMQ and the patience of the request
            _ => Ok(()),
        }
    }

    fn unreachable(&self, reason: impl ToString) -> ClientError {
        ClientError::Unreachable { endpoint: self.endpoint.clone(), reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn check(path: &Path) -> Result<(), ClientError> {
        Listener::of(&format!("ipc://{}", path.display())).check()
    }

    #[test]
    fn a_missing_a_dead_and_a_foreign_file_are_no_service() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("socket");
        assert_eq!(check(&path), Err(ClientError::NoService));
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "the file of a dead service stays");
        assert_eq!(check(&path), Err(ClientError::NoService));
        let file = folder.path().join("file");
        std::fs::write(&file, "text").expect("written");
        assert_eq!(check(&file), Err(ClientError::NoService));
    }

    #[test]
    fn a_stalled_service_with_a_full_backlog_counts_as_running() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("socket");
        let _never_accepts = UnixListener::bind(&path).expect("bound");
        for _ in 0..1000 {
            assert_eq!(check(&path), Ok(()));
        }
    }

    #[test]
    fn paths_beyond_the_bound_of_the_system_are_told() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
        assert!(matches!(check(&path), Err(ClientError::Unreachable { .. })));
    }

    #[test]
    fn wildcards_are_for_listeners_only() {
        assert_eq!(Listener::of("tcp://*:5555").endpoint(), "tcp://127.0.0.1:5555");
        assert_eq!(Listener::of("tcp://10.0.0.1:5555").endpoint(), "tcp://10.0.0.1:5555");
    }
}
