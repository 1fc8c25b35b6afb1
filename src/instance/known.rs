//! What the configuration tells of instances that may live already: a launcher needs it to take them over.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::InstanceId;
use crate::launcher::local::KnownInstance;
use crate::settings::model::Settings;

/// Every instance that may be loaded.
pub fn known_instances(settings: &Settings) -> BTreeMap<InstanceId, KnownInstance> {
    let known = settings.models.iter().filter_map(|model| {
        let backend = model.backend.as_ref()?;
        let id = model.instance_id();
        let known = KnownInstance {
            model: model.name.to_string(),
            label: model.name.to_string(),
            log_path: settings.service.log_dir.join(id.log_name()),
            log: backend.log.clone(),
            limits: backend.limits.clone(),
        };
        Some((id, known))
    });
    known.collect()
}

/// Those that are loaded when the service starts.
pub fn autostarted(settings: &Settings) -> BTreeSet<InstanceId> {
    let models = settings.models.iter().filter(|model| model.autostart);
    models.map(|model| model.instance_id()).collect()
}
