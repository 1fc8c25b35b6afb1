//! Section 5 of the management contract, row by row, against every backend of this repository.
//!
//! A new backend joins by a line in [`programs`].
#![allow(clippy::expect_used, reason = "a test")]

#[path = "support/backend.rs"]
mod backend;
#[path = "support/python.rs"]
mod python;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use backend::{Backend, Client, FAKE};
use prost::Message;
use rustix::process::Signal;
use symphony::limits;
use symphony::protocols::l4m::request::Command;
use symphony::protocols::l4m::{
    BatchAllocate, BatchSampleTopKRequest, GetInfoRequest, SampleTopKRequest, response,
};
use symphony::protocols::ping;

const MODEL: &str = "org/a model";

/// A backend under test.
struct Program {
    name: &'static str,
    command: String,
    args: Vec<String>,
    /// It has more to it than the contract asks for: a REQ is answered, a clean end removes the socket file.
    embedded: bool,
}

/// Every backend that has to obey.
fn programs(test: &str) -> Vec<Program> {
    let mut programs = vec![Program {
        name: "the embedded engine in the fake backend",
        command: FAKE.to_owned(),
        args: vec![],
        embedded: true,
    }];
    if let Some(interpreter) = python::interpreter(&format!("{test} for backend.py")) {
        programs.push(Program {
            name: "examples/python/backend.py",
            command: interpreter,
            args: vec!["-u".to_owned(), python::script("backend.py")],
            embedded: false,
        });
    }
    programs
}

impl Program {
    fn start(&self) -> Backend {
        println!("{}", self.name);
        let mut args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        args.extend(["--model-name", MODEL]);
        Backend::start(&self.command, &args)
    }
}

fn index_of(protocols: &[String], name: &str) -> u8 {
    let position = protocols.iter().position(|protocol| protocol == name);
    u8::try_from(position.unwrap_or_else(|| panic!("{name} is not offered"))).expect("a byte")
}

fn get_info() -> Command {
    Command::GetInfo(GetInfoRequest {})
}

#[test]
fn first_message_is_answered_with_the_protocols() {
    for program in programs("first_message_is_answered_with_the_protocols") {
        let backend = program.start();
        let client = Client::connect(&backend.endpoint());
        let protocols = client.greet();
        assert!(protocols.iter().any(|name| name == "l4m"), "{protocols:?}");
        assert!(protocols.iter().any(|name| name == "ping"), "{protocols:?}");
        // a field of a later version: number 9, varint 1
        let other = Client::connect(&backend.endpoint());
        other.send(&[[0x48, 0x01]]);
        assert_ne!(other.receive(), vec![vec![0x00]], "unknown fields are ignored");
    }
}

#[test]
fn handshake_that_is_no_protobuf_is_answered_with_a_zero_byte() {
    for program in programs("handshake_that_is_no_protobuf_is_answered_with_a_zero_byte") {
        let backend = program.start();
        let client = Client::connect(&backend.endpoint());
        client.send(&[[0xff, 0xff, 0xff]]);
        assert_eq!(client.receive(), vec![vec![0x00]]);
        assert!(!client.greet().is_empty(), "the next good one is answered");
    }
}

#[test]
fn request_before_the_handshake_is_answered_with_a_zero_byte() {
    for program in programs("request_before_the_handshake_is_answered_with_a_zero_byte") {
        let backend = program.start();
        let client = Client::connect(&backend.endpoint());
        client.send_ping(1, 1, "too early");
        assert_eq!(client.receive(), vec![vec![0x00]]);
        let index = index_of(&client.greet(), "ping");
        assert_eq!(client.ping(index, 2, "").correlation_id, 2);
    }
}

#[test]
fn ping_is_answered_with_its_id_and_its_message() {
    for program in programs("ping_is_answered_with_its_id_and_its_message") {
        let backend = program.start();
        let client = Client::connect(&backend.endpoint());
        let index = index_of(&client.greet(), "ping");
        for (id, text) in [(0, ""), (7, "hello"), (u32::MAX, "ü ✓ \n")] {
            let pong = client.ping(index, id, text);
            let expected = ping::Pong { correlation_id: id, message: format!("Pong:{text}") };
            assert_eq!(pong, expected);
        }
    }
}

