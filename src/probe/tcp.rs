//! Connections to a port of this machine.

use std::io;
use std::net::Ipv4Addr;

use tokio::net::TcpStream;

/// Connects to a loopback port.
///
/// A port of the ephemeral range that nobody listens on can connect to itself (the kernel picks the same port for our
/// end); taken for a server, that would be a backend that is ready and never was.
pub(super) async fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}
