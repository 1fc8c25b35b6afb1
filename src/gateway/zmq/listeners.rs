//! Listening TCP sockets of the gateway that are older than it and outlive it.
//!
//! libzmq takes a copy of one where it is to bind the same address (`native/listen.c`). So a gateway that is replaced, or a
//! whole core that is, refuses no client: who connects meanwhile waits in the queue of the listener.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::error::OpenError;
use crate::limits;

/// The listeners of a service: one for each TCP endpoint with an address in figures. ZeroMQ alone knows what the others mean.
#[derive(Debug, Default)]
pub struct Listeners(Vec<TcpListener>);

impl Listeners {
    /// Has a listener for each TCP endpoint: one of those that were `passed` to the service, or one that is bound now. Answers
    /// those that fit no endpoint, too.
    ///
    /// Binds past the C library and so past `native/listen.c`: an address that is taken is taken.
    ///
    /// # Errors
    /// [`OpenError::Socket`] when an address cannot be had.
    pub fn open(
        endpoints: &[&str],
        mut passed: Vec<TcpListener>,
    ) -> Result<(Self, Vec<TcpListener>), OpenError> {
        let mut listeners = Vec::new();
        for endpoint in endpoints {
            let Some(address) = address(endpoint) else { continue };
            let fitting = passed.iter().position(|listener| serves(listener, address));
            let listener = match fitting {
                Some(index) => passed.remove(index),
                None => bound(address).map(TcpListener::from).map_err(|error| {
                    let error = zmq::Error::from_raw(error.raw_os_error());
                    OpenError::socket("bind", endpoint, error)
                })?,
            };
            // others share the listener: whoever finds its queue emptied by them must not wait in `accept`
            listener.set_nonblocking(true).map_err(|error| {
                let error = zmq::Error::from_raw(error.raw_os_error().unwrap_or_default());
                OpenError::socket("prepare", endpoint, error)
            })?;
            listeners.push(listener);
        }
        Ok((Self(listeners), passed))
    }

    /// Whether a TCP endpoint has one of them.
    pub fn keep(&self, endpoint: &str) -> bool {
        address(endpoint).is_some_and(|at| self.0.iter().any(|listener| serves(listener, at)))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &TcpListener> {
        self.0.iter()
    }
}

/// By which a listener is known to whoever holds a copy of it: its own address, which may be wider than that of the endpoint.
pub fn name_of(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|_| "tcp://nowhere".to_owned(), |at| format!("tcp://{at}"))
}

/// The address of an endpoint that can be bound without asking anybody what its name means.
fn address(endpoint: &str) -> Option<SocketAddrV4> {
    let (host, port) = endpoint.strip_prefix("tcp://")?.rsplit_once(':')?;
    let host = if host == "*" { Ipv4Addr::UNSPECIFIED } else { host.parse().ok()? };
    let port = port.parse().ok().filter(|port| *port > 0)?;
    Some(SocketAddrV4::new(host, port))
}

/// Whether clients of this address come to this listener. `[::]`, as systemd opens it for a bare port, takes those of IPv4, too.
fn serves(listener: &TcpListener, wanted: SocketAddrV4) -> bool {
    match listener.local_addr() {
        Ok(SocketAddr::V4(bound)) => bound == wanted,
        Ok(SocketAddr::V6(bound)) => {
            let is_any = bound.ip().is_unspecified() && wanted.ip().is_unspecified();
            let takes_all = || sockopt::ipv6_v6only(listener).is_ok_and(|only| !only);
            bound.port() == wanted.port() && is_any && takes_all()
        }
        Err(_) => false,
    }
}

fn bound(address: SocketAddrV4) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // connections of a service before this one may linger
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, limits::LISTEN_BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Binds past the C library as well; the port is free again when the listener is dropped.
    fn listener(address: &str) -> TcpListener {
        TcpListener::bind(address).expect("bound")
    }

    fn endpoint_of(listener: &TcpListener) -> String {
        name_of(listener)
    }

    #[test]
    fn addresses_in_figures_are_bound_and_others_left_to_zeromq() {
        let v4 = |a, b, c, d| Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), 80));
        assert_eq!(address("tcp://127.0.0.1:80"), v4(127, 0, 0, 1));
        assert_eq!(address("tcp://*:80"), v4(0, 0, 0, 0));
        for other in [
            "tcp://eth0:80",
            "tcp://localhost:80",
            "tcp://[::1]:80",
            "tcp://127.0.0.1:0",
            "tcp://127.0.0.1:*",
            "tcp://127.0.0.1",
            "ipc:///tmp/x",
            "",
        ] {
            assert_eq!(address(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_passed_is_used_and_the_rest_given_back() {
        let (fitting, strange) = (listener("127.0.0.1:0"), listener("127.0.0.1:0"));
        let (endpoint, rest) = (endpoint_of(&fitting), endpoint_of(&strange));
        let ours = ["ipc:///tmp/x", &endpoint];
        let (listeners, left) = Listeners::open(&ours, vec![strange, fitting]).expect("opened");
        let names: Vec<_> = listeners.iter().map(name_of).collect();
        assert_eq!(names, [endpoint]);
        assert_eq!(left.iter().map(endpoint_of).collect::<Vec<_>>(), [rest]);
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_that_names_it() {
        let foreign = listener("127.0.0.1:0");
        let endpoint = endpoint_of(&foreign);
        let error = Listeners::open(&[&endpoint], Vec::new()).expect_err("taken");
        assert_eq!(error.to_string(), format!("cannot bind {endpoint}: Address already in use"));
        let port = foreign.local_addr().expect("an address").port();
        drop(foreign);
        let (a, b) = (format!("tcp://*:{port}"), format!("tcp://0.0.0.0:{port}"));
        assert!(Listeners::open(&[&a, &b], Vec::new()).is_err(), "two spellings of one address");
    }

    #[test]
    fn a_listener_for_both_families_serves_the_wildcard() {
        // a machine without IPv6 has none of these
        let Ok(both) = TcpListener::bind("[::]:0") else { return };
        let port = both.local_addr().expect("an address").port();
        let takes_v4 = !sockopt::ipv6_v6only(&both).expect("asked");
        assert_eq!(serves(&both, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)), takes_v4);
        assert!(!serves(&both, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)));
        assert!(!serves(&both, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port ^ 1)));
    }
}
