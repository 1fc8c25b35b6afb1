//! The core's side: what it has of its heart.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::channel::{Channel, Packet, Refusal};
use super::open_files;
use super::protocol::{Ended, FromCore, FromHeart, Welcome};
use crate::limits;

/// Why a core has no heart although it was started by one.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Its standard input is not what a heart gives.
    #[error("standard input is no socket of a heart: {0}")]
    NoHeart(io::Error),
    /// The heart says nothing, or not what it should.
    #[error("the heart does not answer: {0}")]
    Silent(String),
    /// No thread or descriptor is left.
    #[error("cannot talk with the heart: {0}")]
    System(#[from] io::Error),
}

/// Descriptors that cores before left with the heart, by name.
pub type Held = HashMap<String, OwnedFd>;

/// A core that was welcomed and has not begun to talk yet.
#[derive(Debug)]
pub struct Connection {
    channel: Channel,
    /// What the heart said.
    pub welcome: Welcome,
    /// What it had kept.
    pub held: Held,
}

impl Connection {
    /// Takes over the standard input, which the heart made a socket to itself, and introduces this core. Nothing that is
    /// started later inherits it.
    ///
    /// # Errors
    /// [`LinkError`]: this process was not started by a heart.
    pub fn open(hello: &FromCore) -> Result<Self, LinkError> {
        // the heart may hold more for this core than a shell's limit lets in; where it stays, the launcher says so
        let _ = open_files::lift();
        let stdin = rustix::stdio::stdin();
        let socket = rustix::io::fcntl_dupfd_cloexec(stdin, 3);
        let socket = socket.map_err(|errno| LinkError::NoHeart(errno.into()))?;
        let channel = Channel::of(socket).map_err(LinkError::NoHeart)?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?).map_err(io::Error::from)?;
        Self::over(channel, hello)
    }

    /// As [`Connection::open`], over an end of a channel.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn over(channel: Channel, hello: &FromCore) -> Result<Self, LinkError> {
        channel.tell(hello, None)?;
        channel.wait_at_most(Some(limits::HEART_WELCOME))?;
        let mut held = Held::new();
        loop {
            match channel.hear() {
                Ok(Packet::Told(FromHeart::Held { name }, Some(descriptor))) => {
                    held.insert(name, descriptor);
                }
                Ok(Packet::Told(FromHeart::Welcome(welcome), _)) => {
                    channel.wait_at_most(None)?;
                    return Ok(Self { channel, welcome, held });
                }
                Ok(Packet::Told(..) | Packet::Garbage) => {}
                Ok(Packet::Closed) => return Err(LinkError::Silent("it is gone".into())),
                Err(error) => return Err(LinkError::Silent(error.to_string())),
            }
        }
    }

    /// Begins to talk. `on_lost` is called once, on the link's own thread, when the heart is gone.
    ///
    /// # Errors
    /// When no thread or descriptor is left.
    pub fn begin(self, on_lost: impl FnOnce() + Send + 'static) -> Result<HeartLink, LinkError> {
        let bell = Arc::new(
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?,
        );
        let (orders, receiver) = std::sync::mpsc::channel();
        let shared =
            Arc::new(Shared { lost: AtomicBool::new(false), waiting: AtomicUsize::new(0) });
        let talk = Talk {
            channel: self.channel,
            bell: bell.clone(),
            orders: receiver,
            shared: shared.clone(),
            outbox: VecDeque::new(),
            asked: HashMap::new(),
            parts: false,
        };
        // of its own, so that a heart that stands still holds up nobody
        std::thread::Builder::new()
            .name("symphony-heart".into())
            .spawn(move || talk.run(on_lost))?;
        Ok(HeartLink { orders, bell: Bell(bell), shared })
    }
}

/// The way to the heart. No call waits; what cannot be told because the heart is gone is dropped.
#[derive(Clone)]
pub struct HeartLink {
    orders: Sender<Order>,
    // dropped after the orders: the thread learns that nobody is left who could give one
    bell: Bell,
    shared: Arc<Shared>,
}

/// Wakes the link's thread, also by being dropped.
#[derive(Clone)]
struct Bell(Arc<OwnedFd>);

impl Bell {
    fn ring(&self) {
        // fails only where the counter is full: then the thread wakes anyway
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ring();
    }
}

impl fmt::Debug for HeartLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeartLink").field("lost", &self.is_lost()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Shared {
    lost: AtomicBool,
    /// Packets on their way to the heart.
    waiting: AtomicUsize,
}

/// Takes what the heart answered; `None` where nobody can tell.
pub type OnCollected = Box<dyn FnOnce(Option<Ended>) + Send>;

enum Order {
    Tell(FromCore, Option<OwnedFd>),
    Collect { pid: u32, start_ticks: u64, answer: OnCollected },
    Part,
}

