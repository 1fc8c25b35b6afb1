//! SIGKILL of the core, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use symphony::clock::Clock;

use crate::contract::backend::until;
use crate::contract::client::Client;
use crate::load::{Asker, Connection};
use crate::processes;
use crate::stage::Stage;

const KILLS: u64 = 50;
/// The promise is one second; a machine that runs other tests beside this one is slow.
const WITHOUT_ANSWER: Duration = Duration::from_secs(60);

#[test]
fn fifty_kills_of_the_core_lose_no_backend_and_no_client() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let models = ["steady-1", "steady-2", "steady-3", "restless-1", "restless-2"];
    let mut stage = Stage::start(&models, &json!({"restarts": 1000, "period": "10m"}));
    for model in &models[..3] {
        stage.service.load(model);
    }
    let before = stage.lasting();
    assert_eq!(before.len(), 3);
    let descriptors = processes::descriptors_of(stage.heart()).len();

    let endpoint = stage.place.cli_endpoint();
    let askers = [Connection::Kept, Connection::Kept, Connection::Fresh]
        .map(|connection| Asker::start(&endpoint, connection));
    let over = Arc::new(AtomicBool::new(false));
    let restless = std::thread::spawn({
        let (endpoint, over) = (endpoint.clone(), over.clone());
        move || load_and_unload(&endpoint, &over)
    });
    let mut killed = 0;
    while killed < KILLS {
        // every fourth core dies while it starts, the others at some moment of their work
        if random.u64(..4) > 0 {
            let answers: Vec<u64> = askers.iter().map(Asker::answers).collect();
            until_all_answered(&askers, &answers);
        }
        wait_and_look(&stage, Duration::from_millis(random.u64(..200)));
        stage.kill_core();
        killed += 1;
    }
    let answered: Vec<u64> = askers.iter().map(Asker::answers).collect();
    until_all_answered(&askers, &answered);
    over.store(true, Ordering::Release);
    restless.join().unwrap();
    for asker in askers {
        let longest = asker.end();
        assert!(longest < WITHOUT_ANSWER, "{longest:?} without an answer");
    }

    for model in &models[3..] {
        // whether it is loaded depends on the moment of the last kill
        let _ = stage.service.cli().ask("unload-model", json!({"model_name": model}));
    }
    assert_eq!(stage.lasting(), before, "same processes, same endpoints, same books");
    let status = stage.service.cli().data("status", json!({}));
    assert_eq!(status["heart"]["restarts"], KILLS, "{status}");
    assert_eq!(stage.backends().len(), 3, "{:?}", stage.backends());
    until("no descriptor more in the heart than before", || {
        (processes::descriptors_of(stage.heart()).len() <= descriptors).then_some(())
    });
    stage.service.stop();
    stage.place.assert_nothing_left();
}

fn until_all_answered(askers: &[Asker], before: &[u64]) {
    until("an answer for every client", || {
        let mut both = askers.iter().zip(before);
        both.all(|(asker, before)| asker.answers() > *before).then_some(())
    });
}

/// Never two processes for one instance, at whatever moment one looks.
fn wait_and_look(stage: &Stage, wait: Duration) {
    let clock = Clock::start();
    let until = clock.now() + wait;
    loop {
        for (instance, leaders) in stage.backends() {
            // one may have ended before the next one was looked at: who lives now lived then, too
            let living: Vec<_> = leaders.into_iter().filter(|pid| processes::runs(*pid)).collect();
            assert!(
                living.len() < 2,
                "two processes of {instance}: {living:?}\n{}",
                stage.service.log()
            );
        }
        if clock.now() >= until {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Lets backends be started, replaced and stopped all the time, so that kills hit every moment of it.
fn load_and_unload(endpoint: &str, over: &AtomicBool) {
    let ask = |command: &str, model: &str| {
        let mut client = Client::dealer(endpoint);
        client.begin(command, json!({"model_name": model}));
        // lost with a core, or refused by what it finds: it is asked again soon
        client.socket.poll(zmq::POLLIN, 300).expect("polled");
    };
    while !over.load(Ordering::Acquire) {
        for (command, model) in [
            ("load-model", "restless-1"),
            ("load-model", "restless-2"),
            ("restart-model", "restless-1"),
            ("unload-model", "restless-2"),
            ("unload-model", "restless-1"),
        ] {
            ask(command, model);
        }
    }
}
