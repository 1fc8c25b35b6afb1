//! Signs of readiness.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixDatagram;

use crate::script::Script;

/// `--notify` and `--ready-fd`.
pub fn tell_ready(script: &Script) -> io::Result<()> {
    if script.notify {
        notify("READY=1");
    }
    if let Some(number) = script.ready_fd {
        // the safe way to a descriptor known by its number alone
        let mut pipe = std::fs::OpenOptions::new().write(true).open(format!("/dev/fd/{number}"))?;
        pipe.write_all(b"\n")?;
    }
    Ok(())
}

/// One datagram to `$NOTIFY_SOCKET`, as sd_notify sends it.
pub fn notify(text: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.send_to(text.as_bytes(), path);
    }
}

/// `--tcp`: takes connections and closes them.
pub fn listen(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    std::thread::Builder::new().spawn(move || listener.incoming().for_each(drop))?;
    Ok(())
}
