//! What an instance tells: events, its view, its record, the answers that are due.

use std::sync::Arc;

use actix::{ActorContext, AsyncContext, Context};

use super::{InstanceActor, Waiter};
use crate::events::messages::Record;
use crate::ids::Generation;
use crate::instance::group::escalated_above;
use crate::instance::machine::Event;
use crate::instance::messages::ModelError;
use crate::instance::state::State;
use crate::launcher::InstanceRecord;
use crate::launcher::table_messages::{Forget, Keep, RemoveSocket};
use crate::registry::messages::{InstanceChanged, InstanceGone, InstanceView};
use crate::supervision::{ExitReason, StopActor};

impl InstanceActor {
    pub(super) fn on_changed(&mut self, generation: Generation, to: State, cause: Option<String>) {
        self.services.events.do_send(Record {
            subject: self.id.to_string(),
            model: Some(self.model.name.to_string()),
            generation: Some(generation),
            kind: to.as_str(),
            cause,
        });
        match to {
            State::Backoff => self.answer_failed(|waiter| waiter.until.is_some()),
            State::Parked => {
                self.progress = None;
                self.answer_failed(|_| true);
                self.remove_socket();
            }
            State::Unkillable => self.remove_socket(),
            State::Stopped => {
                self.remove_socket();
                self.started_at = None;
                self.progress = None;
                self.turns.leave_round();
                self.answer_stopped_loads();
            }
            _ => {}
        }
    }

    /// Its supervisor is to fail with it, so that those above count the escalation however slowly it came about. The
    /// other instances lose their actors for a moment, and none its process.
    pub(super) fn escalate(&mut self, why: String, ctx: &mut Context<Self>) {
        self.services.events.do_send(Record {
            subject: self.id.to_string(),
            model: Some(self.model.name.to_string()),
            generation: Some(self.machine.generation()),
            kind: "escalated",
            cause: Some(why.clone()),
        });
        self.answer_failed(|_| true);
        self.keep();
        // before our own exit is told: that one is no fault of the actor and is not to be mended by a restart
        if !self.escalate_to_group(&why) {
            self.services.events.do_send(escalated_above(&self.model.name, &why));
            self.above.supervisor.do_send(StopActor);
        }
        self.slot.set(ExitReason::Shutdown);
        ctx.stop();
    }

    /// Nobody gets what stays down. Who wants it again meanwhile waits for the start that follows.
    fn answer_stopped_loads(&mut self) {
        if self.machine.state() != State::Stopped {
            return;
        }
        if self.machine.reason().is_some() {
            // it failed, and its restart class leaves it down
            self.answer_failed(|_| true);
            return;
        }
        for waiter in self.waiters.drain(..) {
            // whoever asked may have left
            let _ = waiter.answer.send(Err(ModelError::Stopped(self.model.name.to_string())));
        }
    }

    pub(super) fn remove_socket(&self) {
        if let Some(path) = self.endpoint.socket_path() {
            self.services.table.do_send(RemoveSocket(path));
        }
    }

    pub(super) fn answer_failed(&mut self, whom: impl Fn(&Waiter) -> bool) {
        let (failed, rest) = std::mem::take(&mut self.waiters).into_iter().partition(|w| whom(w));
        self.waiters = rest;
        for waiter in failed {
            let _ = waiter.answer.send(Err(self.failure()));
        }
    }

    pub(super) fn failure(&self) -> ModelError {
        let exit = self.last_exit.as_ref();
        let last = exit.map(|exit| exit.reason.clone());
        let reason = match (self.machine.reason(), last) {
            (Some(reason), _) => reason.to_owned(),
            (None, Some(last)) => last,
            (None, None) => format!("model {} is {}", self.model.name, self.machine.state()),
        };
        ModelError::StartFailed {
            reason,
            output: exit.map(|exit| exit.output.clone()).unwrap_or_default(),
        }
    }

    /// After every step: publish, remember, answer, arm the next deadline.
    pub(super) fn settle(&mut self, ctx: &mut Context<Self>) {
        let view = Arc::new(self.view());
        if self.shown.as_ref() != Some(&view) {
            self.shown = Some(view.clone());
            self.services.changed.do_send(InstanceChanged(view.clone()));
        }
        self.keep();
        self.tell_group(ctx);
        if view.state.is_alive() {
            for waiter in self.waiters.drain(..) {
                let _ = waiter.answer.send(Ok(view.clone()));
            }
        }
        match view.state {
            State::Stopping => {}
            State::Stopped => self.answer_stopped(ctx),
            State::Unkillable => self.answer_unkillable(),
            // stopped, and wanted again at once
            _ => {
                for answer in self.stop_waiters.drain(..) {
                    let _ = answer.send(Ok(()));
                }
            }
        }
        self.answer_impatient(&view);
        self.arm(ctx);
    }

