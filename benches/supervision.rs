//! The supervision layer by itself, plain actors and no model: a decision, a restart, ten thousand children.
//!
//! `cargo bench --bench supervision [-- --quick]` prints a markdown table. Everything runs on one thread, as in the service,
//! and never waits. So what takes long enough to be interrupted by other programs is judged by the CPU time of that
//! thread, which is its time on an idle machine; the time by the clock is told beside it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod support;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, Context, Handler, Message, System};
use futures_util::future::join_all;
use rustix::time::{ClockId, clock_gettime};
use support::figures::{median, microseconds, milliseconds, monotonic, percentile, since};
use support::report::{Report, at_most};
use support::run::Run;
use symphony::clock::{Clock, Moment};
use symphony::supervision::core::{Core, Effect, Epoch, Event};
use symphony::supervision::supervisor::{StartChild, wait_for_exit};
use symphony::supervision::watchdog::Watchdog;
use symphony::supervision::{
    ChildRules, ChildSpec, ExitReason, RunningChild, StopActor, Strategy, Supervisor,
    SupervisorFlags, SupervisorSpec,
};
use tokio::sync::mpsc;

fn main() -> ExitCode {
    match Run::asked_for() {
        Some(run) => System::new().block_on(measure(run)),
        None => ExitCode::SUCCESS,
    }
}

async fn measure(run: Run) -> ExitCode {
    // panics are part of what is measured; their texts are not
    std::panic::set_hook(Box::new(|_| {}));
    let mut report = Report::begin("Supervision", run);

    let decisions = run.pick(500_000, 5_000);
    for (what, strategy, children) in [
        ("one restart decision, 10 children", Strategy::OneForOne, 10),
        ("the same, dynamic with 10,000 children", Strategy::Dynamic, 10_000),
    ] {
        let span = decide(strategy, children, decisions);
        let figure = microseconds(span.cpu);
        report.judged(what, &format!("{figure:.3} µs"), &at_most(figure, 1.0, " µs"));
        report
            .told(&format!("{what}, by the clock"), &format!("{:.3} µs", microseconds(span.clock)));
    }

    let restarts = run.pick(20_000, 500);
    for (what, end, heartbeat) in [
        ("exit → successor started, p50", End::Exit, None),
        ("the same, watched by a heartbeat", End::Exit, Some(Duration::from_secs(30))),
        ("panic → successor started, p50", End::Panic, None),
    ] {
        let spans = restart(restarts, end, heartbeat).await;
        let figure = percentile(spans.iter().map(|span| microseconds(*span)), 50.0);
        let text = format!("{figure:.2} µs");
        match end {
            End::Exit => report.judged(what, &text, &at_most(figure, 10.0, " µs")),
            End::Panic => report.told(what, &text),
        }
        let p99 = percentile(spans.iter().map(|span| microseconds(*span)), 99.0);
        report.told(&format!("{what}: p99").replace(", p50", ""), &format!("{p99:.2} µs"));
    }

    let children = run.pick(10_000, 500);
    let mut starts = Vec::new();
    let mut stops = Vec::new();
    for _ in 0..run.pick(9, 2) {
        let (start, stop) = many(children).await;
        starts.push(start);
        stops.push(stop);
    }
    for (what, spans) in [("start", starts), ("stop", stops)] {
        let figure = median(spans.iter().map(|span: &Span| milliseconds(span.cpu)));
        let text = format!("{figure:.1} ms");
        let what = format!("{what} of 10,000 dynamic children");
        report.judged(&what, &text, &at_most(figure, 50.0, " ms"));
        let clock = median(spans.iter().map(|span| milliseconds(span.clock)));
        report.told(&format!("{what}, by the clock"), &format!("{clock:.1} ms"));
    }

    // what the watchdog costs: a few restarts more, with somebody who keeps the names
    let watchdog = Watchdog::start(Duration::from_secs(10), |_| {}).expect("a thread");
    let spans = restart(restarts, End::Exit, None).await;
    let figure = percentile(spans.iter().map(|span| microseconds(*span)), 50.0);
    report.told("exit → successor started below a watchdog, p50", &format!("{figure:.2} µs"));
    drop(watchdog);
    report.end()
}

/// How long something took.
#[derive(Debug, Clone, Copy)]
struct Span {
    cpu: Duration,
    clock: Duration,
}

/// Both clocks, running.
struct Watch {
    cpu: Duration,
    clock: Duration,
}

impl Watch {
    fn start() -> Self {
        Self { cpu: cpu_time(), clock: monotonic() }
    }

    fn stop(&self) -> Span {
        Span { cpu: cpu_time().saturating_sub(self.cpu), clock: since(self.clock) }
    }
}

/// What this thread has used of a processor.
fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(used.tv_sec).expect("it began at zero");
    Duration::new(seconds, u32::try_from(used.tv_nsec).expect("less than a second"))
}

