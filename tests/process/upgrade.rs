//! Another binary takes over while the models run on and clients go on asking.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;

use prost::Message;
use rustix::process::Signal;
use serde_json::{Value, json};
use symphony::protocols::handshake::{Request, Response};

use crate::backend::{FAKE, LIMIT, until};
use crate::manager::Manager;
use crate::processes;
use crate::python;
use crate::service::{Row, Service, fake, program};

const SYMPHONY: &str = env!("CARGO_BIN_EXE_symphony");

/// The same program at another path: `status` tells which one runs.
fn build(service: &Service, name: &str) -> String {
    let path = service.scratch(name);
    if fs::hard_link(SYMPHONY, &path).is_err() {
        fs::copy(SYMPHONY, &path).expect("copied");
    }
    path.display().to_string()
}

/// A program that answers all questions well, and then, as a service, does this.
fn bad_build(path: &Path, as_a_service: &str) -> String {
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in\n--version) echo symphony 9.9.9 ;;\nserve) {as_a_service} ;;\nesac\n"
    );
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, script).expect("written");
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755)).expect("set");
    fs::rename(unfinished, path).expect("moved");
    path.display().to_string()
}

fn upgrade(service: &Service, binary: &str) -> Value {
    service.ask("upgrade", json!({ "binary": binary }))
}

fn binary(service: &Service) -> String {
    service.ask("status", json!({}))["binary"].as_str().expect("a path").to_owned()
}

/// A process as it was; nothing of it may change.
fn same(row: &Row) -> (u32, u64, String, u64) {
    (row.pid(), row.generation(), row.endpoint().to_owned(), row.restarts())
}

/// A client of the client socket.
struct Greeter(zmq::Socket);

impl Greeter {
    fn connect(kind: zmq::SocketType, endpoint: &str) -> Self {
        let socket = zmq::Context::new().socket(kind).expect("socket");
        socket.set_linger(0).expect("linger");
        socket.set_rcvtimeo(i32::try_from(LIMIT.as_millis()).expect("fits")).expect("limit");
        socket.connect(endpoint).expect("connected");
        Self(socket)
    }

    /// Asks to be led to a model.
    fn greet(&self, model: &str) -> Response {
        self.0.send(Request { model: model.into() }.encode_to_vec(), 0).expect("sent");
        let answer = self.0.recv_bytes(0).expect("a reply in time");
        let answer = Response::decode(&*answer).expect("protobuf");
        assert_eq!(answer.error, "", "{answer:?}");
        answer
    }
}

/// Clients that ask without a pause; one that is not answered, or by a failure, or twice, fails.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn idle() -> Self {
        Self { is_over: Arc::default(), answered: Arc::default(), clients: Vec::new() }
    }

    fn start(service: &Service) -> Self {
        let mut load = Self::idle();
        let (cli, client) = (service.endpoint("cli"), service.endpoint("client"));
        for command in ["status", "load-model", "list-models", "version"] {
            let manager = Manager::connect(&cli);
            load.client(move || {
                let asked = manager.ask(command, json!({ "model_name": "a", "wait": true }));
                asked.unwrap_or_else(|error| panic!("{command}: {error}"));
                assert!(!manager.has_more(), "a reply that nobody asked for");
            });
        }
        for kind in [zmq::DEALER, zmq::REQ] {
            let greeter = Greeter::connect(kind, &client);
            load.client(move || assert_eq!(greeter.greet("b").state, "ready"));
        }
        load
    }

    fn client(&mut self, mut ask: impl FnMut() + Send + 'static) {
        let (is_over, answered) = (self.is_over.clone(), self.answered.clone());
        self.clients.push(std::thread::spawn(move || {
            while !is_over.load(SeqCst) {
                ask();
                answered.fetch_add(1, SeqCst);
            }
        }));
    }

    fn end(mut self) -> usize {
        self.is_over.store(true, SeqCst);
        for client in self.clients.drain(..) {
            client.join().expect("every request was answered once");
        }
        self.answered.load(SeqCst)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
    }
}

#[test]
fn upgrades_back_and_forth_keep_every_process_and_lose_no_request() {
    let service = Service::through_heart(&[fake("a", &[]), fake("b", &[]), fake("c", &[])]);
    let rows = ["a", "b", "c"].map(|name| service.load(name));
    let builds = [build(&service, "one"), build(&service, "other")];
    let load = Load::start(&service);
    for (turn, binary_then) in builds.iter().cycle().take(20).enumerate() {
        let before = binary(&service);
        let upgraded = upgrade(&service, binary_then);
        assert_eq!(upgraded["binary"], *binary_then, "turn {turn}: {upgraded}");
        assert_eq!(upgraded["from_binary"], before, "turn {turn}");
        assert_eq!((&upgraded["models_kept"], &upgraded["models_lost"]), (&json!(3), &json!([])));
        assert_eq!(binary(&service), *binary_then);
        for row in &rows {
            let now = service.wait_for_state(row.name(), "ready");
            assert_eq!(same(&now), same(row), "turn {turn}");
        }
    }
    assert!(load.end() > 100, "the clients were at work");
    assert_eq!(service.status()["heart"]["restarts"], 0);
    let last = service.happened_to("service");
    assert!(last.iter().any(|event| event.kind() == "upgraded"), "{last:?}");
    service.stop();
}