impl HeartLink {
    /// Whether the heart is gone.
    pub fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Acquire)
    }

    /// Tells something that needs no descriptor. A beat that would have to wait behind many others is dropped.
    pub fn tell(&self, message: FromCore) {
        let waiting = self.shared.waiting.load(Ordering::Relaxed);
        if message == FromCore::Beat && waiting >= limits::HEART_BEATS_WAITING {
            return;
        }
        self.order(Order::Tell(message, None));
    }

    /// Lets the heart hold a copy of a descriptor beyond the life of this process.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn hold(&self, name: &str, descriptor: impl AsFd) -> io::Result<()> {
        let copy = descriptor.as_fd().try_clone_to_owned()?;
        self.order(Order::Tell(FromCore::Hold { name: name.to_owned() }, Some(copy)));
        Ok(())
    }

    /// The heart need not hold it any longer.
    pub fn release(&self, name: &str) {
        self.tell(FromCore::Release { name: name.to_owned() });
    }

    /// Asks how a process ended that this core did not start; `answer` is called on the link's thread.
    pub fn collect(&self, pid: u32, start_ticks: u64, answer: OnCollected) {
        self.order(Order::Collect { pid, start_ticks, answer });
    }

    /// Parts from the heart once all is told that was to be told before: the heart sees a closed channel, whoever still has
    /// a link here.
    pub fn part(&self) {
        self.order(Order::Part);
    }

    fn order(&self, order: Order) {
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        match self.orders.send(order) {
            Ok(()) => self.bell.ring(),
            Err(unsent) => {
                if let Order::Collect { answer, .. } = unsent.0 {
                    answer(None);
                }
            }
        }
    }
}

/// The link's thread.
struct Talk {
    channel: Channel,
    bell: Arc<OwnedFd>,
    orders: Receiver<Order>,
    shared: Arc<Shared>,
    outbox: VecDeque<(FromCore, Option<OwnedFd>)>,
    asked: HashMap<(u32, u64), OnCollected>,
    /// Nothing more is taken in.
    parts: bool,
}

impl Talk {
    fn run(mut self, on_lost: impl FnOnce()) {
        let lost = loop {
            let is_needed = self.take_orders();
            let refusal = self.send();
            if refusal == Some(Refusal::Lost) || !self.hear() {
                break true;
            }
            let is_idle = !is_needed && self.asked.is_empty();
            if (is_idle || self.parts) && self.outbox.is_empty() {
                // nobody is left who could say anything, or should: the service is gone, or let go
                break false;
            }
            let wanted = match refusal {
                Some(Refusal::Full) => PollFlags::IN | PollFlags::OUT,
                _ => PollFlags::IN,
            };
            let retry = refusal.filter(|refusal| *refusal == Refusal::NotNow);
            let limit = retry.and_then(|_| limits::HEART_TELL_RETRY.try_into().ok());
            let mut watched = [
                PollFd::from_borrowed_fd(self.channel.as_fd(), wanted),
                PollFd::new(&self.bell, PollFlags::IN),
            ];
            // only an interrupting signal ends it early
            let _ = poll(&mut watched, limit.as_ref());
            let mut count = [0; 8];
            // empty where it was not rung
            let _ = rustix::io::read(&*self.bell, &mut count);
        };
        self.shared.lost.store(true, Ordering::Release);
        for (_, answer) in self.asked.drain() {
            answer(None);
        }
        // what comes from now on is answered by whoever sends it
        while let Ok(order) = self.orders.try_recv() {
            if let Order::Collect { answer, .. } = order {
                answer(None);
            }
        }
        drop(self);
        if lost {
            on_lost();
        }
    }

    /// Whether anybody may still give orders.
    fn take_orders(&mut self) -> bool {
        while !self.parts {
            match self.orders.try_recv() {
                Ok(Order::Tell(message, along)) => self.outbox.push_back((message, along)),
                Ok(Order::Collect { pid, start_ticks, answer }) => {
                    if let Some(before) = self.asked.insert((pid, start_ticks), answer) {
                        before(None);
                    }
                    self.outbox.push_back((FromCore::Collect { pid, start_ticks }, None));
                }
                Ok(Order::Part) => self.parts = true,
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            }
        }
        false
    }

