//! A service leaves everything to another binary: what was decided in [`upgrading`](super::upgrading) is carried out.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, memfd_create};

use super::upgrading::{VERSION, processes, record};
use super::{End, Service};
use crate::gateway::zmq::RelayHandle;
use crate::gateway::zmq::messages::HandOver;
use crate::heart::protocol::FromCore;
use crate::limits;
use crate::root::shutdown;
use crate::root::wiring::Wiring;
use crate::supervision::ExitReason;
use crate::upgrade::outcome::Underway;
use crate::upgrade::{Candidate, own_binary};

/// The name by which the heart holds what is known of an upgrade that is under way.
pub(super) const HELD: &str = "upgrade";

/// A service that ends takes its models along: only a heart can keep them for the next one.
const NO_HEART: &str = "this service has no heart and cannot be upgraded: `symphony start-service` starts one that can";
const LOST_HEART: &str = "the heart of this service is gone: it cannot be upgraded, start it anew";
const RELOADING: &str = "a reload is under way, upgrade when it is done";

impl Service {
    /// What stands in the way of another binary.
    pub(super) fn obstacle_to_upgrade(&self) -> Option<&'static str> {
        match &self.heart {
            None => Some(NO_HEART),
            Some(heart) if heart.link.is_lost() => Some(LOST_HEART),
            Some(_) if self.reloads.is_reading() => Some(RELOADING),
            Some(_) => None,
        }
    }

    /// Hands the sockets over for a binary that was found to be good.
    ///
    /// # Errors
    /// Why it does not come to that; the service goes on.
    pub(super) async fn hand_over(
        &self,
        tried: Result<Candidate, String>,
    ) -> Result<(Candidate, RelayHandle), String> {
        let handed_over = self.try_to_hand_over(tried).await;
        if let Err(refusal) = &handed_over {
            tracing::warn!("no upgrade: {refusal}");
            record(&self.wiring, "upgrade_refused", refusal.clone());
        }
        handed_over
    }

    async fn try_to_hand_over(
        &self,
        tried: Result<Candidate, String>,
    ) -> Result<(Candidate, RelayHandle), String> {
        let candidate = tried?;
        // what was no obstacle when it was asked for may have come meanwhile
        let heart = match (&self.heart, self.obstacle_to_upgrade()) {
            (Some(heart), None) => heart,
            (_, obstacle) => return Err(obstacle.unwrap_or(NO_HEART).to_owned()),
        };
        let (binary, version) = (candidate.binary.display(), &candidate.version);
        tracing::info!("letting go for {version} ({binary})");
        let note = note(&candidate, &self.wiring).await;
        let note = note.map_err(|error| format!("cannot prepare the upgrade: {error}"))?;
        heart.link.hold(HELD, note.as_fd()).map_err(|error| error.to_string())?;
        let endpoints = self.wiring.settings.borrow().endpoints.clone();
        let kept = [endpoints.cli_management, endpoints.client_handshake].into_iter();
        let kept = kept.filter(|endpoint| self.listeners.keep(endpoint));
        let order = HandOver { kept_endpoints: kept.collect() };
        let relay = self.wiring.zmq.get()?.send(order).await;
        match relay {
            Ok(relay) => Ok((candidate, relay)),
            Err(_) => {
                heart.link.release(HELD);
                Err("the gateway is just being replaced, try again".to_owned())
            }
        }
    }

    /// Leaves the processes to the next core and ends everything but the relay. There is no way back.
    pub(super) async fn let_go(
        mut self,
        candidate: &Candidate,
        relay: RelayHandle,
        exit: impl Future<Output = ExitReason>,
    ) -> End {
        let launcher = self.wiring.launcher.clone();
        // it waits for a disk, and the heart for beats
        let let_go = tokio::task::spawn_blocking(move || launcher.let_go(limits::LAUNCHER_END));
        if let_go.await.is_err() {
            tracing::error!(
                "the launcher did not let go: the next core finds what lives by itself"
            );
        }
        let timeout = self.wiring.settings.borrow().service.heart.upgrade_timeout;
        self.tell_heart(FromCore::Upgrade {
            binary: candidate.binary.display().to_string(),
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        });
        self.herald.fall_silent();
        // the last word: the heart starts the next core now. It may not hang on who else here still has a link
        if let Some(heart) = self.heart.take() {
            heart.link.part();
        }
        shutdown::stop_tree(&self.root);
        let _ = tokio::time::timeout(limits::TREE_STOP, exit).await;
        self.wiring.prober.end();
        End::LetGo(relay)
    }
}

/// What is about to happen, for whoever comes next.
async fn note(candidate: &Candidate, wiring: &Wiring) -> io::Result<OwnedFd> {
    written(&Underway {
        from_version: VERSION.to_owned(),
        from_binary: own_binary().display().to_string(),
        to_version: candidate.version.clone(),
        to_binary: candidate.binary.display().to_string(),
        pids: processes(wiring).await,
        began: wiring.clock.now(),
    })
}

fn written(underway: &Underway) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(HELD, MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(underway)?)?;
    Ok(file.into())
}

/// What was written down by the service before.
pub(super) fn read(note: OwnedFd) -> io::Result<Underway> {
    let mut file = File::from(note);
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(limits::UPGRADE_NOTE_BYTES).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn underway() -> Underway {
        Underway {
            from_version: "1".into(),
            from_binary: "/old".into(),
            to_version: "2".into(),
            to_binary: "/new".into(),
            began: Default::default(),
            pids: (0..10_000).map(|pid| (format!("model-{pid:0>250}"), pid)).collect(),
        }
    }

    #[test]
    fn the_largest_note_is_read_as_it_was_written() {
        let note = written(&underway()).expect("written");
        // the next service gets a copy, and so may the one after it
        let copy = note.as_fd().try_clone_to_owned().expect("copied");
        assert_eq!(read(note).expect("read"), underway());
        assert_eq!(read(copy).expect("read"), underway());
    }

    #[test]
    fn a_note_that_makes_no_sense_is_an_error() {
        let note = memfd_create("note", MemfdFlags::CLOEXEC).expect("made");
        assert!(read(note).is_err());
    }
}
