//! The addresses of the service's own sockets.

use std::path::{Component, Path, PathBuf};

use super::path::shown;
use crate::limits;

/// An address that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// As it is handed to ZeroMQ.
    pub text: String,
    /// What it means, so that two spellings of one address are known as such.
    meaning: Meaning,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    Ipc(PathBuf),
    Tcp(String, u16),
}

impl Endpoint {
    /// Checks an address. A relative path begins at `working_dir`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str, working_dir: &Path) -> Result<Self, String> {
        if text.chars().any(char::is_control) {
            return Err(format!("'{}' holds a control character", shown(text)));
        }
        if let Some(path) = text.strip_prefix("ipc://") {
            return Self::ipc(text, path, working_dir);
        }
        if let Some(address) = text.strip_prefix("tcp://") {
            return Self::tcp(text, address);
        }
        Err(format!(
            "'{}' is no address; write ipc:// with a path, or tcp://host:port",
            shown(text)
        ))
    }

    fn ipc(text: &str, path: &str, working_dir: &Path) -> Result<Self, String> {
        if path.is_empty() || path.ends_with('/') || path == "*" {
            return Err(format!("'{}' names no file", shown(text)));
        }
        if path.starts_with('@') {
            return Err("an abstract socket has no file and so no file mode to protect it".into());
        }
        let path = working_dir.join(path);
        let as_text = path.to_str().ok_or("the working directory is not UTF-8")?;
        socket_path_fits(as_text)?;
        // "." and double slashes are gone from components; ".." stays, as a link may lie before it
        let meaning = path.components().filter(|part| *part != Component::CurDir).collect();
        Ok(Self { text: format!("ipc://{as_text}"), meaning: Meaning::Ipc(meaning) })
    }

    fn tcp(text: &str, address: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{}' is not tcp://host:port with a port from 1 to 65535", shown(text));
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty()
            || host.chars().any(char::is_whitespace)
            || (host.contains(':') && !bracketed)
        {
            return Err(wrong());
        }
        Ok(Self { text: text.to_owned(), meaning: Meaning::Tcp(host.to_lowercase(), port) })
    }

    /// Whether both are the same address.
    pub fn same_as(&self, other: &Self) -> bool {
        self.meaning == other.meaning
    }

    /// Whether other machines may reach it.
    pub fn is_open_to_others(&self) -> bool {
        match &self.meaning {
            Meaning::Ipc(_) => false,
            Meaning::Tcp(host, _) => {
                let loopback = |ip: std::net::IpAddr| ip.is_loopback();
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                host != "localhost" && host != "lo" && !bare.parse().is_ok_and(loopback)
            }
        }
    }
}

/// Whether the kernel takes this path for a socket.
///
/// # Errors
/// How long it is and may be.
pub(super) fn socket_path_fits(path: &str) -> Result<(), String> {
    if path.len() > limits::SOCKET_PATH_BYTES {
        return Err(format!(
            "the socket's path has {} bytes, at most {} are allowed",
            path.len(),
            limits::SOCKET_PATH_BYTES
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Endpoint, String> {
        Endpoint::parse(text, Path::new("/w"))
    }

    #[test]
    fn addresses_that_no_client_could_find_are_refused() {
        for text in [
            "",
            "ipc://",
            "ipc:///tmp/",
            "ipc://*",
            "ipc://@x",
            "ipc:///a\0b",
            "tcp://",
            "tcp://h",
            "tcp://h:0",
            "tcp://h:*",
            "tcp://h:65536",
            "tcp://:80",
            "tcp://::1:80",
            "udp://h:80",
            "inproc://x",
            "/tmp/x",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("ipc:///{}", "x".repeat(limits::SOCKET_PATH_BYTES - 1))).is_ok());
        assert!(parse(&format!("ipc:///{}", "x".repeat(limits::SOCKET_PATH_BYTES))).is_err());
    }

    #[test]
    fn two_spellings_of_one_address_are_the_same() {
        let same = |a, b| parse(a).expect("good").same_as(&parse(b).expect("good"));
        assert!(same("ipc:///w/x", "ipc://./x") && same("ipc:///w//x", "ipc://x"));
        assert!(same("tcp://LOCALHOST:5", "tcp://localhost:5"));
        assert!(!same("ipc:///tmp/a", "ipc:///tmp/b"));
        assert_eq!(parse("ipc:///tmp/symphony-ipc").expect("good").text, "ipc:///tmp/symphony-ipc");
    }

    #[test]
    fn what_other_machines_reach_is_known() {
        let open = |text| parse(text).expect("good").is_open_to_others();
        assert!(open("tcp://0.0.0.0:5") && open("tcp://*:5") && open("tcp://[::]:5"));
        assert!(!open("tcp://127.0.0.1:5") && !open("tcp://[::1]:5") && !open("ipc:///x"));
    }
}
