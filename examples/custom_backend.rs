//! A kind of backend of this program's own: how its command line is made is code here; readiness, health, restarts and
//! the end are left to the service.
//!
//! The backend is a tiny HTTP server, which is this program once more (`custom_backend word-server …`). It is asked,
//! made to crash, and asked again on the same address.
//!
//! Run it with `cargo run --example custom_backend`.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use symphony::app::{ServeOptions, Service};
use symphony::instance::messages::LoadModel;
use symphony::instance::state::State;
use symphony::registry::messages::{FindInstance, InstanceView};
use symphony::settings::model::{
    BackendKind, BackendSpec, CommandLine, ModelSpec, Settings, StartFacts, Transport,
};
use symphony::settings::policy::{HealthCheck, Readiness};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Long enough for any machine: nothing here takes more than milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// The exit code of a crash on demand.
const CRASHED: u8 = 3;

fn main() -> ExitCode {
    // limits and readiness descriptors would start this program as a helper
    if let Some(code) = symphony::cli::helper::run() {
        return code;
    }
    let mut args = std::env::args().skip(1);
    let done = match (args.next().as_deref(), args.next(), args.next()) {
        (Some("word-server"), Some(port), Some(word)) => word_server(&port, &word),
        _ => actix_rt::System::new().block_on(run()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// The kind: says what is to be run for a model.
struct WordServer {
    program: PathBuf,
}

impl BackendKind for WordServer {
    fn name(&self) -> &str {
        "word-server"
    }

    fn command_line(&self, start: &StartFacts<'_>) -> Result<CommandLine, String> {
        let port = start.port.ok_or("a word server speaks HTTP")?;
        // what the configuration of a model may hold is up to the kind: here `path` is the word
        let word = start.model.path.clone().ok_or("this model has no word")?;
        Ok(CommandLine {
            program: self.program.clone(),
            args: vec!["word-server".into(), port.to_string(), word],
            ..CommandLine::default()
        })
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let kind = Arc::new(WordServer { program: std::env::current_exe()? });
    let mut backend = BackendSpec::custom(kind);
    backend.transport = Transport::Http;
    backend.start.ready = Readiness::Http { path: "/health".into(), status: 200 };
    backend.health.check = HealthCheck::Http { path: "/health".into() };

    let mut hello = ModelSpec::new("greeter", backend.clone())?;
    hello.path = Some("hello".into());
    let wordless = ModelSpec::new("wordless", backend)?;
    let folder = tempfile::tempdir()?;
    let settings = Settings::in_folder(folder.path())?.with_model(hello).with_model(wordless);
    let service = Service::start(settings, ServeOptions::default()).await?;

    let load = |model: &str| LoadModel { model: model.into(), wait: true, revive: true };
    let first = service.desk()?.send(load("greeter")).await??;
    println!("greeter is {} on {} (pid {:?})", first.state, first.endpoint, first.pid);
    println!("it says {:?}", get(&first, "/").await?);

    println!("telling it to crash");
    // it ends instead of answering
    get(&first, "/crash").await?;
    let again = successor(&service, &first).await?;
    println!("greeter is {} again on {} (pid {:?})", again.state, again.endpoint, again.pid);
    if let Some(exit) = &again.last_exit {
        println!("the one before: {}, its last words: {:?}", exit.reason, exit.output);
    }
    println!("it says {:?}", get(&again, "/").await?);

    match service.desk()?.send(load("wordless")).await? {
        Ok(view) => println!("wordless is {}", view.state),
        Err(reason) => println!("wordless is not loaded: {reason}"),
    }
    service.stop().await?;
    Ok(())
}

/// Waits until the process after `before` can be used.
async fn successor(
    service: &Service,
    before: &InstanceView,
) -> Result<Arc<InstanceView>, Box<dyn Error>> {
    let registry = service.registry()?;
    tokio::time::timeout(PATIENCE, async {
        loop {
            let view = registry.send(FindInstance(before.model.clone())).await?;
            let view = view.ok_or("it is gone")?;
            if view.state == State::Ready && view.generation > before.generation {
                return Ok(view);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await?
}

/// The body of an answer; empty when the server ended instead.
async fn get(view: &InstanceView, path: &str) -> Result<String, Box<dyn Error>> {
    let address = view.endpoint.strip_prefix("http://").ok_or("no HTTP endpoint")?;
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// The backend itself: a server of one word, one connection after another.
fn word_server(port: &str, word: &str) -> Result<ExitCode, Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    println!("serving {word:?}");
    for connection in listener.incoming() {
        let connection = connection?;
        // a client that goes away is its own business
        if let Ok(true) = answer(&connection, word) {
            println!("told to crash");
            return Ok(ExitCode::from(CRASHED));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Answers one request; tells whether it was the one to crash.
fn answer(mut connection: &TcpStream, word: &str) -> std::io::Result<bool> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(connection).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // the headers say nothing to a server like this, but unread bytes would reset the connection
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    if request.starts_with("GET /crash ") {
        return Ok(true);
    }
    let length = word.len();
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{word}"
    )?;
    Ok(false)
}
