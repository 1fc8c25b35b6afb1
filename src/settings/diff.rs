//! What a changed configuration means for a running service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::model::{GroupSpec, LaunchForm, ModelSpec, Settings};

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReloadOutcome {
    /// Models that are new.
    pub added: Vec<String>,
    /// Models that changed.
    pub changed: Vec<ChangedModel>,
    /// Models that are gone; their processes were stopped.
    pub removed: Vec<String>,
    /// Models that are as they were.
    pub unchanged: usize,
    /// Changed settings that take effect at the next start of the service only.
    pub needs_service_restart: Vec<String>,
    /// Settings of the service that were applied at once.
    pub applied: Vec<String>,
}

/// A model whose settings changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedModel {
    /// Its name.
    pub name: String,
    /// Whether the change needs a new process (its command changed), or the running one goes on under new rules.
    pub restart_needed: bool,
}

/// Names of one kind in the line for the log; of more only the number is told.
const NAMES: usize = 10;

impl fmt::Display for ReloadOutcome {
    /// One line for the log: `added a, b; changed c (restart needed); 3 models unchanged`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = self.changed.iter().map(|model| match model.restart_needed {
            true => format!("{} (restart needed)", model.name),
            false => model.name.clone(),
        });
        for (what, names) in [
            ("added", self.added.as_slice()),
            ("changed", &changed.collect::<Vec<_>>()),
            ("removed", &self.removed),
            ("applied", &self.applied),
            ("at the next start of the service", &self.needs_service_restart),
        ] {
            if names.is_empty() {
                continue;
            }
            let shown = &names[..names.len().min(NAMES)];
            write!(f, "{what} {}", shown.join(", "))?;
            if shown.len() < names.len() {
                write!(f, " and {} more", names.len() - shown.len())?;
            }
            f.write_str("; ")?;
        }
        let noun = if self.unchanged == 1 { "model" } else { "models" };
        write!(f, "{} {noun} unchanged", self.unchanged)
    }
}

/// What going from `old` to `new` means. Pure: whoever applies it does what the answer says.
///
/// Models are told apart by name. A restart is needed only where a process would have been started in another way: what
/// runs keeps running until somebody restarts it. New policies (readiness, health, restart, stop, `autostart`) are taken
/// over by the running one.
pub fn diff(old: &Settings, new: &Settings) -> ReloadOutcome {
    let mut outcome = ReloadOutcome::default();
    let old_models: BTreeMap<_, _> = old.models.iter().map(|model| (&model.name, model)).collect();
    let new_names: BTreeSet<_> = new.models.iter().map(|model| &model.name).collect();
    let scripts_differ = old.service.backend_path != new.service.backend_path
        || old.service.interpreter != new.service.interpreter;
    for model in &new.models {
        let Some(before) = old_models.get(&model.name) else {
            outcome.added.push(model.name.to_string());
            continue;
        };
        let is_script = |model: &ModelSpec| {
            model
                .backend
                .as_ref()
                .is_some_and(|spec| matches!(spec.launch, LaunchForm::Script { .. }))
        };
        let other_script = scripts_differ && is_script(model);
        if *before == model && !other_script {
            outcome.unchanged += 1;
        } else {
            let restart_needed = other_script || starts_differently(before, model);
            outcome.changed.push(ChangedModel { name: model.name.to_string(), restart_needed });
        }
    }
    outcome.removed = old
        .models
        .iter()
        .filter(|model| !new_names.contains(&model.name))
        .map(|model| model.name.to_string())
        .collect();
    service_wide(old, new, &mut outcome);
    outcome
}

fn starts_differently(old: &ModelSpec, new: &ModelSpec) -> bool {
    let how = |model: &ModelSpec| {
        let spec = model.backend.as_deref().cloned()?;
        Some((
            spec.launch,
            spec.transport,
            spec.env,
            spec.env_allow,
            spec.limits,
            spec.working_dir,
            spec.log,
        ))
    };
    old.fullname != new.fullname || old.path != new.path || how(old) != how(new)
}

