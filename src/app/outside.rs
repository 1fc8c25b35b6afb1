//! What lies outside the tree, ended last: sockets of a gateway that failed, probes, processes that are still there, private
//! files.

use std::fs;

use crate::limits;
use crate::root::wiring::Wiring;

/// Ends all of it, with every process.
pub(super) async fn end(wiring: &Wiring) {
    close(wiring).await;
    let left = wiring.launcher.end(limits::LAUNCHER_END);
    if left > 0 {
        tracing::error!(left, "processes could not be ended");
    }
    let runtime_dir = wiring.settings.borrow().service.runtime_dir.clone();
    // only when it is empty: what is in it was removed by its owners, and what is not ours stays
    if let Err(error) = fs::remove_dir(&runtime_dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(folder = %runtime_dir.display(), %error, "runtime folder kept");
    }
}

/// The service failed, and not its models: they are left to the next one where there is a heart that starts it.
pub(super) async fn give_back(wiring: &Wiring) {
    if wiring.heart.now().is_none_or(|heart| heart.is_lost) {
        return end(wiring).await;
    }
    close(wiring).await;
    wiring.launcher.let_go(limits::LAUNCHER_END);
}

/// Ends what no process hangs on.
pub(super) async fn close(wiring: &Wiring) {
    if tokio::time::timeout(limits::SOCKETS_CLOSE, wiring.open_sockets.closed()).await.is_err() {
        tracing::error!("the sockets were not closed in time");
    }
    wiring.prober.end();
}
