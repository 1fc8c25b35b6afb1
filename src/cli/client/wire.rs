//! One ZeroMQ DEALER and its deadlines.

use std::time::Duration;

use zmq::{Context, DEALER, DONTWAIT, Error, POLLIN, POLLOUT, PollEvents, Socket};

use super::ClientError;
use super::listener::Listener;
use crate::clock::{Clock, Moment};
use crate::limits;

/// A connected DEALER.
pub struct Wire {
    // declared before the context: a context ends only when its sockets are closed
    socket: Socket,
    _context: Context,
    listener: Listener,
    clock: Clock,
}

impl Wire {
    /// Connects to the listener and takes frames of at most `most` bytes.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`].
    pub fn connect(listener: Listener, most: i64) -> Result<Self, ClientError> {
        let context = Context::new();
        let socket = open(&context, listener.endpoint(), most).map_err(|error| {
            ClientError::Unreachable {
                endpoint: listener.endpoint().to_owned(),
                reason: error.message().to_owned(),
            }
        })?;
        Ok(Self { socket, _context: context, listener, clock: Clock::start() })
    }

    /// The moment at which a wait of this length ends.
    pub fn deadline(&self, patience: Duration) -> Moment {
        self.clock.now() + patience
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] when the frame does not even fit into the queue, [`ClientError::Unreachable`].
    pub fn send(&self, frame: &[u8]) -> Result<(), ClientError> {
        let deadline = self.deadline(limits::CLI_PATIENCE);
        self.wait(POLLOUT, deadline)?;
        self.socket.send(frame, DONTWAIT).map_err(|error| self.unreachable(error))
    }

    /// The last part of the next message (a service may put an empty delimiter before it).
    ///
    /// # Errors
    /// [`ClientError::Timeout`] at the deadline, [`ClientError::Gone`] as soon as nobody listens any more.
    pub fn receive(&self, deadline: Moment) -> Result<Vec<u8>, ClientError> {
        self.wait(POLLIN, deadline)?;
        let parts = self.socket.recv_multipart(DONTWAIT).map_err(|e| self.unreachable(e))?;
        Ok(parts.into_iter().next_back().unwrap_or_default())
    }

    fn wait(&self, events: PollEvents, deadline: Moment) -> Result<(), ClientError> {
        loop {
            let left = deadline.since(self.clock.now());
            let turn = left.min(limits::CLI_LISTENER_CHECK);
            // rounded up: a rest below a millisecond must not spin
            let turn_ms = i64::try_from(turn.as_micros().div_ceil(1000)).unwrap_or(i64::MAX);
            match self.socket.poll(events, turn_ms) {
                Ok(0) if left.is_zero() => return Err(ClientError::Timeout),
                Ok(0) => self.check_listener()?,
                Ok(_) => return Ok(()),
                Err(Error::EINTR) => {}
                Err(error) => return Err(self.unreachable(error)),
            }
        }
    }

    fn check_listener(&self) -> Result<(), ClientError> {
        match self.listener.check() {
            // its last words may have arrived just before it went
            Err(ClientError::NoService) => match self.socket.poll(POLLIN, 0) {
                Ok(1..) => Ok(()),
                _ => Err(ClientError::Gone),
            },
            other => other,
        }
    }

    fn unreachable(&self, error: Error) -> ClientError {
        ClientError::Unreachable {
            endpoint: self.listener.endpoint().to_owned(),
            reason: error.message().to_owned(),
        }
    }
}

fn open(context: &Context, endpoint: &str, most: i64) -> Result<Socket, Error> {
    let socket = context.socket(DEALER)?;
    // what was not taken by the service when the command ends is of no use: never hang at exit
    socket.set_linger(0)?;
    socket.set_maxmsgsize(most)?;
    socket.connect(endpoint)?;
    Ok(socket)
}
