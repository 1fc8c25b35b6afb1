//! Defaults below the file, the file below variables, variables below flags; and models over their backend.

use std::path::Path;
use std::time::Duration;

use symphony::settings::model::{LaunchForm, LogForm, LogLevel, Transport};
use symphony::settings::policy::{HealthCheck, Readiness};

use super::world::{World, assert_line, model, toml};

#[test]
fn without_a_file_the_embedded_engine_counts() {
    let settings = World::new().settings();
    assert_eq!(settings.source, None);
    assert_eq!(settings.endpoints.client_handshake, "ipc:///tmp/symphony-ipc");
    assert_eq!(settings.endpoints.cli_management, "ipc:///tmp/symphony-cli");
    let names: Vec<_> = settings.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["builtin-a", "builtin-b"]);
    assert_eq!(settings.models[0].fullname.as_deref(), Some("symphony/builtin-a"));
    assert_eq!(settings.models[0].backend.as_ref().expect("has one").launch, LaunchForm::Embedded);
}

#[test]
fn variables_go_over_the_file_and_flags_over_both() {
    let file = "[logging]\nlevel = 'DEBUG'\n[service]\nbackend_path = 'a'\n[model_backends.gguf]\nscript = 'a.py'\n[[supported_models]]\nname = 'm'\ntype = 'gguf'";
    let mut world = toml(file)
        .with_variable("SYMPHONY__LOGGING__LEVEL", "error")
        .with_variable("SYMPHONY__SERVICE__BACKEND_PATH", "b")
        .with_variable("SYMPHONY__MODEL_BACKENDS__GGUF__RESTART__MAX_CONSECUTIVE_FAILURES", "9")
        .with_variable("SYMPHONY_CONFIG", "not-read.toml");
    let settings = world.settings();
    assert_eq!(settings.logging.level, LogLevel::Error);
    assert_eq!(settings.service.backend_path, Some(world.path().join("b")));
    let spec = model(&settings, "m").backend.as_ref().expect("has one");
    assert_eq!(spec.restart.max_consecutive_failures, 9);

    world.sources.overrides.log_level = Some(LogLevel::Warning);
    world.sources.overrides.log_format = Some(LogForm::Json);
    world.sources.overrides.backend_path = Some("c".into());
    let loaded = world.load().expect("good");
    assert_eq!(loaded.settings.logging.level, LogLevel::Warning);
    assert_eq!(loaded.settings.logging.form, LogForm::Json);
    assert_eq!(loaded.settings.service.backend_path, Some(world.path().join("c")));

    let text = loaded.effective.to_text();
    let file = world.path().join("symphony.toml");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_line(&lines, "level = \"WARNING\"  # flag --log-level");
    assert_line(
        &lines,
        "max_consecutive_failures = 9  # variable SYMPHONY__MODEL_BACKENDS__GGUF__RESTART__MAX_CONSECUTIVE_FAILURES",
    );
    assert_line(&lines, &format!("script = \"a.py\"  # file {}", file.display()));
    assert_line(&lines, "window_max = 20  # default");
    let json = loaded.effective.to_json();
    assert_eq!(json["origins"]["model_backends.gguf.script"], format!("file {}", file.display()));
    assert_eq!(json["configuration"]["logging"]["level"], "WARNING");
}

#[test]
fn a_wrong_value_of_a_variable_is_told_with_its_name() {
    let world = toml("")
        .with_variable("SYMPHONY__SERVICE__SPAWNS_AT_ONCE", "many")
        .with_variable("SYMPHONY__LOGIN__LEVEL", "INFO");
    let faults = world.faults();
    assert_line(
        &faults,
        "service.spawns_at_once: expected a whole number, found 'many' (variable SYMPHONY__SERVICE__SPAWNS_AT_ONCE)",
    );
    assert_line(&faults, "SYMPHONY__LOGIN__LEVEL: unknown key 'LOGIN', did you mean 'logging'?");
}

#[test]
fn paths_begin_where_they_are_written() {
    let mut world = World::new();
    let file = world.write("etc/symphony.toml", "[service]\nlog_dir = 'logs'\ninterpreter = 'venv/python'\nruntime_dir = '~/run'\n[model_backends.x]\ncommand = ['./serve', '{endpoint}']\nworking_dir = '.'\n[[supported_models]]\nname = 'm'\ntype = 'x'");
    world.sources.overrides.config = Some(file);
    world.sources.environment.push(("HOME".into(), "/home/u".into()));
    let settings = world.settings();
    let etc = world.path().join("etc");
    assert_eq!(settings.service.log_dir, etc.join("logs"));
    assert_eq!(settings.service.interpreter, etc.join("venv/python").to_str().expect("UTF-8"));
    assert_eq!(settings.service.runtime_dir, Path::new("/home/u/run"));
    let spec = model(&settings, "m").backend.as_ref().expect("has one");
    let LaunchForm::Command { argv } = &spec.launch else { panic!("a command") };
    assert_eq!(Path::new(&argv[0]), etc.join("./serve"));
    assert_eq!(spec.working_dir.as_deref(), Some(etc.join(".").as_path()));
}

