//! What a service stands on before it has a tree: folders, the launcher with what an earlier core left, the prober, the heart.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::heart::HeartSide;
use super::listening;
use super::{ServeError, ServeOptions};
use crate::clock::Clock;
use crate::gateway::heart_view::HeartFacts;
use crate::gateway::zmq::listeners::Listeners;
use crate::instance::desk::Autostart;
use crate::instance::known::{autostarted, known_instances};
use crate::launcher::Launcher;
use crate::launcher::local::{LocalLauncher, LocalOptions, StateOptions};
use crate::probe::Prober;
use crate::probe::local::LocalProber;
use crate::settings::model::Settings;
use crate::settings::policy::CgroupChoice;
use crate::state::ownership::refuse_foreign;

/// What the tree stands on.
pub(super) struct Ground {
    pub launcher: Arc<dyn Launcher>,
    pub prober: Arc<dyn Prober>,
    pub clock: Clock,
    /// The last number of an event.
    pub last_event: Arc<AtomicU64>,
    pub autostart: Autostart,
    /// Whether a watchdog looks at the thread, which makes sense in real time alone.
    pub watched: bool,
    /// Held as long as the gateway's sockets.
    pub listeners: Listeners,
    pub heart: Option<HeartSide>,
    pub heart_facts: HeartFacts,
}

impl Ground {
    /// The real one.
    ///
    /// # Errors
    /// [`ServeError::Startup`].
    pub(super) fn lay(settings: &Settings, options: &mut ServeOptions) -> Result<Self, ServeError> {
        let startup = |error: std::io::Error| ServeError::Startup(error.to_string());
        let heart = options.heart.take().map(HeartSide::begin).transpose();
        let heart = heart.map_err(|error| ServeError::Startup(error.to_string()))?;
        let (heart, mut access, heart_facts) = match heart {
            Some((heart, access, facts)) => (Some(heart), Some(access), facts),
            None => (None, None, HeartFacts::default()),
        };
        prepare_folders(settings).map_err(ServeError::Startup)?;
        let listeners = listening::open(settings, options, access.as_mut())?;
        let last_event = Arc::<AtomicU64>::default();
        let state = StateOptions {
            runtime_dir: settings.service.runtime_dir.clone(),
            known: known_instances(settings),
            awaited: autostarted(settings),
            last_event: last_event.clone(),
            heart: access,
        };
        let launcher = LocalLauncher::start(LocalOptions {
            cgroup: cgroup(settings, options),
            state: Some(state),
            ..LocalOptions::default()
        });
        let launcher = launcher.map_err(startup)?;
        let prober = LocalProber::start().map_err(startup)?;
        let (clock, continuation) = (Clock::since_boot(), launcher.continuation().cloned());
        Ok(Self {
            launcher: Arc::new(launcher),
            prober: Arc::new(prober),
            clock: continuation
                .as_ref()
                .map_or(clock, |before| clock.running_since(before.since.at)),
            last_event,
            autostart: Autostart { only: continuation.map(|before| before.awaited) },
            watched: true,
            listeners,
            heart,
            heart_facts,
        })
    }
}

/// Cgroups are entered by way of the exec shim: without one that is known, backends are started as they always were.
fn cgroup(settings: &Settings, options: &ServeOptions) -> CgroupChoice {
    let has_shim = options.is_symphony_program || settings.service.symphony_binary.is_some();
    if has_shim { settings.service.cgroup.clone() } else { CgroupChoice::Off }
}

fn prepare_folders(settings: &Settings) -> Result<(), String> {
    let service = &settings.service;
    for folder in [&service.runtime_dir, &service.log_dir, &service.model_socket_dir] {
        private_folder(folder)
            .map_err(|error| format!("cannot make folder {}: {error}", folder.display()))?;
    }
    // sockets of models lie in a folder that all may use
    for folder in [&service.runtime_dir, &service.log_dir] {
        refuse_foreign(folder)
            .map_err(|error| format!("cannot use folder {}: {error}", folder.display()))?;
    }
    Ok(())
}

/// Makes a folder and those above it, with mode 0700 where they are made.
fn private_folder(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
