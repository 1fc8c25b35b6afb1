//! What the data of a reply holds. Pure: a view of the registry goes in, JSON comes out without a tree of values
//! between.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::clock::Moment;
use crate::gateway::doors::ServiceFacts;
use crate::gateway::heart_view::HeartView;
use crate::ids::InstanceId;
use crate::instance::state::State;
use crate::registry::messages::{InstanceView, LastExit, RegistryView};
use crate::settings::model::{BackendSpec, ModelSpec};
use crate::settings::policy::{GiveUp, RestartClass};

/// A model as `status` and `list-models` show it; keys of both earlier services.
#[derive(Serialize)]
struct ModelData<'a> {
    name: &'a str,
    model_name: &'a str,
    #[serde(rename = "type")]
    type_: &'a str,
    model_type: &'a str,
    fullname: Option<&'a str>,
    endpoint: &'a str,
    pid: Option<u32>,
    started_at: Option<f64>,
    uptime: u64,
    is_alive: bool,
    state: State,
    generation: u64,
    restarts: u64,
    last_exit: Option<&'a LastExit>,
    supported_protocols: &'a [String],
    reason: Option<&'a str>,
    progress: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    /// Told where it is so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    outdated: bool,
}

impl<'a> ModelData<'a> {
    fn of_instance(view: &'a InstanceView, now: Moment) -> Self {
        Self {
            name: view.model.as_str(),
            model_name: view.model.as_str(),
            type_: &view.model_type,
            model_type: &view.model_type,
            fullname: view.fullname.as_deref(),
            endpoint: &view.endpoint,
            pid: view.pid,
            started_at: view.started_at.map(|started| started.wall_seconds),
            uptime: view.started_at.map_or(0, |started| now.since(started.at).as_secs()),
            is_alive: view.state.is_alive(),
            state: view.state,
            generation: view.generation.0,
            restarts: view.restarts,
            last_exit: view.last_exit.as_deref(),
            supported_protocols: &view.protocols,
            reason: view.reason.as_deref(),
            progress: view.progress.as_deref(),
            group: view.group.as_deref(),
            outdated: view.outdated,
        }
    }

    fn never_loaded(model: &'a ModelSpec) -> Self {
        Self {
            name: model.name.as_str(),
            model_name: model.name.as_str(),
            type_: &model.model_type,
            model_type: &model.model_type,
            fullname: model.fullname.as_deref(),
            endpoint: "",
            pid: None,
            started_at: None,
            uptime: 0,
            is_alive: false,
            state: State::Stopped,
            generation: 0,
            restarts: 0,
            last_exit: None,
            supported_protocols: &[],
            reason: None,
            progress: None,
            group: model.group.as_ref().map(|group| group.name.as_str()),
            outdated: false,
        }
    }
}

/// A row of a list.
#[derive(Clone, Copy)]
enum Row<'a> {
    Instance(&'a InstanceView),
    NeverLoaded(&'a ModelSpec),
}

/// Rows with the time they are looked at, written one by one.
struct Rows<'a> {
    rows: Vec<Row<'a>>,
    now: Moment,
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows.iter().map(|row| match row {
            Row::Instance(view) => ModelData::of_instance(view, self.now),
            Row::NeverLoaded(model) => ModelData::never_loaded(model),
        }))
    }
}

fn loaded(view: &dyn RegistryView) -> Vec<Row<'_>> {
    let instances = view.instances().iter();
    instances.filter(|view| view.state.counts_as_loaded()).map(|view| Row::Instance(view)).collect()
}

fn by_model(view: &dyn RegistryView) -> HashMap<&str, &InstanceView> {
    view.instances().iter().map(|view| (view.model.as_str(), &**view)).collect()
}

/// Every model of the configuration in its order, then instances whose model was taken out of it.
fn all(view: &dyn RegistryView) -> Vec<Row<'_>> {
    let mut instances = by_model(view);
    let mut rows: Vec<Row<'_>> = Vec::with_capacity(view.catalogue().models().len());
    for model in view.catalogue().models() {
        rows.push(match instances.remove(model.name.as_str()) {
            Some(instance) => Row::Instance(instance),
            None => Row::NeverLoaded(model),
        });
    }
    let rest = view.instances().iter().filter(|view| instances.contains_key(view.model.as_str()));
    rows.extend(rest.map(|view| Row::Instance(view)));
    rows
}

/// Data of `status`.
#[derive(Serialize)]
pub(super) struct StatusData<'a> {
    service_status: &'static str,
    is_running: bool,
    version: &'a str,
    binary: &'a str,
    pid: u32,
    uptime: u64,
    client_endpoint: &'a str,
    cli_endpoint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    heart: Option<HeartView>,
    model_count: usize,
    models: Rows<'a>,
}

