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
        ReadySign::Handshake { endpoint } => {
            repeated(&mut tell, || greeted(&endpoint, &link)).await
        }
        ReadySign::Http { port, path, status } => {
            repeated(&mut tell, || served(port, &path, status)).await
        }
        ReadySign::Tcp { port } => repeated(&mut tell, || listening(port)).await,
        ReadySign::Pipe(pipe) => channel::newline(pipe).await,
        ReadySign::Notify(socket) => return channel::notifications(socket, tell).await,
    };
    tell(verdict);
}

/// What came of one attempt.
enum Attempt {
    /// No other is needed.
    Verdict(Finding),
    /// Nothing is known: it may still load.
    Open,
    /// It serves already, and answers otherwise than one that is ready.
    Wrong(String),
}

/// Attempts until there is a verdict, fast at first: most backends without a model are up in milliseconds.
async fn repeated<F: Future<Output = Attempt>>(
    tell: &mut impl FnMut(Finding),
    mut attempt: impl FnMut() -> F,
) -> Finding {
    let mut pause = limits::READY_ATTEMPT_MIN;
    let mut told = None;
    loop {
        let wrong = match attempt().await {
            Attempt::Verdict(verdict) => return verdict,
            Attempt::Open => None,
            Attempt::Wrong(answer) => Some(answer),
        };
        if wrong != told {
            told.clone_from(&wrong);
            tell(Finding::WrongAnswer(wrong));
        }
        sleep(pause).await;
        pause = slower(pause);
    }
}

fn slower(pause: Duration) -> Duration {
    (pause * 3 / 2).min(limits::READY_ATTEMPT_MAX)
}

/// A connection to a socket file that is not there yet costs one system call, so nothing else is looked at first.
async fn greeted(endpoint: &str, slot: &LinkSlot) -> Attempt {
    match timeout(limits::READY_ANSWER, Link::open(endpoint)).await {
        Ok(Ok(link)) => {
            let protocols = link.protocols().to_vec();
            slot.put(link);
            Attempt::Verdict(Finding::Ready { protocols })
        }
        Ok(Err(error)) if error.is_final() => {
            Attempt::Verdict(Finding::NeverReady(error.to_string()))
        }
        Ok(Err(error)) => {
            tracing::trace!(endpoint, %error, "not ready yet");
            Attempt::Open
        }
        Err(_elapsed) => Attempt::Open,
    }
}

/// What an HTTP backend answers while it loads, besides nothing at all.
const STILL_LOADING: u16 = 503;

async fn served(port: u16, path: &str, wanted: u16) -> Attempt {
    match timeout(limits::READY_ATTEMPT, http::status(port, path)).await {
        Ok(Ok(status)) if status == wanted => {
            Attempt::Verdict(Finding::Ready { protocols: Vec::new() })
        }
        Ok(Ok(STILL_LOADING)) => Attempt::Open,
        Ok(Ok(status)) => {
            Attempt::Wrong(format!("GET {path} answered {status}, waiting for {wanted}"))
        }
        Ok(Err(error @ HttpError::BadPath(_))) => {
            Attempt::Verdict(Finding::NeverReady(error.to_string()))
        }
        _ => Attempt::Open,
    }
}

async fn listening(port: u16) -> Attempt {
    match timeout(limits::READY_ATTEMPT, tcp::connect(port)).await {
        Ok(Ok(_stream)) => Attempt::Verdict(Finding::Ready { protocols: Vec::new() }),
        _ => Attempt::Open,
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
    async fn attempts_go_on_until_there_is_a_verdict_and_wrong_answers_are_told_once() {
        let (mut attempts, mut told) = (0, Vec::new());
        let mut tell = |finding| told.push(finding);
        let verdict = repeated(&mut tell, || {
            attempts += 1;
            std::future::ready(match attempts {
                5..10 => Attempt::Wrong("404".into()),
                10..15 => Attempt::Wrong("500".into()),
                20 => Attempt::Verdict(Finding::Ready { protocols: vec![] }),
                _ => Attempt::Open,
            })
        })
        .await;
        assert_eq!(verdict, Finding::Ready { protocols: vec![] });
        assert_eq!(attempts, 20);
        let wrong = [Some("404"), Some("500"), None];
        assert_eq!(told, wrong.map(|answer| Finding::WrongAnswer(answer.map(str::to_owned))));
    }
}
