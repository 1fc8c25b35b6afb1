//! Cases of our own: what an actor can do that a process of Erlang cannot, and the like.

mod dynamic;
mod escalation;
mod groups;
mod requests;
mod restarts;
mod significant;
mod stalls;
mod start;
mod stop;
