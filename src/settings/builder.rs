//! Settings made in code: for programs that embed the service, for the demo and for tests.
//!
//! All fields are public, so that a program changes what it wants after the first line.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, socket_path_fits};
use super::error::{FaultList, SettingsError};
use super::fault::Fault;
use super::groups;
use super::model::{
    BackendKind, BackendSpec, Endpoints, GroupSpec, HeartSettings, LaunchForm, LoggingSettings,
    ModelSpec, ServiceSettings, Settings, Transport,
};
use super::policies::HEALTH_PATH;
use super::policy::{
    CgroupChoice, GroupStrategy, HealthCheck, HealthPolicy, LogFilePolicy, Readiness,
    ResourceLimits, RestartPolicy, StartPolicy, StopPolicy,
};
use super::service;
use crate::ids::{GroupName, InvalidName, ModelName};

impl Settings {
    /// Settings of a private service that keeps everything inside one folder: sockets, logs, short-lived files.
    /// It has no models; add them to [`Settings::models`].
    ///
    /// # Errors
    /// When the path of the folder is not absolute, not UTF-8, or too long for a socket in it.
    pub fn in_folder(folder: &Path) -> Result<Self, SettingsError> {
        let refused = |message: String| {
            let fault = Fault { place: folder.display().to_string(), message };
            SettingsError::Faulty(FaultList {
                source: None,
                faults: vec![fault],
                not_kept: 0,
                cli_management: None,
            })
        };
        if !folder.is_absolute() {
            return Err(refused("the folder of a service must be an absolute path".into()));
        }
        let text = folder.to_str().ok_or_else(|| refused("is not UTF-8".into()))?;
        let socket = |name: &str| {
            let endpoint = Endpoint::parse(&format!("ipc://{text}/{name}"), folder);
            endpoint.map(|endpoint| endpoint.text).map_err(refused)
        };
        // the longest name of the three: a model's socket
        socket_path_fits(&format!("{text}/symphony-model-00000000")).map_err(refused)?;
        Ok(Self {
            endpoints: Endpoints {
                client_handshake: socket("client.sock")?,
                cli_management: socket("cli.sock")?,
            },
            service: ServiceSettings {
                backend_path: None,
                interpreter: service::INTERPRETER.into(),
                model_socket_dir: folder.to_owned(),
                log_dir: folder.join("logs"),
                runtime_dir: folder.join("run"),
                symphony_binary: None,
                // they need `symphony` as a helper, which an embedding program may not have
                cgroup: CgroupChoice::Off,
                spawns_at_once: service::SPAWNS_AT_ONCE,
                drain_timeout: service::DRAIN_TIMEOUT,
                heart: HeartSettings::default(),
            },
            logging: LoggingSettings::default(),
            models: Vec::new(),
            groups: Vec::new(),
            source: None,
            warnings: Vec::new(),
        })
    }

    /// The longest that any model may take to stop.
    pub fn longest_stop(&self) -> Duration {
        let backends = self.models.iter().filter_map(|model| model.backend.as_ref());
        backends
            .map(|backend| backend.stop.grace + backend.stop.kill_grace)
            .max()
            .unwrap_or_default()
    }

    /// The same with one more model.
    #[must_use]
    pub fn with_model(mut self, model: ModelSpec) -> Self {
        self.models.push(Arc::new(model));
        self
    }

    /// The same with one more group of models that are there already.
    #[must_use]
    pub fn with_group(mut self, group: GroupSpec) -> Self {
        let group = Arc::new(group);
        for model in self.models.iter_mut().filter(|model| group.place(&model.name).is_some()) {
            Arc::make_mut(model).group = Some(group.clone());
        }
        self.groups.push(group);
        self
    }
}

