//! Where supervised actors are tried out: actors that do as they are told, and a journal of what they did.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, System, WrapFuture,
};
use symphony::clock::Clock;
use symphony::supervision::core::Notice;
use symphony::supervision::supervisor::{
    ChangeSpecs, CountChildren, StartChild, SupervisionNotice, WhichChildren, wait_for_exit,
};
use symphony::supervision::{
    ChildId, ChildRules, ChildSpec, ExitReason, ExitSlot, Init, Restart, RunningChild, Shutdown,
    Start, StopActor, Strategy, Supervisor, SupervisorFlags, SupervisorSpec, launch,
};

/// Runs a test on a clock that moves only when nothing else can, so that what hangs is found at once.
pub fn virtual_time<F: Future<Output = ()>>(test: impl FnOnce(Bench) -> F) {
    let system = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime")
    });
    system.block_on(async {
        let test = test(Bench::default());
        let patience = Duration::from_secs(24 * 3600);
        assert!(tokio::time::timeout(patience, test).await.is_ok(), "the test hangs");
    });
}

/// Waits until every actor has done all it can do now. Virtual time moves on by a millisecond.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// What a start comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    Run,
    RunAfter(Duration),
    Ignore,
    Fail,
    FailAfter(Duration),
    Panic,
    PanicLater,
    Hang,
}

/// What an actor does when it is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    Obey,
    ObeyAfter(Duration),
    Refuse,
    /// It panics in `stopped()`.
    PanicAtTheEnd,
}

/// An actor that writes down its life: `+a` when it starts, `?a` when it is asked to stop, `-a` when it has stopped.
pub struct Probe {
    name: String,
    bench: Bench,
    slot: ExitSlot,
    manners: Manners,
}

impl Actor for Probe {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.bench.write(format!("+{}", self.name));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.bench.write(format!("-{}", self.name));
        assert!(self.manners != Manners::PanicAtTheEnd, "panicked in stopped()");
    }
}

impl Handler<StopActor> for Probe {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        self.bench.write(format!("?{}", self.name));
        match self.manners {
            Manners::Obey | Manners::PanicAtTheEnd => ctx.stop(),
            Manners::ObeyAfter(delay) => {
                ctx.run_later(delay, |_, ctx| ctx.stop());
            }
            Manners::Refuse => {}
        }
    }
}

/// Panics.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Crash;

impl Handler<Crash> for Probe {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("{} was told to", self.name);
    }
}

/// Never does anything again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Freeze;

impl Handler<Freeze> for Probe {
    type Result = ();

    fn handle(&mut self, _: Freeze, ctx: &mut Self::Context) {
        ctx.wait(std::future::pending::<()>().into_actor(self));
    }
}

/// Does nothing for so long, and may declare it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Nap {
    pub length: Duration,
    pub declared: bool,
}

impl Handler<Nap> for Probe {
    type Result = ();

    fn handle(&mut self, Nap { length, declared }: Nap, ctx: &mut Self::Context) {
        let section = declared.then(|| self.slot.progress().protect());
        let nap = async move {
            tokio::time::sleep(length).await;
            drop(section);
        };
        ctx.wait(nap.into_actor(self));
    }
}

/// Ends by itself, with this reason or with none.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Leave(pub Option<ExitReason>);

impl Handler<Leave> for Probe {
    type Result = ();

    fn handle(&mut self, Leave(reason): Leave, ctx: &mut Self::Context) {
        if let Some(reason) = reason {
            self.slot.set(reason);
        }
        ctx.stop();
    }
}

/// The journal, and what the actors are to do.
#[derive(Clone, Default)]
pub struct Bench(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    journal: Vec<String>,
    notices: Vec<SupervisionNotice>,
    addresses: HashMap<String, Addr<Probe>>,
    plans: HashMap<String, VecDeque<Plan>>,
    fallback: HashMap<String, Plan>,
    manners: HashMap<String, Manners>,
}

