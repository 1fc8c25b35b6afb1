//! Clients that never pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symphony::app::{ServeOptions, Service};
use symphony::gateway::zmq::messages::Observe;
use symphony::launcher::scripted::ScriptedLauncher;
use symphony::probe::scripted::ScriptedProber;
use symphony::settings::model::Settings;
use tokio::time::{Duration, sleep, timeout};

use crate::backend::LIMIT;

#[test]
fn clients_that_ask_without_a_pause_do_not_hold_up_the_stop() {
    let stopped = Arc::new(AtomicBool::new(false));
    actix_rt::System::new().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::in_folder(folder.path()).unwrap();
        settings.service.drain_timeout = LIMIT * 10;
        let endpoint = settings.endpoints.cli_management.clone();
        let launcher = Arc::new(ScriptedLauncher::new());
        let prober = Arc::new(ScriptedProber::default());
        let service = Service::start_on(settings, ServeOptions::default(), launcher, prober);
        let service = service.await.unwrap();
        let wiring = service.wiring();
        let restless = [(); 4].map(|()| restless_client(&endpoint, stopped.clone()));
        let asked = async || wiring.zmq.get().unwrap().send(Observe).await.unwrap().received;
        while asked().await < 1000 {
            sleep(Duration::from_millis(1)).await;
        }
        let ended = timeout(LIMIT, service.stop()).await;
        stopped.store(true, Ordering::Relaxed);
        assert!(ended.is_ok(), "requests that came later held it up");
        for client in restless {
            client.join().unwrap();
        }
    });
}

/// Keeps hundreds of requests under way, until it is told to end.
fn restless_client(endpoint: &str, end: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
    socket.set_linger(0).unwrap();
    socket.connect(endpoint).unwrap();
    std::thread::spawn(move || {
        let mut under_way = 0;
        while !end.load(Ordering::Relaxed) {
            while under_way < 500 && socket.send(r#"{"command":"status"}"#, zmq::DONTWAIT).is_ok() {
                under_way += 1;
            }
            let mut patience = 10;
            while socket.poll(zmq::POLLIN, patience).unwrap() > 0 {
                socket.recv_bytes(0).unwrap();
                under_way -= 1;
                patience = 0;
            }
        }
    })
}