fn service_wide(old: &Settings, new: &Settings, outcome: &mut ReloadOutcome) {
    let (a, b) = (&old.service, &new.service);
    let at_next_start = [
        (
            "endpoints.client_handshake",
            old.endpoints.client_handshake != new.endpoints.client_handshake,
        ),
        ("endpoints.cli_management", old.endpoints.cli_management != new.endpoints.cli_management),
        ("service.model_socket_dir", a.model_socket_dir != b.model_socket_dir),
        ("service.log_dir", a.log_dir != b.log_dir),
        ("service.runtime_dir", a.runtime_dir != b.runtime_dir),
        ("service.symphony_binary", a.symphony_binary != b.symphony_binary),
        ("service.cgroup", a.cgroup != b.cgroup),
        ("service.spawns_at_once", a.spawns_at_once != b.spawns_at_once),
        ("service.heart", a.heart != b.heart),
        ("logging.form", old.logging.form != new.logging.form),
        ("logging.format", old.logging.format != new.logging.format),
        ("logging.date_format", old.logging.date_format != new.logging.date_format),
    ];
    let at_once = [
        ("service.backend_path", a.backend_path != b.backend_path),
        ("service.interpreter", a.interpreter != b.interpreter),
        ("service.drain_timeout", a.drain_timeout != b.drain_timeout),
        ("logging.level", old.logging.level != new.logging.level),
    ];
    let changed = |rows: &[(&str, bool)]| -> Vec<String> {
        rows.iter().filter(|(_, changed)| *changed).map(|(key, _)| (*key).to_owned()).collect()
    };
    outcome.needs_service_restart = changed(&at_next_start);
    outcome.applied = changed(&at_once);
    outcome.applied.extend(changed_groups(old, new));
}

