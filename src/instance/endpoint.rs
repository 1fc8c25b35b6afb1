//! The address a backend is reached at: chosen once in the life of an instance and kept over all its restarts, so that
//! clients reconnect by themselves. Only a reload that changes what the backend speaks makes another one necessary.

use std::path::{Path, PathBuf};

use crate::settings::model::Transport;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    uri: String,
    port: Option<u16>,
}

const IPC: &str = "ipc://";
const HTTP: &str = "http://127.0.0.1:";

impl Endpoint {
    /// A fresh socket path below `folder`: `ipc://{folder}/symphony-model-{8 hex}`.
    pub fn fresh_ipc(folder: &Path) -> Self {
        let (random, ..) = uuid::Uuid::new_v4().as_fields();
        let path = folder.join(format!("symphony-model-{random:08x}"));
        Self { uri: format!("{IPC}{}", path.display()), port: None }
    }

    /// An HTTP address on the loopback.
    pub fn http(port: u16) -> Self {
        Self { uri: format!("{HTTP}{port}"), port: Some(port) }
    }

    /// An endpoint that was written down before.
    pub fn recorded(uri: &str) -> Self {
        Self {
            uri: uri.to_owned(),
            port: uri.strip_prefix(HTTP).and_then(|port| port.parse().ok()),
        }
    }

    /// Whether it fits what the backend speaks now (a reload may have changed that).
    pub fn fits(&self, transport: Transport) -> bool {
        match transport {
            Transport::Zmq => self.uri.starts_with(IPC),
            Transport::Http => self.port.is_some(),
        }
    }

    /// As clients use it.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The TCP port.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The socket file.
    pub fn socket_path(&self) -> Option<PathBuf> {
        self.uri.strip_prefix(IPC).map(PathBuf::from)
    }
}

/// A TCP port nobody listens on just now. Blocks for some microseconds; another process may still win it before the
/// backend does, which then fails its start and is restarted.
///
/// # Errors
/// When the system has no port left.
pub fn free_port() -> std::io::Result<u16> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Looks whether a port can be listened on, before a backend is started that is to do so.
///
/// # Errors
/// What stands in the way, in words.
pub fn check_port(port: u16) -> Result<(), String> {
    match std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(format!("port {port} is taken by another program"))
        }
        Err(error) => Err(format!("port {port} cannot be listened on: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_unique_and_survive_being_written_down() {
        let a = Endpoint::fresh_ipc(Path::new("/tmp"));
        assert_ne!(a, Endpoint::fresh_ipc(Path::new("/tmp")));
        assert_eq!(Endpoint::recorded(a.uri()), a);
        assert!(a.uri().starts_with("ipc:///tmp/symphony-model-") && a.fits(Transport::Zmq));
        let http = Endpoint::http(8080);
        assert_eq!(Endpoint::recorded(http.uri()), http);
        assert!(http.fits(Transport::Http) && !http.fits(Transport::Zmq));
    }
}
