//! The backend's socket and its loop.
//!
//! One ROUTER, one poll over the socket and the stop pipe, no timer: an idle backend costs no CPU time.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::limits;

/// Answers messages of clients.
pub trait Answerer {
    /// The frames to send back to this client, or `None` for no answer.
    fn answer(&mut self, identity: &[u8], frames: &[Vec<u8>]) -> Option<Vec<Vec<u8>>>;
}

/// Why an endpoint cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Not an address of a socket file.
    #[error("endpoint {0:?} is not of the form ipc://PATH")]
    BadEndpoint(String),
    /// Somebody answers there: binding would steal its clients.
    #[error("endpoint {0} is served by another process")]
    Taken(String),
    /// Something that is no socket lies there; it is left alone.
    #[error("{0} exists and is not a socket")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot serve {endpoint}: {reason}")]
    Refused {
        /// The address.
        endpoint: String,
        /// The system's word.
        reason: String,
    },
    /// The signal pipe could not be made.
    #[error("cannot watch for signals: {0}")]
    Signals(#[from] io::Error),
}

/// A pipe that gets a byte at TERM and at INT, instead of the process its death.
///
/// # Errors
/// [`ServeError::Signals`] when no descriptor is left.
pub fn stop_on_signals() -> Result<UnixStream, ServeError> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGTERM, writer.try_clone()?)?;
    signal_hook::low_level::pipe::register(SIGINT, writer)?;
    Ok(reader)
}

/// A bound ROUTER. Dropping it removes its socket file.
pub struct BackendSocket {
    // before the context: a context waits for its sockets to be closed
    router: zmq::Socket,
    _context: zmq::Context,
    endpoint: String,
    path: PathBuf,
    /// Device and inode of our own socket file: another's at the same path is not ours to remove.
    file: (u64, u64),
}

impl Drop for BackendSocket {
    /// libzmq leaves the file behind.
    fn drop(&mut self) {
        if file_id(&self.path).is_ok_and(|found| found == self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl BackendSocket {
    /// Binds `ipc://PATH` with mode 0600. A socket file that nobody answers on is replaced.
    ///
    /// # Errors
    /// [`ServeError`]; nothing was changed then.
    pub fn bind(endpoint: &str) -> Result<Self, ServeError> {
        let path = socket_path(endpoint)?;
        refuse_occupied(endpoint, path)?;
        let context = zmq::Context::new();
        let router = context.socket(zmq::ROUTER).and_then(|router| {
            router.set_linger(i32::try_from(limits::SOCKET_LINGER.as_millis()).unwrap_or(0))?;
            router.set_maxmsgsize(limits::FRAME_BYTES)?;
            // a client that comes back under its old identity is the live one
            router.set_router_handover(true)?;
            router.bind(endpoint)?;
            Ok(router)
        });
        let router = router.map_err(|error| refused(endpoint, error))?;
        let file = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| file_id(path))
            .map_err(|error| refused(endpoint, error))?;
        let (endpoint, path) = (endpoint.to_owned(), path.to_owned());
        Ok(Self { router, _context: context, endpoint, path, file })
    }

    /// Serves clients until `stop` has something to read.
    ///
    /// # Errors
    /// [`ServeError::Refused`] when the socket itself fails.
    pub fn serve(&self, answerer: &mut dyn Answerer, stop: &UnixStream) -> Result<(), ServeError> {
        loop {
            let mut items = [
                self.router.as_poll_item(zmq::POLLIN),
                zmq::PollItem::from_fd(stop.as_raw_fd(), zmq::POLLIN),
            ];
            match zmq::poll(&mut items, -1) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(refused(&self.endpoint, error)),
            }
            // bounded, so that a flood cannot hold off the end
            for _ in 0..limits::GATEWAY_BATCH {
                match self.receive() {
                    Ok(message) => self.handle(answerer, message),
                    Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => break,
                    Err(error) => return Err(refused(&self.endpoint, error)),
                }
            }
            if stop_asked(stop) {
                return Ok(());
            }
        }
    }

    fn handle(&self, answerer: &mut dyn Answerer, mut message: Vec<Vec<u8>>) {
        if message.is_empty() {
            return;
        }
        let identity = message.remove(0);
        let Some(reply) = answerer.answer(&identity, &message) else { return };
        // to a client that is gone or does not read the reply is lost, as every reply may be
        let frames = std::iter::once(identity).chain(reply);
        if let Err(error) = self.router.send_multipart(frames, zmq::DONTWAIT) {
            tracing::debug!(%error, "reply lost");
        }
    }

    /// One message; frames beyond the bound are read and thrown away, one place more shows that there were too many.
    fn receive(&self) -> zmq::Result<Vec<Vec<u8>>> {
        let mut frames = Vec::with_capacity(3);
        loop {
            let frame = self.router.recv_msg(zmq::DONTWAIT)?;
            if frames.len() < limits::FRAME_PARTS {
                frames.push(frame.to_vec());
            }
            if !frame.get_more() {
                return Ok(frames);
            }
        }
    }
}

/// Whether a byte came through the stop pipe (or its writers are gone).
pub fn stop_asked(mut stop: &UnixStream) -> bool {
    let mut byte = [0];
    match stop.read(&mut byte) {
        // 0 bytes: nobody can ask any more
        Ok(_count) => true,
        Err(error) => {
            !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        }
    }
}

fn file_id(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

fn refused(endpoint: &str, reason: impl ToString) -> ServeError {
    ServeError::Refused { endpoint: endpoint.to_owned(), reason: reason.to_string() }
}

fn socket_path(endpoint: &str) -> Result<&Path, ServeError> {
    match endpoint.strip_prefix("ipc://") {
        // libzmq gives '*' and '@' meanings of their own, and a NUL ends its string
        Some(path)
            if !path.is_empty()
                && path != "*"
                && !path.starts_with('@')
                && !path.contains('\0') =>
        {
            Ok(Path::new(path))
        }
        _ => Err(ServeError::BadEndpoint(endpoint.to_owned())),
    }
}

/// libzmq removes whatever lies at the path and takes it over, so all that must not be lost is looked for here.
fn refuse_occupied(endpoint: &str, path: &Path) -> Result<(), ServeError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused(endpoint, error)),
        Ok(found) if !found.file_type().is_socket() => Err(ServeError::NotASocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).is_ok() => Err(ServeError::Taken(endpoint.to_owned())),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::session::{Session, default_protocols};
    use std::io::Write;

