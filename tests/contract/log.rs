//! Section 1: the log of the service.

use serde_json::{Value, json};

use crate::support::{Place, fake, fake_with};

#[test]
fn lines_follow_the_configured_pattern() {
    let place = Place::new();
    let mut configuration = place.configuration(vec![fake("tiny", &["--non-utf8"])]);
    configuration["logging"] = json!({
        "level": "INFO",
        "format": "%(levelname)-8s|%(name)s|%(asctime)s|%(message)s",
        "date_format": "%d/%m/%Y at %H.%M"
    });
    place.configure(&configuration);
    let mut service = place.serve(&[]);
    let pid = service.load("tiny")["pid"].clone();
    service.logs(&format!("[tiny] pid {pid}"));
    service.stop();
    let log = service.log();
    assert!(log.lines().count() >= 4, "{log}");
    for line in log.lines() {
        let fields: Vec<_> = line.splitn(4, '|').collect();
        let [level, name, time, message] = fields[..] else { panic!("not by the pattern: {line}") };
        assert!(["INFO    ", "WARNING ", "ERROR   "].contains(&level), "{line}");
        let date: Vec<_> = time.split(['/', ' ', '.']).collect();
        let [day, month, year, "at", hour, minute] = date[..] else { panic!("no date: {line}") };
        for (digits, length) in [(day, 2), (month, 2), (year, 4), (hour, 2), (minute, 2)] {
            assert!(digits.len() == length && digits.parse::<u16>().is_ok(), "{line}");
        }
        match name {
            "symphony-mgmt" => {}
            "symphony-backend" => assert!(message.starts_with("[tiny] "), "{line}"),
            other => panic!("an unknown name {other}: {line}"),
        }
    }
    assert!(log.contains("|symphony-backend|"), "{log}");
    assert!(!log.contains('\u{1b}'), "what a backend writes cannot steer a terminal: {log}");
}

#[test]
fn without_a_pattern_lines_look_like_those_of_the_python_service() {
    let place = Place::with_models(vec![fake("tiny", &[])]);
    let mut service = place.serve(&[]);
    let pid = service.load("tiny")["pid"].clone();
    let line = service.logs(&format!("[tiny] pid {pid}"));
    let (time, rest) = line.split_at("2025-01-02 03:04:05".len());
    assert!(time.chars().all(|c| c.is_ascii_digit() || "- :".contains(c)), "{line}");
    assert_eq!(rest, format!(" [    INFO] symphony-backend: [tiny] pid {pid}"));
    let line = service.logs("service_started");
    assert!(line.contains(" [    INFO] symphony-mgmt: service_started"), "{line}");
    service.stop();
}

#[test]
fn json_lines_are_objects() {
    let place = Place::with_models(vec![fake("tiny", &["--non-utf8"])]);
    let mut service = place.serve(&["--log-format", "json"]);
    let pid = service.load("tiny")["pid"].clone();
    service.logs(&format!("[tiny] pid {pid}"));
    service.stop();
    let log = service.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line}")))
        .collect();
    for line in &lines {
        assert_eq!(line["process"], service.pid(), "{line}");
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    let ready = lines.iter().find(|line| line["message"] == "ready").expect("told");
    assert_eq!(
        (&ready["name"], &ready["fields"]["generation"]),
        (&json!("symphony-mgmt"), &json!(1))
    );
    let output = lines.iter().find(|line| line["message"] == format!("[tiny] pid {pid}").as_str());
    assert_eq!(output.expect("told")["name"], "symphony-backend");
}

#[test]
fn a_stop_while_models_start_is_no_error_in_the_log() {
    let slow = |name| fake_with(name, &["--load-time", "1h"], json!({"autostart": true}));
    let place = Place::with_models(vec![slow("first"), slow("second")]);
    let mut service = place.serve(&[]);
    for name in ["first", "second"] {
        service.model_becomes(name, "starting");
    }
    service.stop();
    assert!(service.log().contains("autostart was stopped"), "{}", service.log());
    assert!(!service.log().contains("ERROR"), "{}", service.log());
    place.assert_nothing_left();
}
