//! Passes notices of supervisors, and of the prober, on to the present event log. It stands outside the tree, since it
//! reports on the tree.

use std::sync::Arc;

use actix::{Actor, Context, Handler};

use super::wiring::Wiring;
use crate::events::messages::Record;
use crate::launcher::LauncherNotice;
use crate::limits;
use crate::probe::ProberCrashed;
use crate::supervision::supervisor::SupervisionNotice;
use crate::supervision::watchdog::{Stall, Watchdog};

/// See the module.
pub struct NoticeRelay(pub Arc<Wiring>);

impl Actor for NoticeRelay {
    type Context = Context<Self>;
}

impl Handler<SupervisionNotice> for NoticeRelay {
    type Result = ();

    fn handle(&mut self, notice: SupervisionNotice, _: &mut Self::Context) {
        // a log that is just being replaced misses it; the supervisor has written it to the service's own log, too
        if let Ok(events) = self.0.events.get() {
            events.do_send(notice);
        }
    }
}

impl Handler<Stall> for NoticeRelay {
    type Result = ();

    fn handle(&mut self, stall: Stall, _: &mut Self::Context) {
        // this actor lives on that very thread: when it learns of a stall, it is over
        let Stall::Over { lasted, inside } = stall else { return };
        let Ok(events) = self.0.events.get() else { return };
        let subject = inside.unwrap_or_else(|| "service".to_owned());
        let cause = Some(format!("its thread stood still for {:.1} s", lasted.as_secs_f64()));
        events.do_send(Record { subject, model: None, generation: None, kind: "wedged", cause });
    }
}

/// Watches the present thread, which is that of all actors. A stall is logged at once, and is an event when it is over.
pub fn watch_thread(wiring: &Arc<Wiring>) -> Option<Watchdog> {
    let relay = NoticeRelay(wiring.clone()).start();
    let watchdog = Watchdog::start(limits::THREAD_STILL, move |stall| {
        match &stall {
            Stall::Began { silent_for, inside } => {
                let silent_s = silent_for.as_secs();
                tracing::error!(inside, silent_s, "the thread of all actors stands still");
            }
            Stall::Over { lasted, inside } => {
                let lasted_s = lasted.as_secs();
                tracing::error!(inside, lasted_s, "the thread of all actors gets on again");
            }
        }
        relay.do_send(stall);
    });
    watchdog
        .inspect_err(|error| tracing::warn!(%error, "nobody watches the thread of the actors"))
        .ok()
}

impl Handler<LauncherNotice> for NoticeRelay {
    type Result = ();

    fn handle(&mut self, notice: LauncherNotice, _: &mut Self::Context) {
        let Ok(events) = self.0.events.get() else { return };
        let LauncherNotice { instance, model, generation, kind, cause } = notice;
        let subject =
            instance.map_or_else(|| "service".to_owned(), |instance| instance.to_string());
        events.do_send(Record { subject, model, generation, kind, cause: Some(cause) });
    }
}

impl Handler<ProberCrashed> for NoticeRelay {
    type Result = ();

    fn handle(&mut self, ProberCrashed(panic): ProberCrashed, _: &mut Self::Context) {
        let Ok(events) = self.0.events.get() else { return };
        let told = [
            ("actor_failed", format!("panicked: {panic}")),
            ("actor_restarted", "what was open is asked again".to_owned()),
        ];
        for (kind, cause) in told {
            let subject = "prober".to_owned();
            let cause = Some(cause);
            events.do_send(Record { subject, model: None, generation: None, kind, cause });
        }
    }
}
