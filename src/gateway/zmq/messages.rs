//! What may be sent to the gateway.

use actix::Message;

pub use super::counters::GatewayState;
pub use super::thread::RelayHandle;

/// From now on each new request gets the one reply `Service is shutting down`, except `status` and `version`.
/// Requests that are under way go on.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct CloseIntake;

/// Ends the gateway: requests under way are answered with a failure, unsent replies get
/// [`SOCKET_LINGER`](crate::limits::SOCKET_LINGER), then the sockets are closed and their files removed.
/// Answered when that is done; the actor stops after it, with the reason `Shutdown`.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct CloseSockets;

/// Hands the sockets over to another service: unloads that are under way end, new requests wait for the successor, all
/// others under way are asked of it once more. From then on the gateway's thread passes clients on; it outlives the actor,
/// which can be stopped. See [`RelayHandle`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "RelayHandle")]
pub struct HandOver {
    /// TCP endpoints that the successor can listen on while this gateway does, because somebody keeps their listeners.
    /// Sockets on others are closed, since they would be in its way; their clients connect anew.
    pub kept_endpoints: Vec<String>,
}

/// Asks for the gateway's counters.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "GatewayState")]
pub struct Observe;
