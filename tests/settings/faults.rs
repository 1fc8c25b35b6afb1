//! All faults of a configuration are told at once, each with its place and the way out.

use super::world::{assert_line, json, toml};

#[test]
fn all_faults_in_one_go() {
    let faults = toml(
        r#"
        colour = true
        [endpoints]
        client_handshake = "udp://x"
        [logging]
        level = "LOUD"
        [service]
        drain_timeout = 30
        spawns_at_once = 0
        [model_backends.gguf]
        command = ["llama-server", "--port", "{prot}"]
        kind = "htp"
        working_dir = 5
        restart = { max_fails = 3, class = "permament", jitter = 1.5, backoff_min = "2m", backoff_max = "1s" }
        health = { every = "1s", timeout = "2s", misses = 0 }
        ready = { http = "health", fd = 3 }
        limits = { memory = "16" , nice = 99 }
        [model_backends.both]
        command = ["x"]
        script = "y.py"
        [model_backends.out]
        script = "../../etc/passwd"
        [[supported_models]]
        name = "a"
        type = "gguf"
        [[supported_models]]
        name = "a"
        type = "gguf"
        autostart = "yes"
        [[supported_models]]
        fullname = "no/name"
        type = "out"
    "#,
    )
    .faults();
    for expected in [
        "colour: unknown key",
        "endpoints.client_handshake: 'udp://x' is no address; write ipc:// with a path, or tcp://host:port",
        "logging.level: 'LOUD' is no log level; it is one of DEBUG, INFO, WARNING, ERROR",
        "service.drain_timeout: a duration needs a unit, as in '30s' or '30ms'",
        "service.spawns_at_once: must be at least 1, found 0",
        "model_backends.gguf.command[2]: unknown placeholder '{prot}', did you mean 'port'?",
        "model_backends.gguf.kind: expected one of 'zmq', 'http', found 'htp', did you mean 'http'?",
        "model_backends.gguf.working_dir: expected a text, found 5",
        "model_backends.gguf.restart.max_fails: unknown key, did you mean 'max_consecutive_failures'?",
        "model_backends.gguf.restart.class: expected one of 'permanent', 'transient', 'temporary', found 'permament', did you mean 'permanent'?",
        "model_backends.gguf.restart.jitter: must be at most 1.0, found 1.5",
        "model_backends.gguf.restart.backoff_min: 2m is longer than restart.backoff_max with 1s",
        "model_backends.gguf.health.misses: must be at least 1, found 0",
        "model_backends.gguf.health.timeout: 2s is longer than health.every with 1s",
        "model_backends.gguf.ready: needs exactly one of 'http', 'fd', 'delay'",
        "model_backends.gguf.limits.memory: a size needs a unit, as in '16MiB' or '16B'",
        "model_backends.gguf.limits.nice: must be at most 19, found 99",
        "model_backends.both: needs exactly one of 'command', 'script', 'embedded = true'",
        "model_backends.out.script: '../../etc/passwd' leaves the backend path; use 'command' for a program elsewhere",
        "supported_models[1].name: is the name of supported_models[0], too",
        "supported_models[1].autostart: expected true or false, found 'yes'",
        "supported_models[2].name: required key is missing",
    ] {
        assert_line(&faults, expected);
    }
    assert_eq!(faults.len(), 22, "{}", faults.join("\n"));
}

#[test]
fn their_text_has_one_line_for_each_and_names_the_file() {
    let world = toml("a = 1\nb = 2\n");
    let text = world.load().expect_err("faulty").to_string();
    let file = world.path().join("symphony.toml");
    assert_eq!(
        text,
        format!(
            "Configuration {} has 2 faults:\n  a: unknown key\n  b: unknown key",
            file.display()
        )
    );
}

#[track_caller]
fn backend_fault(backend: &str, expected: &str) {
    let faults = toml(&format!("[model_backends.x]\n{backend}\n")).faults();
    assert_eq!(faults, [format!("model_backends.x{expected}")]);
}

