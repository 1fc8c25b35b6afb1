//! The form of every state file: `{"version":1,"checksum":"…","body":{…}}`. Pure.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{OLDEST, VERSION};
use crate::limits;

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A link, a folder, a pipe.
    #[error("it is no plain file")]
    NoFile,
    /// It is no longer there.
    #[error("it is gone")]
    Gone,
    /// The system does not let us.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Larger than any that is written.
    #[error("it has {bytes} bytes, at most {} are allowed", limits::STATE_FILE_BYTES)]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// Cut short, or never one of ours.
    #[error("it is no state file: {0}")]
    NoEnvelope(String),
    /// Written by a program that is newer, or too old.
    #[error("it has version {0}, this program reads {OLDEST} to {VERSION}")]
    OtherVersion(u64),
    /// What is in it is not what was written.
    #[error("its checksum is wrong")]
    Checksum,
    /// Its checksum is right, and it says something that cannot be.
    #[error("it makes no sense: {0}")]
    Senseless(String),
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    version: u32,
    checksum: String,
    body: Box<RawValue>,
}

#[derive(Deserialize)]
struct Numbered {
    version: u64,
}

/// A digest of some bytes, the same in all releases: against damage, not against malice.
pub fn digest(bytes: &[u8]) -> String {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, bytes).simple().to_string()
}

/// The bytes of a file.
///
/// # Errors
/// When the body has no form in JSON (a path that is no UTF-8), or is larger than would be read again.
pub fn seal<B: Serialize>(body: &B) -> Result<Vec<u8>, String> {
    let body = serde_json::value::to_raw_value(body).map_err(|error| error.to_string())?;
    let checksum = digest(body.get().as_bytes());
    let envelope = Envelope { version: VERSION, checksum, body };
    let bytes = serde_json::to_vec(&envelope).map_err(|error| error.to_string())?;
    let length = bytes.len() as u64;
    if length > limits::STATE_FILE_BYTES {
        return Err(Damage::TooLarge { bytes: length }.to_string());
    }
    Ok(bytes)
}

/// What the bytes of a file hold.
///
/// # Errors
/// [`Damage`], whatever the bytes are.
pub fn open<B: DeserializeOwned>(bytes: &[u8]) -> Result<B, Damage> {
    let no_envelope = |error: serde_json::Error| Damage::NoEnvelope(error.to_string());
    // first and alone: another version may have another form altogether
    let Numbered { version } = serde_json::from_slice(bytes).map_err(no_envelope)?;
    if !(u64::from(OLDEST)..=u64::from(VERSION)).contains(&version) {
        return Err(Damage::OtherVersion(version));
    }
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(no_envelope)?;
    if envelope.checksum != digest(envelope.body.get().as_bytes()) {
        return Err(Damage::Checksum);
    }
    serde_json::from_str(envelope.body.get()).map_err(|error| Damage::Senseless(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Body {
        name: String,
        count: u32,
    }

    fn sealed() -> Vec<u8> {
        seal(&Body { name: "ä \"quoted\"\n".into(), count: 3 }).unwrap()
    }

    #[test]
    fn what_was_sealed_is_read_again() {
        let body: Body = open(&sealed()).unwrap();
        assert_eq!(body, Body { name: "ä \"quoted\"\n".into(), count: 3 });
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let bytes = sealed();
        for length in 0..bytes.len() {
            assert!(open::<Body>(&bytes[..length]).is_err(), "cut to {length}");
        }
        for at in 0..bytes.len() {
            for change in [1, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let read = open::<Body>(&changed);
                assert!(read.is_err(), "byte {at}: {:?}", String::from_utf8_lossy(&changed));
            }
        }
    }

    #[test]
    fn other_versions_are_told_from_damage_whatever_else_is_in_them() {
        for (text, version) in [
            (r#"{"version":2,"checksum":"x","body":{}}"#, 2),
            (r#"{"version":0}"#, 0),
            (r#"{"version":99,"new":{"form":[1]}}"#, 99),
        ] {
            assert_eq!(open::<Body>(text.as_bytes()), Err(Damage::OtherVersion(version)));
        }
        assert!(matches!(open::<Body>(br#"{"version":-1}"#), Err(Damage::NoEnvelope(_))));
    }

    #[test]
    fn a_right_checksum_over_nonsense_is_no_crash() {
        let bytes = seal(&serde_json::json!({ "name": 5 })).unwrap();
        assert!(matches!(open::<Body>(&bytes), Err(Damage::Senseless(_))));
        let deep = "[".repeat(100_000);
        assert!(matches!(open::<Body>(deep.as_bytes()), Err(Damage::NoEnvelope(_))));
        let huge = "x".repeat(usize::try_from(limits::STATE_FILE_BYTES).unwrap());
        assert!(seal(&huge).unwrap_err().contains("at most"));
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            proptest::prop_assert!(open::<Body>(&bytes).is_err());
        }
    }
}
