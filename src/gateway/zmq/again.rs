//! A request that is under way when the sockets are handed over, as a successor is asked it. Pure.
//!
//! Nobody may lose an answer by an upgrade, and nothing may be done twice: what changes something is asked in a form that
//! changes nothing where it was done already.

use prost::Message;
use serde_json::{Value, json};

use super::command::DeskCommand;
use crate::limits;
use crate::protocols::handshake::Request;

/// The bytes for the CLI socket; `None` for what cannot be asked twice, and is answered at once anyhow.
pub(super) fn command(command: &DeskCommand, correlation_id: &str) -> Option<Vec<u8>> {
    let (name, params) = match command {
        // a model that is up already, or on its way, is answered as any other
        DeskCommand::Load { model, wait, .. }
        // the process was ended before we let go: what is missing is the start
        | DeskCommand::Restart { model, wait } => {
            ("load-model", json!({"model_name": short(model)?, "wait": wait}))
        }
        DeskCommand::Unload { model, .. } => {
            ("unload-model", json!({"model_name": short(model)?, "again": true}))
        }
        DeskCommand::Reload => ("reload", json!({})),
        DeskCommand::Tree => ("tree", json!({})),
        DeskCommand::Logs { model, lines, after_offset } => {
            let model = short(model)?;
            ("logs", json!({"model_name": model, "lines": lines, "after_offset": after_offset}))
        }
        DeskCommand::Events { since, limit } => ("events", json!({"since": since, "limit": limit})),
        DeskCommand::Upgrade { .. } | DeskCommand::UpgradeOutcome => ("upgrade-outcome", json!({})),
        DeskCommand::StopService | DeskCommand::Panic(_) => return None,
    };
    Some(frame(name, params, correlation_id))
}

/// The bytes for the handshake socket.
pub(super) fn handshake(model: &str) -> Option<Vec<u8>> {
    Some(Request { model: short(model)?.to_owned() }.encode_to_vec())
}

fn frame(command: &str, params: Value, correlation_id: &str) -> Vec<u8> {
    let request = json!({"command": command, "params": params, "correlation_id": correlation_id});
    request.to_string().into_bytes()
}

/// No model has a longer name: who asks for one gets the answer at once, and need not be kept.
fn short(model: &str) -> Option<&str> {
    (model.len() <= limits::MODEL_NAME_BYTES).then_some(model)
}

#[cfg(test)]
mod tests {
    use super::super::command::{Command, parse};
    use super::super::handshake::{Wish, decode};
    use super::*;

    fn again(asked: DeskCommand) -> DeskCommand {
        let bytes = command(&asked, "id \"1\"").expect("can be asked again");
        let envelope = parse(&bytes).expect("a command");
        assert_eq!(envelope.correlation_id.as_deref(), Some("id \"1\""));
        match envelope.command.expect("understood") {
            Command::Desk(command) => command,
            Command::Direct(command) => panic!("{command:?}"),
        }
    }

    #[test]
    fn what_reads_is_asked_as_it_was() {
        let model = || "a \"b\"".to_owned();
        for asked in [
            DeskCommand::Load { model: model(), wait: true, config_path_given: false },
            DeskCommand::Load { model: model(), wait: false, config_path_given: false },
            DeskCommand::Reload,
            DeskCommand::Tree,
            DeskCommand::Logs { model: model(), lines: 7, after_offset: None },
            DeskCommand::Logs { model: model(), lines: 0, after_offset: Some(9) },
            DeskCommand::Events { since: 3, limit: 4 },
            DeskCommand::UpgradeOutcome,
        ] {
            assert_eq!(again(asked.clone()), asked);
        }
    }

    #[test]
    fn what_changes_something_is_asked_so_that_it_is_not_done_twice() {
        let restart = DeskCommand::Restart { model: "m".into(), wait: true };
        let load = DeskCommand::Load { model: "m".into(), wait: true, config_path_given: false };
        assert_eq!(again(restart), load);
        let unload = |again| DeskCommand::Unload { model: "m".into(), again };
        assert_eq!(again(unload(false)), unload(true));
        let upgrade = DeskCommand::Upgrade { binary: Some("/b".into()) };
        assert_eq!(again(upgrade), DeskCommand::UpgradeOutcome);
        assert_eq!(command(&DeskCommand::StopService, "1"), None);
    }

    #[test]
    fn a_handshake_asks_for_its_model() {
        let bytes = handshake("phi").expect("can be asked again");
        assert_eq!(decode(&bytes), Ok(Wish::Model("phi".into())));
    }

    #[test]
    fn names_that_no_model_has_are_not_kept() {
        let endless = "x".repeat(limits::MODEL_NAME_BYTES + 1);
        assert_eq!(handshake(&endless), None);
        assert_eq!(command(&DeskCommand::Unload { model: endless, again: false }, "1"), None);
    }
}
