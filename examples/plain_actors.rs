//! Supervises plain actix actors, no model anywhere: a cook that panics at certain orders.
//!
//! ```text
//! house     one_for_one, 1 restart allowed
//! ├─ waiter
//! └─ kitchen  one_for_all, 2 restarts allowed
//!    ├─ oven
//!    └─ cook
//! ```
//!
//! `cargo run --example plain_actors` shows a panic, a restart, a supervisor that gives up, its restart by the one
//! above, and at last the end of the whole house, which is an orderly one.

use std::error::Error;
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, Context, Handler, Message, System};
use symphony::clock::Clock;
use symphony::supervision::core::Notice;
use symphony::supervision::supervisor::{SupervisionNotice, draw_tree, wait_for_exit};
use symphony::supervision::tree::TreeNode;
use symphony::supervision::{
    ChildRules, ChildSpec, Start, StopActor, Strategy, Supervisor, SupervisorFlags, SupervisorSpec,
};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Long enough for any machine: nothing here takes more than milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than the whole story has.
const NEWS: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    // the supervisors tell of every panic, with its text
    std::panic::set_hook(Box::new(|_| {}));
    System::new().block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (tell, mut news) = mpsc::channel(NEWS);
    let observer = Reporter(tell).start().recipient();
    let (cook, mut cooks) = watch::channel(None);

    let kitchen_observer = observer.clone();
    let kitchen = ChildSpec::new(ChildRules::supervisor("kitchen"), move || {
        let cook = cook.clone();
        let children = vec![
            ChildSpec::actor::<Bystander, _>(
                ChildRules::worker("oven"),
                |_| Bystander("oven"),
                |_| {},
            ),
            ChildSpec::actor(
                ChildRules::worker("cook"),
                |_| Cook { served: 0 },
                move |address| {
                    cook.send_replace(Some(address));
                },
            ),
        ];
        let spec = SupervisorSpec {
            name: "kitchen".into(),
            // a window that no slow machine leaves, so that the story is always the same
            flags: SupervisorFlags {
                strategy: Strategy::OneForAll,
                intensity: 2,
                period: Duration::from_secs(3600),
                ..SupervisorFlags::default()
            },
            children,
            observer: Some(kitchen_observer.clone()),
            clock: Clock::start(),
        };
        async move {
            let (_, child) = Supervisor::start(spec).await?;
            Ok(Start::Running(child))
        }
    });
    let waiter = ChildSpec::actor::<Bystander, _>(
        ChildRules::worker("waiter"),
        |_| Bystander("waiter"),
        |_| {},
    );

    println!("the house opens");
    let (house, child) = Supervisor::start(SupervisorSpec {
        name: "house".into(),
        flags: SupervisorFlags { period: Duration::from_secs(3600), ..SupervisorFlags::default() },
        children: vec![waiter, kitchen],
        observer: Some(observer),
        clock: Clock::start(),
    })
    .await?;
    let closed = wait_for_exit(child);

    order(&mut cooks, 4).await?;
    println!("\na bad order: the cook panics, and one_for_all starts oven and cook again");
    order(&mut cooks, 0).await?;
    wait_for(&mut news, |told| is_restart(told, "cook")).await?;
    order(&mut cooks, 3).await?;

    println!(
        "\nbad orders until the kitchen has used up its restarts; the house starts a new kitchen"
    );
    order(&mut cooks, 0).await?;
    wait_for(&mut news, |told| is_restart(told, "cook")).await?;
    order(&mut cooks, 0).await?;
    wait_for(&mut news, |told| is_restart(told, "kitchen")).await?;
    order(&mut cooks, 2).await?;
    if let Some(tree) = draw_tree(house, PATIENCE).await {
        println!();
        print_tree(&tree, 0);
    }

    println!("\na second kitchen is ruined, which is one too many for the house as well");
    for _ in 0..2 {
        order(&mut cooks, 0).await?;
        wait_for(&mut news, |told| is_restart(told, "cook")).await?;
    }
    order(&mut cooks, 0).await?;
    let reason = timeout(PATIENCE, closed).await?;
    println!("\nthe house is closed, in order: {reason}");
    Ok(())
}

/// Gives an order to whoever is the cook now.
async fn order(cooks: &mut watch::Receiver<Option<Addr<Cook>>>, guests: u32) -> Result<(), String> {
    let cook = cooks.borrow_and_update().clone().ok_or("nobody cooks")?;
    match cook.send(Order { guests }).await {
        Ok(served) => {
            println!("  12 dumplings for {guests}: {} each ({} served)", served.0, served.1)
        }
        Err(_) => println!("  12 dumplings for {guests}: no answer, the cook is gone"),
    }
    Ok(())
}

/// Prints the news until the awaited one has come.
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

/// Divides dumplings, and panics when there is nobody to eat them.
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
    type Result = actix::MessageResult<Order>;

    fn handle(&mut self, Order { guests }: Order, _: &mut Self::Context) -> Self::Result {
        let each = 12 / guests;
        self.served += guests;
        actix::MessageResult((each, self.served))
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
