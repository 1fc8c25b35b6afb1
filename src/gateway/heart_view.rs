//! The parent process of the service, as `status` tells it.

use serde::Serialize;
use tokio::sync::watch;

/// What is told of a heart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeartView {
    /// Its process. It is the one to signal: it is there as long as the service is.
    pub pid: u32,
    /// Its version; after an upgrade it may differ from that of the service.
    pub version: String,
    /// Whether it is gone: the service goes on without it, and ends its models when it ends.
    pub is_lost: bool,
    /// Services that were replaced because they died or stood still.
    pub restarts: u64,
    /// Why the last one was.
    pub last_cause: Option<String>,
    /// When the present one was started, seconds since 1970.
    pub core_started_at: f64,
}

/// Where the present view is found.
#[derive(Debug, Clone)]
pub struct HeartFacts(watch::Receiver<Option<HeartView>>);

impl HeartFacts {
    /// A view that changes, and where it is found.
    pub fn channel(view: Option<HeartView>) -> (watch::Sender<Option<HeartView>>, Self) {
        let (sender, receiver) = watch::channel(view);
        (sender, Self(receiver))
    }

    /// As it stands; `None` for a service without a heart.
    pub fn now(&self) -> Option<HeartView> {
        self.0.borrow().clone()
    }
}

impl Default for HeartFacts {
    /// No heart.
    fn default() -> Self {
        Self::channel(None).1
    }
}
