//! The direction of imports, and the rooms of libraries.

use crate::sources::{Source, below, no_faults, text};

/// What a room may name of the crate besides itself: a room, or a part of one where the rest is no business of it.
///
/// Order of the rows: nobody names what stands below, but for `registry` and `instance`, who tell each other, and `chaos`,
/// which uses the command line's client.
const ROOMS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("clock", &[]),
    ("ids", &["limits"]),
    // what outlives the service: read by whoever comes after it
    ("state", &["clock", "ids", "limits"]),
    ("supervision", &["clock", "limits"]),
    // of the supervision layer it has the arithmetic alone
    ("heart", &["clock", "ids", "limits", "state", "supervision::backoff", "supervision::window"]),
    ("settings", &["ids", "limits"]),
    ("telemetry", &["clock", "limits", "settings"]),
    ("upgrade", &["clock", "limits"]),
    ("engine", &["limits", "protocols"]),
    ("probe", &["clock", "ids", "limits", "protocols"]),
    ("events", &["clock", "ids", "limits", "supervision"]),
    ("launcher", &["clock", "heart", "ids", "limits", "settings", "state", "supervision"]),
    (
        "registry",
        &[
            "clock",
            "ids",
            "instance::messages",
            "instance::state",
            "launcher::ExitStatus",
            "launcher::LastExit",
            "limits",
            "settings",
            "supervision",
        ],
    ),
    (
        "instance",
        &[
            "clock",
            "events::messages",
            "ids",
            "launcher",
            "limits",
            "probe",
            "registry",
            "settings",
            // the digest of an order, which records keep
            "state::envelope",
            "supervision",
        ],
    ),
    (
        "gateway",
        &[
            "clock",
            "events::messages",
            "ids",
            "instance::messages",
            "instance::state",
            "limits",
            "protocols",
            "registry",
            "settings",
            "supervision",
            "upgrade::outcome",
        ],
    ),
    (
        "root",
        &[
            "clock",
            "events",
            "gateway",
            "ids",
            "instance",
            "launcher",
            "limits",
            "probe",
            "registry",
            "settings",
            "supervision",
            "upgrade",
        ],
    ),
    (
        "app",
        &[
            "clock",
            "events",
            "gateway::doors",
            // at an upgrade: what is left of a gateway outlives the tree
            "gateway::zmq::RelayHandle",
            "gateway::zmq::messages",
            "gateway::heart_view",
            "gateway::zmq::listeners",
            "heart",
            "instance",
            "launcher",
            "limits",
            "probe",
            "registry",
            "root",
            "settings",
            // whether its folders are its own
            "state::ownership",
            "supervision",
            "upgrade",
        ],
    ),
    // looks at the service from outside, and asks it as the command line does
    (
        "chaos",
        &[
            "cli::client",
            "clock",
            "events::messages",
            "ids",
            "limits",
            "protocols",
            "supervision::tree",
        ],
    ),
    // a client of the service and its starter: data types of messages, never an actor
    (
        "cli",
        &[
            "app",
            "chaos",
            "clock",
            "engine",
            "events::messages",
            "heart",
            "instance::messages",
            // what the helper between the launcher and a backend says to the launcher
            "launcher::SHIM_FAILED",
            "launcher::SHIM_NOT_NOW",
            "launcher::SHIM_PREFIX",
            // what that helper becomes
            "launcher::account",
            // whether a core could read what another one wrote down
            "launcher::local::illegible",
            // whether it is worth another try
            "launcher::transience",
            "limits",
            "protocols",
            "settings",
            // the version of state files that a core writes
            "state",
            "supervision::tree",
            "telemetry",
            "upgrade",
        ],
    ),
    // doors for random input
    ("fuzzing", &["gateway::zmq::fuzzing", "limits", "probe::zmtp", "settings"]),
    ("main", &[]),
    ("heart_main", &[]),
    ("lib", &[]),
];

