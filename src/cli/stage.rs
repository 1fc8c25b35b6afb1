//! A private folder with a service in it, for commands that need one of their own.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use super::client::Client;
use super::configuration::{self, Request, ServiceFlags};
use super::daemon::{self, Started};
use super::error::CliError;
use super::interruption::Interruption;
use crate::chaos::processes::{self, serving_in};
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
    /// Whether folder and service are somebody else's to take away, or are gone.
    is_over: bool,
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
            Ok((endpoint, pid)) => Ok(Self { folder, endpoint, pid, is_over: false }),
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

    /// Leaves folder and service to whoever uses them from now on.
    pub fn leave(mut self) {
        self.is_over = true;
    }

    /// Stops the service and removes the folder. A service that does not stop is killed, and its backends with it.
    ///
    /// # Errors
    /// What was left behind, or why the service could not be asked to stop; nothing is left of it then either.
    pub fn strike(self) -> Result<(), CliError> {
        let stopped = Client::connect(&self.endpoint)
            .and_then(|client| client.ask("stop-service", json!({}), limits::CLI_PATIENCE));
        self.wait_for_end(PATIENCE);
        let mut left = Vec::new();
        if self.service_lives() {
            left.push(format!("process {} of the service", self.pid));
        }
        let backends = serving_in(&self.folder);
        left.extend(
            backends.iter().map(|backend| format!("process {} of a backend", backend.pid())),
        );
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if ![CONFIGURATION, "state"].contains(&name.as_str()) {
                left.push(name);
            }
        }
        drop(self);
        if !left.is_empty() {
            let left = left.join(", ");
            return Err(CliError::Failed(format!(
                "the service left behind: {left} (taken away now)"
            )));
        }
        stopped?;
        Ok(())
    }

    fn wait_for_end(&self, patience: Duration) {
        let clock = Clock::start();
        while self.service_lives() && clock.now().since_origin() < patience {
            std::thread::park_timeout(limits::DAEMON_CHECK_EVERY);
        }
    }

    fn service_lives(&self) -> bool {
        self.is_of_the_service(self.pid)
    }

    /// The service has the folder in its arguments. A zombie has none any more; whoever is its parent has still to reap it.
    fn is_of_the_service(&self, pid: u64) -> bool {
        let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        String::from_utf8_lossy(&arguments).contains(&*self.folder.to_string_lossy())
    }

    /// Kills heart, core and guard, in that order: nobody is there then who would replace another one.
    fn kill_service(&self) {
        self.kill(self.pid);
        for part in ["serve", "guard"] {
            for pid in processes::with_first_argument(part) {
                self.kill(pid.into());
            }
        }
    }

    /// By a descriptor of exactly that process.
    fn kill(&self, pid: u64) {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        // looked at when the descriptor holds it
        if self.is_of_the_service(pid.as_raw_pid().unsigned_abs().into()) {
            // one that ended meanwhile needs none
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
    }
}

impl Drop for Stage {
    /// Takes away what is there, also when a command fails midway.
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.kill_service();
        // it starts nothing any more when it is gone
        self.wait_for_end(limits::STAGE_KILLED);
        let clock = Clock::start();
        loop {
            let backends = serving_in(&self.folder);
            for backend in &backends {
                let _ = backend.signal(Signal::KILL);
            }
            if backends.is_empty() || clock.now().since_origin() >= limits::STAGE_KILLED {
                break;
            }
            std::thread::park_timeout(limits::DAEMON_CHECK_EVERY);
        }
        // made by this process alone
        let _ = fs::remove_dir_all(&self.folder);
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::chaos::processes::testing::{Sleeper, until};

    #[test]
    fn a_stage_that_falls_takes_service_and_backends_along_and_nothing_else() {
        let home = tempfile::tempdir().expect("folder");
        let folder = home.path().join("stage");
        fs::create_dir_all(folder.join("state")).expect("made");
        let mut service = std::process::Command::new("sh");
        service.args(["-c", "read line", &folder.display().to_string()]);
        service.stdin(std::process::Stdio::piped());
        let mut service = service.spawn().expect("started");
        // as the core of that service, and of another one
        fs::write(home.path().join("serve"), "read line").expect("written");
        let core = |folder: &Path| {
            let mut core = std::process::Command::new("sh");
            core.arg("serve").arg(folder).current_dir(home.path());
            core.stdin(std::process::Stdio::piped()).spawn().expect("started")
        };
        let (mut core, mut other_core) = (core(&folder), core(&home.path().join("other")));
        let endpoint = |folder: &Path| format!("ipc://{}/a.sock", folder.display());
        let mut backend = Sleeper::serving(&endpoint(&folder));
        let other = Sleeper::serving(&endpoint(&home.path().join("stage-2")));
        let stage = Stage {
            folder: folder.clone(),
            endpoint: endpoint(&folder),
            pid: service.id().into(),
            is_over: false,
        };
        until(|| stage.service_lives());
        until(|| processes::with_first_argument("serve").contains(&core.id()));
        drop(stage);
        assert_eq!(service.wait().expect("ended").signal(), Some(9));
        assert_eq!(core.wait().expect("ended").signal(), Some(9));
        assert!(matches!(other_core.try_wait(), Ok(None)));
        other_core.kill().expect("killed");
        other_core.wait().expect("reaped");
        assert_eq!(backend.child.wait().expect("ended").signal(), Some(9));
        assert!(!folder.exists());
        assert!(!other.backend().has_ended());
    }

    #[test]
    fn a_stage_that_is_left_stays() {
        let home = tempfile::tempdir().expect("folder");
        let folder = home.path().join("stage");
        fs::create_dir(&folder).expect("made");
        let backend = Sleeper::serving(&format!("ipc://{}/a.sock", folder.display()));
        Stage { folder: folder.clone(), endpoint: String::new(), pid: 0, is_over: false }.leave();
        assert!(folder.exists() && !backend.backend().has_ended());
    }
}