/// The time of a decision on an exit and of the report that the successor runs, in the mean.
fn decide(strategy: Strategy, children: usize, decisions: usize) -> Span {
    let flags = SupervisorFlags {
        strategy,
        intensity: u32::MAX,
        period: Duration::from_secs(5),
        ..SupervisorFlags::default()
    };
    let names = (0..children).map(|n| ChildRules::worker(format!("child-{n}")));
    let names: Vec<_> = names.collect();
    let mut core = Core::new(flags, names).expect("valid specs");
    let mut now = Moment::default();
    let mut open = starts(&core.next(Event::Start, now));
    let mut live = Vec::new();
    while let Some(epoch) = open.pop() {
        live.push(epoch);
        open.extend(starts(&core.next(Event::Started(epoch), now)));
    }
    assert_eq!(live.len(), children);
    // the texts of the panics are made before
    let mut reasons = vec![ExitReason::Panic("a bug".to_owned()); decisions];
    let watch = Watch::start();
    for nth in 0..decisions {
        // the window holds five hundred restarts
        now = now + Duration::from_millis(10);
        let at = nth % children;
        let reason = reasons.pop().expect("one for each");
        let effects = core.next(Event::Exited(live[at], reason), now);
        live[at] = starts(&effects)[0];
        black_box(core.next(Event::Started(live[at]), now));
    }
    let all = watch.stop();
    let decisions = u32::try_from(decisions).expect("fewer than that");
    Span { cpu: all.cpu / decisions, clock: all.clock / decisions }
}

fn starts(effects: &[Effect]) -> Vec<Epoch> {
    let epochs = effects.iter().filter_map(|effect| match effect {
        Effect::Start(_, epoch) => Some(*epoch),
        _ => None,
    });
    epochs.collect()
}

/// How a measured actor ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Exit,
    Panic,
}

/// Writes down when it ended and when it was started.
struct Mortal {
    ended: Sender<Duration>,
    started: mpsc::UnboundedSender<(Duration, Addr<Mortal>)>,
}

impl Actor for Mortal {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let now = monotonic();
        // the benchmark may have ended
        let _ = self.started.send((now, actix::AsyncContext::address(ctx)));
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Die(End);

impl Handler<Die> for Mortal {
    type Result = ();

    fn handle(&mut self, Die(end): Die, ctx: &mut Self::Context) {
        self.ended.send(monotonic()).expect("the benchmark listens");
        match end {
            End::Exit => ctx.stop(),
            End::Panic => panic!("as it was told"),
        }
    }
}

impl Handler<StopActor> for Mortal {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

async fn supervise(
    flags: SupervisorFlags,
    children: Vec<ChildSpec>,
) -> (Addr<Supervisor>, RunningChild) {
    let spec = SupervisorSpec {
        name: "top".to_owned(),
        flags,
        children,
        observer: None,
        clock: Clock::start(),
    };
    Supervisor::start(spec).await.expect("it starts")
}

async fn restart(count: usize, end: End, heartbeat: Option<Duration>) -> Vec<Duration> {
    let (ended, ends): (_, Receiver<Duration>) = channel();
    let (started, mut starts) = mpsc::unbounded_channel();
    let flags = SupervisorFlags { intensity: u32::MAX, ..SupervisorFlags::default() };
    let rules = ChildRules { heartbeat, ..ChildRules::worker("mortal") };
    let child = ChildSpec::actor(
        rules,
        move |_| Mortal { ended: ended.clone(), started: started.clone() },
        |_| {},
    );
    let (top, exit) = supervise(flags, vec![child]).await;
    let (_, mut mortal) = starts.recv().await.expect("it starts");
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        mortal.do_send(Die(end));
        let (at, successor) = starts.recv().await.expect("it is replaced");
        spans.push(at.saturating_sub(ends.recv().expect("it has ended")));
        mortal = successor;
    }
    top.do_send(StopActor);
    wait_for_exit(exit).await;
    spans
}

/// Does nothing.
struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;
}

impl Handler<StopActor> for Idle {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// The time from the first request to the last answer, and from the wish to stop to the exit.
async fn many(count: usize) -> (Span, Span) {
    let flags = SupervisorFlags { strategy: Strategy::Dynamic, ..SupervisorFlags::default() };
    let (top, exit) = supervise(flags, vec![]).await;
    let specs: Vec<_> = (0..count)
        .map(|nth| {
            let rules = ChildRules::worker(format!("child-{nth}"));
            ChildSpec::actor(rules, |_| Idle, |_| {})
        })
        .collect();
    let watch = Watch::start();
    let requests: Vec<_> = specs.into_iter().map(|spec| top.send(StartChild(spec))).collect();
    for answer in join_all(requests).await {
        answer.expect("a live supervisor").expect("it starts");
    }
    let start = watch.stop();
    let watch = Watch::start();
    top.do_send(StopActor);
    wait_for_exit(exit).await;
    (start, watch.stop())
}
