//! Socket files of backends: made, checked and removed. Whatever is no socket, or is in use, is left alone.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Removes a socket file that nobody answers on (a dead predecessor left it). Answers whether it did.
pub(super) fn remove_abandoned(path: &Path) -> bool {
    is_socket(path) && is_abandoned(path) && remove(path)
}

/// Removes a file that is a socket. Answers whether it did.
pub(super) fn remove(path: &Path) -> bool {
    if !is_socket(path) {
        return false;
    }
    match std::fs::remove_file(path) {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(target: "symphony-mgmt", path = %path.display(), %error, "cannot remove a socket file");
            }
            false
        }
    }
}

/// Whether something lies there that is no socket: then it is no backend's.
///
/// # Errors
/// That it does, in words.
pub(super) fn refuse_foreign(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is no socket lies there and is left alone",
        )),
        _ => Ok(()),
    }
}

/// Makes the folder of a socket, for our user alone, where somebody removed it under us.
///
/// # Errors
/// The system's word.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.exists() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Binds the datagram socket of a notify channel, for our user alone.
///
/// # Errors
/// When the path is too long for a socket, or taken.
pub(super) fn bind_notify(path: &Path) -> io::Result<UnixDatagram> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    remove_abandoned(path);
    let socket = UnixDatagram::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn is_socket(path: &Path) -> bool {
    // of the link itself: what it leads to belongs to somebody else
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Whether the kernel says that no process has the socket bound. In doubt (no right to ask, a full queue) it counts as used.
fn is_abandoned(path: &Path) -> bool {
    let Ok(address) = SocketAddrUnix::new(path) else { return false };
    for kind in [SocketType::STREAM, SocketType::DGRAM, SocketType::SEQPACKET] {
        // never blocking: a listener with a full queue would hold us
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let Ok(socket) = socket_with(AddressFamily::UNIX, kind, flags, None) else { return false };
        match connect(&socket, &address) {
            Err(Errno::PROTOTYPE) => {}
            Err(Errno::CONNREFUSED) => return true,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn own_stale_socket_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (stream, datagram) = (folder.path().join("stream"), folder.path().join("datagram"));
        drop(UnixListener::bind(&stream).unwrap());
        drop(UnixDatagram::bind(&datagram).unwrap());
        assert!(remove_abandoned(&stream) && !stream.exists());
        assert!(remove_abandoned(&datagram) && !datagram.exists());
    }

    #[test]
    fn live_sockets_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (stream, datagram) = (folder.path().join("stream"), folder.path().join("datagram"));
        let _listener = UnixListener::bind(&stream).unwrap();
        let _receiver = UnixDatagram::bind(&datagram).unwrap();
        assert!(!remove_abandoned(&stream) && stream.exists());
        assert!(!remove_abandoned(&datagram) && datagram.exists());
    }

    #[test]
    fn foreign_file_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        let link = folder.path().join("link");
        let socket = folder.path().join("socket");
        drop(UnixListener::bind(&socket).unwrap());
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        for path in [&file, &link, &folder.path().join("absent"), &folder.path().to_owned()] {
            assert!(!remove_abandoned(path) && !remove(path), "{}", path.display());
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        assert!(link.exists(), "a link to a socket is not ours to remove");
    }

    #[test]
    fn notify_socket_is_private_and_takes_over_a_stale_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("notify");
        drop(bind_notify(&path).unwrap());
        let _socket = bind_notify(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(bind_notify(&path).is_err(), "a live one is never taken over");
        assert!(bind_notify(&folder.path().join("x".repeat(200))).is_err());
    }
}
