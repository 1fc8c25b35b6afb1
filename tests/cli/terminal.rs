//! What a person sees on a terminal.

use std::sync::mpsc::channel;

use serde_json::json;

use super::program::{ask, command, on_terminal, on_terminal_of};
use super::service::{Reply, Service, answering, phi, refusing, silent, status_with};

#[test]
fn colours_on_a_terminal_unless_no_color() {
    let service = answering(status_with(&json!([phi("ready")])));
    let home = tempfile::tempdir().expect("folder");
    let drawn = |no_color: Option<&str>| {
        let mut command = command(home.path());
        command.args(["--endpoint", &service.endpoint(), "status"]);
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        on_terminal(&mut command, None)
    };
    let (text, code) = drawn(None);
    assert!(text.contains("\u{1b}[32mready\u{1b}[0m"), "{text:?}");
    assert_eq!(code, Some(0));
    assert!(drawn(Some("")).0.contains('\u{1b}'), "an empty NO_COLOR does not count");
    let (text, _) = drawn(Some("1"));
    assert!(text.contains("ready") && !text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn pids_stand_behind_the_table_where_the_terminal_is_wide_enough() {
    let service = answering(status_with(&json!([phi("ready")])));
    let home = tempfile::tempdir().expect("folder");
    for (columns, shows) in [(80, true), (54, true), (53, false)] {
        let mut command = command(home.path());
        command.args(["--endpoint", &service.endpoint(), "status"]).env("NO_COLOR", "1");
        let (text, code) = on_terminal_of(columns, &mut command, None);
        assert!(text.contains("ENDPOINT") && code == Some(0), "{text:?}");
        assert_eq!(text.contains("PID"), shows, "{columns}: {text}");
    }
}

#[test]
fn progress_on_a_terminal_while_a_model_loads() {
    let (seen, loaded) = channel::<()>();
    let service = Service::start(move |request| {
        if request["command"] == "load-model" {
            return Reply::Silence;
        }
        let _ = seen.send(());
        let mut starting = phi("starting");
        starting["progress"] = "layer 7 of 32".into();
        Reply::data(status_with(&json!([starting])))
    });
    let home = tempfile::tempdir().expect("folder");
    let mut command = command(home.path());
    command.args(["--endpoint", &service.endpoint(), "load-model", "phi"]);
    let (text, _) = on_terminal(&mut command, Some("layer 7 of 32"));
    loaded.recv().expect("the state was asked for");
    assert!(text.contains("phi: starting, layer 7 of 32"), "{text:?}");
}

#[test]
fn no_progress_without_a_terminal() {
    let service = answering(json!({"endpoint": "ipc:///tmp/m", "state": "ready"}));
    ask(&service.endpoint(), &["load-model", "phi"]);
    assert_eq!(service.requests().len(), 1, "nobody draws, so nobody asks for the state");
}

#[test]
fn watch_draws_over_the_page_before() {
    let mut turn = 0;
    let service = Service::start(move |_| {
        turn += 1;
        let model = if turn == 1 { phi("starting") } else { phi("ready") };
        Reply::data(status_with(&json!([model])))
    });
    let home = tempfile::tempdir().expect("folder");
    let mut command = command(home.path());
    command.args(["--endpoint", &service.endpoint(), "status", "--watch"]).env("NO_COLOR", "1");
    let (text, code) = on_terminal(&mut command, Some("ready"));
    assert_eq!(code, None, "it goes on until it is ended");
    assert!(text.matches("\u{1b}[H").count() >= 2, "{text:?}");
    assert!(text.contains("starting"), "{text:?}");
}

#[test]
fn what_a_service_says_cannot_steer_the_terminal() {
    let service = refusing("bad\u{1b}]0;title\u{7} model\nLast output:\n\u{1b}[2Jboom");
    let home = tempfile::tempdir().expect("folder");
    let mut command = command(home.path());
    command.args(["--endpoint", &service.endpoint(), "unload-model", "x"]);
    let (text, code) = on_terminal(&mut command, None);
    assert_eq!(code, Some(1));
    assert!(!text.contains('\u{1b}') && text.contains("\\x1b[2Jboom"), "{text:?}");
}

#[test]
fn a_silent_service_in_front_of_a_terminal_times_out_too() {
    let service = silent();
    let home = tempfile::tempdir().expect("folder");
    let mut command = command(home.path());
    command.args(["--endpoint", &service.endpoint(), "--timeout", "1s", "load-model", "x"]);
    let (text, code) = on_terminal(&mut command, None);
    assert_eq!(code, Some(1));
    assert!(text.contains("Service not responding (timeout)"), "{text:?}");
}
