//! The service's side of its heart: beats, words about its life, and what it means that the heart is gone.

use std::time::Duration;

use actix::Addr;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::letting_go;
use crate::clock::Clock;
use crate::gateway::heart_view::{HeartFacts, HeartView};
use crate::heart::link::{Connection, HeartLink, LinkError};
use crate::heart::protocol::FromCore;
use crate::launcher::local::HeartAccess;
use crate::limits;
use crate::supervision::Supervisor;
use crate::supervision::supervisor::CountChildren;
use crate::upgrade::outcome::Underway;

/// See the module.
#[derive(Debug)]
pub(super) struct HeartSide {
    /// The way to it.
    pub link: HeartLink,
    /// The upgrade that this core comes out of, and why it failed, if it did.
    pub upgrade: Option<(Underway, Option<String>)>,
    /// What the heart wants on record: kinds of events, with their causes.
    pub notices: Vec<(&'static str, String)>,
    view: watch::Sender<Option<HeartView>>,
    lost: watch::Receiver<bool>,
    beats: Option<JoinHandle<()>>,
}

impl HeartSide {
    /// Begins to talk; answers what the launcher needs of it, too, and where `status` finds how the heart stands.
    ///
    /// # Errors
    /// When no thread or descriptor is left.
    pub fn begin(mut connection: Connection) -> Result<(Self, HeartAccess, HeartFacts), LinkError> {
        let welcome = std::mem::take(&mut connection.welcome);
        let mut held = std::mem::take(&mut connection.held);
        let upgrade = held.remove(letting_go::HELD).and_then(|note| {
            let read = letting_go::read(note);
            let read =
                read.inspect_err(|error| tracing::warn!(%error, "what was left of an upgrade"));
            // a core that died before it let go was replaced by its own kind
            let reason = welcome.notice.clone().or_else(|| welcome.replaces.clone());
            read.ok().map(|underway| (underway, reason))
        });
        let (view, facts) = HeartFacts::channel(Some(HeartView {
            pid: welcome.heart_pid,
            version: welcome.heart_version,
            is_lost: false,
            restarts: welcome.restarts,
            last_cause: welcome.last_cause,
            core_started_at: Clock::wall_seconds(),
        }));
        let (tell_lost, lost) = watch::channel(false);
        let link = connection.begin(move || {
            tracing::error!(
                heart = welcome.heart_pid,
                "the heart is gone: the service goes on, and nothing will replace it when it fails"
            );
            // nobody listens when the service is just ending
            let _ = tell_lost.send(true);
        })?;
        let replaced = welcome.replaces.map(|cause| ("core_replaced", cause));
        let failed = welcome.notice.map(|notice| ("upgrade_failed", notice));
        let notices = replaced.into_iter().chain(failed).collect();
        let access = HeartAccess { link: link.clone(), pid: welcome.heart_pid, held };
        Ok((Self { link, upgrade, notices, view, lost, beats: None }, access, facts))
    }

    /// Beats for as long as this tree makes progress.
    pub fn beat_for(&mut self, root: Addr<Supervisor>) {
        let link = self.link.clone();
        self.beats = Some(actix_rt::spawn(async move {
            let mut pace = tokio::time::interval(limits::HEART_BEAT_EVERY);
            pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                pace.tick().await;
                // a root that is gone beats no more: what comes of that is the main loop's business
                if link.is_lost() || root.send(CountChildren).await.is_err() {
                    return;
                }
                link.tell(FromCore::Beat);
            }
        }));
    }

    /// How long models may take to end.
    pub fn tell_grace(&self, grace: Duration) {
        let ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.link.tell(FromCore::StopGrace { ms });
    }

    /// Comes true once, when the heart is found to be gone.
    async fn lost(&mut self) {
        loop {
            let is_lost = *self.lost.borrow_and_update();
            let is_known = self.view.borrow().as_ref().is_none_or(|view| view.is_lost);
            if is_lost && !is_known {
                self.view.send_modify(|view| {
                    if let Some(view) = view {
                        view.is_lost = true;
                    }
                });
                return;
            }
            if self.lost.changed().await.is_err() {
                // the link ended with its service
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Comes true once, when there was a heart and it is gone.
pub(super) async fn lost(heart: &mut Option<HeartSide>) {
    match heart {
        Some(heart) => heart.lost().await,
        None => std::future::pending().await,
    }
}

impl Drop for HeartSide {
    fn drop(&mut self) {
        if let Some(beats) = &self.beats {
            beats.abort();
        }
    }
}