    fn endpoint(folder: &tempfile::TempDir) -> (PathBuf, String) {
        let path = folder.path().join("backend.sock");
        let endpoint = format!("ipc://{}", path.display());
        (path, endpoint)
    }

    #[test]
    fn socket_is_private_and_its_file_goes_with_it() {
        let folder = tempfile::tempdir().expect("folder");
        let (path, endpoint) = endpoint(&folder);
        let socket = BackendSocket::bind(&endpoint).expect("bound");
        let mode = std::fs::metadata(&path).expect("socket file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn live_endpoint_and_foreign_file_are_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let (path, endpoint) = endpoint(&folder);
        let live = BackendSocket::bind(&endpoint).expect("bound");
        assert!(matches!(BackendSocket::bind(&endpoint), Err(ServeError::Taken(_))));
        assert!(UnixStream::connect(&path).is_ok(), "the live one was not harmed");
        drop(live);
        std::fs::write(&path, "precious").expect("written");
        assert!(matches!(BackendSocket::bind(&endpoint), Err(ServeError::NotASocket(_))));
        assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
    }

    #[test]
    fn stale_socket_file_is_replaced() {
        let folder = tempfile::tempdir().expect("folder");
        let (path, endpoint) = endpoint(&folder);
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "a dead socket's file stays behind");
        assert!(BackendSocket::bind(&endpoint).is_ok());
    }

    #[test]
    fn addresses_with_a_meaning_of_their_own_are_refused() {
        for text in ["tcp://127.0.0.1:1", "ipc://", "ipc://*", "ipc://@x", "ipc:///tmp/a\0b", "x"] {
            assert!(matches!(BackendSocket::bind(text), Err(ServeError::BadEndpoint(_))), "{text}");
        }
    }

    #[test]
    fn client_is_served_until_the_stop_pipe_speaks() {
        let folder = tempfile::tempdir().expect("folder");
        let (_, endpoint) = endpoint(&folder);
        let socket = BackendSocket::bind(&endpoint).expect("bound");
        let (mut ask_stop, stop) = UnixStream::pair().expect("pair");
        stop.set_nonblocking(true).expect("non-blocking");
        let server = std::thread::spawn(move || {
            let mut session = Session::new(default_protocols(), "m");
            socket.serve(&mut session, &stop).expect("served");
            session.refused()
        });
        let client = zmq::Context::new().socket(zmq::DEALER).expect("socket");
        client.set_linger(0).expect("linger");
        client.set_rcvtimeo(30_000).expect("limit");
        client.connect(&endpoint).expect("connected");
        // more frames than are kept still count as one message, and the next one is read from its beginning
        client.send_multipart(vec![vec![1u8]; limits::FRAME_PARTS * 3], 0).expect("sent");
        assert_eq!(client.recv_multipart(0).expect("answered"), vec![vec![0]]);
        client.send("", 0).expect("sent");
        assert!(client.recv_multipart(0).expect("answered")[0].len() > 1);
        ask_stop.write_all(&[1]).expect("asked");
        assert_eq!(server.join().expect("ended"), 1);
    }
}