#[test]
fn get_info_names_the_model_that_was_given() {
    for program in programs("get_info_names_the_model_that_was_given") {
        let backend = program.start();
        let client = Client::connect(&backend.endpoint());
        let index = index_of(&client.greet(), "l4m");
        client.send_l4m(index, 42, get_info());
        let answer = client.receive_l4m(index);
        assert_eq!(answer.correlation_id, 42);
        let Some(response::Command::GetInfo(info)) = answer.command else {
            panic!("no info: {answer:?}")
        };
        assert_eq!(info.model_name, MODEL);
        assert!(!info.version.is_empty() && info.block_size > 0, "{info:?}");
    }
}

#[test]
fn sample_top_k_is_answered_with_an_item_for_each_one_asked_for() {
    for program in programs("sample_top_k_is_answered_with_an_item_for_each_one_asked_for") {
        let backend = program.start();
        let client = Client::connect(&backend.endpoint());
        let index = index_of(&client.greet(), "l4m");
        for count in [0, 3] {
            let items = vec![SampleTopKRequest { distribution_id: 0, k: 4 }; count];
            let request = Command::SampleTopKRequest(BatchSampleTopKRequest { items });
            client.send_l4m(index, 5, request);
            let answer = client.receive_l4m(index);
            let Some(response::Command::SampleTopK(batch)) = answer.command else {
                panic!("no sample: {answer:?}")
            };
            assert_eq!((answer.correlation_id, batch.items.len()), (5, count));
        }
    }
}

#[test]
fn commands_without_an_answer_get_none() {
    for program in programs("commands_without_an_answer_get_none") {
        let backend = program.start();
        let client = Client::connect(&backend.endpoint());
        let index = index_of(&client.greet(), "l4m");
        client.send_l4m(index, 1, Command::Allocate(BatchAllocate::default()));
        client.send_l4m(index, 2, get_info());
        // answers come in order, so an answer to the first would come first
        assert_eq!(client.receive_l4m(index).correlation_id, 2);
    }
}

#[test]
fn garbage_frames_harm_nobody() {
    for program in programs("garbage_frames_harm_nobody") {
        let backend = program.start();
        let client = Client::connect(&backend.endpoint());
        let protocols = client.greet();
        let (ping, l4m) = (index_of(&protocols, "ping"), index_of(&protocols, "l4m"));
        let mut random = fastrand::Rng::with_seed(0x5eed);
        for _ in 0..2000 {
            // two frames and more, so that none of it can be a handshake, and none a valid request
            let mut frames = vec![vec![random.u8(..)], vec![0xff; random.usize(1..200)]];
            for _ in 0..random.usize(..4) {
                frames.push(std::iter::repeat_with(|| random.u8(..)).take(20).collect());
            }
            client.send(&frames);
        }
        client.send(&[vec![1, 2, 3], vec![]]);
        client.send(&[vec![200], vec![]]);
        client.send(&vec![vec![ping]; limits::FRAME_PARTS * 10]);
        assert_eq!(client.ping(ping, 1, "still there").message, "Pong:still there");
        client.send_l4m(l4m, 2, get_info());
        assert_eq!(client.receive_l4m(l4m).correlation_id, 2);
        let other = Client::connect(&backend.endpoint());
        assert_eq!(other.greet(), protocols, "others are not touched");
    }
}

#[test]
fn oversized_frame_costs_its_sender_the_connection_and_nobody_else_anything() {
    let backend = Backend::start(FAKE, &[]);
    let honest = Client::connect(&backend.endpoint());
    let index = index_of(&honest.greet(), "ping");
    let greedy = Client::connect(&backend.endpoint());
    greedy.greet();
    let most = usize::try_from(limits::FRAME_BYTES).expect("fits");
    greedy.send(&[vec![index], vec![0; most + 1]]);
    assert_eq!(honest.ping(index, 1, "well").message, "Pong:well");
    // ZeroMQ reconnects by itself, as a new client
    assert_eq!(greedy.greet_successor(index), honest.greet());
}