/// Groups that came, changed or went, as `groups.NAME`: their members go on under the new rules.
fn changed_groups(old: &Settings, new: &Settings) -> Vec<String> {
    fn by_name(settings: &Settings) -> BTreeMap<&str, &GroupSpec> {
        settings.groups.iter().map(|group| (group.name.as_str(), &**group)).collect()
    }
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let changed = names.into_iter().filter(|name| old.get(name) != new.get(name));
    changed.map(|name| format!("groups.{name}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::settings::model::BackendSpec;
    use crate::settings::policy::GroupStrategy;

    fn settings(models: &[(&str, BackendSpec)]) -> Settings {
        let settings = Settings::in_folder(Path::new("/run/test")).expect("fits");
        models.iter().fold(settings, |settings, (name, spec)| {
            settings.with_model(ModelSpec::new(name, spec.clone()).expect("a name"))
        })
    }

    fn restart_needed(change: impl FnOnce(&mut ModelSpec)) -> Option<bool> {
        let old = settings(&[("m", BackendSpec::script("a.py"))]);
        let mut new = old.clone();
        change(Arc::make_mut(&mut new.models[0]));
        let outcome = diff(&old, &new);
        assert_eq!(outcome.changed.len() + outcome.unchanged, 1);
        outcome.changed.first().map(|changed| changed.restart_needed)
    }

    fn spec(model: &mut ModelSpec) -> &mut BackendSpec {
        Arc::make_mut(model.backend.as_mut().expect("has one"))
    }

    #[test]
    fn the_same_settings_are_no_change() {
        let same = settings(&[("m", BackendSpec::embedded())]);
        assert_eq!(
            diff(&same, &same.clone()),
            ReloadOutcome { unchanged: 1, ..Default::default() }
        );
    }

    #[test]
    fn only_what_a_process_is_started_with_replaces_it() {
        assert_eq!(restart_needed(|_| {}), None);
        assert_eq!(restart_needed(|model| model.autostart = true), Some(false));
        assert_eq!(restart_needed(|model| model.after.push(model.name.clone())), Some(false));
        assert_eq!(restart_needed(|model| spec(model).restart.window_max = 1), Some(false));
        assert_eq!(restart_needed(|model| spec(model).health.misses = 9), Some(false));
        assert_eq!(
            restart_needed(|model| spec(model).stop.grace = Duration::from_secs(1)),
            Some(false)
        );
        assert_eq!(restart_needed(|model| model.path = Some("/m".into())), Some(true));
        assert_eq!(restart_needed(|model| model.fullname = Some("o/m".into())), Some(true));
        assert_eq!(restart_needed(|model| *spec(model) = BackendSpec::script("b.py")), Some(true));
        assert_eq!(restart_needed(|model| spec(model).limits.nice = Some(1)), Some(true));
        assert_eq!(restart_needed(|model| spec(model).log.keep = 1), Some(true));
        assert_eq!(
            restart_needed(|model| {
                spec(model).env.insert("A".into(), "1".into());
            }),
            Some(true)
        );
        assert_eq!(restart_needed(|model| spec(model).working_dir = Some("/w".into())), Some(true));
    }

    #[test]
    fn models_come_and_go_by_name() {
        let old = settings(&[("a", BackendSpec::embedded()), ("b", BackendSpec::embedded())]);
        let new = settings(&[("b", BackendSpec::embedded()), ("c", BackendSpec::embedded())]);
        let outcome = diff(&old, &new);
        assert_eq!(
            (outcome.added, outcome.removed, outcome.unchanged),
            (vec!["c".into()], vec!["a".into()], 1)
        );
    }

    #[test]
    fn another_backend_path_concerns_scripts_alone() {
        let old = settings(&[
            ("script", BackendSpec::script("a.py")),
            ("engine", BackendSpec::embedded()),
        ]);
        let mut new = old.clone();
        new.service.backend_path = Some("/elsewhere".into());
        new.endpoints.cli_management = "ipc:///tmp/other".into();
        let outcome = diff(&old, &new);
        assert_eq!(outcome.changed, [ChangedModel { name: "script".into(), restart_needed: true }]);
        assert_eq!(outcome.unchanged, 1);
        assert_eq!(outcome.applied, ["service.backend_path"]);
        assert_eq!(outcome.needs_service_restart, ["endpoints.cli_management"]);
    }

    #[test]
    fn groups_come_change_and_go_without_a_restart() {
        let alone = settings(&[("a", BackendSpec::embedded()), ("b", BackendSpec::embedded())]);
        let grouped = |strategy| {
            alone.clone().with_group(GroupSpec::new("g", strategy, ["a"]).expect("names"))
        };
        let (all, rest) = (grouped(GroupStrategy::OneForAll), grouped(GroupStrategy::RestForOne));
        for (old, new) in [(&alone, &all), (&all, &rest), (&rest, &alone)] {
            let outcome = diff(old, new);
            assert_eq!(outcome.applied, ["groups.g"]);
            let member = ChangedModel { name: "a".into(), restart_needed: false };
            assert_eq!((outcome.changed, outcome.unchanged), (vec![member], 1));
        }
        assert_eq!(diff(&all, &all).applied, [""; 0]);
    }

    #[test]
    fn the_log_gets_one_readable_line() {
        assert_eq!(ReloadOutcome::default().to_string(), "0 models unchanged");
        let names = |count: usize| (0..count).map(|n| format!("m{n}")).collect::<Vec<_>>();
        let outcome = ReloadOutcome {
            added: names(12),
            changed: [("a", true), ("b", false)]
                .map(|(name, restart_needed)| ChangedModel { name: name.into(), restart_needed })
                .into(),
            removed: vec!["gone".into()],
            unchanged: 1,
            needs_service_restart: vec!["endpoints.cli_management".into()],
            applied: vec!["logging.level".into()],
        };
        assert_eq!(
            outcome.to_string(),
            "added m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and 2 more; \
             changed a (restart needed), b; removed gone; applied logging.level; \
             at the next start of the service endpoints.cli_management; 1 model unchanged"
        );
    }
}
