//! The table of a backend becomes a [`BackendSpec`].

use std::path::{Component, Path};

use super::anchor::Anchors;
use super::model::{BackendSpec, LaunchForm, Transport};
use super::path::shown;
use super::placeholder::{Placeholder, Template};
use super::policies;
use super::policy::Readiness;
use super::raw::{KindWord, RawBackendTable};
use super::reader::Reader;

/// A backend, and what its command needs of a model.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    /// How it is run.
    pub spec: BackendSpec,
    /// The placeholders of its command.
    pub placeholders: Vec<Placeholder>,
}

/// Reads the table that `reader` stands at. `None`: nothing says what is run, which is noted.
pub(super) fn read(
    reader: &mut Reader<'_>,
    raw: &RawBackendTable,
    anchors: &Anchors<'_>,
) -> Option<Backend> {
    let transport = match raw.kind {
        Some(KindWord::Http) => Transport::Http,
        Some(KindWord::Zmq) | None => Transport::Zmq,
    };
    environment(reader, raw);
    let working_dir = raw.working_dir.as_ref().and_then(|text| {
        let at = reader.at(&["working_dir"]);
        anchors.resolve(&at, text).map_err(|message| reader.faults.push(at, message)).ok()
    });
    let start = policies::start(reader, raw.ready.as_ref(), &raw.start, transport);
    let health = policies::health(reader, &raw.health, &start.ready, transport);
    let restart = policies::restart(reader, &raw.restart);
    let stop = policies::stop(reader, &raw.stop);
    let limits = policies::resource_limits(reader, &raw.limits);
    if limits.user.is_some() && start.ready == Readiness::Notify {
        let message = "cannot reach the socket of ready = \"notify\", which lies in a private folder; use ready = { fd = 3 }";
        reader.fault(&["limits", "user"], message);
    }
    let log = policies::log(reader, &raw.log);
    let (launch, placeholders) = launch(reader, raw, transport, anchors)?;
    let spec = BackendSpec {
        launch,
        transport,
        start,
        health,
        restart,
        stop,
        limits,
        env: raw.env.clone(),
        env_allow: raw.env_allow.clone(),
        working_dir,
        log,
    };
    Some(Backend { spec, placeholders })
}

fn launch(
    reader: &mut Reader<'_>,
    raw: &RawBackendTable,
    transport: Transport,
    anchors: &Anchors<'_>,
) -> Option<(LaunchForm, Vec<Placeholder>)> {
    let embedded = raw.embedded.unwrap_or(false);
    if raw.pass_model_name.is_some() && raw.script.is_none() && !reader.spoilt(&[]) {
        reader.fault(
            &["pass_model_name"],
            "is for a script; a command names '{fullname}' where it wants it",
        );
    }
    match (&raw.command, &raw.script, embedded) {
        (Some(argv), None, false) => command(reader, argv, transport, anchors),
        (None, Some(script), false) => {
            script_name(reader, script);
            let pass_model_name = raw.pass_model_name.unwrap_or(true);
            Some((LaunchForm::Script { script: script.clone(), pass_model_name }, Vec::new()))
        }
        (None, None, true) => {
            if transport == Transport::Http {
                reader.fault(&["kind"], "the embedded engine speaks \"zmq\"");
            }
            Some((LaunchForm::Embedded, Vec::new()))
        }
        _ => {
            // a faulty `command` was taken out: that it is missing now is no news
            if !reader.spoilt(&[]) {
                reader.fault(&[], "needs exactly one of 'command', 'script', 'embedded = true'");
            }
            None
        }
    }
}

fn command(
    reader: &mut Reader<'_>,
    argv: &[String],
    transport: Transport,
    anchors: &Anchors<'_>,
) -> Option<(LaunchForm, Vec<Placeholder>)> {
    let templates = templates(reader, argv);
    let placeholders: Vec<_> =
        templates.iter().flat_map(|template| template.placeholders()).collect();
    let at = reader.at(&["command"]);
    let has_port = placeholders.contains(&Placeholder::Port);
    match transport {
        Transport::Zmq if has_port => {
            reader
                .faults
                .push(at.clone(), "'{port}' is for kind \"http\"; kind \"zmq\" has '{endpoint}'");
        }
        Transport::Http
            if !has_port
                && !placeholders.contains(&Placeholder::Endpoint)
                && !reader.faults.any_below(&at) =>
        {
            let message = "kind \"http\" needs '{port}' (or '{endpoint}') in its command: Symphony picks the port";
            reader.faults.push(at.clone(), message);
        }
        _ => {}
    }
    let (program, args) = argv.split_first()?;
    match anchors.resolve_program(&at, program) {
        Ok(program) => {
            let argv = std::iter::once(program).chain(args.iter().cloned()).collect();
            Some((LaunchForm::Command { argv }, placeholders))
        }
        Err(message) => {
            reader.faults.push(at.index(0), message);
            None
        }
    }
}

/// Reads the templates of a command line; faulty ones are noted and left out.
fn templates(reader: &mut Reader<'_>, argv: &[String]) -> Vec<Template> {
    let at = reader.at(&["command"]);
    let mut templates = Vec::new();
    for (index, argument) in argv.iter().enumerate() {
        let place = at.index(index);
        if argument.contains('\0') {
            reader.faults.push(place, "an argument holds no NUL");
        } else if index == 0 && argument.trim().is_empty() {
            reader.faults.push(place, "the program is empty");
        } else {
            match Template::parse(argument) {
                Ok(template) => templates.push(template),
                Err(message) => reader.faults.push(place, message),
            }
        }
    }
    templates
}

/// A script lies below the backend path: what leaves it is no script of a backend.
fn script_name(reader: &mut Reader<'_>, script: &str) {
    let mut parts = Path::new(script).components();
    if script.trim().is_empty() {
        reader.fault(&["script"], "the name of the script is empty");
    } else if script.chars().any(char::is_control) {
        reader.fault(&["script"], "holds a control character");
    } else if !parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        let message = format!(
            "'{}' leaves the backend path; use 'command' for a program elsewhere",
            shown(script)
        );
        reader.fault(&["script"], message);
    }
}

/// What no environment can hold is a fault here and not an odd error at the first start.
fn environment(reader: &mut Reader<'_>, raw: &RawBackendTable) {
    let bad_name = |name: &str| name.is_empty() || name.contains(['=', '\0']);
    for (name, value) in &raw.env {
        if bad_name(name) {
            reader.fault(&["env", name], "is no name of a variable");
        } else if value.contains('\0') {
            reader.fault(&["env", name], "the value of a variable holds no NUL");
        }
    }
    let at = reader.at(&["env_allow"]);
    for (index, name) in raw.env_allow.iter().flatten().enumerate() {
        if bad_name(name) {
            reader.faults.push(at.index(index), "is no name of a variable");
        }
    }
}
