//! The file with heart and guard alone.

use std::process::Command;
use std::time::Duration;

use symphony::heart::core::Rules;
use symphony::heart::options::{HeartOptions, LogOptions, ServiceProgram};

use crate::backend::until;
use crate::processes::{self, resident_kib_of};
use crate::service::Service;

fn program_of(pid: u32) -> Option<String> {
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(path.file_name()?.to_str()?.to_owned())
}

#[test]
fn the_heart_is_small_and_its_core_is_the_service() {
    let service = Service::through_heart(&[]);
    assert_eq!(program_of(service.pid()).as_deref(), Some("symphony-heart"));
    let before = service.core_pid();
    processes::signal(before, rustix::process::Signal::KILL);
    service.replaced(1);
    assert_eq!(program_of(service.core_pid()).as_deref(), Some("symphony"));
    // 5 MiB in a release; what is not optimized is larger
    let resident = resident_kib_of(service.pid());
    assert!(resident < 8 * 1024, "{resident} KiB");
    service.stop();
}

#[test]
fn a_file_of_another_release_leaves_its_work_to_the_services_own() {
    let folder = tempfile::tempdir().unwrap();
    let second = Duration::from_secs(1);
    let options = HeartOptions {
        folder: folder.path().join("run"),
        rules: Rules {
            wedge_timeout: 10 * second,
            start_timeout: 10 * second,
            restarts: 0,
            period: second,
            end_timeout: second,
        },
        stop_grace: second,
        adoption_grace: second,
        log: LogOptions::default(),
        detach: false,
        service: Some(ServiceProgram {
            path: env!("CARGO_BIN_EXE_symphony").into(),
            version: "0.0.1".into(),
        }),
        // says nothing to its heart, and waits to be ended
        core: ["backend", "--ipc-endpoint", "ipc://b.sock"].map(Into::into).into(),
    };
    let mut heart = Command::new(env!("CARGO_BIN_EXE_symphony-heart"));
    heart.args(options.arguments()).current_dir(folder.path()).stderr(std::process::Stdio::null());
    let mut heart = heart.spawn().unwrap();
    until("the heart of the service's own file", || {
        program_of(heart.id()).filter(|program| program == "symphony")
    });
    until("its lock", || folder.path().join("run/service.pid").exists().then_some(()));
    processes::signal(heart.id(), rustix::process::Signal::TERM);
    heart.wait().unwrap();
    assert!(!folder.path().join("run").exists());
}
