//! Whether a gateway's sockets are open: known also of a gateway whose actor is gone.
//!
//! An actor that fails, or is replaced while it opens, leaves its thread to close the sockets by itself. The service must
//! not end before that, or the end of the process would leave the files.

use std::sync::Arc;

use tokio::sync::watch;

/// Counts who has sockets open, or is about to open them.
#[derive(Debug, Clone, Default)]
pub struct OpenSockets(Arc<watch::Sender<usize>>);

impl OpenSockets {
    /// From now on sockets may be open, until the answer is dropped.
    pub fn hold(&self) -> Held {
        self.0.send_modify(|holders| *holders += 1);
        Held(self.clone())
    }

    /// Waits until nobody has any open.
    pub async fn closed(&self) {
        // fails only without a sender, and that is ourselves
        let _ = self.0.subscribe().wait_for(|holders| *holders == 0).await;
    }
}

/// Sockets may be open. See [`OpenSockets::hold`].
#[derive(Debug)]
pub struct Held(OpenSockets);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.send_modify(|holders| *holders -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn they_are_closed_when_the_last_holder_is_gone() {
        let sockets = OpenSockets::default();
        sockets.closed().await;
        let (one, two) = (sockets.hold(), sockets.hold());
        let waits = tokio::spawn({
            let sockets = sockets.clone();
            async move { sockets.closed().await }
        });
        drop(one);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished(), "one holder is left");
        drop(two);
        waits.await.expect("closed");
    }
}
