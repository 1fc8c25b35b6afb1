//! The real `symphony serve` in a private folder, a manager's socket to it, and a look at what it leaves behind.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::expect_used, reason = "tests only")]

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::backend::{FAKE, until};
use crate::manager::Manager;
use crate::processes::{self, Mark};

/// A model of the configuration; its backend is the fake one unless told otherwise.
#[derive(Debug, Clone)]
pub struct Model(Value);

/// A model whose backend serves its endpoint and misbehaves by these flags.
pub fn fake(name: &str, flags: &[&str]) -> Model {
    let mut command = vec![FAKE, "--ipc-endpoint", "{endpoint}"];
    command.extend(flags);
    program(name, &command)
}

/// A model run by this command.
pub fn program(name: &str, command: &[&str]) -> Model {
    Model(json!({ "name": name, "type": "fake", "command": command }))
}

impl Model {
    /// A model that is run as its type says.
    pub fn of_type(name: &str, of_type: &str) -> Self {
        Self(json!({ "name": name, "type": of_type }))
    }

    /// The same with another key of its configuration set.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }

    /// Never asked for its health: every request that it counts comes from the test.
    #[must_use]
    pub fn unwatched(self) -> Self {
        self.with("health", json!({ "check": "none" }))
    }

    /// Loaded when the service starts.
    #[must_use]
    pub fn autostart(self) -> Self {
        self.with("autostart", json!(true))
    }
}

/// A running service. Dropping it kills it and everything that it started.
pub struct Service {
    folder: tempfile::TempDir,
    way: String,
    child: Child,
    status: Option<ExitStatus>,
    mark: Mark,
    manager: Manager,
}

impl Service {
    /// Starts a service with these models; it answers when this returns.
    pub fn start(models: &[Model]) -> Self {
        Self::start_with(models, |_| {})
    }

    /// The same with a changed configuration.
    pub fn start_with(models: &[Model], change: impl FnOnce(&mut Value)) -> Self {
        Self::launch_with(models, change, |_| {}).answers()
    }

    /// The same with a changed command.
    pub fn start_by(models: &[Model], command: impl FnOnce(&mut Command)) -> Self {
        Self::launch_with(models, |_| {}, command).answers()
    }

    /// Starts it through its heart, with patience for tests: two seconds without a beat, and a guard that waits as long. The
    /// process of the test is the heart then.
    pub fn through_heart(models: &[Model]) -> Self {
        Self::through_heart_with(models, |_| {})
    }

    /// The same in a process group of its own, as the command of a terminal is.
    pub fn through_heart_in_group(models: &[Model]) -> Self {
        use std::os::unix::process::CommandExt;
        Self::launch_as(
            "start-service",
            models,
            |_| {},
            |command| {
                command.process_group(0);
            },
        )
        .answers()
    }

    /// The same with lines for people going there.
    pub fn through_heart_onto(models: &[Model], stderr: std::io::PipeWriter) -> Self {
        let onto = |command: &mut Command| {
            command.stderr(stderr);
        };
        Self::launch_as("start-service", models, |_| {}, onto).answers()
    }

    /// The same where no more files than these may be open, as in a shell with a low limit that can be lifted.
    pub fn through_heart_with_open_files(models: &[Model], soft_limit: u64) -> Self {
        let limited = |command: &mut Command| {
            let script = format!("ulimit -S -n {soft_limit} && exec \"$0\" \"$@\"");
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(script).arg(command.get_program()).args(command.get_args());
            shell
                .env_clear()
                .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            shell.current_dir(command.get_current_dir().expect("a folder"));
            shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            *command = shell;
        };
        Self::launch_as("start-service", models, |_| {}, limited).answers()
    }

    /// Starts it through its heart and waits for nothing; `prepare` may put something into its folder before.
    pub fn launch_through_heart(models: &[Model], prepare: impl FnOnce(&Path)) -> Self {
        Self::launch_as(
            "start-service",
            models,
            |_| {},
            |command| {
                let folder = command.get_current_dir().expect("a folder");
                prepare(folder);
            },
        )
    }

