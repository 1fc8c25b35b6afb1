//! A thousand instances under one service: memory, `status`, idle CPU time, and a storm of two hundred kills.
//!
//! `cargo bench --bench scale [-- --quick]` prints a markdown table. The service runs as `symphony serve`; each instance is the
//! embedded backend in a process of its own, watched by a ping every 5 s (the default). All figures are of the service's
//! own process.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod support;

use std::collections::{HashMap, HashSet};
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use support::client::{Client, STATUS};
use support::figures::{milliseconds, monotonic, percentile, since};
use support::processes;
use support::report::{Report, at_most, exactly};
use support::run::Run;
use support::service::Service;

/// Each one takes so many instances that were not killed before: every restart is the first of its instance.
const STORMS: usize = 3;
/// How long all may take to come back.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is read of a `status`.
#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    data: Status<'a>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow)]
    models: Vec<Model<'a>>,
}

#[derive(Deserialize)]
struct Model<'a> {
    name: &'a str,
    state: &'a str,
    pid: Option<u32>,
}

fn main() -> ExitCode {
    match Run::asked_for() {
        Some(run) => measure(run),
        None => ExitCode::SUCCESS,
    }
}

fn measure(run: Run) -> ExitCode {
    let count = run.pick(1000, 60);
    let models: Vec<String> = (0..count).map(|n| format!("model-{n}")).collect();
    let service = Service::start(&models);
    let empty = processes::memory(service.pid()).now;
    let mut client = service.client();
    let began = monotonic();
    client.load(&models);
    let took = since(began).as_secs_f64();
    let pids = ready_pids(client.ask(STATUS));

    let mut report = Report::begin(&format!("Scale: {count} instances"), run);
    report.judged("instances ready", &pids.len().to_string(), &exactly(pids.len(), count));
    report.told("start of all, until each was ready", &format!("{took:.1} s"));
    status_of_all(&mut report, run, &mut client);
    idle(&mut report, run, service.pid());
    storms(&mut report, run, &mut client, &pids);
    // asked for last: its highest is that of the whole run
    let memory = processes::memory(service.pid());
    let figure = format!("{:.1} MiB ({empty:.1} MiB without instances)", memory.highest);
    report.judged(
        "resident memory, highest of the run",
        &figure,
        &at_most(memory.highest, 96.0, " MiB"),
    );
    let began = monotonic();
    let left = service.stop();
    report.told("stop of all", &format!("{:.1} s", since(began).as_secs_f64()));
    report.judged("left behind after the stop", &left.len().to_string(), &exactly(left.len(), 0));
    report.end()
}

fn status_of_all(report: &mut Report, run: Run, client: &mut Client) {
    let mut bytes = 0;
    let spans: Vec<f64> = (0..run.pick(500, 50))
        .map(|_| {
            let asked = monotonic();
            bytes = client.ask(STATUS).len();
            milliseconds(since(asked))
        })
        .collect();
    let p50 = percentile(spans.iter().copied(), 50.0);
    let p99 = percentile(spans, 99.0);
    report.judged("`status` of all, p50", &format!("{p50:.2} ms"), &at_most(p50, 5.0, " ms"));
    report.told("`status` of all, p99", &format!("{p99:.2} ms"));
    report.told("bytes of its answer", &bytes.to_string());
}

fn idle(report: &mut Report, run: Run, pid: u32) {
    let span = Duration::from_secs(run.pick(10, 2) as u64);
    let before = processes::cpu_time(pid);
    let began = monotonic();
    while since(began) < span {
        std::thread::park_timeout(span.saturating_sub(since(began)));
    }
    let used = processes::cpu_time(pid).saturating_sub(before);
    let share = 100.0 * used.as_secs_f64() / since(began).as_secs_f64();
    let what = format!("CPU time of the idle service over {} s", span.as_secs());
    report.judged(&what, &format!("{share:.1} %"), &at_most(share, 3.0, " % of a core"));
}

fn storms(report: &mut Report, run: Run, client: &mut Client, pids: &HashMap<String, u32>) {
    let killed = run.pick(200, 12);
    let mut pids: Vec<(&String, u32)> = pids.iter().map(|(name, pid)| (name, *pid)).collect();
    pids.sort();
    let (mut spans, mut back) = (Vec::new(), Vec::new());
    for victims in pids.chunks(killed).take(STORMS) {
        back.push(storm(client, pids.len(), victims, &mut spans).as_secs_f64());
    }
    let took = percentile(back.iter().copied(), 50.0);
    report.told(
        &format!("{killed} killed at once: all back, median of {STORMS} storms"),
        &format!("{took:.2} s"),
    );
    let asked = spans.len();
    let p50 = percentile(spans.iter().copied(), 50.0);
    let p99 = percentile(spans.iter().copied(), 99.0);
    report.told(&format!("`status` during the storms, p50 of {asked}"), &format!("{p50:.1} ms"));
    report.judged(
        "`status` during the storms, p99",
        &format!("{p99:.1} ms"),
        &at_most(p99, 25.0, " ms"),
    );
}

/// Kills these at once, and asks, reads and asks again until all are back; how long that took.
fn storm(
    client: &mut Client,
    count: usize,
    victims: &[(&String, u32)],
    spans: &mut Vec<f64>,
) -> Duration {
    let gone: HashSet<u32> = victims.iter().map(|(_, pid)| *pid).collect();
    let began = monotonic();
    victims.iter().for_each(|(_, pid)| processes::kill(*pid));
    loop {
        let asked = monotonic();
        let reply = client.ask(STATUS);
        spans.push(milliseconds(since(asked)));
        let ready = ready_pids(reply);
        if ready.len() == count && ready.values().all(|pid| !gone.contains(pid)) {
            return since(began);
        }
        assert!(since(began) < PATIENCE, "only {} of {count} came back", ready.len());
    }
}

/// The processes of all models that are ready.
fn ready_pids(reply: &[u8]) -> HashMap<String, u32> {
    let reply: Reply<'_> = serde_json::from_slice(reply).expect("a status");
    let ready = reply.data.models.into_iter().filter(|model| model.state == "ready");
    ready.map(|model| (model.name.to_owned(), model.pid.expect("a process"))).collect()
}
