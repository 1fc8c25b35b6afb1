//! A thread that stands still. In real time: a blocked thread has no virtual one.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler, Message, System};
use symphony::clock::Clock;
use symphony::supervision::supervisor::wait_for_exit;
use symphony::supervision::watchdog::{Stall, Watchdog};
use symphony::supervision::{
    ChildRules, ChildSpec, StopActor, Supervisor, SupervisorFlags, SupervisorSpec,
};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Blocks its thread until it is told to go on.
struct Blocker(Option<Receiver<()>>);

impl Actor for Blocker {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Block;

impl Handler<Block> for Blocker {
    type Result = ();

    fn handle(&mut self, _: Block, _: &mut Self::Context) {
        if let Some(go_on) = self.0.take() {
            go_on.recv_timeout(PATIENCE).expect("the test tells when");
        }
    }
}

impl Handler<StopActor> for Blocker {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// A supervisor `top` with a child `blocker` that blocks at once, and then ends in order.
fn arbiter(go_on: Receiver<()>, tell: Sender<Stall>, over: Receiver<()>) {
    System::new().block_on(async move {
        let limit = Duration::from_millis(200);
        let _watchdog = Watchdog::start(limit, move |stall| {
            let _ = tell.send(stall);
        })
        .expect("a thread");
        let mut go_on = Some(go_on);
        let child = ChildSpec::actor(
            ChildRules::worker("blocker"),
            move |_| Blocker(go_on.take()),
            |blocker| blocker.do_send(Block),
        );
        let spec = SupervisorSpec {
            name: "top".to_owned(),
            flags: SupervisorFlags::default(),
            children: vec![child],
            observer: None,
            clock: Clock::start(),
        };
        let (top, child) = Supervisor::start(spec).await.expect("it starts");
        let seen = tokio::task::spawn_blocking(move || over.recv_timeout(PATIENCE));
        assert!(seen.await.is_ok_and(|seen| seen.is_ok()), "the test saw the end of the stall");
        top.do_send(StopActor);
        wait_for_exit(child).await;
    });
}

#[test]
fn a_thread_that_stands_still_is_told_with_the_actor_it_is_in() {
    let (go_on, block) = channel();
    let (tell, told) = channel();
    let (seen, over) = channel();
    let arbiter = std::thread::spawn(move || arbiter(block, tell, over));
    let here = Some("top/blocker".to_owned());
    let next = || told.recv_timeout(PATIENCE).expect("it is told");
    // on a machine that gives the thread no turn at all, a stall without an actor may come before
    loop {
        match next() {
            Stall::Began { inside, silent_for } if inside == here => {
                assert!(silent_for >= Duration::from_millis(200), "{silent_for:?}");
                break;
            }
            _ => {}
        }
    }
    go_on.send(()).expect("it waits");
    let Stall::Over { lasted, inside } = next() else { panic!("it is over") };
    assert!(lasted >= Duration::from_millis(200), "{lasted:?}");
    assert_eq!(inside, here);
    seen.send(()).expect("it waits");
    arbiter.join().expect("it ends in order");
}
