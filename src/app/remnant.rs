//! How a service ends well, and what is left of one that let go.

use super::wishes::{Signals, Wish, Wishes};
use crate::gateway::zmq::RelayHandle;

/// How a service ended well.
#[derive(Debug)]
pub enum End {
    /// It was asked to stop. The processes of all backends are gone.
    Stopped,
    /// It left everything to another binary; clients that are connected are passed on to that one.
    LetGo(RelayHandle),
}

/// How [`serve`](super::serve) ended well.
pub enum Served {
    /// As [`End::Stopped`].
    Stopped,
    /// As [`End::LetGo`].
    LetGo(Remnant),
}

/// A process that passes clients on to the service that came after it. There are no models and no tree in it any more.
pub struct Remnant {
    pub(super) system: actix_rt::SystemRunner,
    pub(super) signals: Signals,
    pub(super) relay: RelayHandle,
}

impl Remnant {
    /// Passes clients on until nobody needs it any more, or it is asked to stop; blocks.
    pub fn pass_clients_on(self) {
        let Self { system, mut signals, relay } = self;
        system.block_on(async {
            let stopped = async { while signals.next().await != Wish::Stop {} };
            tokio::select! {
                () = relay.ended() => return,
                () = stopped => relay.end(),
            }
            relay.ended().await;
        });
    }
}
