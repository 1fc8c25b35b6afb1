//! What would make the start of a model fail, told before anybody tries: for `config check`. Starts and changes nothing.

use std::path::Path;

use super::command_line::{self, script_path};
use super::endpoint::Endpoint;
use super::messages::ModelError;
use crate::ids::InstanceId;
use crate::launcher::account;
use crate::launcher::local::obstacle;
use crate::settings::model::{BackendSpec, LaunchForm, ModelSpec, Settings, StartFacts, Transport};

/// Names in one warning; of more models of the same kind only the number is told.
const NAMES: usize = 3;
/// Stands for the port that a start would be given.
const ANY_PORT: u16 = 1;

/// One line for each obstacle, with the models that it concerns.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for model in &settings.models {
        for obstacle in obstacles(model, settings) {
            match found.iter_mut().find(|(known, _)| *known == obstacle) {
                Some((_, names)) => names.push(model.name.as_str()),
                None => found.push((obstacle, vec![model.name.as_str()])),
            }
        }
    }
    found.into_iter().map(|(obstacle, names)| format!("{}: {obstacle}", listed(&names))).collect()
}

fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
    let noun = if names.len() == 1 { "model" } else { "models" };
    match names.len().saturating_sub(NAMES) {
        0 => format!("{noun} {shown}"),
        more => format!("{noun} {shown} and {more} more"),
    }
}

fn obstacles(model: &ModelSpec, settings: &Settings) -> Vec<String> {
    // a type without backend is told by the settings themselves
    let Some(backend) = &model.backend else { return Vec::new() };
    let missing_script = missing_script(backend, settings);
    let endpoint = match backend.transport {
        Transport::Zmq => Endpoint::fresh_ipc(&settings.service.model_socket_dir),
        Transport::Http => Endpoint::http(ANY_PORT),
    };
    let instance = InstanceId::of_model(&model.name);
    let facts =
        StartFacts { model, instance: &instance, endpoint: endpoint.uri(), port: endpoint.port() };
    // without a backend path there is no command, and a warning already
    let Ok(mut command) = command_line::command(backend, &settings.service, &facts) else {
        return Vec::new();
    };
    if missing_script.is_some() {
        // the folder of the script would be told as missing again
        command.working_dir = backend.working_dir.clone();
    }
    let mut found: Vec<String> = missing_script.into_iter().collect();
    found.extend(obstacle(&command).map(|error| error.to_string()));
    if let Some(user) = &backend.limits.user {
        found.extend(account::obstacle(user).map(|error| error.to_string()));
    }
    if let Some(path) = model.path.as_deref().filter(|path| is_missing_file(path))
        && command.args.iter().any(|word| word.contains(path))
    {
        found.push(format!("its path {path} does not exist"));
    }
    found
}

fn missing_script(backend: &BackendSpec, settings: &Settings) -> Option<String> {
    let LaunchForm::Script { script, .. } = &backend.launch else { return None };
    let path = script_path(&settings.service, script).ok()?;
    (!path.is_file()).then(|| ModelError::ScriptMissing(path.display().to_string()).to_string())
}

/// Anything but an absolute path may as well be the name of a model on a hub.
fn is_missing_file(path: &str) -> bool {
    let path = Path::new(path);
    path.is_absolute() && path.try_exists().is_ok_and(|exists| !exists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_models_with_one_obstacle_make_one_line() {
        assert_eq!(listed(&["a"]), "model a");
        assert_eq!(listed(&["a", "b", "c"]), "models a, b, c");
        assert_eq!(listed(&["a", "b", "c", "d", "e"]), "models a, b, c and 2 more");
    }
}
