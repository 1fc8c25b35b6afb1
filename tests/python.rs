//! The Python scripts of `examples/python`, as they are, against real backends and the real service; and clients as owners
//! of the Python service have them.
//!
//! They need the virtual environment that `tests/python/make_venv.sh` makes; without it they are named as left out.
#![allow(clippy::expect_used, reason = "a test")]

#[path = "support/contract.rs"]
mod contract;
#[path = "support/python.rs"]
mod python;

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use contract::backend::{Backend, FAKE, until};
use contract::program::{Run, finish, spawn};
use contract::{Place, Service, fake_command, kill_pid, runs};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A running `client.py`. Dropping it kills its process.
struct ClientScript {
    child: Child,
    folder: tempfile::TempDir,
}

impl ClientScript {
    fn start(interpreter: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let output = std::fs::File::create(folder.path().join("output")).expect("output file");
        let child = Command::new(interpreter)
            .arg(python::script("client.py"))
            .args(args)
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("cloned"))
            .stdout(output)
            .spawn()
            .expect("started");
        Self { child, folder }
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).expect("output")
    }

    fn says(&self, text: &str) {
        until(text, || self.output().contains(text).then_some(()));
    }

    fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the client's end", || child.try_wait().expect("waited"))
    }
}

impl Drop for ClientScript {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn python_client_talks_to_the_embedded_backend() {
    let Some(interpreter) = python::interpreter("python_client_talks_to_the_embedded_backend")
    else {
        return;
    };
    let backend = Backend::start(FAKE, &["--model-name", "org/tiny"]);
    let args = ["--model-endpoint", &backend.endpoint(), "--pings", "5"];
    let mut client = ClientScript::start(&interpreter, &args);
    assert!(client.ended().success(), "{}", client.output());
    let output = client.output();
    assert!(output.contains("greeted: l4m, ping"), "{output}");
    assert!(output.contains("info: model=org/tiny version="), "{output}");
    assert!(output.contains("pong 5: Pong:5"), "{output}");
}

#[test]
fn python_client_goes_on_when_its_backend_is_killed() {
    let Some(interpreter) = python::interpreter("python_client_goes_on_when_its_backend_is_killed")
    else {
        return;
    };
    let script = python::script("backend.py");
    let programs: [(&str, Vec<&str>); 2] = [(FAKE, vec![]), (&interpreter, vec!["-u", &script])];
    for (program, args) in programs {
        let mut backend = Backend::start(program, &args);
        let endpoint = backend.endpoint();
        let pace = ["--interval", "0.02", "--patience", "0.5"];
        let mut client_args = vec!["--model-endpoint", &endpoint, "--pings", "200"];
        client_args.extend(pace);
        let mut client = ClientScript::start(&interpreter, &client_args);
        client.says("pong 3:");
        backend.restart(program, &args);
        assert!(client.ended().success(), "{}", client.output());
        let output = client.output();
        assert!(output.contains("trying again"), "the kill was felt: {output}");
        assert!(output.matches("greeted:").count() >= 2, "{output}");
        assert_eq!(output.matches("pong ").count(), 200, "no ping is left out: {output}");
    }
}

#[test]
fn python_client_says_plainly_that_there_is_no_service() {
    let Some(interpreter) =
        python::interpreter("python_client_says_plainly_that_there_is_no_service")
    else {
        return;
    };
    let folder = tempfile::tempdir().expect("folder");
    let nowhere = format!("ipc://{}/nobody", folder.path().display());
    let args = ["--model", "tiny", "--cli-endpoint", &nowhere, "--load-patience", "0.2"];
    let mut client = ClientScript::start(&interpreter, &args);
    assert_eq!(client.ended().code(), Some(1));
    assert!(client.output().contains("Service not responding (timeout)"), "{}", client.output());
}

/// A configuration in the seed form, word for word as owners have it, but for its places.
fn seed(place: &Place) -> String {
    json!({
        "model_backends": {"llama3": "backend.py"},
        "endpoints": {
            "client_handshake": place.client_endpoint(), "cli_management": place.cli_endpoint(),
        },
        "logging": {
            "level": "INFO", "format": "%(asctime)s [%(levelname)8s] %(name)s: %(message)s",
            "date_format": "%Y-%m-%d %H:%M:%S",
        },
        "supported_models": [
            {"name": "Llama-3.1-8B-Instruct", "fullname": "meta-llama/Llama-3.1-8B-Instruct", "type": "llama3"},
        ],
    })
    .to_string()
}

/// A service in that form; `python3` is the interpreter of the virtual environment, found in `PATH` as an owner's is.
fn seed_service(place: &Place, interpreter: &str) -> Service {
    place.write("config.json", &seed(place));
    let folder = Path::new(interpreter).parent().expect("in a folder").display();
    let path = std::env::var("PATH").expect("set");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python");
    let mut command = place.command(&["serve", "--backend-path"]);
    command.arg(examples).env("PATH", format!("{folder}:{path}")).env("TMPDIR", place.folder());
    command.env("SYMPHONY__SERVICE__MODEL_SOCKET_DIR", place.text("models"));
    place.launch(&mut command, &place.cli_endpoint(), &place.client_endpoint())
}

const LLAMA: &str = "Llama-3.1-8B-Instruct";

#[test]
fn python_backend_serves_below_a_service_of_the_seed_form() {
    let Some(interpreter) =
        python::interpreter("python_backend_serves_below_a_service_of_the_seed_form")
    else {
        return;
    };
    let place = Place::new();
    let mut service = seed_service(&place, &interpreter);
    let loaded = service.load(LLAMA);
    let model = service.model(LLAMA);
    assert_eq!(model["supported_protocols"], json!(["l4m", "ping"]));
    assert_eq!(service.client().handshake(None).protocols, ["l4m", "ping"]);
    let arguments = std::fs::read(format!("/proc/{}/cmdline", loaded["pid"])).expect("it runs");
    let arguments: Vec<_> =
        arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let endpoint = loaded["endpoint"].as_str().expect("text");
    let script = python::script("backend.py");
    let fullname = "meta-llama/Llama-3.1-8B-Instruct";
    let expected = ["-u", &script, "--ipc-endpoint", endpoint, "--model-name", fullname, ""];
    assert_eq!(arguments[1..], expected);
    assert!(arguments[0].ends_with("/python3"), "{}", arguments[0]);
    service.logs(&format!("symphony-backend: [{LLAMA}] serving on {endpoint}"));

    let mut client = through_the_service(&interpreter, &place, LLAMA, &["--pings", "3"]);
    assert!(client.ended().success(), "{}", client.output());
    let output = client.output();
    for line in [
        &format!("endpoint: {endpoint}"),
        "service speaks: l4m, ping",
        &format!("info: model={fullname} version=0.1.0 block_size=16"),
        "pong 3: Pong:3",
    ] {
        assert!(output.contains(line), "{line}: {output}");
    }
    service.stop();
    assert!(!runs(&loaded["pid"]));
    place.assert_nothing_left();
}

fn through_the_service(
    interpreter: &str,
    place: &Place,
    model: &str,
    more: &[&str],
) -> ClientScript {
    let (cli, clients) = (place.cli_endpoint(), place.client_endpoint());
    let mut arguments =
        vec!["--model", model, "--cli-endpoint", &cli, "--handshake-endpoint", &clients];
    arguments.extend(more);
    ClientScript::start(interpreter, &arguments)
}

#[test]
fn python_client_of_the_service_goes_on_when_the_backend_is_killed() {
    let Some(interpreter) =
        python::interpreter("python_client_of_the_service_goes_on_when_the_backend_is_killed")
    else {
        return;
    };
    let place = Place::new();
    let mut service = seed_service(&place, &interpreter);
    let pace = ["--pings", "100", "--interval", "0.02", "--patience", "0.5"];
    let mut client = through_the_service(&interpreter, &place, LLAMA, &pace);
    client.says("pong 3:");
    let first = service.model(LLAMA);
    kill_pid(&first["pid"], Signal::KILL);
    assert!(client.ended().success(), "{}", client.output());
    let output = client.output();
    assert_eq!(output.matches("pong ").count(), 100, "no ping is left out: {output}");
    assert!(output.matches("greeted:").count() >= 2, "the kill was felt: {output}");
    assert_eq!(output.matches("endpoint:").count(), 1, "it asked the service once: {output}");
    let second = service.model(LLAMA);
    assert_eq!((&second["endpoint"], &second["restarts"]), (&first["endpoint"], &json!(1)));
    assert!(
        second["last_exit"]["reason"].as_str().is_some_and(|reason| reason.contains("signal 9"))
    );
    service.stop();
    place.assert_nothing_left();
}

#[test]
fn python_backend_that_fails_tells_its_traceback() {
    let Some(interpreter) = python::interpreter("python_backend_that_fails_tells_its_traceback")
    else {
        return;
    };
    let place = Place::new();
    let broken = place.write("broken.py", "raise RuntimeError('CUDA out of memory')\n");
    let mut configuration = place.configuration(vec![json!({"name": "m", "type": "broken"})]);
    configuration["service"]["interpreter"] = interpreter.into();
    configuration["service"]["backend_path"] = broken.parent().expect("a folder").to_str().into();
    configuration["model_backends"]["broken"] =
        json!({"script": "broken.py", "restart": {"max_consecutive_failures": 0}});
    place.configure(&configuration);
    let mut service = place.serve(&[]);
    let error = service.cli().error("load-model", json!({"model_name": "m", "wait": true}));
    assert!(error.contains("exit 1 before ready"), "{error}");
    assert!(error.ends_with("RuntimeError: CUDA out of memory"), "{error}");
    service.stop();
    place.assert_nothing_left();
}

/// One command of the client with two seconds of patience.
fn two_seconds(interpreter: &str, place: &Place, arguments: &[&str]) -> Run {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/two_second_client.py");
    let mut command = Command::new(interpreter);
    command.arg(script).arg(place.path("config.json")).args(arguments).stdin(Stdio::null());
    finish(spawn(&mut command))
}

#[test]
fn python_client_of_two_seconds_is_served() {
    let Some(interpreter) = python::interpreter("python_client_of_two_seconds_is_served") else {
        return;
    };
    let place = Place::new();
    let mut configuration: Value = serde_json::from_str(&seed(&place)).expect("JSON");
    configuration["model_backends"] = json!({
        "llama3": {"command": fake_command(&[])},
        "slow": {"command": fake_command(&["--load-time", "1h"])},
        "broken": {"command": ["/no/such/program"]},
    });
    let own = place.configuration(Vec::new());
    configuration["service"] = own["service"].clone();
    let models = configuration["supported_models"].as_array_mut().expect("models");
    models.push(json!({"name": "broken", "type": "broken"}));
    models.extend((0..5).map(|n| json!({"name": format!("slow-{n}"), "type": "slow"})));
    place.configure(&configuration);
    let mut service = place.serve(&[]);
    let ask = |arguments: &[&str]| two_seconds(&interpreter, &place, arguments);

    let endpoint = service.load(LLAMA)["endpoint"].as_str().expect("text").to_owned();
    let told = format!("Model loaded successfully on endpoint: {endpoint}\n");
    assert_eq!(ask(&["load-model", LLAMA]).all(), (Some(0), told.as_str(), ""));
    let status = format!(
        "Service Status: running\nClient Endpoint: {}\nCLI Endpoint: {}\n{LLAMA} llama3 {endpoint} 0 minutes\n",
        place.client_endpoint(),
        place.cli_endpoint()
    );
    assert_eq!(ask(&["status"]).all(), (Some(0), status.as_str(), ""));
    // a load that takes longer than its patience; one late answer of a busy machine proves nothing
    let in_time = (0..5).find_map(|n| {
        let name = format!("slow-{n}");
        let run = ask(&["load-model", &name]);
        let late = (Some(1), "", "Service not responding (timeout)\n");
        (run.all() != late).then_some((name, run))
    });
    let (name, run) = in_time.expect("an answer within 2 s in five tries");
    let reserved = service.model(&name)["endpoint"].as_str().expect("text").to_owned();
    let told = format!("Model loaded successfully on endpoint: {reserved}\n");
    assert_eq!(run.all(), (Some(0), told.as_str(), ""));

    let run = ask(&["load-model", "broken"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.contains("/no/such/program"), "{run:?}");
    let run = ask(&["load-model", "llama-3.1-8b-instruct"]);
    let suggested = format!(
        "Error: Unknown model 'llama-3.1-8b-instruct' - not found in configuration. \
         Similar model name found. Do you mean: {LLAMA}?\n"
    );
    assert_eq!(run.all(), (Some(1), "", suggested.as_str()));
    let unloaded = format!("Model {LLAMA} unloaded\n");
    assert_eq!(ask(&["unload-model", LLAMA]).all(), (Some(0), unloaded.as_str(), ""));
    assert_eq!(ask(&["stop-service"]).all(), (Some(0), "Service shutdown requested\n", ""));
    assert_eq!(service.ended().code(), Some(0));
    let run = ask(&["status"]);
    assert_eq!(run.all(), (Some(1), "", "Service not responding (timeout)\n"));
    place.assert_nothing_left();
}
