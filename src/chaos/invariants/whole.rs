//! At the end every actor of the first picture is there and runs, and every model is ready or rightly given up.

use std::collections::BTreeSet;

use super::{Invariant, Violation};
use crate::chaos::history::Histories;
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

/// What is amiss with the tree now, in words; empty: it is whole. `models` are names with states.
pub fn faults(
    before: &BTreeSet<String>,
    now: &TreeNode,
    models: &[(String, String)],
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut there = BTreeSet::new();
    collect(now, "", &mut |path, node| {
        if node.state != "running" {
            faults.push(format!("{path} is {}", node.state));
        }
        there.insert(path.to_owned());
    });
    faults.extend(before.difference(&there).map(|path| format!("{path} is gone")));
    // one that waits or was given up is in order: the windows are watched by themselves
    let in_order = ["ready", "backoff", "parked", "stopped"];
    let amiss = models.iter().filter(|(_, state)| !in_order.contains(&state.as_str()));
    faults.extend(amiss.map(|(model, state)| format!("model {model} is {state}")));
    faults
}

/// The tree did not get whole in time.
pub fn violation(faults: &[String], histories: &Histories) -> Violation {
    let model = faults.iter().find_map(|fault| {
        let (model, _) = fault.strip_prefix("model ")?.rsplit_once(" is ")?;
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

    fn models(state: &str) -> Vec<(String, String)> {
        vec![("a".to_owned(), state.to_owned())]
    }

    #[test]
    fn a_whole_tree_holds_also_with_a_model_that_was_given_up() {
        let tree = tree("running", instance());
        let before = actors(&tree);
        assert_eq!(before.len(), 4);
        for state in ["ready", "parked", "backoff"] {
            assert!(faults(&before, &tree, &models(state)).is_empty(), "{state}");
        }
    }

    #[test]
    fn what_is_missing_or_does_not_run_is_named() {
        let before = actors(&tree("running", instance()));
        let now = tree("restarting", vec![]);
        assert_eq!(
            faults(&before, &now, &models("starting")),
            ["root/registry is restarting", "root/instances/a-1 is gone", "model a is starting"]
        );
    }

    #[test]
    fn the_violation_tells_the_history_of_the_model() {
        let told = violation(&["model a is starting".to_owned()], &Histories::default());
        assert_eq!((told.subject.as_str(), told.invariant), ("a", Invariant::TreeWhole));
    }
}
