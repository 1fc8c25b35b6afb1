//! The prober and the backends that speak no ZeroMQ: HTTP, TCP, a pipe, a notify socket.
#![allow(clippy::expect_used, reason = "a test")]

#[path = "support/backend.rs"]
mod backend;
#[path = "support/rig.rs"]
mod rig;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::thread::JoinHandle;
use std::time::Duration;

use backend::{Backend, FAKE, LIMIT, until};
use rig::{Rig, SHORT, ready};
use symphony::limits;
use symphony::probe::{Finding, HealthQuestion, Prober, ReadySign};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    listener.local_addr().expect("address").port()
}

#[actix::test]
async fn http_backend_is_ready_when_it_stops_answering_503() {
    let mut rig = Rig::start();
    let port = free_port();
    let text = port.to_string();
    let backend = Backend::start(FAKE, &["--http", &text, "--load-time", "300ms"]);
    let sign = ReadySign::Http { port, path: "/health".into(), status: 200 };
    assert_eq!(rig.ready(sign).await, ready(&[]));
    until("its own word", || backend.output().contains("ready").then_some(()));
    assert!(rig.is_alive(HealthQuestion::Http { port, path: "/health".into() }).await);
}

#[actix::test]
async fn http_backend_may_wait_for_another_status_than_200() {
    let mut rig = Rig::start();
    let port = free_port();
    let _backend = Backend::start(FAKE, &["--http", &port.to_string(), "--load-time", "1h"]);
    let sign = ReadySign::Http { port, path: "/".into(), status: 503 };
    assert_eq!(rig.ready(sign).await, ready(&[]));
}

#[actix::test]
async fn every_way_of_http_to_fail_is_silence() {
    let mut rig = Rig::start();
    for (fault, limit, expected) in [
        ("status", LIMIT, "answered 500"),
        ("hang", SHORT, "no answer within"),
        ("close", LIMIT, "no HTTP answer"),
        ("garbage", LIMIT, "no HTTP answer"),
        ("endless-header", LIMIT, "no HTTP answer"),
    ] {
        let port = free_port();
        let text = port.to_string();
        let args = ["--http", &text, "--http-fail", fault, "--http-fail-after", "1"];
        let backend = Backend::start(FAKE, &args);
        until("readiness", || backend.output().contains("ready").then_some(()));
        let question = HealthQuestion::Http { port, path: "/health".into() };
        assert!(rig.is_alive(question.clone()).await, "{fault}: honest at first");
        let reason = rig.silence(question, limit).await;
        assert!(reason.contains(expected), "{fault}: {reason}");
    }
}

#[actix::test]
async fn endless_body_does_not_hold_up_the_answer() {
    let mut rig = Rig::start();
    let port = free_port();
    let args = ["--http", &port.to_string(), "--http-fail", "endless"];
    let backend = Backend::start(FAKE, &args);
    until("readiness", || backend.output().contains("ready").then_some(()));
    assert!(rig.is_alive(HealthQuestion::Http { port, path: "/".into() }).await);
}

/// A server by hand: reads a request, then does `act` with the connection and waits for its end. Answers how that was.
fn server(
    act: fn(&mut TcpStream) -> io::Result<()>,
) -> (HealthQuestion, JoinHandle<io::Result<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("address").port();
    let end = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            request.extend(byte);
        }
        act(&mut stream)?;
        stream.read_to_end(&mut Vec::new())
    });
    (HealthQuestion::Http { port, path: "/health".into() }, end)
}

#[actix::test]
async fn the_status_alone_is_the_answer() {
    type Act = fn(&mut TcpStream) -> io::Result<()>;
    let acts: [(&str, Act); 6] = [
        ("no body", |s| s.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")),
        ("as in HTTP/1.0", |s| {
            s.write_all(b"HTTP/1.0 200 OK\r\n\r\nfine")?;
            s.shutdown(Shutdown::Write)
        }),
        ("a body that never comes", |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        }),
        ("a body that comes in part", |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
        }),
        ("a body that is broken", |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
        }),
        ("an interim answer first", |s| {
            s.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
        }),
    ];
    let mut rig = Rig::start();
    for (what, act) in acts {
        let (question, end) = server(act);
        assert!(rig.is_alive(question).await, "{what}");
        let end = end.join().expect("no panic");
        assert!(what.contains("broken") || end.is_ok(), "{what}: closed in order, not {end:?}");
    }
    let body = |s: &mut TcpStream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n";
        s.write_all(head.as_bytes())?;
        s.write_all(&[b'x'; 20_000])
    };
    let (question, end) = server(body);
    assert!(rig.is_alive(question).await);
    assert_eq!(end.join().expect("no panic").expect("no reset"), 0, "the body was taken");
}

