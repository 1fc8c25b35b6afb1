//! Section 5: what clients and backends say to each other when the service has led them together.

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use symphony::protocols::l4m::request::Command;
use symphony::protocols::l4m::response;
use symphony::protocols::l4m::{
    BatchAllocate, BatchSampleTopKRequest, GetInfoRequest, SampleTopKRequest,
};

use crate::support::backend::{Client, FAKE, until};
use crate::support::{Place, fake, kill_pid, service_with};

fn socket_of(loaded: &Value) -> &Path {
    let endpoint = loaded["endpoint"].as_str().expect("text");
    Path::new(endpoint.strip_prefix("ipc://").expect("an ipc endpoint"))
}

#[test]
fn endpoints_are_named_by_the_contract_and_unique() {
    let models: Vec<_> = (0..5).map(|n| fake(&format!("m{n}"), &[])).collect();
    let (place, mut service) = service_with(models);
    let mut names = Vec::new();
    for n in 0..5 {
        let loaded = service.load(&format!("m{n}"));
        let socket = socket_of(&loaded);
        assert_eq!(socket.parent().expect("a folder"), place.path("models"));
        let name = socket.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
        let digits = name.strip_prefix("symphony-model-").expect("by the contract");
        assert!(
            digits.len() == 8 && digits.chars().all(|c| "0123456789abcdef".contains(c)),
            "{name}"
        );
        assert!(socket.exists());
        names.push(name);
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5);
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn a_client_keeps_its_endpoint_and_its_socket_when_the_backend_is_killed() {
    let (place, mut service) = service_with(vec![fake("tiny", &[])]);
    let loaded = service.load("tiny");
    let client = Client::connect(loaded["endpoint"].as_str().expect("text"));
    assert_eq!(client.greet(), ["l4m", "ping"]);
    assert_eq!(client.ping(1, 7, "one").message, "Pong:one");
    kill_pid(&loaded["pid"], Signal::KILL);
    assert_eq!(client.greet_successor(1), ["l4m", "ping"]);
    let model = service.model("tiny");
    assert_eq!((&model["endpoint"], &model["restarts"]), (&loaded["endpoint"], &json!(1)));
    assert_ne!(model["pid"], loaded["pid"]);
    service.cli().data("unload-model", json!({"model_name": "tiny"}));
    until("its socket file is removed", || (!socket_of(&loaded).exists()).then_some(()));
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn ready_means_that_the_backend_answers_and_not_that_time_has_passed() {
    // binds late, with the socket of a dead predecessor in its place until then
    let (_place, mut service) = service_with(vec![fake("slow", &["--load-time", "1500ms"])]);
    let mut asker = service.cli();
    asker.begin("load-model", json!({"model_name": "slow", "wait": true}));
    let starting = service.model_becomes("slow", "starting");
    drop(std::os::unix::net::UnixListener::bind(socket_of(&starting)).expect("bound"));
    let loaded = asker.receive_json()["data"].clone();
    assert_eq!(loaded["state"], "ready");
    let log = service.cli().data("logs", json!({"model_name": "slow"}));
    assert!(log["lines"].as_array().expect("lines").contains(&json!("ready")), "{log}");
    assert_eq!(
        Client::connect(loaded["endpoint"].as_str().expect("text")).greet(),
        ["l4m", "ping"]
    );
    service.stop();
}

#[test]
fn the_framing_between_clients_and_backends() {
    let place = Place::new();
    let mut configuration = place.configuration(vec![
        fake("scripted", &[]),
        json!({"name": "embedded", "fullname": "org/embedded", "type": "built-in"}),
    ]);
    configuration["model_backends"]["built-in"] = json!({"embedded": true});
    place.configure(&configuration);
    let mut service = place.serve(&[]);
    for name in ["scripted", "embedded"] {
        let response = service.client().handshake(Some(name));
        let client = Client::connect(&response.model_endpoint);
        // no protobuf is no greeting
        client.send(&[[0xff; 3]]);
        assert_eq!(client.receive(), [[0x00]], "{name}");
        assert_eq!(client.greet(), response.protocols, "{name}");
        let index = |protocol: &str| {
            let position = response.protocols.iter().position(|known| known == protocol);
            u8::try_from(position.expect("offered")).expect("fits")
        };
        let (l4m, ping) = (index("l4m"), index("ping"));

        let pong = client.ping(ping, 42, "hällo");
        assert_eq!((pong.correlation_id, pong.message.as_str()), (42, "Pong:hällo"));
        client.send_l4m(l4m, 1, Command::GetInfo(GetInfoRequest {}));
        let info = client.receive_l4m(l4m);
        let Some(response::Command::GetInfo(told)) = info.command else { panic!("{info:?}") };
        assert_eq!((info.correlation_id, told.model_name), (1, format!("org/{name}")));
        // commands without an answer, an index nobody has: the next answer is the next question's
        client.send_l4m(l4m, 2, Command::Allocate(BatchAllocate::default()));
        client.send_ping(9, 3, "nobody");
        let wanted = SampleTopKRequest { distribution_id: 1, k: 5 };
        let batch = BatchSampleTopKRequest { items: vec![wanted; 3] };
        client.send_l4m(l4m, 4, Command::SampleTopKRequest(batch));
        let sampled = client.receive_l4m(l4m);
        let Some(response::Command::SampleTopK(batch)) = sampled.command else {
            panic!("{sampled:?}")
        };
        assert_eq!((sampled.correlation_id, batch.items.len()), (4, 3));
    }
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn a_backend_of_kind_http_is_led_to_by_its_port() {
    let place = Place::with_models(vec![json!({
        "name": "server", "type": "fake", "kind": "http",
        "command": [FAKE, "--http", "{port}", "--load-time", "300ms"],
    })]);
    let mut service = place.serve(&[]);
    let loaded = service.load("server");
    let address = loaded["endpoint"].as_str().expect("text").strip_prefix("http://").expect("http");
    assert!(address.starts_with("127.0.0.1:"), "{loaded}");
    let mut stream = std::net::TcpStream::connect(address).expect("it serves");
    std::io::Write::write_all(
        &mut stream,
        b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .expect("sent");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("read");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // the restarted one has the same port
    kill_pid(&loaded["pid"], Signal::KILL);
    let model = until("it is back", || {
        Some(service.model("server")).filter(|m| m["state"] == "ready" && m["restarts"] == 1)
    });
    assert_eq!(model["endpoint"], loaded["endpoint"]);
    service.stop();
    place.assert_nothing_left();
}
