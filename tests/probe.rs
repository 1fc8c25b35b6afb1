//! The prober against real processes, and against listeners that mean harm.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "support/backend.rs"]
mod backend;
#[path = "support/rig.rs"]
mod rig;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use backend::{Backend, FAKE, LIMIT, until};
use prost::Message;
use rig::{Rig, SHORT, key, ready};
use rustix::process::Signal;
use symphony::probe::{Finding, HealthQuestion, Prober, ReadySign, zmtp};
use symphony::protocols::{handshake, ping};

fn handshake_on(backend: &Backend) -> ReadySign {
    ReadySign::Handshake { endpoint: backend.endpoint() }
}

fn ping_on(backend: &Backend) -> HealthQuestion {
    HealthQuestion::Ping { endpoint: backend.endpoint() }
}

#[actix::test]
async fn handshake_tells_the_protocols_as_soon_as_the_backend_has_loaded() {
    let mut rig = Rig::start();
    let args = ["--load-time", "300ms", "--protocols", "ping,l4m,other"];
    let backend = Backend::start(FAKE, &args);
    assert_eq!(rig.ready(handshake_on(&backend)).await, ready(&["ping", "l4m", "other"]));
    assert!(backend.socket_file().exists());
    for _ in 0..20 {
        assert!(rig.is_alive(ping_on(&backend)).await);
    }
}

#[actix::test]
async fn ping_needs_no_wait_for_readiness_before_it() {
    let mut rig = Rig::start();
    let backend = Backend::start(FAKE, &[]);
    until("the socket", || backend.socket_file().exists().then_some(()));
    assert!(rig.is_alive(ping_on(&backend)).await);
}

#[actix::test]
async fn dead_backend_is_silent_at_once_and_its_successor_is_asked_anew() {
    let mut rig = Rig::start();
    let mut backend = Backend::start(FAKE, &[]);
    rig.ready(handshake_on(&backend)).await;
    backend.kill();
    let reason = rig.silence(ping_on(&backend), LIMIT).await;
    assert!(reason.contains("cannot connect"), "{reason}");
    backend.restart(FAKE, &[]);
    assert_eq!(rig.ready(handshake_on(&backend)).await, ready(&["l4m", "ping"]));
    assert!(rig.is_alive(ping_on(&backend)).await);
}

#[actix::test]
async fn backend_that_restarted_behind_the_connection_is_greeted_again() {
    let mut rig = Rig::start();
    let mut backend = Backend::start(FAKE, &["--protocols", "l4m,ping"]);
    rig.ready(handshake_on(&backend)).await;
    // the successor has ping at another place
    backend.restart(FAKE, &["--protocols", "ping"]);
    until("the successor", || backend.output().contains("ready").then_some(()));
    assert!(rig.is_alive(ping_on(&backend)).await);
}

#[actix::test]
async fn stopped_backend_is_silent_and_alive_again_when_it_goes_on() {
    let mut rig = Rig::start();
    let backend = Backend::start(FAKE, &[]);
    rig.ready(handshake_on(&backend)).await;
    backend.signal(Signal::STOP);
    for _ in 0..3 {
        let reason = rig.silence(ping_on(&backend), SHORT).await;
        assert!(reason.contains("no answer within"), "{reason}");
    }
    backend.signal(Signal::CONT);
    assert!(rig.is_alive(ping_on(&backend)).await, "late pongs are in the way and do no harm");
}

#[actix::test]
async fn lie_of_a_backend_that_greets_and_never_answers_is_found_out() {
    let mut rig = Rig::start();
    let backend = Backend::start(FAKE, &["--lie", "ready"]);
    assert_eq!(rig.ready(handshake_on(&backend)).await, ready(&["l4m", "ping"]));
    rig.silence(ping_on(&backend), SHORT).await;
}

