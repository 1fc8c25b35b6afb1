//! Readiness that a backend tells by itself: a newline on a pipe, a datagram on a notify socket.

use std::io;
use std::os::fd::OwnedFd;

use tokio::net::UnixDatagram;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep};

use super::Finding;
use crate::limits;

/// Waits for a newline. What stands before it has no meaning.
///
/// The wait has no limit of its own: the start timeouts of the instance end it.
pub(super) async fn newline(pipe: OwnedFd) -> Finding {
    match read_newline(pipe).await {
        Ok(true) => Finding::Ready { protocols: Vec::new() },
        Ok(false) => Finding::NeverReady("the readiness pipe was closed before a newline".into()),
        Err(error) => Finding::NeverReady(format!("the readiness pipe cannot be read: {error}")),
    }
}

async fn read_newline(pipe: OwnedFd) -> io::Result<bool> {
    let pipe = pipe::Receiver::from_owned_fd(pipe)?;
    loop {
        pipe.readable().await?;
        let mut bytes = [0; 512];
        match pipe.try_read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(count) if bytes[..count].contains(&b'\n') => return Ok(true),
            Ok(_) => tokio::task::yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Passes on what comes over a notify socket. Goes on reading after `READY=1`, until it is dropped: a backend that
/// keeps sending (watchdog pings, states) must not be blocked by a full socket.
pub(super) async fn notifications(
    socket: std::os::unix::net::UnixDatagram,
    mut tell: impl FnMut(Finding),
) {
    if let Err(error) = read_notifications(socket, &mut tell).await {
        tell(Finding::NeverReady(format!("the notify socket cannot be read: {error}")));
    }
}

async fn read_notifications(
    socket: std::os::unix::net::UnixDatagram,
    tell: &mut impl FnMut(Finding),
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = UnixDatagram::from_std(socket)?;
    let mut ready = false;
    let mut status_told: Option<Instant> = None;
    let mut burst = 0;
    loop {
        socket.readable().await?;
        let mut bytes = [0; limits::NOTIFY_BYTES];
        let count = match socket.try_recv(&mut bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                burst = 0;
                continue;
            }
            Err(error) => return Err(error),
        };
        let notice = Notice::parse(&bytes[..count]);
        let status_due = status_told.is_none_or(|at| at.elapsed() >= limits::NOTIFY_STATUS_EVERY);
        if let Some(status) = notice.status
            && !ready
            && status_due
        {
            status_told = Some(Instant::now());
            tell(Finding::Progress(status));
        }
        if notice.ready && !ready {
            ready = true;
            tell(Finding::Ready { protocols: Vec::new() });
        }
        burst += 1;
        if burst >= limits::NOTIFY_BURST {
            burst = 0;
            sleep(limits::NOTIFY_PAUSE).await;
        }
    }
}

/// What one datagram says: lines of `KEY=value`, as of sd_notify.
#[derive(Debug, Default, PartialEq, Eq)]
struct Notice {
    ready: bool,
    status: Option<String>,
}

impl Notice {
    fn parse(datagram: &[u8]) -> Self {
        let mut notice = Self::default();
        for line in datagram.split(|byte| *byte == b'\n') {
            if line == b"READY=1" {
                notice.ready = true;
            } else if let Some(status) = line.strip_prefix(b"STATUS=") {
                let text = String::from_utf8_lossy(status);
                let printable = text.chars().filter(|c| !c.is_control());
                notice.status = Some(printable.take(limits::MODEL_NAME_BYTES).collect());
            }
        }
        notice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_read_as_sd_notify_writes_them() {
        let notice = Notice::parse(b"STATUS=loading 40 %\nREADY=1\nMAINPID=4");
        assert_eq!(notice, Notice { ready: true, status: Some("loading 40 %".into()) });
        for other in [&b""[..], b"READY=0", b"XREADY=1", b"\0\xff\xfe", b"READY=1 "] {
            assert_eq!(Notice::parse(other), Notice::default(), "{other:?}");
        }
    }

    #[test]
    fn hostile_status_is_cut_and_cleaned() {
        let mut datagram = b"STATUS=\x1b[2Jbad\xff".to_vec();
        datagram.extend(vec![b'x'; 3000]);
        let status = Notice::parse(&datagram).status.expect("a status");
        assert!(status.starts_with("[2Jbad\u{fffd}") && status.chars().count() <= 256);
    }
}
