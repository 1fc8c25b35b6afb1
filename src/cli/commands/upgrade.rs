//! `symphony upgrade`.

use std::path::{Path, absolute};
use std::time::Duration;

use serde_json::json;

use crate::cli::args::UpgradeArgs;
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::progress;
use crate::cli::session::Session;
use crate::telemetry::escape::one_line;
use crate::upgrade::outcome::Upgraded;

/// Lets another binary take over and tells what came of it.
pub fn run(args: &UpgradeArgs, session: &Session) -> Result<(), CliError> {
    let binary = args.binary.as_deref().map(as_seen_from_anywhere).transpose()?;
    let client = Client::connect(&session.endpoint()?)?;
    let pending = client.send("upgrade", json!({ "binary": binary }))?;
    let patience = session.upgrade_patience();
    let answer = progress::wait_for(&client, &pending, "upgrading", patience, &session.output)?;
    if session.output.is_json() {
        return session.output.line(answer.text());
    }
    session.output.line(human(&answer.parse()?).join("\n"))
}

/// The service has another working directory.
fn as_seen_from_anywhere(binary: &Path) -> Result<String, CliError> {
    let path = absolute(binary)
        .map_err(|error| CliError::Usage(format!("--binary {}: {error}", binary.display())))?;
    match path.to_str() {
        Some(path) => Ok(path.to_owned()),
        None => Err(CliError::Usage(format!("--binary {}: no UTF-8", binary.display()))),
    }
}

fn human(upgraded: &Upgraded) -> Vec<String> {
    let Upgraded { from_version, version, binary, took_ms, models_kept, models_lost, .. } =
        upgraded;
    let took = humantime::format_duration(Duration::from_millis(*took_ms));
    let kept = match models_kept {
        0 => "no models were loaded".to_owned(),
        1 => "1 model kept its process".to_owned(),
        more => format!("{more} models kept their processes"),
    };
    let mut lines = vec![
        format!("Upgraded from {} to {} in {took}", one_line(from_version), one_line(version)),
        format!("Binary: {}", one_line(binary)),
    ];
    if *models_kept > 0 || models_lost.is_empty() {
        lines.push(format!("Models: {kept}"));
    }
    if !models_lost.is_empty() {
        let names: Vec<_> = models_lost.iter().map(|name| one_line(name)).collect();
        lines.push(format!("Models that lost their process: {}", names.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgraded(models_kept: usize, models_lost: &[&str]) -> Upgraded {
        Upgraded {
            from_version: "0.1.0".into(),
            version: "0.2.0".into(),
            from_binary: "/old".into(),
            binary: "/usr/bin/symphony".into(),
            took_ms: 312,
            models_kept,
            models_lost: models_lost.iter().map(|&name| name.into()).collect(),
        }
    }

    #[test]
    fn what_was_kept_and_lost_is_told() {
        let head = ["Upgraded from 0.1.0 to 0.2.0 in 312ms", "Binary: /usr/bin/symphony"];
        let told = |kept, lost: &[&str]| {
            let lines = human(&upgraded(kept, lost));
            assert_eq!(lines[..2], head);
            lines[2..].join("; ")
        };
        assert_eq!(told(0, &[]), "Models: no models were loaded");
        assert_eq!(told(1, &[]), "Models: 1 model kept its process");
        assert_eq!(
            told(3, &["a", "b"]),
            "Models: 3 models kept their processes; Models that lost their process: a, b"
        );
        assert_eq!(told(0, &["a"]), "Models that lost their process: a");
    }

    #[test]
    fn the_service_gets_a_path_that_is_the_same_everywhere() {
        let path = as_seen_from_anywhere("target/symphony".as_ref()).expect("a path");
        assert!(path.starts_with('/') && path.ends_with("/target/symphony"), "{path}");
        assert_eq!(as_seen_from_anywhere("/a/b".as_ref()).expect("a path"), "/a/b");
    }
}
