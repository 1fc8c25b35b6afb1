//! The service inside a program that has actors of its own, on the same actix system, with typed messages both ways:
//! the program's actor asks the service for a model, and the service tells the program's actor what becomes of it.
//!
//! Meanwhile the service has its two sockets, so that `symphony --endpoint … status` works from outside, too.
//!
//! Run it with `cargo run --example embed_service`.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, Recipient, ResponseFuture};
use rustix::process::{Pid, Signal, kill_process};
use symphony::app::{ServeOptions, Service, Wish, Wishes};
use symphony::cli::client::backend::BackendClient;
use symphony::events::messages::{EventOccurred, Subscribe};
use symphony::instance::messages::{LoadModel, ModelError};
use symphony::registry::messages::InstanceView;
use symphony::settings::model::{BackendSpec, ModelSpec, Settings};
use tokio::sync::watch;

/// Long enough for any machine: nothing here takes more than milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    // this program is its own embedded backend: the service starts it again as `embed_service backend …`
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

    // the program's own part: it knows the service by the messages it may send
    let (ready, mut readiness) = watch::channel(0);
    let assistant = Assistant::new(service.desk()?.recipient(), ready).start();
    let events = service.events()?;
    events.send(Subscribe { to: assistant.clone().recipient() }).await?;

    // from here on the service runs by itself, until the program ends it
    let control = service.control();
    let served = actix_rt::spawn(service.run(NoSignals));

    let answer = assistant.send(Ask("hello".into())).await??;
    println!("assistant: {} (process {:?})", answer.words, answer.pid);

    let pid = answer.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    println!("killing the model's process");
    kill_process(pid.ok_or("no pid")?, Signal::KILL)?;
    tokio::time::timeout(PATIENCE, readiness.wait_for(|times| *times == 2)).await??;
    let answer = assistant.send(Ask("still there?".into())).await??;
    println!("assistant: {} (process {:?})", answer.words, answer.pid);

    println!("ending the service");
    control.stop();
    served.await??;
    // the program goes on without it
    println!("assistant: {}", assistant.send(Recall).await?);
    match assistant.send(Ask("anybody?".into())).await? {
        Ok(answer) => println!("assistant: {}", answer.words),
        Err(reason) => println!("assistant: no answer, {reason}"),
    }
    Ok(())
}

/// An actor of the program: answers by means of a model, and keeps a diary of what the service told it.
struct Assistant {
    load: Recipient<LoadModel>,
    diary: Vec<String>,
    times_ready: watch::Sender<u32>,
}

impl Assistant {
    fn new(load: Recipient<LoadModel>, times_ready: watch::Sender<u32>) -> Self {
        Self { load, diary: Vec::new(), times_ready }
    }
}

impl Actor for Assistant {
    type Context = Context<Self>;
}

/// A question to the assistant.
#[derive(Message)]
#[rtype(result = "Result<Answer, String>")]
struct Ask(String);

struct Answer {
    words: String,
    pid: Option<u32>,
}

impl Handler<Ask> for Assistant {
    type Result = ResponseFuture<Result<Answer, String>>;

    fn handle(&mut self, Ask(question): Ask, _: &mut Self::Context) -> Self::Result {
        // to the service: loads the model if need be, leads to the running one otherwise
        let load = LoadModel { model: "tiny".into(), wait: true, revive: false };
        let asked = self.load.send(load);
        Box::pin(async move {
            let loaded: Result<Arc<InstanceView>, ModelError> =
                asked.await.map_err(|_| "the service is gone".to_owned())?;
            let view = loaded.map_err(|error| error.to_string())?;
            let words = ask_backend(view.endpoint.clone(), question).await?;
            Ok(Answer { words, pid: view.pid })
        })
    }
}

/// From the service: what happened to the model.
impl Handler<EventOccurred> for Assistant {
    type Result = ();

    fn handle(&mut self, EventOccurred(event): EventOccurred, _: &mut Self::Context) {
        if event.model.as_deref() != Some("tiny") {
            return;
        }
        println!("  service: tiny is {}", event.kind);
        if event.kind == "ready" {
            self.times_ready.send_modify(|times| *times += 1);
        }
        self.diary.push(event.kind.clone());
    }
}

/// Asks the assistant for its diary.
#[derive(Message)]
#[rtype(result = "String")]
struct Recall;

impl Handler<Recall> for Assistant {
    type Result = String;

    fn handle(&mut self, _: Recall, _: &mut Self::Context) -> String {
        format!("the model was {}", self.diary.join(", "))
    }
}

/// Talks to the backend itself, away from the actors' thread: a client of ZeroMQ blocks.
async fn ask_backend(endpoint: String, question: String) -> Result<String, String> {
    let asked = tokio::task::spawn_blocking(move || {
        let mut backend = BackendClient::connect(&endpoint)?;
        backend.greet(PATIENCE)?;
        backend.ping(&question, PATIENCE).map(|(words, _)| words)
    });
    let answered = asked.await.map_err(|error| error.to_string())?;
    answered.map_err(|error: symphony::cli::client::ClientError| error.to_string())
}

/// The program handles signals itself: the service gets none from here.
struct NoSignals;

impl Wishes for NoSignals {
    async fn next(&mut self) -> Wish {
        std::future::pending().await
    }
}