#[actix::test]
async fn backend_without_ping_is_asked_by_a_fresh_handshake() {
    let mut rig = Rig::start();
    let backend = Backend::start(FAKE, &["--no-ping"]);
    assert_eq!(rig.ready(handshake_on(&backend)).await, ready(&["l4m"]));
    for _ in 0..3 {
        assert!(rig.is_alive(ping_on(&backend)).await);
    }
    backend.signal(Signal::STOP);
    rig.silence(ping_on(&backend), SHORT).await;
}

/// A backend by hand, on a thread of its own: greets, then answers each ping as `pong_to` says.
fn backend_by_hand(
    socket: &std::path::Path,
    rounds: usize,
    pong_to: fn(round: usize, id: u32) -> Option<u32>,
) -> std::thread::JoinHandle<()> {
    let router = zmq::Context::new().socket(zmq::ROUTER).expect("socket");
    router.set_rcvtimeo(i32::try_from(LIMIT.as_millis()).expect("fits")).expect("limit");
    router.bind(&format!("ipc://{}", socket.display())).expect("bound");
    std::thread::spawn(move || {
        let mut round = 0;
        while round < rounds {
            let message = router.recv_multipart(0).expect("a message");
            let reply = if let [_, index, payload] = &message[..] {
                let id = ping::Ping::decode(&payload[..]).expect("a ping").correlation_id;
                let answer = pong_to(round, id);
                round += 1;
                answer.map(|correlation_id| {
                    let pong = ping::Pong { correlation_id, message: String::new() };
                    vec![index.clone(), pong.encode_to_vec()]
                })
            } else {
                let protocols = vec!["ping".to_owned()];
                let response = handshake::Response { protocols, ..Default::default() };
                Some(vec![response.encode_to_vec()])
            };
            if let Some(reply) = reply {
                let frames = std::iter::once(message[0].clone()).chain(reply);
                router.send_multipart(frames, 0).expect("sent");
            }
        }
    })
}

#[actix::test]
async fn late_pong_is_not_taken_for_a_fresh_one() {
    let mut rig = Rig::start();
    let folder = tempfile::tempdir().expect("folder");
    let socket = folder.path().join("s");
    let question = HealthQuestion::Ping { endpoint: format!("ipc://{}", socket.display()) };
    let backend = backend_by_hand(&socket, 3, |round, id| match round {
        0 => None,
        // the pong to the first ping comes when the second one is asked
        1 => Some(id - 1),
        _ => Some(id),
    });
    rig.silence(question.clone(), SHORT).await;
    rig.silence(question.clone(), SHORT).await;
    assert!(rig.is_alive(question).await);
    backend.join().expect("as played");
}

