//! A picture of a supervision tree, for people and for JSON.

use serde::{Deserialize, Serialize};

/// An actor or a process in the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreeNode {
    /// Its child id.
    pub name: String,
    /// `supervisor`, `worker`, `group` or `process`.
    pub kind: String,
    /// `running`, `restarting`, `stopped`, or the state of an instance.
    pub state: String,
    /// How often it was restarted.
    pub restarts: u64,
    /// A word on it: the strategy of a supervisor, pid and endpoint of a process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// Its children, in start order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub children: Vec<TreeNode>,
}
