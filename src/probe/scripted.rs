//! A prober that does what a test says and keeps what it was asked.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Recipient;

use super::{Finding, HealthQuestion, ProbeReport, Prober, ReadySign};
use crate::ids::ProcessKey;

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// [`Prober::await_ready`]; with the name of the sign.
    AwaitReady(ProcessKey, &'static str),
    /// [`Prober::check`].
    Check(ProcessKey, HealthQuestion, Duration),
    /// [`Prober::redirect`].
    Redirect(ProcessKey),
    /// [`Prober::forget`].
    Forget(ProcessKey),
    /// [`Prober::end`].
    End,
}

/// A fake [`Prober`]: no thread, no socket, no time. By default everything is ready at once, with the protocols
/// `l4m` and `ping`, and alive whenever it is asked; [`ScriptedProber::by_hand`] answers only what the test says.
///
/// Several threads may hold it, so its state lies behind a lock, as it does in no real part of the tree.
#[derive(Default)]
pub struct ScriptedProber {
    state: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    by_hand: bool,
    calls: Vec<Call>,
    /// What the next questions of a process find, first in first out; then the default.
    planned: HashMap<ProcessKey, Vec<Finding>>,
    waiting: HashMap<ProcessKey, Recipient<ProbeReport>>,
    asking: HashMap<ProcessKey, Recipient<ProbeReport>>,
}

impl ScriptedProber {
    /// A fake that answers nothing by itself.
    pub fn by_hand() -> Self {
        let script = Script { by_hand: true, ..Script::default() };
        Self { state: Mutex::new(script) }
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.script().calls.clone()
    }

    /// How often this process was asked for a sign of life.
    pub fn checks(&self, key: &ProcessKey) -> usize {
        let script = self.script();
        script.calls.iter().filter(|call| matches!(call, Call::Check(of, ..) if of == key)).count()
    }

    /// The next question to this process finds this (instead of `Alive`).
    pub fn plan(&self, key: &ProcessKey, finding: Finding) {
        self.script().planned.entry(key.clone()).or_default().push(finding);
    }

    /// Tells a finding to whoever waits for the readiness of this process, or asked for its health.
    /// Answers whether there was somebody.
    pub fn answer(&self, key: &ProcessKey, finding: Finding) -> bool {
        let mut script = self.script();
        let recipient = match &finding {
            Finding::Alive { .. } | Finding::Silent(_) => script.asking.remove(key),
            Finding::Progress(_) | Finding::WrongAnswer(_) => script.waiting.get(key).cloned(),
            Finding::Ready { .. } | Finding::NeverReady(_) => script.waiting.remove(key),
        };
        drop(script);
        let told = recipient.is_some();
        if let Some(recipient) = recipient {
            recipient.do_send(ProbeReport { key: key.clone(), finding });
        }
        told
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        // a test that panicked while it held the lock has failed already
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prober for ScriptedProber {
    fn await_ready(&self, key: ProcessKey, sign: ReadySign, answer: Recipient<ProbeReport>) {
        let mut script = self.script();
        script.calls.push(Call::AwaitReady(key.clone(), sign_name(&sign)));
        script.waiting.insert(key.clone(), answer);
        let by_hand = script.by_hand;
        drop(script);
        if !by_hand {
            let protocols = vec!["l4m".to_owned(), "ping".to_owned()];
            self.answer(&key, Finding::Ready { protocols });
        }
    }

    fn check(
        &self,
        key: ProcessKey,
        question: HealthQuestion,
        timeout: Duration,
        answer: Recipient<ProbeReport>,
    ) {
        let mut script = self.script();
        script.calls.push(Call::Check(key.clone(), question, timeout));
        script.asking.insert(key.clone(), answer);
        let planned = script.planned.get_mut(&key).filter(|findings| !findings.is_empty());
        let planned = planned.map(|findings| findings.remove(0));
        let by_default = (!script.by_hand).then_some(Finding::Alive { round_trip: Duration::ZERO });
        drop(script);
        if let Some(finding) = planned.or(by_default) {
            self.answer(&key, finding);
        }
    }

    fn redirect(&self, key: &ProcessKey, answer: Recipient<ProbeReport>) {
        let mut script = self.script();
        script.calls.push(Call::Redirect(key.clone()));
        script.waiting.insert(key.clone(), answer);
    }

    fn forget(&self, key: &ProcessKey) {
        let mut script = self.script();
        script.calls.push(Call::Forget(key.clone()));
        script.waiting.remove(key);
        script.asking.remove(key);
        script.planned.remove(key);
    }

    fn end(&self) {
        self.script().calls.push(Call::End);
    }
}

fn sign_name(sign: &ReadySign) -> &'static str {
    match sign {
        ReadySign::Handshake { .. } => "handshake",
        ReadySign::Http { .. } => "http",
        ReadySign::Tcp { .. } => "tcp",
        ReadySign::Pipe(_) => "pipe",
        ReadySign::Notify(_) => "notify",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Generation, InstanceId, ModelName};
    use actix::{Actor, Context, Handler};
    use tokio::sync::mpsc;

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

    fn key() -> ProcessKey {
        let model = ModelName::try_new("m").expect("valid");
        ProcessKey { instance: InstanceId::of_model(&model), generation: Generation(1) }
    }

    const QUESTION: HealthQuestion = HealthQuestion::Tcp { port: 1 };

    #[actix::test]
    async fn by_default_all_is_well_and_plans_come_first() {
        let (sender, mut findings) = mpsc::unbounded_channel();
        let ear = Ear(sender).start().recipient();
        let prober = ScriptedProber::default();
        prober.await_ready(key(), ReadySign::Tcp { port: 1 }, ear.clone());
        let protocols = vec!["l4m".to_owned(), "ping".to_owned()];
        assert_eq!(findings.recv().await, Some(Finding::Ready { protocols }));
        prober.plan(&key(), Finding::Silent("planned".into()));
        for expected in
            [Finding::Silent("planned".into()), Finding::Alive { round_trip: Duration::ZERO }]
        {
            prober.check(key(), QUESTION, Duration::ZERO, ear.clone());
            assert_eq!(findings.recv().await, Some(expected));
        }
        assert_eq!(prober.checks(&key()), 2);
    }

    #[actix::test]
    async fn by_hand_nothing_is_told_but_what_the_test_says() {
        let (sender, mut findings) = mpsc::unbounded_channel();
        let ear = Ear(sender).start().recipient();
        let prober = ScriptedProber::by_hand();
        assert!(!prober.answer(&key(), Finding::Progress("early".into())), "nobody waits");
        prober.await_ready(key(), ReadySign::Tcp { port: 1 }, ear.clone());
        prober.check(key(), QUESTION, Duration::ZERO, ear);
        assert!(prober.answer(&key(), Finding::Progress("half".into())));
        assert!(prober.answer(&key(), Finding::Silent("hand".into())));
        assert_eq!(findings.recv().await, Some(Finding::Progress("half".into())));
        assert_eq!(findings.recv().await, Some(Finding::Silent("hand".into())));
        prober.forget(&key());
        assert!(!prober.answer(&key(), Finding::NeverReady("late".into())), "forgotten");
        let expected = [
            Call::AwaitReady(key(), "tcp"),
            Call::Check(key(), QUESTION, Duration::ZERO),
            Call::Forget(key()),
        ];
        assert_eq!(prober.calls(), expected);
    }
}
