//! Section 4: the client handshake socket.

use prost::Message;
use serde_json::json;
use symphony::protocols::handshake::Response;

use crate::support::backend::until;
use crate::support::client::Client;
use crate::support::{fake, fake_with, runs, service_with};

#[test]
fn without_a_ready_backend_the_answer_is_the_empty_response() {
    let (_place, mut service) = service_with(vec![fake("slow", &["--load-time", "1h"])]);
    let client = service.client();
    client.send(b"");
    assert_eq!(client.receive(), b"");
    // one that only loads has no protocols to offer
    let mut cli = service.cli();
    cli.begin("load-model", json!({"model_name": "slow"}));
    service.model_becomes("slow", "starting");
    client.send(b"");
    assert_eq!(client.receive(), b"");
    service.stop();
}

#[test]
fn the_protocols_of_all_ready_backends_come_in_the_order_of_the_contract() {
    let (place, mut service) = service_with(vec![
        fake("a", &["--protocols", "zeta,ping"]),
        fake("b", &["--protocols", "l4m-vision,alpha"]),
        fake("c", &["--protocols", "l4m,ping"]),
    ]);
    let client = service.client();
    service.load("a");
    assert_eq!(client.handshake(None).protocols, ["ping", "zeta"]);
    service.load("b");
    service.load("c");
    let all = ["l4m", "l4m-vision", "ping", "alpha", "zeta"].map(str::to_owned).to_vec();
    let expected = Response { protocols: all, ..Response::default() };
    // an empty message, an empty wish, a field of a newer client
    for request in [&b""[..], &[0x0a, 0x00], &[0x78, 0x01], &[0x82, 0x01, 0x01, b'x']] {
        client.send(request);
        assert_eq!(
            Response::decode(&*client.receive()).expect("protobuf"),
            expected,
            "{request:?}"
        );
    }
    // a REQ brings its delimiter and wants it back
    assert_eq!(Client::req(&place.client_endpoint()).handshake(None), expected);
    service.cli().data("unload-model", json!({"model_name": "a"}));
    until("its protocol is gone", || {
        (client.handshake(None).protocols == ["l4m", "l4m-vision", "ping", "alpha"]).then_some(())
    });
    service.stop();
}

#[test]
fn with_a_model_it_is_loaded_and_its_endpoint_told() {
    let (place, mut service) =
        service_with(vec![fake("tiny", &["--load-time", "200ms"]), fake("other", &[])]);
    let client = service.client();
    let first = client.handshake(Some("tiny"));
    let model = service.model("tiny");
    assert_eq!(first.protocols, ["l4m", "ping"]);
    assert_eq!(model["endpoint"], first.model_endpoint.as_str());
    assert!(first.instance.starts_with("tiny-"), "{first:?}");
    assert_eq!((first.error.as_str(), first.generation, first.state.as_str()), ("", 1, "ready"));
    // running already, by its full name, from a REQ
    assert_eq!(Client::req(&place.client_endpoint()).handshake(Some("org/tiny")), first);
    let generation = |response: Response| response.generation;
    service.cli().data("restart-model", json!({"model_name": "tiny", "wait": true}));
    assert_eq!(generation(client.handshake(Some("tiny"))), 2);
    service.stop();
}

#[test]
fn a_model_that_cannot_be_had_is_answered_with_the_reason() {
    let parking = json!({"restart": {"fatal_codes": [3]}});
    let (place, mut service) = service_with(vec![fake_with(
        "parked",
        &["--exit-before-ready", "--exit-code", "3"],
        parking,
    )]);
    let client = service.client();
    let refused = |name: &str| {
        let response = client.handshake(Some(name));
        assert_eq!((response.model_endpoint.as_str(), response.protocols.len()), ("", 0));
        response.error
    };
    assert_eq!(refused("x"), "Unknown model 'x' - not found in configuration");
    assert!(refused("PARKED").ends_with("Do you mean: parked?"));
    assert!(refused("parked").contains("exit code 3 is listed as fatal"));
    let before = service.model_becomes("parked", "parked");
    // clients ask again and again: that must not start what was given up
    for _ in 0..10 {
        assert!(refused("parked").contains("exit code 3 is listed as fatal"));
    }
    let after = service.model("parked");
    assert_eq!((&after["generation"], &after["state"]), (&before["generation"], &json!("parked")));
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn what_is_no_protobuf_gets_no_reply() {
    let (_place, mut service) = service_with(vec![fake("tiny", &[])]);
    let pid = service.load("tiny")["pid"].clone();
    let client = service.client();
    for bytes in [&[0xff; 9][..], &[0x0a, 0x05, b'x'], &[0x0a, 0x01, 0xff], b"{}"] {
        client.send(bytes);
    }
    client.socket.send_multipart(["two", "frames"], 0).expect("sent");
    // the next reply belongs to the next good request
    assert_eq!(client.handshake(Some("tiny")).generation, 1);
    assert!(service.logs("message refused").contains("WARNING"));
    assert!(runs(&pid));
    service.stop();
}