#[test]
fn a_command_fits_its_kind() {
    backend_fault(
        "command = ['s']\nkind = 'http'",
        ".command: kind \"http\" needs '{port}' (or '{endpoint}') in its command: Symphony picks the port",
    );
    backend_fault(
        "command = ['s', '{port}']",
        ".command: '{port}' is for kind \"http\"; kind \"zmq\" has '{endpoint}'",
    );
    backend_fault("command = []", ".command: must not be empty");
    backend_fault("command = ['']", ".command[0]: the program is empty");
    backend_fault("command = ['a', \"\\u0000\"]", ".command[1]: an argument holds no NUL");
    backend_fault("command = ['a', 5]", ".command[1]: expected a text, found 5");
    backend_fault(
        "command = ['a', '{']",
        ".command[1]: a single '{' in '{'; a brace itself is written twice",
    );
    backend_fault(
        "embedded = true\nkind = 'http'\nhealth = { check = 'none' }",
        ".kind: the embedded engine speaks \"zmq\"",
    );
    backend_fault(
        "embedded = false",
        ": needs exactly one of 'command', 'script', 'embedded = true'",
    );
    backend_fault(
        "embedded = true\npass_model_name = true",
        ".pass_model_name: is for a script; a command names '{fullname}' where it wants it",
    );
}

#[test]
fn readiness_and_health_fit_the_kind() {
    backend_fault(
        "script = 'a.py'\nready = 'http'",
        ".ready: 'http' and 'tcp' ask a port, which only kind \"http\" has",
    );
    backend_fault("script = 'a.py'\nready = { fd = 2 }", ".ready.fd: must be at least 3, found 2");
    backend_fault(
        "script = 'a.py'\nready = { status = 200, fd = 3 }",
        ".ready.status: needs 'http' beside it",
    );
    backend_fault(
        "script = 'a.py'\nready = { delay = 5 }",
        ".ready.delay: a duration needs a unit, as in '5s' or '5ms'",
    );
    backend_fault("script = 'a.py'\nready = 5", ".ready: expected a text or a table, found 5");
    backend_fault(
        "script = 'a.py'\nready = 'hanshake'",
        ".ready: expected one of 'handshake', 'http', 'tcp', 'notify', found 'hanshake', did you mean 'handshake'?",
    );
    backend_fault(
        "script = 'a.py'\nhealth = { check = 'tcp' }",
        ".health.check: 'http' and 'tcp' ask a port, which only kind \"http\" has",
    );
    backend_fault(
        "script = 'a.py'\nhealth = { check = 'ping', path = '/x' }",
        ".health.path: is for check = \"http\"",
    );
    let http = "command = ['s', '{port}']\nkind = 'http'";
    backend_fault(
        &format!("{http}\nready = 'handshake'"),
        ".ready: the handshake is for kind \"zmq\"; kind \"http\" has 'http' and 'tcp'",
    );
    backend_fault(
        &format!("{http}\nready = {{ http = 'x' }}\nhealth = {{ check = 'none' }}"),
        ".ready.http: must begin with '/'",
    );
    backend_fault(
        &format!("{http}\nhealth = {{ path = \"/a\\r\\nX: y\" }}"),
        ".health.path: holds a space, a control character or a letter that must be percent-encoded",
    );
    backend_fault(
        &format!("{http}\nhealth = {{ check = 'ping' }}"),
        ".health.check: 'ping' is for kind \"zmq\"; kind \"http\" has 'http', 'tcp' and 'none'",
    );
}

