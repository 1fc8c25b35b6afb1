//! Models outlive their service, as long as somebody is there to take them over, and not a moment longer.

use rustix::process::Signal;
use serde_json::json;

use crate::backend::until;
use crate::processes::{self, runs, state_of};
use crate::service::{Service, fake, program};

/// Kills heart and core at once, as far as two signals are at once; the guard is left.
fn kill_both(service: &mut Service) {
    let core = service.core_pid();
    // a stopped heart starts no other core
    service.signal(Signal::STOP);
    processes::signal(core, Signal::KILL);
    service.signal(Signal::KILL);
    service.ended();
}

#[test]
fn core_killed_is_adopted() {
    let service = Service::through_heart(&[fake("a", &["--fork", "1"]), fake("b", &[])]);
    let before = [service.load("a"), service.load("b")];
    for restarts in 1..=3 {
        processes::signal(service.core_pid(), Signal::KILL);
        service.replaced(restarts);
        for row in &before {
            let after = service.wait_for_state(row.name(), "ready");
            assert_eq!(
                (after.pid(), after.generation(), after.endpoint(), after.restarts()),
                (row.pid(), row.generation(), row.endpoint(), row.restarts())
            );
        }
    }
    service.stop();
}

#[test]
fn backends_that_die_without_a_core_tell_how() {
    let service = Service::through_heart(&[
        fake("coded", &["--exit-after", "400ms", "--exit-code", "37"]),
        fake("killed", &[]),
    ]);
    let coded = service.load("coded");
    let killed = service.load("killed");
    let core = service.core_pid();
    // a core that stands still learns nothing by itself, and the heart has them only once it is gone
    processes::signal(core, Signal::STOP);
    processes::signal(killed.pid(), Signal::USR1);
    until("both ends", || {
        let ended = |pid| state_of(pid) == Some('Z');
        (ended(coded.pid()) && ended(killed.pid())).then_some(())
    });
    service.replaced(1);
    service.wait_for_successor(&killed);
    let exits = |name: &str| -> Vec<String> {
        let events = service.events(name);
        let exited = events.iter().filter(|event| event.kind() == "exited");
        exited.map(|event| event.cause().to_owned()).collect()
    };
    assert_eq!(exits("killed"), ["signal 10"]);
    let first = until("the end of the other one", || exits("coded").first().cloned());
    assert_eq!(first, "exit 37");
    service.stop();
}

#[test]
fn an_adopted_backend_that_dies_tells_how() {
    let service = Service::through_heart(&[fake("a", &[])]);
    let before = service.load("a");
    processes::signal(service.core_pid(), Signal::KILL);
    service.replaced(1);
    service.wait_for_state("a", "ready");
    processes::signal(before.pid(), Signal::USR1);
    let after = service.wait_for_successor(&before);
    assert_eq!(after.exit_reason(), "signal 10");
    // reaped, once its exit was told
    assert_eq!(state_of(before.pid()), None);
    service.stop();
}

#[test]
fn a_start_under_way_goes_on_in_the_next_core() {
    let slow = fake("slow", &["--load-time", "3s"]);
    let service = Service::through_heart(&[slow]);
    let order = service.order_load("slow");
    let starting = service.wait_for("slow", "with a process", |row| row.0["pid"].is_u64());
    processes::signal(service.core_pid(), Signal::KILL);
    service.replaced(1);
    drop(order);
    let ready = service.wait_for_state("slow", "ready");
    assert_eq!((ready.pid(), ready.generation()), (starting.pid(), 1));
    service.stop();
}

#[test]
fn root_that_gives_up_costs_no_model() {
    let service = Service::through_heart(&[fake("a", &[])]);
    let before = service.load("a");
    for _ in 0..4 {
        // the fourth is one more than the root allows; its answer may be lost with the service
        let manager = service.manager();
        manager.ask_until_answered("chaos-panic", &json!({ "actor": "registry" }));
    }
    let status = service.replaced(1);
    assert_eq!(status["heart"]["last_cause"], "exit 3, its root supervisor gave up");
    let after = service.wait_for_state("a", "ready");
    assert_eq!((after.pid(), after.generation()), (before.pid(), before.generation()));
    service.stop();
}

#[test]
fn panic_of_the_main_thread_costs_no_model() {
    let service = Service::through_heart(&[fake("a", &[])]);
    let before = service.load("a");
    let manager = service.manager();
    manager.send("chaos-panic", &json!({ "actor": "main_loop" }));
    let status = service.replaced(1);
    assert_eq!(status["heart"]["last_cause"], "exit 101");
    let after = service.wait_for_state("a", "ready");
    assert_eq!((after.pid(), after.generation()), (before.pid(), before.generation()));
    service.stop();
}

