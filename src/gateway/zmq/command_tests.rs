use proptest::prelude::*;

use super::*;

fn command(text: &str) -> Result<Command, CommandError> {
    parse(text.as_bytes()).expect("the shape of a command").command
}

fn error(text: &str) -> String {
    command(text).expect_err(text).to_string()
}

fn fault(payload: impl AsRef<[u8]>) -> String {
    parse(payload.as_ref()).expect_err("no command").to_string()
}

#[test]
fn every_command_is_read_with_its_parameters() {
    use DeskCommand as Desk;
    use DirectCommand as Direct;
    let table = [
        (r#"{"command":"status"}"#, Command::Direct(Direct::Status { all: false })),
        (
            r#"{"command":"status","params":{"all":true}}"#,
            Command::Direct(Direct::Status { all: true }),
        ),
        (r#"{"command":"list-models","params":{}}"#, Command::Direct(Direct::ListModels)),
        (r#"{"command":"version","params":null}"#, Command::Direct(Direct::Version)),
        (
            r#"{"command":"load-model","params":{"model_name":"m","wait":true,"config_path":"/c"}}"#,
            Command::Desk(Desk::Load { model: "m".into(), wait: true, config_path_given: true }),
        ),
        (
            r#"{"command":"load-model","params":{"model_name":"m","config_path":null}}"#,
            Command::Desk(Desk::Load { model: "m".into(), wait: false, config_path_given: false }),
        ),
        (
            r#"{"command":"unload-model","params":{"model_name":"m"}}"#,
            Command::Desk(Desk::Unload { model: "m".into(), again: false }),
        ),
        (
            r#"{"command":"restart-model","params":{"model_name":"m"}}"#,
            Command::Desk(Desk::Restart { model: "m".into(), wait: false }),
        ),
        (r#"{"command":"stop-service"}"#, Command::Desk(Desk::StopService)),
        (r#"{"command":"reload"}"#, Command::Desk(Desk::Reload)),
        (r#"{"command":"tree"}"#, Command::Desk(Desk::Tree)),
        (
            r#"{"command":"chaos-panic","params":{"actor":"registry"}}"#,
            Command::Desk(Desk::Panic(Part::Named("registry".into()))),
        ),
        (
            r#"{"command":"chaos-panic","params":{"actor":"instance","model_name":"m"}}"#,
            Command::Desk(Desk::Panic(Part::Instance("m".into()))),
        ),
        (
            r#"{"command":"logs","params":{"model_name":"m"}}"#,
            Command::Desk(Desk::Logs { model: "m".into(), lines: 100, after_offset: None }),
        ),
        (
            r#"{"command":"logs","params":{"model_name":"m","lines":99999999,"after_offset":7}}"#,
            Command::Desk(Desk::Logs {
                model: "m".into(),
                lines: limits::LOG_LINES,
                after_offset: Some(7),
            }),
        ),
        (
            r#"{"command":"events","params":{"since":3,"limit":2,"colour":[1,{}]}}"#,
            Command::Desk(Desk::Events { since: 3, limit: 2 }),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(command(text), Ok(expected), "{text}");
    }
}

#[test]
fn texts_of_errors_are_those_of_the_contract() {
    assert_eq!(error(r#"{"command":"dance"}"#), "Unknown command: dance");
    assert_eq!(error(r#"{"command":""}"#), "Unknown command: ");
    for name in ["load-model", "unload-model", "restart-model", "logs"] {
        for params in
            ["{}", r#"{"model_name":""}"#, r#"{"model_name":7}"#, r#"{"model_name":null}"#]
        {
            let text = format!(r#"{{"command":"{name}","params":{params}}}"#);
            assert_eq!(error(&text), "model_name parameter required", "{text}");
        }
    }
    assert_eq!(
        error(r#"{"command":"load-model","params":{"model_name":"m","wait":"yes"}}"#),
        "parameter wait must be true or false"
    );
    assert_eq!(
        error(r#"{"command":"events","params":{"since":-1}}"#),
        "parameter since must be a whole number, 0 or more"
    );
    assert!(error(&format!(r#"{{"command":"{}"}}"#, "x".repeat(100_000))).len() < 2000);
}

#[test]
fn a_correlation_id_is_text_and_may_be_left_out() {
    let id = |text: &str| parse(text.as_bytes()).expect("valid").correlation_id;
    assert_eq!(id(r#"{"command":"status","correlation_id":"ä\u0000x"}"#).as_deref(), Some("ä\0x"));
    assert_eq!(id(r#"{"command":"status","correlation_id":""}"#), None);
    assert_eq!(id(r#"{"command":"status","correlation_id":null}"#), None);
    assert_eq!(id(r#"{"command":"status"}"#), None);
    let with_id = |id: &str| format!(r#"{{"command":"status","correlation_id":{id}}}"#);
    for bad in ["7", "[]", "{}", "true", r#""\ud800""#] {
        assert!(fault(with_id(bad)).starts_with("Invalid command format: "));
    }
    let longest = "i".repeat(limits::CORRELATION_ID_BYTES);
    assert_eq!(id(&with_id(&format!("\"{longest}\""))), Some(longest.clone()));
    assert_eq!(
        fault(with_id(&format!("\"{longest}i\""))),
        "Invalid command format: correlation_id has 1025 bytes, at most 1024 are allowed"
    );
}

#[test]
fn what_has_not_the_shape_is_refused() {
    let table = [
        (r"", "EOF while parsing"),
        (r"status", "expected value"),
        (r"null", "invalid type: null"),
        (r#"["status",{},"id"]"#, "invalid type: sequence"),
        (r#""status""#, "invalid type: string"),
        (r"{}", "missing field `command`"),
        (r#"{"command":1}"#, "invalid type: integer"),
        (r#"{"command":"status","params":[]}"#, "invalid type: sequence"),
        (r#"{"command":"status","params":"x"}"#, "invalid type: string"),
        (r#"{"command":"status","extra":1}"#, "unknown field `extra`"),
        (r#"{"command":"status","command":"status"}"#, "duplicate field `command`"),
        (r#"{"command":"status","params":{"all":1,"all":2}}"#, "duplicate field `all`"),
        (r#"{"command":"status"} x"#, "trailing characters"),
        (r#"{"command":"status""#, "EOF while parsing"),
    ];
    for (text, detail) in table {
        let fault = fault(text);
        assert!(fault.starts_with("Invalid command format: ") && fault.contains(detail), "{fault}");
    }
    assert!(fault(b"{\"command\":\"\xff\"}").contains("invalid unicode"));
    assert!(fault(format!(r#"{{"{}":1}}"#, "x".repeat(100_000))).len() < 2000);
}

#[test]
fn deep_nesting_is_no_danger() {
    let deep = |inner: &str| format!(r#"{{"command":"status","params":{{{inner}}}}}"#);
    let depth = 400_000;
    let open = "[".repeat(depth);
    let whole = format!("{open}{}", "]".repeat(depth));
    assert_eq!(
        error(&deep(&format!(r#""all":{whole}"#))),
        "parameter all must be true or false",
        "skipped, not kept and not climbed into"
    );
    assert!(command(&deep(&format!(r#""other":{whole}"#))).is_ok());
    for broken in [deep(&format!(r#""all":{open}"#)), deep(&format!(r#""other":{open}"#)), open] {
        assert!(fault(broken).starts_with("Invalid command format: "));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_text_after_a_good_start_makes_it_panic(text in r#"\{"command":"(status|logs)",?[\[\]{}":,a-z0-9\\]{0,40}"#) {
        let _ = parse(text.as_bytes());
    }
}

#[test]
fn a_panic_needs_to_be_told_of_whom() {
    for params in ["{}", r#"{"actor":""}"#, r#"{"actor":7}"#] {
        let text = format!(r#"{{"command":"chaos-panic","params":{params}}}"#);
        assert_eq!(error(&text), "actor parameter required", "{text}");
    }
    let nobody = r#"{"command":"chaos-panic","params":{"actor":"instance"}}"#;
    assert_eq!(error(nobody), "model_name parameter required");
}
