//! How fast a killed backend is noticed and replaced, beside the bare system calls in the same run.
//!
//! `cargo bench --bench recovery [-- --quick]` prints a markdown table. The tree runs inside this program. Each instance is
//! killed once with SIGKILL, one after the other, so that every restart is the first one of its instance (no backoff). A
//! killed process and its floor take turns: the same program, started by `std::process` and watched by an epoll on its pidfd.
//!
//! How long the kernel takes a process apart depends on the process. So the notice of a death is measured with the plainest
//! there is, `sleep`, whose death costs least, and told beside it for a backend with the threads and sockets of libzmq.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod support;

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use support::figures::{median, microseconds, milliseconds, monotonic, percentile, since};
use support::processes;
use support::report::{Report, at_most, exactly};
use support::run::Run;
use support::service::{endpoint, private_folder};
use symphony::app::{ServeOptions, Service};
use symphony::events::messages::{EventOccurred, LifecycleEvent, Subscribe};
use symphony::instance::messages::LoadModel;
use symphony::registry::messages::InstanceView;
use symphony::settings::model::{BackendSpec, ModelSpec, Settings};
use symphony::settings::policy::{HealthCheck, Readiness};
use tokio::sync::oneshot;

/// A process of one thread and no socket.
const PLAIN: [&str; 2] = ["sleep", "1000000"];
const BACKEND: &str = env!("CARGO_BIN_EXE_symphony-fake-backend");
/// How long anything may take before the benchmark fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match Run::asked_for() {
        Some(run) => measure(run),
        None => ExitCode::SUCCESS,
    }
}

/// Spans of all rounds.
#[derive(Default)]
struct Spans {
    plain_noticed_bare: Vec<Duration>,
    plain_noticed: Vec<Duration>,
    noticed_bare: Vec<Duration>,
    noticed: Vec<Duration>,
    spawned_bare: Vec<Duration>,
    main_reached: Vec<Duration>,
    ready: Vec<Duration>,
}

fn measure(run: Run) -> ExitCode {
    let folder = private_folder();
    let kills = run.pick(128, 16);
    let mut tree = Tree::start(folder.path(), kills);
    let watcher = Watcher::start();
    let mut spans = Spans::default();
    for n in 0..kills {
        plain_bare_round(n, &watcher, &mut spans);
        tree.plain_round(n, &mut spans);
        bare_round(folder.path(), n, &watcher, &mut spans);
        tree.round(n, &mut spans);
    }
    watcher.end();
    tree.end();
    let left = processes::with_argument_in(folder.path());
    left.iter().copied().for_each(processes::kill);

    let mut report = Report::begin("Recovery", run);
    let p = |spans: &[Duration], percent| {
        percentile(spans.iter().map(|span| milliseconds(*span)), percent)
    };
    let noticed = p(&spans.noticed, 50.0);
    let main_reached = p(&spans.main_reached, 50.0);
    let bare_both: Vec<Duration> =
        spans.noticed_bare.iter().zip(&spans.spawned_bare).map(|(a, b)| *a + *b).collect();
    let mut row = |what: &str, bare: &[Duration], of_tree: &[Duration], limit: Option<f64>| {
        for percent in [50.0, 95.0] {
            let (floor, figure) = (p(bare, percent), p(of_tree, percent));
            let verdict =
                limit.filter(|_| percent == 50.0).map(|limit| at_most(figure, limit, " ms"));
            report.beside_floor(
                &format!("{what}, p{percent}"),
                &format!("{floor:.3} ms"),
                &format!("{figure:.3} ms"),
                figure / floor,
                verdict.as_ref(),
            );
        }
    };
    row(
        "SIGKILL → `exited` event; floor: epoll on the pidfd",
        &spans.plain_noticed_bare,
        &spans.plain_noticed,
        Some(0.3),
    );
    row("the same for a backend on libzmq", &spans.noticed_bare, &spans.noticed, None);
    row(
        "SIGKILL → `main()` of the successor; floor: that and a bare spawn",
        &bare_both,
        &spans.main_reached,
        Some(2.0),
    );
    let spawn = median(spans.spawned_bare.iter().map(|span| microseconds(*span)));
    report.told("bare spawn → `main()`, p50", &format!("{:.3} ms", spawn / 1e3));
    report.told("`exited` event → `main()`, p50", &format!("{:.3} ms", main_reached - noticed));
    report.told(
        "SIGKILL → ready again (handshake answered), p50",
        &format!("{:.3} ms", p(&spans.ready, 50.0)),
    );
    report.told("kills, each of another instance", &kills.to_string());
    report.judged("left behind after the stop", &left.len().to_string(), &exactly(left.len(), 0));
    report.end()
}

