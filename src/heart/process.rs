//! The running core as its heart has it: process, channel, and what is on its way to it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::channel::{Channel, Packet, Refusal};
use super::children::reap;
use super::open_files;
use super::protocol::{Ended, FromCore, FromHeart};
use super::store::Store;
use crate::clock::Moment;
use crate::limits;

/// The program that runs, wherever its file is by now.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// The program that the first core is, held so that it is found also when another file has its name by now.
#[derive(Debug)]
pub struct ServiceFile {
    path: PathBuf,
    /// What the path leads through.
    _held: Option<OwnedFd>,
}

impl ServiceFile {
    /// The program that runs here, where none is named.
    ///
    /// # Errors
    /// When the named one is not there.
    pub fn find(named: Option<&Path>) -> io::Result<Self> {
        let Some(named) = named else { return Ok(Self { path: OWN_PROGRAM.into(), _held: None }) };
        let held = rustix::fs::open(named, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let path = format!("/proc/self/fd/{}", held.as_raw_fd()).into();
        Ok(Self { path, _held: Some(held) })
    }

    /// Where it is found.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A packet that waits, with the name of the held descriptor that goes along.
type Waiting = (FromHeart, Option<String>);

/// See the module.
#[derive(Debug)]
pub struct CoreProcess {
    /// Its process id.
    pub pid: u32,
    /// Readable when it ended.
    pub pidfd: OwnedFd,
    /// The heart's end.
    pub channel: Channel,
    /// When it was welcomed.
    pub welcomed: Option<Moment>,
    outbox: VecDeque<Waiting>,
    /// Why the first of them waits.
    refusal: Option<Refusal>,
    /// Its end of the channel is closed.
    is_silent: bool,
}

impl CoreProcess {
    /// Starts a core. It is in a process group of its own: a terminal's Ctrl-C goes to the heart, which passes it on once.
    ///
    /// # Errors
    /// When the program cannot be started; nothing runs then.
    pub fn start(program: &Path, arguments: &[std::ffi::OsString]) -> io::Result<Self> {
        let (own, its) = Channel::pair()?;
        let mut command = Command::new(program);
        command.arg0("symphony").args(arguments).process_group(0);
        command.stdin(Stdio::from(its.into_socket()));
        let child = open_files::with_inherited(|| command.spawn())?;
        // not reaped yet: the number is its own
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self {
                pid: child.id(),
                pidfd,
                channel: own,
                welcomed: None,
                outbox: VecDeque::new(),
                refusal: None,
                is_silent: false,
            }),
            Err(errno) => {
                let mut child = child;
                let _ = child.kill();
                let _ = child.wait();
                Err(errno.into())
            }
        }
    }

    /// Sends a signal to exactly this process. One that is gone is no error.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// How it ended, where it did; it is reaped then.
    pub fn ended(&self) -> Option<Ended> {
        reap(self.pid)
    }

    /// Its next word, if there is one.
    pub fn hear(&mut self) -> Option<(FromCore, Option<OwnedFd>)> {
        while !self.is_silent {
            match self.channel.hear_now() {
                Ok(Packet::Told(message, along)) => return Some((message, along)),
                Ok(Packet::Garbage) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // its exit is what counts
                Ok(Packet::Closed) | Err(_) => self.is_silent = true,
            }
        }
        None
    }

    /// Whether it may still say something.
    pub fn is_heard(&self) -> bool {
        !self.is_silent
    }

    /// Whether something waits until it reads.
    pub fn has_mail(&self) -> bool {
        self.refusal == Some(Refusal::Full) && !self.is_silent
    }

    /// When to try again to tell what the system had no room for.
    pub fn next_try(&self) -> Option<Duration> {
        let is_put_off = self.refusal == Some(Refusal::NotNow) && !self.is_silent;
        is_put_off.then_some(limits::HEART_TELL_RETRY)
    }

    /// Tells it something, with a held descriptor. Never waits.
    pub fn tell(&mut self, message: FromHeart, along: Option<String>, store: &Store) {
        if self.outbox.len() < limits::HEART_OUTBOX {
            self.outbox.push_back((message, along));
        }
        self.send(store);
    }

    /// Sends what it takes now.
    pub fn send(&mut self, store: &Store) {
        self.refusal = None;
        while let Some((message, along)) = self.outbox.front() {
            let descriptor = along.as_deref().map(|name| store.get(name));
            // released before it was told
            let is_void = matches!(descriptor, Some(None));
            if !is_void && let Err(error) = self.channel.tell(message, descriptor.flatten()) {
                let refusal = Refusal::of(&error);
                if matches!(refusal, Refusal::Full | Refusal::NotNow) {
                    self.refusal = Some(refusal);
                    return;
                }
                // its exit is what counts
            }
            self.outbox.pop_front();
        }
    }
}