/// Who may name a library: beginnings of paths. `EVERYWHERE` for what has no place of its own.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("actix", ACTORS),
    ("actix_rt", ACTORS),
    ("anstyle", &["src/cli/"]),
    ("bytes", &["src/probe/http.rs"]),
    ("clap", &["src/cli/", "src/engine/mod.rs"]),
    ("clap_complete", &["src/cli/"]),
    ("clap_mangen", &["src/cli/"]),
    // jitter and plans of faults: what needs it holds a seeded one
    ("fastrand", &["src/chaos/", "src/cli/commands/chaos.rs", "src/instance/"]),
    ("futures_util", EVERYWHERE),
    ("http_body_util", &["src/probe/http.rs"]),
    ("humantime", EVERYWHERE),
    ("hyper", &["src/probe/http.rs"]),
    ("hyper_util", &["src/probe/http.rs"]),
    ("indicatif", &["src/cli/progress.rs"]),
    ("jiff", &["src/cli/times.rs", "src/telemetry/"]),
    ("jsonschema", &["src/settings/"]),
    // what makes an owner of a socket that came as a bare number
    ("listenfd", &["src/heart/activation.rs"]),
    ("mio", &["src/launcher/local/"]),
    // the signal mask, for which rustix has no safe call, names of users, which it does not know, and the end of a
    // descriptor that nobody owns
    (
        "nix",
        &["src/heart/activation.rs", "src/launcher/account.rs", "src/launcher/local/machine.rs"],
    ),
    // the wire: gateways, the prober's link, the embedded backend, and the command line as a client
    (
        "prost",
        &["src/chaos/load.rs", "src/cli/", "src/engine/", "src/gateway/zmq/", "src/probe/link.rs"],
    ),
    ("rustix", EVERYWHERE),
    ("schemars", &["src/settings/"]),
    ("serde", EVERYWHERE),
    ("serde_json", EVERYWHERE),
    // the ends of a backend, SIGCHLD, and a stop that comes before the service listens
    (
        "signal_hook",
        &[
            "src/cli/early_stop.rs",
            "src/cli/interruption.rs",
            "src/engine/serve.rs",
            "src/heart/",
            "src/launcher/",
        ],
    ),
    ("strsim", &["src/settings/"]),
    ("thiserror", EVERYWHERE),
    ("tokio", EVERYWHERE),
    ("toml", &["src/settings/"]),
    ("tracing", EVERYWHERE),
    // the service's log, and the few lines of a backend process
    ("tracing_subscriber", &["src/engine/mod.rs", "src/telemetry/"]),
    ("unicode_width", &["src/cli/table.rs"]),
    ("uuid", EVERYWHERE),
    // servers and clients of ZeroMQ; the prober has a client of its own (probe/zmtp.rs tells why)
    (
        "zmq",
        &["src/chaos/garbage.rs", "src/cli/client/", "src/engine/serve.rs", "src/gateway/zmq/"],
    ),
];

const EVERYWHERE: &[&str] = &["src/"];
/// Actors and those who start or reach them. Not the command line, the engine, the settings, the log.
const ACTORS: &[&str] = &[
    "src/app.rs",
    "src/app/",
    "src/events/",
    "src/gateway/",
    "src/instance/",
    "src/launcher/",
    "src/probe/",
    "src/registry/",
    "src/root/",
    "src/supervision/",
];

/// Parts of rustix and std with a place of their own.
const PARTS: &[(&str, &[&str])] = &[
    // processes: whoever starts, signals or becomes one; `umask` and `getuid` of this very process
    (
        "rustix::process",
        &[
            "src/chaos/",
            "src/cli/commands/demo.rs",
            "src/cli/daemon.rs",
            "src/cli/exec_shim.rs",
            "src/cli/interruption.rs",
            "src/cli/stage.rs",
            "src/engine/mod.rs",
            // whose a folder is that a killed service left
            "src/gateway/zmq/socket_file.rs",
            "src/heart/",
            "src/launcher/local/",
            "src/settings/sources.rs",
            // whether a folder is this user's
            "src/state/ownership.rs",
            "src/upgrade/",
        ],
    ),
    (
        "std::process::Command",
        &[
            "src/cli/exec_shim.rs",
            "src/cli/heart.rs",
            "src/heart/",
            "src/launcher/local/",
            "src/upgrade/",
        ],
    ),
    // decisions take moments; wall time is for people
    ("std::time::Instant", &[]),
    ("SystemTime", &["src/clock.rs", "src/telemetry/"]),
];

/// The paths below `crate::` that a line names, `registry::messages::InstanceView` for one.
fn own_paths(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").filter_map(move |(at, word)| {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        if line[..at].ends_with(|c| is_name(c) || c == '$') {
            return None;
        }
        let rest = &line[at + word.len()..];
        let end = rest.find(|c| !is_name(c) && c != ':').unwrap_or(rest.len());
        Some(rest[..end].trim_end_matches(':'))
    })
}

