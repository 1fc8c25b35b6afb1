//! The whole way from the sources to the settings.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::anchor::Anchors;
use super::document::{self, Document, Form};
use super::effective::Effective;
use super::environment;
use super::error::{FaultList, SettingsError};
use super::fault::{Fault, Faults, nearest};
use super::lookup;
use super::model::Settings;
use super::models::{ModelReader, ReadModels, scripts_to_tables, uses_scripts};
use super::origin::{Origin, Origins};
use super::path::{KeyPath, Step};
use super::raw::{RawEndpoints, RawLogging, RawService};
use super::service;
use super::shape;
use super::sources::{Overrides, Sources};

/// Settings, and where each of their values comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the service runs with.
    pub settings: Settings,
    /// The same for people.
    pub effective: Effective,
}

/// Finds the configuration, lays variables and flags over it and checks all of it.
///
/// # Errors
/// [`SettingsError`]: there is no such file, it cannot be read or parsed, or all of its faults.
pub fn load(sources: &Sources) -> Result<Loaded, SettingsError> {
    let mut faults = Faults::default();
    let source = lookup::configuration_file(sources)?;
    let document = match &source {
        Some(path) => document::read(path, &mut faults)?,
        None => built_in(),
    };
    settings_of(document, source, sources, faults)
}

/// As [`load`], for a configuration file that was read already.
///
/// # Errors
/// As [`load`].
#[doc(hidden)]
pub fn load_bytes(path: &Path, bytes: &[u8], sources: &Sources) -> Result<Loaded, SettingsError> {
    let mut faults = Faults::default();
    let document = document::parse(path, bytes, &mut faults)?;
    settings_of(document, Some(path.to_owned()), sources, faults)
}

fn settings_of(
    document: Document,
    source: Option<PathBuf>,
    sources: &Sources,
    mut faults: Faults,
) -> Result<Loaded, SettingsError> {
    let origin = source.clone().map_or(Origin::Default, Origin::File);
    let Document { mut values, form } = document;
    let mut origins = Origins::of_document(origin);
    one_backend_path(&mut values, &mut faults);
    let mut named_faults = environment::overlay(&sources.environment, &mut values, &mut origins);
    lay_flags(&sources.overrides, &mut values, &mut origins, &mut named_faults);

    let written = values.clone();
    let mut warnings = Vec::new();
    shape::check(&mut values, form, &mut faults, &mut warnings);
    if form == Form::Seed {
        required_in_seed_form(&written, &mut faults);
    }
    scripts_to_tables(&mut values);

    let anchors = Anchors { sources, origins: &origins, values: &values };
    let endpoints: RawEndpoints = section(&values, "endpoints", &mut faults);
    let endpoints = service::endpoints(&endpoints, &anchors, &mut faults, &mut warnings);
    let logging: RawLogging = section(&values, "logging", &mut faults);
    let logging = service::logging(&logging, &mut faults);
    let raw: RawService = section(&values, "service", &mut faults);
    let service = service::service(&raw, &endpoints.cli_management, &anchors, &mut faults);
    let ReadModels { backends, models, groups } =
        ModelReader { anchors: &anchors, form, faults: &mut faults, warnings: &mut warnings }
            .read();
    if service.backend_path.is_none() && uses_scripts(&backends, &models) {
        warnings
            .push("service.backend_path: not set and not found; scripts cannot be started".into());
    }

    let cli_management = (named_faults.iter().all(|fault| !concerns_endpoints(fault)))
        .then(|| untouched_endpoint(&endpoints.cli_management, &values, &faults))
        .flatten();
    let (mut by_key, not_kept) = faults.into_parts();
    // what is wrong in one table stands together, whichever check found it
    by_key.sort_by(|(a, _), (b, _)| a.cmp(b));
    named_faults
        .extend(by_key.into_iter().map(|(at, message)| told(&at, message, &origins, &written)));
    if !named_faults.is_empty() {
        let faults = named_faults;
        return Err(SettingsError::Faulty(FaultList { source, faults, not_kept, cli_management }));
    }
    let settings = Settings { endpoints, service, logging, models, groups, source, warnings };
    let effective = Effective::of(&settings, &backends, &origins, &values);
    Ok(Loaded { settings, effective })
}

