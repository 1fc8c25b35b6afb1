//! Going on from a record, also one that another version of the program wrote or that fits nothing.

use super::{Effect, Machine, Presence, State, StopCause, Timer};
use crate::clock::Moment;
use crate::ids::InstanceId;
use crate::launcher::{EndsFor, ExitStatus, GroupSignal, InstanceRecord, TurnRecord};

impl Machine {
    /// What [`Machine::resume`] needs. Whoever keeps it adds what no machine knows: when the process was started, what
    /// it speaks, how the one before ended.
    pub fn record(&self, instance: InstanceId, model: &str, endpoint: &str) -> InstanceRecord {
        InstanceRecord {
            instance,
            model: model.to_owned(),
            generation: self.generation,
            endpoint: endpoint.to_owned(),
            state: self.state.as_str().to_owned(),
            wanted: self.wanted,
            restarts: self.restarts,
            consecutive_failures: self.book.consecutive_failures(),
            park_level: self.book.park_level(),
            window: self.book.window(),
            wait_until: self.wait_until(),
            started_at: None,
            protocols: Vec::new(),
            reason: self.reason.clone(),
            last_exit: None,
            turn: TurnRecord {
                awaited: self.awaits_turn,
                ends_for: self.ends_for(),
                ..TurnRecord::default()
            },
            order: None,
        }
    }

    fn ends_for(&self) -> Option<EndsFor> {
        match self.stop_cause.clone()? {
            StopCause::Along(cause) => Some(EndsFor::Restart { cause }),
            StopCause::ParkedAlong(why, cool_off) => Some(EndsFor::Park { why, cool_off }),
            StopCause::Asked | StopCause::Faulty(_) | StopCause::ByHand => None,
        }
    }

    /// Goes on where a predecessor was ended: same generation, same process, same counters.
    pub fn resume(
        &mut self,
        record: &InstanceRecord,
        presence: Presence,
        now: Moment,
    ) -> Vec<Effect> {
        let alive = presence == Presence::Alive;
        self.generation = record.generation;
        self.restarts = record.restarts;
        self.reason.clone_from(&record.reason);
        self.book.resume(record.consecutive_failures, record.park_level, &record.window);
        self.state = state_to_resume(record, presence);
        self.spawned = alive;
        self.wanted = match self.state {
            State::Stopped => false,
            State::Stopping | State::Unkillable => {
                let reason = record.reason.clone().unwrap_or_else(|| "ended".into());
                self.stop_cause = Some(match record.turn.ends_for.clone() {
                    _ if !record.wanted => StopCause::Asked,
                    Some(EndsFor::Restart { cause }) => StopCause::Along(cause),
                    Some(EndsFor::Park { why, cool_off }) => StopCause::ParkedAlong(why, cool_off),
                    // what is to be replaced (a hang, a stall, by hand) is replaced also now
                    None => StopCause::Faulty(reason),
                });
                record.wanted
            }
            _ => true,
        };
        match self.state {
            State::Starting if alive => self.watch_start(now),
            // nothing was ordered yet
            State::Starting if record.turn.awaited && presence == Presence::Gone => {
                self.awaits_turn = true;
                self.effects.push(Effect::AwaitTurn(self.generation));
            }
            // ordered, and never begun: its end is no failure of it
            State::Starting if record.started_at.is_none() && presence == Presence::Gone => {
                self.launch(None, now);
            }
            State::Ready | State::Unhealthy if alive => {
                self.was_ready = true;
                self.watch_health(now);
            }
            State::Stopping | State::Unkillable if alive => {
                let signal = GroupSignal::Stop(self.policies.stop.signal);
                self.signal_stop(signal, self.policies.stop.grace, now);
            }
            State::Backoff | State::Parked => {
                self.timers.insert(Timer::Wake, record.wait_until.unwrap_or(now));
            }
            State::Stopped => {}
            // the answer to the order is on its way
            State::Starting | State::Stopping if presence == Presence::Ordered => {
                self.timers.insert(Timer::StartTotal, now + self.policies.start.total_timeout);
            }
            // its process ended while nobody looked: decided as an end of unknown kind
            _ => {
                self.was_ready = matches!(self.state, State::Ready | State::Unhealthy);
                self.spawned = true;
                self.on_exited(ExitStatus::Unknown, now);
            }
        }
        std::mem::take(&mut self.effects)
    }
}

/// The state on record, or where that cannot be (no such state, none that has a process) the one in which the process
/// is watched: as a start where the instance is wanted, as a stop where it is not.
fn state_to_resume(record: &InstanceRecord, presence: Presence) -> State {
    let recorded = State::ALL.into_iter().find(|state| state.as_str() == record.state);
    let watched = if record.wanted { State::Starting } else { State::Stopping };
    match (recorded, presence) {
        (None, Presence::Gone) if record.wanted => State::Backoff,
        (None, Presence::Gone) => State::Stopped,
        (None, _) => watched,
        (Some(state), Presence::Alive) if !state.has_process() => watched,
        (Some(state), Presence::Ordered) if !matches!(state, State::Starting | State::Stopping) => {
            watched
        }
        (Some(state), _) => state,
    }
}
