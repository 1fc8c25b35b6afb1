//! `symphony serve`, or `start-service` with its heart, in a private folder of its own.

use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, STATUS};
use super::figures::{monotonic, since};
use super::processes;

const SYMPHONY: &str = env!("CARGO_BIN_EXE_symphony");
/// How long a stop may take: a thousand backends end in a second or two.
const STOP: Duration = Duration::from_secs(60);

/// A running service. Dropping it ends it and all its backends, also when the benchmark fails.
pub struct Service {
    process: Child,
    folder: tempfile::TempDir,
}

impl Service {
    /// Starts a service that may load these models, each on the embedded backend. Its log goes to a file.
    pub fn start(models: &[String]) -> Self {
        Self::start_by("serve", models, |_| {})
    }

    /// The same by another command, with a changed configuration.
    pub fn start_by(command: &str, models: &[String], change: impl FnOnce(&mut Value)) -> Self {
        let folder = private_folder();
        let config = folder.path().join("symphony.json");
        let mut settings = configuration(folder.path(), models);
        change(&mut settings);
        fs::write(&config, settings.to_string()).expect("written");
        let by = command;
        let log = File::create(folder.path().join("service.log")).expect("a log");
        let mut command = Command::new(SYMPHONY);
        // settings of whoever runs the benchmark must not count
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SYMPHONY") {
                command.env_remove(name);
            }
        }
        let process = command
            .args([by, "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("cloned"))
            .stderr(log)
            .spawn()
            .expect("started");
        let service = Self { process, folder };
        let first = service.client().ask(STATUS).to_vec();
        assert!(String::from_utf8_lossy(&first).contains(r#""success":true"#), "{first:?}");
        service
    }

    /// The process that was started: of the service itself, or of its heart.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A new client of its CLI socket.
    pub fn client(&self) -> Client {
        Client::connect(&self.cli())
    }

    /// Where commands are sent.
    pub fn cli(&self) -> String {
        endpoint(self.folder.path(), "cli.sock")
    }

    /// Where handshakes are sent.
    pub fn handshake(&self) -> String {
        endpoint(self.folder.path(), "client.sock")
    }

    /// Ends it in order; the processes and sockets that it left behind.
    pub fn stop(mut self) -> Vec<String> {
        self.end();
        let processes = processes::with_argument_in(self.folder.path());
        let sockets = fs::read_dir(self.folder.path())
            .expect("the folder")
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|file_type| file_type.is_socket()));
        let sockets = sockets.map(|entry| entry.path().display().to_string());
        processes.iter().map(|pid| format!("process {pid}")).chain(sockets).collect()
    }

    fn end(&mut self) {
        processes::terminate(self.pid());
        let asked = monotonic();
        while self.process.try_wait().is_ok_and(|status| status.is_none()) && since(asked) < STOP {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            self.end();
            // does nothing where the end came in order
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        for pid in processes::with_argument_in(self.folder.path()) {
            processes::kill(pid);
        }
    }
}

/// A folder for one run.
pub fn private_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("symphony-bench-").tempdir().expect("a folder")
}

/// The address of a socket file.
pub fn endpoint(folder: &Path, name: &str) -> String {
    let path: PathBuf = folder.join(name);
    format!("ipc://{}", path.display())
}

fn configuration(folder: &Path, models: &[String]) -> Value {
    let models = models.iter().map(|name| json!({ "name": name, "type": "builtin" }));
    json!({
        "endpoints": {
            "client_handshake": endpoint(folder, "client.sock"),
            "cli_management": endpoint(folder, "cli.sock"),
        },
        "service": {
            "model_socket_dir": folder,
            "log_dir": folder.join("logs"),
            "runtime_dir": folder.join("run"),
        },
        "model_backends": { "builtin": { "embedded": true } },
        "supported_models": models.collect::<Vec<_>>(),
    })
}