#[test]
fn policies_that_cannot_work_are_refused() {
    backend_fault(
        "script = 'a.py'\nrestart = { window_max = 20, window_period = '1m', backoff_min = '30s', reset_after = '1m' }",
        ".restart.window_period: can never count 21 restarts: with these delays they need at least 13m 48s; make it longer or window_max smaller",
    );
    backend_fault(
        "script = 'a.py'\nrestart = { on_give_up = 'retry', backoff_max = '0s' }",
        ".restart.backoff_max: with on_give_up = \"retry\" restarts go on for ever at this delay: it must be at least 100ms",
    );
    backend_fault(
        "script = 'a.py'\nrestart = { cool_off = '0s' }",
        ".restart.cool_off: must be at least 1s, found 0s",
    );
    backend_fault(
        "script = 'a.py'\nrestart = { clean_codes = [3], fatal_codes = [3] }",
        ".restart.fatal_codes: 3 is one of clean_codes, too",
    );
    backend_fault(
        "script = 'a.py'\nrestart = { clean_codes = [256] }",
        ".restart.clean_codes[0]: must be at most 255, found 256",
    );
    backend_fault(
        "script = 'a.py'\nhealth = { timeout = '0s' }",
        ".health.timeout: must be at least 1ms, found 0s",
    );
    backend_fault(
        "script = 'a.py'\nstart = { stall_timeout = '2h', total_timeout = '1h' }",
        ".start.stall_timeout: 2h is longer than start.total_timeout with 1h",
    );
    backend_fault(
        "script = 'a.py'\nstop = { grace = '100y' }",
        ".stop.grace: '100y' is longer than 1year",
    );
    backend_fault(
        "script = 'a.py'\nlimits = { cpu_time = '1500ms' }",
        ".limits.cpu_time: the system counts in whole seconds",
    );
    backend_fault(
        "script = 'a.py'\nlog = { max_size = '1B' }",
        ".log.max_size: must be at least 4KiB, found 1B",
    );
    backend_fault(
        "script = 'a.py'\nenv = { 'A=B' = '1' }",
        ".env.\"A=B\": is no name of a variable",
    );
    backend_fault("script = 'a.py'\nenv = { A = 1 }", ".env.A: expected a text, found 1");
}

#[test]
fn scripts_stay_below_the_backend_path() {
    for script in ["../x.py", "/bin/sh", "a/../../x.py", ".."] {
        let faults = json(&format!(
            r#"{{"model_backends": {{"x": "{script}"}}, "endpoints": {{"client_handshake": "ipc:///tmp/a", "cli_management": "ipc:///tmp/b"}}}}"#
        ))
        .faults();
        assert!(
            faults[0].starts_with("model_backends.x.script:")
                && faults[0].contains("leaves the backend path"),
            "{faults:?}"
        );
    }
}

#[test]
fn endpoints_are_two_and_fit_a_socket() {
    let faults =
        toml(&format!("[endpoints]\nclient_handshake = 'ipc:///tmp/{}'", "x".repeat(110))).faults();
    assert_eq!(
        faults,
        ["endpoints.client_handshake: the socket's path has 115 bytes, at most 107 are allowed"]
    );
    let faults =
        toml("[endpoints]\nclient_handshake = 'ipc:///tmp/x'\ncli_management = 'ipc:///tmp//x'")
            .faults();
    assert_eq!(faults, ["endpoints.cli_management: is the address of client_handshake, too"]);
    let faults = toml(&format!("[service]\nmodel_socket_dir = '/{}'", "x".repeat(100))).faults();
    assert_eq!(
        faults,
        [
            "service.model_socket_dir: the sockets of models do not fit in: the socket's path has 125 bytes, at most 107 are allowed"
        ]
    );
    let settings = toml("[endpoints]\ncli_management = 'tcp://0.0.0.0:5000'").settings();
    assert!(settings.warnings[0].contains("other machines may reach"), "{:?}", settings.warnings);
}

