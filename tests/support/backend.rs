//! A backend process of a test, and a client as the contract describes one.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::expect_used, reason = "tests only")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use prost::Message;
use symphony::protocols::{handshake, l4m, ping};
use tokio::time::Instant;

/// How long anything may take on a busy machine before a test calls it a failure.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Waits until there is something, and tells what was waited for when it does not come.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    patiently(look).unwrap_or_else(|| panic!("waited in vain: {what}"))
}

/// Waits until there is something; `None` when it does not come.
pub fn patiently<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The fault-scripted backend.
pub const FAKE: &str = env!("CARGO_BIN_EXE_symphony-fake-backend");

/// A running backend. Dropping it kills its process; its folder goes with it.
pub struct Backend {
    child: Child,
    folder: tempfile::TempDir,
}

impl Backend {
    /// Starts `program` with `args` and an endpoint in a private folder.
    pub fn start(program: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let child = spawn(program, args, folder.path());
        Self { child, folder }
    }

    /// Starts the same or another program anew, on the same endpoint.
    pub fn restart(&mut self, program: &str, args: &[&str]) {
        self.kill();
        self.child = spawn(program, args, self.folder.path());
    }

    /// The address it serves on.
    pub fn endpoint(&self) -> String {
        endpoint(self.folder.path())
    }

    /// Its socket file.
    pub fn socket_file(&self) -> PathBuf {
        self.folder.path().join("backend.sock")
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("output")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("signalled");
    }

    /// Kills it and takes its status.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the backend's end", || child.try_wait().expect("waited"))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.kill();
    }
}

fn endpoint(folder: &Path) -> String {
    format!("ipc://{}", folder.join("backend.sock").display())
}

fn spawn(program: &str, args: &[&str], folder: &Path) -> Child {
    let output = std::fs::File::create(folder.join("output")).expect("output file");
    Command::new(program)
        .args(args)
        .args(["--ipc-endpoint", &endpoint(folder)])
        .stdin(Stdio::null())
        .stderr(output.try_clone().expect("cloned"))
        .stdout(output)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// A client of a backend.
pub struct Client {
    socket: zmq::Socket,
}

impl Client {
    /// Connects; the backend may come later.
    pub fn connect(endpoint: &str) -> Self {
        Self::with_socket(endpoint, zmq::DEALER)
    }

    /// A client that uses another kind of socket.
    pub fn with_socket(endpoint: &str, kind: zmq::SocketType) -> Self {
        let socket = zmq::Context::new().socket(kind).expect("socket");
        socket.set_linger(0).expect("linger");
        socket.set_reconnect_ivl(5).expect("interval");
        socket.set_rcvtimeo(i32::try_from(LIMIT.as_millis()).expect("fits")).expect("limit");
        socket.connect(endpoint).expect("connected");
        Self { socket }
    }

    /// Sends frames as they are.
    pub fn send<F: AsRef<[u8]>>(&self, frames: &[F]) {
        self.socket.send_multipart(frames.iter().map(AsRef::as_ref), 0).expect("sent");
    }

    /// Receives frames as they are.
    pub fn receive(&self) -> Vec<Vec<u8>> {
        self.socket.recv_multipart(0).expect("an answer in time")
    }

    /// Whether nothing comes for a while.
    pub fn is_unanswered(&self) -> bool {
        self.socket.poll(zmq::POLLIN, 200).expect("polled") == 0
    }

    /// Asks for the protocols.
    pub fn greet(&self) -> Vec<String> {
        self.send(&[handshake::Request::default().encode_to_vec()]);
        let answer = self.receive();
        assert_eq!(answer.len(), 1, "one frame each way");
        handshake::Response::decode(&answer[0][..]).expect("a response").protocols
    }

    /// Sends a ping until the backend says that it does not know this client, then greets it and sends no more.
    ///
    /// What is sent before ZeroMQ has noticed that the connection is gone is lost, so one message may not be enough.
    pub fn greet_successor(&self, index: u8) -> Vec<String> {
        until("the successor's answer", || {
            self.send_ping(index, 0, "are you new");
            self.socket.poll(zmq::POLLIN, 100).expect("polled").gt(&0).then(|| self.receive())
        });
        self.send(&[handshake::Request::default().encode_to_vec()]);
        loop {
            // every ping sent so far got its zero byte, or, after the greeting, its pong
            let answer = self.receive();
            if answer.len() == 1 && answer[0] != [0x00] {
                return handshake::Response::decode(&answer[0][..]).expect("a response").protocols;
            }
        }
    }

    /// Sends a ping and takes the next answer for its pong.
    pub fn ping(&self, index: u8, id: u32, text: &str) -> ping::Pong {
        self.send_ping(index, id, text);
        let answer = self.receive();
        assert_eq!((answer.len(), &answer[0][..]), (2, &[index][..]), "same index back");
        ping::Pong::decode(&answer[1][..]).expect("a pong")
    }

    /// Sends a ping alone.
    pub fn send_ping(&self, index: u8, id: u32, text: &str) {
        let ping = ping::Ping { correlation_id: id, message: text.to_owned() };
        self.send(&[vec![index], ping.encode_to_vec()]);
    }

    /// Sends a request of the language model protocol.
    pub fn send_l4m(&self, index: u8, id: u32, command: l4m::request::Command) {
        let request = l4m::Request { correlation_id: id, command: Some(command) };
        self.send(&[vec![index], request.encode_to_vec()]);
    }

    /// Takes the next answer for one of the language model protocol.
    pub fn receive_l4m(&self, index: u8) -> l4m::Response {
        let answer = self.receive();
        assert_eq!((answer.len(), &answer[0][..]), (2, &[index][..]), "same index back");
        l4m::Response::decode(&answer[1][..]).expect("a response")
    }
}
