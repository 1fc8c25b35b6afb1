//! A private folder with a service in it, for commands that need one of their own.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use super::configuration::{self, Request, ServiceFlags};
use super::daemon::{self, Started};
use super::error::CliError;
use super::interruption::Interruption;
use crate::clock::Clock;
use crate::limits;

const CLI_SOCKET: &str = "cli.sock";
const CONFIGURATION: &str = "symphony.json";
/// Nothing here takes a second; a busy machine gets a generous bound.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub struct Stage {
    /// The folder.
    pub folder: PathBuf,
    /// The management endpoint of its service.
    pub endpoint: String,
    /// Its process.
    pub pid: u64,
}

impl Stage {
    /// Makes the folder and starts a service there. `models` are the sections of its configuration that tell them. What is
    /// made is told to `interruption`, where there is one.
    ///
    /// # Errors
    /// When the folder cannot be written, or the service does not get ready; nothing is left then.
    pub fn build(
        folder: PathBuf,
        models: &Value,
        flags: ServiceFlags,
        interruption: Option<&Interruption>,
    ) -> Result<Self, CliError> {
        match making(interruption, || make_folder(&folder, models))
            .and_then(|config| start(config, flags, interruption))
        {
            Ok((endpoint, pid)) => Ok(Self { folder, endpoint, pid }),
            Err(error) => {
                // an interrupted service ends, too: that is no failure of its start
                if let Some(interruption) = interruption {
                    interruption.give_way();
                }
                // made a moment ago by us alone
                let _ = fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    /// Stops the service and removes the folder.
    ///
    /// # Errors
    /// What was left behind, or why the service could not be asked to stop.
    pub fn strike(self) -> Result<(), CliError> {
        let stopped = Client::connect(&self.endpoint)
            .and_then(|client| client.ask("stop-service", json!({}), limits::CLI_PATIENCE));
        let clock = Clock::start();
        while process_lives(self.pid) && clock.now().since_origin() < PATIENCE {
            std::thread::park_timeout(limits::DAEMON_CHECK_EVERY);
        }
        let mut left = Vec::new();
        if process_lives(self.pid) {
            left.push(format!("process {}", self.pid));
        }
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if ![CONFIGURATION, "state"].contains(&name.as_str()) {
                left.push(name);
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
        stopped?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(CliError::Failed(format!("the service left behind: {}", left.join(", "))))
        }
    }
}

fn making<T>(interruption: Option<&Interruption>, make: impl FnOnce() -> T) -> T {
    match interruption {
        Some(interruption) => interruption.making(make),
        None => make(),
    }
}

/// Makes the private folder and the configuration in it.
fn make_folder(folder: &Path, models: &Value) -> Result<PathBuf, CliError> {
    let config = folder.join(CONFIGURATION);
    let made = fs::DirBuilder::new().mode(0o700).create(folder);
    made.and_then(|()| fs::write(&config, format!("{:#}", configuration_of(folder, models))))
        .map_err(|error| {
            CliError::Failed(format!("cannot write to {}: {error}", folder.display()))
        })?;
    Ok(config)
}

fn configuration_of(folder: &Path, models: &Value) -> Value {
    let path = |name: &str| folder.join(name).display().to_string();
    json!({
        "endpoints": {
            "client_handshake": format!("ipc://{}", path("client.sock")),
            "cli_management": format!("ipc://{}", path(CLI_SOCKET)),
        },
        "service": {
            "model_socket_dir": folder.display().to_string(),
            "log_dir": path("state/logs"),
            "runtime_dir": path("run"),
        },
        "model_backends": models["model_backends"],
        "supported_models": models["supported_models"],
    })
}

fn start(
    config: PathBuf,
    flags: ServiceFlags,
    interruption: Option<&Interruption>,
) -> Result<(String, u64), CliError> {
    let request = Request { config: Some(config), flags };
    let settings = configuration::load(&request)?;
    let endpoint = settings.endpoints.cli_management.clone();
    let launched = making(interruption, || {
        let launched = daemon::launch(&settings, &request)?;
        if let Some(interruption) = interruption {
            interruption.service_is(launched.pid());
        }
        Ok::<_, CliError>(launched)
    })?;
    match launched.wait_until_ready(&settings, PATIENCE)? {
        Started::Ready { pid } => Ok((endpoint, pid)),
        Started::Already => Err(CliError::Failed("the private folder is in use".to_owned())),
    }
}

fn process_lives(pid: u64) -> bool {
    // a zombie has no command line any more; whoever is its parent has still to reap it
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}
