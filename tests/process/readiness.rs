//! Every way a backend can say that it is ready.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::service::{Model, Service, fake, program};

const LOAD: [&str; 2] = ["--load-time", "500ms"];
/// Half of that: events carry the time at which they are written down.
const LOAD_MS_LEAST: f64 = 250.0;

fn with_load(flags: &[&str]) -> Vec<String> {
    LOAD.iter().chain(flags).map(|&flag| flag.to_owned()).collect()
}

/// A backend that is ready by `ready` and serves its ZeroMQ endpoint.
fn zmq(name: &str, ready: Value, flags: &[&str]) -> Model {
    let flags = with_load(flags);
    fake(name, &flags.iter().map(String::as_str).collect::<Vec<_>>()).with("ready", ready)
}

/// A backend that has a port alone.
fn http(name: &str, ready: Value, flags: &[&str]) -> Model {
    let flags = with_load(flags);
    let mut command = vec![crate::backend::FAKE];
    command.extend(flags.iter().map(String::as_str));
    program(name, &command).with("kind", json!("http")).with("ready", ready)
}

#[test]
fn each_kind_of_readiness_is_seen_when_it_comes_and_not_before() {
    let models = [
        zmq("handshake", json!("handshake"), &[]),
        zmq("fd", json!({ "fd": 3 }), &["--ready-fd", "3"]),
        zmq("fd-7", json!({ "fd": 7 }), &["--ready-fd", "7"]),
        zmq("notify", json!("notify"), &["--notify"]),
        zmq("delay", json!({ "delay": "500ms" }), &[]).unwatched(),
        http("http", json!("http"), &["--http", "{port}"]),
        http("http-path", json!({ "http": "/up", "status": 200 }), &["--http", "{port}"]),
        http("tcp", json!("tcp"), &["--tcp", "{port}"]),
    ];
    let names = ["handshake", "fd", "fd-7", "notify", "delay", "http", "http-path", "tcp"];
    let service = Service::start(&models);
    for name in names {
        let row = service.load(name);
        let (scheme, rest) = row.endpoint().split_once("://").expect("a scheme");
        let expected = if name.contains("tcp") || name.contains("http") { "http" } else { "ipc" };
        assert_eq!(scheme, expected, "{name}: {rest}");
        let events = service.events(name);
        assert_eq!(service.kinds(name), ["starting", "ready"], "{name}");
        let took = events[1].at_ms() - events[0].at_ms();
        assert!(took >= LOAD_MS_LEAST, "{name}: ready after {took} ms, while it still loads");
    }
    // each of them is as ready again after its death
    let before = names.map(|name| service.row(name));
    before.iter().for_each(|row| row.signal(rustix::process::Signal::KILL));
    for row in &before {
        assert_eq!(service.wait_for_successor(row).endpoint(), row.endpoint());
    }
    service.stop();
}

#[test]
fn progress_of_a_loading_backend_is_shown() {
    let flags = ["--load-time", "1h", "--notify"];
    let service = Service::start(&[fake("a", &flags).with("ready", json!("notify"))]);
    let _load = service.order_load("a");
    let row = service.wait_for("a", "its progress", |row| {
        row.0["progress"].as_str().is_some_and(|text| text.starts_with("loading: step "))
    });
    assert_eq!(row.state(), "starting");
    service.stop();
}

#[test]
fn what_can_never_become_ready_is_told_at_once() {
    // it closes the descriptor on which it was to say that it is ready
    let closes = ["sh", "-c", "exec 3>&-; echo closed; exec sleep 600"];
    let model = program("a", &closes)
        .with("ready", json!({ "fd": 3 }))
        .with("restart", json!({ "max_consecutive_failures": 0 }));
    let service = Service::start(&[model.unwatched()]);
    let error = service.fails_to_load("a");
    assert!(error.contains("never ready: "), "{error}");
    assert!(error.contains("closed"), "with its output: {error}");
    assert_eq!(service.row("a").state(), "parked");
    service.stop();
}

#[test]
fn one_that_is_never_ready_is_restarted_and_given_up() {
    let restart =
        json!({ "max_consecutive_failures": 1, "backoff_min": "10ms", "backoff_max": "10ms" });
    let start = json!({ "stall_timeout": "1s", "total_timeout": "1s" });
    // it serves no socket at all
    let model = program("a", &[crate::backend::FAKE]).with("start", start);
    let service = Service::start(&[model.with("restart", restart)]);
    let error = service.fails_to_load("a");
    assert!(error.contains("2 failures in a row"), "{error}");
    let kinds = service.kinds("a");
    let start = ["starting", "stopping", "exited"];
    assert_eq!(kinds, [&start[..], &start, &["parked"]].concat());
    service.stop();
}

#[test]
fn a_wrong_ready_path_is_told_and_ends_as_a_stall() {
    // it logs every question: that is not progress
    let flags = ["--load-time", "0s", "--http", "{port}", "--http-fail", "not-found"];
    let mut command = vec![crate::backend::FAKE];
    command.extend(flags);
    let model = program("a", &command)
        .with("kind", json!("http"))
        .with("ready", json!({ "http": "/helth" }))
        .with("start", json!({ "stall_timeout": "3s", "total_timeout": "1h" }))
        .with("restart", json!({ "max_consecutive_failures": 0 }));
    let service = Service::start(&[model]);
    let load = service.order_load("a");
    let told = "GET /helth answered 404, waiting for 200";
    let row = service.wait_for("a", "told what is wrong", |row| row.0["progress"] == told);
    assert_eq!(row.state(), "starting");
    let error = load.outcome().expect_err("it never becomes ready");
    assert!(error.contains(&format!("no progress for 3s, {told}")), "{error}");
    assert!(error.contains("GET 404 Not Found"), "with its output: {error}");
    assert_eq!(service.row("a").state(), "parked");
    service.stop();
}

#[test]
fn a_port_that_another_program_took_is_named_and_not_called_ready() {
    let model = http("taken", json!("tcp"), &["--tcp", "{port}"])
        .with("restart", json!({ "backoff_min": "3s", "backoff_max": "3s" }));
    let service = Service::start(&[model]);
    let first = service.load("taken");
    first.signal(Signal::KILL);
    // the first restart is immediate, the next one rests
    service.wait_for_successor(&first).signal(Signal::KILL);
    service.wait_for_state("taken", "backoff");
    let port = first.endpoint().rsplit(':').next().expect("a port").trim_end_matches('/');
    let listener = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let wanted = format!("port {port} is taken by another program");
    let row = service.wait_for("taken", "the reason", |row| row.reason().contains(&wanted));
    assert_eq!(row.state(), "backoff");
    drop(listener);
    assert_eq!(service.wait_for_state("taken", "ready").endpoint(), first.endpoint());
    service.stop();
}