#[test]
fn clients_in_python_are_answered_too() {
    let Some(interpreter) = python::interpreter("clients_in_python_are_answered_too") else {
        return;
    };
    let service = Service::through_heart(&[fake("a", &[])]);
    let stop = service.scratch("stop");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/restless_client.py");
    let client = Command::new(interpreter)
        .args([script, &service.endpoint("cli")])
        .arg(&stop)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    for name in ["one", "other", "third", "fourth"] {
        upgrade(&service, &build(&service, name));
    }
    fs::write(&stop, "").expect("written");
    let output = client.wait_with_output().expect("waited");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let answered = String::from_utf8_lossy(&output.stdout);
    assert!(answered.trim().parse::<u64>().is_ok_and(|answered| answered > 0), "{answered}");
    service.stop();
}

#[test]
fn relays_of_services_before_end_when_nobody_needs_them() {
    let service = Service::through_heart(&[]);
    let old = service.core_pid();
    upgrade(&service, &build(&service, "one"));
    assert_ne!(service.core_pid(), old);
    // lock and pipe to the guard tell who lives: a relay must not have them
    let held = fs::read_dir(format!("/proc/{old}/fd")).expect("it lives on for this client");
    let held: Vec<_> = held.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
    assert!(!held.iter().any(|target| target.ends_with("service.pid")), "{held:?}");
    let processes = service.mark().processes();
    let guard = processes.into_iter().find(|pid| processes::is_guard(*pid)).expect("a guard");
    let watched = fs::read_link(format!("/proc/{guard}/fd/0")).expect("its pipe");
    assert!(!held.contains(&watched), "{watched:?} in {held:?}");
    // not by a question: that would need it
    until("the end of the relay", || (!Path::new(&format!("/proc/{old}")).exists()).then_some(()));
    service.stop();
}

#[test]
fn exits_are_known_while_a_relay_is_still_the_parent() {
    let ends = "trap 'kill $!; exit 7' USR1; \"$0\" --ipc-endpoint \"$1\" & wait";
    let ends = program("ends", &["sh", "-c", ends, FAKE, "{endpoint}"]);
    let service = Service::through_heart(&[fake("dies", &[]), ends]);
    let rows = [service.load("dies"), service.load("ends")];
    let old = service.core_pid();
    upgrade(&service, &build(&service, "one"));
    rows[0].signal(Signal::KILL);
    rows[1].signal(Signal::USR1);
    let hows = [json!({ "signal": { "number": 9, "core_dumped": false } }), json!({ "code": 7 })];
    for (row, how) in rows.iter().zip(hows) {
        assert_eq!(service.wait_for_successor(row).0["last_exit"]["status"], how);
    }
    assert!(Path::new(&format!("/proc/{old}")).exists(), "nothing was seen: the relay is gone");
    service.stop();
}

#[test]
fn a_relay_ends_with_its_service() {
    let service = Service::through_heart(&[]);
    upgrade(&service, &build(&service, "one"));
    // this manager's questions went through the relay just now
    service.stop();
}

#[test]
fn a_load_that_is_waited_for_is_answered_by_the_next_service() {
    let service = Service::through_heart(&[fake("slow", &["--load-time", "2s"])]);
    let waits = service.order_load("slow");
    let starting = service.wait_for("slow", "started", |row| row.0["pid"].is_u64());
    assert_eq!(starting.state(), "starting");
    upgrade(&service, &build(&service, "one"));
    let loaded = waits.outcome().expect("it is loaded");
    assert_eq!((&loaded["state"], &loaded["pid"]), (&json!("ready"), &json!(starting.pid())));
    assert!(!waits.has_more());
    assert_eq!(same(&service.row("slow")), same(&starting));
    service.stop();
}

#[test]
fn a_service_on_tcp_is_upgraded_too() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let tcp = format!("tcp://{}", free.local_addr().expect("an address"));
    drop(free);
    let service = Service::through_heart_with(&[fake("a", &[])], |file| {
        file["endpoints"]["client_handshake"] = json!(tcp);
    });
    let row = service.load("a");
    let mut load = Load::idle();
    for kind in [zmq::DEALER, zmq::REQ] {
        let greeter = Greeter::connect(kind, &tcp);
        let endpoint = row.endpoint().to_owned();
        load.client(move || assert_eq!(greeter.greet("a").model_endpoint, endpoint));
    }
    for name in ["one", "other", "third"] {
        let upgraded = upgrade(&service, &build(&service, name));
        assert_eq!(upgraded["models_kept"], 1, "{upgraded}");
        let newcomer = Greeter::connect(zmq::DEALER, &tcp);
        assert_eq!(newcomer.greet("a").model_endpoint, row.endpoint());
    }
    assert!(load.end() > 0, "the clients were at work");
    service.stop();
}

