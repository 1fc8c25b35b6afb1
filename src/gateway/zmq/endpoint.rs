//! What an endpoint of the configuration means. Pure.

use std::path::PathBuf;

use super::error::OpenError;

/// Where a socket is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A socket file.
    File(PathBuf),
    /// A TCP address, handed to libzmq as it is.
    Tcp,
}

/// Reads an endpoint.
///
/// # Errors
/// [`OpenError::BadEndpoint`] for every kind that has no file of its own that could be protected, other than TCP.
pub(super) fn place(endpoint: &str) -> Result<Place, OpenError> {
    let bad = |reason| OpenError::BadEndpoint { endpoint: endpoint.to_owned(), reason };
    if endpoint.contains('\0') {
        return Err(bad("it holds a NUL character"));
    }
    if let Some(address) = endpoint.strip_prefix("tcp://") {
        return if address.is_empty() {
            Err(bad("the address is missing"))
        } else {
            Ok(Place::Tcp)
        };
    }
    let Some(path) = endpoint.strip_prefix("ipc://") else {
        return Err(bad("only ipc:// and tcp:// are supported"));
    };
    match path.as_bytes() {
        [] => Err(bad("the path is missing")),
        // anybody on the machine could connect to it, and no lock file could stand beside it
        [b'@', ..] => Err(bad("abstract sockets cannot be protected, use a path")),
        [b'*', ..] => Err(bad("a wildcard gives no address that clients could know")),
        [.., b'/'] => Err(bad("the path names a folder")),
        _ => Ok(Place::File(PathBuf::from(path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_tcp_are_taken() {
        assert_eq!(place("ipc:///tmp/a"), Ok(Place::File("/tmp/a".into())));
        assert_eq!(place("ipc://relative/a"), Ok(Place::File("relative/a".into())));
        assert_eq!(place("tcp://127.0.0.1:5555"), Ok(Place::Tcp));
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let endpoints = [
            "",
            "ipc://",
            "ipc://@abstract",
            "ipc://*",
            "ipc:///tmp/",
            "inproc://a",
            "udp://a:1",
            "pgm://a",
            "/tmp/a",
            "tcp://",
            "ipc:///tmp/a\0b",
        ];
        for endpoint in endpoints {
            let error = place(endpoint).expect_err(endpoint).to_string();
            assert!(error.contains(endpoint), "{error}");
        }
    }
}
