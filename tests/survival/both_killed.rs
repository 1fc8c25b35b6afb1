//! The heart and the core are killed at once: what becomes of the backends.

use rustix::process::Signal;
use serde_json::json;

use crate::contract::backend::until;
use crate::processes;
use crate::stage::Stage;

/// Freezes both before it kills them, so that neither sees the other one's end.
fn kill_both(stage: &mut Stage) {
    let core = until("a core", || stage.core());
    processes::signal(stage.heart(), Signal::STOP);
    processes::signal(core, Signal::STOP);
    stage.service.kill();
    processes::signal(core, Signal::KILL);
    until("the end of the core", || (!processes::runs(core)).then_some(()));
}

#[test]
fn heart_and_core_killed_leave_nothing() {
    let mut stage = Stage::start(&["a", "b"], &json!({"adoption_grace": "1s"}));
    stage.service.load("a");
    stage.service.load("b");
    assert_eq!(stage.backends().len(), 2);
    kill_both(&mut stage);
    until("the end of all processes", || stage.place.processes().is_empty().then_some(()));
    until("the end of the private files", || {
        let left = |folder: &str| processes::tree_of(&stage.place.path(folder));
        (left("runtime").is_empty() && left("models").is_empty()).then_some(())
    });
    // what is left (the sockets of the core) keeps nobody from a new start
    let mut again = stage.start_again();
    assert!(again.lasting().is_empty(), "nothing is loaded: {:?}", again.lasting());
    again.service.load("a");
    again.service.stop();
    again.place.assert_nothing_left();
}

#[test]
fn a_start_within_the_grace_adopts_all() {
    let mut stage = Stage::start(&["a", "b"], &json!({"adoption_grace": "20s"}));
    stage.service.load("a");
    stage.service.load("b");
    let before = stage.lasting();
    kill_both(&mut stage);
    let mut again = stage.start_again();
    until("both adopted", || (again.lasting() == before).then_some(()));
    assert_eq!(again.backends().values().map(Vec::len).sum::<usize>(), 2, "{:?}", again.backends());
    // the guard of the dead ones has nothing to end, neither now nor when its grace is over
    until("the end of the old guard", || (again.guards().len() == 1).then_some(()));
    assert_eq!(again.lasting(), before);
    again.service.stop();
    again.place.assert_nothing_left();
}
