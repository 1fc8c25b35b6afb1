//! `symphony logs [NAME]`: what models wrote. The service's own log is not here: it goes to stderr, or to a daemon's file.

use serde_json::{Map, json};

use crate::cli::args::LogsArgs;
use crate::cli::client::reply::Answer;
use crate::cli::client::{Client, ClientError};
use crate::cli::error::CliError;
use crate::cli::follow;
use crate::cli::models::ModelLine;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::instance::messages::LogPage;
use crate::limits;
use crate::telemetry::escape::one_line;

/// How far one model's log was read.
#[derive(Debug)]
struct Reader {
    model: String,
    /// Where to go on; `None`: from its last lines.
    offset: Option<u64>,
}

/// Shows the last lines of one model or of all, and follows them.
pub fn run(args: &LogsArgs, session: &Session) -> Result<(), CliError> {
    let client = session.connect()?;
    let mut readers: Vec<Reader> =
        args.name.iter().map(|name| Reader { model: name.clone(), offset: None }).collect();
    look(&client, &mut readers, args, session)?;
    if readers.is_empty() && !args.follow && !session.output.is_json() {
        session.output.note("No models currently loaded");
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        session.output.pause(limits::CLI_FOLLOW_EVERY)?;
        if let Err(error) = look(&client, &mut readers, args, session) {
            return follow::end(error, &session.output);
        }
    }
}

/// Shows what was written since the last look.
fn look(
    client: &Client,
    readers: &mut Vec<Reader>,
    args: &LogsArgs,
    session: &Session,
) -> Result<(), CliError> {
    match &args.name {
        Some(_) => show_one(client, readers, args, session),
        None => {
            find_models(client, readers, session)?;
            show_all(client, readers, args, session)
        }
    }
}

/// Adds the models that were started since the last look and drops those that were unloaded.
fn find_models(
    client: &Client,
    readers: &mut Vec<Reader>,
    session: &Session,
) -> Result<(), CliError> {
    let answer = client.ask("status", json!({ "all": true }), session.patience())?;
    // a parked model is the one whose last words are looked for
    let started: Vec<String> = ModelLine::all(&answer.value())
        .into_iter()
        .filter(|model| model.was_started() && (model.is_loaded() || model.is_in_trouble()))
        .map(|model| model.name)
        .collect();
    readers.retain(|reader| started.contains(&reader.model));
    for model in started {
        if readers.iter().all(|reader| reader.model != model) {
            readers.push(Reader { model, offset: None });
        }
    }
    Ok(())
}

/// One look at a log: the answer as it came, and its lines.
fn read(
    client: &Client,
    reader: &mut Reader,
    args: &LogsArgs,
    session: &Session,
) -> Result<(Answer, LogPage), ClientError> {
    let params = match reader.offset {
        None => json!({ "model_name": reader.model, "lines": args.lines }),
        Some(offset) => json!({
            "model_name": reader.model, "lines": limits::LOG_LINES, "after_offset": offset
        }),
    };
    let answer = client.ask("logs", params, session.patience())?;
    let page: LogPage = answer.parse()?;
    reader.offset = Some(page.next_offset);
    Ok((answer, page))
}

fn show_one(
    client: &Client,
    readers: &mut [Reader],
    args: &LogsArgs,
    session: &Session,
) -> Result<(), CliError> {
    for reader in readers {
        let first = reader.offset.is_none();
        let (answer, page) = read(client, reader, args, session)?;
        if !session.output.is_json() {
            print(&page, "", &session.output)?;
        } else if first || !page.lines.is_empty() {
            // a program that follows gets no empty pages
            session.output.line(answer.text())?;
        }
    }
    Ok(())
}

fn show_all(
    client: &Client,
    readers: &mut [Reader],
    args: &LogsArgs,
    session: &Session,
) -> Result<(), CliError> {
    let mut models = Map::new();
    for reader in readers {
        let (answer, page) = match read(client, reader, args, session) {
            Ok(read) => read,
            // unloaded since it was listed
            Err(ClientError::Refused(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        if !session.output.is_json() {
            print(&page, &format!("[{}] ", one_line(&reader.model)), &session.output)?;
        } else if !args.follow || !page.lines.is_empty() {
            models.insert(reader.model.clone(), answer.value());
        }
    }
    if session.output.is_json() && !(args.follow && models.is_empty()) {
        session.output.line(json!({ "models": models }))?;
    }
    Ok(())
}

fn print(page: &LogPage, prefix: &str, output: &Output) -> Result<(), CliError> {
    for line in &page.lines {
        output.line(format!("{prefix}{}", as_read(line, output)))?;
    }
    Ok(())
}

/// A line for a file or a pipe as the model wrote it; for a terminal without what would steer it.
fn as_read<'a>(line: &'a str, output: &Output) -> std::borrow::Cow<'a, str> {
    if output.is_terminal() { one_line(line) } else { line.into() }
}
