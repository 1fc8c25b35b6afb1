//! `symphony demo`: the service's main job in half a minute, on the embedded backend, with real measured times.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{events, tree};
use crate::cli::args::DemoArgs;
use crate::cli::client::backend::BackendClient;
use crate::cli::client::{Client, ClientError};
use crate::cli::configuration::ServiceFlags;
use crate::cli::error::CliError;
use crate::cli::interruption::Interruption;
use crate::cli::session::Session;
use crate::cli::stage::Stage;
use crate::clock::Clock;
use crate::events::messages::{EventPage, LifecycleEvent};
use crate::supervision::tree::TreeNode;

const MODELS: [&str; 2] = ["alpha", "beta"];
/// Nothing in the demo takes a second; a busy machine gets a generous bound.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the demo.
pub fn run(args: &DemoArgs, session: &Session) -> Result<ExitCode, CliError> {
    if session.output.is_json() {
        let text = "the demo is told to people; it has no form for --json";
        return Err(CliError::Usage(text.into()));
    }
    let (random, ..) = uuid::Uuid::new_v4().as_fields();
    let folder = std::env::temp_dir().join(format!("symphony-demo-{random:08x}"));
    // `--keep` means a demo that came to its end: until then Ctrl-C takes everything away
    let interruption = Interruption::listen(&folder)?;
    let outcome = play(args, folder, &interruption, session);
    interruption.give_way();
    outcome
}

fn play(
    args: &DemoArgs,
    folder: PathBuf,
    interruption: &Interruption,
    session: &Session,
) -> Result<ExitCode, CliError> {
    let models = json!({
        "model_backends": { "builtin": { "embedded": true } },
        "supported_models": MODELS.map(|name| json!({ "name": name, "type": "builtin" })),
    });
    let stage = Stage::build(folder, &models, ServiceFlags::default(), Some(interruption))?;
    let shown = show(&stage, session);
    if args.keep && shown.is_ok() {
        session.output.line(format!(
            "\nThe service is left running. Look at it with\n  symphony --endpoint {} status\nend it with\n  symphony --endpoint {} stop-service --wait && rm -r {}",
            stage.endpoint,
            stage.endpoint,
            stage.folder.display()
        ))?;
        stage.leave();
        return Ok(ExitCode::SUCCESS);
    }
    let struck = stage.strike();
    interruption.give_way();
    shown?;
    struck?;
    session.output.line("\nStopped; no process, socket or file is left.")?;
    Ok(ExitCode::SUCCESS)
}

fn show(stage: &Stage, session: &Session) -> Result<(), CliError> {
    let out = &session.output;
    let clock = Clock::start();
    let client = Client::connect(&stage.endpoint)?;
    out.line(format!("1. The service runs as pid {} in {}", stage.pid, stage.folder.display()))?;

    out.line("\n2. Two models are loaded, each in a process of its own")?;
    let mut endpoints = Vec::new();
    for model in MODELS {
        let before = clock.now();
        let params = json!({ "model_name": model, "wait": true });
        let loaded = client.ask("load-model", params, PATIENCE)?.value();
        let endpoint = text(&loaded["endpoint"]);
        out.line(format!(
            "   {model}: {} after {} as pid {} on {endpoint}",
            text(&loaded["state"]),
            ms(clock.now() - before),
            loaded["pid"],
        ))?;
        endpoints.push(endpoint);
    }

    out.line(
        "\n3. A client asks the service which protocols there are, and talks to a backend directly",
    )?;
    let handshake = super::handshake::protocols(&client, session)?;
    out.line(format!("   handshake with the service: {}", handshake.join(", ")))?;
    let mut backend = BackendClient::connect(&endpoints[0])?;
    backend.greet(PATIENCE)?;
    let (words, round_trip) = backend.ping("hello", PATIENCE)?;
    out.line(format!("   ping to alpha: {words:?} after {}", ms(round_trip)))?;

    out.line("\n4. alpha is killed with SIGKILL, as the kernel does when memory runs out")?;
    let pid = pid_of(&client, MODELS[0])?;
    let killed_at = Clock::wall_seconds();
    let killed = clock.now();
    kill(pid)?;
    backend.greet(PATIENCE)?;
    let (words, _) = backend.ping("still there?", PATIENCE)?;
    let gone_on = clock.now() - killed;
    let events = timeline(&client)?;
    let after_kill = |kind: &str| {
        let event = events.iter().find(|event| {
            event.kind == kind && event.at >= killed_at && event.model.as_deref() == Some(MODELS[0])
        });
        event.map_or_else(|| "?".to_owned(), |event| ms(seconds(event.at - killed_at)))
    };
    out.line(format!("   noticed            after {}", after_kill("exited")))?;
    out.line(format!("   successor ordered  after {}", after_kill("starting")))?;
    out.line(format!("   successor ready    after {}", after_kill("ready")))?;
    out.line(format!(
        "   the client's next ping was answered after {} on the same socket: {words:?}",
        ms(gone_on)
    ))?;

    out.line("\n5. The supervision tree")?;
    let answer = client.ask("tree", json!({}), PATIENCE)?;
    let root: TreeNode = answer.parse()?;
    out.line(indented(&tree::drawing(&root, out)))?;

    out.line("\n6. What happened")?;
    for event in &events {
        out.line(format!("   {}", events::line(event, out)))?;
    }
    Ok(())
}

fn pid_of(client: &Client, model: &str) -> Result<i32, CliError> {
    let status = client.ask("status", json!({}), PATIENCE)?.value();
    let models = status["models"].as_array().cloned().unwrap_or_default();
    let entry = models.iter().find(|entry| entry["name"] == model);
    entry
        .and_then(|entry| entry["pid"].as_i64())
        .and_then(|pid| i32::try_from(pid).ok())
        .ok_or_else(|| ClientError::Malformed(format!("status names no pid of {model}")).into())
}

fn kill(pid: i32) -> Result<(), CliError> {
    let pid = Pid::from_raw(pid).ok_or_else(|| CliError::Failed("no pid to kill".to_owned()))?;
    kill_process(pid, Signal::KILL)
        .map_err(|error| CliError::Failed(format!("cannot kill the backend: {error}")))
}

fn timeline(client: &Client) -> Result<Vec<std::sync::Arc<LifecycleEvent>>, CliError> {
    let page: EventPage = client.ask("events", json!({}), PATIENCE)?.parse()?;
    Ok(page.events)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("?").to_owned()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("   {line}")).collect::<Vec<_>>().join("\n")
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn ms(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1000.0)
}
