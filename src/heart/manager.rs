//! The heart before a manager of services: what it tells it, and what it takes from it.

use std::net::TcpListener;
use std::time::Duration;

use super::activation;
use super::log::{Level, Log};
use super::notify::{News, Notifier};
use super::store::Store;
use crate::clock::Moment;

/// See the module. Where nobody manages this process, every word goes nowhere.
#[derive(Debug)]
pub struct Manager {
    notifier: Notifier,
    /// The next sign of life.
    next: Option<Moment>,
    /// As long as this, something was heard of the core, or is being done about it.
    well_until: Moment,
    patience: Duration,
}

impl Manager {
    /// By the environment of this process. `patience`: how long the heart may be busy with one core before it counts as stuck.
    pub fn of_environment(patience: Duration, now: Moment, log: &Log) -> Self {
        let (notifier, faults) = Notifier::from_environment();
        for fault in faults {
            log.write(Level::Error, &fault.to_string());
        }
        Self::of(notifier, patience, now)
    }

    fn of(notifier: Notifier, patience: Duration, now: Moment) -> Self {
        let next = notifier.watchdog_every().map(|every| now + every);
        Self { notifier, next, well_until: now + patience, patience }
    }

    /// Tells it something.
    pub fn tell(&mut self, news: &[News<'_>], log: &Log) {
        if let Err(fault) = self.notifier.tell(news) {
            log.write(Level::Error, &fault.to_string());
        }
    }

    /// The service is going down: it may take so long.
    pub fn tell_end(&mut self, limit: Duration, log: &Log) {
        self.tell(&[News::Stopping, News::Extend(limit), News::Status("stopping its models")], log);
    }

    /// A core beats, or is being started, or all of it is being ended.
    pub fn is_well(&mut self, now: Moment) {
        self.well_until = now + self.patience;
    }

    /// When [`Manager::look`] has something to do.
    pub fn deadline(&self) -> Option<Moment> {
        self.next
    }

    /// Gives the sign of life that is due, but for a heart that cannot get rid of a core that is stuck.
    pub fn look(&mut self, now: Moment, log: &Log) {
        let told = match (self.next, self.notifier.watchdog_every()) {
            (Some(next), Some(every)) if now >= next => {
                self.next = Some(now + every);
                if now > self.well_until {
                    return;
                }
                self.notifier.tell(&[News::Watchdog])
            }
            _ => self.notifier.again(),
        };
        if let Err(fault) = told {
            log.write(Level::Error, &fault.to_string());
        }
    }
}

/// Takes over the sockets that were opened for this process, and holds them for its cores. To be called before any file is
/// opened.
pub fn take_sockets() -> Passed {
    let (listeners, faults) = activation::take();
    Passed { listeners, faults: faults.iter().map(ToString::to_string).collect() }
}

/// Sockets on their way to the store.
#[derive(Debug)]
pub struct Passed {
    listeners: Vec<TcpListener>,
    faults: Vec<String>,
}

impl Passed {
    /// Puts them where each core finds them, by the names that it would give them itself.
    pub fn store(self, store: &mut Store, log: &Log) {
        let mut faults = self.faults;
        for listener in self.listeners {
            let held = match listener.local_addr() {
                Ok(address) => store.hold(format!("tcp://{address}"), Some(listener.into())),
                Err(error) => Err(error.to_string()),
            };
            faults.extend(held.err());
        }
        for fault in faults {
            log.write(Level::Error, &fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::heart::options::LogOptions;

    #[test]
    fn a_heart_that_cannot_get_rid_of_a_core_gives_no_sign_of_life() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("notify");
        let ear = UnixDatagram::bind(&path).expect("bound");
        ear.set_nonblocking(true).expect("set");
        let heard = || ear.recv(&mut [0; 64]).is_ok();
        let log = Log::new("test", LogOptions::default());
        let at = Moment::from_millis;
        let notifier = Notifier::watched(&path, Duration::from_secs(2));
        let mut manager = Manager::of(notifier, Duration::from_secs(10), at(0));
        assert_eq!(manager.deadline(), Some(at(1000)));
        manager.look(at(999), &log);
        assert!(!heard(), "not due yet");
        manager.look(at(1000), &log);
        assert!(heard());
        manager.is_well(at(5000));
        manager.look(at(15_000), &log);
        assert!(heard());
        manager.look(at(16_001), &log);
        assert!(!heard(), "nothing was heard of a core for ten seconds");
        manager.is_well(at(17_000));
        manager.look(at(17_001), &log);
        assert!(heard());
    }
}
