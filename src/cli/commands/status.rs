//! `symphony status`.

use serde_json::{Value, json};

use crate::cli::args::StatusArgs;
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::models::{ModelLine, shown, table};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::limits;

/// Shows the service and its models, once or again and again.
pub fn run(args: &StatusArgs, session: &Session) -> Result<(), CliError> {
    let endpoint = session.endpoint()?;
    if !args.watch {
        return session.output.line(page(args, &endpoint, session)?);
    }
    loop {
        match page(args, &endpoint, session) {
            Ok(page) => show_again(&page, &session.output)?,
            // on a terminal the watch outlives a service that is being restarted
            Err(error @ CliError::Request { .. }) if session.output.is_terminal() => {
                show_again(&error.to_string(), &session.output)?;
            }
            Err(error) => return Err(error),
        }
        session.output.pause(limits::CLI_WATCH_EVERY)?;
    }
}

fn page(args: &StatusArgs, endpoint: &str, session: &Session) -> Result<String, CliError> {
    // people are told of parked models, too; programs get what they asked for
    let all = args.all || !session.output.is_json();
    let params = if all { json!({ "all": true }) } else { json!({}) };
    let answer = Client::connect(endpoint)?.ask("status", params, session.patience())?;
    if session.output.is_json() {
        return Ok(answer.text().to_owned());
    }
    Ok(human(&answer.value(), args.all, &session.output))
}

fn human(data: &Value, all: bool, output: &Output) -> String {
    let mut lines = vec![
        format!("Service Status: {}", shown(&data["service_status"])),
        format!("Client Endpoint: {}", shown(&data["client_endpoint"])),
        format!("CLI Endpoint: {}", shown(&data["cli_endpoint"])),
    ];
    lines.extend(heart_line(&data["heart"]));
    lines.push(String::new());
    let models = ModelLine::all(data);
    let listed: Vec<_> = models.iter().filter(|model| all || model.is_loaded()).collect();
    if listed.is_empty() {
        lines.push("No models currently loaded".into());
    } else {
        lines.extend(table(&listed, output));
    }
    for model in models.iter().filter(|model| model.needs_explanation()) {
        lines.push(String::new());
        lines.extend(model.explanation(output));
    }
    lines.join("\n")
}

/// How the parent process of the service stands; nothing where there is none.
fn heart_line(heart: &Value) -> Option<String> {
    let pid = heart["pid"].as_u64()?;
    if heart["is_lost"] == true {
        return Some(format!("Heart: lost (pid {pid}); restart the service to have one again"));
    }
    let restarts = heart["restarts"].as_u64().unwrap_or(0);
    let cause = shown(&heart["last_cause"]);
    Some(match restarts {
        0 => format!("Heart: pid {pid}"),
        1 => format!("Heart: pid {pid}, restarted the service once: {cause}"),
        _ => format!("Heart: pid {pid}, restarted the service {restarts} times, at last: {cause}"),
    })
}

/// On a terminal over the page before, elsewhere below it. JSON stays one object a line.
fn show_again(page: &str, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.line(page);
    }
    if !output.is_terminal() {
        return output.line(format!("{page}\n"));
    }
    // home; each line up to its end; then what is left of a longer page before
    let mut frame = String::from("\x1b[H");
    for line in page.lines() {
        frame.push_str(line);
        frame.push_str("\x1b[K\r\n");
    }
    frame.push_str("\x1b[J");
    output.write(frame.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_by(models: Value, all: bool) -> String {
        let data = json!({"service_status": "running", "client_endpoint": "ipc:///tmp/i",
                          "cli_endpoint": "ipc:///tmp/c", "models": models});
        human(&data, all, &Output::new(true))
    }

    const HEAD: &str =
        "Service Status: running\nClient Endpoint: ipc:///tmp/i\nCLI Endpoint: ipc:///tmp/c\n\n";

    #[test]
    fn texts_of_the_contract() {
        assert_eq!(shown_by(json!([]), false), format!("{HEAD}No models currently loaded"));
        let ready = json!([{"name": "phi", "type": "t", "state": "ready", "uptime": 5,
                            "restarts": 1, "endpoint": "ipc:///tmp/m"}]);
        assert_eq!(
            shown_by(ready, false),
            format!(
                "{HEAD}NAME  TYPE  STATE  UPTIME  RESTARTS  ENDPOINT      PID\n\
                 phi   t     ready  5s      1         ipc:///tmp/m  -"
            )
        );
    }

    #[test]
    fn parked_models_are_told_with_their_reason_and_not_as_loaded() {
        let parked = json!([{"name": "phi", "state": "parked", "reason": "gave up",
                             "last_exit": {"output": ["boom"]}},
                            {"name": "never", "state": "stopped", "generation": 0}]);
        let text = shown_by(parked.clone(), false);
        assert!(text.contains("No models currently loaded"), "{text}");
        assert!(text.ends_with("phi is parked: gave up\n  last output:\n    boom"), "{text}");
        assert!(!text.contains("never"), "{text}");
        assert!(shown_by(parked, true).contains("never"));
    }

    #[test]
    fn the_heart_is_told_where_there_is_one() {
        assert_eq!(heart_line(&Value::Null), None);
        let line = |restarts: u64, cause: Option<&str>, is_lost: bool| {
            let heart =
                json!({"pid": 7, "restarts": restarts, "last_cause": cause, "is_lost": is_lost});
            heart_line(&heart).expect("a line")
        };
        assert_eq!(line(0, None, false), "Heart: pid 7");
        assert_eq!(
            line(1, Some("signal 9"), false),
            "Heart: pid 7, restarted the service once: signal 9"
        );
        assert!(line(2, Some("exit 3"), false).ends_with("2 times, at last: exit 3"));
        assert!(line(2, Some("exit 3"), true).starts_with("Heart: lost (pid 7)"));
        let data = json!({"service_status": "running", "client_endpoint": "ipc:///tmp/i",
                          "cli_endpoint": "ipc:///tmp/c", "models": [], "heart": {"pid": 7}});
        let page = human(&data, false, &Output::new(true));
        assert!(page.contains("CLI Endpoint: ipc:///tmp/c\nHeart: pid 7\n\nNo models"), "{page}");
    }

    #[test]
    fn a_start_tells_its_progress() {
        let loading = json!([{"name": "phi", "state": "starting", "progress": "layer 7 of 32"},
                             {"name": "qwen", "state": "starting", "reason": "exit 3"}]);
        let text = shown_by(loading, false);
        assert!(text.ends_with("\n\nphi is starting: layer 7 of 32"), "{text}");
    }
}
