//! Signals of the heart, as bytes in pipes that its loop looks at.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// See the module.
#[derive(Debug)]
pub struct Signals {
    stop: UnixStream,
    reload: UnixStream,
    child: UnixStream,
}

/// What came since the last look.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// TERM and INT, one by one.
    pub stops: usize,
    /// HUP.
    pub reload: bool,
    /// A child ended, at least one.
    pub child: bool,
}

impl Signals {
    /// Takes TERM, INT, HUP and CHLD from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            stop: pipe_of(&[SIGTERM, SIGINT])?,
            reload: pipe_of(&[SIGHUP])?,
            child: pipe_of(&[SIGCHLD])?,
        })
    }

    /// What to wait for.
    pub fn watched(&self) -> [PollFd<'_>; 3] {
        [&self.stop, &self.reload, &self.child].map(|pipe| PollFd::new(pipe, PollFlags::IN))
    }

    /// Takes them out.
    pub fn take(&mut self) -> Seen {
        Seen {
            stops: drain(&mut self.stop),
            reload: drain(&mut self.reload) > 0,
            child: drain(&mut self.child) > 0,
        }
    }
}

fn pipe_of(signals: &[i32]) -> io::Result<UnixStream> {
    let (reading, writing) = UnixStream::pair()?;
    reading.set_nonblocking(true)?;
    for signal in signals {
        // the handler's end never waits either: where the pipe is full, enough is told
        pipe::register(*signal, writing.try_clone()?)?;
    }
    Ok(reading)
}

fn drain(pipe: &mut UnixStream) -> usize {
    let mut bytes = [0; 64];
    let mut count = 0;
    while let Ok(read @ 1..) = pipe.read(&mut bytes) {
        count += read;
    }
    count
}
