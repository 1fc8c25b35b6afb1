//! Cgroups on a real kernel. Where this machine gives the tests no place for cgroups, they are named as left out: then
//! `SYMPHONY_TEST_CGROUP` may name one that was delegated, by its path as in `/proc/PID/cgroup`.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use symphony::ids::{Generation, ProcessKey};
use symphony::launcher::exit_cause::ExitCause;
use symphony::launcher::local::{LocalLauncher, LocalOptions, cgroup_obstacle};
use symphony::launcher::{ExitStatus, GroupSignal, Launcher};
use symphony::settings::policy::CgroupChoice;

use crate::bench::{Bench, runs, wait_until};

/// A cgroup for one test, in every hierarchy in which this machine has room for it.
struct Place {
    path: String,
    folders: Vec<PathBuf>,
}

impl Drop for Place {
    fn drop(&mut self) {
        for folder in &self.folders {
            let removed = std::fs::remove_dir(folder);
            assert!(removed.is_ok() || std::thread::panicking(), "{folder:?}: {removed:?}");
        }
    }
}

impl Place {
    /// A place where a file of this name limits something; without one the test is named on stderr as left out.
    fn with(test: &str, file: &str) -> Option<Self> {
        static PLACES: AtomicUsize = AtomicUsize::new(0);
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let given = std::env::var("SYMPHONY_TEST_CGROUP").ok();
        let name = format!("/symphony-test-{}-{number}", std::process::id());
        let path = format!("{}{name}", given.as_deref().unwrap_or_default());
        let mut folders = Vec::new();
        for (mount, own) in mounts() {
            // in a cgroup of somebody else's nothing is made, in the root of a hierarchy there is room beside others
            if given.is_some() || own == "/" {
                let folder = mount.join(path.trim_start_matches('/'));
                if std::fs::create_dir(&folder).is_ok() {
                    folders.push(folder);
                }
            }
        }
        let place = Self { path, folders };
        if place.folders.iter().any(|folder| folder.join(file).exists()) {
            return Some(place);
        }
        let told = format!(
            "left out: {test} (no cgroup with {file} is given to the tests; SYMPHONY_TEST_CGROUP may name one)\n"
        );
        // not by a macro: what those write is shown of failed tests only
        let _ = std::io::stderr().write_all(told.as_bytes());
        None
    }

    fn bench(&self) -> Bench {
        Bench::with(self.options())
    }

    fn options(&self) -> LocalOptions {
        LocalOptions { cgroup: CgroupChoice::At(self.path.clone()), ..LocalOptions::default() }
    }

    /// What launchers made below it.
    fn runs(&self) -> Vec<PathBuf> {
        self.folders.iter().flat_map(|folder| subfolders(folder)).collect()
    }

    /// What is there for single processes.
    fn cells(&self) -> Vec<PathBuf> {
        self.runs().iter().flat_map(|run| subfolders(run)).collect()
    }
}

fn subfolders(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Where hierarchies that can hold limits are mounted, with the cgroup of this process in them.
fn mounts() -> Vec<(PathBuf, String)> {
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount_of = |fits: &dyn Fn(&str, &str) -> bool| {
        mountinfo.lines().find_map(|line| {
            let (mount, filesystem) = line.split_once(" - ")?;
            let mut words = filesystem.split(' ');
            fits(words.next()?, words.nth(1)?)
                .then(|| mount.split(' ').nth(4).map(PathBuf::from))?
        })
    };
    let has = |list: &str, word: &str| list.split(',').any(|each| each == word);
    cgroup
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, own) = (fields.next()?, fields.next()?, fields.next()?);
            let mount = match controllers {
                "" => mount_of(&|kind, _| kind == "cgroup2"),
                _ if has(controllers, "memory") || has(controllers, "pids") => {
                    let first = controllers.split(',').next()?.to_owned();
                    mount_of(&|kind, options| kind == "cgroup" && has(options, &first))
                }
                _ => None,
            }?;
            Some((mount, own.to_owned()))
        })
        .collect()
}

#[test]
fn cgroup_catches_a_helper_with_its_own_session() {
    let test = "cgroup_catches_a_helper_with_its_own_session";
    let Some(place) = Place::with(test, "cgroup.procs") else { return };
    let bench = place.bench();
    let script = "setsid sleep 1000 & echo $!; setsid sh -c 'sleep 1000 & sleep 1000' & sleep 1000";
    let process = bench.start(bench.shell("a", script));
    let helper: u32 = process.first_line().parse().unwrap();
    assert!(runs(helper) && !place.cells().is_empty());
    wait_until("the helper's session", || session_of(helper) == Some(helper));

    bench.launcher.signal(&process.key, GroupSignal::Kill);
    bench.exit_of(&process.key);
    wait_until("the end of the helper", || !runs(helper));
    wait_until("the cgroup's removal", || place.cells().is_empty());
    drop(bench);
    assert_eq!(place.runs(), Vec::<PathBuf>::new(), "the launcher leaves nothing");
}

/// Field 6 of `/proc/PID/stat`.
fn session_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(3)?.parse().ok()
}

#[test]
fn cgroup_processes_limit_is_reported() {
    let Some(place) = Place::with("cgroup_processes_limit_is_reported", "pids.max") else { return };
    let bench = place.bench();
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait";
    let mut order = bench.shell("a", script);
    order.limits.processes = Some(4);
    let process = bench.start(order);
    let (status, cause, output) = bench.end_of(&process.key);
    assert_ne!(status, ExitStatus::Code(0), "{output:?}");
    let told = ExitCause::NearLimit("its limit of 4 processes was reached".into());
    assert_eq!(cause, Some(told), "{output:?}");
}