impl<'a> StatusData<'a> {
    pub(super) fn new(
        facts: &'a ServiceFacts,
        view: &'a dyn RegistryView,
        with_idle: bool,
        now: Moment,
    ) -> Self {
        let rows = if with_idle { all(view) } else { loaded(view) };
        Self {
            service_status: "running",
            is_running: true,
            version: facts.version,
            binary: &facts.binary,
            pid: facts.pid,
            uptime: facts.clock.uptime_at(now).as_secs(),
            client_endpoint: &facts.client_endpoint,
            cli_endpoint: &facts.cli_endpoint,
            heart: facts.heart.now(),
            model_count: rows.len(),
            models: Rows { rows, now },
        }
    }
}

/// Data of `list-models`.
#[derive(Serialize)]
pub(super) struct ListModelsData<'a> {
    loaded_models: Rows<'a>,
    /// Models that `install-model` fetched: none, until the library that fetches them is part of the service.
    installed_models: [(); 0],
    supported_models: Vec<SupportedModel<'a>>,
}

#[derive(Serialize)]
struct SupportedModel<'a> {
    name: &'a str,
    fullname: Option<&'a str>,
    #[serde(rename = "type")]
    type_: &'a str,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<RestartData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<LogFilesData>,
}

/// How often a model is restarted before it is given up.
#[derive(Serialize)]
struct RestartData {
    class: RestartClass,
    max_consecutive_failures: u32,
    reset_after_ms: u64,
    window_max: u32,
    window_period_ms: u64,
    on_give_up: GiveUp,
}

/// Where its output goes, and how much of it is kept.
#[derive(Serialize)]
struct LogFilesData {
    max_bytes: u64,
    keep: u32,
    /// The current one.
    file: String,
}

impl RestartData {
    fn of(backend: &BackendSpec) -> Self {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let policy = &backend.restart;
        Self {
            class: policy.class,
            max_consecutive_failures: policy.max_consecutive_failures,
            reset_after_ms: ms(policy.reset_after),
            window_max: policy.window_max,
            window_period_ms: ms(policy.window_period),
            on_give_up: policy.on_give_up,
        }
    }
}

impl<'a> ListModelsData<'a> {
    pub(super) fn new(facts: &ServiceFacts, view: &'a dyn RegistryView, now: Moment) -> Self {
        let instances = by_model(view);
        let log_file = |model: &ModelSpec| {
            let name = InstanceId::of_model(&model.name).log_name();
            facts.log_dir.join(name).to_string_lossy().into_owned()
        };
        let supported = |model: &'a Arc<ModelSpec>| SupportedModel {
            name: model.name.as_str(),
            fullname: model.fullname.as_deref(),
            type_: &model.model_type,
            state: instances.get(model.name.as_str()).map_or(State::Stopped, |view| view.state),
            restart: model.backend.as_deref().map(RestartData::of),
            log: model.backend.as_deref().map(|backend| LogFilesData {
                max_bytes: backend.log.max_bytes,
                keep: backend.log.keep,
                file: log_file(model),
            }),
        };
        Self {
            loaded_models: Rows { rows: loaded(view), now },
            installed_models: [],
            supported_models: view.catalogue().models().iter().map(supported).collect(),
        }
    }
}

/// Data of `version`.
#[derive(Serialize)]
pub(super) struct VersionData {
    pub(super) version: &'static str,
    pub(super) pid: u32,
    /// Whether `chaos-panic` is answered by a panic.
    pub(super) chaos_allowed: bool,
}

/// Data of `load-model` and `restart-model`.
#[derive(Serialize)]
pub(super) struct LoadedData<'a> {
    endpoint: &'a str,
    model_name: &'a str,
    model_type: &'a str,
    pid: Option<u32>,
    state: State,
}

impl<'a> LoadedData<'a> {
    pub(super) fn new(view: &'a InstanceView) -> Self {
        Self {
            endpoint: &view.endpoint,
            model_name: view.model.as_str(),
            model_type: &view.model_type,
            pid: view.pid,
            state: view.state,
        }
    }
}

/// Data of commands that have only a word to say.
#[derive(Serialize)]
pub(super) struct MessageData {
    pub(super) message: String,
}

/// Data of `logs`.
#[derive(Serialize)]
pub(super) struct LogData<'a> {
    pub(super) model_name: &'a str,
    pub(super) lines: &'a [String],
    pub(super) next_offset: u64,
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