    /// Tells what waits; answers why it stopped before all was told.
    fn send(&mut self) -> Option<Refusal> {
        while let Some((message, along)) = self.outbox.front() {
            let told = self.channel.tell(message, along.as_ref().map(AsFd::as_fd));
            match told.as_ref().map_err(Refusal::of) {
                Ok(()) => {}
                Err(Refusal::Never) => {
                    tracing::warn!(error = ?told, ?message, "cannot be told to the heart");
                }
                Err(refusal) => return Some(refusal),
            }
            self.outbox.pop_front();
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        None
    }

    /// Takes what the heart says; answers whether it is there.
    fn hear(&mut self) -> bool {
        loop {
            match self.channel.hear_now() {
                Ok(Packet::Told(FromHeart::Collected { pid, start_ticks, ended }, _)) => {
                    if let Some(answer) = self.asked.remove(&(pid, start_ticks)) {
                        answer(ended);
                    }
                }
                Ok(Packet::Told(..) | Packet::Garbage) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Ok(Packet::Closed) | Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn hello() -> FromCore {
        FromCore::Hello { version: "1".into(), pid: 7, state_version: 1 }
    }

    /// The heart's end, and a link that it welcomed with one held descriptor.
    fn linked(on_lost: impl FnOnce() + Send + 'static) -> (Channel, HeartLink, Held) {
        let (core, heart) = Channel::pair().unwrap();
        let (reading, _) = std::io::pipe().unwrap();
        let held = FromHeart::Held { name: "ready/a/3".into() };
        heart.tell(&held, Some(reading.as_fd())).unwrap();
        heart.tell(&FromHeart::Unknown, None).unwrap();
        heart
            .tell(&FromHeart::Welcome(Welcome { incarnation: 2, ..Welcome::default() }), None)
            .unwrap();
        let mut connection = Connection::over(core, &hello()).unwrap();
        assert_eq!(connection.welcome.incarnation, 2);
        let held = std::mem::take(&mut connection.held);
        heart.wait_at_most(Some(LIMIT)).unwrap();
        assert_eq!(heard(&heart), hello());
        (heart, connection.begin(on_lost).unwrap(), held)
    }

    fn heard(heart: &Channel) -> FromCore {
        match heart.hear().unwrap() {
            Packet::Told(message, _) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_held_is_there_again_and_what_is_told_arrives() {
        let (heart, link, held) = linked(|| {});
        assert!(held.contains_key("ready/a/3"));
        link.tell(FromCore::Beat);
        link.hold("lock", std::io::stdin().as_fd()).unwrap();
        assert_eq!(heard(&heart), FromCore::Beat);
        let Packet::Told(told, Some(_)) = heart.hear::<FromCore>().unwrap() else { panic!() };
        assert_eq!(told, FromCore::Hold { name: "lock".into() });
    }

    #[test]
    fn an_exit_is_asked_for_and_a_lost_heart_answers_that_nobody_knows() {
        let (lost, is_lost) = mpsc::channel();
        let (heart, link, _) = linked(move || lost.send(()).unwrap());
        let (sender, answers) = mpsc::channel();
        for pid in [4, 5] {
            let sender = sender.clone();
            link.collect(pid, 9, Box::new(move |ended| sender.send((pid, ended)).unwrap()));
            assert_eq!(heard(&heart), FromCore::Collect { pid, start_ticks: 9 });
        }
        let ended = Some(Ended::Code(3));
        heart.tell(&FromHeart::Collected { pid: 4, start_ticks: 9, ended }, None).unwrap();
        assert_eq!(answers.recv_timeout(LIMIT).unwrap(), (4, ended));
        assert!(!link.is_lost());
        drop(heart);
        assert_eq!(answers.recv_timeout(LIMIT).unwrap(), (5, None));
        is_lost.recv_timeout(LIMIT).unwrap();
        assert!(link.is_lost());
        link.collect(6, 9, Box::new(move |ended| sender.send((6, ended)).unwrap()));
        assert_eq!(answers.recv_timeout(LIMIT).unwrap(), (6, None));
        link.tell(FromCore::Beat);
    }

    #[test]
    fn the_last_word_arrives_and_then_the_channel_is_closed() {
        let (heart, link, _) = linked(|| panic!("the heart is there"));
        let other = link.clone();
        drop(link);
        other.tell(FromCore::Beat);
        assert_eq!(heard(&heart), FromCore::Beat);
        other.tell(FromCore::Stopping);
        drop(other);
        assert_eq!(heard(&heart), FromCore::Stopping);
        assert!(matches!(heart.hear::<FromCore>().unwrap(), Packet::Closed));
    }

    #[test]
    fn who_parts_closes_the_channel_though_others_have_a_link() {
        let (heart, link, _) = linked(|| panic!("the heart is there"));
        let (sender, answers) = mpsc::channel();
        link.collect(4, 9, Box::new(move |ended| sender.send(ended).unwrap()));
        link.tell(FromCore::Upgrade { binary: "/new".into(), timeout_ms: 1 });
        link.part();
        link.tell(FromCore::Stopping);
        assert_eq!(heard(&heart), FromCore::Collect { pid: 4, start_ticks: 9 });
        assert!(matches!(heard(&heart), FromCore::Upgrade { .. }));
        assert!(matches!(heart.hear::<FromCore>().unwrap(), Packet::Closed));
        assert_eq!(answers.recv_timeout(LIMIT).unwrap(), None);
        assert!(link.is_lost());
    }

    #[test]
    fn a_heart_that_stands_still_holds_nobody_up_and_beats_do_not_pile_up() {
        let (heart, link, _) = linked(|| {});
        for _ in 0..200_000 {
            link.tell(FromCore::Beat);
        }
        assert!(link.shared.waiting.load(Ordering::Relaxed) <= limits::HEART_BEATS_WAITING + 1);
        link.tell(FromCore::Stopping);
        while heard(&heart) != FromCore::Stopping {}
    }

    #[test]
    fn who_is_no_heart_is_told_from_one() {
        let (core, heart) = Channel::pair().unwrap();
        drop(heart);
        assert!(matches!(
            Connection::over(core, &hello()),
            Err(LinkError::System(_) | LinkError::Silent(_))
        ));
        let (pipe, _) = std::io::pipe().unwrap();
        assert!(Channel::of(pipe.into()).is_err());
    }
}
