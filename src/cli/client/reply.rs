//! Reads a reply of the management socket. Pure.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::ClientError;

/// What a service gives as correlation id when it could not read the request.
const UNREADABLE: &str = "unknown";

/// The data of a successful reply.
#[derive(Debug, Clone)]
pub struct Answer {
    text: Box<RawValue>,
}

impl Answer {
    /// The data exactly as it came.
    pub fn text(&self) -> &str {
        self.text.get()
    }

    /// The data as a value; what the contract calls an object may be anything here.
    pub fn value(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or(Value::Null)
    }

    /// The data in a form of the contract.
    ///
    /// # Errors
    /// [`ClientError::Malformed`].
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ClientError> {
        serde_json::from_str(self.text()).map_err(|fault| ClientError::Malformed(fault.to_string()))
    }
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    correlation_id: Option<String>,
    success: bool,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<String>,
}

/// Reads a reply; `None` when it answers another request.
pub fn read(frame: &[u8], correlation_id: &str) -> Option<Result<Answer, ClientError>> {
    let reply: Reply = match serde_json::from_slice(frame) {
        Ok(reply) => reply,
        Err(fault) => return Some(Err(ClientError::Malformed(fault.to_string()))),
    };
    let id = reply.correlation_id.as_deref();
    if id != Some(correlation_id) && (reply.success || id != Some(UNREADABLE)) {
        return None;
    }
    Some(if reply.success {
        let text = reply.data.unwrap_or_else(empty_object);
        Ok(Answer { text })
    } else {
        let error = reply.error.unwrap_or_else(|| "the service gave no reason".into());
        Err(ClientError::Refused(error))
    })
}

#[expect(clippy::expect_used, reason = "the text is a constant and valid JSON")]
fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".into()).expect("valid JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(frame: &str) -> Option<Result<String, ClientError>> {
        read(frame.as_bytes(), "id").map(|outcome| outcome.map(|answer| answer.text().to_owned()))
    }

    #[test]
    fn data_is_passed_on_exactly() {
        let data = r#"{"b":1.10,"a":12345678901234567890123, "x": [ ]}"#;
        let frame = format!(r#"{{"correlation_id":"id","success":true,"data":{data}}}"#);
        assert_eq!(answer(&frame), Some(Ok(data.to_owned())));
        assert_eq!(answer(r#"{"success":true,"correlation_id":"id"}"#), Some(Ok("{}".into())));
    }

    #[test]
    fn failures_keep_the_words_of_the_service() {
        let frame =
            r#"{"correlation_id":"id","success":false,"error":"Unknown command: x","code":1}"#;
        assert_eq!(answer(frame), Some(Err(ClientError::Refused("Unknown command: x".into()))));
        let frame =
            r#"{"success":false,"error":"Invalid command format: y","correlation_id":"unknown"}"#;
        assert!(matches!(answer(frame), Some(Err(ClientError::Refused(_)))));
    }

    #[test]
    fn answers_to_other_requests_are_not_ours() {
        assert_eq!(answer(r#"{"correlation_id":"other","success":true,"data":{}}"#), None);
        assert_eq!(answer(r#"{"correlation_id":"other","success":false,"error":"x"}"#), None);
        assert_eq!(answer(r#"{"success":true,"data":{}}"#), None);
    }

    #[test]
    fn nonsense_is_told() {
        for frame in ["", "nonsense", "[]", "{}", r#"{"success":"yes"}"#, "\u{0}"] {
            assert!(matches!(answer(frame), Some(Err(ClientError::Malformed(_)))), "{frame:?}");
        }
        assert!(matches!(read(&[0xff, 0xfe], "id"), Some(Err(ClientError::Malformed(_)))));
    }
}
