//! Asking a backend for one sign of life.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::link::{Link, LinkError};
use super::local::LinkSlot;
use super::{Finding, HealthQuestion, http, tcp};

/// Asks, and answers within `limit`.
pub(super) async fn ask(question: &HealthQuestion, limit: Duration, link: &LinkSlot) -> Finding {
    let asked_at = Instant::now();
    let answer = match question {
        HealthQuestion::Ping { endpoint } => ping(endpoint, limit, link).await,
        HealthQuestion::Http { port, path } => bounded(limit, served(*port, path)).await,
        HealthQuestion::Tcp { port } => bounded(limit, listening(*port)).await,
    };
    match answer {
        Ok(()) => Finding::Alive { round_trip: asked_at.elapsed() },
        Err(reason) => Finding::Silent(reason),
    }
}

async fn bounded(
    limit: Duration,
    answer: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    timeout(limit, answer).await.unwrap_or_else(|_elapsed| Err(no_answer(limit)))
}

fn no_answer(limit: Duration) -> String {
    format!("no answer within {limit:?}")
}

/// The kept connection is used where there is one, and kept again unless it is of no use any more.
async fn ping(endpoint: &str, limit: Duration, slot: &LinkSlot) -> Result<(), String> {
    let mut link = slot.take();
    let answer = timeout(limit, ping_or_greet(endpoint, &mut link)).await;
    let reusable = !matches!(answer, Ok(Err(_)));
    if let Some(link) = link.filter(|link| reusable && link.is_whole()) {
        slot.put(link);
    }
    match answer {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(no_answer(limit)),
    }
}

async fn ping_or_greet(endpoint: &str, slot: &mut Option<Link>) -> Result<(), LinkError> {
    if let Some(link) = slot
        && let Some(index) = link.ping_index()
    {
        match link.ping(index).await {
            // an idle connection may be closed by its backend; the next one tells whether it lives
            Err(LinkError::Closed | LinkError::Broke(_)) => {}
            answer => return answer,
        }
    }
    // closed first: a backend that handles one client at a time must not wait for us
    *slot = None;
    let link = slot.insert(Link::open(endpoint).await?);
    match link.ping_index() {
        Some(index) => link.ping(index).await,
        // the fresh handshake was the question
        None => Ok(()),
    }
}

async fn served(port: u16, path: &str) -> Result<(), String> {
    match http::status(port, path).await {
        Ok(200..=299) => Ok(()),
        Ok(status) => Err(format!("answered {status}")),
        Err(error) => Err(error.to_string()),
    }
}

async fn listening(port: u16) -> Result<(), String> {
    tcp::connect(port).await.map(drop).map_err(|error| format!("cannot connect: {error}"))
}
