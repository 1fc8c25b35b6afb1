//! Passes notices of supervisors, and of the prober, on to the present event log. It stands outside the tree, since it
//! reports on the tree.

use std::sync::Arc;

use actix::{Actor, Context, Handler};

use super::wiring::Wiring;
use crate::events::messages::Record;
use crate::probe::ProberCrashed;
use crate::supervision::supervisor::SupervisionNotice;

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
