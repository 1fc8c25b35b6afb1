//! What a running supervisor may be asked: for children to come and go, for new specs, for a look at what it has.

use std::collections::VecDeque;

use actix::{Addr, Context, Handler, Message, MessageResult};

use super::super::child::ChildSpec;
use super::super::core::{AdminError, ChildCounts, ChildView, Done, Event};
use super::super::spec::{ChildId, ChildRules, SupervisorFlags};
use super::Supervisor;
use super::answer::Answer;

/// Adds a child and starts it.
#[derive(Debug, Message)]
#[rtype(result = "Result<Done, AdminError>")]
pub struct StartChild(pub ChildSpec);

/// Stops a child; its spec is kept (dropped for temporary and dynamic children). No error when it is down already.
#[derive(Debug, Message)]
#[rtype(result = "Result<Done, AdminError>")]
pub struct TerminateChild(pub ChildId);

/// Starts a terminated child.
#[derive(Debug, Message)]
#[rtype(result = "Result<Done, AdminError>")]
pub struct RestartChild(pub ChildId);

/// Drops the spec of a terminated child.
#[derive(Debug, Message)]
#[rtype(result = "Result<Done, AdminError>")]
pub struct DeleteChild(pub ChildId);

/// Puts new flags and specs in place of the old ones, as OTP's `code_change` does. What runs keeps running.
///
/// The flags count from now on; the restarts of the past stay counted. A child that is listed gets the new rules at
/// once, the new factory and the new heartbeat at its next start. One that is new is added and not started ([`RestartChild`] does). One
/// that is not listed is kept as it is, behind the listed ones; [`DeleteChild`] drops it. A specification that breaks a
/// rule changes nothing at all.
///
/// A dynamic supervisor stays one, and takes specs only of children that it has.
#[derive(Debug, Message)]
#[rtype(result = "Result<Done, AdminError>")]
pub struct ChangeSpecs {
    /// The new rules of the supervisor.
    pub flags: SupervisorFlags,
    /// The new children, in start order.
    pub children: Vec<ChildSpec>,
}

/// The rules of a child.
#[derive(Debug, Message)]
#[rtype(result = "Option<ChildRules>")]
pub struct GetChildSpec(pub ChildId);

/// How many children there are.
#[derive(Debug, Message)]
#[rtype(result = "ChildCounts")]
pub struct CountChildren;

/// The children in start order.
#[derive(Debug, Message)]
#[rtype(result = "WhichChildrenAnswer")]
pub struct WhichChildren;

/// A supervisor with its children.
#[derive(Debug, actix::MessageResponse)]
pub struct WhichChildrenAnswer {
    /// The supervisor's name.
    pub name: String,
    /// Its rules.
    pub flags: SupervisorFlags,
    /// Its children.
    pub children: Vec<ChildInfo>,
}

/// A child as its supervisor sees it.
#[derive(Debug)]
pub struct ChildInfo {
    /// Its rules.
    pub rules: ChildRules,
    /// `running`, `starting`, `stopping`, `restarting`, `stopped`.
    pub state: &'static str,
    /// How often it was restarted.
    pub restarts: u64,
    /// Where it is a supervisor: its address.
    pub supervisor: Option<Addr<Supervisor>>,
}

impl Handler<StartChild> for Supervisor {
    type Result = Answer;

    fn handle(&mut self, StartChild(spec): StartChild, ctx: &mut Self::Context) -> Self::Result {
        let ChildSpec { rules, start } = spec;
        self.ask(
            |this, ticket| {
                this.offered.insert(ticket, VecDeque::from([(rules.id.clone(), start)]));
                Event::StartChild(ticket, rules)
            },
            ctx,
        )
    }
}

impl Handler<TerminateChild> for Supervisor {
    type Result = Answer;

    fn handle(
        &mut self,
        TerminateChild(id): TerminateChild,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        self.ask(|_, ticket| Event::TerminateChild(ticket, id), ctx)
    }
}

impl Handler<RestartChild> for Supervisor {
    type Result = Answer;

    fn handle(&mut self, RestartChild(id): RestartChild, ctx: &mut Self::Context) -> Self::Result {
        self.ask(|_, ticket| Event::RestartChild(ticket, id), ctx)
    }
}

impl Handler<DeleteChild> for Supervisor {
    type Result = Answer;

    fn handle(&mut self, DeleteChild(id): DeleteChild, ctx: &mut Self::Context) -> Self::Result {
        self.ask(|_, ticket| Event::DeleteChild(ticket, id), ctx)
    }
}

impl Handler<ChangeSpecs> for Supervisor {
    type Result = Answer;

    fn handle(&mut self, change: ChangeSpecs, ctx: &mut Self::Context) -> Self::Result {
        let ChangeSpecs { flags, children } = change;
        let (rules, factories) = children
            .into_iter()
            .map(|ChildSpec { rules, start }| (rules.clone(), (rules.id, start)))
            .unzip();
        self.ask(
            |this, ticket| {
                this.offered.insert(ticket, factories);
                Event::ChangeSpecs(ticket, flags, rules)
            },
            ctx,
        )
    }
}

impl Handler<GetChildSpec> for Supervisor {
    type Result = MessageResult<GetChildSpec>;

    fn handle(&mut self, GetChildSpec(id): GetChildSpec, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.core.rules(&id).cloned())
    }
}

impl Handler<CountChildren> for Supervisor {
    type Result = MessageResult<CountChildren>;

    fn handle(&mut self, _: CountChildren, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.core.counts())
    }
}

impl Handler<WhichChildren> for Supervisor {
    type Result = WhichChildrenAnswer;

    fn handle(&mut self, _: WhichChildren, _: &mut Self::Context) -> Self::Result {
        let children = self.core.children().map(|view: ChildView| ChildInfo {
            supervisor: view
                .epoch
                .and_then(|epoch| self.running.get(&epoch))
                .and_then(|child| child.supervisor.clone()),
            rules: view.rules,
            state: view.state,
            restarts: view.restarts,
        });
        WhichChildrenAnswer {
            name: self.name.clone(),
            flags: *self.core.flags(),
            children: children.collect(),
        }
    }
}
