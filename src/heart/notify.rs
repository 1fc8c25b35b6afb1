//! Tells the service manager how the service stands: the protocol of `sd_notify(3)`, as systemd, podman and others speak it.
//!
//! It never waits: a manager that does not read must not hold up the service. What could not be sent is kept (a lost
//! `READY=1` would cost the whole service) and goes out in its order with what comes next, or with [`Notifier::again`].

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::limits;

/// Variables by which a manager of services tells where it listens. They are for the service alone, never for a backend.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// What the manager is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News<'a> {
    /// The start, or a reload, is over.
    Ready,
    /// A reload begins; [`News::Ready`] ends it.
    Reloading,
    /// The service is going down.
    Stopping,
    /// What it does just now may take this long.
    Extend(Duration),
    /// One line for people.
    Status(&'a str),
    /// The process that counts as the service.
    MainPid(u32),
    /// It is alive.
    Watchdog,
}

/// What is wrong with the variables, or with the manager behind them.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// No address that this protocol knows.
    #[error(
        "NOTIFY_SOCKET={0:?} is no address of a notify socket: {1}; nobody is told how the service stands"
    )]
    Address(String, String),
    /// No span of time.
    #[error("WATCHDOG_USEC={0:?} is no number of microseconds; the watchdog is not fed")]
    Watchdog(String),
    /// The system gave no socket, or the manager does not take what is sent. Told once for each row of failures.
    #[error("the service manager cannot be told how the service stands: {0}")]
    Unsent(#[from] io::Error),
}

/// The way to the manager. Without one, every word is taken and goes nowhere.
#[derive(Debug)]
pub struct Notifier {
    way: Option<(UnixDatagram, SocketAddr)>,
    watchdog_every: Option<Duration>,
    unsent: VecDeque<String>,
    failing: bool,
}

impl Notifier {
    /// For a service that nobody waits for.
    pub fn silent() -> Self {
        Self { way: None, watchdog_every: None, unsent: VecDeque::new(), failing: false }
    }

    /// By the variables of this process. The faults are for the log: what is wrong there is no reason not to start.
    pub fn from_environment() -> (Self, Vec<NotifyError>) {
        let variable = |name: &str| std::env::var_os(name);
        Self::by(variable, std::process::id())
    }

    /// For a manager that listens on `path` and takes who is silent for `limit` for dead.
    #[cfg(test)]
    pub(super) fn watched(path: &std::path::Path, limit: Duration) -> Self {
        let variable = |name: &str| match name {
            "NOTIFY_SOCKET" => Some(path.into()),
            "WATCHDOG_USEC" => Some(limit.as_micros().to_string().into()),
            _ => None,
        };
        Self::by(variable, 1).0
    }

    fn by(
        variable: impl Fn(&str) -> Option<std::ffi::OsString>,
        own_pid: u32,
    ) -> (Self, Vec<NotifyError>) {
        let mut notifier = Self::silent();
        let mut faults = Vec::new();
        match variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()).as_deref().map(way_to) {
            Some(Ok(way)) => notifier.way = Some(way),
            Some(Err(fault)) => faults.push(fault),
            None => {}
        }
        let (span, pid) = (variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
        match watchdog_every(span.as_deref(), pid.as_deref(), own_pid) {
            // without a way nobody would hear it
            Ok(every) => notifier.watchdog_every = every.filter(|_| notifier.way.is_some()),
            Err(fault) => faults.push(fault),
        }
        (notifier, faults)
    }

    /// Whether anybody listens.
    pub fn is_wanted(&self) -> bool {
        self.way.is_some()
    }

    /// How often the manager wants to hear [`News::Watchdog`]: half of the time after which it takes the service for dead.
    pub fn watchdog_every(&self) -> Option<Duration> {
        self.watchdog_every
    }

    /// Sends news in one datagram; what waits goes first.
    ///
    /// # Errors
    /// [`NotifyError::Unsent`], for the first of a row of failures. The news is kept unless it is a mere sign of life.
    pub fn tell(&mut self, news: &[News<'_>]) -> Result<(), NotifyError> {
        if self.way.is_none() {
            return Ok(());
        }
        let only_alive = news.iter().all(|news| *news == News::Watchdog);
        let text = datagram(news);
        if !only_alive {
            self.unsent.push_back(text);
            // the oldest is out of date first
            while self.unsent.len() > limits::MANAGER_NEWS {
                self.unsent.pop_front();
            }
            return self.again();
        }
        self.again()?;
        if self.unsent.is_empty() {
            let sent = self.send(&text);
            return self.judged(sent);
        }
        Ok(())
    }

    /// Tries again what could not be sent.
    ///
    /// # Errors
    /// As [`Notifier::tell`].
    pub fn again(&mut self) -> Result<(), NotifyError> {
        while let Some(text) = self.unsent.front() {
            let sent = self.send(text);
            if sent.is_err() {
                return self.judged(sent);
            }
            self.unsent.pop_front();
            self.failing = false;
        }
        Ok(())
    }

    fn send(&self, text: &str) -> io::Result<()> {
        match &self.way {
            Some((socket, address)) => socket.send_to_addr(text.as_bytes(), address).map(drop),
            None => Ok(()),
        }
    }

    /// Lets the first failure of a row pass.
    fn judged(&mut self, sent: io::Result<()>) -> Result<(), NotifyError> {
        let was_failing = std::mem::replace(&mut self.failing, sent.is_err());
        match sent {
            Err(error) if !was_failing => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn way_to(name: &OsStr) -> Result<(UnixDatagram, SocketAddr), NotifyError> {
    let wrong = |reason: String| NotifyError::Address(name.to_string_lossy().into_owned(), reason);
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => return Err(wrong("it is neither a path from the root nor an abstract one".into())),
    };
    let address = address.map_err(|error| wrong(error.to_string()))?;
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

fn watchdog_every(
    span: Option<&OsStr>,
    pid: Option<&OsStr>,
    own_pid: u32,
) -> Result<Option<Duration>, NotifyError> {
    let Some(span) = span.filter(|span| !span.is_empty()) else { return Ok(None) };
    // meant for another process that has our environment
    if pid.is_some_and(|pid| pid.to_str().and_then(|pid| pid.parse().ok()) != Some(own_pid)) {
        return Ok(None);
    }
    let wrong = || NotifyError::Watchdog(span.to_string_lossy().into_owned());
    let span: u64 = span
        .to_str()
        .and_then(|span| span.parse().ok())
        .filter(|span| *span > 0)
        .ok_or_else(wrong)?;
    let half = Duration::from_micros(span / 2);
    Ok(Some(half.clamp(limits::MANAGER_WATCHDOG_MIN, limits::DURATION_MAX)))
}

fn datagram(news: &[News<'_>]) -> String {
    let lines = news.iter().map(|news| match news {
        News::Ready => "READY=1\n".to_owned(),
        News::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_usec()),
        News::Stopping => "STOPPING=1\n".to_owned(),
        News::Extend(span) => format!("EXTEND_TIMEOUT_USEC={}\n", span.as_micros()),
        News::Status(text) => format!("STATUS={}\n", one_line(text)),
        News::MainPid(pid) => format!("MAINPID={pid}\n"),
        News::Watchdog => "WATCHDOG=1\n".to_owned(),
    });
    lines.collect()
}

/// Names of models may stand in it: a line end would begin a word of the protocol.
fn one_line(text: &str) -> String {
    let chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    chars.take(limits::MANAGER_STATUS_CHARS).collect()
}

/// By which the manager tells this reload from one before it.
fn monotonic_usec() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
    u64::try_from(micros).unwrap_or(0)
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
