//! What the state files hold.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::Started;
use crate::ids::{Generation, InstanceId};

/// `service.json`: which service wrote the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceFile {
    /// Made at the first start in this folder, and in the environment of every process that was started since
    /// ([`SERVICE_MARK`]).
    pub id: String,
    /// `/proc/sys/kernel/random/boot_id`: in another boot no process of these files lives.
    pub boot_id: String,
    /// When the service was started; a core that goes on after another one keeps it.
    pub started: Started,
    /// No event had a larger number, so that numbers are never used twice.
    pub last_event: u64,
    /// Instances that are to be loaded at the start and were not taken in hand yet.
    #[serde(default)]
    pub awaited: BTreeSet<InstanceId>,
    /// All that were to be loaded at the start by the configuration of that time; `None` where it was not written down, which
    /// is not the same as none: what was unloaded by hand would be loaded again.
    #[serde(default)]
    pub autostart: Option<BTreeSet<InstanceId>>,
}

impl ServiceFile {
    /// Goes on with a configuration by which these are to be loaded at the start.
    ///
    /// What was taken out of it meanwhile is nobody's wish any more, and what came in was never loaded.
    pub fn configure(&mut self, autostart: &BTreeSet<InstanceId>) {
        self.awaited.retain(|instance| autostart.contains(instance));
        if let Some(before) = self.autostart.replace(autostart.clone()) {
            self.awaited.extend(autostart.difference(&before).cloned());
        }
    }
}

/// `INSTANCE.json`: what is known of one instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceFile {
    /// Whose file it is; its name says so, too.
    pub instance: InstanceId,
    /// What the launcher is to keep of it.
    pub record: Option<Box<RawValue>>,
    /// Its process. It may be gone by now, and its pid another's.
    pub process: Option<ProcessFile>,
}

/// A process as it was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessFile {
    /// [`ServiceFile::id`], for who finds that file lost.
    pub service: String,
    /// Which start of its instance.
    pub generation: Generation,
    /// Process id, and id of its group.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`, in clock ticks since boot.
    pub start_ticks: u64,
    /// The boot in which that means anything.
    pub boot_id: String,
    /// When it was started.
    pub started: Started,
    /// The file that its output goes to.
    pub log_path: PathBuf,
    /// Which file that was: another one may lie there by now.
    pub log_file: FileIdentity,
    /// The socket file that it may have made.
    pub socket_path: Option<PathBuf>,
    /// The socket file that was made for it, to say on that it is ready.
    pub notify_path: Option<PathBuf>,
    /// What else the launcher must know of it.
    pub details: Box<RawValue>,
}

/// A file, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device that it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// In the environment of a backend and of all that it starts: [`ServiceFile::id`].
pub const SERVICE_MARK: &str = "SYMPHONY_SERVICE";
/// The instance.
pub const INSTANCE_MARK: &str = "SYMPHONY_INSTANCE_ID";
/// Which start of it.
pub const GENERATION_MARK: &str = "SYMPHONY_GENERATION";
/// Where it is reached.
pub const ENDPOINT_MARK: &str = "SYMPHONY_ENDPOINT";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ModelName;

    fn instances(models: &[&str]) -> BTreeSet<InstanceId> {
        let id = |model: &&str| InstanceId::of_model(&ModelName::try_new(*model).unwrap());
        models.iter().map(id).collect()
    }

    #[test]
    fn what_came_in_is_loaded_and_what_may_have_been_unloaded_is_not() {
        let at = crate::clock::Moment::from_millis(7);
        let started = Started { wall_seconds: 1.5, at };
        // by a program that did not write it down
        let file = serde_json::json!({
            "id": "s", "boot_id": "b", "started": started, "last_event": 9,
        });
        let mut service: ServiceFile = serde_json::from_value(file).unwrap();
        assert_eq!(service.autostart, None);
        service.configure(&instances(&["a", "b"]));
        assert_eq!(service.awaited, instances(&[]), "it may have been unloaded by hand");
        service.configure(&instances(&["b", "c", "d"]));
        assert_eq!(service.awaited, instances(&["c", "d"]), "it came in");
        service.configure(&instances(&["b", "c"]));
        assert_eq!(service.awaited, instances(&["c"]), "it went out");
    }
}
