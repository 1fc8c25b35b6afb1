//! An upgrade: the new binary is tried beside the running service, then everything is left to it.
//!
//! ```text
//!  asked ─▶ tried (a thread of its own) ─▶ sockets handed over ─▶ launcher lets go ─▶ heart told ─▶ relay, until it is quiet
//!               └─ refused: nothing was touched                                                     the tree is gone by then
//! ```
//!
//! From the moment that the sockets are handed over there is no way back in this process: whoever comes next, the new binary
//! or this one again, finds the processes as after a crash, and the outcome is told by it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::SettingsLoader;
use super::reloads::Reloads;
use crate::events::messages::Record;
use crate::limits;
use crate::registry::messages::AskDirect;
use crate::root::wiring::Wiring;
use crate::settings::diff::diff;
use crate::settings::model::Settings;
use crate::upgrade::outcome::{Underway, Upgraded};
use crate::upgrade::{Candidate, Inheritance, own_binary, try_binary};

/// Of this program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who asked: told why it does not come to an upgrade. Dropped, it is told that the service is busy.
pub(super) type Asker = oneshot::Sender<String>;
type Outcome = Result<Upgraded, String>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Upgrades {
    inheritance: Option<Inheritance>,
    trial: Option<Trial>,
    outcome: Option<watch::Receiver<Option<Outcome>>>,
}

/// Where the service is: its sockets, and the folder that tells of its models. Clients and models stay there.
pub(super) struct Place {
    present: Arc<Settings>,
    loader: Option<Arc<SettingsLoader>>,
}

impl Place {
    pub(super) fn of(reloads: &Reloads, wiring: &Wiring) -> Self {
        Self { present: wiring.settings.borrow().clone(), loader: reloads.loader() }
    }

    /// Whether the next service, which reads the configuration anew, is where this one is.
    ///
    /// # Errors
    /// What was changed; or the faults of the configuration.
    fn stays(&self) -> Result<(), String> {
        let Some(loader) = &self.loader else { return Ok(()) };
        let mut moved = diff(&self.present, &loader()?).needs_service_restart;
        moved.retain(|key| key.starts_with("endpoints.") || key == "service.runtime_dir");
        if moved.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{} changed in the configuration: an upgrade keeps the service where it is, stop and start it instead",
            moved.join(", ")
        ))
    }
}

#[derive(Debug)]
struct Trial {
    tried: oneshot::Receiver<Result<Candidate, String>>,
    asker: Asker,
}

impl Upgrades {
    /// `inheritance`: what a new binary must cope with; `None` where there is none to come.
    pub(super) fn new(inheritance: Option<Inheritance>) -> Self {
        Self { inheritance, ..Self::default() }
    }

    /// Begins to try a binary, unless there is an `obstacle`.
    pub(super) fn ask(
        &mut self,
        binary: Option<PathBuf>,
        asker: Asker,
        obstacle: Option<&str>,
        place: Place,
    ) {
        let refusal = match (&self.inheritance, obstacle) {
            (_, Some(obstacle)) => Err(obstacle.to_owned()),
            _ if self.trial.is_some() => Err("another upgrade is under way".to_owned()),
            (None, None) => Err("this program cannot be upgraded while it runs".to_owned()),
            (Some(inheritance), None) => {
                Ok((binary.unwrap_or_else(own_binary), inheritance.clone()))
            }
        };
        match refusal {
            Ok((binary, inheritance)) => {
                let tried = try_on_a_thread(binary, inheritance, place);
                self.trial = Some(Trial { tried, asker });
            }
            // whoever asked may have left
            Err(refusal) => drop(asker.send(refusal)),
        }
    }

    /// The binary that was found to be good, with who waits for it; pending while none is. May be given up at any await.
    pub(super) async fn tried(&mut self) -> (Result<Candidate, String>, Asker) {
        let Some(trial) = &mut self.trial else { return std::future::pending().await };
        let tried = match (&mut trial.tried).await {
            Ok(tried) => tried,
            Err(_) => Err("the new binary was not tried: no thread is left for that".to_owned()),
        };
        match self.trial.take() {
            Some(trial) => (tried, trial.asker),
            None => std::future::pending().await,
        }
    }

    /// Tells what became of the upgrade that this service began with.
    pub(super) fn tell_outcome(&self, asker: oneshot::Sender<Outcome>) {
        let Some(mut outcome) = self.outcome.clone() else {
            let _ = asker.send(Err("this service did not begin with an upgrade".to_owned()));
            return;
        };
        actix_rt::spawn(async move {
            if let Ok(outcome) = outcome.wait_for(Option::is_some).await
                && let Some(outcome) = &*outcome
            {
                let _ = asker.send(outcome.clone());
            }
        });
    }

    /// This service comes out of an upgrade: finds out what became of it, and puts it on record.
    pub(super) fn settle(
        &mut self,
        underway: Underway,
        reason: Option<String>,
        wiring: Arc<Wiring>,
    ) {
        let (tell, outcome) = watch::channel(None);
        self.outcome = Some(outcome);
        actix_rt::spawn(async move {
            let outcome = settled(underway, reason.as_deref(), &wiring).await;
            if let Ok(upgraded) = &outcome {
                record(&wiring, "upgraded", in_words(upgraded));
            }
            tell.send_replace(Some(outcome));
        });
    }
}

