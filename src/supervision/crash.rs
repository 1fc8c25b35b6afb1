//! A crash on request: the tests prove with it that the end of any actor costs no process.

use actix::Message;

/// Makes the actor panic.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
#[doc(hidden)]
pub struct CrashForTest;

/// Lets an actor take [`CrashForTest`].
macro_rules! crashes_on_request {
    ($actor:ty) => {
        impl actix::Handler<$crate::supervision::crash::CrashForTest> for $actor {
            type Result = ();

            fn handle(
                &mut self,
                _: $crate::supervision::crash::CrashForTest,
                _: &mut actix::Context<Self>,
            ) {
                panic!("crashed on request");
            }
        }
    };
}
pub(crate) use crashes_on_request;
