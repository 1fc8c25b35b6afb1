//! One `GET` to a backend: connect, ask, read the status, close.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, InvalidHeaderValue};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::local::AbortOnDrop;
use super::tcp;
use crate::limits;

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// No request can be made of it: asking again is of no use.
    #[error("path {0:?} cannot be asked for")]
    BadPath(String),
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("no HTTP answer: {0}")]
    NoAnswer(#[from] hyper::Error),
}

/// The status of `GET path`. The answer's body is nobody's business here, and need not come: it is read apart, up to
/// [`limits::PROBE_ANSWER_BYTES`] and [`limits::PROBE_BODY`], so that the server of an honest one does not see a reset.
pub(super) async fn status(port: u16, path: &str) -> Result<u16, HttpError> {
    let request = request(port, path).ok_or_else(|| HttpError::BadPath(path.to_owned()))?;
    let stream = tcp::connect(port).await.map_err(HttpError::Connect)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(limits::PROBE_ANSWER_BYTES)
        .max_headers(limits::PROBE_HEADERS)
        .handshake(TokioIo::new(stream))
        .await?;
    let connection = AbortOnDrop(spawn_local(connection));
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), limits::PROBE_ANSWER_BYTES).collect();
    spawn_local(async move {
        // the status is the answer, whatever becomes of the body
        let _ = timeout(limits::PROBE_BODY, body).await;
        drop(connection);
    });
    Ok(status)
}

fn request(port: u16, path: &str) -> Option<Request<Empty<Bytes>>> {
    if !path.starts_with('/') {
        return None;
    }
    let host: Result<hyper::header::HeaderValue, InvalidHeaderValue> =
        format!("127.0.0.1:{port}").parse();
    Request::get(path).header(HOST, host.ok()?).header(CONNECTION, "close").body(Empty::new()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_names_host_and_closes() {
        let request = request(8080, "/health?full=1").expect("a request");
        assert_eq!(request.headers()[HOST], "127.0.0.1:8080");
        assert_eq!(request.headers()[CONNECTION], "close");
        assert_eq!(request.uri(), "/health?full=1");
    }

    #[test]
    fn paths_that_are_none_are_refused() {
        for path in ["", "health", "/a b", "/a\r\nX: y", "http://elsewhere/"] {
            assert!(request(1, path).is_none(), "{path:?}");
        }
    }
}
