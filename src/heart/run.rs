//! The heart's loop: one thread that waits for signals, for its core and for time, and does what the [core](super::core) decides.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, set_child_subreaper, setsid};

use super::binaries::Binaries;
use super::children::{Children, Collected, any_ended};
use super::core::{Core, Effect, Event};
use super::ending::{Ending, Round};
use super::guarding::Guard;
use super::hunt::{self, Hunt};
use super::leavings::Leavings;
use super::log::{Level, Log};
use super::manager::{Manager, Passed, take_sockets};
use super::notify::News;
use super::open_files;
use super::options::HeartOptions;
use super::pid_file::{PidFile, PidFileError, Role};
use super::process::{CoreProcess, ServiceFile};
use super::program::Program;
use super::protocol::{FromCore, FromHeart, Welcome};
use super::signals::Signals;
use super::store::{self, Store};
use crate::clock::{Clock, Moment};
use crate::limits;

/// Exit code of a detached heart that found another service in its runtime folder. Only `start-service --daemonize` sees it.
pub const IN_USE: u8 = 4;

/// Of heart and core in the same release.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// By which its lines are known.
const NAME: &str = "symphony-heart";

/// Runs a heart until its service ends.
pub fn run(mut options: HeartOptions) -> ExitCode {
    let log = Log::new(NAME, options.log.clone());
    if let Some(service) = options.service.take_if(|service| service.version != VERSION) {
        // this file was left from another release; the heart in the service's own file knows what it is told
        let mut own = Command::new(service.path);
        let error = own.arg0("symphony").args(options.arguments()).exec();
        log.write(Level::Error, &format!("cannot start: {error}"));
        return ExitCode::FAILURE;
    }
    let passed = take_sockets();
    if options.detach
        && let Err(errno) = setsid()
    {
        log.write(Level::Error, &format!("cannot leave the session of the terminal: {errno}"));
        return ExitCode::FAILURE;
    }
    // from the first moment on a stop is an orderly one
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            log.write(Level::Error, &format!("cannot listen for signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let lock = match PidFile::take(&options.folder, Role::Service, limits::GUARD_PATIENCE) {
        Ok(lock) => lock,
        Err(error) => {
            log.write(Level::Error, &format!("cannot start: {error}"));
            // whoever started a daemon waits for the other one, and reads nothing here
            let in_use = options.detach && matches!(error, PidFileError::Service { .. });
            return ExitCode::from(if in_use { IN_USE } else { 1 });
        }
    };
    match Heart::new(options, lock, signals, passed) {
        Ok(heart) => ExitCode::from(heart.live()),
        Err(error) => {
            log.write(Level::Error, &format!("cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}

struct Heart {
    options: HeartOptions,
    log: Log,
    lock: PidFile,
    clock: Clock,
    signals: Signals,
    core: Core,
    process: Option<CoreProcess>,
    /// Cores that let go, and live on for the clients that were connected to them.
    relays: Vec<CoreProcess>,
    binaries: Binaries,
    children: Children,
    store: Store,
    guard: Guard,
    manager: Manager,
    ending: Option<Ending>,
    /// Processes that the kernel holds are left.
    leaves_some: bool,
    orders: VecDeque<Effect>,
    exit: Option<u8>,
}

impl Heart {
    fn new(
        options: HeartOptions,
        lock: PidFile,
        signals: Signals,
        passed: Passed,
    ) -> io::Result<Self> {
        let log = Log::new(NAME, options.log.clone());
        let clock = Clock::start();
        let service = options.service.as_ref().map(|service| service.path.as_path());
        let binaries = Binaries::new(ServiceFile::find(service)?);
        // before anything is started that could leave somebody behind
        set_child_subreaper(Pid::from_raw(1))?;
        let guard = Guard::new(&options.folder, options.adoption_grace, options.log.clone())?;
        if let Err(error) = open_files::lift() {
            log.write(Level::Error, &format!("cannot lift the limit of open files: {error}"));
        }
        let mut store = Store::new(open_files::room());
        store.keep_own(store::LOCK, lock.as_fd().try_clone_to_owned()?);
        store.keep_own(store::GUARD, guard.pipe()?);
        passed.store(&mut store, &log);
        let rules = options.rules;
        let patience = rules.start_timeout.max(rules.wedge_timeout) + limits::HEART_KILL_WAIT;
        let manager = Manager::of_environment(patience, clock.now(), &log);
        let (core, orders) = Core::new(options.rules, options.stop_grace, clock.now());
        Ok(Self {
            log,
            options,
            lock,
            clock,
            signals,
            core,
            process: None,
            relays: Vec::new(),
            binaries,
            children: Children::default(),
            store,
            guard,
            manager,
            ending: None,
            leaves_some: false,
            orders: orders.into(),
            exit: None,
        })
    }

    /// Answers the exit code.
    fn live(mut self) -> u8 {
        loop {
            self.keep_guard();
            self.carry_out();
            if let Some(code) = self.exit {
                self.leave();
                return code;
            }
            self.wait();
            let seen = self.signals.take();
            if seen.stops > 0 {
                self.tell_end();
            }
            for _ in 0..seen.stops {
                self.on(Event::StopAsked);
            }
            if seen.reload
                && let Some(process) = &self.process
            {
                process.signal(Signal::HUP);
            }
            self.listen();
            self.look_at_core();
            self.look_at_children();
            // last, when all is heard that was said before
            self.on(Event::Tick);
            if self.ending.is_some() {
                self.manager.is_well(self.clock.now());
            }
            self.manager.look(self.clock.now(), &self.log);
        }
    }

    /// Takes everything away, when nobody lives who needs it.
    fn leave(self) {
        let leavings = Leavings::read(&self.options.folder);
        if self.core.could_not_start() && leavings.as_ref().is_some_and(hunt::finds_any) {
            let grace = humantime::format_duration(self.options.adoption_grace);
            let said = format!(
                "models of the service before live: the guard ends them, unless a start takes them over within {grace}"
            );
            self.log.write(Level::Error, &said);
            // the end of this process is the guard's word to begin
            return;
        }
        self.guard.dismiss();
        // the next start knows by them what could not be ended
        if let Some(leavings) = leavings.filter(|_| !self.leaves_some) {
            leavings.clear();
        }
        self.lock.remove();
        // what is not ours keeps it
        let _ = std::fs::remove_dir(&self.options.folder);
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn on(&mut self, event: Event) {
        self.orders.extend(self.core.on(event, self.clock.now()));
    }

    fn wait(&self) {
        let now = self.now();
        let mut limit = limits::HEART_TICK;
        if self.ending.is_some() {
            limit = limits::HEART_END_EVERY;
        }
        let next_try = self.process.as_ref().and_then(CoreProcess::next_try);
        limit = next_try.map_or(limit, |retry| limit.min(retry));
        for deadline in self.core.deadline().into_iter().chain(self.manager.deadline()) {
            limit = limit.min(deadline.since(now));
        }
        let mut watched = Vec::with_capacity(6);
        watched.extend(self.signals.watched());
        if let Some(process) = &self.process {
            watched.push(PollFd::new(&process.pidfd, PollFlags::IN));
            if process.is_heard() {
                let wanted =
                    if process.has_mail() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
                watched.push(PollFd::new(&process.channel, wanted));
            }
        }
        let limit = Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        // a signal ends it early: it is looked at like everything else
        let _ = poll(&mut watched, Some(&limit));
    }

    // ---- the core ------------------------------------------------------------------------------------------------

    /// Takes all that the core said so far.
    fn listen(&mut self) {
        for _ in 0..limits::HEART_PACKETS_IN_A_ROW {
            let Some((message, along)) = self.process.as_mut().and_then(CoreProcess::hear) else {
                break;
            };
            self.heard(message, along);
        }
        if let Some(process) = &mut self.process {
            process.send(&self.store);
        }
        self.part_from_core();
    }

    /// A core that says no more after it named its successor has let go of everything but its clients.
    fn part_from_core(&mut self) {
        let has_let_go = self.process.as_ref().is_some_and(|process| !process.is_heard());
        if !has_let_go || !self.core.is_letting_go() {
            return;
        }
        self.relays.extend(self.process.take());
        self.children.forget_questions();
        self.on(Event::LetGo);
    }

    fn heard(&mut self, message: FromCore, along: Option<OwnedFd>) {
        match message {
            FromCore::Hello { .. } => self.welcome(),
            FromCore::Beat => {
                self.manager.is_well(self.clock.now());
                self.on(Event::Beat);
            }
            FromCore::Ready => {
                self.on(Event::Ready);
                let news = [News::MainPid(std::process::id()), News::Ready];
                self.manager.tell(&news, &self.log);
            }
            FromCore::Stopping => {
                self.on(Event::Stopping);
                self.tell_end();
            }
            FromCore::StopGrace { ms } => self.on(Event::StopGrace(Duration::from_millis(ms))),
            FromCore::Upgrade { binary, timeout_ms } => {
                let timeout = Duration::from_millis(timeout_ms);
                let program = self.binaries.keep(binary.into());
                self.on(Event::Upgrade { program, timeout });
            }
            FromCore::Hold { name } => {
                if let Err(error) = self.store.hold(name, along) {
                    self.log.write(Level::Error, &format!("a descriptor is not held: {error}"));
                }
            }
            FromCore::Release { name } => self.store.release(&name),
            FromCore::Collect { pid, start_ticks } => {
                if let Some(collected) = self.children.collect((pid, start_ticks)) {
                    self.answer(collected);
                }
            }
            FromCore::Reloading => self.manager.tell(&[News::Reloading], &self.log),
            FromCore::Reloaded => self.manager.tell(&[News::Ready], &self.log),
            FromCore::Status { text } => self.manager.tell(&[News::Status(&text)], &self.log),
            FromCore::Unknown => {}
        }
    }

    fn welcome(&mut self) {
        let now = self.now();
        let (notice, replaces) = (self.core.take_notice(), self.core.take_replaces());
        let Some(process) = &mut self.process else { return };
        process.welcomed = Some(now);
        for name in self.store.names() {
            process.tell(FromHeart::Held { name: name.clone() }, Some(name), &self.store);
        }
        let welcome = Welcome {
            heart_pid: std::process::id(),
            heart_version: VERSION.to_owned(),
            incarnation: self.core.incarnation(),
            restarts: self.core.restarts(),
            last_cause: self.core.last_cause().map(str::to_owned),
            replaces,
            notice,
        };
        process.tell(FromHeart::Welcome(welcome), None, &self.store);
    }

    fn answer(&mut self, Collected { who: (pid, start_ticks), ended }: Collected) {
        if let Some(process) = &mut self.process {
            process.tell(FromHeart::Collected { pid, start_ticks, ended }, None, &self.store);
        }
    }

    /// The service is going down, as somebody wanted or because it cannot go on.
    fn tell_end(&mut self) {
        let limit = self.options.rules.end_timeout + self.core.stop_grace();
        self.manager.tell_end(limit, &self.log);
    }

    fn look_at_core(&mut self) {
        self.relays.retain(|relay| relay.ended().is_none());
        let Some(ended) = self.process.as_ref().and_then(CoreProcess::ended) else { return };
        // its last words came before its end
        self.listen();
        self.process = None;
        self.children.forget_questions();
        self.on(Event::Ended(Some(ended)));
    }

    // ---- children ------------------------------------------------------------------------------------------------

    /// Those who have an owner: they are no backends.
    fn spared(&self) -> Vec<u32> {
        let core = self.process.as_ref().map(|process| process.pid);
        // at the end nobody is left to pass clients on to
        let relays = self.relays.iter().filter(|_| self.ending.is_none()).map(|relay| relay.pid);
        core.into_iter().chain(relays).chain(self.guard.pid()).collect()
    }

    fn look_at_children(&mut self) {
        let spared = self.spared();
        let now = self.now();
        let Some(ending) = &mut self.ending else {
            if any_ended() || self.children.keeps_any() {
                let welcomed = self.process.as_ref().and_then(|process| process.welcomed);
                for collected in self.children.sweep(&spared, welcomed, now) {
                    self.answer(collected);
                }
            }
            return;
        };
        match ending.step(&spared, now) {
            Round::Going => return,
            Round::Over => {}
            Round::Held(pids) => {
                self.leaves_some = true;
                let left = format!("processes that the kernel holds are left behind: {pids:?}");
                self.log.write(Level::Error, &left);
            }
        }
        self.ending = None;
        self.on(Event::AllGone);
    }

    fn keep_guard(&mut self) {
        if self.ending.is_some() || self.exit.is_some() {
            return;
        }
        if let Err(error) = self.guard.keep(self.clock.now()) {
            self.log.write(
                Level::Error,
                &format!(
                    "cannot start a guard: {error}; if heart and core were killed now, the models would live on"
                ),
            );
        }
    }

    // ---- orders --------------------------------------------------------------------------------------------------

    fn carry_out(&mut self) {
        while let Some(order) = self.orders.pop_front() {
            match order {
                Effect::Start(program) => self.start(&program),
                Effect::Kill => {
                    if let Some(process) = &self.process {
                        process.signal(Signal::KILL);
                    }
                }
                Effect::PassOnStop => {
                    if let Some(process) = &self.process {
                        process.signal(Signal::TERM);
                        // a frozen one hears it when it runs on
                        process.signal(Signal::CONT);
                    }
                }
                Effect::EndAll { grace } => {
                    let now = self.now();
                    self.tell_end();
                    match &mut self.ending {
                        Some(ending) => ending.hurry(grace, now),
                        None => {
                            let hunt = self.hunt();
                            self.ending = Some(Ending::begin(grace, hunt, now));
                        }
                    }
                }
                Effect::Exit(code) => self.exit = Some(code),
                Effect::Say(line) => self.log.write(Level::Error, &line),
            }
        }
    }

    /// For what was adopted from another heart.
    fn hunt(&self) -> Option<Hunt> {
        if self.core.could_not_start() {
            return None;
        }
        Leavings::read(&self.options.folder).map(|leavings| Hunt::for_strangers(&leavings))
    }

    fn start(&mut self, program: &Program) {
        self.manager.is_well(self.clock.now());
        if let Some(cause) = self.core.last_cause().filter(|_| self.core.incarnation() > 1) {
            let status = format!("the core is being replaced: {cause}");
            self.manager.tell(&[News::Status(&status)], &self.log);
        }
        let found = self.binaries.find(program);
        match found.and_then(|path| CoreProcess::start(&path, &self.options.core)) {
            Ok(process) => {
                let pid = process.pid;
                self.process = Some(process);
                self.binaries.keep_only(&self.core.programs());
                self.on(Event::Started { pid });
            }
            Err(error) => self.on(Event::StartFailed(error.to_string())),
        }
    }
}
