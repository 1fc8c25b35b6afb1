//! `symphony events`.

use serde_json::json;

use crate::cli::args::EventsArgs;
use crate::cli::error::CliError;
use crate::cli::follow;
use crate::cli::models::state_style;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::times;
use crate::events::messages::{EventPage, LifecycleEvent};
use crate::limits;
use crate::telemetry::escape::one_line;

/// Shows what happened, and follows it.
pub fn run(args: &EventsArgs, session: &Session) -> Result<(), CliError> {
    let client = session.connect()?;
    let mut since = 0;
    let mut first = true;
    loop {
        let answer = match client.ask("events", json!({ "since": since }), session.patience()) {
            Ok(answer) => answer,
            Err(error) if first => return Err(error.into()),
            Err(error) => return follow::end(error.into(), &session.output),
        };
        let page: EventPage = answer.parse()?;
        if session.output.is_json() {
            if first || !page.events.is_empty() {
                session.output.line(answer.text())?;
            }
        } else {
            show(&page, &session.output)?;
        }
        if !args.follow {
            return Ok(());
        }
        // a service that was started anew counts from the beginning
        since = if page.next < since { 0 } else { page.next };
        first = false;
        session.output.pause(limits::CLI_FOLLOW_EVERY)?;
    }
}

fn show(page: &EventPage, output: &Output) -> Result<(), CliError> {
    if page.missed > 0 {
        output.note(format!("({} earlier events are no longer kept)", page.missed));
    }
    for event in &page.events {
        output.line(line(event, output))?;
    }
    Ok(())
}

/// One event on one line: time, subject, kind, cause.
pub fn line(event: &LifecycleEvent, output: &Output) -> String {
    let subject = match event.generation {
        Some(generation) => format!("{}#{generation}", event.subject),
        None => event.subject.clone(),
    };
    let kind = output.styled(&one_line(&event.kind), state_style(&event.kind));
    let mut line = format!("{}  {}  {kind}", times::moment(event.at), one_line(&subject));
    if let Some(cause) = &event.cause {
        line.push_str("  ");
        line.push_str(&one_line(cause));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Generation;

    #[test]
    fn an_event_is_one_line_whatever_its_cause_holds() {
        let event = LifecycleEvent {
            seq: 1,
            at: 0.0,
            since_start_ms: 0.0,
            subject: "phi-1".into(),
            model: None,
            generation: Some(Generation(2)),
            kind: "exited".into(),
            cause: Some("exit 3\nTraceback".into()),
        };
        let line = line(&event, &Output::new(true));
        assert!(line.ends_with("  phi-1#2  exited  exit 3\\nTraceback"), "{line}");
    }
}