    /// The same with a changed configuration.
    pub fn through_heart_with(models: &[Model], change: impl FnOnce(&mut Value)) -> Self {
        let change = |configuration: &mut Value| {
            configuration["service"]["heart"] =
                json!({ "wedge_timeout": "2s", "adoption_grace": "2s" });
            change(configuration);
        };
        Self::launch_as("start-service", models, change, |command| {
            command.arg("--allow-chaos");
        })
        .answers()
    }

    /// The same with both changed.
    pub fn start_all(
        models: &[Model],
        change: impl FnOnce(&mut Value),
        command: impl FnOnce(&mut Command),
    ) -> Self {
        Self::launch_with(models, change, command).answers()
    }

    /// The same, and waits for nothing.
    pub fn launch_all(
        models: &[Model],
        change: impl FnOnce(&mut Value),
        command: impl FnOnce(&mut Command),
    ) -> Self {
        Self::launch_with(models, change, command)
    }

    fn answers(self) -> Self {
        let mut service = self;
        service.manager.send("version", &json!({}));
        until("an answer of the service", || {
            if service.manager.has_more() {
                return Some(());
            }
            let ended = service.child.try_wait().expect("waited");
            assert!(ended.is_none(), "the service did not start");
            None
        });
        service.manager.receive();
        service
    }

    /// Starts a service and waits for nothing.
    pub fn launch(models: &[Model]) -> Self {
        Self::launch_with(models, |_| {}, |_| {})
    }

    fn launch_with(
        models: &[Model],
        change: impl FnOnce(&mut Value),
        command: impl FnOnce(&mut Command),
    ) -> Self {
        Self::launch_as("serve", models, change, command)
    }

