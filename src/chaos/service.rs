//! The service as it is seen from its management socket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::invariants::logs::LogLimits;
use super::invariants::windows::{ActorWindow, ModelLimits};
use crate::cli::client::{Client, ClientError};
use crate::clock::Clock;
use crate::events::messages::EventPage;
use crate::limits;
use crate::supervision::tree::TreeNode;

/// A connection that is made anew when it fails: the gateway may be one of those that panic.
pub struct Service {
    endpoint: String,
    client: Option<Client>,
}

/// What does not change while the service runs.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The service's process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Where clients ask.
    pub client_endpoint: String,
    /// Whether its parts may be made to panic.
    pub chaos_allowed: bool,
    /// Restart limits by model; none from a service that does not tell.
    pub restart: BTreeMap<String, ModelLimits>,
    /// Log files by model; none from a service that does not tell them.
    pub logs: BTreeMap<String, ModelLog>,
}

/// The log of a model.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelLog {
    /// The current file.
    pub file: PathBuf,
    /// What may be kept.
    #[serde(flatten)]
    pub bounds: LogLimits,
}

/// A loaded model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Its address.
    pub endpoint: String,
    /// Its process.
    pub pid: Option<u32>,
    /// The state.
    pub state: String,
}

#[derive(Deserialize)]
struct Status {
    pid: u32,
    client_endpoint: String,
    models: Vec<Model>,
}

impl Status {
    /// One that was never loaded has no address yet.
    fn loaded(mut self) -> Vec<Model> {
        self.models.retain(|model| !model.endpoint.is_empty());
        self.models.sort_by(|a, b| a.name.cmp(&b.name));
        self.models
    }
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    chaos_allowed: bool,
}

#[derive(Deserialize)]
struct Listed {
    supported_models: Vec<Supported>,
}

#[derive(Deserialize)]
struct Supported {
    name: String,
    #[serde(default)]
    restart: Option<ModelLimits>,
    #[serde(default)]
    log: Option<Value>,
}

impl Service {
    /// The service at this management endpoint. Connects when it is asked.
    pub fn at(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), client: None }
    }

    /// Its management endpoint.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`ClientError`]; the connection is made anew for the next question then.
    pub fn ask<T: DeserializeOwned>(
        &mut self,
        command: &str,
        params: Value,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.endpoint)?,
        };
        match client.ask(command, params, patience) {
            Ok(answer) => {
                self.client = Some(client);
                answer.parse()
            }
            Err(error @ ClientError::Refused(_)) => {
                self.client = Some(client);
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks what is answered from memory, again where a gateway that is being replaced has lost it.
    ///
    /// # Errors
    /// [`ClientError`] of the last try.
    pub fn ask_again<T: DeserializeOwned>(
        &mut self,
        command: &str,
        params: &Value,
    ) -> Result<T, ClientError> {
        let clock = Clock::start();
        loop {
            let answer = self.ask(command, params.clone(), limits::CHAOS_LOOK);
            match answer {
                Err(ClientError::Refused(_)) | Ok(_) => return answer,
                Err(_) if clock.now().since_origin() < limits::CHAOS_ANSWER => {
                    std::thread::park_timeout(limits::CHAOS_TURN);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What does not change.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn facts(&mut self) -> Result<Facts, ClientError> {
        let status: Status = self.ask_again("status", &json!({}))?;
        let version: Version = self.ask_again("version", &json!({}))?;
        let listed: Listed = self.ask_again("list-models", &json!({}))?;
        let mut facts = Facts {
            pid: status.pid,
            version: version.version,
            client_endpoint: status.client_endpoint,
            chaos_allowed: version.chaos_allowed,
            restart: BTreeMap::new(),
            logs: BTreeMap::new(),
        };
        for model in listed.supported_models {
            facts.restart.extend(model.restart.map(|restart| (model.name.clone(), restart)));
            // a service of an older version tells no file: its logs are left alone
            let log = model.log.and_then(|log| serde_json::from_value(log).ok());
            facts.logs.extend(log.map(|log| (model.name, log)));
        }
        Ok(facts)
    }

    /// Every model that is or was loaded, by name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn models(&mut self) -> Result<Vec<Model>, ClientError> {
        Ok(self.ask_again::<Status>("status", &json!({ "all": true }))?.loaded())
    }

    /// The same with one try.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn models_now(&mut self) -> Result<Vec<Model>, ClientError> {
        let status = self.ask::<Status>("status", json!({ "all": true }), limits::CHAOS_LOOK);
        Ok(status?.loaded())
    }

    /// The supervision tree.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn tree(&mut self) -> Result<TreeNode, ClientError> {
        self.ask_again("tree", &json!({}))
    }

    /// What happened after this number. One try: the next turn asks again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn events(&mut self, since: u64) -> Result<EventPage, ClientError> {
        self.ask("events", json!({ "since": since }), limits::CHAOS_LOOK)
    }
}

/// The windows of all supervisors of a tree.
pub fn windows(root: &TreeNode) -> BTreeMap<String, ActorWindow> {
    let mut found = BTreeMap::new();
    let mut next = vec![root];
    while let Some(node) = next.pop() {
        let window = node.detail.as_deref().and_then(ActorWindow::read);
        if let (true, Some(window)) = (node.kind == "supervisor", window) {
            found.insert(node.name.clone(), window);
        }
        next.extend(&node.children);
    }
    found
}

/// The actors of models: instance ids by model.
pub fn instances(root: &TreeNode) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut next = vec![root];
    while let Some(node) = next.pop() {
        let model = node.detail.as_deref().and_then(|detail| detail.strip_prefix("model "));
        if let Some(model) = model {
            found.insert(model.to_owned(), node.name.clone());
        }
        next.extend(&node.children);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_tells_windows_and_instances() {
        let tree: TreeNode = serde_json::from_value(json!({
            "name": "root", "kind": "supervisor", "state": "running", "restarts": 0, "detail": "rest_for_one, 3 in 5m",
            "children": [
                { "name": "registry", "kind": "worker", "state": "running", "restarts": 0 },
                { "name": "instance_supervisor", "kind": "supervisor", "state": "running", "restarts": 0,
                  "detail": "dynamic, 10 in 1m",
                  "children": [{ "name": "t-a-1", "kind": "worker", "state": "running", "restarts": 0, "detail": "model a" }] },
            ],
        }))
        .expect("a tree");
        let windows = windows(&tree);
        assert_eq!(windows.len(), 2);
        assert_eq!(windows["instance_supervisor"].intensity, 10);
        assert_eq!(instances(&tree), [("a".to_owned(), "t-a-1".to_owned())].into());
    }
}
