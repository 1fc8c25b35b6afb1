//! Supervises plain actix actors, no model anywhere: an inn with a cook that panics at some orders and falls asleep at
//! others, and guests that come and go.
//!
//! ```text
//! inn          one_for_one, 1 restart allowed
//! ├─ guests    dynamic, at most 2
//! └─ kitchen   one_for_all, 2 restarts allowed
//!    ├─ oven
//!    └─ cook   watched by a heartbeat
//! ```
//!
//! `cargo run --example plain_actors` shows a panic and a restart, an actor that makes no progress and is replaced, a
//! supervisor that gives up and is started again by the one above, and at last an orderly end from the leaves up.

use std::error::Error;
use std::time::Duration;

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, MessageResult, Recipient,
    System, WrapFuture,
};
use symphony::clock::Clock;
use symphony::supervision::core::Notice;
use symphony::supervision::supervisor::{
    StartChild, SupervisionNotice, TerminateChild, draw_tree, wait_for_exit,
};
use symphony::supervision::tree::TreeNode;
use symphony::supervision::{
    ChildRules, ChildSpec, Init, Restart, Start, StopActor, Strategy, Supervisor, SupervisorFlags,
    SupervisorSpec,
};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Long enough for any machine: nothing here takes more than a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than the whole story has.
const NEWS: usize = 256;
/// A window that no slow machine leaves, so that the story is always the same.
const PERIOD: Duration = Duration::from_secs(3600);
/// After one to two of these a cook that sleeps is replaced.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// Who cooks now: a successor has an address of its own.
type Cooks = watch::Sender<Option<Addr<Cook>>>;
/// The supervisor of the guests.
type Tables = watch::Sender<Option<Addr<Supervisor>>>;

fn main() -> Result<(), Box<dyn Error>> {
    // the supervisors tell of every panic, with its text
    std::panic::set_hook(Box::new(|_| {}));
    System::new().block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (tell, mut news) = mpsc::channel(NEWS);
    let observer = Reporter(tell).start().recipient();
    let (cook, mut cooks) = watch::channel(None);
    let (tables, mut places) = watch::channel(None);

    println!("the inn opens");
    let inn = supervisor("inn", Strategy::OneForOne, 1, &observer);
    let children = vec![guests(tables, observer.clone()), kitchen(cook, observer)];
    let (inn, child) = Supervisor::start(SupervisorSpec { children, ..inn }).await?;
    let closed = wait_for_exit(child);

    println!("\nguests are children of a dynamic supervisor, which has two places");
    let tables = places.borrow_and_update().clone().ok_or("no tables")?;
    for name in ["ada", "grace", "edsger"] {
        match tables.send(StartChild(guest(name))).await? {
            Ok(_) => {}
            Err(refused) => println!("  {name} is turned away: {refused}"),
        }
    }
    tables.send(TerminateChild("ada".into())).await??;
    tables.send(StartChild(guest("edsger"))).await??;

    order(&mut cooks, 4).await?;
    println!("\na bad order: the cook panics, and one_for_all starts oven and cook again");
    order(&mut cooks, 0).await?;
    wait_for(&mut news, |told| is_restart(told, "cook")).await?;

    println!("\na tiring order: the cook falls asleep over it, misses a heartbeat and is replaced");
    order(&mut cooks, 1_000).await?;
    wait_for(&mut news, |told| is_restart(told, "cook")).await?;
    order(&mut cooks, 3).await?;

    println!(
        "\na failure too many for the kitchen; the inn starts a new one, and no guest notices"
    );
    order(&mut cooks, 0).await?;
    wait_for(&mut news, |told| is_restart(told, "kitchen")).await?;
    order(&mut cooks, 2).await?;
    if let Some(tree) = draw_tree(inn.clone(), PATIENCE).await {
        println!();
        print_tree(&tree, 0);
    }

    println!("\nthe inn closes: whoever came last goes first");
    inn.do_send(StopActor);
    let reason = timeout(PATIENCE, closed).await?;
    println!("\nclosed, in order: {reason}");
    Ok(())
}

/// A supervisor without children yet.
fn supervisor(
    name: &str,
    strategy: Strategy,
    intensity: u32,
    observer: &Recipient<SupervisionNotice>,
) -> SupervisorSpec {
    SupervisorSpec {
        name: name.to_owned(),
        flags: SupervisorFlags {
            strategy,
            intensity,
            period: PERIOD,
            ..SupervisorFlags::default()
        },
        children: Vec::new(),
        observer: Some(observer.clone()),
        clock: Clock::start(),
    }
}

/// Starts without children: guests are added while it runs.
fn guests(tables: Tables, observer: Recipient<SupervisionNotice>) -> ChildSpec {
    ChildSpec::new(ChildRules::supervisor("guests"), move || {
        let mut spec = supervisor("guests", Strategy::Dynamic, 1, &observer);
        spec.flags.max_children = Some(2);
        let tables = tables.clone();
        async move {
            let (address, child) = Supervisor::start(spec).await?;
            tables.send_replace(Some(address));
            Ok(Start::Running(child))
        }
    })
}

