//! What the death of the service costs: how soon it answers again, how long it takes to adopt its backends, and what the
//! processes beside it weigh.
//!
//! `cargo bench --bench survival [-- --quick]` prints a markdown table. The service runs as `symphony start-service`; its core
//! is killed with SIGKILL again and again, and asked by a new client each time, as the command line does it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod support;

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use support::client::{Client, STATUS};
use support::figures::{milliseconds, monotonic, percentile, since};
use support::processes;
use support::report::{Report, at_most, exactly};
use support::run::Run;
use support::service::Service;

/// How long anything may take before the benchmark fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a socket that nobody listens on.
const LOOK: Duration = Duration::from_micros(500);

fn main() -> ExitCode {
    match Run::asked_for() {
        Some(run) => measure(run),
        None => ExitCode::SUCCESS,
    }
}

fn measure(run: Run) -> ExitCode {
    let mut report = Report::begin("Survival of the service", run);
    for count in [1, run.pick(100, 10), run.pick(1000, 60)] {
        kills(&mut report, run, count);
    }
    report.end()
}

/// A service with so many backends whose core is killed.
fn kills(report: &mut Report, run: Run, count: usize) {
    let models: Vec<String> = (0..count).map(|n| format!("model-{n}")).collect();
    let service = Service::start_by("start-service", &models, |settings| {
        settings["service"]["heart"] = json!({ "restarts": 1000, "period": "10m" });
    });
    let mut client = service.client();
    client.load(&models);
    let before = backends(&status(&mut client));
    assert_eq!(before.len(), count, "all are ready");
    let rounds = if count == 1 { run.pick(50, 5) } else { run.pick(10, 2) };
    let (mut answered, mut kept, mut adopted) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let core = core(&status(&mut client));
        let killed = monotonic();
        processes::kill(core);
        let mut fresh = answers_again(&service, core);
        answered.push(milliseconds(since(killed)));
        while backends(&status(&mut fresh)) != before {
            assert!(since(killed) < PATIENCE, "the backends are not adopted");
        }
        adopted.push(milliseconds(since(killed)));
        // a client that kept its socket comes back by itself, when libzmq gets to it
        while !asked_again(&mut client, Duration::from_millis(20)) {
            assert!(since(killed) < PATIENCE, "the client is never answered");
        }
        kept.push(milliseconds(since(killed)));
    }
    let p = |spans: &[f64], percent| percentile(spans.iter().copied(), percent);
    let backends = if count == 1 { "1 backend".to_owned() } else { format!("{count} backends") };
    let row = |report: &mut Report, what: &str, spans: &[f64], limits: [Option<f64>; 2]| {
        for (percent, limit) in [50.0, 100.0].into_iter().zip(limits) {
            let figure = p(spans, percent);
            let name = if percent == 50.0 { "p50" } else { "longest" };
            let what = format!("{backends}: {what}, {name} of {rounds}");
            match limit {
                Some(limit) => {
                    report.judged(
                        &what,
                        &format!("{figure:.1} ms"),
                        &at_most(figure, limit, " ms"),
                    );
                }
                None => report.told(&what, &format!("{figure:.1} ms")),
            }
        }
    };
    let quick = (count == 1).then_some(150.0);
    row(report, "SIGKILL of the core → a new client's `status`", &answered, [quick, Some(1000.0)]);
    row(report, "SIGKILL of the core → all adopted", &adopted, [None, Some(1000.0)]);
    row(report, "SIGKILL of the core → a client that kept its socket", &kept, [None, None]);
    let heart = processes::memory(service.pid());
    report.judged(
        &format!("{backends}: resident memory of the heart, highest"),
        &format!("{:.1} MiB", heart.highest),
        &at_most(heart.highest, 5.0, " MiB"),
    );
    if let Some(guard) = guard(service.pid()) {
        let memory = processes::memory(guard).highest;
        report.told(
            &format!("{backends}: resident memory of the guard"),
            &format!("{memory:.1} MiB"),
        );
    }
    let left = service.stop();
    report.judged(
        &format!("{backends}: left behind after the stop"),
        &left.len().to_string(),
        &exactly(left.len(), 0),
    );
}

/// The first answer of a core that is not this one, and the client that got it.
fn answers_again(service: &Service, gone: u32) -> Client {
    let endpoint = service.cli();
    let path = endpoint.strip_prefix("ipc://").expect("a path");
    let began = monotonic();
    loop {
        assert!(since(began) < PATIENCE, "the service is never back");
        if UnixStream::connect(path).is_err() {
            std::thread::park_timeout(LOOK);
            continue;
        }
        let mut client = service.client();
        if core(&status(&mut client)) != gone {
            return client;
        }
    }
}

/// Whether an answer came in time; answers to questions before it count, too.
fn asked_again(client: &mut Client, patience: Duration) -> bool {
    client.send(STATUS);
    let patience = i64::try_from(patience.as_millis()).expect("fits");
    if client.socket.poll(zmq::POLLIN, patience).expect("polled") == 0 {
        return false;
    }
    while client.drop_reply() {}
    true
}

fn status(client: &mut Client) -> Value {
    let reply: Value = serde_json::from_slice(client.ask(STATUS)).expect("a status");
    reply["data"].clone()
}

fn core(status: &Value) -> u32 {
    status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid")
}

/// The processes of all models that are ready.
fn backends(status: &Value) -> HashMap<String, u64> {
    let models = status["models"].as_array().expect("models").iter();
    let ready = models.filter(|model| model["state"] == "ready");
    let of = |model: &Value| {
        let name = model["name"].as_str().expect("a name").to_owned();
        (name, model["pid"].as_u64().expect("a pid"))
    };
    ready.map(of).collect()
}

/// The guard among a heart's children.
fn guard(heart: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{heart}/task/{heart}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == b"guard")
    })
}
