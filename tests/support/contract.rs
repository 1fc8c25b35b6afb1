//! A real service in a private folder, and what a test asks of it.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::expect_used, reason = "tests only")]

#[path = "backend.rs"]
pub mod backend;
#[path = "../gateway/client.rs"]
pub mod client;
#[path = "../cli/program.rs"]
pub mod program;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use backend::{FAKE, until};
use client::Client;
use program::Run;

/// A folder that is home and working directory of everything a test starts. What still runs there at the end is killed.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("sy").tempdir().expect("folder") }
    }

    /// One with a `config.json` that names these models.
    pub fn with_models(models: Vec<Value>) -> Self {
        let place = Self::new();
        place.configure(&place.configuration(models));
        place
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// A path in it, as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Where its service takes commands.
    pub fn cli_endpoint(&self) -> String {
        format!("ipc://{}", self.text("run/cli"))
    }

    /// Where its service takes handshakes.
    pub fn client_endpoint(&self) -> String {
        format!("ipc://{}", self.text("run/clients"))
    }

    /// A configuration that keeps everything in this folder; type `fake` is the fault-scripted backend.
    pub fn configuration(&self, models: Vec<Value>) -> Value {
        json!({
            "endpoints": {
                "client_handshake": self.client_endpoint(), "cli_management": self.cli_endpoint(),
            },
            "service": {
                "model_socket_dir": self.text("models"),
                "log_dir": self.text("logs"),
                "runtime_dir": self.text("runtime"),
            },
            "model_backends": { "fake": { "command": fake_command(&[]) } },
            "supported_models": models,
        })
    }

    /// Writes `config.json`, which is found because this is the working directory.
    pub fn configure(&self, configuration: &Value) {
        self.write("config.json", &configuration.to_string());
    }

    /// Writes a file and the folders above it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("folders");
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Writes a program.
    pub fn write_program(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.write(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        path
    }

    /// The `symphony` binary at home here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(self.folder());
        command.args(arguments);
        command
    }

    /// Runs `symphony` to its end.
    pub fn run(&self, arguments: &[&str]) -> Run {
        program::finish(program::spawn(&mut self.command(arguments)))
    }

    /// Starts `symphony serve` and waits for its sockets.
    pub fn serve(&self, arguments: &[&str]) -> Service {
        let mut command = self.command(&["serve"]);
        command.args(arguments);
        self.launch(&mut command, &self.cli_endpoint(), &self.client_endpoint())
    }

    /// Starts a service by this command and waits until both sockets take connections.
    pub fn launch(&self, command: &mut Command, cli: &str, clients: &str) -> Service {
        let number = (0..).find(|n| !self.path(&format!("stderr-{n}")).exists()).expect("a number");
        let log = self.path(&format!("stderr-{number}"));
        let stderr = std::fs::File::create(&log).expect("log file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn().expect("spawned");
        let (cli, clients) = (cli.to_owned(), clients.to_owned());
        let mut service = Service { child, log, cli, clients };
        until("the service's sockets", || {
            if let Some(status) = service.child.try_wait().expect("waited") {
                panic!("the service ended ({status}): {}", service.log());
            }
            [&service.cli, &service.clients].into_iter().all(|socket| listens(socket)).then_some(())
        });
        service
    }

    /// Processes at home here, by their environment.
    pub fn processes(&self) -> Vec<i32> {
        let mark = format!("HOME={}", self.folder().display()).into_bytes();
        let pids = std::fs::read_dir("/proc")
            .expect("/proc")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == mark)
        })
        .collect()
    }

    /// Asserts that no process, socket, lock or private file is left.
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.processes(), [0; 0], "processes are left");
        for folder in ["run", "models", "runtime"] {
            let left: Vec<_> = match std::fs::read_dir(self.path(folder)) {
                Ok(entries) => entries.map(|entry| entry.expect("entry").path()).collect(),
                Err(_) => Vec::new(),
            };
            assert_eq!(left, Vec::<PathBuf>::new(), "files are left in {folder}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = kill_process(Pid::from_raw(pid).expect("no zero"), Signal::KILL);
        }
    }
}

/// Whether an endpoint takes connections.
pub fn listens(endpoint: &str) -> bool {
    match endpoint.split_once("://") {
        Some(("ipc", path)) => UnixStream::connect(path).is_ok(),
        Some(("tcp", address)) => std::net::TcpStream::connect(address).is_ok(),
        _ => panic!("no endpoint: {endpoint}"),
    }
}

/// The fake backend's command with these flags.
pub fn fake_command(flags: &[&str]) -> Value {
    let mut words = vec![FAKE, "--ipc-endpoint", "{endpoint}", "--model-name", "{fullname}"];
    words.extend(flags);
    json!(words)
}

/// A model of the fake backend that misbehaves as these flags say.
pub fn fake(name: &str, flags: &[&str]) -> Value {
    let fullname = format!("org/{name}");
    json!({"name": name, "fullname": fullname, "type": "fake", "command": fake_command(flags)})
}

/// The same with further keys.
pub fn fake_with(name: &str, flags: &[&str], further: Value) -> Value {
    let mut model = fake(name, flags);
    let further = further.as_object().expect("a table").clone();
    model.as_object_mut().expect("a table").extend(further);
    model
}

/// A folder with a configuration, and the service that runs there.
pub fn service_with(models: Vec<Value>) -> (Place, Service) {
    let place = Place::with_models(models);
    let service = place.serve(&[]);
    (place, service)
}

/// A running service. Dropping it ends it.
pub struct Service {
    child: Child,
    log: PathBuf,
    cli: String,
    clients: String,
}

impl Service {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("log")).into_owned()
    }

    /// Waits for a line of its log.
    pub fn logs(&self, text: &str) -> String {
        until(text, || self.log().lines().find(|line| line.contains(text)).map(str::to_owned))
    }

    /// A DEALER on the socket for commands.
    pub fn cli(&self) -> Client {
        Client::dealer(&self.cli)
    }

    /// A DEALER on the socket for handshakes.
    pub fn client(&self) -> Client {
        Client::dealer(&self.clients)
    }

    /// Loads a model and waits until it is ready.
    pub fn load(&self, model: &str) -> Value {
        let data = self.cli().data("load-model", json!({"model_name": model, "wait": true}));
        assert_eq!(data["state"], "ready", "{data}");
        data
    }

    /// A model as `status` shows it.
    pub fn model(&self, name: &str) -> Value {
        let status = self.cli().data("status", json!({"all": true}));
        let models = status["models"].as_array().expect("models");
        let found = models.iter().find(|model| model["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {status}")).clone()
    }

    /// Waits for a state of a model.
    pub fn model_becomes(&self, name: &str, state: &str) -> Value {
        until(&format!("{name} becomes {state}"), || {
            Some(self.model(name)).filter(|model| model["state"] == state)
        })
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the service's end", || child.try_wait().expect("waited"))
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        let data = self.cli().data("stop-service", json!({}));
        assert_eq!(data, json!({"message": "Service shutdown requested"}));
        assert_eq!(self.ended().code(), Some(0), "{}", self.log());
    }

    /// Kills it: nothing of it is cleaned up.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        // again and again: from the second signal on nothing is waited for, and still nothing is left behind
        let _ = backend::patiently(|| {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            self.child.try_wait().ok().flatten()
        });
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills a process by its pid as a reply told it.
pub fn kill_pid(pid: &Value, signal: Signal) {
    let pid = pid.as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), signal).expect("signalled");
}

/// Whether a process runs.
pub fn runs(pid: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // the state stands behind the name; a zombie is gone
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