    /// Who does not hold out to the end is told how far it is.
    fn answer_impatient(&mut self, view: &Arc<InstanceView>) {
        let now = self.services.clock.now();
        let due = |waiter: &Waiter| waiter.until.is_some_and(|until| until <= now);
        if !self.waiters.iter().any(due) {
            return;
        }
        let stopped = || ModelError::Stopped(self.model.name.to_string());
        let answer = match view.state {
            State::Stopping if !self.machine.wanted() => Err(stopped()),
            State::Starting | State::Exited => Ok(view.clone()),
            // it will start when the process before is gone: to show that one would call it loaded
            State::Stopping => Ok(Arc::new(InstanceView {
                state: State::Starting,
                pid: None,
                started_at: None,
                ..(**view).clone()
            })),
            _ => Err(self.failure()),
        };
        let (done, rest) = std::mem::take(&mut self.waiters).into_iter().partition(due);
        self.waiters = rest;
        for waiter in done {
            let _ = waiter.answer.send(answer.clone());
        }
    }

    /// Its process is neither gone nor to be replaced before the kernel lets it go: nobody is told otherwise, and nobody
    /// waits for that.
    fn answer_unkillable(&mut self) {
        self.answer_failed(|_| true);
        for answer in self.stop_waiters.drain(..) {
            let why = "the process survived KILL, the kernel holds it".to_owned();
            let _ = answer.send(Err(ModelError::Internal(why)));
        }
    }

    fn answer_stopped(&mut self, ctx: &mut Context<Self>) {
        if !self.stop_waiters.is_empty() && self.waiters.is_empty() {
            self.services.table.do_send(Forget(self.id.clone()));
            let generation = self.machine.generation();
            self.services.gone.do_send(InstanceGone { instance: self.id.clone(), generation });
            self.slot.set(ExitReason::Normal);
            ctx.stop();
        }
        for answer in self.stop_waiters.drain(..) {
            let _ = answer.send(Ok(()));
        }
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let impatient = self.waiters.iter().filter_map(|waiter| waiter.until);
        let due = self.machine.next_deadline().into_iter().chain(impatient).min();
        if self.timer.as_ref().map(|(at, _)| *at) == due {
            return;
        }
        if let Some((_, handle)) = self.timer.take() {
            ctx.cancel_future(handle);
        }
        if let Some(at) = due {
            let wait = at.since(self.services.clock.now());
            let handle = ctx.run_later(wait, |this, ctx| {
                this.timer = None;
                this.feed(Event::Tick, ctx);
            });
            self.timer = Some((at, handle));
        }
    }

    pub(super) fn view(&self) -> InstanceView {
        let running = self.machine.state().has_process();
        InstanceView {
            instance: self.id.clone(),
            model: self.model.name.clone(),
            fullname: self.model.fullname.clone(),
            model_type: self.model.model_type.clone(),
            generation: self.machine.generation(),
            endpoint: self.endpoint.uri().to_owned(),
            state: self.machine.state(),
            pid: self.pid,
            started_at: self.started_at.filter(|_| running),
            restarts: self.machine.restarts(),
            last_exit: self.last_exit.clone(),
            protocols: self.protocols.clone(),
            reason: self.machine.reason().map(str::to_owned),
            progress: self.progress.clone(),
            group: self.model.group.as_ref().map(|group| group.name.to_string()),
            outdated: self.outdated && running,
        }
    }

    /// Writes down what a successor must know, if it is not written already.
    pub(super) fn keep(&mut self) {
        let record = self.record();
        if self.kept.as_ref() != Some(&record) {
            self.kept = Some(record.clone());
            self.services.table.do_send(Keep(record));
        }
    }

    fn record(&self) -> InstanceRecord {
        let (id, model) = (self.id.clone(), self.model.name.as_str());
        let of_machine = self.machine.record(id, model, self.endpoint.uri());
        InstanceRecord {
            started_at: self.started_at,
            protocols: self.protocols.clone(),
            last_exit: self.last_exit.clone(),
            order: self.order.clone(),
            turn: self.turns.record(of_machine.turn),
            ..of_machine
        }
    }
}
