//! The files for systemd: sound by its own judgement, and in agreement with the command line and the configuration.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use symphony::cli::args::Invocation;

use crate::left_out;

const SYSTEM: &str = "packaging/systemd/symphony.service";
const SOCKET: &str = "packaging/systemd/symphony.socket";
const USER: &str = "packaging/systemd/user/symphony.service";
const CONFIGURATION: &str = "packaging/systemd/symphony.toml";

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(project(path)).expect(path)
}

/// The values of a key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let pairs = unit.lines().filter_map(|line| line.split_once('='));
    pairs.filter(|(name, _)| *name == key).map(|(_, value)| value).collect()
}

fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    match values(unit, key)[..] {
        [value] => value,
        ref other => panic!("{key}: {other:?}"),
    }
}

/// What systemd has to say of unit files, with the program where cargo put it.
fn verdict(units: &[&str], is_for_user: bool) -> Option<String> {
    let folder = tempfile::tempdir().expect("folder");
    let mut command = Command::new("systemd-analyze");
    if is_for_user {
        command.arg("--user");
    }
    command.arg("verify").env("XDG_RUNTIME_DIR", folder.path());
    for unit in units {
        let path = folder.path().join(Path::new(unit).file_name().expect("a name"));
        let own = text(unit).replace("/usr/local/bin/symphony", env!("CARGO_BIN_EXE_symphony"));
        fs::write(&path, own).expect("written");
        command.arg(path);
    }
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("systemd-analyze: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    // systemd before 254 has not learned it and goes on without
    let lines = said.lines().filter(|line| !line.contains("'DelegateSubgroup'"));
    let told: Vec<_> = lines.map(str::to_owned).collect();
    Some(format!("{}{}", if output.status.success() { "" } else { "refused\n" }, told.join("\n")))
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    for (units, is_for_user) in [(&[SYSTEM, SOCKET][..], false), (&[USER], true)] {
        match verdict(units, is_for_user) {
            Some(told) => assert_eq!(told, "", "{units:?}"),
            None => {
                left_out("systemd_finds_no_fault_in_the_units", "there is no systemd-analyze");
            }
        }
    }
}

#[test]
fn commands_of_the_units_can_be_typed() {
    for unit in [SYSTEM, USER] {
        let unit = text(unit);
        let lines = unit.lines().filter_map(|line| line.split_once('='));
        let commands: Vec<_> =
            lines.filter(|(key, _)| key.starts_with("Exec")).map(|(_, line)| line).collect();
        assert!(commands.len() >= 2, "{commands:?}");
        for line in commands {
            let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(words[0], "/usr/local/bin/symphony");
            Invocation::parse(words.into_iter()).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}

#[test]
fn the_configuration_lies_where_the_unit_lets_it() {
    let unit = text(SYSTEM);
    let file = project(CONFIGURATION);
    let checked = Command::new(env!("CARGO_BIN_EXE_symphony"))
        .args(["config", "check"])
        .arg(&file)
        .output()
        .expect("run");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let configuration: toml::Table = text(CONFIGURATION).parse().expect("TOML");
    let (endpoints, service) = (&configuration["endpoints"], &configuration["service"]);
    let runtime = format!("/run/{}", value(&unit, "RuntimeDirectory"));
    let state = format!("/var/lib/{}", value(&unit, "StateDirectory"));
    for (path, place) in [
        (&endpoints["client_handshake"], format!("ipc://{runtime}/")),
        (&endpoints["cli_management"], format!("ipc://{runtime}/")),
        (&service["model_socket_dir"], runtime.clone()),
        (&service["runtime_dir"], format!("{runtime}/")),
        (&service["log_dir"], format!("{state}/")),
    ] {
        let path = path.as_str().expect("text");
        assert!(path.starts_with(&place), "{path} is not below {place}");
    }
    assert_eq!(value(&unit, "WorkingDirectory"), state);
}

#[test]
fn the_socket_unit_opens_the_endpoint_that_it_names() {
    let unit = text(SOCKET);
    let address = value(&unit, "ListenStream");
    let name = value(&unit, "FileDescriptorName");
    assert!(unit.contains(&format!("# endpoints.{name} = \"tcp://{address}\"")), "{unit}");
    assert!(text("docs/configuration.md").contains(&format!("`endpoints.{name}`")));
}

#[test]
fn models_outlive_the_main_process() {
    let (system, user) = (text(SYSTEM), text(USER));
    for unit in [&system, &user] {
        // others end the models with the main process, when it crashes or is stopped
        assert_eq!(value(unit, "KillMode"), "process");
        // "stop" would end all models for the memory of one
        assert_eq!(value(unit, "OOMPolicy"), "continue");
        assert_eq!(value(unit, "Type"), "notify");
        assert_eq!(value(unit, "Restart"), "on-failure");
    }
    // without them the next start would find other sockets and files than the models have
    assert_eq!(value(&system, "RuntimeDirectoryPreserve"), "yes");
    for key in ["PrivateTmp", "DynamicUser", "PrivateUsers", "PrivateIPC", "PrivateNetwork"] {
        assert!(values(&system, key).is_empty() && values(&user, key).is_empty(), "{key}");
    }
    // what models need: GPUs, just-in-time compilers, cgroups (ProtectClock closes devices, too)
    for key in ["PrivateDevices", "DevicePolicy", "ProtectClock", "MemoryDenyWriteExecute"] {
        assert!(values(&system, key).is_empty(), "{key}");
    }
    assert!(values(&system, "ProtectControlGroups").is_empty());
}
