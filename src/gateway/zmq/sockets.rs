//! The two ROUTER sockets: opened under their locks, sent to and read from without ever blocking.

use std::path::Path;
use std::time::Duration;

use super::backlog::Handover;
use super::endpoint::{Place, place};
use super::error::OpenError;
use super::shared::{Door, Outgoing};
use super::socket_file::{LeftSocket, SocketFile};
use crate::clock::{Clock, Moment};
use crate::gateway::doors::ServiceFacts;
use crate::limits;

/// Both sockets, their context and their files. The order of the fields is the order in which they end: sockets are
/// closed, the context waits until they have sent what they have (at most the linger time), then the files go.
pub(super) struct Sockets {
    cli: zmq::Socket,
    handshake: zmq::Socket,
    context: zmq::Context,
    files: Vec<(Door, SocketFile)>,
    /// Endpoints without a file of their own.
    on_tcp: Vec<(Door, String)>,
}

impl Sockets {
    /// Locks, checks and binds both endpoints.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left behind then.
    pub(super) fn open(facts: &ServiceFacts, clock: Clock) -> Result<Self, OpenError> {
        if facts.cli_endpoint == facts.client_endpoint {
            return Err(OpenError::SameEndpoint(facts.cli_endpoint.clone()));
        }
        let deadline = clock.now() + limits::SOCKET_TAKEOVER;
        spare_descriptors(clock, deadline)?;
        let context = zmq::Context::new();
        let mut files = Vec::new();
        let mut on_tcp = Vec::new();
        let mut open = |door, endpoint: &str| {
            let (socket, file) = open_one(&context, endpoint, clock, deadline)?;
            let file = file.or_else(|| {
                on_tcp.push((door, endpoint.to_owned()));
                let way = facts.runtime_dir.join(way_of(door));
                open_way(&socket, &way, clock, deadline)
            });
            files.extend(file.map(|file| (door, file)));
            Ok(socket)
        };
        let cli = open(Door::Cli, &facts.cli_endpoint)?;
        let handshake = open(Door::Handshake, &facts.client_endpoint)?;
        Ok(Self { cli, handshake, context, files, on_tcp })
    }

    /// Leaves the paths to a successor. Clients that are connected stay, and others reach these sockets until those of the
    /// successor stand there. A socket without a way to the successor, or on an endpoint that is not `kept` for both, is closed:
    /// its clients connect anew.
    ///
    /// # Errors
    /// What libzmq says.
    pub(super) fn leave(&mut self, kept: &[String]) -> zmq::Result<Vec<(Door, LeftSocket)>> {
        let in_the_way = self.on_tcp.iter().filter(|(_, endpoint)| !kept.contains(endpoint));
        let in_the_way: Vec<_> = in_the_way.map(|(door, _)| *door).collect();
        self.files.retain(|(door, _)| !in_the_way.contains(door));
        let left = self.files.drain(..).filter_map(|(door, mut file)| Some((door, file.leave()?)));
        let left: Vec<_> = left.collect();
        for (door, socket) in [(Door::Cli, &mut self.cli), (Door::Handshake, &mut self.handshake)] {
            if !left.iter().any(|(with_way, _)| *with_way == door) {
                tracing::warn!(
                    ?door,
                    "clients of this socket cannot be handed over: they connect anew"
                );
                *socket = self.context.socket(zmq::ROUTER)?;
            }
        }
        Ok(left)
    }

    pub(super) fn of(&self, door: Door) -> &zmq::Socket {
        match door {
            Door::Cli => &self.cli,
            Door::Handshake => &self.handshake,
        }
    }

    /// Hands a reply to libzmq. ROUTER judges a message by its first frame, so only that one can come back.
    ///
    /// # Errors
    /// What libzmq says, other than that the client is full or gone.
    pub(super) fn send(&self, outgoing: Outgoing) -> zmq::Result<Handover> {
        let socket = self.of(outgoing.route.door);
        let more = zmq::DONTWAIT | zmq::SNDMORE;
        match uninterrupted(|| socket.send(&*outgoing.route.identity, more)) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN) => return Ok(Handover::Full(outgoing)),
            Err(zmq::Error::EHOSTUNREACH) => return Ok(Handover::Gone),
            Err(error) => return Err(error),
        }
        if outgoing.route.delimiter {
            uninterrupted(|| socket.send(&[][..], more))?;
        }
        // moved, not copied; a send that does not wait is not interrupted
        socket.send(outgoing.payload, zmq::DONTWAIT)?;
        Ok(Handover::Taken)
    }

    /// Takes the next message: its client's identity, then the other frames into `frames`, of which at most
    /// [`limits::FRAME_PARTS`] are kept. `None` when nothing is waiting.
    ///
    /// # Errors
    /// What libzmq says.
    pub(super) fn receive(
        &self,
        door: Door,
        frames: &mut Vec<zmq::Message>,
    ) -> zmq::Result<Option<Received>> {
        let socket = self.of(door);
        frames.clear();
        let Some(identity) = first_frame(socket)? else { return Ok(None) };
        let count = frames_after(socket, &identity, frames)?;
        Ok(Some(Received { identity, count }))
    }

    /// Closes both sockets; blocks until what they have is sent, `linger` at most.
    pub(super) fn close(self, linger: Duration) {
        for socket in [&self.cli, &self.handshake] {
            if let Err(error) = socket.set_linger(milliseconds(linger)) {
                tracing::warn!(%error, "linger could not be set");
            }
        }
    }
}

