//! What happens while there is no core.

use rustix::process::Signal;
use serde_json::json;

use crate::contract::backend::{FAKE, until};
use crate::contract::fake_with;
use crate::processes;
use crate::stage::Stage;

#[test]
fn a_backend_that_dies_while_no_core_lives_has_its_real_exit_code() {
    let script = format!("trap 'kill $!; exit 7' USR1; {FAKE} --ipc-endpoint \"$0\" & wait");
    let command = json!({"command": ["sh", "-c", script, "{endpoint}"]});
    let killed = fake_with("killed", &[], json!({}));
    let mut stage = Stage::start_with(vec![fake_with("a", &[], command), killed], &json!({}));
    stage.service.load("a");
    stage.service.load("killed");
    let pid_of = |model: &str| {
        let pid = stage.service.model(model)["pid"].as_u64().expect("a pid");
        u32::try_from(pid).expect("fits")
    };
    let (ends, dies) = (pid_of("a"), pid_of("killed"));

    processes::signal(stage.heart(), Signal::STOP);
    let core = stage.kill_core();
    until("the end of the core", || (!processes::runs(core)).then_some(()));
    processes::signal(ends, Signal::USR1);
    processes::signal(dies, Signal::KILL);
    until("the ends of both", || (!processes::runs(ends) && !processes::runs(dies)).then_some(()));
    processes::signal(stage.heart(), Signal::CONT);

    for (model, reason) in [("a", "exit 7"), ("killed", "signal 9")] {
        let again = until("a successor", || {
            let rows = stage.lasting();
            let row = rows.get(model)?;
            (row["generation"] == 2 && row["state"] == "ready").then(|| row.clone())
        });
        assert_eq!(again["restarts"], 1);
        let events = stage.service.cli().data("events", json!({"since": 0}));
        let events = events["events"].as_array().expect("events").iter();
        let ended: Vec<_> = events
            .filter(|event| event["model"] == model && event["kind"] == "exited")
            .map(|event| event["cause"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert!(ended.iter().any(|cause| cause.starts_with(reason)), "{model}: {ended:?}");
    }
    stage.service.stop();
    stage.place.assert_nothing_left();
}
