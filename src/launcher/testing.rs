//! Orders for the tests of this room.

use std::path::PathBuf;

use super::{ProcessCommand, ReadyChannel, SpawnOrder};
use crate::ids::{Generation, InstanceId, ModelName, ProcessKey};

/// The process of a model's start.
pub(crate) fn key(model: &str, generation: u64) -> ProcessKey {
    let model = ModelName::try_new(model).expect("valid name");
    ProcessKey { instance: InstanceId::of_model(&model), generation: Generation(generation) }
}

/// An order for a process that would sleep.
pub(crate) fn sleeping_order(model: &str, generation: u64) -> SpawnOrder {
    SpawnOrder {
        key: key(model, generation),
        command: ProcessCommand {
            program: PathBuf::from("sleep"),
            args: vec!["1000".into()],
            env: Default::default(),
            env_allow: None,
            working_dir: None,
        },
        log_path: PathBuf::from("/nonexistent/unused.log"),
        log: Default::default(),
        label: model.into(),
        limits: Default::default(),
        ready_channel: ReadyChannel::None,
        socket_path: None,
        shim: None,
    }
}
