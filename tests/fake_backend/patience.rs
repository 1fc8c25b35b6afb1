//! Waiting that ends when the process is asked to stop.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::time::Instant;

/// The stop pipe, and all waiting of the main thread on it.
pub struct Patience {
    stop: UnixStream,
    // held, so that the pipe stays silent where no signal writes to it
    writer: UnixStream,
}

/// Whether `--exit-after` ended the process.
#[derive(Clone, Default)]
pub struct EndedEarly(Arc<AtomicBool>);

impl EndedEarly {
    pub fn happened(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Patience {
    /// Watches for INT, and for TERM unless that is to be ignored.
    pub fn new(ignore_term: bool) -> io::Result<Self> {
        let (stop, writer) = UnixStream::pair()?;
        stop.set_nonblocking(true)?;
        if ignore_term {
            // a handler that does nothing of use: the disposition "ignore" would be inherited by children
            signal_hook::flag::register(SIGTERM, Arc::new(AtomicBool::new(false)))?;
        } else {
            signal_hook::low_level::pipe::register(SIGTERM, writer.try_clone()?)?;
        }
        signal_hook::low_level::pipe::register(SIGINT, writer.try_clone()?)?;
        Ok(Self { stop, writer })
    }

    /// The reading end.
    pub fn stop(&self) -> &UnixStream {
        &self.stop
    }

    /// Waits; answers whether a stop was asked for meanwhile. The ask stays readable for the next one.
    pub fn wait(&self, span: Duration) -> bool {
        let end = Instant::now() + span;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(left).ok();
            let mut watched = [PollFd::new(&self.stop, PollFlags::IN)];
            match poll(&mut watched, limit.as_ref()) {
                Ok(0) => return false,
                Ok(_) => return true,
                // a signal that is ignored
                Err(_) if left.is_zero() => return false,
                Err(_) => {}
            }
        }
    }

    /// Waits until a stop is asked for.
    pub fn wait_for_stop(&self) {
        while !self.wait(Duration::from_secs(3600)) {}
    }

    /// Burns CPU time instead; answers whether a stop was asked for meanwhile.
    pub fn burn(&self, span: Duration) -> bool {
        let end = Instant::now() + span;
        while Instant::now() < end {
            let mut burnt = 0u64;
            for n in 0..100_000u64 {
                burnt = std::hint::black_box(burnt.wrapping_mul(31).wrapping_add(n));
            }
            if self.wait(Duration::ZERO) {
                return true;
            }
        }
        false
    }

    /// Asks for a stop after a while, if a while is given.
    pub fn end_after(&self, span: Option<Duration>) -> io::Result<EndedEarly> {
        let ended = EndedEarly::default();
        let Some(span) = span else { return Ok(ended) };
        let (flag, mut writer) = (ended.0.clone(), self.writer.try_clone()?);
        let timer = Patience { stop: self.stop.try_clone()?, writer: self.writer.try_clone()? };
        std::thread::Builder::new().spawn(move || {
            if !timer.wait(span) {
                flag.store(true, Ordering::Release);
                let _ = writer.write_all(&[0]);
            }
        })?;
        Ok(ended)
    }
}
