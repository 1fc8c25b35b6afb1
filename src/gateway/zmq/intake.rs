//! What becomes of a received message. Runs on the gateway's thread; nothing here waits for anybody.

use std::sync::Arc;

use actix::WeakAddr;

use super::command::{self, Command, DeskCommand, DirectCommand};
use super::data::{ListModelsData, StatusData, VersionData};
use super::desk::{DeskRequest, DeskWork};
use super::frames::split;
use super::handshake::{self, Wish};
use super::log_gate::LogGate;
use super::shared::{Door, Lane, Outgoing, Route, Shared};
use super::slot::{CommandSlot, HandshakeSlot, SHUTTING_DOWN};
use super::sockets::Received;
use super::{ZmqGateway, again, reply};
use crate::gateway::doors::Doors;
use crate::registry::messages::{AskDirect, RegistryView};

/// Text of the reply when too many requests wait for processes.
const CROWDED: &str = "too many requests are waiting for models, try again later";

/// Turns messages into requests to actors.
pub(super) struct Intake {
    doors: Arc<Doors>,
    shared: Arc<Shared>,
    /// Weak: the thread must not keep its own actor alive.
    gateway: WeakAddr<ZmqGateway>,
    refusals: LogGate,
}

impl Intake {
    pub(super) fn new(
        doors: Arc<Doors>,
        shared: Arc<Shared>,
        gateway: WeakAddr<ZmqGateway>,
    ) -> Self {
        Self { doors, shared, gateway, refusals: LogGate::default() }
    }

    /// Takes one message. The answer tells whose budget its reply will give back; `None`: there will be no reply.
    pub(super) fn take(
        &mut self,
        door: Door,
        received: Received,
        frames: &[zmq::Message],
        desk_is_full: bool,
    ) -> Option<Lane> {
        self.shared.counters.received.one();
        let framed = match split(frames, received.count) {
            Ok(framed) => framed,
            Err(error) => {
                self.shared.counters.refused_frames.one();
                self.log_refusal(door, &error);
                return None;
            }
        };
        let lane = if self.shared.intake_is_closed() { Lane::Late } else { Lane::Direct };
        let (identity, delimiter) = (received.identity, framed.delimiter);
        let route = Route { door, identity, delimiter, lane };
        match door {
            Door::Cli => Some(self.take_command(route, framed.payload, desk_is_full)),
            Door::Handshake => self.take_handshake(route, framed.payload, desk_is_full),
        }
    }

    fn take_command(&mut self, route: Route, payload: &[u8], desk_is_full: bool) -> Lane {
        let lane = route.lane;
        let envelope = match command::parse(payload) {
            Ok(envelope) => envelope,
            Err(error) => {
                self.shared.counters.refused_commands.one();
                self.log_refusal(route.door, &error);
                let payload = reply::malformed(&error.to_string());
                self.shared.enqueue(Outgoing::new(route, &payload));
                return lane;
            }
        };
        let correlation_id = envelope
            .correlation_id
            .unwrap_or_else(|| uuid::Uuid::new_v4().hyphenated().to_string());
        let mut slot = CommandSlot::new(route, correlation_id, self.shared.clone());
        let closed = self.shared.intake_is_closed();
        match envelope.command {
            Ok(Command::Direct(command)) if !closed || command.outlives_the_intake() => {
                self.answer_directly(slot, command);
            }
            _ if closed => {
                self.shared.counters.refused_closing.one();
                slot.failure(SHUTTING_DOWN);
            }
            Err(error) => {
                self.shared.counters.refused_commands.one();
                slot.failure(&error.to_string());
            }
            Ok(Command::Direct(command)) => self.answer_directly(slot, command),
            // waits for no process, and must get through however many do
            Ok(Command::Desk(command @ DeskCommand::StopService)) => {
                self.ask_desk(DeskWork::Command(slot, command));
            }
            Ok(_) if desk_is_full => {
                self.shared.counters.refused_busy.one();
                slot.failure(CROWDED);
            }
            Ok(Command::Desk(command)) => {
                slot.count_for_desk(again::command(&command, slot.correlation_id()));
                self.ask_desk(DeskWork::Command(slot, command));
                return Lane::Desk;
            }
        }
        lane
    }

    fn answer_directly(&self, slot: CommandSlot, command: DirectCommand) {
        let doors = self.doors.clone();
        self.doors.registry.do_send(match command {
            DirectCommand::Version => {
                let facts = &doors.facts;
                return slot.success(&VersionData {
                    version: facts.version,
                    pid: facts.pid,
                    chaos_allowed: facts.allow_chaos,
                });
            }
            DirectCommand::Status { all } => AskDirect {
                answer: Box::new(move |view| {
                    let now = doors.facts.clock.now();
                    slot.success(&StatusData::new(&doors.facts, view, all, now));
                }),
            },
            DirectCommand::ListModels => AskDirect {
                answer: Box::new(move |view| {
                    let now = doors.facts.clock.now();
                    slot.success(&ListModelsData::new(&doors.facts, view, now))
                }),
            },
        });
    }

    fn take_handshake(&mut self, route: Route, payload: &[u8], desk_is_full: bool) -> Option<Lane> {
        let wish = match handshake::decode(payload) {
            Ok(wish) => wish,
            Err(error) => {
                self.shared.counters.refused_protobuf.one();
                self.log_refusal(route.door, &error);
                return None;
            }
        };
        let lane = route.lane;
        let mut slot = HandshakeSlot::new(route, self.shared.clone());
        if self.shared.intake_is_closed() {
            self.shared.counters.refused_closing.one();
            slot.failure(SHUTTING_DOWN);
            return Some(lane);
        }
        match wish {
            Wish::Protocols => {
                let answer = Box::new(move |view: &dyn RegistryView| {
                    slot.respond(&handshake::protocols(view.ready_protocols()));
                });
                self.doors.registry.do_send(AskDirect { answer });
            }
            Wish::Model(_) if desk_is_full => {
                self.shared.counters.refused_busy.one();
                slot.failure(CROWDED);
            }
            Wish::Model(model) => {
                slot.count_for_desk(again::handshake(&model));
                self.ask_desk(DeskWork::Handshake(slot, model));
                return Some(Lane::Desk);
            }
        }
        Some(lane)
    }

    /// A request that finds no actor answers itself: its slot is dropped.
    fn ask_desk(&self, work: DeskWork) {
        if let Some(gateway) = self.gateway.upgrade() {
            gateway.do_send(DeskRequest(work));
        }
    }

    fn log_refusal(&mut self, door: Door, error: &dyn std::fmt::Display) {
        if let Some(unwritten) = self.refusals.admit(self.doors.facts.clock.now()) {
            tracing::warn!(?door, %error, unwritten, "message refused");
        }
    }
}

impl DirectCommand {
    /// Who waits for the service to end asks these until it is gone.
    fn outlives_the_intake(self) -> bool {
        matches!(self, Self::Status { .. } | Self::Version)
    }
}
