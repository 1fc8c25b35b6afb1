//! What a thousand watched backends cost the prober. Alone in its binary: it looks at its own process.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "support/backend.rs"]
mod backend;

use std::time::Duration;

use actix::{Actor, Context, Handler};
use backend::{Backend, FAKE, LIMIT};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use symphony::ids::{Generation, InstanceId, ModelName, ProcessKey};
use symphony::probe::local::LocalProber;
use symphony::probe::{Finding, HealthQuestion, ProbeReport, Prober, ReadySign};
use tokio::sync::mpsc;

const BACKENDS: usize = 1000;
const ROUNDS: usize = 20;
/// libzmq's DEALER took 33 KiB here at once, 101 KiB in the long run.
const MOST_BYTES_PER_BACKEND: usize = 8 * 1024;

struct Ear(mpsc::UnboundedSender<Finding>);

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<ProbeReport> for Ear {
    type Result = ();
    fn handle(&mut self, report: ProbeReport, _: &mut Self::Context) {
        let _ = self.0.send(report.finding);
    }
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// User and system time of all threads of this process, in steps of 10 ms (fields 14 and 15, in ticks of 1/100 s).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("stat");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}

fn key(n: usize) -> ProcessKey {
    let model = ModelName::try_new(format!("m{n}")).expect("valid");
    ProcessKey { instance: InstanceId::of_model(&model), generation: Generation(1) }
}

#[actix::test]
async fn thousand_watched_backends_fit_into_the_memory_of_the_service() {
    // a connection each, here and in the one process that plays all backends
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    raised.expect("the soft limit may be raised to the hard one");

    let backend = Backend::start(FAKE, &[]);
    let prober = LocalProber::start().expect("prober");
    let (sender, mut findings) = mpsc::unbounded_channel();
    let ear = Ear(sender).start().recipient();
    let mut next = async || {
        let finding = tokio::time::timeout(LIMIT, findings.recv()).await;
        finding.expect("a report in time").expect("the ear lives")
    };
    let endpoint = backend.endpoint();
    // the first makes sure that the backend is there
    prober.await_ready(key(0), ReadySign::Handshake { endpoint: endpoint.clone() }, ear.clone());
    next().await;
    let keys: Vec<ProcessKey> = (0..BACKENDS).map(key).collect();
    let memory = resident_bytes();
    for key in &keys {
        let sign = ReadySign::Handshake { endpoint: endpoint.clone() };
        prober.await_ready(key.clone(), sign, ear.clone());
    }
    for _ in &keys {
        assert!(matches!(next().await, Finding::Ready { .. }));
    }
    let began = cpu_time();
    for _ in 0..ROUNDS {
        for key in &keys {
            let question = HealthQuestion::Ping { endpoint: endpoint.clone() };
            prober.check(key.clone(), question, LIMIT, ear.clone());
        }
        for _ in &keys {
            let finding = next().await;
            assert!(matches!(finding, Finding::Alive { .. }), "{finding:?}");
        }
    }
    let per_ping = (cpu_time() - began) / u32::try_from(BACKENDS * ROUNDS).expect("fits");
    let per_backend = resident_bytes().saturating_sub(memory) / BACKENDS;
    println!("{per_backend} bytes resident per backend, {per_ping:?} CPU time per ping");
    prober.end();
    assert!(per_backend <= MOST_BYTES_PER_BACKEND, "{per_backend} bytes");
}
