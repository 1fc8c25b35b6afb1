//! The frame of every reply of the CLI socket. Pure.

use serde::Serialize;

/// Room for a reply without growing: a `status` with two models.
const USUAL_BYTES: usize = 2048;

#[derive(Serialize)]
struct Success<'a, D> {
    correlation_id: &'a str,
    success: bool,
    data: &'a D,
}

#[derive(Serialize)]
struct Failure<'a> {
    correlation_id: &'a str,
    success: bool,
    error: &'a str,
}

#[derive(Serialize)]
struct Malformed<'a> {
    success: bool,
    error: &'a str,
    correlation_id: &'a str,
}

/// `{"correlation_id", "success": true, "data"}`.
///
/// # Errors
/// When `data` cannot be written as JSON.
pub(super) fn success(correlation_id: &str, data: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, &Success { correlation_id, success: true, data })?;
    Ok(bytes)
}

/// `{"correlation_id", "success": false, "error"}`.
pub(super) fn failure(correlation_id: &str, error: &str) -> Vec<u8> {
    plain(&Failure { correlation_id, success: false, error })
}

/// The answer to what was no command: its id cannot be known.
pub(super) fn malformed(error: &str) -> Vec<u8> {
    plain(&Malformed { success: false, error, correlation_id: "unknown" })
}

/// Texts and flags alone: writing them cannot fail.
fn plain(reply: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(reply).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_have_the_shape_of_the_contract() {
        let data = serde_json::json!({"a": [1]});
        let bytes = success("id \"1\"", &data).expect("json");
        assert_eq!(bytes, br#"{"correlation_id":"id \"1\"","success":true,"data":{"a":[1]}}"#);
        assert_eq!(failure("1", "no"), br#"{"correlation_id":"1","success":false,"error":"no"}"#);
        assert_eq!(
            malformed("Invalid command format: x"),
            br#"{"success":false,"error":"Invalid command format: x","correlation_id":"unknown"}"#
        );
    }
}
