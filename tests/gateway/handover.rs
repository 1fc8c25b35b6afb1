//! A gateway that hands its sockets over: its clients stay connected, and each request is answered once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::{path::Path, sync::Arc};

use prost::Message;
use serde_json::{Value, json};
use symphony::protocols::handshake::{Request, Response};

use crate::client::Client;
use crate::world::{Plan, Relay, World, endpoint, eventually, names};

fn open(folder: &Path, version: &'static str) -> World {
    World::open(folder, Plan { version, ..Plan::default() }).expect("open")
}

/// Clients of all kinds, which ask without a pause and fail when an answer is missing, is another's, or comes twice.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Vec<Arc<AtomicUsize>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(folder: &Path) -> Self {
        let kinds: [fn(&Path, &Counted); 5] =
            [ask_in_turn, ask_in_a_row, ask_by_req, greet, greet_by_req];
        let mut load = Self { is_over: Arc::default(), answered: Vec::new(), threads: Vec::new() };
        for kind in kinds.into_iter().cycle().take(2 * kinds.len()) {
            let answered = Arc::new(AtomicUsize::new(0));
            let counted = Counted { answered: answered.clone(), is_over: load.is_over.clone() };
            let folder = folder.to_owned();
            load.threads.push(std::thread::spawn(move || kind(&folder, &counted)));
            load.answered.push(answered);
        }
        load
    }

    /// Waits until each of them was answered some more.
    fn go_on(&self) {
        let before: Vec<_> = self.answered.iter().map(|count| count.load(SeqCst)).collect();
        eventually("all are answered", || {
            let failed = self.threads.iter().any(JoinHandle::is_finished);
            failed
                || self.answered.iter().zip(&before).all(|(now, then)| now.load(SeqCst) > then + 20)
        });
        assert!(!self.threads.iter().any(JoinHandle::is_finished), "a client failed");
    }

    fn end(mut self) {
        self.is_over.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("every request was answered once");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
    }
}