/// Listens on a socket and does `act` with the first connection.
fn hostile(act: fn(&mut UnixStream) -> std::io::Result<()>) -> (tempfile::TempDir, HealthQuestion) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).expect("bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        // writing fails when the prober has had enough; else wait until it has
        if act(&mut stream).is_ok() {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    (folder, HealthQuestion::Ping { endpoint: format!("ipc://{}", path.display()) })
}

/// Does its part of the connection up to the first message.
fn connected(stream: &mut UnixStream) -> std::io::Result<()> {
    stream.write_all(&zmtp::GREETING)?;
    stream.write_all(zmtp::READY)
}

#[actix::test]
async fn hostile_backends_are_found_out_and_harm_nobody() {
    type Act = fn(&mut UnixStream) -> std::io::Result<()>;
    let acts: [(&str, Act, &str); 6] = [
        ("closes", |s| s.shutdown(std::net::Shutdown::Both), "closed the connection"),
        ("speaks something else", |s| s.write_all(b"SSH-2.0-OpenSSH\r\n"), "does not speak ZeroMQ"),
        (
            "announces a huge frame",
            |s| {
                connected(s)?;
                s.write_all(&[2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
            },
            "more than",
        ),
        (
            "answers with garbage",
            |s| {
                connected(s)?;
                s.write_all(&zmtp::encode_message(&[&[0xff; 30]]))
            },
            "no handshake response",
        ),
        (
            "never ends a message",
            |s| {
                connected(s)?;
                loop {
                    s.write_all(&[1, 0])?;
                }
            },
            "more than",
        ),
        (
            "talks without end",
            |s| {
                connected(s)?;
                let chatter = zmtp::encode_message(&[&[0], &[0; 200]]);
                loop {
                    s.write_all(&chatter)?;
                }
            },
            "without an answer",
        ),
    ];
    let mut rig = Rig::start();
    let honest = Backend::start(FAKE, &[]);
    rig.ready(handshake_on(&honest)).await;
    for (what, act, expected) in acts {
        let (_folder, question) = hostile(act);
        rig.prober.forget(&key());
        let reason = rig.silence(question, LIMIT).await;
        assert!(reason.contains(expected), "{what}: {reason}");
    }
    rig.prober.forget(&key());
    assert!(rig.is_alive(ping_on(&honest)).await);
}

#[actix::test]
async fn forgetting_closes_the_connection_and_ends_the_wait() {
    let rig = Rig::start();
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).expect("bound");
    rig.await_ready(ReadySign::Handshake { endpoint: format!("ipc://{}", path.display()) });
    let (mut stream, _) = listener.accept().expect("connected");
    stream.set_read_timeout(Some(LIMIT)).expect("limit");
    let mut greeting = [0; zmtp::GREETING.len()];
    stream.read_exact(&mut greeting).expect("greeted in time");
    assert_eq!(greeting, zmtp::GREETING);
    rig.prober.forget(&key());
    assert_eq!(stream.read(&mut greeting).expect("closed in time"), 0);
}

#[actix::test]
async fn second_question_replaces_the_first() {
    let mut rig = Rig::start();
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    // takes connections by its backlog and never says a word
    let _listener = UnixListener::bind(&path).expect("bound");
    let question = HealthQuestion::Ping { endpoint: format!("ipc://{}", path.display()) };
    rig.check(question.clone(), Duration::from_millis(201));
    rig.check(question.clone(), Duration::from_millis(202));
    let reason = rig.next().await;
    assert_eq!(reason, Finding::Silent("no answer within 202ms".into()));
    rig.check(question, Duration::from_millis(203));
    let reason = rig.next().await;
    assert_eq!(reason, Finding::Silent("no answer within 203ms".into()), "the first never told");
}

#[actix::test]
async fn endpoint_that_can_never_work_is_told() {
    let mut rig = Rig::start();
    let too_long = format!("ipc:///tmp/{}", "x".repeat(200));
    for endpoint in ["carrier-pigeon://x", "ipc://", &too_long] {
        let sign = ReadySign::Handshake { endpoint: endpoint.to_owned() };
        assert!(matches!(rig.ready(sign).await, Finding::NeverReady(_)), "{endpoint}");
    }
    let sign = ReadySign::Http { port: 1, path: "no slash".into(), status: 200 };
    assert!(matches!(rig.ready(sign).await, Finding::NeverReady(_)));
}

#[actix::test]
async fn calls_after_the_end_are_harmless() {
    let mut rig = Rig::start();
    rig.prober.end();
    rig.check(HealthQuestion::Tcp { port: 1 }, SHORT);
    rig.prober.forget(&key());
    rig.prober.end();
    assert!(rig.reports.try_recv().is_err());
}

#[actix::test]
async fn a_crash_of_the_prober_loses_no_question() {
    let mut rig = Rig::start();
    let backend = Backend::start(FAKE, &["--load-time", "300ms"]);
    rig.await_ready(handshake_on(&backend));
    rig.prober.crash_for_test();
    assert_eq!(rig.next().await, ready(&["l4m", "ping"]));
    backend.signal(Signal::STOP);
    rig.check(ping_on(&backend), LIMIT);
    rig.prober.crash_for_test();
    backend.signal(Signal::CONT);
    assert!(matches!(rig.next().await, Finding::Alive { .. }));
    rig.prober.crash_for_test();
    assert!(rig.is_alive(ping_on(&backend)).await, "it goes on after it");
    // what was answered is not asked again
    assert!(rig.reports.try_recv().is_err());
}