    fn launch_as(
        way: &str,
        models: &[Model],
        change: impl FnOnce(&mut Value),
        command: impl FnOnce(&mut Command),
    ) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        fs::create_dir(folder.path().join("scratch")).expect("made");
        let mut configuration = configuration(folder.path(), models);
        change(&mut configuration);
        let file = folder.path().join("config.json");
        fs::write(&file, configuration.to_string()).expect("written");
        let mark = Mark::new();
        let mut started = symphony(way, folder.path(), &mark);
        command(&mut started);
        let child = started.spawn().expect("started");
        let manager = Manager::connect(&endpoint(folder.path(), "cli"));
        Self { folder, way: way.to_owned(), child, status: None, mark, manager }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of the test itself, away from the files of the service.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join("scratch").join(name)
    }

    /// The address of one of its sockets: `cli` or `client`.
    pub fn endpoint(&self, socket: &str) -> String {
        endpoint(self.folder.path(), socket)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What marks its processes.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// Its own process and those of its models.
    pub fn processes(&self) -> Vec<u32> {
        self.mark.processes().into_iter().filter(|pid| !processes::is_guard(*pid)).collect()
    }

    // ---- its death and its return ------------------------------------------------------------------------------

    /// Kills the service, as the kernel does when memory is short, and its guard before that: its backends are left.
    pub fn crash(&mut self) {
        let children = processes::children_of(self.pid());
        for guard in children.into_iter().filter(|pid| processes::is_guard(*pid)) {
            processes::signal(guard, Signal::KILL);
            until("the end of the guard", || (!processes::runs(guard)).then_some(()));
        }
        self.child.kill().expect("killed");
        self.child.wait().expect("waited");
    }

    /// Starts it again in its folder; it answers when this returns.
    pub fn start_again(&mut self) {
        self.start_again_by(|_| {});
    }

    /// The same with a changed command.
    pub fn start_again_by(&mut self, command: impl FnOnce(&mut Command)) {
        let log = fs::OpenOptions::new().append(true).open(self.folder.path().join("service.log"));
        let mut again =
            symphony_into(&self.way, self.folder.path(), &self.mark, log.expect("opened"));
        command(&mut again);
        self.child = again.spawn().expect("started");
        self.status = None;
        self.manager = Manager::connect(&self.endpoint("cli"));
        self.manager.send("version", &json!({}));
        until("an answer of the service", || {
            if self.manager.has_more() {
                return Some(());
            }
            let ended = self.child.try_wait().expect("waited");
            assert!(ended.is_none(), "the service did not start again\n{}", self.log());
            None
        });
        self.manager.receive();
    }

    /// Starts it again in its folder, this way, when that cannot go well; answers how it ended.
    pub fn fails_to_start_again(&mut self, way: &str) -> ExitStatus {
        let log = fs::OpenOptions::new().append(true).open(self.folder.path().join("service.log"));
        let log = log.expect("opened");
        self.child =
            symphony_into(way, self.folder.path(), &self.mark, log).spawn().expect("started");
        self.status = None;
        self.ended()
    }

    /// Changes its configuration, which it reads at its next start or reload.
    pub fn configure(&self, change: impl FnOnce(&mut Value)) {
        let file = self.folder.path().join("config.json");
        let text = fs::read_to_string(&file).expect("read");
        let mut configuration = serde_json::from_str(&text).expect("JSON");
        change(&mut configuration);
        fs::write(file, configuration.to_string()).expect("written");
    }

    /// The state files that it keeps.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("run").join("state")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("service.log")).unwrap_or_default()
    }

    // ---- asking ------------------------------------------------------------------------------------------------

    /// A further manager.
    pub fn manager(&self) -> Manager {
        Manager::connect(&self.endpoint("cli"))
    }

    /// Asks; a refusal fails the test.
    pub fn ask(&self, command: &str, params: Value) -> Value {
        self.manager
            .ask(command, params)
            .unwrap_or_else(|error| panic!("{command} was refused: {error}"))
    }

    /// Asks for what must be refused; answers the error's text.
    pub fn refused(&self, command: &str, params: Value) -> String {
        match self.manager.ask(command, params) {
            Ok(data) => panic!("{command} was not refused: {data}"),
            Err(error) => error,
        }
    }

    /// Loads a model and waits until it is ready; answers its row.
    pub fn load(&self, name: &str) -> Row {
        let loaded = self.ask("load-model", json!({ "model_name": name, "wait": true }));
        assert_eq!(loaded["state"], "ready", "{loaded}");
        self.row(name)
    }

    /// Loads what must fail; answers the error's text.
    pub fn fails_to_load(&self, name: &str) -> String {
        self.refused("load-model", json!({ "model_name": name, "wait": true }))
    }

    /// Orders a load without waiting for its answer, which goes to the manager in return.
    #[must_use = "a manager that is dropped takes an order along that it has not sent yet"]
    pub fn order_load(&self, name: &str) -> Manager {
        let manager = self.manager();
        manager.send("load-model", &json!({ "model_name": name, "wait": true }));
        manager
    }

    /// A model as `status` with `all` shows it.
    pub fn row(&self, name: &str) -> Row {
        self.find_row(name).unwrap_or_else(|| panic!("status has no model {name}"))
    }

    fn find_row(&self, name: &str) -> Option<Row> {
        let status = self.ask("status", json!({ "all": true }));
        let rows = status["models"].as_array().expect("a list");
        rows.iter().find(|row| row["name"] == name).cloned().map(Row)
    }

    /// Waits until a model is as told.
    pub fn wait_for(&self, name: &str, what: &str, so: impl Fn(&Row) -> bool) -> Row {
        let last = Cell::new(None);
        let found = crate::backend::patiently(|| {
            let row = self.row(name);
            let right = so(&row);
            last.set(Some(row.clone()));
            right.then_some(row)
        });
        found
            .unwrap_or_else(|| panic!("waited in vain: {name} {what}; last seen {:?}", last.take()))
    }

    /// Waits for a state.
    pub fn wait_for_state(&self, name: &str, state: &str) -> Row {
        self.wait_for(name, state, |row| row.state() == state)
    }

    /// Waits for a ready process of another generation.
    pub fn wait_for_successor(&self, before: &Row) -> Row {
        self.wait_for(before.name(), "replaced and ready", |row| {
            row.generation() > before.generation() && row.state() == "ready"
        })
    }

    /// What happened to a model, in order.
    pub fn events(&self, name: &str) -> Vec<Event> {
        let page = self.ask("events", json!({ "since": 0 }));
        let events = page["events"].as_array().expect("a list").iter();
        events.filter(|event| event["model"] == name).cloned().map(Event).collect()
    }

    /// What happened to a group, to its supervisor, or to whatever else has this subject, in order.
    pub fn happened_to(&self, subject: &str) -> Vec<Event> {
        let page = self.ask("events", json!({ "since": 0 }));
        let events = page["events"].as_array().expect("a list").iter();
        events.filter(|event| event["subject"] == subject).cloned().map(Event).collect()
    }

    /// The words for what happened to a model.
    pub fn kinds(&self, name: &str) -> Vec<String> {
        self.events(name).iter().map(|event| event.kind().to_owned()).collect()
    }

    /// What `status` tells, also by a service that is just being replaced.
    pub fn status(&self) -> Value {
        self.manager.ask_until_answered("status", &json!({ "all": true }))
    }

    /// The process that serves, as it tells itself: with a heart it is not [`Service::pid`].
    pub fn core_pid(&self) -> u32 {
        u32::try_from(self.status()["pid"].as_u64().expect("a number")).expect("fits")
    }

    /// Waits for a service that replaced one; answers its status.
    pub fn replaced(&self, restarts: u64) -> Value {
        until("the service that replaces another", || {
            Some(self.status()).filter(|status| status["heart"]["restarts"] == restarts)
        })
    }

    // ---- its end -----------------------------------------------------------------------------------------------

    /// Waits for its end; nothing may be left then.
    pub fn ended(&mut self) -> ExitStatus {
        let status = match self.status {
            Some(status) => status,
            None => {
                let child = &mut self.child;
                until("the end of the service", || child.try_wait().expect("waited"))
            }
        };
        self.status = Some(status);
        status
    }

    /// Waits for its end, which must be a clean one.
    pub fn ended_clean(&mut self) {
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "{status:?}\n{}", self.log());
        self.left_nothing();
    }

    /// Stops it in order: the end of every test.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        self.ended_clean();
    }

    /// Whether nothing of it is there any more: no process, socket, lock, folder of short-lived files.
    pub fn left_nothing(&self) {
        // a grandchild that was killed is reaped by init, whenever init gets to it
        until("the end of all its processes", || self.mark.processes().is_empty().then_some(()));
        let mut left = processes::tree_of(&self.folder.path().join("sockets"));
        left.extend(processes::tree_of(&self.folder.path().join("run")));
        assert!(left.is_empty(), "left behind: {left:?}");
        assert!(!self.folder.path().join("run").exists(), "the runtime folder was left behind");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
            eprintln!("---- the service's log ends with\n{}", &log[from..]);
        }
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.mark.kill_all();
    }
}

