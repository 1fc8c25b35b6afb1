//! The generic OTP layer: actors that fail are replaced, in order, within limits, or the failure goes up.
//!
//! It names no model, process or socket. Rules and defaults are those of Erlang/OTP's `supervisor`; what is guaranteed, and
//! what is not, stands in `docs/runtime-semantics.md`, with the test that holds each word.
//!
//! | part | owns |
//! |---|---|
//! | [`spec`] | what is wanted: restart classes, strategies, windows, and what is refused |
//! | [`core`] | the decisions, pure: events in, effects out |
//! | [`supervisor`] | the actor around them, and what may be asked of it |
//! | [`child`] | how a child is started, and a monitor that misses no exit |
//! | [`exit`] | how actors end |
//! | [`progress`], [`heartbeat`] | actors that make no progress |
//! | [`watchdog`] | a thread that stands still |
//! | [`window`], [`backoff`] | limits on restarts, and delays, for others to use as well |
//! | [`tree`] | a picture |
//!
//! # Example
//!
//! A counter that cannot count beyond two. Its supervisor allows one restart; the second failure is one too many.
//!
//! ```
//! use actix::{Actor, ActorContext, Addr, Context, Handler, Message, System};
//! use symphony::clock::Clock;
//! use symphony::supervision::supervisor::wait_for_exit;
//! use symphony::supervision::{
//!     ChildRules, ChildSpec, ExitReason, StopActor, Supervisor, SupervisorFlags, SupervisorSpec,
//! };
//! use tokio::sync::watch;
//!
//! struct Counter(u32);
//!
//! impl Actor for Counter {
//!     type Context = Context<Self>;
//! }
//!
//! #[derive(Message)]
//! #[rtype(result = "u32")]
//! struct Count;
//!
//! impl Handler<Count> for Counter {
//!     type Result = u32;
//!
//!     fn handle(&mut self, _: Count, _: &mut Self::Context) -> u32 {
//!         self.0 += 1;
//!         assert!(self.0 <= 2, "that is too much");
//!         self.0
//!     }
//! }
//!
//! // every supervised actor ends itself in order when it is asked to
//! impl Handler<StopActor> for Counter {
//!     type Result = ();
//!
//!     fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
//!         ctx.stop();
//!     }
//! }
//!
//! System::new().block_on(async {
//!     // each generation has an address of its own: here is the present one
//!     let (place, mut places) = watch::channel::<Option<Addr<Counter>>>(None);
//!     let counter = ChildSpec::actor(
//!         ChildRules::worker("counter"),
//!         |_| Counter(0),
//!         move |address| {
//!             place.send_replace(Some(address));
//!         },
//!     );
//!     let (_top, child) = Supervisor::start(SupervisorSpec {
//!         name: "top".to_owned(),
//!         flags: SupervisorFlags::default(),
//!         children: vec![counter],
//!         observer: None,
//!         clock: Clock::start(),
//!     })
//!     .await
//!     .unwrap();
//!
//!     for _generation in 0..2 {
//!         places.changed().await.unwrap();
//!         let counter = places.borrow_and_update().clone().unwrap();
//!         assert_eq!(counter.send(Count).await.unwrap(), 1, "a new one begins anew");
//!         assert_eq!(counter.send(Count).await.unwrap(), 2);
//!         assert!(counter.send(Count).await.is_err(), "it panicked, and who asked is told");
//!     }
//!     // one restart was allowed: the supervisor ends in order, and the one above it would decide
//!     assert_eq!(wait_for_exit(child).await, ExitReason::Shutdown);
//! });
//! ```

pub mod backoff;
pub mod child;
pub mod core;
#[doc(hidden)]
pub mod crash;
pub mod exit;
pub mod heartbeat;
pub mod progress;
pub mod spec;
pub mod supervisor;
pub mod tree;
pub mod watchdog;
pub mod window;

pub use child::{ChildSpec, Init, RunningChild, Start, StopActor, launch};
pub use exit::{ExitReason, ExitSlot};
pub use progress::{LongSection, Progress};
pub use spec::{
    AutoShutdown, ChildId, ChildKind, ChildRules, Restart, Shutdown, Strategy, SupervisorFlags,
};
pub use supervisor::{Supervisor, SupervisorSpec};
