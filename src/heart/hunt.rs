//! Finds and ends the processes of a dead service, wherever they stand by now.
//!
//! A process is the service's when it was started with the service's mark in its environment, which what it starts inherits;
//! when it is on record, with its start, and writes into its log file (programs that show a title wipe their environment); or
//! when the leader of its group is such a one. It is signalled by a descriptor, and looked at again once that is open: a pid that
//! passed on to somebody else in that moment is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::children::Who;
use super::leavings::{Leavings, Recorded};
use super::procfs::{self, Stat};
use crate::clock::{Clock, Moment};
use crate::limits;
use crate::state::files::SERVICE_MARK;

/// Ends everything that was left: TERM, and KILL after `grace`. Answers who is left: those that the kernel holds, or that
/// belong to another user.
pub fn end_all(leavings: &Leavings, grace: Duration) -> Vec<u32> {
    let clock = Clock::start();
    let mut hunt = Hunt::for_all(leavings);
    loop {
        let now = clock.now();
        let left = hunt.round(now.since_origin() >= grace);
        let is_over = now >= Moment::default() + grace + limits::HEART_KILL_WAIT;
        if left.is_empty() || is_over {
            return left;
        }
        std::thread::park_timeout(limits::HEART_END_EVERY);
    }
}

/// Whether any process lives that a service left.
pub fn finds_any(leavings: &Leavings) -> bool {
    let hunt = Hunt::for_all(leavings);
    procfs::all().into_iter().any(|pid| hunt.looked_at(pid, false).is_some())
}

/// See the module.
#[derive(Debug)]
pub struct Hunt {
    marks: BTreeSet<String>,
    recorded: Vec<Recorded>,
    /// Descendants of this process are spared: somebody else ends them.
    spares_own: bool,
    /// Who got a TERM.
    asked: BTreeSet<Who>,
    /// Leaders whose groups have members, with their starts. As long as there is a member, no new process gets the leader's pid.
    led: BTreeMap<u32, u64>,
}

impl Hunt {
    /// For all that was left, wherever it stands.
    pub fn for_all(leavings: &Leavings) -> Self {
        let (marks, recorded) = (leavings.marks.clone(), leavings.recorded.clone());
        Self { marks, recorded, spares_own: false, asked: BTreeSet::new(), led: BTreeMap::new() }
    }

    /// For what was left and does not descend from this process.
    pub fn for_strangers(leavings: &Leavings) -> Self {
        Self { spares_own: true, ..Self::for_all(leavings) }
    }

    /// Signals everybody that is there; answers who that was.
    pub fn round(&mut self, kill: bool) -> Vec<u32> {
        let mut found = BTreeSet::new();
        let mut groups = BTreeSet::new();
        let pids = procfs::all();
        // somebody else's by now, who came between two rounds
        self.led.retain(|leader, start| {
            procfs::stat(*leader).is_none_or(|stat| stat.start_ticks == *start)
        });
        for pid in &pids {
            let Some((stat, process)) = self.take_hold(*pid, false) else { continue };
            if stat.group == *pid {
                self.led.insert(*pid, stat.start_ticks);
            }
            self.signal(*pid, &stat, &process, kill);
            found.insert(*pid);
            groups.insert(stat.group);
        }
        // helpers that wiped their environment are still in the group of their leader, also when that one is gone
        for pid in pids {
            if found.contains(&pid) {
                continue;
            }
            let Some((stat, process)) = self.take_hold(pid, true) else { continue };
            self.signal(pid, &stat, &process, kill);
            found.insert(pid);
            groups.insert(stat.group);
        }
        self.led.retain(|leader, _| groups.contains(leader));
        found.into_iter().collect()
    }

    /// A descriptor of a process that is the service's, and what was seen of it while the descriptor held it.
    fn take_hold(&self, pid: u32, by_group: bool) -> Option<(Stat, OwnedFd)> {
        let stat = self.looked_at(pid, by_group)?;
        let process = pidfd_open(pid_of(pid)?, PidfdFlags::empty()).ok()?;
        let again = self.looked_at(pid, by_group)?;
        (again.start_ticks == stat.start_ticks).then_some((again, process))
    }

    fn looked_at(&self, pid: u32, by_group: bool) -> Option<Stat> {
        if pid == std::process::id() {
            return None;
        }
        let stat = procfs::stat(pid).filter(|stat| !stat.is_dead())?;
        let is_ours = (by_group && self.led.contains_key(&stat.group))
            || self.marks.iter().any(|mark| procfs::has_variable(pid, SERVICE_MARK, mark))
            || self.is_on_record((pid, stat.start_ticks));
        (is_ours && !(self.spares_own && procfs::descends_from_this(&stat))).then_some(stat)
    }