struct Counted {
    answered: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Counted {
    /// One more answer; whether to go on.
    fn one(&self) -> bool {
        self.answered.fetch_add(1, SeqCst);
        !self.is_over.load(SeqCst)
    }
}

fn nothing_more_comes(client: &Client) {
    assert_eq!(client.socket.poll(zmq::POLLIN, 0), Ok(0), "a reply that nobody asked for");
}

fn ask_in_turn(folder: &Path, counted: &Counted) {
    let mut client = Client::dealer(&endpoint(folder, "cli"));
    let commands = ["status", "version", "list-models", "load-model", "logs"];
    for command in commands.into_iter().cycle() {
        client.data(command, json!({"model_name": "ready", "wait": true}));
        nothing_more_comes(&client);
        if !counted.one() {
            return;
        }
    }
}

fn ask_in_a_row(folder: &Path, counted: &Counted) {
    let mut client = Client::dealer(&endpoint(folder, "cli"));
    loop {
        let mut asked: Vec<_> = (0..16).map(|_| client.begin("version", json!({}))).collect();
        while !asked.is_empty() {
            let reply = client.receive_json();
            let id = reply["correlation_id"].as_str().expect("an id");
            let at = asked.iter().position(|asked| asked == id).expect("one that was asked, once");
            asked.swap_remove(at);
        }
        if !counted.one() {
            return nothing_more_comes(&client);
        }
    }
}

fn ask_by_req(folder: &Path, counted: &Counted) {
    let mut client = Client::req(&endpoint(folder, "cli"));
    loop {
        client.data("status", json!({}));
        if !counted.one() {
            return;
        }
    }
}

fn greet(folder: &Path, counted: &Counted) {
    let client = Client::dealer(&endpoint(folder, "client"));
    loop {
        assert_eq!(client.handshake(None).protocols, ["l4m", "ping"]);
        let answer = client.handshake(Some("ready"));
        assert_eq!(answer.generation, 3, "{answer:?}");
        // no request, so there is no answer that could be taken for that of another client
        client.send([0xff, 0xff]);
        nothing_more_comes(&client);
        if !counted.one() {
            return;
        }
    }
}

fn greet_by_req(folder: &Path, counted: &Counted) {
    let client = Client::req(&endpoint(folder, "client"));
    loop {
        let answer = client.handshake(Some("ready"));
        assert_eq!(answer.generation, 3, "{answer:?}");
        if !counted.one() {
            return;
        }
    }
}

#[test]
fn no_request_is_lost_or_answered_twice_in_a_row_of_handovers() {
    let folder = tempfile::tempdir().expect("folder");
    let mut world = open(folder.path(), "0");
    let load = Load::start(folder.path());
    let mut relays = Vec::new();
    for version in ["1", "2", "3", "4", "5"] {
        load.go_on();
        relays.push(world.hand_over());
        world = open(folder.path(), version);
        let mut newcomer = Client::dealer(&world.cli());
        assert_eq!(newcomer.data("version", json!({}))["version"], version);
    }
    load.go_on();
    load.end();
    drop(relays);
    drop(world);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_client_stays_connected_and_is_answered_by_whoever_is_there() {
    let folder = tempfile::tempdir().expect("folder");
    let world = open(folder.path(), "old");
    let mut client = Client::dealer(&world.cli());
    assert_eq!(client.data("version", json!({}))["version"], "old");
    let first = world.hand_over();
    // asked while nobody is there: it waits
    let id = client.begin("version", json!({}));
    let world = open(folder.path(), "new");
    let reply = client.receive_json();
    assert_eq!((&reply["correlation_id"], &reply["data"]["version"]), (&json!(id), &json!("new")));
    // and through the relay of the old one alone, not through both
    let second = world.hand_over();
    let _world = open(folder.path(), "newest");
    assert_eq!(client.data("version", json!({}))["version"], "newest");
    let ended = std::thread::spawn(move || {
        second.ended();
        second
    });
    while !ended.is_finished() {
        assert_eq!(client.data("version", json!({}))["version"], "newest");
    }
    // quiet for a while, the first one ends, too; the client connects anew by itself
    first.ended();
    assert_eq!(client.data("version", json!({}))["version"], "newest");
}

#[test]
fn requests_that_wait_for_a_model_are_asked_of_the_successor() {
    let folder = tempfile::tempdir().expect("folder");
    let world = open(folder.path(), "old");
    let mut client = Client::dealer(&world.cli());
    let mut req = Client::req(&world.cli());
    let engine = Client::dealer(&world.client());
    let slow = json!({"model_name": "slow", "wait": true});
    let mut asked =
        vec![client.begin("load-model", slow.clone()), client.begin("restart-model", slow.clone())];
    req.begin("load-model", slow);
    engine.send(Request { model: "slow".into() }.encode_to_vec());
    eventually("they wait", || world.behaviour.slow_loads.load(SeqCst) == 4);
    let relay = world.hand_over();
    let world = open(folder.path(), "new");
    eventually("the new one was asked", || world.behaviour.slow_loads.load(SeqCst) == 4);
    nothing_more_comes(&client);
    world.release_slow_loads();
    for _ in 0..2 {
        let reply: Value = client.receive_json();
        assert_eq!(reply["data"]["endpoint"], "ipc:///tmp/symphony-model-slow", "{reply}");
        asked.retain(|id| reply["correlation_id"] != id.as_str());
    }
    assert!(asked.is_empty(), "each was answered: {asked:?}");
    assert_eq!(req.receive_json()["success"], true);
    assert_eq!(Response::decode(&*engine.receive()).expect("protobuf").generation, 3);
    assert_eq!(world.behaviour.slow_loads.load(SeqCst), 4, "asked once");
    drop(relay);
}

#[test]
fn who_asks_for_an_upgrade_hears_of_it_from_the_next_service() {
    let folder = tempfile::tempdir().expect("folder");
    let world = open(folder.path(), "old");
    let mut client = Client::dealer(&world.cli());
    assert_eq!(client.error("upgrade", json!({})), "no upgrade to None");
    let named = client.error("upgrade", json!({"binary": "/b"}));
    assert_eq!(named, "no upgrade to Some(\"/b\")");
    for wrong in [json!(""), json!(7), json!(["/b"])] {
        let error = client.error("upgrade", json!({"binary": wrong}));
        assert_eq!(error, "parameter binary must be a path");
    }
    let id = client.begin("upgrade", json!({"binary": "/held"}));
    eventually("it is under way", || !world.behaviour.upgrades.lock().expect("whole").is_empty());
    let _relay = world.hand_over();
    let _world = open(folder.path(), "new");
    let reply = client.receive_json();
    assert_eq!((&reply["correlation_id"], &reply["error"]), (&json!(id), &json!("new goes on")));
}

#[test]
fn an_unload_that_was_done_meanwhile_is_no_failure() {
    let world = World::new();
    let mut client = Client::dealer(&world.cli());
    let again = client.data("unload-model", json!({"model_name": "gone", "again": true}));
    assert_eq!(again["message"], "Model gone unloaded");
    let error = client.error("unload-model", json!({"model_name": "gone"}));
    assert_eq!(error, "Model gone not found");
}

#[test]
fn a_slow_request_holds_up_no_other_client_of_the_relay() {
    let folder = tempfile::tempdir().expect("folder");
    let world = open(folder.path(), "old");
    let mut slow = Client::dealer(&world.cli());
    let mut quick = Client::dealer(&world.cli());
    quick.data("version", json!({}));
    slow.begin("load-model", json!({"model_name": "slow", "wait": true}));
    eventually("it waits", || world.behaviour.slow_loads.load(SeqCst) == 1);
    let _relay: Relay = world.hand_over();
    let world = open(folder.path(), "new");
    eventually("it waits there", || world.behaviour.slow_loads.load(SeqCst) == 1);
    for _ in 0..50 {
        assert_eq!(quick.data("version", json!({}))["version"], "new");
    }
    // nor its own
    assert_eq!(slow.data("version", json!({}))["version"], "new");
    world.release_slow_loads();
    assert_eq!(slow.receive_json()["success"], true);
}

#[test]
fn clients_over_tcp_stay_connected_too() {
    let folder = tempfile::tempdir().expect("folder");
    let on_tcp = |version| {
        // two processes would share one; here it tells who was reached that both have their own
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let cli = format!("tcp://{}", free.local_addr().expect("an address"));
        drop(free);
        let plan = Plan { version, cli: Some(cli.clone()), ..Plan::default() };
        (World::open(folder.path(), plan).expect("open"), cli)
    };
    let (world, cli) = on_tcp("old");
    let mut client = Client::dealer(&cli);
    assert_eq!(client.data("version", json!({}))["version"], "old");
    let relay = world.hand_over_with(&[&cli]);
    let id = client.begin("version", json!({}));
    let (world, _) = on_tcp("new");
    let reply = client.receive_json();
    assert_eq!((&reply["correlation_id"], &reply["data"]["version"]), (&json!(id), &json!("new")));
    drop(relay);
    drop(world);
    assert_eq!(names(folder.path()), ["run"]);
    assert_eq!(names(&folder.path().join("run")), [""; 0]);
}

#[test]
fn a_socket_without_a_way_to_the_successor_is_closed() {
    let folder = tempfile::tempdir().expect("folder");
    // no folder can be made there
    std::fs::write(folder.path().join("run"), "in the way").expect("written");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let cli = format!("tcp://{}", free.local_addr().expect("an address"));
    drop(free);
    let plan = |version| Plan { version, cli: Some(cli.clone()), ..Plan::default() };
    let world = World::open(folder.path(), plan("old")).expect("open");
    let mut client = Client::dealer(&cli);
    assert_eq!(client.data("version", json!({}))["version"], "old");
    let _relay = world.hand_over_with(&[&cli]);
    goes_on_at_the_next(&mut client, || World::open(folder.path(), plan("new")).ok());
}

#[test]
fn a_socket_that_is_in_the_way_of_the_successor_is_closed() {
    let folder = tempfile::tempdir().expect("folder");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let cli = format!("tcp://{}", free.local_addr().expect("an address"));
    drop(free);
    let plan = |version| Plan { version, cli: Some(cli.clone()), ..Plan::default() };
    let world = World::open(folder.path(), plan("old")).expect("open");
    let mut client = Client::dealer(&cli);
    assert_eq!(client.data("version", json!({}))["version"], "old");
    // nobody keeps its listener, so the next one needs the port
    let _relay = world.hand_over();
    goes_on_at_the_next(&mut client, || World::open(folder.path(), plan("new")).ok());
}

/// The client connects anew by itself, as soon as the port is free for the next one.
fn goes_on_at_the_next(client: &mut Client, mut open: impl FnMut() -> Option<World>) {
    let mut world = None;
    eventually("the port is free", || {
        world = open();
        world.is_some()
    });
    assert_eq!(client.data("version", json!({}))["version"], "new");
}

#[test]
fn a_relay_that_nobody_follows_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("folder");
    let world = open(folder.path(), "old");
    let relay = world.hand_over();
    assert_eq!(names(folder.path()), ["cli", "cli.lock", "client", "client.lock"]);
    drop(relay);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_successor_that_fails_costs_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let world = open(folder.path(), "old");
    let mut client = Client::dealer(&world.cli());
    client.data("version", json!({}));
    let relay = world.hand_over();
    let id = client.begin("version", json!({}));
    // it has one socket and not the other
    let taken = folder.path().join("client");
    let aside = folder.path().join("aside");
    std::fs::rename(&taken, &aside).expect("move");
    std::fs::write(&taken, "in the way").expect("write");
    assert!(World::open(folder.path(), Plan::default()).is_err());
    std::fs::remove_file(&taken).expect("remove");
    std::fs::rename(&aside, &taken).expect("move");
    let world = open(folder.path(), "second try");
    let reply = client.receive_json();
    assert_eq!(reply["correlation_id"], id.as_str());
    assert_eq!(reply["data"]["version"], "second try");
    drop(relay);
    drop(world);
    assert_eq!(names(folder.path()), [""; 0]);
}