/// Comes once: a guest that is gone is not brought back.
fn guest(name: &'static str) -> ChildSpec {
    let rules = ChildRules { restart: Restart::Temporary, ..ChildRules::worker(name) };
    ChildSpec::actor::<Bystander, _>(rules, move |_| Bystander(name), |_| {})
}

/// Its specs are made anew at each of its starts.
fn kitchen(cook: Cooks, observer: Recipient<SupervisionNotice>) -> ChildSpec {
    ChildSpec::supervisor(ChildRules::supervisor("kitchen"), move || {
        let cook = cook.clone();
        let watched = ChildRules { heartbeat: Some(HEARTBEAT), ..ChildRules::worker("cook") };
        let children = vec![
            ChildSpec::actor::<Bystander, _>(
                ChildRules::worker("oven"),
                |_| Bystander("oven"),
                |_| {},
            ),
            ChildSpec::actor(
                watched,
                |_| Cook { served: 0 },
                move |address| {
                    cook.send_replace(Some(address));
                },
            ),
        ];
        let spec = supervisor("kitchen", Strategy::OneForAll, 2, &observer);
        Ok(Init::Supervisor(SupervisorSpec { children, ..spec }))
    })
}

/// Gives an order to whoever is the cook now.
async fn order(cooks: &mut watch::Receiver<Option<Addr<Cook>>>, guests: u32) -> Result<(), String> {
    let cook = cooks.borrow_and_update().clone().ok_or("nobody cooks")?;
    match cook.send(Order { guests }).await {
        Ok((each, served)) => {
            println!("  12 dumplings for {guests}: {each} each ({served} served)")
        }
        Err(_) => println!("  12 dumplings for {guests}: no answer, the cook is gone"),
    }
    Ok(())
}

/// Waits until the awaited news has come.
async fn wait_for(
    news: &mut mpsc::Receiver<SupervisionNotice>,
    awaited: impl Fn(&Notice) -> bool,
) -> Result<(), Box<dyn Error>> {
    loop {
        let told = timeout(PATIENCE, news.recv()).await?.ok_or("nobody reports any more")?;
        if awaited(&told.notice) {
            return Ok(());
        }
    }
}

fn is_restart(notice: &Notice, name: &str) -> bool {
    matches!(notice, Notice::ChildRestarted { child, .. } if child.as_str() == name)
}

fn print_tree(node: &TreeNode, depth: usize) {
    let detail = node.detail.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
    let indent = "  ".repeat(depth + 1);
    println!("{indent}{} {}, restarts {}{detail}", node.name, node.state, node.restarts);
    for child in &node.children {
        print_tree(child, depth + 1);
    }
}

/// Divides dumplings. Panics when there is nobody to eat them, and falls asleep when there are too many.
struct Cook {
    served: u32,
}

impl Actor for Cook {
    type Context = Context<Self>;
}

/// Twelve dumplings for so many guests. The answer: dumplings for each, and guests served by this cook so far.
#[derive(Message)]
#[rtype(result = "(u32, u32)")]
struct Order {
    guests: u32,
}

impl Handler<Order> for Cook {
    type Result = MessageResult<Order>;

    fn handle(&mut self, Order { guests }: Order, ctx: &mut Self::Context) -> Self::Result {
        if guests > 12 {
            // nothing else of this actor gets a turn any more
            ctx.wait(std::future::pending::<()>().into_actor(self));
        }
        let each = 12 / guests;
        self.served += guests;
        MessageResult((each, self.served))
    }
}

impl Handler<StopActor> for Cook {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// An actor that is only there.
struct Bystander(&'static str);

impl Actor for Bystander {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        println!("  {} is there", self.0);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        println!("  {} goes", self.0);
    }
}

impl Handler<StopActor> for Bystander {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// Prints what the supervisors tell and passes it on.
struct Reporter(mpsc::Sender<SupervisionNotice>);

impl Actor for Reporter {
    type Context = Context<Self>;
}

impl Handler<SupervisionNotice> for Reporter {
    type Result = ();

    fn handle(&mut self, told: SupervisionNotice, _: &mut Self::Context) {
        let what = match &told.notice {
            Notice::ChildFailed { child, reason } => format!("{child} ended: {reason}"),
            Notice::ChildWedged { child, .. } => format!("{child} makes no progress"),
            Notice::ChildRestarted { child, restarts } => {
                format!("{child} runs again ({restarts})")
            }
            Notice::RestartFailed { child, error } => format!("{child} did not start: {error}"),
            Notice::GaveUp { child, intensity, .. } => {
                format!("gives up: {child} failed, and its restarts are used up ({intensity})")
            }
        };
        println!("  [{}] {what}", told.supervisor);
        // the program may have ended its part
        let _ = self.0.try_send(told);
    }
}