/// Whether a path names a library, and not a module of the same name.
fn names(line: &str, library: &str) -> bool {
    line.match_indices(library).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + library.len()..];
        let begins = before.is_none_or(|c| !c.is_alphanumeric() && !"_:.\"".contains(c));
        let used = line[..at].trim_end().ends_with("use") && after.starts_with(';');
        begins && (used || after.starts_with("::"))
    })
}

#[test]
fn rooms_name_only_what_lies_before_them() {
    let mut faults = Vec::new();
    for source in below(&["src"]) {
        let allowed = ROOMS.iter().find(|(room, _)| *room == source.room());
        let Some((room, allowed)) = allowed else {
            faults.push(format!("{}: a new room needs a row in ROOMS", source.path));
            continue;
        };
        for (number, line) in source.product() {
            for path in own_paths(line) {
                if path.is_empty() {
                    faults.push(format!("{}:{number}: one `use` for each room", source.path));
                    continue;
                }
                let is = |part: &str| path == part || path.starts_with(&format!("{part}::"));
                if !is(room) && !allowed.iter().any(|part| is(part)) {
                    faults.push(format!("{}:{number}: {room} must not name {path}", source.path));
                }
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn the_order_of_rooms_has_no_circle() {
    // whoever is named stands in an earlier row; the pairs that name each other are told above
    for (row, (room, allowed)) in ROOMS.iter().enumerate() {
        for part in *allowed {
            let named = part.split("::").next().unwrap_or(part);
            let at = ROOMS.iter().position(|(other, _)| *other == named);
            let is_generated = named == "protocols";
            let tells_each_other =
                [("registry", "instance"), ("chaos", "cli")].contains(&(*room, named));
            assert!(
                is_generated || tells_each_other || at.is_some_and(|at| at < row),
                "{room} names {part}, which stands later"
            );
        }
    }
}

#[test]
fn supervision_names_no_model_process_or_socket() {
    let mut faults = Vec::new();
    let strange =
        ["std::process", "std::net", "std::os", "std::fs", "tokio::net", "tokio::process"];
    let words = ["model", "backend", "socket", "endpoint", "zmq", "rustix", "nix"];
    for source in below(&["src/supervision"]) {
        for (number, line) in source.code() {
            let told = line.to_lowercase();
            let found = strange.iter().chain(&words).find(|word| told.contains(**word));
            if let Some(word) = found {
                faults.push(format!("{}:{number}: names {word}", source.path));
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut faults = Vec::new();
    for source in below(&["src"]) {
        for (number, line) in source.product() {
            for (library, places) in LIBRARIES.iter().chain(PARTS) {
                let named = if PARTS.iter().any(|(part, _)| part == library) {
                    line.contains(library)
                } else {
                    names(line, library)
                };
                if named && !places.iter().any(|place| source.path.starts_with(place)) {
                    faults.push(format!("{}:{number}: {library} has no place here", source.path));
                }
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn every_dependency_has_its_place() {
    let manifest: toml::Table = text("Cargo.toml").parse().expect("TOML");
    let dependencies = manifest["dependencies"].as_table().expect("a table");
    for name in dependencies.keys() {
        let library = name.replace('-', "_");
        assert!(
            LIBRARIES.iter().any(|(known, _)| *known == library),
            "{name} is a new dependency: give it a row in LIBRARIES"
        );
    }
    for (library, _) in LIBRARIES {
        assert!(
            dependencies.contains_key(*library)
                || dependencies.contains_key(&library.replace('_', "-")),
            "{library} is no dependency any more"
        );
    }
}

#[test]
fn the_rules_of_this_file_see_what_they_look_for() {
    let found: Vec<_> = own_paths("use crate::launcher::local::{A, B}; crate::limits::X").collect();
    assert_eq!(found, ["launcher::local", "limits::X"]);
    assert!(names("use zmq::Socket;", "zmq") && names("let a = zmq::poll(x);", "zmq"));
    assert!(!names("use crate::gateway::zmq::Doors;", "zmq") && !names("pub mod zmq;", "zmq"));
    let source = Source {
        path: "src/a.rs".into(),
        text: "use crate::b;\n// crate::c\n#[cfg(test)]\nmod tests {\n    use crate::d;\n}\n"
            .into(),
    };
    let product: Vec<_> = source.product().map(|(_, line)| line).collect();
    assert_eq!(product, ["use crate::b;"]);
    assert_eq!(source.room(), "a");
}
