//! What a prober was asked and has not answered: plain data, which outlives a crash of the tasks that find it out.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix::Recipient;

use super::{HealthQuestion, ProbeReport, ReadySign};

/// What was asked about one process.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) wait: Option<Rc<Wait>>,
    pub(super) question: Option<Rc<Question>>,
}

/// A wait for readiness. It stays after its verdict, for who comes after the one who waited.
pub(super) struct Wait {
    /// A second hold on the sign, for a second beginning; nothing once there is a verdict.
    sign: RefCell<Option<ReadySign>>,
    pub(super) listener: Listener,
}

impl Wait {
    pub(super) fn new(sign: ReadySign, to: Recipient<ProbeReport>) -> Self {
        Self { sign: RefCell::new(Some(sign)), listener: Listener::new(to) }
    }

    /// The sign to wait for; nothing where the wait is over, or can be begun once only (no descriptor was left).
    pub(super) fn begin(&self) -> Option<ReadySign> {
        let sign = self.sign.take()?;
        self.sign.replace(second_hold(&sign).ok());
        Some(sign)
    }

    pub(super) fn is_over(&self) {
        self.sign.take();
    }
}

fn second_hold(sign: &ReadySign) -> io::Result<ReadySign> {
    Ok(match sign {
        ReadySign::Handshake { endpoint } => ReadySign::Handshake { endpoint: endpoint.clone() },
        ReadySign::Http { port, path, status } => {
            ReadySign::Http { port: *port, path: path.clone(), status: *status }
        }
        ReadySign::Tcp { port } => ReadySign::Tcp { port: *port },
        ReadySign::Pipe(pipe) => ReadySign::Pipe(pipe.try_clone()?),
        ReadySign::Notify(socket) => ReadySign::Notify(socket.try_clone()?),
    })
}

/// A question for a sign of life.
pub(super) struct Question {
    pub(super) question: HealthQuestion,
    pub(super) limit: Duration,
    /// Taken by the answer.
    answer: RefCell<Option<Recipient<ProbeReport>>>,
}

impl Question {
    pub(super) fn new(
        question: HealthQuestion,
        limit: Duration,
        answer: Recipient<ProbeReport>,
    ) -> Self {
        Self { question, limit, answer: RefCell::new(Some(answer)) }
    }

    pub(super) fn is_open(&self) -> bool {
        self.answer.borrow().is_some()
    }

    pub(super) fn answer(&self, report: ProbeReport) {
        if let Some(answer) = self.answer.take() {
            answer.do_send(report);
        }
    }
}

/// Who is told what comes of a wait. It may be replaced; what its predecessor did not take is told again.
pub(super) struct Listener {
    to: RefCell<Recipient<ProbeReport>>,
    untold: RefCell<Option<ProbeReport>>,
}

impl Listener {
    fn new(to: Recipient<ProbeReport>) -> Self {
        Self { to: RefCell::new(to), untold: RefCell::new(None) }
    }

    pub(super) fn hear(&self, report: ProbeReport) {
        let to = self.to.borrow();
        // kept also when it was sent: an actor may fail before it reads its mailbox
        self.untold.replace(Some(report.clone()));
        to.do_send(report);
    }

    pub(super) fn redirect(&self, to: Recipient<ProbeReport>) {
        self.to.replace(to);
        if let Some(report) = self.untold.take() {
            self.hear(report);
        }
    }
}
