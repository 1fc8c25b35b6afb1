//! What heart and core tell each other: one JSON object a packet, with a descriptor beside it where it is about one.
//!
//! Heart and core may be of different versions: unknown fields are ignored, and a kind that is not known is no error.

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

/// Exit code of a core that let go of its backends for another one, as it was asked to: no crash.
pub const LET_GO: u8 = 77;

/// What a core tells its heart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromCore {
    /// The first word.
    Hello {
        /// Of the program.
        version: String,
        /// Its process.
        pid: u32,
        /// The version of the state files that it writes.
        state_version: u32,
    },
    /// The tree of actors makes progress.
    Beat,
    /// The service is whole: sockets bound, tree started.
    Ready,
    /// Keep the descriptor that comes along, in place of one of this name, beyond the life of this core.
    Hold {
        /// By which the next core finds it.
        name: String,
    },
    /// Close a held descriptor.
    Release {
        /// Which.
        name: String,
    },
    /// How did this process end? It is the heart's child by now, and its pid is free afterwards.
    Collect {
        /// Of its leader.
        pid: u32,
        /// Field 22 of its `/proc/PID/stat`, so that no other process is meant.
        start_ticks: u64,
    },
    /// An orderly end began.
    Stopping,
    /// The configuration is being read again.
    Reloading,
    /// That is over.
    Reloaded,
    /// How long the backends may take to end after TERM.
    StopGrace {
        /// Milliseconds.
        ms: u64,
    },
    /// A line for people.
    Status {
        /// One line.
        text: String,
    },
    /// This core is about to let go: start that program as the next one.
    Upgrade {
        /// An absolute path.
        binary: String,
        /// How long the next core has until it is ready, in milliseconds.
        timeout_ms: u64,
    },
    /// Of another version.
    #[serde(other)]
    Unknown,
}

/// What a heart tells its core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromHeart {
    /// A descriptor that a core before gave to be held comes along.
    Held {
        /// Its name.
        name: String,
    },
    /// All held descriptors were told: the core may begin.
    Welcome(Welcome),
    /// The answer to [`FromCore::Collect`].
    Collected {
        /// As asked.
        pid: u32,
        /// As asked.
        start_ticks: u64,
        /// How it ended; `None` when no child of the heart has that pid and start.
        ended: Option<Ended>,
    },
    /// Of another version.
    #[serde(other)]
    Unknown,
}

/// What a core is to know of the life before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Welcome {
    /// The heart's process.
    pub heart_pid: u32,
    /// The heart's version.
    pub heart_version: String,
    /// Which core of this heart it is, from 1 on.
    pub incarnation: u64,
    /// Cores that were replaced because they died or stood still.
    pub restarts: u64,
    /// Why the last one was.
    pub last_cause: Option<String>,
    /// Why the one just before this one was, where it was.
    pub replaces: Option<String>,
    /// Something that this core is to put on record: an upgrade that failed, and why.
    pub notice: Option<String>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal {
        /// Its number.
        number: i32,
        /// Whether a core was dumped.
        core_dumped: bool,
    },
}

impl Ended {
    /// Whether TERM was its end: it did not listen for it.
    pub fn is_by_term(self) -> bool {
        matches!(self, Self::Signal { number, .. } if number == Signal::TERM.as_raw())
    }

    /// For people; `None` when nobody knows.
    pub fn words(ended: Option<Self>) -> String {
        match ended {
            Some(Self::Code(3)) => "exit 3, its root supervisor gave up".to_owned(),
            Some(Self::Code(code)) => format!("exit {code}"),
            Some(Self::Signal { number, core_dumped }) => {
                format!("signal {number}{}", if core_dumped { " (core dumped)" } else { "" })
            }
            None => "unknown exit".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_says_is_no_error() {
        let told: FromCore = serde_json::from_str(r#"{"kind":"sing","tune":3}"#).unwrap();
        assert_eq!(told, FromCore::Unknown);
        let told: FromHeart =
            serde_json::from_str(r#"{"kind":"welcome","heart_pid":7,"mood":"calm"}"#).unwrap();
        assert_eq!(told, FromHeart::Welcome(Welcome { heart_pid: 7, ..Welcome::default() }));
    }

    #[test]
    fn an_exit_comes_across_as_it_was() {
        for ended in
            [None, Some(Ended::Code(3)), Some(Ended::Signal { number: 9, core_dumped: true })]
        {
            let told = FromHeart::Collected { pid: 4, start_ticks: 5, ended };
            let text = serde_json::to_string(&told).unwrap();
            assert_eq!(serde_json::from_str::<FromHeart>(&text).unwrap(), told);
        }
    }
}