#[test]
fn names_clash_with_names_and_full_names() {
    let model = |name: &str, fullname: &str| {
        format!("[[supported_models]]\nname = '{name}'\nfullname = '{fullname}'\ntype = 'x'\n")
    };
    let backend = "[model_backends.x]\nembedded = true\n";
    let faults = |models: &[String]| toml(&format!("{backend}{}", models.concat())).faults();
    assert_eq!(
        faults(&[model("a", "o/a"), model("b", "o/a")]),
        ["supported_models[1].fullname: leads to supported_models[0] and never to this model"]
    );
    assert_eq!(
        faults(&[model("a", "b"), model("b", "o/b")]),
        ["supported_models[0].fullname: leads to supported_models[1] and never to this model"]
    );
    let own = toml(&format!("{backend}{}", model("a", "a"))).settings();
    assert_eq!(own.models.len(), 1, "a model may have its name for a full name");
}

#[test]
fn a_command_that_names_the_path_wants_one() {
    let file = "[model_backends.x]\ncommand = ['s', '{model_dir}']\n[[supported_models]]\nname = 'm'\ntype = 'x'\n";
    assert_eq!(
        toml(file).faults(),
        [
            "supported_models[0].path: required key is missing: the command of its backend names '{model_dir}'"
        ]
    );
    assert!(toml(&format!("{file}path = '/m'")).load().is_ok());
}

#[test]
fn a_fault_laid_over_by_a_model_is_told_where_it_stands() {
    let file = "[model_backends.x]\nscript = 'a.py'\nrestart = { backoff_max = '1s' }\n[[supported_models]]\nname = 'm'\ntype = 'x'\n";
    let faults = toml(&format!("{file}restart = {{ backoff_min = '5s' }}")).faults();
    assert_eq!(
        faults,
        ["supported_models[0].restart.backoff_min: 5s is longer than restart.backoff_max with 1s"]
    );
    // what is wrong in the backend is told once, not again for each model
    let faults = toml(&format!("{}stop = {{ grace = '5s' }}", file.replace("'1s'", "1"))).faults();
    assert_eq!(
        faults,
        ["model_backends.x.restart.backoff_max: a duration needs a unit, as in '1s' or '1ms'"]
    );
}

#[test]
fn a_type_without_backend_names_the_nearest_one() {
    let models = "[[supported_models]]\nname = 'm'\ntype = 'ggfu'\n[[supported_models]]\nname = 'n'\ntype = 'else'\n";
    let faults = toml(&format!("[model_backends.gguf]\nembedded = true\n{models}")).faults();
    assert_eq!(
        faults,
        [
            "supported_models[0].type: there is no backend 'ggfu', did you mean 'gguf'?",
            "supported_models[1].type: there is no backend 'else'"
        ]
    );
    // a model with a launch of its own needs none
    assert!(toml(&models.replace("type", "command = ['x']\ntype")).load().is_ok());
    // a backend with faults is there
    for faulty in ["ggfu = 7\nelse.embedded = true", "ggfu = {}\nelse.embedded = true"] {
        let faults = toml(&format!("[model_backends]\n{faulty}\n{models}")).faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("model_backends.ggfu"), "{faults:?}");
    }
}

#[test]
fn a_user_who_cannot_reach_the_notify_socket_is_refused() {
    let told = toml(
        r#"
        [service]
        cgroup = "relative/path"
        [model_backends.a]
        command = ["x", "{endpoint}"]
        ready = "notify"
        limits = { user = "models" }
        [model_backends.b]
        embedded = true
        limits = { user = "" }
    "#,
    )
    .faults();
    for expected in [
        "service.cgroup: 'relative/path' is neither \"auto\" nor \"off\" nor the path of a cgroup as in \"/symphony\"",
        "model_backends.a.limits.user: cannot reach the socket of ready = \"notify\", which lies in a private folder; use ready = { fd = 3 }",
        "model_backends.b.limits.user: ",
    ] {
        assert!(told.iter().any(|fault| fault.contains(expected)), "{expected}\n{told:#?}");
    }
}

/// Models of these names, each with its `after`.
fn hanging(models: &[(&str, &[&str])]) -> String {
    let models = models.iter().map(|(name, after)| {
        format!("[[supported_models]]\nname = {name:?}\ntype = \"x\"\nafter = {after:?}\n")
    });
    "[model_backends.x]\ncommand = [\"x\"]\n".to_owned() + &models.collect::<String>()
}