#[test]
fn a_model_goes_over_its_backend_key_by_key() {
    let settings = toml(
        r#"
        [model_backends.x]
        script = "x.py"
        pass_model_name = false
        env = { A = "1", B = "1" }
        ready = { fd = 3 }
        restart = { max_consecutive_failures = 2, reset_after = "7s" }
        [[supported_models]]
        name = "plain"
        type = "x"
        [[supported_models]]
        name = "over"
        type = "x"
        command = ["serve", "{port}"]
        kind = "http"
        env = { B = "2" }
        ready = { http = "/v1/models" }
        restart = { max_consecutive_failures = 4 }
        autostart = true
        [[supported_models]]
        name = "own"
        type = "none"
        embedded = true
    "#,
    )
    .settings();
    let over = model(&settings, "over");
    let spec = over.backend.as_ref().expect("has one");
    assert!(over.autostart);
    assert_eq!(spec.launch, LaunchForm::Command { argv: vec!["serve".into(), "{port}".into()] });
    assert_eq!((spec.env["A"].as_str(), spec.env["B"].as_str()), ("1", "2"));
    assert_eq!(spec.start.ready, Readiness::Http { path: "/v1/models".into(), status: 200 });
    assert_eq!(spec.restart.max_consecutive_failures, 4);
    assert_eq!(spec.restart.reset_after, Duration::from_secs(7));
    let plain = model(&settings, "plain").backend.as_ref().expect("has one");
    assert_eq!(plain.launch, LaunchForm::Script { script: "x.py".into(), pass_model_name: false });
    assert_eq!(plain.restart.max_consecutive_failures, 2);
    assert_eq!(
        model(&settings, "own").backend.as_ref().expect("brings its own").launch,
        LaunchForm::Embedded
    );
}

#[test]
fn readiness_and_health_follow_the_kind() {
    let read = |keys: &str| {
        let file =
            format!("[model_backends.x]\n{keys}\n[[supported_models]]\nname = 'm'\ntype = 'x'");
        let settings = toml(&file).settings();
        let spec = model(&settings, "m").backend.as_ref().expect("has one").clone();
        (spec.transport, spec.start.ready.clone(), spec.health.check.clone())
    };
    let http_path = |path: &str| HealthCheck::Http { path: path.into() };
    let http_ready = |path: &str| Readiness::Http { path: path.into(), status: 200 };
    let http = "command = ['s', '{port}']\nkind = 'http'";
    assert_eq!(read("script = 'a.py'"), (Transport::Zmq, Readiness::Handshake, HealthCheck::Ping));
    assert_eq!(
        read("script = 'a.py'\nready = 'notify'"),
        (Transport::Zmq, Readiness::Notify, HealthCheck::Ping)
    );
    assert_eq!(read(http), (Transport::Http, http_ready("/health"), http_path("/health")));
    assert_eq!(read(&format!("{http}\nready = {{ http = '/v1' }}")).2, http_path("/v1"));
    assert_eq!(
        read(&format!("{http}\nready = {{ http = '/v1', status = 401 }}")).2,
        http_path("/health")
    );
    assert_eq!(
        read(&format!("{http}\nready = {{ delay = '5s' }}")),
        (Transport::Http, Readiness::Delay(Duration::from_secs(5)), HealthCheck::Tcp)
    );
    assert_eq!(
        read(&format!("{http}\nready = {{ fd = 3 }}\nhealth = {{ path = '/h' }}")).2,
        http_path("/h")
    );
    assert_eq!(read(&format!("{http}\nhealth = {{ check = 'none' }}")).2, HealthCheck::None);
}

#[test]
fn where_one_of_two_bounds_is_given_the_other_gives_way() {
    let settings = toml("[model_backends.x]\nscript = 'a.py'\nhealth = { every = '500ms' }\nrestart = { backoff_max = '100ms', cool_off = '2h' }\nstart = { total_timeout = '10s' }\n[[supported_models]]\nname = 'm'\ntype = 'x'").settings();
    let spec = model(&settings, "m").backend.as_ref().expect("has one");
    assert_eq!(spec.health.timeout, Duration::from_millis(500));
    assert_eq!(spec.restart.backoff_min, Duration::from_millis(100));
    assert_eq!(spec.restart.cool_off_max, Duration::from_secs(7200));
    assert_eq!(spec.start.stall_timeout, Duration::from_secs(10));
}

#[test]
fn a_backend_path_that_was_found_says_so() {
    let world = toml("[model_backends.x]\nscript = 'a.py'");
    assert_line(
        &world.settings().warnings,
        "service.backend_path: not set and not found; scripts cannot be started",
    );
    let path = world.path().join("backend/backend-python");
    std::fs::create_dir_all(&path).expect("made");
    let loaded = world.load().expect("good");
    assert_eq!(loaded.settings.service.backend_path.as_deref(), Some(path.as_path()));
    let lines: Vec<String> = loaded.effective.to_text().lines().map(str::to_owned).collect();
    assert_line(&lines, &format!("backend_path = \"{}\"  # found", path.display()));
}

#[test]
fn a_variable_does_not_hide_what_is_wrong_in_the_file() {
    let world = toml("logging = 'INFO'").with_variable("SYMPHONY__LOGGING__FORM", "json");
    assert_eq!(world.faults(), ["logging: expected a table, found 'INFO'"]);
}

#[test]
fn the_path_of_a_model_is_made_whole_where_it_can_only_be_a_path() {
    let models = ["~/m.gguf", "./m.gguf", "../m.gguf", "/m.gguf", "org/m", "m.gguf"].map(|path| {
        format!("[[supported_models]]\nname = '{path}'\ntype = 'x'\npath = '{path}'\n")
    });
    let mut world = World::new().with_variable("HOME", "/home/u");
    let text = format!("[model_backends.x]\nembedded = true\n{}", models.concat());
    let file = world.write("etc/symphony.toml", text);
    world.sources.overrides.config = Some(file);
    let settings = world.settings();
    let etc = world.path().join("etc").display().to_string();
    let paths: Vec<_> =
        settings.models.iter().map(|model| model.path.as_deref().expect("set")).collect();
    assert_eq!(
        paths,
        [
            "/home/u/m.gguf",
            &format!("{etc}/m.gguf"),
            &format!("{etc}/../m.gguf"),
            "/m.gguf",
            "org/m",
            "m.gguf"
        ]
    );
}
