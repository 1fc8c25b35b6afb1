//! A service with its heart in a private folder.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::contract::backend::until;
use crate::contract::{Place, Service, fake};
use crate::processes;

/// A service that was started with `start-service`.
pub struct Stage {
    pub place: Place,
    pub service: Service,
}

impl Stage {
    /// With well-behaved models of these names, and further keys for its heart.
    pub fn start(models: &[&str], heart: &Value) -> Self {
        Self::start_with(models.iter().map(|name| fake(name, &[])).collect(), heart)
    }

    /// With these models.
    pub fn start_with(models: Vec<Value>, heart: &Value) -> Self {
        let place = Place::new();
        let mut configuration = place.configuration(models);
        configuration["service"]["heart"] = heart.clone();
        place.configure(&configuration);
        Self { service: start_service(&place), place }
    }

    /// Another start in the same place, after the service is gone.
    pub fn start_again(self) -> Self {
        Self { service: start_service(&self.place), place: self.place }
    }

    /// The process that was started: the heart.
    pub fn heart(&self) -> u32 {
        self.service.pid()
    }

    /// The core that runs just now, if one does: a child of the heart that serves.
    pub fn core(&self) -> Option<u32> {
        let serves = |pid: &u32| processes::words_of(*pid).iter().any(|word| word == "serve");
        processes::children_of(self.heart()).into_iter().find(serves)
    }

    /// Kills the core, once there is one; answers its pid.
    pub fn kill_core(&self) -> u32 {
        until("a core", || {
            let core = self.core()?;
            processes::signal(core, Signal::KILL);
            Some(core)
        })
    }

    /// What `status` tells of its models: what must outlive a core.
    pub fn lasting(&self) -> BTreeMap<String, Value> {
        let status = self.service.cli().data("status", json!({}));
        let models = status["models"].as_array().expect("models").iter();
        let kept = ["state", "pid", "endpoint", "generation", "restarts", "started_at"];
        let of = |model: &Value| {
            let facts = kept.iter().map(|key| ((*key).to_owned(), model[*key].clone()));
            (model["name"].as_str().expect("a name").to_owned(), facts.collect())
        };
        models.map(of).collect()
    }

    /// The guards that live.
    pub fn guards(&self) -> Vec<u32> {
        let pids = self.place.processes().into_iter().filter_map(|pid| u32::try_from(pid).ok());
        pids.filter(|pid| processes::words_of(*pid).get(1).is_some_and(|word| word == "guard"))
            .collect()
    }

    /// Leaders of backends that live, by instance.
    pub fn backends(&self) -> BTreeMap<String, Vec<u32>> {
        let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for pid in self.place.processes().into_iter().filter_map(|pid| u32::try_from(pid).ok()) {
            if let Some(instance) = instance_of(pid).filter(|_| leads_its_group(pid)) {
                found.entry(instance).or_default().push(pid);
            }
        }
        found
    }
}

fn start_service(place: &Place) -> Service {
    let (cli, clients) = (place.cli_endpoint(), place.client_endpoint());
    place.launch(&mut place.command(&["start-service"]), &cli, &clients)
}

/// The mark that every backend has in its environment.
fn instance_of(pid: u32) -> Option<String> {
    let environment =
        std::fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).ok()?;
    let variables = environment.split(|byte| *byte == 0);
    variables
        .filter_map(|variable| variable.strip_prefix(b"SYMPHONY_INSTANCE_ID="))
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .next()
}

fn leads_its_group(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let mut fields = fields.split_whitespace();
    let is_dead = fields.next().is_none_or(|state| state == "Z" || state == "X");
    !is_dead && fields.nth(1).and_then(|group| group.parse().ok()) == Some(pid)
}
