//! What a group and its members tell each other, and what the desk tells a group.

use std::collections::HashSet;
use std::sync::Arc;

use actix::{Addr, Message};

use super::Group;
use super::core::Order;
use super::standing::{Phase, Standing};
use crate::ids::ModelName;
use crate::instance::actor::InstanceActor;
use crate::settings::model::GroupSpec;

/// A member stands otherwise than it told last, or tells for the first time.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Report {
    /// The member.
    pub member: ModelName,
    /// Its present actor.
    pub actor: Addr<InstanceActor>,
    /// How it stands.
    pub standing: Standing,
}

/// A group tells a member what to do.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Orders {
    /// Which group, so that one that was replaced is known for it.
    pub group: Addr<Group>,
    /// What.
    pub order: Order,
}

/// A member gave up, and its failure is to travel up the tree.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Escalation {
    /// The member.
    pub member: ModelName,
    /// Why.
    pub why: String,
}

/// The members that are on record: no other has a process. Answers whether it is known now of each how it stands.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Census(pub HashSet<ModelName>);

/// The rules changed; who stays a member keeps its process.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Reshape(pub Arc<GroupSpec>);

/// How the members stand, as far as the group knows, in their order.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Phase>")]
pub struct Observe;

/// The group is no more; its members go on alone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Disband;