#[actix::test]
async fn what_is_no_answer_of_http_is_silence() {
    type Act = fn(&mut TcpStream) -> io::Result<()>;
    let acts: [(&str, Act, Duration, &str); 9] = [
        ("no reply", |_| Ok(()), SHORT, "no answer within"),
        ("half a status line", |s| s.write_all(b"HTTP/1.1 20"), SHORT, "no answer within"),
        ("half of the headers", |s| s.write_all(b"HTTP/1.1 200 OK\r\nA: b"), SHORT, "no answer"),
        ("an interim answer alone", |s| s.write_all(b"HTTP/1.1 100 \r\n\r\n"), SHORT, "no answer"),
        ("closed at once", |s| s.shutdown(Shutdown::Both), LIMIT, "no HTTP answer"),
        (
            "closed in the headers",
            |s| {
                s.write_all(b"HTTP/1.1 200 OK\r\nA: b\r\n")?;
                s.shutdown(Shutdown::Write)
            },
            LIMIT,
            "no HTTP answer",
        ),
        ("HTTP/0.9", |s| s.write_all(b"<html>fine</html>"), LIMIT, "no HTTP answer"),
        (
            "a huge header",
            |s| {
                s.write_all(b"HTTP/1.1 200 OK\r\nA: ")?;
                s.write_all(&[b'a'; 2 * limits::PROBE_ANSWER_BYTES])
            },
            LIMIT,
            "no HTTP answer",
        ),
        (
            "too many headers",
            |s| {
                s.write_all(b"HTTP/1.1 200 OK\r\n")?;
                s.write_all(&b"A: b\r\n".repeat(limits::PROBE_HEADERS + 1))?;
                s.write_all(b"\r\n")
            },
            LIMIT,
            "no HTTP answer",
        ),
    ];
    let mut rig = Rig::start();
    for (what, act, limit, expected) in acts {
        let (question, _) = server(act);
        let reason = rig.silence(question, limit).await;
        assert!(reason.contains(expected), "{what}: {reason}");
    }
}

#[actix::test]
async fn tcp_backend_is_ready_when_it_listens_and_silent_when_it_is_gone() {
    let mut rig = Rig::start();
    let port = free_port();
    let args = ["--tcp", &port.to_string(), "--load-time", "200ms"];
    let mut backend = Backend::start(FAKE, &args);
    assert_eq!(rig.ready(ReadySign::Tcp { port }).await, ready(&[]));
    assert!(rig.is_alive(HealthQuestion::Tcp { port }).await);
    backend.kill();
    let reason = rig.silence(HealthQuestion::Tcp { port }, LIMIT).await;
    assert!(reason.contains("cannot connect"), "{reason}");
}

#[actix::test]
async fn newline_on_the_pipe_means_ready() {
    let mut rig = Rig::start();
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    rig.await_ready(ReadySign::Pipe(reader));
    rustix::io::write(&writer, b"loading...").expect("written");
    rustix::io::write(&writer, b"done\n").expect("written");
    assert_eq!(rig.next().await, ready(&[]));
}

#[actix::test]
async fn pipe_that_closes_before_a_newline_never_gets_ready() {
    let mut rig = Rig::start();
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    rustix::io::write(&writer, b"almost").expect("written");
    drop(writer);
    let Finding::NeverReady(reason) = rig.ready(ReadySign::Pipe(reader)).await else {
        panic!("not told")
    };
    assert!(reason.contains("closed before a newline"), "{reason}");
}

#[actix::test]
async fn notify_socket_tells_progress_then_readiness_and_takes_what_comes_after() {
    let mut rig = Rig::start();
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    rig.await_ready(ReadySign::Notify(socket));
    let backend = UnixDatagram::unbound().expect("socket");
    backend.send_to(b"STATUS=loading 40 %", &path).expect("sent");
    assert_eq!(rig.next().await, Finding::Progress("loading 40 %".into()));
    backend.send_to(b"READY=1\nSTATUS=serving", &path).expect("sent");
    let mut findings = vec![rig.next().await];
    if findings[0] != ready(&[]) {
        findings.push(rig.next().await);
    }
    assert_eq!(findings.last(), Some(&ready(&[])));
    // more than any socket buffer holds: a backend is never blocked by a reader that lost interest
    backend.set_write_timeout(Some(LIMIT)).expect("limit");
    for _ in 0..limits::NOTIFY_BURST * 20 {
        backend.send_to(b"WATCHDOG=1", &path).expect("taken");
    }
    assert!(rig.reports.try_recv().is_err(), "ready is told once");
}

#[actix::test]
async fn fake_backend_notifies_as_a_service_does() {
    let mut rig = Rig::start();
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("notify");
    rig.await_ready(ReadySign::Notify(UnixDatagram::bind(&path).expect("bound")));
    let mut child = std::process::Command::new(FAKE)
        .args(["--notify", "--load-time", "150ms"])
        .env("NOTIFY_SOCKET", &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("started");
    let first = rig.next().await;
    assert_eq!(first, Finding::Progress("loading: step 1".into()));
    while rig.next().await != ready(&[]) {}
    child.kill().expect("killed");
    child.wait().expect("reaped");
}

#[actix::test]
async fn a_crash_of_the_prober_loses_no_readiness_channel() {
    let mut rig = Rig::start();
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    rig.await_ready(ReadySign::Pipe(reader.into()));
    rig.prober.crash_for_test();
    writer.write_all(b"\n").expect("somebody reads");
    assert_eq!(rig.next().await, ready(&[]));

    let (inner, outer) = UnixDatagram::pair().expect("sockets");
    rig.await_ready(ReadySign::Notify(inner));
    outer.send(b"STATUS=half").expect("sent");
    assert_eq!(rig.next().await, Finding::Progress("half".into()));
    rig.prober.crash_for_test();
    outer.send(b"READY=1").expect("sent");
    assert_eq!(rig.next().await, ready(&[]));
    rig.prober.forget(&rig::key());
    until("the closed socket", || outer.send(b"STATUS=late").is_err().then_some(()));
}
