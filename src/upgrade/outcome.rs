//! What an upgrade is about while it is under way, and what became of it.
//!
//! The service that lets go writes the one down; whoever comes after it, the new binary or the old one again, makes the other
//! of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// An upgrade that is under way, as it is handed to whoever comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Underway {
    /// The version that lets go.
    pub from_version: String,
    /// Its binary.
    pub from_binary: String,
    /// The version that is to take over.
    pub to_version: String,
    /// Its binary.
    pub to_binary: String,
    /// When the sockets were handed over, in the time since boot.
    pub began: Moment,
    /// The processes of the models that run.
    pub pids: BTreeMap<String, u32>,
}

/// An upgrade that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// The version before.
    pub from_version: String,
    /// The version that runs now.
    pub version: String,
    /// The binary before.
    pub from_binary: String,
    /// The binary that runs now.
    pub binary: String,
    /// From the last request that the old one took to the first that the new one could take, in milliseconds.
    pub took_ms: u64,
    /// Models that have the same process as before.
    pub models_kept: usize,
    /// Models whose process is another one, or gone.
    pub models_lost: Vec<String>,
}

impl Underway {
    /// What became of it, seen by a service of `version` that is ready `now` and has these processes.
    ///
    /// # Errors
    /// Another one than the new one is here: it failed, for the `reason` that the heart gives.
    pub fn settle(
        self,
        version: &str,
        reason: Option<&str>,
        now: Moment,
        pids: &BTreeMap<String, u32>,
    ) -> Result<Upgraded, String> {
        if let Some(reason) = reason {
            let Self { from_version, to_version, to_binary, .. } = self;
            return Err(format!(
                "the upgrade to {to_version} ({to_binary}) failed, {from_version} goes on: {reason}"
            ));
        }
        let is_kept = |(model, pid): &(&String, &u32)| pids.get(*model) == Some(*pid);
        let (kept, lost): (Vec<_>, Vec<_>) = self.pids.iter().partition(is_kept);
        Ok(Upgraded {
            version: version.to_owned(),
            binary: self.to_binary,
            took_ms: u64::try_from(now.since(self.began).as_millis()).unwrap_or(u64::MAX),
            models_kept: kept.len(),
            models_lost: lost.into_iter().map(|(model, _)| model.clone()).collect(),
            from_version: self.from_version,
            from_binary: self.from_binary,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn underway() -> Underway {
        Underway {
            from_version: "1.0.0".into(),
            from_binary: "/old".into(),
            to_version: "1.1.0".into(),
            to_binary: "/new".into(),
            began: Moment::from_millis(5_000),
            pids: BTreeMap::from([("kept".into(), 7), ("gone".into(), 8), ("other".into(), 9)]),
        }
    }

    #[test]
    fn who_kept_its_process_is_told_from_who_lost_it() {
        let pids = BTreeMap::from([("kept".into(), 7), ("other".into(), 10), ("new".into(), 11)]);
        let now = Moment::from_millis(5_250);
        let upgraded = underway().settle("1.1.0", None, now, &pids).expect("it is done");
        let expected = Upgraded {
            from_version: "1.0.0".into(),
            version: "1.1.0".into(),
            from_binary: "/old".into(),
            binary: "/new".into(),
            took_ms: 250,
            models_kept: 1,
            models_lost: vec!["gone".into(), "other".into()],
        };
        assert_eq!(upgraded, expected);
    }

    #[test]
    fn what_failed_says_why_and_who_goes_on() {
        let told = underway().settle("1.0.0", Some("it crashed"), Moment::default(), &[].into());
        assert_eq!(
            told.expect_err("it failed"),
            "the upgrade to 1.1.0 (/new) failed, 1.0.0 goes on: it crashed"
        );
    }
}