#[test]
fn what_a_cgroup_holds_is_not_limited_twice() {
    let test = "what_a_cgroup_holds_is_not_limited_twice";
    let Some(place) = Place::with(test, "pids.max") else { return };
    let bench = place.bench();
    let own = rustix::process::getrlimit(rustix::process::Resource::Nproc).current;
    let mut order = bench.shell("a", "ulimit -p 2>/dev/null || ulimit -u; cat /proc/self/cgroup");
    order.limits.processes = Some(50);
    let (_, output) = bench.run(order);
    let unlimited = own.map_or("unlimited".to_owned(), |own| own.to_string());
    assert_eq!(output[0], unlimited, "no rlimit");
    let inside = |line: &String| line.contains(&format!("{}/symphony-run-", place.path));
    assert!(output.iter().any(inside), "{output:?}");
}

#[test]
fn the_next_start_waits_until_the_cgroup_of_the_last_is_empty() {
    let test = "the_next_start_waits_until_the_cgroup_of_the_last_is_empty";
    let Some(place) = Place::with(test, "cgroup.procs") else { return };
    let bench = place.bench();
    // a folder below keeps a cgroup from being removed, as a process does that the kernel holds
    let end_with_rest = |generation: u64| {
        let mut order = bench.shell("a", "exec sleep 1000");
        order.key.generation = Generation(generation);
        let process = bench.start(order);
        let rests: Vec<_> = place.cells().iter().map(|cell| cell.join("rest")).collect();
        rests.iter().for_each(|rest| std::fs::create_dir(rest).unwrap());
        bench.launcher.signal(&process.key, GroupSignal::Kill);
        bench.exit_of(&process.key);
        rests
    };
    let next = |generation: u64| {
        let mut order = bench.shell("a", "exec sleep 1000");
        order.key.generation = Generation(generation);
        let key = order.key.clone();
        bench.launcher.spawn(order);
        key
    };
    let is_started = |key: &ProcessKey| {
        place
            .cells()
            .iter()
            .any(|cell| cell.ends_with(format!("{}-{}", key.instance, key.generation)))
    };

    let rests = end_with_rest(1);
    let second = next(2);
    // orders are taken one after the other: this one came later
    bench.start(bench.shell("b", "exec sleep 1000"));
    assert!(!is_started(&second), "{:?}", place.cells());
    rests.iter().for_each(|rest| std::fs::remove_dir(rest).unwrap());
    wait_until("the second start", || is_started(&second));

    bench.launcher.signal(&second, GroupSignal::Kill);
    bench.exit_of(&second);
    wait_until("the cgroup's removal", || !is_started(&second));
    let rests = end_with_rest(3);
    let fourth = next(4);
    assert!(bench.live().contains(&fourth), "who asks for all is told of all that was ordered");
    rests.iter().for_each(|rest| std::fs::remove_dir(rest).unwrap());
}

#[test]
fn cgroup_memory_limit_is_reported() {
    let test = "cgroup_memory_limit_is_reported";
    let (v1, v2) = ("memory.limit_in_bytes", "memory.max");
    let file = if mounts().iter().any(|(mount, _)| mount.ends_with("memory")) { v1 } else { v2 };
    let Some(place) = Place::with(test, file) else { return };
    let bench = place.bench();
    let limited = |model: &str, script: &str| {
        let mut order = bench.shell(model, script);
        order.limits.memory = Some(64 << 20);
        bench.run_to_its_cause(order)
    };
    let limit = Some(ExitCause::Limit("memory limit 64MiB".into()));
    let grows = "head -c 500000000 /dev/zero | tail -n 1 >/dev/null";
    assert_eq!(limited("a", &format!("{grows}; exit 137")), limit);
    // by version 2 the shell is killed along
    if file == v1 {
        let told = "after the kernel killed 1 of its processes at its memory limit 64MiB";
        let near = Some(ExitCause::NearLimit(told.into()));
        assert_eq!(limited("b", &format!("{grows}; exit 3")), near);
    }
}

#[test]
fn a_configured_cgroup_that_is_not_there_refuses_the_start() {
    let nowhere = CgroupChoice::At("/no/such/cgroup/anywhere".into());
    let told = cgroup_obstacle(&nowhere).unwrap();
    assert!(told.contains("/no/such/cgroup/anywhere does not exist"), "{told}");
    let options = LocalOptions { cgroup: nowhere, ..LocalOptions::default() };
    let error = LocalLauncher::start(options).unwrap_err().to_string();
    assert!(error.contains("/no/such/cgroup/anywhere cannot be used"), "{error}");
    assert_eq!(cgroup_obstacle(&CgroupChoice::Auto), None);
}

#[test]
fn a_dead_runs_empty_cgroups_are_removed_and_live_ones_stay() {
    let test = "a_dead_runs_empty_cgroups_are_removed_and_live_ones_stay";
    let Some(place) = Place::with(test, "cgroup.procs") else { return };
    // pid 1 is there, and was not started at tick 5
    let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
    let dead = place.folders[0].join(format!("symphony-run-{namespace}-1-5-0"));
    std::fs::create_dir_all(dead.join("a-1")).unwrap();
    let kept = dead.join("b-1");
    std::fs::create_dir(&kept).unwrap();
    let mut survivor = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(kept.join("cgroup.procs"), survivor.id().to_string()).unwrap();
    drop(place.bench());
    let left = subfolders(&dead);
    survivor.kill().unwrap();
    survivor.wait().unwrap();
    assert_eq!(left, std::slice::from_ref(&kept), "a backend may outlive its service");
    wait_until("the folders' removal", || {
        std::fs::remove_dir(&kept).is_ok() && std::fs::remove_dir(&dead).is_ok()
    });
}
