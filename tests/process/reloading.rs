//! A configuration that is read slowly, or never, holds up nothing but its own reload.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use symphony::app::{ServeOptions, Service, SettingsLoader, Wish, Wishes};
use symphony::gateway::doors::ControlHandle;
use symphony::launcher::scripted::ScriptedLauncher;
use symphony::probe::scripted::ScriptedProber;
use symphony::settings::model::{BackendSpec, ModelSpec, Settings};
use tokio::sync::mpsc as wishing;
use tokio::time::timeout;

use crate::backend::LIMIT;

/// Wishes of the test.
struct Wished(wishing::UnboundedReceiver<Wish>);

impl Wishes for Wished {
    async fn next(&mut self) -> Wish {
        match self.0.recv().await {
            Some(wish) => wish,
            None => std::future::pending().await,
        }
    }
}

fn with_models(folder: &Path, count: usize) -> Settings {
    let settings = Settings::in_folder(folder).unwrap();
    (0..count).fold(settings, |settings, number| {
        let backend = BackendSpec::command(["x"]);
        settings.with_model(ModelSpec::new(format!("m{number}"), backend).unwrap())
    })
}

/// Runs a service without models; `act` may ask it for whatever it likes and must end it.
fn run(
    loader: impl FnOnce(&Path) -> SettingsLoader,
    act: impl AsyncFnOnce(ControlHandle, wishing::UnboundedSender<Wish>),
) {
    let folder = tempfile::tempdir().unwrap();
    let ended = actix_rt::System::new().block_on(async {
        let options =
            ServeOptions { loader: Some(loader(folder.path())), ..ServeOptions::default() };
        let launcher = Arc::new(ScriptedLauncher::new());
        let prober = Arc::new(ScriptedProber::default());
        let settings = with_models(folder.path(), 0);
        let service = Service::start_on(settings, options, launcher, prober).await.unwrap();
        let (wish, wishes) = wishing::unbounded_channel();
        let control = service.control();
        let both = async { tokio::join!(service.run(Wished(wishes)), act(control, wish)) };
        timeout(LIMIT, both).await.expect("it ends in time").0
    });
    ended.unwrap();
}

/// Tells when it is entered, and returns when it is told to, or never.
fn held_back(folder: &Path) -> (SettingsLoader, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (enter, entered) = mpsc::channel();
    let (release, released) = mpsc::channel();
    // a loader is shared between threads, and a receiver is not
    let released = std::sync::Mutex::new(released);
    let folder = folder.to_owned();
    let reads = AtomicUsize::new(0);
    let loader: SettingsLoader = Box::new(move || {
        let read = reads.fetch_add(1, Ordering::Relaxed) + 1;
        let _ = enter.send(());
        let _ = released.lock().unwrap().recv();
        Ok(with_models(&folder, read))
    });
    (loader, entered, release)
}

async fn entered(entered: &mpsc::Receiver<()>) {
    while entered.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn stop_is_obeyed_while_the_configuration_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (loader, reading, release) = held_back(folder.path());
    run(
        |_| loader,
        async |control, wish| {
            let asked = control.reload();
            let stop = async {
                entered(&reading).await;
                wish.send(Wish::Stop).unwrap();
            };
            let (answer, ()) = tokio::join!(asked, stop);
            let error = answer.unwrap_err();
            assert!(error.contains("shutting down"), "{error}");
            let late = control.reload().await.unwrap_err();
            assert!(late.contains("shutting down"), "{late}");
        },
    );
    // only now the disk answers
    drop(release);
}

#[test]
fn who_asks_during_a_reading_shares_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let (loader, reading, release) = held_back(folder.path());
    run(
        |_| loader,
        async |control, wish| {
            let first = control.reload();
            let rest = async {
                entered(&reading).await;
                wish.send(Wish::Reload).unwrap();
                let shared = futures_util::future::join(control.reload(), control.reload());
                let answered = async {
                    let tree = control.tree().await.unwrap();
                    assert_eq!(tree.name, "root", "the service answers meanwhile");
                    release.send(()).unwrap();
                    release.send(()).unwrap();
                };
                tokio::join!(shared, answered).0
            };
            let (first, (second, third)) = tokio::join!(first, rest);
            assert_eq!(first.unwrap().added, ["m0"]);
            let second = second.unwrap();
            assert_eq!((&second.added[..], second.unchanged), (&["m1".to_owned()][..], 1));
            assert_eq!(third.unwrap(), second, "they were told of one reading");
            wish.send(Wish::Stop).unwrap();
        },
    );
    assert_eq!(reading.try_iter().count(), 1, "one for the first, one for all others");
}

#[test]
fn a_reader_that_crashes_is_told_and_the_next_reload_works() {
    let crashed = AtomicUsize::new(0);
    let loader = |folder: &Path| -> SettingsLoader {
        let folder = folder.to_owned();
        Box::new(move || {
            assert!(crashed.fetch_add(1, Ordering::Relaxed) > 0, "crashed on request");
            Ok(with_models(&folder, 1))
        })
    };
    run(loader, async |control, wish| {
        let error = control.reload().await.unwrap_err();
        assert!(error.contains("its reader failed"), "{error}");
        assert_eq!(control.reload().await.unwrap().added, ["m0"]);
        wish.send(Wish::Stop).unwrap();
    });
}
