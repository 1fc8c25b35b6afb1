//! What no honest client sends: bytes that mean nothing, and clients that leave.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use zmq::{Context, DEALER, DONTWAIT, Socket};

use super::plan::Garbage;
use crate::limits;

/// An honest request, of which garbage shows the front.
const REQUEST: &[u8] = br#"{"command":"status","params":{},"correlation_id":"chaos"}"#;

/// Sends garbage to a socket of the service.
///
/// # Errors
/// When it cannot even be sent.
pub fn send(endpoint: &str, shape: Garbage, seed: u64) -> Result<(), String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = |count: usize| -> Vec<u8> { (0..count).map(|_| random.u8(..)).collect() };
    if shape == Garbage::Raw {
        let garbage = bytes(4096);
        return raw(endpoint)?.write_all(&garbage).or(Ok(()));
    }
    let context = Context::new();
    let socket = dealer(&context, endpoint)?;
    let frames: Vec<Vec<Vec<u8>>> = match shape {
        Garbage::Random => (1..=16).map(|turn| vec![bytes(turn * 37)]).collect(),
        Garbage::Truncated => (0..REQUEST.len()).map(|end| vec![REQUEST[..end].to_vec()]).collect(),
        Garbage::Oversized => {
            vec![vec![vec![b'x'; usize::try_from(limits::FRAME_BYTES).unwrap_or(0) + 1]]]
        }
        Garbage::ManyFrames | Garbage::Raw => {
            vec![(0..limits::FRAME_PARTS * 8).map(|_| bytes(16)).collect()]
        }
    };
    for message in frames {
        // a service that has closed the connection takes nothing more
        let _ = socket.send_multipart(message, DONTWAIT);
    }
    // what was sent has a moment to leave; answers are of no interest
    let wait_ms = i64::try_from(limits::CHAOS_TURN.as_millis()).unwrap_or(0);
    let _ = socket.poll(zmq::POLLIN, wait_ms);
    Ok(())
}

/// Asks and leaves before any answer.
///
/// # Errors
/// When no connection can be made.
pub fn ask_and_leave(endpoint: &str) -> Result<(), String> {
    let context = Context::new();
    let socket = dealer(&context, endpoint)?;
    let _ = socket.send(REQUEST, DONTWAIT);
    Ok(())
}

fn dealer(context: &Context, endpoint: &str) -> Result<Socket, String> {
    let open = || -> Result<Socket, zmq::Error> {
        let socket = context.socket(DEALER)?;
        socket.set_linger(0)?;
        socket.connect(endpoint)?;
        Ok(socket)
    };
    open().map_err(|error| format!("no socket to {endpoint}: {error}"))
}

/// A connection that says nothing of itself.
///
/// # Errors
/// When nobody takes it.
pub fn raw(endpoint: &str) -> Result<Box<dyn Write + Send>, String> {
    let refused = |error: std::io::Error| format!("no connection to {endpoint}: {error}");
    if let Some(path) = endpoint.strip_prefix("ipc://") {
        return Ok(Box::new(UnixStream::connect(path).map_err(refused)?));
    }
    let address = endpoint.strip_prefix("tcp://").unwrap_or(endpoint).replace('*', "127.0.0.1");
    Ok(Box::new(TcpStream::connect(address).map_err(refused)?))
}