impl GroupSpec {
    /// A group of these models, in this order, with the usual window.
    ///
    /// # Errors
    /// As [`ModelSpec::new`].
    pub fn new<S: AsRef<str>>(
        name: impl AsRef<str>,
        strategy: GroupStrategy,
        members: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidName> {
        Ok(Self {
            name: GroupName::try_new(name)?,
            strategy,
            members: members.into_iter().map(ModelName::try_new).collect::<Result<_, _>>()?,
            intensity: groups::INTENSITY,
            period: groups::PERIOD,
        })
    }
}

impl ModelSpec {
    /// A model of this name, run by this backend; not started by itself.
    ///
    /// # Errors
    /// When the name is empty, too long, or holds a control character.
    pub fn new(name: impl AsRef<str>, backend: BackendSpec) -> Result<Self, InvalidName> {
        Ok(Self {
            name: ModelName::try_new(name)?,
            fullname: None,
            model_type: backend.usual_type().into(),
            backend: Some(Arc::new(backend)),
            path: None,
            autostart: false,
            after: Vec::new(),
            group: None,
        })
    }

    /// The same, started after these models; what is no name of a model is never there.
    ///
    /// # Errors
    /// As [`ModelSpec::new`].
    pub fn with_after<S: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidName> {
        self.after = names.into_iter().map(ModelName::try_new).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// The same with a full name.
    #[must_use]
    pub fn with_fullname(mut self, fullname: impl Into<String>) -> Self {
        self.fullname = Some(fullname.into());
        self
    }
}

impl BackendSpec {
    /// A program that speaks ZeroMQ on `{endpoint}`; see [`super::placeholder::Placeholder`] for what else it may be told.
    pub fn command<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self::zmq(LaunchForm::Command { argv: argv.into_iter().map(Into::into).collect() })
    }

    /// A program that speaks HTTP on `{port}` and answers `GET /health`.
    pub fn http_command<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        let mut spec = Self::command(argv);
        spec.transport = Transport::Http;
        spec.start.ready = Readiness::Http { path: HEALTH_PATH.into(), status: 200 };
        spec.health.check = HealthCheck::Http { path: HEALTH_PATH.into() };
        spec
    }

    /// A script below the backend path.
    pub fn script(script: impl Into<String>) -> Self {
        Self::zmq(LaunchForm::Script { script: script.into(), pass_model_name: true })
    }

    /// The engine that is built in, in a process of its own.
    pub fn embedded() -> Self {
        Self::zmq(LaunchForm::Embedded)
    }

    /// A kind of backend that the program brings along.
    pub fn custom(kind: Arc<dyn BackendKind>) -> Self {
        Self::zmq(LaunchForm::Custom(kind))
    }

    fn zmq(launch: LaunchForm) -> Self {
        Self {
            launch,
            transport: Transport::Zmq,
            start: StartPolicy::default(),
            health: HealthPolicy::default(),
            restart: RestartPolicy::default(),
            stop: StopPolicy::default(),
            limits: ResourceLimits::default(),
            env: BTreeMap::new(),
            env_allow: None,
            working_dir: None,
            log: LogFilePolicy::default(),
        }
    }

    /// The same with a variable set.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// The same under another restart policy.
    #[must_use]
    pub fn with_restart(mut self, restart: RestartPolicy) -> Self {
        self.restart = restart;
        self
    }

    fn usual_type(&self) -> &str {
        match &self.launch {
            LaunchForm::Script { .. } => "script",
            LaunchForm::Command { .. } => "command",
            LaunchForm::Embedded => "builtin",
            LaunchForm::Custom(kind) => kind.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_in_a_folder_stays_in_it() {
        let settings = Settings::in_folder(Path::new("/run/test")).expect("fits");
        assert_eq!(settings.endpoints.cli_management, "ipc:///run/test/cli.sock");
        let service = &settings.service;
        for path in [&service.model_socket_dir, &service.log_dir, &service.runtime_dir] {
            assert!(path.starts_with("/run/test"));
        }
        let model = ModelSpec::new("m", BackendSpec::embedded()).expect("a name");
        assert_eq!(settings.with_model(model).models.len(), 1);
    }

    #[test]
    fn a_folder_too_deep_for_sockets_is_refused() {
        assert!(Settings::in_folder(Path::new(&format!("/{}", "x".repeat(90)))).is_err());
        assert!(Settings::in_folder(Path::new("relative")).is_err());
    }
}
