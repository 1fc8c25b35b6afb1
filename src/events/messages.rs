//! Lifecycle events and what may be asked about them.

use std::sync::Arc;

use actix::{Message, Recipient};
use serde::{Deserialize, Serialize};

use crate::ids::Generation;

/// Something happened in the tree. The words of [`LifecycleEvent::kind`] are part of the management contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LifecycleEvent {
    /// Counts up from 1 over the life of the service, also over cores that were killed: then some numbers are left out. A gap
    /// for a reader means lost events.
    pub seq: u64,
    /// When, seconds since 1970.
    pub at: f64,
    /// Milliseconds since the service started, monotonic, for measuring.
    pub since_start_ms: f64,
    /// What it is about: an instance, an actor, the service.
    pub subject: String,
    /// The model, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// The generation, where it is about an instance.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generation: Option<Generation>,
    /// What happened: `starting`, `ready`, `unhealthy`, `exited`, `backoff`, `parked`, `stopping`, `stopped`,
    /// `unkillable`, `actor_failed`, `actor_restarted`, `wedged`, `escalated`, `group_restarting`,
    /// `group_parked`, `group_gave_up`, `group_not_started`, `adopted`, `not_adopted`, `leftover_ended`, `outdated`,
    /// `state_damaged`, `state_dropped`, `state_unsaved`, `state_saved`, `reloaded`, `service_started`, `service_stopping`,
    /// `core_replaced`, `upgraded`, `upgrade_refused`, `upgrade_failed`, `heart_lost`.
    pub kind: String,
    /// The cause, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
}

/// Begins the cause of what another member of its group brought about: `with draft: exit 3`.
pub const BECAUSE_OF: &str = "with ";
/// Begins the cause of what follows when the window of a group is used up: `group pair: 5 restarts in 10m used up`.
pub const OF_GROUP: &str = "group ";
/// Begins the cause of what somebody wanted who restarted a model by hand.
pub const BY_HAND: &str = "restart by hand";

impl LifecycleEvent {
    /// Whether it came about by the group of the instance, and by no failure of its own.
    pub fn is_for_group(&self) -> bool {
        self.begins_with(BECAUSE_OF) || self.begins_with(OF_GROUP)
    }

    /// Whether somebody restarted the instance by hand.
    pub fn is_by_hand(&self) -> bool {
        self.begins_with(BY_HAND)
    }

    fn begins_with(&self, words: &str) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause.starts_with(words))
    }
}

/// An event without the fields that the log adds.
#[derive(Debug, Clone, PartialEq, Message)]
#[rtype(result = "()")]
pub struct Record {
    /// What it is about.
    pub subject: String,
    /// The model.
    pub model: Option<String>,
    /// The generation.
    pub generation: Option<Generation>,
    /// What happened.
    pub kind: &'static str,
    /// The cause.
    pub cause: Option<String>,
}

/// Events after a sequence number.
#[derive(Debug, Message)]
#[rtype(result = "EventPage")]
pub struct ReadEvents {
    /// Only events with a larger number; 0 for all that are kept.
    pub since: u64,
    /// At most this many, the newest.
    pub limit: usize,
}

/// Some events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventPage {
    /// In order.
    pub events: Vec<Arc<LifecycleEvent>>,
    /// The number to ask from next.
    pub next: u64,
    /// How many events after `since` are no longer kept.
    pub missed: u64,
    /// How many events subscribers did not get so far, because their mailboxes were full.
    #[serde(default)]
    pub dropped: u64,
}

/// Sends every further event to `to`; what does not fit into its mailbox is dropped and counted
/// ([`EventPage::dropped`]).
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe {
    /// The subscriber.
    pub to: Recipient<EventOccurred>,
}

/// An event for a subscriber.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct EventOccurred(pub Arc<LifecycleEvent>);
