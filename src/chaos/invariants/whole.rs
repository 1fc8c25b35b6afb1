//! At the end every actor of the first picture is there and runs, and every model is ready or rightly given up.

use std::collections::BTreeSet;

use super::{Invariant, Violation};
use crate::chaos::history::Histories;
use crate::chaos::plan::FaultKind;
use crate::supervision::tree::TreeNode;

/// The actors of a picture by their paths, processes left out.
pub fn actors(root: &TreeNode) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(root, "", &mut |path, _| {
        found.insert(path.to_owned());
    });
    found
}

fn collect(node: &TreeNode, above: &str, take: &mut impl FnMut(&str, &TreeNode)) {
    if node.kind == "process" {
        return;
    }
    let path = if above.is_empty() { node.name.clone() } else { format!("{above}/{}", node.name) };
    take(&path, node);
    for child in &node.children {
        collect(child, &path, take);
    }
}

/// A model, when all should be over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelNow {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: String,
    /// The leaders of process groups that serve it; `None`: they cannot be seen from here.
    pub leaders: Option<usize>,
    /// Whether it may be stopped: it was so from the start, or its class leaves it down.
    pub may_be_stopped: bool,
    /// The fault that ended its process without any event about it.
    pub unnoticed: Option<FaultKind>,
}

impl ModelNow {
    /// What is amiss with it.
    fn fault(&self) -> Option<String> {
        let Self { name, state, .. } = self;
        if let Some(kind) = self.unnoticed {
            return Some(format!(
                "model {name} is {state}, and no event tells that {kind} ended its process"
            ));
        }
        match (state.as_str(), self.leaders) {
            ("ready", Some(0)) => Some(format!("model {name} is ready without a process")),
            // two are told at once by the rule of one generation
            ("ready", _) => None,
            // one that waits or was given up is in order: the windows are watched by themselves
            ("backoff" | "parked", _) => None,
            ("stopped", _) if self.may_be_stopped => None,
            _ => Some(format!("model {name} is {state}")),
        }
    }
}

/// What is amiss with the tree now, in words; empty: it is whole.
pub fn faults(before: &BTreeSet<String>, now: &TreeNode, models: &[ModelNow]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut there = BTreeSet::new();
    collect(now, "", &mut |path, node| {
        if node.state != "running" {
            faults.push(format!("{path} is {}", node.state));
        }
        there.insert(path.to_owned());
    });
    faults.extend(before.difference(&there).map(|path| format!("{path} is gone")));
    faults.extend(models.iter().filter_map(ModelNow::fault));
    faults
}

/// The tree did not get whole in time.
pub fn violation(faults: &[String], histories: &Histories) -> Violation {
    let model = faults.iter().find_map(|fault| {
        let (model, _) = fault.strip_prefix("model ")?.split_once(" is ")?;
        Some(model.to_owned())
    });
    Violation {
        invariant: Invariant::TreeWhole,
        history: match &model {
            Some(model) => histories.of_model(model),
            None => histories.of_parts(),
        },
        subject: model.unwrap_or_else(|| "tree".to_owned()),
        what: format!("not whole again: {}", faults.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, state: &str, children: Vec<TreeNode>) -> TreeNode {
        TreeNode {
            name: name.into(),
            kind: "worker".into(),
            state: state.into(),
            restarts: 0,
            detail: None,
            children,
        }
    }

    fn tree(registry: &str, instances: Vec<TreeNode>) -> TreeNode {
        let children =
            vec![node("registry", registry, vec![]), node("instances", "running", instances)];
        node("root", "running", children)
    }

    fn instance() -> Vec<TreeNode> {
        let mut process = node("pid 7", "backoff", vec![]);
        process.kind = "process".into();
        vec![node("a-1", "running", vec![process])]
    }

    fn model(state: &str) -> ModelNow {
        ModelNow {
            name: "a".into(),
            state: state.into(),
            leaders: (state == "ready").then_some(1),
            may_be_stopped: false,
            unnoticed: None,
        }
    }

    fn amiss(model: ModelNow) -> Vec<String> {
        let tree = tree("running", instance());
        faults(&actors(&tree), &tree, &[model])
    }

    #[test]
    fn a_whole_tree_holds_also_with_a_model_that_was_given_up() {
        let tree = tree("running", instance());
        let before = actors(&tree);
        assert_eq!(before.len(), 4);
        for state in ["ready", "parked", "backoff"] {
            assert!(faults(&before, &tree, &[model(state)]).is_empty(), "{state}");
        }
    }

    #[test]
    fn what_is_missing_or_does_not_run_is_named() {
        let before = actors(&tree("running", instance()));
        let now = tree("restarting", vec![]);
        assert_eq!(
            faults(&before, &now, &[model("starting")]),
            ["root/registry is restarting", "root/instances/a-1 is gone", "model a is starting"]
        );
    }

    #[test]
    fn a_ready_model_has_a_process() {
        let with = |leaders| amiss(ModelNow { leaders, ..model("ready") });
        assert_eq!(with(Some(0)), ["model a is ready without a process"]);
        assert!(with(Some(1)).is_empty());
        assert!(with(None).is_empty(), "who cannot be seen is not judged");
    }

    #[test]
    fn only_who_may_stay_down_is_stopped() {
        assert_eq!(amiss(model("stopped")), ["model a is stopped"]);
        assert!(amiss(ModelNow { may_be_stopped: true, ..model("stopped") }).is_empty());
    }

    #[test]
    fn a_fault_that_nobody_noticed_is_told() {
        let told = amiss(ModelNow { unnoticed: Some(FaultKind::Kill), ..model("ready") });
        assert_eq!(told, ["model a is ready, and no event tells that kill ended its process"]);
        assert_eq!(violation(&told, &Histories::default()).subject, "a");
    }

    #[test]
    fn the_violation_tells_the_history_of_the_model() {
        let told = violation(&["model a is starting".to_owned()], &Histories::default());
        assert_eq!((told.subject.as_str(), told.invariant), ("a", Invariant::TreeWhole));
    }
}
