//! What the gateway counts, and the picture of it that may be asked for.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// A number that one writes and others may read.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(super) fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Count,)*
        }

        impl Counters {
            /// The numbers as they stand.
            pub(super) fn state(&self, closing: bool) -> GatewayState {
                GatewayState { closing, $($name: self.$name.get(),)* }
            }
        }

        /// The gateway as it can be observed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
        pub struct GatewayState {
            /// Whether new requests are refused.
            pub closing: bool,
            $($(#[$meta])* pub $name: u64,)*
        }
    };
}

counters! {
    /// Messages received on both sockets.
    received,
    /// Replies handed to libzmq.
    sent,
    /// Messages with a wrong count of frames: no reply.
    refused_frames,
    /// Handshakes that are no protobuf: no reply.
    refused_protobuf,
    /// Commands that are no command: answered with the fault.
    refused_commands,
    /// Requests refused because too many wait for processes.
    refused_busy,
    /// Requests refused because the service is shutting down.
    refused_closing,
    /// Requests that nobody answered: their failure reply was made by the gateway.
    abandoned,
    /// Replies for clients that are gone.
    unreachable,
    /// Replies dropped because their client did not read.
    dropped,
    /// Requests inside the tree that are answered in microseconds, but for those that came after the intake was closed.
    credits_in_use,
    /// Requests inside the tree that may wait for a process.
    desk_requests,
    /// Clients that do not read as fast as they ask.
    backlogged_peers,
    /// Replies waiting for them.
    backlogged_replies,
}
