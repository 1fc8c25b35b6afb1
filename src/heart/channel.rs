//! Packets between heart and core: a socket that keeps their borders, each with one descriptor at most.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits;

/// One end.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// Why something could not be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The other end has not read enough yet: the socket tells when there is room.
    Full,
    /// The system has no room just now, for reasons that the socket does not tell of: to be tried again.
    NotNow,
    /// Nobody is at the other end.
    Lost,
    /// This one will never be told, others may.
    Never,
}

impl Refusal {
    /// Of an error of [`Channel::tell`].
    pub fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Self::Full,
            // no memory, or too many descriptors that nobody has taken out of their sockets yet
            Some(Errno::NOBUFS | Errno::NOMEM | Errno::TOOMANYREFS | Errno::INTR) => Self::NotNow,
            Some(Errno::PIPE | Errno::CONNRESET | Errno::CONNREFUSED | Errno::NOTCONN) => {
                Self::Lost
            }
            _ => Self::Never,
        }
    }
}

/// A packet that came.
#[derive(Debug)]
pub enum Packet<M> {
    /// What was told, and what came along.
    Told(M, Option<OwnedFd>),
    /// Nothing that could be read: told by a fault or by another program. It was taken out all the same.
    Garbage,
    /// The other end is closed.
    Closed,
}

impl Channel {
    /// Both ends; neither is inherited by a child.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { socket: one }, Self { socket: other }))
    }

    /// An end that was inherited.
    ///
    /// # Errors
    /// When it is no such socket.
    pub fn of(socket: OwnedFd) -> io::Result<Self> {
        if socket_type(&socket)? != SocketType::SEQPACKET {
            return Err(io::Error::other("no socket of packets"));
        }
        Ok(Self { socket })
    }

    /// The end itself, to hand it to a child.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Tells something. Never waits: where the other end does not read, the error is
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// # Errors
    /// When it cannot be told now, or the other end is closed.
    pub fn tell<M: Serialize>(&self, message: &M, along: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let mut space = [const { MaybeUninit::uninit() }; cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = along.as_slice();
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        sendmsg(&self.socket, &[IoSlice::new(&text)], &mut control, flags)?;
        Ok(())
    }

    /// The next packet; waits for it as long as [`Channel::wait_at_most`] says.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when none came in time.
    pub fn hear<M: DeserializeOwned>(&self) -> io::Result<Packet<M>> {
        self.receive(RecvFlags::CMSG_CLOEXEC)
    }

    /// The next packet, if there is one.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none.
    pub fn hear_now<M: DeserializeOwned>(&self) -> io::Result<Packet<M>> {
        self.receive(RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    }

    /// How long [`Channel::hear`] waits.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn wait_at_most(&self, limit: Option<Duration>) -> io::Result<()> {
        Ok(set_socket_timeout(&self.socket, Timeout::Recv, limit)?)
    }

    fn receive<M: DeserializeOwned>(&self, flags: RecvFlags) -> io::Result<Packet<M>> {
        let mut bytes = [0; limits::HEART_PACKET_BYTES];
        let mut space = [const { MaybeUninit::uninit() }; cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let received = loop {
            match recvmsg(&self.socket, &mut slices, &mut control, flags) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other,
            }
        };
        let received = match received {
            Err(rustix::io::Errno::CONNRESET) => return Ok(Packet::Closed),
            other => other?,
        };
        let along = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .next();
        if received.bytes == 0 {
            return Ok(Packet::Closed);
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Ok(Packet::Garbage);
        }
        let told = serde_json::from_slice(&bytes[..received.bytes]);
        Ok(told.map_or(Packet::Garbage, |message| Packet::Told(message, along)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::heart::protocol::{FromCore, FromHeart};

    #[test]
    fn a_descriptor_comes_along() {
        let (core, heart) = Channel::pair().unwrap();
        let (mut reading, mut writing) = std::io::pipe().unwrap();
        let hold = FromCore::Hold { name: "pipe".into() };
        core.tell(&hold, Some(writing.as_fd())).unwrap();
        writing.write_all(b"one").unwrap();
        drop(writing);
        let Packet::Told(told, Some(held)) = heart.hear::<FromCore>().unwrap() else { panic!() };
        assert_eq!(told, hold);
        std::fs::File::from(held).write_all(b" two").unwrap();
        let mut text = String::new();
        reading.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
    }

    #[test]
    fn garbage_is_told_from_an_end() {
        let (core, heart) = Channel::pair().unwrap();
        core.tell(&"not an object", None).unwrap();
        core.tell(&FromCore::Beat, None).unwrap();
        drop(core);
        assert!(matches!(heart.hear::<FromCore>().unwrap(), Packet::Garbage));
        assert!(matches!(heart.hear::<FromCore>().unwrap(), Packet::Told(FromCore::Beat, None)));
        assert!(matches!(heart.hear::<FromCore>().unwrap(), Packet::Closed));
    }

    #[test]
    fn who_does_not_read_holds_nobody_up() {
        let (core, heart) = Channel::pair().unwrap();
        let told = (0..100_000).find_map(|_| core.tell(&FromCore::Beat, None).err());
        assert_eq!(Refusal::of(&told.unwrap()), Refusal::Full);
        drop(heart);
        assert_eq!(Refusal::of(&core.tell(&FromCore::Beat, None).unwrap_err()), Refusal::Lost);
    }

    #[test]
    fn a_machine_without_room_is_told_from_a_lost_end_and_from_a_packet_that_cannot_be() {
        use rustix::io::Errno;
        for errno in [Errno::TOOMANYREFS, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(Refusal::of(&errno.into()), Refusal::NotNow);
        }
        let (core, _heart) = Channel::pair().unwrap();
        let text = "x".repeat(16 * 1024 * 1024);
        let error = core.tell(&FromCore::Status { text }, None).unwrap_err();
        assert_eq!(Refusal::of(&error), Refusal::Never, "{error}");
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (core, _heart) = Channel::pair().unwrap();
        core.wait_at_most(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(core.hear::<FromHeart>().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
