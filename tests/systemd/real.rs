//! The unit under a real systemd: process 1 of a namespace of its own, with a cgroup of its own. Left out where the machine
//! does not allow that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::backend::{FAKE, until};
use crate::left_out;
use crate::open_place::OpenPlace;
use crate::processes;

const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// Makes the namespace a place for systemd: what it writes lies in memory, and its units in a folder of ours.
const ENTER: &str = r#"
set -e
mount --make-rprivate /
for place in /run /var/lib /var/cache /var/log; do mount -t tmpfs tmpfs $place; done
mkdir -p /run/systemd/system
mount --bind "$0" /run/systemd/system
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t proc proc /proc
exec env -i PATH="$PATH" container=other SYSTEMD_UNIT_PATH=/run/systemd/system \
    /usr/lib/systemd/systemd --system --unit=test.target --show-status=no
"#;

/// Targets that units name; systemd's own would bring half of the machine up.
const TARGETS: [&str; 7] =
    ["test", "sysinit", "basic", "shutdown", "network", "multi-user", "sockets"];

/// A machine that is run by systemd. Dropped, it is gone with all that runs in it.
struct Machine {
    place: OpenPlace,
    cgroup: PathBuf,
    child: Child,
    init: u32,
}

impl Machine {
    /// `None` where it cannot be had.
    fn start() -> Option<Self> {
        let users = fs::read_to_string("/etc/passwd").ok()?;
        let has_user = users.lines().any(|line| line.starts_with("daemon:"));
        if !rustix::process::geteuid().is_root() || !has_user || !Path::new(SYSTEMD).exists() {
            return None;
        }
        let cgroup = own_cgroup()?.join(format!("symphony-test-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&cgroup).ok()?;
        let place = OpenPlace::new();
        let units = place.path().join("units");
        fs::create_dir(&units).expect("made");
        for target in TARGETS {
            let unit = format!("[Unit]\nDescription={target}\nDefaultDependencies=no\n");
            fs::write(units.join(format!("{target}.target")), unit).expect("written");
        }
        let enter = "echo $$ >\"$0/cgroup.procs\" && exec unshare --pid --fork --mount --uts --ipc \
            --cgroup --kill-child bash -c \"$1\" \"$2\"";
        let mut command = Command::new("bash");
        command.args(["-c", enter]).arg(&cgroup).arg(ENTER).arg(&units);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("started");
        let mut machine = Self { place, cgroup, child, init: 0 };
        crate::backend::patiently(|| {
            if !matches!(machine.child.try_wait(), Ok(None)) {
                return Some(None);
            }
            machine.init = processes::children_of(machine.child.id()).first().copied()?;
            // it answers when it is up
            machine.says("systemctl is-system-running").contains("running").then_some(Some(()))
        })
        .flatten()
        .map(|()| machine)
    }

    /// Runs a command in it; answers all that it wrote.
    fn says(&self, command: &str) -> String {
        let mut entered = Command::new("nsenter");
        entered.args(["--target", &self.init.to_string(), "--all", "bash", "-c"]);
        let output = entered.arg(format!("{command} 2>&1")).output().expect("run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A property of the service.
    fn shows(&self, property: &str) -> String {
        self.says(&format!("systemctl show symphony --value --property {property}")).trim().into()
    }

    /// What `status` tells of it.
    fn status(&self) -> Option<Value> {
        let place = self.place.path().display();
        let symphony = format!("{place}/symphony --config {place}/symphony.toml --json status");
        let answer =
            self.says(&format!("setpriv --reuid daemon --regid daemon --clear-groups {symphony}"));
        serde_json::from_str(&answer).ok()
    }

    /// Waits until its model is ready; answers the process of the model and of the core.
    fn ready(&self) -> (u64, u64) {
        until("a ready model", || {
            let status = self.status()?;
            let model = &status["models"][0];
            (model["state"] == "ready").then_some(())?;
            Some((model["pid"].as_u64()?, status["pid"].as_u64()?))
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // it takes process 1 of its namespace along, and that all others
        let _ = self.child.kill();
        let _ = self.child.wait();
        let gone = crate::backend::patiently(|| remove(&self.cgroup).ok());
        if gone.is_none() {
            eprintln!("left behind: {}", self.cgroup.display());
        }
    }
}

/// Removes a cgroup and those below it, which are empty or about to be.
fn remove(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let path = entry?.path();
        if path.is_dir() {
            remove(&path)?;
        }
    }
    fs::remove_dir(cgroup)
}

/// The cgroup of this process in version 2.
fn own_cgroup() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let point = mount.split_whitespace().nth(4)?;
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(point).join(own))
}

/// Puts unit, program and configuration in place; the files are those of the project but for paths and the user.
fn install(machine: &Machine) {
    let project = |path: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
    };
    let place = machine.place.path();
    for (from, to) in [(env!("CARGO_BIN_EXE_symphony"), "symphony"), (FAKE, "fake")] {
        fs::copy(from, place.join(to)).expect("copied");
    }
    let path = |name: &str| place.join(name).display().to_string();
    let unit = project("packaging/systemd/symphony.service")
        .replace("/usr/local/bin/symphony", &path("symphony"))
        .replace("/etc/symphony/symphony.toml", &path("symphony.toml"))
        .replace("User=symphony", "User=daemon")
        .replace("Group=symphony", "Group=daemon");
    fs::write(place.join("units/symphony.service"), unit).expect("written");
    let configuration = format!(
        "{}\n[model_backends.fake]\ncommand = [\"{}\", \"--ipc-endpoint\", \"{{endpoint}}\"]\n\
         [[supported_models]]\nname = \"a\"\ntype = \"fake\"\nautostart = true\n",
        project("packaging/systemd/symphony.toml"),
        path("fake"),
    );
    fs::write(place.join("symphony.toml"), configuration).expect("written");
}

#[test]
fn under_systemd_models_outlive_core_and_heart_and_end_with_the_unit() {
    let Some(machine) = Machine::start() else {
        let test = "under_systemd_models_outlive_core_and_heart_and_end_with_the_unit";
        return left_out(test, "systemd cannot be run in a namespace here");
    };
    install(&machine);
    let started = machine.says("systemctl daemon-reload && systemctl start symphony && echo done");
    assert_eq!(started, "done\n", "{}", machine.says("systemctl status symphony"));
    let (model, core) = machine.ready();
    let heart = machine.shows("MainPID");
    until("its line for people", || {
        (machine.shows("StatusText") == "1 model: 1 ready").then_some(())
    });
    assert_eq!(machine.says("systemctl reload symphony && echo done"), "done\n");

    machine.says(&format!("kill -KILL {core}"));
    let replaced = until("another core", || Some(machine.ready()).filter(|now| now.1 != core));
    assert_eq!(replaced.0, model, "the same process of the model");
    assert_eq!(machine.shows("MainPID"), heart);

    machine.says(&format!("kill -KILL {heart}"));
    until("another heart", || {
        let is_up = machine.shows("ActiveState") == "active" && machine.shows("MainPID") != heart;
        is_up.then_some(())
    });
    let adopted = machine.ready();
    assert_eq!(adopted.0, model, "the same process of the model");
    assert_ne!(adopted.1, replaced.1);

    machine.says("systemctl stop symphony");
    assert_eq!(machine.shows("ActiveState"), "inactive");
    assert_eq!(machine.shows("Result"), "success");
    let members =
        "cat $(find /sys/fs/cgroup -path '*symphony.service*' -name cgroup.procs) </dev/null";
    assert_eq!(machine.says(members), "", "nobody is left");
    assert_eq!(machine.says("find /run/symphony -mindepth 1"), "", "what it left behind");
}
