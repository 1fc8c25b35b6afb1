//! A prober with an ear for its reports.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::expect_used, reason = "tests only")]

use std::time::Duration;

use actix::{Actor, Context, Handler, Recipient};
use symphony::ids::{Generation, InstanceId, ModelName, ProcessKey};
use symphony::probe::local::LocalProber;
use symphony::probe::{Finding, HealthQuestion, ProbeReport, Prober, ReadySign};
use tokio::sync::mpsc;

use crate::backend::LIMIT;

/// Long enough to be a silence, short enough to wait for.
pub const SHORT: Duration = Duration::from_millis(200);

/// Passes reports on to a test.
struct Ear(mpsc::UnboundedSender<ProbeReport>);

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<ProbeReport> for Ear {
    type Result = ();
    fn handle(&mut self, report: ProbeReport, _: &mut Self::Context) {
        let _ = self.0.send(report);
    }
}

/// A prober, and what it reports about one process.
pub struct Rig {
    pub prober: LocalProber,
    answer: Recipient<ProbeReport>,
    pub reports: mpsc::UnboundedReceiver<ProbeReport>,
}

impl Rig {
    pub fn start() -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let prober = LocalProber::start().expect("prober");
        Self { prober, answer: Ear(sender).start().recipient(), reports }
    }

    pub fn await_ready(&self, sign: ReadySign) {
        self.prober.await_ready(key(), sign, self.answer.clone());
    }

    pub fn check(&self, question: HealthQuestion, timeout: Duration) {
        self.prober.check(key(), question, timeout, self.answer.clone());
    }

    pub async fn next(&mut self) -> Finding {
        let report = tokio::time::timeout(LIMIT, self.reports.recv()).await;
        let report = report.expect("a report in time").expect("the ear lives");
        assert_eq!(report.key, key());
        report.finding
    }

    pub async fn ready(&mut self, sign: ReadySign) -> Finding {
        self.await_ready(sign);
        self.next().await
    }

    pub async fn answer_to(&mut self, question: HealthQuestion, timeout: Duration) -> Finding {
        self.check(question, timeout);
        self.next().await
    }

    /// Asked in a way that only a real silence is one.
    pub async fn is_alive(&mut self, question: HealthQuestion) -> bool {
        match self.answer_to(question, LIMIT).await {
            Finding::Alive { .. } => true,
            Finding::Silent(_) => false,
            other => panic!("no answer to a health question: {other:?}"),
        }
    }

    pub async fn silence(&mut self, question: HealthQuestion, timeout: Duration) -> String {
        match self.answer_to(question, timeout).await {
            Finding::Silent(reason) => reason,
            other => panic!("not silent but {other:?}"),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.prober.end();
    }
}

/// The one process.
pub fn key() -> ProcessKey {
    let model = ModelName::try_new("m").expect("valid");
    ProcessKey { instance: InstanceId::of_model(&model), generation: Generation(1) }
}

/// Ready, with these protocols.
pub fn ready(protocols: &[&str]) -> Finding {
    Finding::Ready { protocols: protocols.iter().map(|&name| name.to_owned()).collect() }
}