impl Bench {
    fn table(&self) -> MutexGuard<'_, Table> {
        // actors panic here on purpose
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self, entry: String) {
        self.table().journal.push(entry);
    }

    /// What happened since the last look, after all that can happen now.
    pub async fn journal(&self) -> String {
        settle().await;
        std::mem::take(&mut self.table().journal).join(" ")
    }

    /// What happened since the last look, by now: for a supervisor that never rests.
    pub fn journal_now(&self) -> String {
        std::mem::take(&mut self.table().journal).join(" ")
    }

    /// What the supervisors told since the last look.
    pub async fn notices(&self) -> Vec<SupervisionNotice> {
        settle().await;
        std::mem::take(&mut self.table().notices)
    }

    /// The children that gave their supervisors up since the last look.
    pub async fn gave_up(&self) -> Vec<String> {
        let notices = self.notices().await.into_iter();
        let given_up = notices.filter(|told| matches!(told.notice, Notice::GaveUp { .. }));
        given_up.map(|told| told.supervisor).collect()
    }

    /// The next starts of a child.
    pub fn plan(&self, child: &str, plans: &[Plan]) {
        self.table().plans.entry(child.to_owned()).or_default().extend(plans);
    }

    /// All starts of a child beyond the planned ones.
    pub fn always(&self, child: &str, plan: Plan) {
        self.table().fallback.insert(child.to_owned(), plan);
    }

    /// How the child behaves from its next start on.
    pub fn manners(&self, child: &str, manners: Manners) {
        self.table().manners.insert(child.to_owned(), manners);
    }

    fn next_plan(&self, child: &str) -> Plan {
        let mut table = self.table();
        let planned = table.plans.get_mut(child).and_then(VecDeque::pop_front);
        planned.or_else(|| table.fallback.get(child).copied()).unwrap_or(Plan::Run)
    }

    /// The address of the child's last start.
    pub fn address(&self, child: &str) -> Addr<Probe> {
        self.table().addresses[child].clone()
    }

    /// Drops what the bench knows of the child, so that only its supervisor holds it.
    pub fn let_go(&self, child: &str) -> bool {
        self.table().addresses.remove(child).is_some()
    }

    /// Lets a child panic, and waits for what follows.
    pub async fn crash(&self, child: &str) {
        self.address(child).do_send(Crash);
        settle().await;
    }

    /// Lets a child end by itself, and waits for what follows.
    pub async fn leave(&self, child: &str, reason: Option<ExitReason>) {
        self.address(child).do_send(Leave(reason));
        settle().await;
    }

    /// A child that follows these rules and its plans.
    pub fn child_with(&self, rules: ChildRules) -> ChildSpec {
        let bench = self.clone();
        let name = rules.id.to_string();
        ChildSpec::new(rules, move || {
            let bench = bench.clone();
            let name = name.clone();
            let plan = bench.next_plan(&name);
            assert!(plan != Plan::Panic, "panicked in the factory");
            async move {
                match plan {
                    Plan::Run | Plan::Panic => Ok(bench.run(&name)),
                    Plan::RunAfter(delay) => {
                        tokio::time::sleep(delay).await;
                        Ok(bench.run(&name))
                    }
                    Plan::Ignore => Ok(Start::Ignore),
                    Plan::Fail => Err("no luck".to_owned()),
                    Plan::FailAfter(delay) => {
                        tokio::time::sleep(delay).await;
                        Err("no luck".to_owned())
                    }
                    Plan::PanicLater => {
                        settle().await;
                        panic!("panicked in the future of the factory")
                    }
                    Plan::Hang => std::future::pending().await,
                }
            }
        })
    }

    fn run(&self, name: &str) -> Start {
        let manners = self.table().manners.get(name).copied().unwrap_or(Manners::Obey);
        let (address, child) =
            launch(|slot| Probe { name: name.to_owned(), bench: self.clone(), slot, manners });
        self.table().addresses.insert(name.to_owned(), address);
        Start::Running(child)
    }

    /// Permanent workers.
    pub fn workers(&self, names: &[&str]) -> Vec<ChildSpec> {
        names.iter().map(|name| self.child_with(ChildRules::worker(name))).collect()
    }

    pub fn worker(&self, name: &str, restart: Restart) -> ChildSpec {
        self.child_with(ChildRules { restart, ..ChildRules::worker(name) })
    }

    fn spec(&self, name: &str, flags: SupervisorFlags, children: Vec<ChildSpec>) -> SupervisorSpec {
        SupervisorSpec {
            name: name.to_owned(),
            flags,
            children,
            observer: Some(Observer(self.clone()).start().recipient()),
            clock: Clock::start(),
        }
    }

    /// A child that is a supervisor; `children` makes its children anew at each of its starts.
    pub fn supervisor(
        &self,
        rules: ChildRules,
        flags: SupervisorFlags,
        children: impl Fn(&Bench) -> Vec<ChildSpec> + Send + 'static,
    ) -> ChildSpec {
        let bench = self.clone();
        let name = rules.id.to_string();
        ChildSpec::supervisor(rules, move || match bench.next_plan(&name) {
            Plan::Ignore => Ok(Init::Ignore),
            Plan::Fail => Err("no luck".to_owned()),
            _ => Ok(Init::Supervisor(bench.spec(&name, flags, children(&bench)))),
        })
    }

    /// `a` beside a supervisor that gives up at the first failure of `x` or `y`.
    pub async fn two_levels(&self, restart: Restart, above: SupervisorFlags) -> Top {
        let rules = ChildRules { restart, ..ChildRules::supervisor("below") };
        let below = self.supervisor(rules, fragile(), |bench| bench.workers(&["x", "y"]));
        let mut children = self.workers(&["a"]);
        children.push(below);
        self.running(above, children).await
    }

    /// A child whose end may count for its supervisor's.
    pub fn significant(&self, name: &str, restart: Restart) -> ChildSpec {
        self.child_with(ChildRules { restart, significant: true, ..ChildRules::worker(name) })
    }

    /// Starts the supervisor at the top.
    pub async fn start(
        &self,
        flags: SupervisorFlags,
        children: Vec<ChildSpec>,
    ) -> Result<Top, String> {
        let spec = self.spec("top", flags, children);
        let (address, child) = Supervisor::start(spec).await?;
        Ok(Top { address, child })
    }

    /// A supervisor at the top whose children all run; the journal is empty again.
    pub async fn running(&self, flags: SupervisorFlags, children: Vec<ChildSpec>) -> Top {
        let top = self.start(flags, children).await.expect("a tree that starts");
        self.journal().await;
        top
    }
}

