//! Waiting until a backend is ready.

use std::future::Future;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::http::{self, HttpError};
use super::link::Link;
use super::local::LinkSlot;
use super::{Finding, ReadySign, channel, tcp};
use crate::limits;

/// Waits for the sign and tells what comes of it: progress any number of times, then one verdict.
pub(super) async fn watch(sign: ReadySign, link: LinkSlot, mut tell: impl FnMut(Finding)) {
    let verdict = match sign {
        ReadySign::Handshake { endpoint } => repeated(|| greeted(&endpoint, &link)).await,
        ReadySign::Http { port, path, status } => repeated(|| served(port, &path, status)).await,
        ReadySign::Tcp { port } => repeated(|| listening(port)).await,
        ReadySign::Pipe(pipe) => channel::newline(pipe).await,
        ReadySign::Notify(socket) => return channel::notifications(socket, tell).await,
    };
    tell(verdict);
}

/// Attempts until there is a verdict, fast at first: most backends without a model are up in milliseconds.
async fn repeated<F: Future<Output = Option<Finding>>>(mut attempt: impl FnMut() -> F) -> Finding {
    let mut pause = limits::READY_ATTEMPT_MIN;
    loop {
        if let Some(verdict) = attempt().await {
            return verdict;
        }
        sleep(pause).await;
        pause = slower(pause);
    }
}

fn slower(pause: Duration) -> Duration {
    (pause * 3 / 2).min(limits::READY_ATTEMPT_MAX)
}

/// A connection to a socket file that is not there yet costs one system call, so nothing else is looked at first.
async fn greeted(endpoint: &str, slot: &LinkSlot) -> Option<Finding> {
    match timeout(limits::READY_ANSWER, Link::open(endpoint)).await {
        Ok(Ok(link)) => {
            let protocols = link.protocols().to_vec();
            slot.put(link);
            Some(Finding::Ready { protocols })
        }
        Ok(Err(error)) if error.is_final() => Some(Finding::NeverReady(error.to_string())),
        Ok(Err(error)) => {
            tracing::trace!(endpoint, %error, "not ready yet");
            None
        }
        Err(_elapsed) => None,
    }
}

async fn served(port: u16, path: &str, wanted: u16) -> Option<Finding> {
    match timeout(limits::READY_ATTEMPT, http::status(port, path)).await {
        Ok(Ok(status)) if status == wanted => Some(Finding::Ready { protocols: Vec::new() }),
        Ok(Err(error @ HttpError::BadPath(_))) => Some(Finding::NeverReady(error.to_string())),
        _ => None,
    }
}

async fn listening(port: u16) -> Option<Finding> {
    match timeout(limits::READY_ATTEMPT, tcp::connect(port)).await {
        Ok(Ok(_stream)) => Some(Finding::Ready { protocols: Vec::new() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_slow_down_to_the_bound_and_no_further() {
        let mut pause = limits::READY_ATTEMPT_MIN;
        for _ in 0..50 {
            let next = slower(pause);
            assert!(next >= pause);
            pause = next;
        }
        assert_eq!(pause, limits::READY_ATTEMPT_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_go_on_until_there_is_a_verdict() {
        let mut attempts = 0;
        let verdict = repeated(|| {
            attempts += 1;
            std::future::ready((attempts == 20).then(|| Finding::Ready { protocols: vec![] }))
        });
        assert_eq!(verdict.await, Finding::Ready { protocols: vec![] });
        assert_eq!(attempts, 20);
    }
}