/// The monotonic moment at which `main()` of a process began, by the file that it writes.
fn stamp(path: &Path, pid: u32) -> Duration {
    until("a stamp of the process", || {
        let text = std::fs::read_to_string(path).ok()?;
        let (by, nanoseconds) = text.strip_suffix('\n')?.split_once(' ')?;
        (by == pid.to_string())
            .then(|| Duration::from_nanos(nanoseconds.parse().expect("a number")))
    })
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = monotonic();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since(began) < PATIENCE, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

// ---- the floor -----------------------------------------------------------------------------------------------------

fn plain_bare_round(n: usize, watcher: &Watcher, spans: &mut Spans) {
    let mut command = Command::new(PLAIN[0]);
    command.args(&PLAIN[1..]).process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = KilledOnDrop(command.spawn().expect("spawned"));
    until("the program itself", || asleep(child.0.id()).then_some(()));
    spans.plain_noticed_bare.push(watcher.span_of_death(&mut child, 2 * n));
}

/// Whether a process has come to its wait: what still starts is taken apart in another time.
fn asleep(pid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.contains("(sleep) S")
}

fn bare_round(folder: &Path, n: usize, watcher: &Watcher, spans: &mut Spans) {
    let stamped = folder.join("bare-stamp");
    let socket = folder.join(format!("bare-{n}.sock"));
    let mut command = Command::new(BACKEND);
    command
        .args(["--ipc-endpoint", &endpoint(folder, &format!("bare-{n}.sock")), "--stamp"])
        .arg(&stamped)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let began = monotonic();
    let mut child = KilledOnDrop(command.spawn().expect("spawned"));
    let pid = child.0.id();
    spans.spawned_bare.push(stamp(&stamped, pid).saturating_sub(began));
    until("the socket", || socket.exists().then_some(()));

    spans.noticed_bare.push(watcher.span_of_death(&mut child, 2 * n + 1));
    std::fs::remove_file(socket).expect("the socket of a killed process");
}

struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A thread that waits in epoll for exits, as the launcher does.
struct Watcher {
    registry: Registry,
    waker: Waker,
    noticed: Receiver<(Token, Duration)>,
    thread: JoinHandle<()>,
}

impl Watcher {
    const END: Token = Token(usize::MAX - 1);

    fn start() -> Self {
        let mut poll = Poll::new().expect("epoll");
        let registry = poll.registry().try_clone().expect("cloned");
        let waker = Waker::new(&registry, Self::END).expect("a waker");
        let (found, noticed) = channel();
        let thread = std::thread::spawn(move || {
            let mut events = Events::with_capacity(4);
            loop {
                poll.poll(&mut events, None).expect("polled");
                let now = monotonic();
                for event in events.iter() {
                    if event.token() == Self::END {
                        return;
                    }
                    found.send((event.token(), now)).expect("somebody waits");
                }
            }
        });
        Self { registry, waker, noticed, thread }
    }

    fn watch(&self, pidfd: &OwnedFd, n: usize) {
        let descriptor = pidfd.as_raw_fd();
        let mut source = SourceFd(&descriptor);
        self.registry.register(&mut source, Token(n), Interest::READABLE).expect("watched");
    }

    /// From the KILL of a process to the notice of its exit; `n` is its own.
    fn span_of_death(&self, child: &mut KilledOnDrop, n: usize) -> Duration {
        let pidfd = pidfd_open(Pid::from_child(&child.0), PidfdFlags::empty()).expect("a pidfd");
        self.watch(&pidfd, n);
        let killed = monotonic();
        processes::kill(child.0.id());
        let span = self.exit_of(n).saturating_sub(killed);
        child.0.wait().expect("reaped");
        span
    }

    /// When the exit of the `n`th process was noticed. Its reaping is an event, too, and comes when nobody waits for it.
    fn exit_of(&self, n: usize) -> Duration {
        loop {
            let (token, at) = self.noticed.recv_timeout(PATIENCE).expect("noticed");
            if token == Token(n) {
                return at;
            }
        }
    }

    fn end(self) {
        self.waker.wake().expect("woken");
        self.thread.join().expect("ended well");
    }
}

// ---- the tree ------------------------------------------------------------------------------------------------------

/// Passes lifecycle events on, with the moment of their arrival.
struct Ear(Sender<(Duration, EventOccurred)>);

impl Actor for Ear {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // the default of 16 would lose events
        ctx.set_mailbox_capacity(1024);
    }
}

impl Handler<EventOccurred> for Ear {
    type Result = ();

    fn handle(&mut self, event: EventOccurred, _: &mut Self::Context) {
        // a benchmark that failed listens no more
        let _ = self.0.send((monotonic(), event));
    }
}