struct Observer(Bench);

impl Actor for Observer {
    type Context = Context<Self>;
}

impl Handler<SupervisionNotice> for Observer {
    type Result = ();

    fn handle(&mut self, notice: SupervisionNotice, _: &mut Self::Context) {
        self.0.table().notices.push(notice);
    }
}

/// The supervisor under test.
pub struct Top {
    pub address: Addr<Supervisor>,
    child: RunningChild,
}

impl Top {
    /// Its exit, when it comes.
    pub async fn exit(self) -> ExitReason {
        wait_for_exit(self.child).await
    }

    /// Stops it and waits for its exit.
    pub async fn stop(self) -> ExitReason {
        self.address.do_send(StopActor);
        self.exit().await
    }

    /// Kills it.
    pub fn kill(self) {
        drop(self.child);
    }

    /// `a:running b:stopped`, in start order.
    pub async fn children(&self) -> String {
        let answer = self.address.send(WhichChildren).await.expect("a live supervisor");
        let words =
            answer.children.iter().map(|child| format!("{}:{}", child.rules.id, child.state));
        words.collect::<Vec<_>>().join(" ")
    }

    /// What it says to a request, in words.
    pub async fn ask<M>(&self, request: M) -> String
    where
        M: Message<Result = Result<symphony::supervision::core::Done, AdminError>> + Send + 'static,
        Supervisor: Handler<M>,
    {
        match self.address.send(request).await.expect("a live supervisor") {
            Ok(done) => format!("{done:?}"),
            Err(error) => error.to_string(),
        }
    }

    pub async fn add(&self, child: ChildSpec) -> String {
        self.ask(StartChild(child)).await
    }

    pub async fn change(&self, flags: SupervisorFlags, children: Vec<ChildSpec>) -> String {
        self.ask(ChangeSpecs { flags, children }).await
    }

    /// Specs, active, supervisors, workers.
    pub async fn counts(&self) -> [usize; 4] {
        let counts = self.address.send(CountChildren).await.expect("a live supervisor");
        [counts.specs, counts.active, counts.supervisors, counts.workers]
    }
}

pub use symphony::supervision::core::AdminError;

/// A permanent worker that is stopped like this.
pub fn stopped_by(name: &str, shutdown: Shutdown) -> ChildRules {
    ChildRules { shutdown, ..ChildRules::worker(name) }
}

pub fn flags(strategy: Strategy) -> SupervisorFlags {
    SupervisorFlags { strategy, ..SupervisorFlags::default() }
}

/// Gives up at the first failure.
pub fn fragile() -> SupervisorFlags {
    SupervisorFlags { intensity: 0, ..SupervisorFlags::default() }
}

/// one_for_one with room for many restarts.
pub fn patient() -> SupervisorFlags {
    SupervisorFlags { intensity: 1_000_000, ..SupervisorFlags::default() }
}

pub fn id(name: &str) -> ChildId {
    name.into()
}