/// Models are taken up one after another: who is not there yet is waited for.
async fn settled(underway: Underway, reason: Option<&str>, wiring: &Wiring) -> Outcome {
    let ready = wiring.clock.now();
    loop {
        let processes = processes(wiring).await;
        let outcome = underway.clone().settle(VERSION, reason, ready, &processes);
        let is_whole = outcome.as_ref().is_ok_and(|upgraded| upgraded.models_lost.is_empty());
        if is_whole || outcome.is_err() || wiring.clock.now() >= ready + limits::TAKEN_UP {
            return outcome;
        }
        tokio::time::sleep(limits::TAKEN_UP_EVERY).await;
    }
}

fn in_words(upgraded: &Upgraded) -> String {
    let Upgraded { from_version, version, binary, took_ms, models_kept, models_lost, .. } =
        upgraded;
    let took = humantime::format_duration(Duration::from_millis(*took_ms));
    let lost = match models_lost.len() {
        0 => String::new(),
        count => format!(", {count} lost theirs"),
    };
    format!(
        "{from_version} to {version} ({binary}) in {took}: {models_kept} models kept their processes{lost}"
    )
}

pub(super) fn record(wiring: &Wiring, kind: &'static str, cause: String) {
    if let Ok(events) = wiring.events.get() {
        let subject = "service".to_owned();
        events.do_send(Record { subject, model: None, generation: None, kind, cause: Some(cause) });
    }
}

/// Of its own: it waits for programs that may hang.
fn try_on_a_thread(
    binary: PathBuf,
    inheritance: Inheritance,
    place: Place,
) -> oneshot::Receiver<Result<Candidate, String>> {
    let (tell, tried) = oneshot::channel();
    let thread = std::thread::Builder::new().name("symphony-trial".to_owned());
    // without a thread the sender is dropped, which is told; nobody listens any more when a stop came first
    let begun = thread.spawn(move || {
        let tried = try_binary(&binary, &inheritance).map_err(|refused| refused.to_string());
        let _ = tell.send(tried.and_then(|candidate| place.stays().map(|()| candidate)));
    });
    if let Err(error) = begun {
        tracing::error!(%error, "no thread for an upgrade");
    }
    tried
}

/// The processes of the models.
pub(super) async fn processes(wiring: &Wiring) -> BTreeMap<String, u32> {
    let Ok(registry) = wiring.registry.get() else { return BTreeMap::new() };
    let (tell, told) = oneshot::channel();
    registry.do_send(AskDirect {
        answer: Box::new(move |view| {
            let running = view
                .instances()
                .iter()
                .filter_map(|view| Some((view.model.as_str().to_owned(), view.pid?)));
            let _ = tell.send(running.collect());
        }),
    });
    match tokio::time::timeout(limits::ASK_TIMEOUT, told).await {
        Ok(Ok(running)) => running,
        _ => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service in this place, whose configuration says now what `change` makes of it.
    fn place(change: Option<fn(&mut Settings)>) -> Place {
        let present = Settings::in_folder("/run/s".as_ref()).expect("settings");
        let fresh = present.clone();
        let loader = change.map(|change| -> Arc<SettingsLoader> {
            Arc::new(Box::new(move || {
                let mut fresh = fresh.clone();
                change(&mut fresh);
                Ok(fresh)
            }))
        });
        Place { present: Arc::new(present), loader }
    }

    #[test]
    fn a_service_that_would_be_elsewhere_is_not_upgraded() {
        assert_eq!(place(None).stays(), Ok(()));
        assert_eq!(place(Some(|_| {})).stays(), Ok(()));
        // the next start of any kind may change these
        assert_eq!(place(Some(|fresh| fresh.service.log_dir = "/l".into())).stays(), Ok(()));
        let moved = place(Some(|fresh| {
            fresh.endpoints.cli_management = "ipc:///other".into();
            fresh.service.runtime_dir = "/other".into();
        }));
        let told = moved.stays().expect_err("elsewhere");
        assert!(
            told.starts_with("endpoints.cli_management, service.runtime_dir changed"),
            "{told}"
        );
        let mut faulty = place(None);
        faulty.loader = Some(Arc::new(Box::new(|| Err("a fault".to_owned()))));
        assert_eq!(faulty.stays(), Err("a fault".to_owned()));
    }

    #[test]
    fn one_at_a_time_and_none_where_there_is_an_obstacle() {
        let refusal = |upgrades: &mut Upgrades, obstacle| {
            let (asker, mut told) = oneshot::channel();
            upgrades.ask(Some("/no/where".into()), asker, obstacle, place(None));
            told.try_recv().ok()
        };
        let mut upgrades = Upgrades::new(Some(Inheritance::default()));
        assert_eq!(refusal(&mut upgrades, Some("no heart")).as_deref(), Some("no heart"));
        assert_eq!(refusal(&mut upgrades, None), None, "it is tried");
        let other = refusal(&mut upgrades, None);
        assert_eq!(other.as_deref(), Some("another upgrade is under way"));
        assert!(refusal(&mut Upgrades::new(None), None).is_some());
    }

    #[tokio::test]
    async fn a_refusal_comes_back_to_who_asked() {
        let mut upgrades = Upgrades::new(Some(Inheritance::default()));
        let (asker, told) = oneshot::channel();
        upgrades.ask(Some("/no/where".into()), asker, None, place(None));
        let (tried, asker) = upgrades.tried().await;
        let refusal = tried.expect_err("refused");
        assert!(refusal.starts_with("/no/where cannot be run"), "{refusal}");
        asker.send(refusal.clone()).expect("it waits");
        assert_eq!(told.await, Ok(refusal));
    }
}
