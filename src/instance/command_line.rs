//! From a model and its backend to a program with arguments. Pure; nothing here is ever read by a shell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::launcher::{OWN_PROGRAM, ProcessCommand};
use crate::settings::model::{BackendSpec, CommandLine, LaunchForm, ServiceSettings, StartFacts};
use crate::settings::placeholder::{Placeholder, Template};

/// Why no command can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Script backends need a folder.
    #[error("no backend path: set backend_path or start with --backend-path")]
    NoBackendPath,
    /// The configuration is checked for this; a program that builds its own specs may get here.
    #[error("the command is empty")]
    Empty,
    /// Braces that do not fit; the configuration is checked for this, too.
    #[error("the command cannot be read: {0}")]
    Template(String),
    /// A placeholder without a value for this model.
    #[error("the command uses {{{0}}}, but this model has no such value")]
    NoValue(String),
    /// A custom kind refused.
    #[error("{0}")]
    Custom(String),
}

/// Where a script backend lies.
///
/// # Errors
/// When there is no backend path.
pub fn script_path(service: &ServiceSettings, script: &str) -> Result<PathBuf, CommandError> {
    service
        .backend_path
        .as_deref()
        .map(|folder| folder.join(script))
        .ok_or(CommandError::NoBackendPath)
}

/// The command for one start.
///
/// # Errors
/// [`CommandError`]; none of them is mended by trying again.
pub fn command(
    backend: &BackendSpec,
    service: &ServiceSettings,
    facts: &StartFacts<'_>,
) -> Result<ProcessCommand, CommandError> {
    let line = match &backend.launch {
        LaunchForm::Script { script, pass_model_name } => {
            script_line(service, script, *pass_model_name, facts)?
        }
        LaunchForm::Command { argv } => template_line(argv, service, facts)?,
        LaunchForm::Embedded => embedded_line(service, facts)?,
        LaunchForm::Custom(kind) => kind.command_line(facts).map_err(CommandError::Custom)?,
    };
    let mut env = BTreeMap::from([
        ("SYMPHONY_ENDPOINT".to_owned(), facts.endpoint.to_owned()),
        ("SYMPHONY_INSTANCE_ID".to_owned(), facts.instance.to_string()),
        ("SYMPHONY_MODEL_NAME".to_owned(), shown_name(facts).to_owned()),
    ]);
    if let Some(port) = facts.port {
        env.insert("SYMPHONY_PORT".to_owned(), port.to_string());
    }
    env.extend(line.env);
    env.extend(backend.env.clone());
    Ok(ProcessCommand {
        program: line.program,
        args: line.args,
        env,
        env_allow: backend.env_allow.clone(),
        working_dir: backend.working_dir.clone().or(line.working_dir),
    })
}

fn shown_name<'a>(facts: &StartFacts<'a>) -> &'a str {
    facts.model.fullname.as_deref().unwrap_or(facts.model.name.as_str())
}

fn script_line(
    service: &ServiceSettings,
    script: &str,
    pass_model_name: bool,
    facts: &StartFacts<'_>,
) -> Result<CommandLine, CommandError> {
    let path = script_path(service, script)?;
    let folder = service.backend_path.clone().ok_or(CommandError::NoBackendPath)?;
    let mut args = vec![
        "-u".to_owned(),
        path.display().to_string(),
        "--ipc-endpoint".to_owned(),
        facts.endpoint.to_owned(),
    ];
    if let (true, Some(fullname)) = (pass_model_name, &facts.model.fullname) {
        if fullname.starts_with('-') {
            // as one word it stays a value
            args.push(format!("--model-name={fullname}"));
        } else {
            args.extend(["--model-name".to_owned(), fullname.clone()]);
        }
    }
    let env = BTreeMap::from([
        ("PYTHONPATH".to_owned(), folder.display().to_string()),
        ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
        ("PIE_MODEL_NAME".to_owned(), shown_name(facts).to_owned()),
        ("PIE_ENDPOINT".to_owned(), facts.endpoint.to_owned()),
    ]);
    let program = PathBuf::from(&service.interpreter);
    Ok(CommandLine { program, args, env, working_dir: Some(folder) })
}

fn embedded_line(
    service: &ServiceSettings,
    facts: &StartFacts<'_>,
) -> Result<CommandLine, CommandError> {
    let args = vec![
        "backend".to_owned(),
        format!("--ipc-endpoint={}", facts.endpoint),
        format!("--model-name={}", shown_name(facts)),
    ];
    Ok(CommandLine { program: symphony_binary(service), args, ..CommandLine::default() })
}

/// The `symphony` binary: as configured, else the running program.
fn symphony_binary(service: &ServiceSettings) -> PathBuf {
    service.symphony_binary.clone().unwrap_or_else(|| PathBuf::from(OWN_PROGRAM))
}

fn template_line(
    argv: &[String],
    service: &ServiceSettings,
    facts: &StartFacts<'_>,
) -> Result<CommandLine, CommandError> {
    let words: Vec<String> =
        argv.iter().map(|word| fill(word, service, facts)).collect::<Result<_, _>>()?;
    let mut words = words.into_iter();
    let program = PathBuf::from(words.next().ok_or(CommandError::Empty)?);
    Ok(CommandLine { program, args: words.collect(), ..CommandLine::default() })
}

/// Fills the placeholders of one word.
fn fill(
    word: &str,
    service: &ServiceSettings,
    facts: &StartFacts<'_>,
) -> Result<String, CommandError> {
    let template = Template::parse(word).map_err(CommandError::Template)?;
    template
        .expand(|placeholder| value(placeholder, service, facts))
        .map_err(|missing| CommandError::NoValue(missing.word().to_owned()))
}

fn value(
    placeholder: Placeholder,
    service: &ServiceSettings,
    facts: &StartFacts<'_>,
) -> Option<String> {
    let folder = |path: &Path| path.display().to_string();
    match placeholder {
        Placeholder::Endpoint => Some(facts.endpoint.to_owned()),
        Placeholder::Port => facts.port.map(|port| port.to_string()),
        Placeholder::Name => Some(facts.model.name.to_string()),
        Placeholder::Fullname => Some(shown_name(facts).to_owned()),
        Placeholder::Path => facts.model.path.clone(),
        Placeholder::Instance => Some(facts.instance.to_string()),
        Placeholder::ModelDir => {
            let path = facts.model.path.as_deref().map(Path::new);
            let beside = path.and_then(Path::parent).map(folder);
            beside.or_else(|| service.backend_path.as_deref().map(folder))
        }
    }
}

#[cfg(test)]
mod tests;
