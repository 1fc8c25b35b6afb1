//! What whoever started this process gave it: the ear of a manager of services, and sockets.

use std::net::TcpListener;

use crate::heart::activation;
use crate::heart::notify::Notifier;
use crate::settings::model::Settings;

/// See the module.
pub struct Given {
    /// Tells the manager how the service stands.
    pub notifier: Notifier,
    /// Listening sockets.
    pub passed: Vec<TcpListener>,
    /// What is wrong with the rest, for the log.
    pub faults: Vec<String>,
}

impl Given {
    /// Takes it over. To be called before anything else is done: sockets come as bare numbers.
    pub fn take() -> Self {
        let (passed, useless) = activation::take();
        let (notifier, wrong) = Notifier::from_environment();
        let useless = useless.iter().map(ToString::to_string);
        let faults = useless.chain(wrong.iter().map(ToString::to_string)).collect();
        Self { notifier, passed, faults }
    }

    /// Whether what listens on the management endpoint may be a socket that was opened for this process.
    pub fn owns_endpoint(&self, settings: &Settings) -> bool {
        !self.passed.is_empty() && is_tcp(settings)
    }
}

/// The same for a process that leaves its sockets to the heart that it becomes. Such a socket would be taken for a service
/// that does not answer; where it is another one after all, its address cannot be bound.
pub fn heart_will_own_endpoint(settings: &Settings) -> bool {
    activation::is_announced() && is_tcp(settings)
}

fn is_tcp(settings: &Settings) -> bool {
    settings.endpoints.cli_management.starts_with("tcp://")
}
