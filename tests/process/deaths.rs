//! A backend that is killed is replaced at once, and its clients go on.

use rustix::process::Signal;
use serde_json::json;

use crate::backend::Client;
use crate::service::{Service, fake};

#[test]
fn sigkilled_is_replaced() {
    let service = Service::start(&[fake("a", &[]), fake("b", &[])]);
    let (before, other) = (service.load("a"), service.load("b"));
    let client = Client::connect(before.endpoint());
    let protocols = client.greet();
    let ping = protocols.iter().position(|name| name == "ping").expect("it speaks ping") as u8;
    assert_eq!(client.ping(ping, 1, "before").message, "Pong:before");

    before.signal(Signal::KILL);
    let after = service.wait_for_successor(&before);
    assert_ne!(after.pid(), before.pid());
    assert_eq!((after.generation(), after.restarts()), (2, 1));
    assert_eq!(after.endpoint(), before.endpoint(), "clients reconnect by themselves");
    let exit = &after.0["last_exit"];
    assert_eq!(exit["status"], json!({ "signal": { "number": 9, "core_dumped": false } }));
    assert_eq!((after.exit_reason(), &exit["generation"]), ("signal 9", &json!(1)));

    // the same socket: it only greets again, as with every new backend
    assert_eq!(client.greet_successor(ping), protocols);
    assert_eq!(client.ping(ping, 2, "after").message, "Pong:after");

    let kinds = service.kinds("a");
    assert_eq!(kinds, ["starting", "ready", "exited", "starting", "ready"], "and no backoff first");
    assert_eq!(service.row("b").0["pid"], other.0["pid"], "others are untouched");
    assert_eq!(service.row("b").restarts(), 0);
    service.stop();
}

#[test]
fn all_killed_at_once_are_all_replaced() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let service = Service::start(&names.map(|name| fake(name, &[])));
    let before = names.map(|name| service.load(name));
    before.iter().for_each(|row| row.signal(Signal::KILL));
    for row in &before {
        let after = service.wait_for_successor(row);
        assert_eq!((after.restarts(), after.endpoint()), (1, row.endpoint()));
    }
    service.stop();
}

#[test]
fn a_backend_killed_while_it_loads_is_replaced() {
    let service = Service::start(&[fake("a", &["--load-time", "300ms"])]);
    let load = service.order_load("a");
    let before = service.wait_for("a", "its process", |row| !row.0["pid"].is_null());
    before.signal(Signal::KILL);
    let loaded = load.outcome().expect("the load waits for the successor");
    assert_eq!(loaded["state"], "ready");
    let after = service.row("a");
    assert_eq!((after.generation(), after.restarts()), (2, 1));
    assert_eq!(after.exit_reason(), "signal 9 before ready");
    service.stop();
}