/// A whole tree on a thread of its own, with its models loaded.
struct Tree {
    folder: PathBuf,
    pids: Vec<u32>,
    plain_pids: Vec<u32>,
    events: Receiver<(Duration, EventOccurred)>,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Tree {
    fn start(folder: &Path, count: usize) -> Self {
        let (heard, events) = channel();
        let (loaded, pids) = channel();
        let (end, ended) = oneshot::channel();
        let settings = settings(folder, count);
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(live(settings, count, heard, loaded, ended));
        });
        let (pids, plain_pids) = pids.recv_timeout(PATIENCE).expect("loaded");
        let tree = Self { folder: folder.to_owned(), pids, plain_pids, events, end, thread };
        while tree.events.try_recv().is_ok() {}
        tree
    }

    /// Kills the process of the `n`th plain instance.
    fn plain_round(&mut self, n: usize, spans: &mut Spans) {
        let killed = monotonic();
        processes::kill(self.plain_pids[n]);
        let (exited, _) = self.event("exited", &plain(n));
        spans.plain_noticed.push(exited.saturating_sub(killed));
        self.event("ready", &plain(n));
    }

    /// Kills the `n`th instance's process and follows what happens.
    fn round(&mut self, n: usize, spans: &mut Spans) {
        let killed = monotonic();
        processes::kill(self.pids[n]);
        let (exited, _) = self.event("exited", &model(n));
        let (ready, _) = self.event("ready", &model(n));
        let stamped = self.folder.join(format!("{}.stamp", model(n)));
        let successor = successor_of(&stamped, self.pids[n]);
        spans.noticed.push(exited.saturating_sub(killed));
        spans.main_reached.push(stamp(&stamped, successor).saturating_sub(killed));
        spans.ready.push(ready.saturating_sub(killed));
    }

    /// The next event of this kind about this model.
    fn event(&self, kind: &str, model: &str) -> (Duration, EventOccurred) {
        loop {
            let (at, event) = self.events.recv_timeout(PATIENCE).expect("an event in time");
            let LifecycleEvent { kind: found, model: about, .. } = &*event.0;
            if found == kind && about.as_deref() == Some(model) {
                return (at, event);
            }
        }
    }

    fn end(self) {
        self.end.send(()).expect("the tree lives");
        self.thread.join().expect("ended well");
    }
}

fn successor_of(stamped: &Path, predecessor: u32) -> u32 {
    until("a successor", || {
        let text = std::fs::read_to_string(stamped).ok()?;
        let pid = text.split_once(' ')?.0.parse::<u32>().ok()?;
        (pid != predecessor).then_some(pid)
    })
}

fn model(n: usize) -> String {
    format!("model-{n}")
}

fn plain(n: usize) -> String {
    format!("plain-{n}")
}

fn settings(folder: &Path, count: usize) -> Settings {
    let mut settings = Settings::in_folder(folder).expect("a short path");
    for n in 0..count {
        let stamp = folder.join(format!("{}.stamp", model(n))).display().to_string();
        let command = [BACKEND, "--ipc-endpoint", "{endpoint}", "--stamp", &stamp];
        let model = ModelSpec::new(model(n), BackendSpec::command(command)).expect("a name");
        settings = settings.with_model(model);
        let mut backend = BackendSpec::command(PLAIN);
        backend.start.ready = Readiness::Delay(Duration::ZERO);
        backend.health.check = HealthCheck::None;
        settings = settings.with_model(ModelSpec::new(plain(n), backend).expect("a name"));
    }
    settings
}

async fn live(
    settings: Settings,
    count: usize,
    heard: Sender<(Duration, EventOccurred)>,
    loaded: Sender<(Vec<u32>, Vec<u32>)>,
    ended: oneshot::Receiver<()>,
) {
    let service = Service::start(settings, ServeOptions::default()).await.expect("started");
    let to = Ear(heard).start().recipient();
    service.events().expect("an event log").do_send(Subscribe { to });
    let desk = service.desk().expect("a desk");
    let load = async |name: fn(usize) -> String| {
        let load = |n| desk.send(LoadModel { model: name(n), wait: true, revive: true });
        let views = futures_util::future::join_all((0..count).map(load)).await;
        let pid = |view: Result<Result<Arc<InstanceView>, _>, _>| {
            view.expect("answered").expect("loaded").pid.expect("a process")
        };
        views.into_iter().map(pid).collect::<Vec<_>>()
    };
    let pids = (load(model).await, load(plain).await);
    loaded.send(pids).expect("somebody waits");
    // also when who measures has failed
    let _ = ended.await;
    service.stop().await.expect("an orderly end");
}