#[test]
fn many_clients_are_answered_each_for_itself() {
    for program in programs("many_clients_are_answered_each_for_itself") {
        let backend = program.start();
        let clients: Vec<Client> = (0..50).map(|_| Client::connect(&backend.endpoint())).collect();
        let index = clients.iter().map(|client| index_of(&client.greet(), "ping")).max();
        let index = index.expect("clients");
        for (id, client) in (1000..).zip(&clients) {
            client.send_ping(index, id, &format!("client {id}"));
        }
        for (id, client) in (1000..).zip(&clients) {
            let answer = client.receive();
            let pong = ping::Pong::decode(&answer[1][..]).expect("a pong");
            assert_eq!((pong.correlation_id, pong.message), (id, format!("Pong:client {id}")));
        }
    }
}

#[test]
fn delimiter_of_a_req_is_echoed() {
    for program in programs("delimiter_of_a_req_is_echoed") {
        if !program.embedded {
            continue;
        }
        let backend = program.start();
        let client = Client::with_socket(&backend.endpoint(), zmq::REQ);
        let index = index_of(&client.greet(), "ping");
        assert_eq!(client.ping(index, 3, "req").correlation_id, 3);
    }
}

#[test]
fn term_ends_it_and_its_socket_is_private_until_then() {
    use std::os::unix::fs::PermissionsExt;
    for program in programs("term_ends_it_and_its_socket_is_private_until_then") {
        for signal in [Signal::TERM, Signal::INT] {
            let mut backend = program.start();
            let client = Client::connect(&backend.endpoint());
            client.greet();
            let mode = std::fs::metadata(backend.socket_file()).expect("there").permissions();
            assert_eq!(mode.mode() & 0o077, 0, "nobody else may connect");
            backend.signal(signal);
            let status = backend.ended();
            if program.embedded {
                assert_eq!(status.code(), Some(0), "{}", backend.output());
                assert!(!backend.socket_file().exists());
            }
        }
    }
}

#[test]
fn term_at_any_moment_of_a_start_leaves_no_socket_behind() {
    for step in 0..40 {
        let mut backend = Backend::start(FAKE, &[]);
        // no wait for anything, but a walk over the moments of a start, which takes about 2 ms
        std::thread::park_timeout(Duration::from_micros(100) * step);
        backend.signal(Signal::TERM);
        let status = backend.ended();
        // before it took over the signal, TERM kills it
        let killed = status.signal() == Some(Signal::TERM.as_raw());
        assert!(killed || status.code() == Some(0), "{status}: {}", backend.output());
        assert!(!backend.socket_file().exists());
    }
}

#[test]
fn client_goes_on_with_the_successor_on_the_same_endpoint() {
    for program in programs("client_goes_on_with_the_successor_on_the_same_endpoint") {
        let mut backend = program.start();
        let client = Client::connect(&backend.endpoint());
        let index = index_of(&client.greet(), "ping");
        client.ping(index, 1, "before");
        let args: Vec<&str> = program.args.iter().map(String::as_str).collect();
        // killed, so that it leaves its socket file behind
        backend.restart(&program.command, &args);
        // the connection is made anew by itself; the successor asks for a handshake
        client.greet_successor(index);
        assert_eq!(client.ping(index, 3, "after").message, "Pong:after");
    }
}

#[test]
fn a_log_on_a_full_disk_costs_its_lines_and_nothing_else() {
    let line = "exec \"$0\" \"$@\" 2>/dev/full";
    let symphony = env!("CARGO_BIN_EXE_symphony");
    let mut backend =
        Backend::start("sh", &["-c", line, symphony, "backend", "--model-name", MODEL]);
    assert!(!Client::connect(&backend.endpoint()).greet().is_empty());
    backend.signal(Signal::TERM);
    assert_eq!(backend.ended().code(), Some(0));
}
