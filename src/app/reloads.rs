//! The configuration being read again, while the main loop goes on: a file may lie on a disk that does not answer.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::SettingsLoader;
use crate::limits;
use crate::settings::diff::ReloadOutcome;
use crate::settings::model::Settings;

/// Who waits for the outcome of a reload. Dropped, it is told that the service goes down.
pub(super) type Asker = oneshot::Sender<Result<ReloadOutcome, String>>;

/// Reloads that were asked for: one reading at a time, and one more for all who asked while it was under way, since it
/// may have seen the file before their change.
#[derive(Default)]
pub(super) struct Reloads {
    loader: Option<Arc<SettingsLoader>>,
    reading: Option<Reading>,
    /// Asked for by a signal or a request while one was under way.
    again: bool,
    next: Vec<Asker>,
}

struct Reading {
    read: oneshot::Receiver<Result<Settings, String>>,
    askers: Vec<Asker>,
}

impl Reloads {
    pub(super) fn new(loader: Option<SettingsLoader>) -> Self {
        Self { loader: loader.map(Arc::new), ..Self::default() }
    }

    /// Asks for a reload; `asker` is `None` for a signal.
    pub(super) fn ask(&mut self, asker: Option<Asker>) {
        // whoever asked may have left
        self.next.retain(|asker| !asker.is_closed());
        if self.next.len() >= limits::RELOAD_ASKERS {
            if let Some(asker) = asker {
                let _ = asker.send(Err("too many reloads are waiting".to_owned()));
            }
            return;
        }
        self.next.extend(asker);
        self.again = true;
        if self.reading.is_none() {
            self.begin();
        }
    }

    /// Reads the configuration as a reload would.
    pub(super) fn loader(&self) -> Option<Arc<SettingsLoader>> {
        self.loader.clone()
    }

    /// Whether one is under way.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    fn begin(&mut self) {
        self.again = false;
        let (tell, read) = oneshot::channel();
        let askers = std::mem::take(&mut self.next);
        match self.loader.clone() {
            Some(loader) => read_on_a_thread(loader, tell),
            None => {
                let none = "this service was started without a configuration to reload";
                let _ = tell.send(Err(none.to_owned()));
            }
        }
        self.reading = Some(Reading { read, askers });
    }

    /// The configuration that was read, with those who wait for what becomes of it; pending while none is being read.
    /// May be given up at any await.
    pub(super) async fn read(&mut self) -> (Result<Settings, String>, Vec<Asker>) {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let failed = |_| Err("the configuration was not read: its reader failed".to_owned());
        let outcome = (&mut reading.read).await.unwrap_or_else(failed);
        let askers = self.reading.take().map(|reading| reading.askers).unwrap_or_default();
        if self.again {
            self.begin();
        }
        (outcome, askers)
    }
}

/// A thread of its own and not of the pool: the runtime waits for its pool when it ends, and a disk may never answer.
fn read_on_a_thread(loader: Arc<SettingsLoader>, tell: oneshot::Sender<Result<Settings, String>>) {
    let thread = std::thread::Builder::new().name("symphony-reload".to_owned());
    // without a thread the sender is dropped, which is told as a failure; nobody listens any more when a stop came first
    if let Err(error) = thread.spawn(move || drop(tell.send(loader()))) {
        tracing::error!(%error, "no thread for a reload");
    }
}
