//! Starts a whole tree inside this program, loads a model by a typed message, kills its process, and watches it come
//! back under the same endpoint.
//!
//! Run it with `cargo run --example load_model`.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use symphony::app::{ServeOptions, Service};
use symphony::instance::messages::{LoadModel, UnloadModel};
use symphony::instance::state::State;
use symphony::registry::messages::FindInstance;
use symphony::settings::model::{BackendSpec, ModelSpec, Settings};

fn main() -> ExitCode {
    // this program is its own embedded backend: the service starts it again as `load_model backend …`
    if let Some(code) = symphony::cli::helper::run() {
        return code;
    }
    match actix_rt::System::new().block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let model = ModelSpec::new("tiny", BackendSpec::embedded())?;
    let name = model.name.clone();
    let settings = Settings::in_folder(folder.path())?.with_model(model);
    let service = Service::start(settings, ServeOptions::default()).await?;

    let load = LoadModel { model: "tiny".into(), wait: true, revive: true };
    let loaded = service.desk()?.send(load).await??;
    println!("{} is {} on {} (pid {:?})", loaded.model, loaded.state, loaded.endpoint, loaded.pid);

    let pid = loaded.pid.and_then(|pid| i32::try_from(pid).ok()).ok_or("no pid")?;
    let pid = rustix::process::Pid::from_raw(pid).ok_or("no pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    println!("killed it");

    let registry = service.registry()?;
    let again = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let view = registry.send(FindInstance(name.clone())).await?.ok_or("it is gone")?;
            if view.state == State::Ready && view.generation > loaded.generation {
                return Ok::<_, Box<dyn Error>>(view);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await??;
    println!(
        "{} is {} again on {} (pid {:?})",
        again.model, again.state, again.endpoint, again.pid
    );
    if let Some(exit) = &again.last_exit {
        println!("the one before ended by {}", exit.reason);
    }

    service.desk()?.send(UnloadModel { model: "tiny".into() }).await??;
    println!("unloaded");
    service.stop().await?;
    Ok(())
}
