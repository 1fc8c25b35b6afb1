//! The order that a process is started by, and whether the present one would still be started so.

use actix::{AsyncContext, Context};

use super::{Feed, InstanceActor, log_path};
use crate::events::messages::Record;
use crate::ids::Generation;
use crate::instance::command_line;
use crate::instance::endpoint::{Endpoint, check_port, free_port};
use crate::instance::machine::Event;
use crate::instance::order_digest::order_digest;
use crate::launcher::local::notify_path;
use crate::launcher::table_messages::Spawn;
use crate::launcher::{ReadyChannel, SpawnError, SpawnOrder};
use crate::settings::model::{LaunchForm, StartFacts, Transport};
use crate::settings::policy::Readiness;

impl InstanceActor {
    pub(super) fn spawn(&mut self, generation: Generation, ctx: &mut Context<Self>) {
        let fits = self.fit_endpoint();
        let order = fits.map(|()| self.spawn_order(generation));
        self.order = order.as_ref().ok().and_then(|order| self.digest(order.as_ref().ok()?));
        self.outdated = false;
        // the record stands before the process does: a successor must know of it
        self.keep();
        let error = match order {
            Ok(Ok(order)) => return self.services.table.do_send(Spawn(order)),
            Ok(Err(error)) => SpawnError::Fatal {
                program: self.model.name.to_string(),
                reason: error.to_string(),
            },
            Err(error) => {
                SpawnError::Transient { program: self.model.name.to_string(), reason: error }
            }
        };
        ctx.notify(Feed(Event::SpawnFailed(generation, error)));
    }

    /// A reload may have changed what the backend speaks: then the address of the starts before is of no use.
    fn fit_endpoint(&mut self) -> Result<(), String> {
        let transport = self.backend.transport;
        if self.endpoint.fits(transport) {
            // another program may have taken the port meanwhile: clients must not be led to that one
            return self.endpoint.port().map_or(Ok(()), check_port);
        }
        let fresh = match transport {
            Transport::Zmq => Endpoint::fresh_ipc(&self.services.settings.model_socket_dir),
            // rare enough to bind a port right here
            Transport::Http => {
                Endpoint::http(free_port().map_err(|error| format!("no free port: {error}"))?)
            }
        };
        self.remove_socket();
        self.endpoint = fresh;
        Ok(())
    }

    fn spawn_order(
        &self,
        generation: Generation,
    ) -> Result<SpawnOrder, command_line::CommandError> {
        let settings = &self.services.settings;
        let facts = StartFacts {
            model: &self.model,
            instance: &self.id,
            endpoint: self.endpoint.uri(),
            port: self.endpoint.port(),
        };
        let ready_channel = match self.backend.start.ready {
            Readiness::Fd { number } => ReadyChannel::Fd { number },
            Readiness::Notify => ReadyChannel::Notify {
                path: notify_path(&settings.runtime_dir, &self.key(generation)),
            },
            _ => ReadyChannel::None,
        };
        Ok(SpawnOrder {
            key: self.key(generation),
            command: command_line::command(&self.backend, settings, &facts)?,
            log_path: log_path(&self.services, &self.id),
            log: self.backend.log.clone(),
            label: self.model.name.to_string(),
            limits: self.backend.limits.clone(),
            ready_channel,
            socket_path: self.endpoint.socket_path(),
            shim: settings.symphony_binary.clone(),
        })
    }

    /// `None` for a kind of an embedding program: it may make another command each time, which means nothing.
    fn digest(&self, order: &SpawnOrder) -> Option<String> {
        let is_custom = matches!(self.backend.launch, LaunchForm::Custom(_));
        (!is_custom).then(|| order_digest(order, self.backend.transport))
    }

    /// Looks whether its process would be started in another way now: a reload, or a start of the service after a crash, may
    /// have brought another configuration. It runs on all the same, until somebody restarts it.
    pub(super) fn compare_order(&mut self) {
        let lives = self.machine.state().has_process();
        let was_outdated = self.outdated;
        self.outdated = lives
            && self.order.as_ref().is_some_and(|before| {
                let now = self.spawn_order(self.machine.generation());
                now.ok().is_none_or(|now| self.digest(&now).as_ref() != Some(before))
            });
        if self.outdated && !was_outdated {
            self.services.events.do_send(Record {
                subject: self.id.to_string(),
                model: Some(self.model.name.to_string()),
                generation: Some(self.machine.generation()),
                kind: "outdated",
                cause: Some("it was started by another configuration and runs on".to_owned()),
            });
        }
    }
}
