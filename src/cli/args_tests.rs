use super::*;

fn parse(line: &str) -> Result<Invocation, clap::Error> {
    let words = std::iter::once("symphony").chain(line.split_whitespace());
    Invocation::parse(words.map(OsString::from))
}

fn parsed(line: &str) -> Invocation {
    parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn the_definition_is_sound() {
    command().debug_assert();
}

#[test]
fn config_stands_before_or_after_the_command() {
    for line in ["--config F status", "status --config F", "--config G status --config F"] {
        assert_eq!(parsed(line).config, Some("F".into()), "{line}");
    }
    assert_eq!(parsed("config show --config F").config, Some("F".into()));
    assert_eq!(parsed("start-service --config F").config, Some("F".into()));
}

#[test]
fn config_of_load_model_is_the_models() {
    let invocation = parsed("--config F load-model m --config P");
    assert_eq!(invocation.config, Some("F".into()));
    let Command::LoadModel(args) = invocation.command else { panic!("another command") };
    assert_eq!(args.config_path.as_deref(), Some("P"));
    let Command::LoadModel(args) = parsed("load m --config-path P").command else {
        panic!("another command")
    };
    assert_eq!(args.config_path.as_deref(), Some("P"));
}

#[test]
fn short_names() {
    let pairs = [
        ("up", "StartService"),
        ("down", "StopService"),
        ("ps", "Status"),
        ("load m", "LoadModel"),
        ("unload m", "UnloadModel"),
        ("restart m", "RestartModel"),
        ("ls", "ListModels"),
    ];
    for (line, variant) in pairs {
        let command = format!("{:?}", parsed(line).command);
        assert!(command.starts_with(variant), "{line}: {command}");
    }
}

#[test]
fn flags_of_every_command_stand_anywhere() {
    let invocation = parsed("status --json --endpoint ipc:///tmp/x --timeout 300ms");
    assert!(invocation.flags.json);
    assert_eq!(invocation.flags.endpoint.as_deref(), Some("ipc:///tmp/x"));
    assert_eq!(invocation.flags.timeout, Some(Duration::from_millis(300)));
    assert_eq!(parsed("--timeout 5 status").flags.timeout, Some(Duration::from_secs(5)));
}

#[test]
fn wrong_usage_is_refused() {
    let lines = [
        "nonsense",
        "load-model",
        "load-model a b",
        "status --timeout never",
        "status --endpoint nowhere",
        "serve --log-level LOUD",
        "serve --log-format xml",
        "logs -n 999999 m",
        "logs -n -1 m",
        "completions sh",
        "config",
    ];
    for line in lines {
        let error = parse(line).expect_err(line);
        assert!(error.use_stderr(), "{line}");
    }
}

#[test]
fn log_levels_in_any_case() {
    for level in ["DEBUG", "warn", "Warning", "eRRor", "info"] {
        parsed(&format!("serve --log-level {level}"));
        parsed(&format!("start-service --daemonize --log-level {level}"));
    }
}
