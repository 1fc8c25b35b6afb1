//! Watches the lifecycle of a model from inside the program: an actor subscribes to the events of the service and tells
//! them while the model is loaded, killed and unloaded.
//!
//! Run it with `cargo run --example watch_events`.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler};
use rustix::process::{Pid, Signal, kill_process};
use symphony::app::{ServeOptions, Service};
use symphony::events::messages::{EventOccurred, EventPage, LifecycleEvent, ReadEvents, Subscribe};
use symphony::instance::messages::{LoadModel, UnloadModel};
use symphony::settings::model::{BackendSpec, ModelSpec, Settings};
use tokio::sync::mpsc;

/// Long enough for any machine: nothing here takes more than milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// More events than this story has.
const EVENTS: usize = 256;

fn main() -> ExitCode {
    // this program is its own embedded backend: the service starts it again as `watch_events backend …`
    if let Some(code) = symphony::cli::helper::run() {
        return code;
    }
    match actix_rt::System::new().block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let model = ModelSpec::new("tiny", BackendSpec::embedded())?;
    let settings = Settings::in_folder(folder.path())?.with_model(model);
    let service = Service::start(settings, ServeOptions::default()).await?;

    // the answer to the subscription is awaited: what happens from here on is told
    let (tell, mut told) = mpsc::channel(EVENTS);
    let watcher = Watcher { tell }.start();
    service.events()?.send(Subscribe { to: watcher.recipient() }).await?;

    let load = LoadModel { model: "tiny".into(), wait: true, revive: true };
    let loaded = service.desk()?.send(load).await??;
    until(&mut told, "ready").await?;

    let pid = loaded.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    println!("-- killing its process");
    kill_process(pid.ok_or("no pid")?, Signal::KILL)?;
    let exited = until(&mut told, "exited").await?;
    let ready = until(&mut told, "ready").await?;
    let gap = ready.since_start_ms - exited.since_start_ms;
    println!("-- ready again {gap:.1} ms after its end was noticed");

    println!("-- unloading it");
    service.desk()?.send(UnloadModel { model: "tiny".into() }).await??;
    until(&mut told, "stopped").await?;

    // who comes late reads the timeline from any number on
    let log = service.events()?;
    let page: EventPage = log.send(ReadEvents { since: exited.seq, limit: EVENTS }).await?;
    println!("-- {} events after number {}, {} lost", page.events.len(), exited.seq, page.missed);

    service.stop().await?;
    Ok(())
}

/// Waits for an event of this kind and tells it and those before it.
async fn until(
    told: &mut mpsc::Receiver<Arc<LifecycleEvent>>,
    kind: &str,
) -> Result<Arc<LifecycleEvent>, Box<dyn Error>> {
    loop {
        let event =
            tokio::time::timeout(PATIENCE, told.recv()).await?.ok_or("the watcher ended")?;
        let generation = event.generation.map_or_else(String::new, |number| format!("#{number}"));
        let cause = event.cause.as_deref().unwrap_or_default();
        println!(
            "{:8.1} ms  {}{generation:4} {:9} {cause}",
            event.since_start_ms,
            event.model.as_deref().unwrap_or(&event.subject),
            event.kind,
        );
        if event.kind == kind {
            return Ok(event);
        }
    }
}

/// Passes events on. What it does in a handler must be quick: what does not fit into its mailbox is dropped and counted.
struct Watcher {
    tell: mpsc::Sender<Arc<LifecycleEvent>>,
}

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(EVENTS);
    }
}

impl Handler<EventOccurred> for Watcher {
    type Result = ();

    fn handle(&mut self, EventOccurred(event): EventOccurred, ctx: &mut Self::Context) {
        if self.tell.try_send(event).is_err() {
            // nobody listens any more
            ctx.stop();
        }
    }
}