#[test]
fn groups_and_dependencies_are_checked_with_everything_else() {
    let models =
        hanging(&[("draft", &["drafft", "draft", "db", "db"]), ("target", &[]), ("db", &[])]);
    let groups = r#"
        [[groups]]
        name = "pair"
        strategy = "all_for_one"
        members = ["draft", "target", "nobody", "draft"]
        intensity = 1001
        period = "0s"
        sttrategy = "x"
        [[groups]]
        name = "pair"
        members = ["target"]
        [[groups]]
        name = ""
        members = []
        [[groups]]
        strategy = "one_for_all"
        [[groups]]
        name = "slow"
        members = ["db"]
        intensity = 1000
        period = "1m"
    "#;
    let faults = toml(&(models + groups)).faults();
    for expected in [
        "supported_models[0].after[0]: there is no model 'drafft', did you mean 'draft'?",
        "supported_models[0].after[1]: a model cannot be started after itself",
        "supported_models[0].after[3]: 'db' stands twice",
        "groups[0].strategy: expected one of 'one_for_one', 'one_for_all', 'rest_for_one', found 'all_for_one', did you mean 'one_for_all'?",
        "groups[0].members[2]: there is no model 'nobody'",
        "groups[0].members[3]: 'draft' stands twice",
        "groups[0].intensity: must be at most 1000, found 1001",
        "groups[0].period: must be at least 1s, found 0s",
        "groups[0].sttrategy: unknown key, did you mean 'strategy'?",
        "groups[1].name: is the name of groups[0], too",
        "groups[1].members[0]: 'target' is a member of groups[0] already, and a model is in one group at most",
        "groups[2].name: the name is empty",
        "groups[2].members: must not be empty",
        "groups[3].name: required key is missing",
        "groups[3].members: required key is missing",
    ] {
        assert_line(&faults, expected);
    }
    let slow = faults.iter().find(|fault| fault.starts_with("groups[4].period: 1m can never hold"));
    assert!(slow.is_some_and(|fault| fault.contains("the 1001 restarts")), "{faults:#?}");
    assert_eq!(faults.len(), 16, "{}", faults.join("\n"));
}

#[test]
fn circles_of_dependencies_are_told_once_with_their_way() {
    let circle = hanging(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("tail", &["a"])]);
    let faults = toml(&circle).faults();
    assert_eq!(
        faults,
        ["supported_models[0].after: a circle, in which each waits for the next: a -> b -> c -> a"]
    );

    // the order of a group is a dependency, too
    let group = |strategy: &str| {
        let models = hanging(&[("draft", &["target"]), ("target", &[])]);
        toml(&format!(
            "{models}[[groups]]\nname = \"pair\"\nstrategy = \"{strategy}\"\nmembers = [\"draft\", \"target\"]\n"
        ))
    };
    for strategy in ["one_for_all", "rest_for_one"] {
        assert_eq!(
            group(strategy).faults(),
            [
                "supported_models[0].after: a circle, in which each waits for the next: draft -> target -> draft"
            ]
        );
    }
    let settings = group("one_for_one").settings();
    assert_eq!(settings.models[0].group, Some(settings.groups[0].clone()));
    assert_eq!(settings.models[0].after[0].as_str(), "target");
}

#[test]
fn long_chains_of_dependencies_are_checked_at_once() {
    let names: Vec<_> = (0..5000).map(|n| format!("m{n}")).collect();
    let afters: Vec<_> =
        names[1..].iter().chain(&names[4000..4001]).map(|n| [n.as_str()]).collect();
    let models: Vec<_> =
        names.iter().zip(&afters).map(|(name, after)| (name.as_str(), &after[..])).collect();
    let faults = toml(&hanging(&models)).faults();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("supported_models[4000].after: a circle"), "{}", faults[0]);
    assert!(faults[0].ends_with("m4999 -> m4000"));
}
