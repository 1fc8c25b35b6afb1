//! `model_backends` and `supported_models` become the models that may be loaded; `groups` binds them together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::anchor::Anchors;
use super::backend::{self, Backend};
use super::document::Form;
use super::fault::{Faults, hint};
use super::groups::{self, Placed};
use super::model::{BackendSpec, GroupSpec, LaunchForm, ModelSpec};
use super::path::{KeyPath, shown};
use super::placeholder::Placeholder;
use super::raw::{MODEL_KEYS, RawBackendTable, RawModel};
use super::reader::Reader;
use crate::ids::ModelName;

/// Reads both sections; answers the backends by type, too.
pub(super) struct ModelReader<'a> {
    pub anchors: &'a Anchors<'a>,
    pub form: Form,
    pub faults: &'a mut Faults,
    pub warnings: &'a mut Vec<String>,
}

/// What the sections say.
pub(super) struct ReadModels {
    pub backends: Backends,
    pub models: Vec<Arc<ModelSpec>>,
    pub groups: Vec<Arc<GroupSpec>>,
}

/// The backends by type.
pub(super) type Backends = BTreeMap<String, Arc<BackendSpec>>;

/// The keys that say what is run. A model that has one of them takes none of the others from its backend.
const LAUNCH_KEYS: [&str; 4] = ["command", "script", "embedded", "pass_model_name"];

impl ModelReader<'_> {
    /// All backends, models and groups, as far as they are good.
    pub fn read(&mut self) -> ReadModels {
        let values = self.anchors.values;
        let mut backends = BTreeMap::new();
        let tables = values.get("model_backends").and_then(Value::as_object);
        for (name, table) in tables.into_iter().flatten() {
            let at = KeyPath::of(&["model_backends"]).key(name.as_str());
            if let Err(invalid) = ModelName::try_new(name) {
                self.faults.push(at.clone(), invalid.to_string());
            }
            if let Some(backend) = self.backend(at, None, table) {
                backends.insert(
                    name.clone(),
                    SharedBackend {
                        spec: Arc::new(backend.spec),
                        placeholders: backend.placeholders,
                    },
                );
            }
        }
        let elements = values.get("supported_models").and_then(Value::as_array);
        let mut models = Vec::new();
        for (index, element) in elements.into_iter().flatten().enumerate() {
            models.extend(self.model(index, element, &backends).map(|model| (index, model)));
        }
        self.same_names(&models);
        let groups = groups::read(values, &mut models, self.faults);
        ReadModels {
            backends: backends.into_iter().map(|(name, backend)| (name, backend.spec)).collect(),
            models: models.into_iter().map(|(_, model)| Arc::new(model)).collect(),
            groups,
        }
    }

    fn backend(
        &mut self,
        table: KeyPath,
        below: Option<KeyPath>,
        values: &Value,
    ) -> Option<Backend> {
        let raw: RawBackendTable = self.decode(&table, values)?;
        let mut reader =
            Reader { values: self.anchors.values, table, below, faults: &mut *self.faults };
        backend::read(&mut reader, &raw, self.anchors)
    }

    /// The schema has let `values` pass; should the types disagree with it, that is told, too.
    fn decode<T: serde::de::DeserializeOwned>(
        &mut self,
        at: &KeyPath,
        values: &Value,
    ) -> Option<T> {
        let decoded = T::deserialize(values);
        decoded.map_err(|error| self.faults.push(at.clone(), shown(&error.to_string()))).ok()
    }

    fn model(
        &mut self,
        index: usize,
        element: &Value,
        backends: &BTreeMap<String, SharedBackend>,
    ) -> Option<ModelSpec> {
        let at = KeyPath::of(&["supported_models"]).index(index);
        let raw: RawModel = self.decode(&at, element)?;
        let model_type = raw.model_type.unwrap_or_default();
        let name = self.name(&at.key("name"), raw.name?.as_str());
        let fullname = raw.fullname.filter(|fullname| !fullname.is_empty());
        if let Some(fullname) = &fullname {
            self.name(&at.key("fullname"), fullname);
        }
        let path = raw.path.and_then(|path| self.path(&at.key("path"), path));
        let backend = self.backend_of_model(&at, element, &model_type, backends);
        let used = backend.as_ref().map_or(&[][..], |backend| backend.placeholders.as_slice());
        let of_path =
            |place: &&Placeholder| matches!(place, Placeholder::Path | Placeholder::ModelDir);
        if let Some(place) = used.iter().find(of_path).filter(|_| path.is_none())
            && !self.faults.any_below(&at)
        {
            let message =
                format!("required key is missing: the command of its backend names '{place}'");
            self.faults.push(at.key("path"), message);
        }
        Some(ModelSpec {
            name: name?,
            fullname,
            model_type,
            backend: backend.map(|backend| backend.spec),
            path,
            autostart: raw.autostart.unwrap_or(false),
            after: self.names(&at.key("after"), raw.after.unwrap_or_default()),
            group: None,
        })
    }

    fn names(&mut self, at: &KeyPath, texts: Vec<String>) -> Vec<ModelName> {
        let texts = texts.iter().enumerate();
        texts.filter_map(|(place, text)| self.name(&at.index(place), text)).collect()
    }

    fn name(&mut self, at: &KeyPath, text: &str) -> Option<ModelName> {
        ModelName::try_new(text)
            .map_err(|invalid| self.faults.push(at.clone(), invalid.to_string()))
            .ok()
    }

    /// A text that can only be meant as a path is made whole; any other may be the name of a model on a hub, and stays.
    fn path(&mut self, at: &KeyPath, text: String) -> Option<String> {
        let is_path = ["~/", "./", "../"].iter().any(|begin| text.starts_with(begin));
        if !is_path && !text.contains('\0') {
            return Some(text);
        }
        // once, and not where the rest would become a path of another kind
        let short = text.strip_prefix("./").filter(|rest| !rest.starts_with(['/', '~', '.']));
        let resolved = self.anchors.resolve(at, short.unwrap_or(&text));
        let whole = resolved.and_then(|path| {
            path.into_os_string().into_string().map_err(|_| "its folder is not UTF-8".into())
        });
        whole.map_err(|message| self.faults.push(at.clone(), message)).ok()
    }

    /// The backend of a model's type with what the model lays over it.
    fn backend_of_model(
        &mut self,
        at: &KeyPath,
        element: &Value,
        model_type: &str,
        backends: &BTreeMap<String, SharedBackend>,
    ) -> Option<SharedBackend> {
        let own: Map<String, Value> = element
            .as_object()?
            .iter()
            .filter(|(key, _)| !MODEL_KEYS.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let below = KeyPath::of(&["model_backends"]).key(model_type);
        let table = below.get(self.anchors.values);
        let brings_launch = LAUNCH_KEYS[..3].iter().any(|key| own.contains_key(*key));
        if table.is_none() && !brings_launch {
            if !model_type.is_empty() {
                self.no_backend(at.key("type"), model_type, &below);
            }
            return None;
        }
        if own.is_empty() {
            return backends.get(model_type).cloned();
        }
        let mut merged = table.cloned().unwrap_or_else(|| Value::Object(Map::new()));
        if let Some(base) = merged.as_object_mut().filter(|_| brings_launch) {
            for key in LAUNCH_KEYS {
                base.shift_remove(key);
            }
        }
        let upper = Value::Object(own);
        if upper.pointer("/health/check").is_some()
            && let Some(health) = merged.get_mut("health").and_then(Value::as_object_mut)
        {
            // the path belongs to the check that is replaced
            health.shift_remove("path");
        }
        lay_over(&mut merged, &upper);
        let backend = self.backend(at.clone(), Some(below), &merged)?;
        Some(SharedBackend { spec: Arc::new(backend.spec), placeholders: backend.placeholders })
    }

    /// A type that is in no table. The Python service has always found that when the model was loaded.
    fn no_backend(&mut self, at: KeyPath, model_type: &str, backend: &KeyPath) {
        // a backend that was left out for its own faults is there
        if self.faults.any(|fault| fault.starts_with(backend) || backend.starts_with(fault)) {
            return;
        }
        let message = format!("there is no backend '{}'", shown(model_type));
        match self.form {
            Form::Seed => {
                self.warnings.push(format!("{at}: {message}; this model cannot be loaded"));
            }
            Form::Extended => {
                let tables = self.anchors.values.get("model_backends").and_then(Value::as_object);
                let known = tables.into_iter().flatten().map(|(name, _)| name.as_str());
                self.faults.push(at, message + &hint(model_type, known));
            }
        }
    }

    /// A request names a model: a name that two of them have would never reach the second.
    fn same_names(&mut self, models: &[Placed]) {
        let at = |index: usize| KeyPath::of(&["supported_models"]).index(index);
        let mut names = HashMap::new();
        for (index, model) in models {
            if let Some(first) = names.insert(model.name.as_str(), *index) {
                self.faults
                    .push(at(*index).key("name"), format!("is the name of {}, too", at(first)));
                names.insert(model.name.as_str(), first);
            }
        }
        let mut fullnames = HashMap::new();
        for (index, model) in models {
            let Some(fullname) = model.fullname.as_deref() else { continue };
            let earlier = fullnames.insert(fullname, *index);
            let named = names.get(fullname).copied().filter(|other| other != index);
            let Some(other) = earlier.or(named) else { continue };
            fullnames.insert(fullname, other);
            let at_fullname = at(*index).key("fullname");
            let message = format!("leads to {} and never to this model", at(other));
            match self.form {
                // the Python service has always taken the first one without a word
                Form::Seed => self.warnings.push(format!("{at_fullname}: {message}")),
                Form::Extended => self.faults.push(at_fullname, message),
            }
        }
    }
}

