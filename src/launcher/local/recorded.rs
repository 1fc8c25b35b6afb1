//! What a state file says of an instance, as far as this program can use it.

use std::io;

use super::process_file::{self, Details};
use crate::ids::{InstanceId, ModelName};
use crate::launcher::InstanceRecord;
use crate::state::files::{InstanceFile, ProcessFile};
use crate::state::folder::StateFolder;

/// What is known of an instance, and of its process.
pub(super) type Usable = (Option<InstanceRecord>, Option<(ProcessFile, Details)>);

/// What a file says; of a process only where it is of this boot.
///
/// # Errors
/// Why it makes no sense to this program.
pub(super) fn usable(file: InstanceFile, boot_id: &str) -> Result<Usable, String> {
    let record: Option<InstanceRecord> = file
        .record
        .map(|record| serde_json::from_str(record.get()))
        .transpose()
        .map_err(|error| error.to_string())?;
    if let Some(record) = &record {
        let model = ModelName::try_new(&record.model).map_err(|error| error.to_string())?;
        if record.instance != file.instance || InstanceId::of_model(&model) != file.instance {
            return Err(format!("it is about {}", record.model));
        }
    }
    let process = file.process.filter(|process| process.boot_id == boot_id);
    let process = match process {
        Some(process) => {
            let details = process_file::details(&process).ok_or("its process is not described")?;
            Some((process, details))
        }
        None => None,
    };
    Ok((record, process))
}

/// What keeps this program from going on where the writer of a folder is: a file and why. Changes nothing.
///
/// # Errors
/// When the folder cannot be read.
pub fn illegible(folder: &StateFolder) -> io::Result<Option<String>> {
    if let Some(file) = folder.foreign()?.first() {
        return Ok(Some(format!("{}: {}", file.name, file.damage)));
    }
    for file in folder.look()?.instances {
        let instance = file.instance.clone();
        // of whatever boot it is: the writer runs
        let boot_id = file.process.as_ref().map(|process| process.boot_id.clone());
        if let Err(why) = usable(file, &boot_id.unwrap_or_default()) {
            return Ok(Some(format!("what is kept of {instance} makes no sense: {why}")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is illegible of an instance with these parts.
    fn told(record: serde_json::Value, details: Option<serde_json::Value>) -> Option<String> {
        let place = tempfile::tempdir().unwrap();
        let folder = StateFolder::make(&place.path().join("state")).unwrap();
        let model = ModelName::try_new("a").unwrap();
        let process = details.map(|details| {
            json!({
                "service": "s", "generation": 1, "pid": 5, "start_ticks": 5, "boot_id": "b",
                "started": { "wall_seconds": 1.0, "at": record["window"][0] },
                "log_path": "/a.log", "log_file": { "device": 1, "inode": 1 },
                "socket_path": null, "notify_path": null, "details": details,
            })
        });
        let file = json!({
            "instance": InstanceId::of_model(&model), "record": record, "process": process,
        });
        folder.write_instance(&serde_json::from_value(file).unwrap()).unwrap();
        illegible(&folder).unwrap()
    }

    #[test]
    fn what_a_file_holds_within_must_make_sense_too() {
        let model = ModelName::try_new("a").unwrap();
        let record = json!({
            "instance": InstanceId::of_model(&model), "model": "a", "generation": 1,
            "endpoint": "ipc:///a", "state": "ready", "wanted": true, "restarts": 0,
            "consecutive_failures": 0, "park_level": 0,
            "window": [crate::clock::Moment::from_millis(1)],
            "wait_until": null, "started_at": null, "protocols": [], "reason": null, "last_exit": null,
        });
        assert_eq!(told(record.clone(), None), None);
        let mut other = record.clone();
        other["restarts"] = json!("many");
        let why = told(other, None).expect("another form of record");
        assert!(why.contains("invalid type"), "{why}");
        let why = told(record, Some(json!({ "form": 2 }))).expect("another form of details");
        assert!(why.contains("not described"), "{why}");
    }
}