    fn is_on_record(&self, who: Who) -> bool {
        let on_record = self.recorded.iter().find(|recorded| recorded.who == who);
        on_record.is_some_and(|recorded| procfs::writes_into(who.0, recorded.log_file))
    }

    fn signal(&mut self, pid: u32, stat: &Stat, process: &OwnedFd, kill: bool) {
        // one that is gone needs none; one of another user cannot be told
        if kill {
            let _ = pidfd_send_signal(process, Signal::KILL);
        } else if self.asked.insert((pid, stat.start_ticks)) {
            let _ = pidfd_send_signal(process, Signal::TERM);
            // a frozen process takes the signal when it runs on
            let _ = pidfd_send_signal(process, Signal::CONT);
        }
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::path::Path;
    use std::process::{Child, Command};

    use super::*;
    use crate::ids::{Generation, InstanceId, ModelName};
    use crate::state::files::{FileIdentity, InstanceFile, ProcessFile, ServiceFile};
    use crate::state::folder::StateFolder;

    /// As a service of this mark leaves them, with these processes on record.
    fn leavings(folder: &Path, mark: &str, processes: Vec<ProcessFile>) -> Leavings {
        let state = StateFolder::make(&folder.join(crate::state::FOLDER)).expect("made");
        let clock = Clock::start();
        let service = ServiceFile {
            id: mark.to_owned(),
            boot_id: procfs::boot_id().expect("Linux"),
            started: clock.started(),
            last_event: 0,
            awaited: Default::default(),
            autostart: Default::default(),
        };
        state.write_service(&service).expect("written");
        for (n, process) in processes.into_iter().enumerate() {
            let model = ModelName::try_new(format!("m{n}")).expect("a name");
            let instance = InstanceId::of_model(&model);
            let file = InstanceFile { instance, record: None, process: Some(process) };
            state.write_instance(&file).expect("written");
        }
        Leavings::read(folder).expect("something")
    }

    fn start(mark: &str, script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env(SERVICE_MARK, mark).process_group(0);
        command.spawn().expect("started")
    }

    fn until(what: &str, mut so: impl FnMut() -> bool) {
        let clock = Clock::start();
        while !so() {
            assert!(clock.now().since_origin() < Duration::from_secs(30), "in vain: {what}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_marked_and_their_helpers_end_and_nobody_else() {
        let mark = uuid::Uuid::new_v4().to_string();
        let folder = tempfile::tempdir().expect("folder");
        let helper = folder.path().join("helper");
        // a helper in a session of its own, and one that forgot its environment
        let script =
            format!("setsid sleep 600 & env -i sleep 601 & echo $! > {}; wait", helper.display());
        let mut one = start(&mark, &script);
        let mut other = start("somebody else", "exec sleep 600");
        let mut forgetful = None;
        until("its helpers", || {
            forgetful = std::fs::read_to_string(&helper)
                .ok()
                .and_then(|pid| pid.trim().parse::<u32>().ok());
            let marked = procfs::all()
                .into_iter()
                .filter(|pid| procfs::has_variable(*pid, SERVICE_MARK, &mark));
            marked.count() >= 2
                && forgetful.is_some_and(|pid| !procfs::has_variable(pid, SERVICE_MARK, &mark))
        });
        // our own child stays a zombie until it is waited for
        let left = end_all(&leavings(folder.path(), &mark, vec![]), Duration::from_secs(20));
        assert_eq!(left, [0; 0]);
        assert_eq!(one.wait().expect("ended").signal(), Some(15));
        let forgetful = forgetful.expect("its pid");
        until("the end of who forgot its environment", || {
            procfs::stat(forgetful).is_none_or(|stat| stat.is_dead())
        });
        assert!(matches!(other.try_wait(), Ok(None)));
        other.kill().expect("killed");
        other.wait().expect("reaped");
    }

    #[test]
    fn a_deaf_helper_that_forgot_its_environment_outlives_its_leader_and_is_killed() {
        let folder = tempfile::tempdir().expect("folder");
        let mark = uuid::Uuid::new_v4().to_string();
        let helper = folder.path().join("helper");
        let deaf = "trap '' TERM; echo $$ > $0; while :; do sleep 0.05; done";
        let script = format!("env -i sh -c \"$DEAF\" {} & wait", helper.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("DEAF", deaf).env(SERVICE_MARK, &mark).process_group(0);
        let mut leader = command.spawn().expect("started");
        let mut deaf = None;
        until("its helper", || {
            let pid = std::fs::read_to_string(&helper).ok();
            deaf = pid.and_then(|pid| pid.trim().parse::<u32>().ok());
            deaf.is_some()
        });
        let left = end_all(&leavings(folder.path(), &mark, vec![]), Duration::from_millis(500));
        assert_eq!(left, [0; 0]);
        assert_eq!(leader.wait().expect("ended").signal(), Some(15));
        let deaf = deaf.expect("its pid");
        assert!(procfs::stat(deaf).is_none_or(|stat| stat.is_dead()));
    }

    #[test]
    fn who_descends_from_this_process_is_spared_where_that_is_wanted() {
        let folder = tempfile::tempdir().expect("folder");
        let mark = uuid::Uuid::new_v4().to_string();
        let helper = folder.path().join("helper");
        // one whose parent ends becomes a child of whoever reaps here, and is none of ours
        let script = format!("setsid sleep 600 & echo $! > {}", helper.display());
        let mut parent = start(&mark, &script);
        parent.wait().expect("reaped");
        let stranger = std::fs::read_to_string(&helper).expect("written");
        let stranger: u32 = stranger.trim().parse().expect("a pid");
        let mut own = start(&mark, "exec sleep 600");
        let leavings = leavings(folder.path(), &mark, vec![]);
        assert!(finds_any(&leavings));
        let mut hunt = Hunt::for_strangers(&leavings);
        until("the end of the stranger", || {
            let met = hunt.round(true);
            assert!(met.iter().all(|pid| *pid == stranger), "{met:?}");
            procfs::stat(stranger).is_none_or(|stat| stat.is_dead())
        });
        assert!(matches!(own.try_wait(), Ok(None)));
        own.kill().expect("killed");
        own.wait().expect("reaped");
        assert!(!finds_any(&leavings));
    }

    #[test]
    fn who_does_not_listen_is_killed() {
        let folder = tempfile::tempdir().expect("folder");
        let mark = uuid::Uuid::new_v4().to_string();
        let mut deaf = start(&mark, "trap '' TERM; while :; do sleep 0.1; done");
        until("its trap", || {
            procfs::stat(deaf.id()).is_some_and(|_| {
                let status = std::fs::read_to_string(format!("/proc/{}/status", deaf.id()))
                    .unwrap_or_default();
                // bit 14 of the mask; whoever runs the tests may have others ignored
                let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
                let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
                mask.is_some_and(|mask| mask >> 14 & 1 == 1)
            })
        });
        assert_eq!(
            end_all(&leavings(folder.path(), &mark, vec![]), Duration::from_millis(200)),
            [0; 0]
        );
        assert_eq!(deaf.wait().expect("ended").signal(), Some(9));
    }

    #[test]
    fn on_record_is_who_has_pid_and_start_and_writes_its_log() {
        let folder = tempfile::tempdir().expect("folder");
        let log = File::create(folder.path().join("a.log")).expect("made");
        let start = |log: &File| {
            let mut command = Command::new("sleep");
            command.arg("600").env_clear().env("PATH", "/usr/bin:/bin").process_group(0);
            command.stdout(log.try_clone().expect("copied")).spawn().expect("started")
        };
        let facts = log.metadata().expect("there");
        let other_log = File::create(folder.path().join("other.log")).expect("made");
        let (mut ours, mut forged, mut earlier) = (start(&log), start(&other_log), start(&log));
        let file = |child: &Child, ticks: u64| ProcessFile {
            service: "nobody".to_owned(),
            generation: Generation(1),
            pid: child.id(),
            start_ticks: procfs::stat(child.id()).expect("it runs").start_ticks + ticks,
            boot_id: procfs::boot_id().expect("Linux"),
            started: Clock::start().started(),
            log_path: folder.path().join("a.log"),
            log_file: FileIdentity { device: facts.dev(), inode: facts.ino() },
            socket_path: None,
            notify_path: None,
            details: serde_json::value::to_raw_value(&()).expect("JSON"),
        };
        let files = vec![file(&ours, 0), file(&forged, 0), file(&earlier, 1)];
        let leavings = leavings(folder.path(), "nobody", files);
        assert_eq!(end_all(&leavings, Duration::from_secs(20)), [0; 0]);
        assert_eq!(ours.wait().expect("ended").signal(), Some(15));
        for other in [&mut forged, &mut earlier] {
            assert!(matches!(other.try_wait(), Ok(None)));
            other.kill().expect("killed");
            other.wait().expect("reaped");
        }
    }
}