/// A backend as models share it.
#[derive(Clone)]
struct SharedBackend {
    spec: Arc<BackendSpec>,
    placeholders: Vec<Placeholder>,
}

/// Lays the keys of `upper` over those of `table`: tables are merged, everything else is replaced. `ready` is one
/// value: its keys exclude each other.
fn lay_over(table: &mut Value, upper: &Value) {
    let (Some(table), Some(upper)) = (table.as_object_mut(), upper.as_object()) else { return };
    for (key, value) in upper {
        match table.get_mut(key) {
            Some(below) if below.is_object() && value.is_object() && key != "ready" => {
                lay_over(below, value)
            }
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Whether any of these backends needs the backend path.
pub(super) fn uses_scripts(backends: &Backends, models: &[Arc<ModelSpec>]) -> bool {
    let of_models = models.iter().filter_map(|model| model.backend.as_ref());
    backends.values().chain(of_models).any(|spec| matches!(spec.launch, LaunchForm::Script { .. }))
}

/// Turns backends that are only the name of a script into tables, so that everything after sees one form.
pub(super) fn scripts_to_tables(values: &mut Value) {
    let backends = values.get_mut("model_backends").and_then(Value::as_object_mut);
    for (_, backend) in backends.into_iter().flatten() {
        if let Value::String(script) = backend {
            *backend = serde_json::json!({ "script": script });
        }
    }
}
