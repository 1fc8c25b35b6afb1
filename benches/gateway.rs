//! What the gateway of a real service costs over a bare ZeroMQ socket, measured beside it in one run.
//!
//! `cargo bench --bench gateway [-- --quick]` prints a markdown table. The service runs as `symphony serve`, with one model
//! loaded on the embedded backend. The floors are processes, too: a blocking ROUTER that sends each message back, and one
//! that answers with as many bytes as a `status` has. Floor and service take turns in short rounds, because machines are noisy.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod support;

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use support::client::{Client, STATUS};
use support::figures::{median, microseconds, monotonic, since};
use support::processes;
use support::report::{Report, at_least, at_most, exactly};
use support::run::Run;
use support::service::{Service, endpoint, private_folder};

/// An empty protobuf message: which protocols are there?
const HANDSHAKE: &[u8] = b"";
const TRIPS_PER_ROUND: usize = 250;
const CLIENTS: usize = 16;
/// Requests that each client of the throughput measurement has under way.
const WINDOW: usize = 32;
/// After so many milliseconds without a reply none will come.
const QUIET_MS: i64 = 2000;
/// First argument of the processes that are a floor.
const FLOOR: &str = "floor";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == FLOOR) {
        answer_for_ever(&arguments[2], arguments.get(3).map(|bytes| bytes.parse().expect("bytes")));
    }
    match Run::asked_for() {
        Some(run) => measure(run),
        None => ExitCode::SUCCESS,
    }
}

fn measure(run: Run) -> ExitCode {
    let models = ["one".to_owned()];
    let service = Service::start(&models);
    service.client().load(&models);
    let reply_bytes = service.client().ask(STATUS).len();
    let folder = private_folder();
    let echo = Floor::start(folder.path(), "echo", None);
    let same_bytes = Floor::start(folder.path(), "same-bytes", Some(reply_bytes));
    let (cli, handshake) = (service.cli(), service.handshake());
    let asked = STATUS.len();

    let mut report = Report::begin("Gateway", run);
    let trips = |report: &mut Report, what, gateway: &str, request| {
        round_trip(report, run, what, (&echo.endpoint, gateway), request);
    };
    trips(&mut report, "`status` round trip, p50; floor: echo", &cli, STATUS);
    trips(&mut report, "handshake round trip, p50; floor: echo", &handshake, HANDSHAKE);
    let mut all_at_once = |what: String, floor: &Floor, gateway: &str, request| {
        throughput(&mut report, run, &what, (&floor.endpoint, gateway), request);
    };
    let what = format!("handshakes, {CLIENTS} clients; floor: echo");
    all_at_once(what, &echo, &handshake, HANDSHAKE);
    let what = format!("`status`, {CLIENTS} clients; floor: echo of the {asked} bytes asked");
    all_at_once(what, &echo, &cli, STATUS);
    let what =
        format!("`status`, {CLIENTS} clients; floor: answers of the same {reply_bytes} bytes");
    all_at_once(what, &same_bytes, &cli, STATUS);
    flood(&mut report, run, &service);
    flood_unread(&mut report, run, &service);
    let left = service.stop();
    report.judged("left behind after the stop", &left.len().to_string(), &exactly(left.len(), 0));
    report.end()
}

fn round_trip(
    report: &mut Report,
    run: Run,
    what: &str,
    (floor, gateway): (&str, &str),
    request: &[u8],
) {
    let (mut floor, mut gateway) = (Client::connect(floor), Client::connect(gateway));
    let (mut of_floor, mut of_gateway) = (Vec::new(), Vec::new());
    for round in 0..=run.pick(120, 10) {
        let floor = trips(&mut floor, request);
        let gateway = trips(&mut gateway, request);
        // the first round warms up
        if round > 0 {
            of_floor.extend(floor);
            of_gateway.extend(gateway);
        }
    }
    let (floor, gateway) = (median(of_floor), median(of_gateway));
    let ratio = gateway / floor;
    let (floor, gateway) = (format!("{floor:.1} µs"), format!("{gateway:.1} µs"));
    report.beside_floor(what, &floor, &gateway, ratio, Some(&at_most(ratio, 1.6, " × floor")));
}

/// Microseconds of single round trips, one after the other.
fn trips(client: &mut Client, request: &[u8]) -> Vec<f64> {
    let trip = |_| {
        let sent = monotonic();
        client.ask(request);
        microseconds(since(sent))
    };
    (0..TRIPS_PER_ROUND).map(trip).collect()
}