/// A message as it came in, without its frames.
pub(super) struct Received {
    pub(super) identity: zmq::Message,
    /// How many frames followed the identity.
    pub(super) count: usize,
}

/// The first frame of the next message; `None` when nothing is waiting.
pub(super) fn first_frame(socket: &zmq::Socket) -> zmq::Result<Option<zmq::Message>> {
    let mut frame = zmq::Message::new();
    match uninterrupted(|| socket.recv(&mut frame, zmq::DONTWAIT)) {
        Ok(()) => Ok(Some(frame)),
        Err(zmq::Error::EAGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes the frames that follow `first`, of which at most [`limits::FRAME_PARTS`] are kept; answers how many there were.
pub(super) fn frames_after(
    socket: &zmq::Socket,
    first: &zmq::Message,
    frames: &mut Vec<zmq::Message>,
) -> zmq::Result<usize> {
    let mut count = 0;
    let mut more = first.get_more();
    while more {
        let mut frame = zmq::Message::new();
        uninterrupted(|| socket.recv(&mut frame, zmq::DONTWAIT))?;
        more = frame.get_more();
        count += 1;
        if frames.len() < limits::FRAME_PARTS {
            frames.push(frame);
        }
    }
    Ok(count)
}

/// Tries again after a signal: in the middle of a message there is no other way on.
pub(super) fn uninterrupted<T>(mut step: impl FnMut() -> zmq::Result<T>) -> zmq::Result<T> {
    loop {
        match step() {
            Err(zmq::Error::EINTR) => {}
            outcome => return outcome,
        }
    }
}

/// Waits for free descriptors: libzmq ends the whole process, and all models with it, where it finds none for its own
/// threads. Clients may leave, and a predecessor in this process gives its own back.
fn spare_descriptors(clock: Clock, deadline: Moment) -> Result<(), OpenError> {
    let one = || std::fs::File::open("/dev/null");
    loop {
        let taken: Result<Vec<_>, _> = (0..limits::GATEWAY_DESCRIPTORS).map(|_| one()).collect();
        match taken {
            Ok(_) => return Ok(()),
            Err(error) if clock.now() >= deadline => {
                return Err(OpenError::Thread(format!("too few descriptors are left: {error}")));
            }
            Err(_) => std::thread::park_timeout(limits::DESCRIPTORS_RETRY),
        }
    }
}

fn open_one(
    context: &zmq::Context,
    endpoint: &str,
    clock: Clock,
    deadline: Moment,
) -> Result<(zmq::Socket, Option<SocketFile>), OpenError> {
    let place = place(endpoint)?;
    let fault = |action| move |error| OpenError::socket(action, endpoint, error);
    let socket = context.socket(zmq::ROUTER).map_err(fault("make a socket for"))?;
    configure(&socket).map_err(fault("configure the socket for"))?;
    match place {
        Place::Tcp => {
            socket.bind(endpoint).map_err(fault("bind"))?;
            Ok((socket, None))
        }
        Place::File(path) => {
            let mut file = SocketFile::claim(&path, clock, deadline)?;
            file.bind_with(|staged| bind_file(&socket, staged, endpoint))?;
            Ok((socket, Some(file)))
        }
    }
}

/// The name of the file by which a predecessor reaches a socket that has none, in the private folder of the service.
fn way_of(door: Door) -> &'static str {
    match door {
        Door::Cli => "cli.way",
        Door::Handshake => "client.way",
    }
}

/// A TCP socket is bound to a file, too: who connects to its address may reach whichever process accepts first.
fn open_way(
    socket: &zmq::Socket,
    path: &Path,
    clock: Clock,
    deadline: Moment,
) -> Option<SocketFile> {
    let bound = SocketFile::claim(path, clock, deadline).and_then(|mut file| {
        let endpoint = path.display().to_string();
        file.bind_with(|staged| bind_file(socket, staged, &endpoint))?;
        Ok(file)
    });
    match bound {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!(%error, "clients will have to connect anew when the service is upgraded");
            None
        }
    }
}

fn bind_file(socket: &zmq::Socket, path: &Path, endpoint: &str) -> Result<(), OpenError> {
    socket
        .bind(&format!("ipc://{}", path.display()))
        .map_err(|error| OpenError::socket("bind", endpoint, error))
}

fn configure(socket: &zmq::Socket) -> zmq::Result<()> {
    // a reply to a client that is gone is an error that is counted, not silence
    socket.set_router_mandatory(true)?;
    // a client that comes back under its old identity is served; without this the newcomer would be ignored for ever
    socket.set_router_handover(true)?;
    socket.set_linger(milliseconds(limits::SOCKET_LINGER))?;
    socket.set_maxmsgsize(limits::FRAME_BYTES)?;
    socket.set_sndhwm(limits::PEER_SEND_QUEUE)?;
    socket.set_rcvhwm(limits::PEER_RECEIVE_QUEUE)?;
    socket.set_backlog(limits::LISTEN_BACKLOG)
}

pub(super) fn milliseconds(span: Duration) -> i32 {
    i32::try_from(span.as_millis()).unwrap_or(i32::MAX)
}