fn symphony(way: &str, folder: &Path, mark: &Mark) -> Command {
    let log = fs::File::create(folder.join("service.log")).expect("made");
    symphony_into(way, folder, mark, log)
}

fn symphony_into(way: &str, folder: &Path, mark: &Mark, log: fs::File) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symphony"));
    command
        .env_clear()
        .env("HOME", folder)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env(Mark::VARIABLE, mark.text())
        .current_dir(folder)
        .args([way, "--config", "config.json"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command
}

/// Starts a second service on a changed configuration of another one; answers how it ended, and what it said.
pub fn second_service_with(
    first: &Service,
    way: &str,
    change: impl FnOnce(&mut Value),
) -> (ExitStatus, String) {
    let mark = Mark::new();
    let folder = tempfile::tempdir().expect("folder");
    let text = fs::read_to_string(first.folder().join("config.json")).expect("read");
    let mut configuration = serde_json::from_str(&text).expect("JSON");
    change(&mut configuration);
    fs::write(folder.path().join("config.json"), configuration.to_string()).expect("written");
    let mut child = symphony(way, folder.path(), &mark).spawn().expect("started");
    let status = crate::backend::patiently(|| child.try_wait().expect("waited"));
    let _ = child.kill();
    let _ = child.wait();
    mark.kill_all();
    let log = fs::read_to_string(folder.path().join("service.log")).unwrap_or_default();
    (status.expect("it ends"), log)
}

/// Starts a second service on the configuration of another one; answers how it ended.
pub fn second_service(first: &Service) -> ExitStatus {
    let mark = Mark::new();
    let log = tempfile::tempfile().expect("file");
    let mut child = symphony("serve", first.folder(), &mark)
        .args(["--log-level", "error"])
        .stderr(log)
        .spawn()
        .expect("started");
    let status = crate::backend::patiently(|| child.try_wait().expect("waited"));
    let _ = child.kill();
    let _ = child.wait();
    mark.kill_all();
    status.expect("it ends")
}

fn endpoint(folder: &Path, socket: &str) -> String {
    format!("ipc://{}", folder.join("sockets").join(socket).display())
}

fn configuration(folder: &Path, models: &[Model]) -> Value {
    let path = |name: &str| folder.join(name).display().to_string();
    let models: Vec<&Value> = models.iter().map(|Model(model)| model).collect();
    json!({
        "endpoints": {
            "client_handshake": endpoint(folder, "client"),
            "cli_management": endpoint(folder, "cli"),
        },
        "service": {
            "model_socket_dir": path("sockets"),
            "log_dir": path("logs"),
            "runtime_dir": path("run"),
        },
        "model_backends": { "fake": { "command": [FAKE, "--ipc-endpoint", "{endpoint}"] } },
        "supported_models": models,
    })
}

/// A model in a list of the service.
#[derive(Debug, Clone)]
pub struct Row(pub Value);

impl Row {
    /// Its name.
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// Where its life stands.
    pub fn state(&self) -> &str {
        self.text("state")
    }

    /// Its address.
    pub fn endpoint(&self) -> &str {
        self.text("endpoint")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        let pid = self.0["pid"].as_u64().unwrap_or_else(|| panic!("no pid: {self:?}"));
        u32::try_from(pid).expect("fits")
    }

    /// Which start it is.
    pub fn generation(&self) -> u64 {
        self.0["generation"].as_u64().expect("a number")
    }

    /// How often it was restarted.
    pub fn restarts(&self) -> u64 {
        self.0["restarts"].as_u64().expect("a number")
    }

    /// Why it is in its state.
    pub fn reason(&self) -> &str {
        self.0["reason"].as_str().unwrap_or_default()
    }

    /// How its start goes on.
    pub fn progress(&self) -> &str {
        self.0["progress"].as_str().unwrap_or_default()
    }

    /// Why its last process ended.
    pub fn exit_reason(&self) -> &str {
        self.0["last_exit"]["reason"].as_str().unwrap_or_default()
    }

    /// The last lines of its last process.
    pub fn exit_output(&self) -> Vec<&str> {
        let lines = self.0["last_exit"]["output"].as_array().map(Vec::as_slice).unwrap_or_default();
        lines.iter().filter_map(Value::as_str).collect()
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        processes::signal(self.pid(), signal);
    }

    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_else(|| panic!("no {key}: {self:?}"))
    }
}

/// Something that happened to a model.
#[derive(Debug, Clone)]
pub struct Event(pub Value);

impl Event {
    /// What.
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().expect("a word")
    }

    /// To which start.
    pub fn generation(&self) -> u64 {
        self.0["generation"].as_u64().expect("a number")
    }

    /// Why.
    pub fn cause(&self) -> &str {
        self.0["cause"].as_str().unwrap_or_default()
    }

    /// Milliseconds since the service started.
    pub fn at_ms(&self) -> f64 {
        self.0["since_start_ms"].as_f64().expect("a number")
    }
}
