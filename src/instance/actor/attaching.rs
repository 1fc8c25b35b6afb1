//! How an instance comes to life: it attaches at the process table and goes on where a predecessor was.

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::InstanceActor;
use crate::ids::ProcessKey;
use crate::instance::endpoint::{Endpoint, free_port};
use crate::instance::machine::Presence;
use crate::launcher::table_messages::{Attach, Attached, Signal};
use crate::launcher::{GroupSignal, Report};
use crate::settings::model::Transport;
use crate::supervision::ExitReason;

impl InstanceActor {
    pub(super) fn attach(&mut self, ctx: &mut Context<Self>) {
        let attach = self
            .services
            .table
            .send(Attach { instance: self.id.clone(), reports: ctx.address().recipient() });
        let wants_port = self.backend.transport == Transport::Http;
        let attached = async move {
            let attached = attach.await;
            let known = attached.as_ref().is_ok_and(|attached| attached.record.is_some());
            // binding a socket may block: not on the actors' thread
            let port = match wants_port && !known {
                true => tokio::task::spawn_blocking(free_port).await.ok(),
                false => None,
            };
            (attached, port)
        };
        // nothing else is handled before the instance knows its own past
        ctx.wait(attached.into_actor(self).map(|(attached, port), this, ctx| {
            match port {
                Some(Ok(port)) => this.endpoint = Endpoint::http(port),
                Some(Err(error)) => {
                    this.slot.set(ExitReason::Failed(format!("no free port: {error}")));
                    ctx.stop();
                    return;
                }
                None => {}
            }
            match attached {
                Ok(attached) => this.resume(attached, ctx),
                Err(error) => {
                    this.slot.set(ExitReason::Failed(format!("process table: {error}")));
                    ctx.stop();
                }
            }
        }));
    }

    fn resume(&mut self, attached: Attached, ctx: &mut Context<Self>) {
        let recorded = attached.record.as_ref().map(|record| record.generation);
        if let Some((key, _)) = &attached.live
            && Some(key.generation) != recorded
        {
            // it belongs to no start that is known: nobody else would ever end it, and none can begin beside it
            let signal = GroupSignal::Kill;
            self.services.table.do_send(Signal { key: key.clone(), signal });
        }
        if let Some(record) = &attached.record {
            // also one that no longer fits: what runs is reached there, and the next start looks again
            self.endpoint = Endpoint::recorded(&record.endpoint);
            self.started_at = record.started_at;
            self.last_exit.clone_from(&record.last_exit);
            self.protocols.clone_from(&record.protocols);
            self.ready_end = attached.ready;
            self.order.clone_from(&record.order);
            self.turns.resume(&record.turn);
            let generation = record.generation;
            let lives = attached.live.as_ref().filter(|(key, _)| key.generation == generation);
            self.pid = lives.map(|(_, identity)| identity.pid);
            let missed = |wanted: fn(&Report) -> Option<&ProcessKey>| {
                let keys = attached.missed.iter().filter_map(wanted);
                keys.into_iter().any(|key| key.generation == generation)
            };
            let unanswered = attached.ordered == Some(generation)
                || missed(|report| match report {
                    Report::Spawned { key, .. } | Report::SpawnFailed { key, .. } => Some(key),
                    _ => None,
                });
            let exited = missed(|report| match report {
                Report::Exited { key, .. } => Some(key),
                _ => None,
            });
            let presence = match (unanswered, lives.is_some() || exited) {
                (true, _) => Presence::Ordered,
                (false, true) => Presence::Alive,
                (false, false) => Presence::Gone,
            };
            let effects = self.machine.resume(record, presence, self.services.clock.now());
            self.carry_out(effects, ctx);
        }
        for report in attached.missed {
            self.on_report(report, ctx);
        }
        self.compare_order();
        self.settle(ctx);
    }
}