#[test]
fn heart_and_core_killed_leave_nothing() {
    let script = format!("setsid sleep 600 & exec {} --ipc-endpoint \"$1\"", crate::backend::FAKE);
    let forking = program("forking", &["sh", "-c", &script, "sh", "{endpoint}"]);
    let mut service = Service::through_heart(&[
        fake("a", &["--fork", "2", "--grandchild-ignores-term"]),
        fake("deaf", &["--ignore-term"]),
        forking,
    ]);
    for model in ["a", "deaf", "forking"] {
        service.load(model);
    }
    kill_both(&mut service);
    until("the end of everything", || service.mark().processes().is_empty().then_some(()));
    let left = processes::tree_of(&service.folder().join("sockets"));
    let of_models = left.iter().filter(|path| path.to_string_lossy().contains("model"));
    assert_eq!(of_models.count(), 0, "{left:?}");
    assert!(!service.folder().join("run").exists());
    assert!(
        service.log().contains("the service is dead and nobody took over"),
        "{}",
        service.log()
    );
}

#[test]
fn a_start_within_the_grace_adopts_all() {
    let change = |configuration: &mut serde_json::Value| {
        configuration["service"]["heart"]["adoption_grace"] = json!("1m");
    };
    let mut service = Service::through_heart_with(&[fake("a", &[])], change);
    let before = service.load("a");
    kill_both(&mut service);
    service.start_again();
    let after = service.wait_for_state("a", "ready");
    assert_eq!((after.pid(), after.generation()), (before.pid(), before.generation()));
    assert_eq!(service.status()["heart"]["pid"], service.pid());
    until("the end of the guard before", || {
        let guards = service.mark().processes();
        (guards.into_iter().filter(|pid| processes::is_guard(*pid)).count() == 1).then_some(())
    });
    assert!(runs(before.pid()));
    service.stop();
}

/// A service of one model, left by heart and core, with something of somebody else in the place of its socket.
fn left_with_an_obstacle() -> (Service, crate::service::Row) {
    let change = |configuration: &mut serde_json::Value| {
        configuration["service"]["heart"]["adoption_grace"] = json!("1m");
    };
    let mut service = Service::through_heart_with(&[fake("a", &[])], change);
    let before = service.load("a");
    kill_both(&mut service);
    let socket = service.folder().join("sockets/cli");
    std::fs::remove_file(&socket).expect("removed");
    std::fs::write(&socket, "my thesis").expect("written");
    (service, before)
}

#[test]
fn a_start_that_fails_leaves_the_models_to_the_next_one() {
    let (mut service, before) = left_with_an_obstacle();
    assert_eq!(service.fails_to_start_again("start-service").code(), Some(1));
    assert!(service.log().contains("models of the service before live"), "{}", service.log());
    std::fs::remove_file(service.folder().join("sockets/cli")).expect("removed");
    service.start_again();
    let after = service.wait_for_state("a", "ready");
    assert_eq!((after.pid(), after.generation()), (before.pid(), before.generation()));
    service.stop();
}

#[test]
fn a_start_without_a_heart_that_fails_leaves_nobody_for_ever() {
    let (mut service, before) = left_with_an_obstacle();
    assert_eq!(service.fails_to_start_again("serve").code(), Some(1));
    until("the end of the model", || (!runs(before.pid())).then_some(()));
    until("the end of the guard", || service.mark().processes().is_empty().then_some(()));
    assert!(!service.folder().join("run").exists());
}

#[test]
fn a_heart_that_gives_up_ends_what_it_adopted() {
    let change = |configuration: &mut serde_json::Value| {
        configuration["service"]["heart"]["adoption_grace"] = json!("1m");
        configuration["service"]["heart"]["restarts"] = json!(0);
    };
    let deaf = fake("deaf", &["--ignore-term"]).with("stop", json!({ "grace": "200ms" }));
    let mut service = Service::through_heart_with(&[fake("a", &[]), deaf], change);
    let before = [service.load("a"), service.load("deaf")];
    kill_both(&mut service);
    service.start_again();
    for row in &before {
        assert_eq!(service.wait_for_state(row.name(), "ready").pid(), row.pid());
    }
    processes::signal(service.core_pid(), Signal::KILL);
    assert_eq!(service.ended().code(), Some(3));
    assert!(before.iter().all(|row| !runs(row.pid())));
    assert!(!service.folder().join("run").exists());
}

#[test]
fn a_service_without_a_heart_takes_its_models_along() {
    let mut service = Service::start(&[fake("a", &["--fork", "2"]), fake("b", &[])]);
    service.load("a");
    service.load("b");
    service.signal(Signal::KILL);
    service.ended();
    until("the end of everything", || service.mark().processes().is_empty().then_some(()));
    assert!(!service.folder().join("run").exists());
}

#[test]
fn a_start_waits_for_a_guard_that_ends_what_was_left() {
    let deaf = fake("deaf", &["--ignore-term"]);
    let mut service = Service::start(&[deaf]);
    let before = service.load("deaf");
    service.signal(Signal::KILL);
    service.ended();
    until("the guard's lock", || {
        let pid_file = service.folder().join("run/service.pid");
        std::fs::read_to_string(pid_file).is_ok_and(|text| text == "guard\n").then_some(())
    });
    assert!(runs(before.pid()), "it is still being ended");
    service.start_again();
    assert!(!runs(before.pid()));
    let after = service.load("deaf");
    assert_eq!(after.generation(), 1, "nothing was taken over");
    service.stop();
}