/// What counts where there is no file: the embedded engine under two names.
fn built_in() -> Document {
    let model = |name: &str| json!({ "name": name, "fullname": format!("symphony/{name}"), "type": "builtin" });
    let values = json!({
        "model_backends": { "builtin": { "embedded": true } },
        "supported_models": [model("builtin-a"), model("builtin-b")],
    });
    Document { values, form: Form::Extended }
}

/// `backend_path` of the whole file is another way to write `service.backend_path`.
fn one_backend_path(values: &mut Value, faults: &mut Faults) {
    let place = KeyPath::of(&["service", "backend_path"]);
    let Some(table) = values.as_object_mut() else { return };
    if table.get("service").is_some_and(|service| !service.is_object()) {
        return;
    }
    let Some(path) = table.shift_remove("backend_path") else { return };
    let service = table.entry("service").or_insert_with(|| json!({}));
    match service.get("backend_path") {
        Some(other) if *other != path => {
            faults.push(
                place,
                "differs from 'backend_path' of the whole file; one of them is enough",
            );
        }
        _ => service["backend_path"] = path,
    }
}

fn lay_flags(
    overrides: &Overrides,
    values: &mut Value,
    origins: &mut Origins,
    faults: &mut Vec<Fault>,
) {
    let mut lay = |keys: &[&str], value: String, flag: &'static str| {
        origins.overlay(values, &KeyPath::of(keys), value.into(), Origin::Flag(flag));
    };
    if let Some(level) = overrides.log_level {
        lay(&["logging", "level"], level.to_string(), "--log-level");
    }
    if let Some(form) = overrides.log_format {
        lay(&["logging", "form"], form.to_string(), "--log-format");
    }
    match overrides.backend_path.as_deref().map(std::path::Path::to_str) {
        Some(Some(path)) => lay(&["service", "backend_path"], path.to_owned(), "--backend-path"),
        Some(None) => {
            faults.push(Fault { place: "--backend-path".into(), message: "is not UTF-8".into() })
        }
        None => {}
    }
}

/// The keys that a file of the Python service has always had to have.
fn required_in_seed_form(values: &Value, faults: &mut Faults) {
    let required: [&[&str]; 3] =
        [&["endpoints", "client_handshake"], &["endpoints", "cli_management"], &["model_backends"]];
    for keys in required {
        let at = KeyPath::of(keys);
        if at.get(values).is_none() {
            faults.push(at, "required key is missing");
        }
    }
}

/// The management endpoint of a faulty configuration, where it is certain that none of the faults is about it.
fn untouched_endpoint(endpoint: &str, values: &Value, faults: &Faults) -> Option<String> {
    let section = KeyPath::of(&["endpoints"]);
    let at = section.key("cli_management");
    let is_given = at.get(values).is_some();
    // a default counts only where the file cannot have meant another one, misspelt
    let may_be_meant = |place: &KeyPath| match place.steps() {
        [Step::Key(key)] => nearest(key, ["endpoints"]).is_some(),
        _ => place.starts_with(&section),
    };
    let touched = faults.any(|place| at.starts_with(place) || !is_given && may_be_meant(place));
    (!endpoint.is_empty() && !touched).then(|| endpoint.to_owned())
}

/// Whether a variable or a flag with a fault in its name was meant for the section.
fn concerns_endpoints(fault: &Fault) -> bool {
    fault.place.to_lowercase().contains("endpoint")
}

fn section<T: serde::de::DeserializeOwned + Default>(
    values: &Value,
    name: &str,
    faults: &mut Faults,
) -> T {
    let Some(section) = values.get(name) else { return T::default() };
    T::deserialize(section).unwrap_or_else(|error| {
        faults.push(KeyPath::of(&[name]), error.to_string());
        T::default()
    })
}

/// A fault with the variable or flag that set the value, where it was not the file.
fn told(at: &KeyPath, message: String, origins: &Origins, written: &Value) -> Fault {
    let message = match origins.of(written, at) {
        origin @ (Origin::Variable(_) | Origin::Flag(_)) => format!("{message} ({origin})"),
        Origin::Default | Origin::File(_) | Origin::Found => message,
    };
    Fault { place: at.to_string(), message }
}
