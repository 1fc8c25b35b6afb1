//! A service that is not there, does not answer, goes away, or talks nonsense.

use std::sync::mpsc::channel;

use serde_json::json;

use super::program::{ask, command, finish, spawn};
use super::service::{Reply, Service, phi, silent, status_with};

#[test]
fn no_service_is_told_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let dead = folder.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).expect("bound"));
    let missing = folder.path().join("missing");
    for path in [&missing, &dead] {
        let endpoint = format!("ipc://{}", path.display());
        let commands =
            [&["status"][..], &["unload", "x"], &["ls"], &["tree"], &["events"], &["logs", "x"]];
        for line in commands {
            let run = ask(&endpoint, line);
            let told = "Management service is not running\n";
            assert_eq!(run.all(), (Some(1), "", told), "{line:?}");
        }
        let run = ask(&endpoint, &["load-model", "x"]);
        let told = "Management service is not running. Start it first with 'start-service'\n";
        assert_eq!(run.all(), (Some(1), "", told));
        let run = ask(&endpoint, &["stop-service"]);
        assert_eq!(run.all(), (Some(0), "", "Management service is not running\n"));
        let run = ask(&endpoint, &["--json", "stop-service"]);
        assert_eq!(run.json(), json!({"message": "Management service is not running"}));
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        let run = ask(&endpoint, &["--json", "status"]);
        assert_eq!(run.json(), json!({"error": "Management service is not running"}));
        assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
    }
    assert!(dead.exists(), "what lies there is not ours to remove");
}

#[test]
fn a_service_that_does_not_answer() {
    let service = silent();
    let commands = [
        &["status"][..],
        &["load-model", "x"],
        &["unload-model", "x"],
        &["restart-model", "x"],
        &["stop-service"],
        &["list-models"],
        &["handshake"],
    ];
    for line in commands {
        let mut line = line.to_vec();
        line.extend(["--timeout", "300ms"]);
        let run = ask(&service.endpoint(), &line);
        assert_eq!(run.all(), (Some(1), "", "Service not responding (timeout)\n"), "{line:?}");
        line.push("--json");
        let run = ask(&service.endpoint(), &line);
        assert_eq!(run.json(), json!({"error": "Service not responding (timeout)"}));
        assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
    }
}

#[test]
fn a_model_that_takes_longer_is_no_silent_service() {
    let service = Service::start(|request| {
        if request["command"] != "status" {
            return Reply::Silence;
        }
        let mut starting = phi("starting");
        starting["progress"] = "layer 7 of 32".into();
        Reply::data(status_with(&json!([starting])))
    });
    for command in ["load-model", "restart-model", "unload-model"] {
        let mut line = vec![command, "phi"];
        line.extend(["--timeout", "300ms"]);
        let reason = "no answer within 300ms: phi is starting, layer 7 of 32; it goes on loading";
        let run = ask(&service.endpoint(), &line);
        assert_eq!(
            run.all(),
            (Some(1), "", &*format!("Service not responding (timeout)\n{reason}\n")),
            "{line:?}"
        );
        line.push("--json");
        let run = ask(&service.endpoint(), &line);
        assert_eq!((run.json(), run.code), (json!({ "error": reason }), Some(1)), "{line:?}");
    }
}

#[test]
fn a_service_that_goes_away_is_not_waited_for() {
    let (asked, wait) = channel();
    let service = Service::start(move |_| {
        asked.send(()).expect("the test waits");
        Reply::Silence
    });
    let home = tempfile::tempdir().expect("folder");
    let mut command = command(home.path());
    command.args(["--endpoint", &service.endpoint(), "load-model", "x"]);
    let child = spawn(&mut command);
    wait.recv().expect("the service was asked");
    drop(service);
    // far below the 300 s that a load may take
    let run = finish(child);
    let told = "Error loading model: the service ended before it answered\n";
    assert_eq!(run.all(), (Some(1), "", told));
}

#[test]
fn answers_to_others_are_not_taken() {
    let mut turn = 0;
    let service = Service::start(move |_| {
        turn += 1;
        Reply::Frame(
            json!({"correlation_id": format!("other-{turn}"), "success": true, "data": {}})
                .to_string()
                .into(),
        )
    });
    let run = ask(&service.endpoint(), &["status", "--timeout", "300ms"]);
    assert_eq!(run.all(), (Some(1), "", "Service not responding (timeout)\n"));
}

#[test]
fn nonsense_from_the_service_is_told_and_breaks_nothing() {
    let frames: [&[u8]; 6] =
        [b"", b"nonsense", b"[]", b"\xff\xfe\x00", b"{\"success\":1}", &[b'['; 100_000]];
    for frame in frames {
        let service = Service::start(move |_| Reply::Frame(frame.to_vec()));
        let run = ask(&service.endpoint(), &["status"]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
        assert!(run.stderr.starts_with("Error: cannot understand the answer"), "{run:?}");
    }
}

#[test]
fn data_of_an_unknown_shape_breaks_nothing() {
    for data in ["null", "3", "[]", r#"{"models":[null,7,{"uptime":-1}]}"#] {
        let service = Service::start(move |_| Reply::Data(data.into()));
        for line in [&["status"][..], &["ls"], &["load", "x"], &["tree"], &["events"], &["reload"]]
        {
            let run = ask(&service.endpoint(), line);
            assert!(matches!(run.code, Some(0 | 1)), "{line:?} {data}: {run:?}");
            assert!(!run.stderr.contains("panicked"), "{run:?}");
        }
    }
}
