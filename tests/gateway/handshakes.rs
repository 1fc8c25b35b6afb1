//! The client handshake socket.

use prost::Message;
use symphony::protocols::handshake::Response;

use crate::client::Client;
use crate::world::{Plan, World, eventually};

#[test]
fn handshake_without_a_wish_tells_the_protocols() {
    let world = World::new();
    let client = Client::dealer(&world.client());
    let expected = Response { protocols: vec!["l4m".into(), "ping".into()], ..Response::default() };
    assert_eq!(client.handshake(None), expected);
    client.send(b"");
    assert_eq!(Response::decode(&*client.receive()).expect("protobuf"), expected);
    // unknown fields are ignored
    client.send([0x78, 0x01]);
    assert_eq!(Response::decode(&*client.receive()).expect("protobuf"), expected);
}

#[test]
fn handshake_without_backends_is_the_empty_response() {
    let world = World::with(Plan { models: Vec::new(), ..Plan::default() });
    let client = Client::dealer(&world.client());
    client.send(b"");
    assert_eq!(client.receive(), b"");
}

#[test]
fn handshake_with_a_model_leads_to_it() {
    let world = World::new();
    let response = Client::dealer(&world.client()).handshake(Some("ready"));
    assert_eq!(response.protocols, ["l4m", "ping"]);
    assert_eq!(response.model_endpoint, "ipc:///tmp/symphony-model-ready");
    assert_eq!(response.error, "");
    assert!(response.instance.starts_with("ready-"), "{}", response.instance);
    assert_eq!(response.generation, 3);
    assert_eq!(response.state, "ready", "the answer was held until then");
}

#[test]
fn handshake_with_a_model_that_fails_tells_why() {
    let world = World::new();
    let client = Client::dealer(&world.client());
    let response = client.handshake(Some("x"));
    assert_eq!(response.error, "Unknown model 'x' - not found in configuration");
    assert_eq!((response.model_endpoint.as_str(), response.protocols.len()), ("", 0));
    assert!(client.handshake(Some("failing")).error.starts_with("exit 3 before ready"));
}

#[test]
fn handshake_that_is_no_protobuf_gets_no_reply() {
    let world = World::new();
    let client = Client::dealer(&world.client());
    client.send([0xff; 9]);
    client.send([0x0a, 0x05, b'x']);
    // the next reply belongs to the next good request
    assert_eq!(client.handshake(None).protocols.len(), 2);
    // a reply may arrive a moment before it is counted
    eventually("two are refused and one is sent", || {
        let state = world.state();
        (state.refused_protobuf, state.sent) == (2, 1)
    });
}

#[test]
fn handshake_of_a_req_gets_its_delimiter_back() {
    let world = World::new();
    let client = Client::req(&world.client());
    assert_eq!(client.handshake(None).protocols.len(), 2);
    assert_eq!(client.handshake(Some("ready")).state, "ready");
}
