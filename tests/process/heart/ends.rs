//! Whatever ends a service through its heart, it is an orderly end.

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

use crate::processes;
use crate::service::{Service, fake};

fn with_models() -> Service {
    let service = Service::through_heart(&[fake("a", &["--fork", "2"]), fake("b", &[])]);
    service.load("a");
    service.load("b");
    service
}

#[test]
fn term_and_int_to_the_heart() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut service = with_models();
        service.signal(signal);
        service.ended_clean();
    }
}

#[test]
fn term_to_the_core() {
    let mut service = with_models();
    processes::signal(service.core_pid(), Signal::TERM);
    service.ended_clean();
}

#[test]
fn stop_service_ends_heart_and_core() {
    let mut service = with_models();
    service.ask("stop-service", json!({}));
    service.ended_clean();
}

#[test]
fn a_terminals_interrupt_reaches_the_core_once() {
    let slow = fake("slow", &["--ignore-term"]).with("stop", json!({ "grace": "1s" }));
    let mut service = Service::through_heart_in_group(&[slow]);
    let row = service.load("slow");
    let events = service.manager();
    let group = i32::try_from(service.pid()).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process_group(group, Signal::INT).expect("signalled");
    drop(events);
    service.ended_clean();
    // a second one would have meant: kill at once
    assert!(!service.log().contains("asked a second time"), "{}", service.log());
    assert!(!processes::runs(row.pid()));
}

#[test]
fn second_term_kills_at_once() {
    let patient = fake("a", &["--ignore-term"]).with("stop", json!({ "grace": "1h" }));
    let mut service = Service::through_heart(&[patient]);
    service.load("a");
    service.signal(Signal::TERM);
    service.wait_for_state("a", "stopping");
    service.signal(Signal::TERM);
    service.ended_clean();
}

#[test]
fn hup_reloads() {
    let service = Service::through_heart(&[]);
    service.signal(Signal::HUP);
    crate::backend::until("the reload", || {
        service.happened_to("service").iter().any(|event| event.kind() == "reloaded").then_some(())
    });
    service.stop();
}

#[test]
fn what_a_backend_left_in_a_session_of_its_own_ends_with_the_service() {
    let script = format!("setsid sleep 600 & exec {} --ipc-endpoint \"$1\"", crate::backend::FAKE);
    let daemon = crate::service::program("a", &["sh", "-c", &script, "sh", "{endpoint}"]);
    let mut service = Service::through_heart(&[daemon]);
    service.load("a");
    service.signal(Signal::TERM);
    assert_eq!(service.ended().code(), Some(0));
    assert_eq!(service.mark().processes(), [0; 0]);
}

#[test]
fn a_core_that_cannot_start_says_why_and_is_not_tried_again() {
    let mut service = Service::launch_through_heart(&[], |folder| {
        std::fs::create_dir(folder.join("sockets")).expect("made");
        std::fs::write(folder.join("sockets/cli"), "my thesis").expect("written");
    });
    assert_eq!(service.ended().code(), Some(1));
    let log = service.log();
    assert!(log.contains("sockets/cli"), "{log}");
    assert!(!log.contains("gave up") && !log.contains("is lost"), "{log}");
    assert_eq!(service.mark().processes(), [0; 0]);
    assert!(!service.folder().join("run").exists());
}

#[test]
fn a_second_service_in_the_same_folder_is_refused() {
    let service = Service::through_heart(&[]);
    let status = crate::service::second_service_with(&service, "start-service", |configuration| {
        for socket in ["client_handshake", "cli_management"] {
            let other = format!("{}2", configuration["endpoints"][socket].as_str().expect("text"));
            configuration["endpoints"][socket] = json!(other);
        }
    });
    assert_eq!(status.0.code(), Some(1), "{}", status.1);
    let reason = format!("run is in use by a service (pid {})", service.pid());
    assert!(status.1.contains(&reason), "{}", status.1);
    assert_eq!(service.status()["heart"]["restarts"], 0);
    service.stop();
}

#[test]
fn a_pid_file_of_a_dead_service_is_no_obstacle() {
    let mut service = Service::launch_through_heart(&[], |folder| {
        std::fs::create_dir(folder.join("run")).expect("made");
        // a process that lives and is no service
        let other = std::process::id();
        std::fs::write(folder.join("run/service.pid"), format!("{other}\n")).expect("written");
    });
    assert_eq!(service.status()["heart"]["pid"], service.pid());
    service.signal(Signal::TERM);
    service.ended_clean();
}
