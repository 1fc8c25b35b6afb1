//! `symphony handshake`: what a client of the service sees.

use prost::Message;
use serde_json::{Value, json};

use crate::cli::args::HandshakeArgs;
use crate::cli::client::{Client, ClientError, listener::Listener, wire::Wire};
use crate::cli::error::CliError;
use crate::cli::overdue;
use crate::cli::session::Session;
use crate::limits;
use crate::protocols::handshake::{Request, Response};
use crate::telemetry::escape::{one_line, printable};

/// Asks the client socket; the management socket tells where that is.
pub fn run(args: &HandshakeArgs, session: &Session) -> Result<(), CliError> {
    let management = session.endpoint()?;
    let client = Client::connect(&management)?;
    let status = client.ask("status", json!({}), session.patience())?.value();
    let endpoint = status["client_endpoint"]
        .as_str()
        .ok_or_else(|| ClientError::Malformed("status has no client_endpoint".into()))?;
    let response = exchange(endpoint, args.model.as_deref(), session).map_err(|error| {
        match (error, &args.model) {
            (ClientError::Timeout, Some(model)) => {
                overdue::reason(&management, model, session.load_patience())
            }
            (other, _) => other,
        }
    })?;
    if !response.error.is_empty() {
        return Err(ClientError::Refused(response.error).into());
    }
    if session.output.is_json() {
        session.output.line(as_json(&response))
    } else {
        session.output.line(human(&response).join("\n"))
    }
}

/// The protocols that the service offers to a client without a wish.
pub fn protocols(client: &Client, session: &Session) -> Result<Vec<String>, CliError> {
    let status = client.ask("status", json!({}), session.patience())?.value();
    let endpoint = status["client_endpoint"].as_str().unwrap_or_default();
    Ok(exchange(endpoint, None, session)?.protocols)
}

fn exchange(
    endpoint: &str,
    model: Option<&str>,
    session: &Session,
) -> Result<Response, ClientError> {
    let listener = Listener::of(endpoint);
    listener.check()?;
    let wire = Wire::connect(listener, limits::FRAME_BYTES)?;
    let patience = if model.is_some() { session.load_patience() } else { session.patience() };
    let request = Request { model: model.unwrap_or_default().to_owned() };
    wire.send(&request.encode_to_vec())?;
    let frame = wire.receive(wire.deadline(patience))?;
    Response::decode(frame.as_slice()).map_err(|fault| ClientError::Malformed(fault.to_string()))
}

/// The fields that are set, by their names in the protocol.
fn as_json(response: &Response) -> Value {
    let mut object = json!({ "protocols": response.protocols });
    if !response.model_endpoint.is_empty() {
        object["model_endpoint"] = response.model_endpoint.as_str().into();
        object["instance"] = response.instance.as_str().into();
        object["generation"] = response.generation.into();
        object["state"] = response.state.as_str().into();
    }
    object
}

fn human(response: &Response) -> Vec<String> {
    let protocols = match response.protocols.as_slice() {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    let mut lines = vec![format!("Protocols: {}", one_line(&protocols))];
    if !response.model_endpoint.is_empty() {
        let Response { model_endpoint, instance, generation, state, .. } = response;
        lines.push(format!("Endpoint: {}", printable(model_endpoint)));
        lines.push(format!("Instance: {}#{generation} ({})", one_line(instance), one_line(state)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_answered_is_shown() {
        let none = Response::default();
        assert_eq!(human(&none), ["Protocols: none"]);
        assert_eq!(as_json(&none), json!({"protocols": []}));
        let led = Response {
            protocols: vec!["l4m".into(), "ping".into()],
            model_endpoint: "ipc:///tmp/m".into(),
            instance: "phi-1".into(),
            generation: 2,
            state: "ready".into(),
            ..Response::default()
        };
        assert_eq!(
            human(&led),
            ["Protocols: l4m, ping", "Endpoint: ipc:///tmp/m", "Instance: phi-1#2 (ready)"]
        );
        assert_eq!(as_json(&led)["generation"], 2);
    }
}
