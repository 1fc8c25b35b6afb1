//! Tells the manager of services (systemd, a container's engine) how the service stands, from the thread that the service
//! itself stands on: where that does not get on, the manager hears nothing, which is what its watchdog is for.
//!
//! Where there is a heart, it is the one who speaks with the manager, and is told what it cannot know.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::heart::link::HeartLink;
use crate::heart::notify::{News, Notifier, NotifyError};
use crate::heart::protocol::FromCore;
use crate::instance::state::State;
use crate::limits;
use crate::registry::messages::{InstanceView, ListInstances};
use crate::root::wiring::Wiring;

/// What changed about the service as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It is up.
    Ready,
    /// It reads its configuration again.
    Reloading,
    /// That is over.
    Reloaded,
    /// It goes down, which may take so long.
    Stopping(Duration),
}

/// Who speaks with the manager.
#[derive(Debug)]
pub(super) enum Voice {
    /// This process.
    Own(Notifier),
    /// Its heart.
    Heart(HeartLink),
}

impl Voice {
    /// None where no manager listens.
    pub(super) fn of(notifier: Option<Notifier>, heart: Option<&HeartLink>) -> Option<Self> {
        let notifier = notifier.filter(Notifier::is_wanted)?;
        Some(heart.map_or(Self::Own(notifier), |link| Self::Heart(link.clone())))
    }

    fn say(&mut self, word: Word) {
        match self {
            Self::Own(notifier) => told(match word {
                Word::Ready | Word::Reloaded => notifier.tell(&[News::Ready]),
                Word::Reloading => notifier.tell(&[News::Reloading]),
                Word::Stopping(longest) => {
                    let status = News::Status("stopping its models");
                    notifier.tell(&[News::Stopping, News::Extend(longest), status])
                }
            }),
            Self::Heart(link) => match word {
                Word::Reloading => link.tell(FromCore::Reloading),
                Word::Reloaded => link.tell(FromCore::Reloaded),
                // a heart is told of these whether a manager listens or not
                Word::Ready | Word::Stopping(_) => {}
            },
        }
    }

    /// A sign of life, with a new line for people where there is one.
    fn show(&mut self, status: Option<&str>) {
        match self {
            Self::Own(notifier) => {
                let mut news: Vec<_> = status.map(News::Status).into_iter().collect();
                if notifier.watchdog_every().is_some() {
                    news.push(News::Watchdog);
                }
                told(if news.is_empty() { notifier.again() } else { notifier.tell(&news) });
            }
            Self::Heart(link) => {
                if let Some(text) = status {
                    link.tell(FromCore::Status { text: text.to_owned() });
                }
            }
        }
    }

    fn pace(&self) -> Duration {
        let every = match self {
            Self::Own(notifier) => notifier.watchdog_every(),
            Self::Heart(_) => None,
        };
        every.unwrap_or(limits::MANAGER_STATUS_EVERY).min(limits::MANAGER_STATUS_EVERY)
    }
}

/// The way to the task that tells it; dropped, the task ends.
#[derive(Debug, Clone)]
pub(super) struct Herald(Option<mpsc::Sender<Word>>);

impl Herald {
    /// Starts the task on this thread, where a manager listens.
    pub(super) fn start(voice: Option<Voice>, wiring: Arc<Wiring>) -> Self {
        Self(voice.map(|voice| {
            let (words, heard) = mpsc::channel(limits::MANAGER_WORDS);
            actix_rt::spawn(run(voice, wiring, heard));
            words
        }))
    }

    /// Says no more: whoever comes next speaks.
    pub(super) fn fall_silent(&mut self) {
        self.0 = None;
    }

    /// Whether a manager of services listens: one that starts the service anew when it fails.
    pub(super) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn tell(&self, word: Word) {
        if let Some(words) = &self.0
            && let Err(error) = words.try_send(word)
        {
            tracing::warn!(%error, "the service manager is not told");
        }
    }
}

async fn run(mut voice: Voice, wiring: Arc<Wiring>, mut words: mpsc::Receiver<Word>) {
    let mut turns = tokio::time::interval(voice.pace());
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut shown, mut is_stopping) = (String::new(), false);
    loop {
        tokio::select! {
            biased;
            word = words.recv() => {
                let Some(word) = word else { return };
                is_stopping |= matches!(word, Word::Stopping(_));
                voice.say(word);
            }
            _ = turns.tick() => {
                // a registry that is just replaced, or does not get on: the next turn tells
                let Some(instances) = instances(&wiring).await else { continue };
                let status = status(&instances);
                let is_new = !is_stopping && status != shown;
                voice.show(is_new.then_some(&status));
                if is_new {
                    shown = status;
                }
            }
        }
    }
}

/// Through a mailbox of the tree, and so a sign of its life.
async fn instances(wiring: &Wiring) -> Option<Vec<Arc<InstanceView>>> {
    let registry = wiring.registry.get().ok()?;
    let asked = tokio::time::timeout(limits::MANAGER_STATUS_EVERY, registry.send(ListInstances));
    asked.await.ok()?.ok()
}

fn told(outcome: Result<(), NotifyError>) {
    if let Err(fault) = outcome {
        tracing::warn!("{fault}");
    }
}

/// One line for people: `3 models: 2 ready, 1 parked`.
fn status(instances: &[Arc<InstanceView>]) -> String {
    let mut counts: Vec<(State, usize)> = Vec::new();
    for instance in instances {
        match counts.iter_mut().find(|(state, _)| *state == instance.state) {
            Some((_, count)) => *count += 1,
            None => counts.push((instance.state, 1)),
        }
    }
    if counts.is_empty() {
        return "ready, no model is loaded".to_owned();
    }
    counts.sort_by_key(|(state, _)| (*state != State::Ready, state.as_str()));
    let parts: Vec<_> =
        counts.iter().map(|(state, count)| format!("{count} {}", state.as_str())).collect();
    let models = if instances.len() == 1 { "model" } else { "models" };
    format!("{} {models}: {}", instances.len(), parts.join(", "))
}