fn throughput(
    report: &mut Report,
    run: Run,
    what: &str,
    (floor, gateway): (&str, &str),
    request: &[u8],
) {
    let requests = run.pick(4_000, 500);
    let (mut floors, mut gateways) = (Vec::new(), Vec::new());
    for round in 0..=run.pick(7, 2) {
        let of_floor = messages_per_second(floor, request, requests);
        let of_gateway = messages_per_second(gateway, request, requests);
        if round > 0 {
            floors.push(of_floor);
            gateways.push(of_gateway);
        }
    }
    let (floor, gateway) = (median(floors), median(gateways));
    let ratio = gateway / floor;
    let (floor, gateway) = (format!("{:.0} k/s", floor / 1e3), format!("{:.0} k/s", gateway / 1e3));
    report.beside_floor(what, &floor, &gateway, ratio, Some(&at_least(ratio, 0.5, " × floor")));
}

fn messages_per_second(endpoint: &str, request: &[u8], requests: usize) -> f64 {
    let began = monotonic();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(endpoint);
                for _ in 0..WINDOW {
                    client.send(request);
                }
                for received in 1..=requests {
                    client.receive();
                    if received + WINDOW <= requests {
                        client.send(request);
                    }
                }
            });
        }
    });
    (CLIENTS * requests) as f64 / since(began).as_secs_f64()
}

/// A client that sends without a pause and reads what comes.
fn flood(report: &mut Report, run: Run, service: &Service) {
    let count = run.pick(400_000, 20_000);
    let mut client = service.client();
    let mut growth = Growth::of(service.pid());
    let mut received = 0;
    for sent in 0..count {
        client.send(STATUS);
        growth.look(sent);
        while client.drop_reply() {
            received += 1;
        }
    }
    // who asks faster than it reads has a bounded backlog, out of which the oldest replies fall
    while received < count && client.socket.poll(zmq::POLLIN, QUIET_MS).expect("polled") > 0 {
        client.receive();
        received += 1;
    }
    let what = "more memory in a flood by a client that reads what lies ready";
    growth.tell(report, &format!("{what}, {count} `status`"));
    report
        .told("of them answered; the rest fell out of its bounded backlog", &received.to_string());
}

/// A client that sends without a pause and never reads.
fn flood_unread(report: &mut Report, run: Run, service: &Service) {
    let count = run.pick(400_000, 20_000);
    let client = service.client();
    let mut growth = Growth::of(service.pid());
    for sent in 0..count {
        client.send(STATUS);
        growth.look(sent);
    }
    // whoever asks after the flood is answered after it
    service.client().ask(STATUS);
    growth.tell(
        report,
        &format!("more memory in a flood of {count} `status` by a client that reads none"),
    );
}

/// How much a process grew at most.
struct Growth {
    pid: u32,
    before: f64,
    most: f64,
}

impl Growth {
    fn of(pid: u32) -> Self {
        let before = processes::memory(pid).now;
        Self { pid, before, most: before }
    }

    fn look(&mut self, sent: usize) {
        if sent.is_multiple_of(1000) {
            self.most = self.most.max(processes::memory(self.pid).now);
        }
    }

    fn tell(mut self, report: &mut Report, what: &str) {
        self.look(0);
        let grown = self.most - self.before;
        report.judged(what, &format!("{grown:.1} MiB"), &at_most(grown, 32.0, " MiB"));
    }
}

/// A process that answers every message, with nothing around it.
struct Floor {
    endpoint: String,
    process: Child,
}

impl Floor {
    /// Sends each message back, or as many bytes as it is told.
    fn start(folder: &Path, name: &str, answer: Option<usize>) -> Self {
        let endpoint = endpoint(folder, name);
        let process = Command::new(std::env::current_exe().expect("a program"))
            .args([FLOOR, &endpoint])
            .args(answer.map(|bytes| bytes.to_string()))
            .stdin(Stdio::null())
            .spawn()
            .expect("started");
        Client::connect(&endpoint).ask(b"there?");
        Self { endpoint, process }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process of a [`Floor`].
fn answer_for_ever(endpoint: &str, answer: Option<usize>) -> ! {
    let router = zmq::Context::new().socket(zmq::ROUTER).expect("socket");
    router.bind(endpoint).expect("bound");
    let answer = answer.map(|bytes| vec![b'x'; bytes]);
    let (mut identity, mut payload) = (zmq::Message::new(), zmq::Message::new());
    loop {
        router.recv(&mut identity, 0).expect("identity");
        router.recv(&mut payload, 0).expect("payload");
        router.send(&*identity, zmq::SNDMORE).expect("sent");
        router.send(answer.as_deref().unwrap_or(&payload), 0).expect("sent");
    }
}
