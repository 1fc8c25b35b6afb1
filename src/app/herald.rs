//! Tells the manager of services (systemd, a container's engine) how the service stands, from the thread that the service
//! itself stands on: where that does not get on, the manager hears nothing, which is what its watchdog is for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::heart::notify::{News, Notifier, NotifyError};
use crate::instance::state::State;
use crate::limits;
use crate::registry::messages::{InstanceView, ListInstances};
use crate::root::wiring::Wiring;

/// What changed about the service as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It is up, or a reload is over.
    Ready,
    /// It reads its configuration again.
    Reloading,
    /// It goes down, which may take so long.
    Stopping(Duration),
}

/// The way to the task that tells it; dropped, the task ends.
#[derive(Debug, Clone)]
pub(super) struct Herald(Option<mpsc::Sender<Word>>);

impl Herald {
    /// Starts the task on this thread, where a manager listens.
    pub(super) fn start(notifier: Notifier, wiring: Arc<Wiring>) -> Self {
        if !notifier.is_wanted() {
            return Self(None);
        }
        let (words, heard) = mpsc::channel(limits::MANAGER_WORDS);
        actix_rt::spawn(run(notifier, wiring, heard));
        Self(Some(words))
    }

    pub(super) fn tell(&self, word: Word) {
        if let Some(words) = &self.0
            && let Err(error) = words.try_send(word)
        {
            tracing::warn!(%error, "the service manager is not told");
        }
    }
}

async fn run(mut notifier: Notifier, wiring: Arc<Wiring>, mut words: mpsc::Receiver<Word>) {
    let watchdog_every = notifier.watchdog_every().unwrap_or(limits::MANAGER_STATUS_EVERY);
    let mut turns = tokio::time::interval(watchdog_every.min(limits::MANAGER_STATUS_EVERY));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut shown, mut is_stopping) = (String::new(), false);
    loop {
        let told = tokio::select! {
            biased;
            word = words.recv() => match word {
                Some(Word::Ready) => notifier.tell(&[News::Ready]),
                Some(Word::Reloading) => notifier.tell(&[News::Reloading]),
                Some(Word::Stopping(longest)) => {
                    is_stopping = true;
                    let status = News::Status("stopping its models");
                    notifier.tell(&[News::Stopping, News::Extend(longest), status])
                }
                None => return,
            },
            _ = turns.tick() => match instances(&wiring).await {
                // a registry that is just replaced, or does not get on: the next turn tells
                None => notifier.again(),
                Some(instances) => {
                    let status = status(&instances);
                    let is_new = !is_stopping && status != shown;
                    let mut news = if is_new { vec![News::Status(&status)] } else { Vec::new() };
                    if notifier.watchdog_every().is_some() {
                        news.push(News::Watchdog);
                    }
                    let told = if news.is_empty() { notifier.again() } else { notifier.tell(&news) };
                    if is_new {
                        shown = status;
                    }
                    told
                }
            },
        };
        warn(told);
    }
}

/// Through a mailbox of the tree, and so a sign of its life.
async fn instances(wiring: &Wiring) -> Option<Vec<Arc<InstanceView>>> {
    let registry = wiring.registry.get().ok()?;
    let asked = tokio::time::timeout(limits::MANAGER_STATUS_EVERY, registry.send(ListInstances));
    asked.await.ok()?.ok()
}

fn warn(told: Result<(), NotifyError>) {
    if let Err(fault) = told {
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