/// What is left of an upgrade that failed: the old binary, and everything as it was.
fn fails(service: &Service, row: &Row, binary_then: &str) -> String {
    let before = binary(service);
    let load = Load::start(service);
    let error = service.refused("upgrade", json!({ "binary": binary_then }));
    assert_eq!(same(&service.wait_for_state(row.name(), "ready")), same(row));
    assert_eq!(binary(service), before);
    load.end();
    let told = service.happened_to("service");
    assert!(told.iter().any(|event| event.kind() == "upgrade_failed"), "{told:?}");
    error
}

#[test]
fn a_new_binary_that_crashes_gives_way_to_the_old_one() {
    let service = Service::through_heart(&[fake("a", &[]), fake("b", &[])]);
    let row = service.load("a");
    service.load("b");
    let crashes = bad_build(&service.scratch("bad"), "exit 70");
    let error = fails(&service, &row, &crashes);
    assert!(error.contains("the upgrade to 9.9.9") && error.contains("exit 70"), "{error}");
    // and a good one is taken after it
    let good = build(&service, "good");
    assert_eq!(upgrade(&service, &good)["binary"], good);
    assert_eq!(same(&service.wait_for_state("a", "ready")), same(&row));
    service.stop();
}

#[test]
fn a_new_binary_that_hangs_gives_way_to_the_old_one() {
    let service = Service::through_heart_with(&[fake("a", &[]), fake("b", &[])], |file| {
        file["service"]["heart"]["upgrade_timeout"] = json!("2s");
    });
    let row = service.load("a");
    service.load("b");
    let error = fails(&service, &row, &bad_build(&service.scratch("bad"), "sleep 1000"));
    assert!(error.contains("it was not ready in time"), "{error}");
    service.stop();
}

#[test]
fn the_old_binary_comes_back_though_its_file_was_replaced() {
    let service = Service::through_heart(&[fake("a", &[]), fake("b", &[])]);
    let path = PathBuf::from(build(&service, "installed"));
    upgrade(&service, &path.display().to_string());
    let row = service.load("a");
    service.load("b");
    bad_build(&path, "exit 70");
    // what lies there now is the default
    let error = service.refused("upgrade", json!({}));
    assert!(error.contains("exit 70"), "{error}");
    assert_eq!(same(&service.wait_for_state("a", "ready")), same(&row));
    assert_eq!(service.ask("version", json!({}))["version"], env!("CARGO_PKG_VERSION"));
    service.stop();
}

#[test]
fn what_is_refused_touches_nothing() {
    let service = Service::through_heart(&[fake("a", &[])]);
    let row = service.load("a");
    let core = service.core_pid();
    let text = service.scratch("text");
    fs::write(&text, "no program").expect("written");
    let refused = |binary: &str| service.refused("upgrade", json!({ "binary": binary }));
    assert!(refused(&text.display().to_string()).contains("cannot be run"));
    assert!(refused("/no/where").contains("cannot be run"));
    assert!(refused("/bin/true").contains("is no symphony"));
    let other_state = service.scratch("other");
    let script = "#!/bin/sh\ncase \"$1\" in\n--version) echo symphony 0.0.1 ;;\n\
                  state) echo 'it has version 1, this program reads 0 to 0' >&2; exit 1 ;;\nesac\n";
    fs::write(&other_state, script).expect("written");
    fs::set_permissions(&other_state, fs::Permissions::from_mode(0o755)).expect("set");
    let error = until("a file that is not open for writing any more", || {
        Some(refused(&other_state.display().to_string())).filter(|told| !told.contains("busy"))
    });
    assert!(error.contains("cannot take over the models that run: it has version 1"), "{error}");
    assert_eq!(service.core_pid(), core);
    assert_eq!(same(&service.row("a")), same(&row));
    let events = service.happened_to("service");
    let refusals = events.iter().filter(|event| event.kind() == "upgrade_refused").count();
    assert!(refusals >= 4, "{events:?}");
    service.stop();
}

#[test]
fn a_service_without_a_heart_is_not_upgraded() {
    let service = Service::start(&[]);
    let error = service.refused("upgrade", json!({ "binary": SYMPHONY }));
    assert!(error.contains("this service has no heart and cannot be upgraded"), "{error}");
    service.stop();
}

#[test]
fn the_command_tells_what_came_of_it() {
    let service = Service::through_heart(&[fake("a", &[])]);
    service.load("a");
    let one = build(&service, "one");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(SYMPHONY);
        command.args(["--endpoint", &service.endpoint("cli")]).args(arguments);
        let output = command.output().expect("ran");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, told, _) = run(&["upgrade", "--binary", &one]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("Models: 1 model kept its process"), "{told}");
    assert!(told.contains(&format!("Binary: {one}")), "{told}");
    let (code, told, _) = run(&["--json", "upgrade"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((code, &told["binary"], &told["models_kept"]), (Some(0), &json!(one), &json!(1)));
    let (code, _, error) = run(&["upgrade", "--binary", "/bin/true"]);
    assert_eq!(code, Some(1));
    assert!(error.starts_with("Error: /bin/true is no symphony"), "{error}");
    service.stop();
}
