//! The whole tree as a picture: supervisors, actors, and below each instance its process.

use std::sync::Arc;

use actix::Addr;

use super::wiring::Wiring;
use crate::ids::InstanceId;
use crate::instance::group::child_id;
use crate::limits;
use crate::registry::messages::ListInstances;
use crate::settings::model::GroupSpec;
use crate::supervision::Supervisor;
use crate::supervision::supervisor::draw_tree;
use crate::supervision::tree::TreeNode;

/// Draws the tree below the root.
pub async fn draw(root: Addr<Supervisor>, wiring: &Wiring) -> TreeNode {
    let mut tree = draw_tree(root, limits::ASK_TIMEOUT).await.unwrap_or_else(|| TreeNode {
        name: "root".to_owned(),
        kind: "supervisor".to_owned(),
        state: "unknown".to_owned(),
        restarts: 0,
        detail: Some("it does not answer".to_owned()),
        children: Vec::new(),
    });
    let instances = match wiring.registry.get() {
        Ok(registry) => registry.send(ListInstances).await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    if let Some(supervisor) = tree.children.iter_mut().find(|node| node.name == super::INSTANCES) {
        for node in &mut supervisor.children {
            let shown = instances.iter().find(|view| view.instance.as_str() == node.name);
            if let Some(view) = shown {
                node.detail = Some(format!("model {}", view.model));
                node.children.push(TreeNode {
                    name: match view.pid {
                        Some(pid) => format!("pid {pid}"),
                        None => "no process".to_owned(),
                    },
                    kind: "process".to_owned(),
                    state: view.state.as_str().to_owned(),
                    restarts: view.restarts,
                    detail: Some(match &view.reason {
                        Some(reason) => format!("{} · {reason}", view.endpoint),
                        None => view.endpoint.clone(),
                    }),
                    children: Vec::new(),
                });
            }
        }
        let settings = wiring.settings.borrow().clone();
        gather_groups(supervisor, &settings.groups);
    }
    tree
}

/// Draws the members of a group below it: so their failures travel. What crashes there is restarted by the supervisor
/// of all instances, be it a group or a member.
fn gather_groups(supervisor: &mut TreeNode, groups: &[Arc<GroupSpec>]) {
    for group in groups {
        let id = child_id(&group.name);
        let mut members = Vec::new();
        for member in &group.members {
            let instance = InstanceId::of_model(member);
            let place = supervisor.children.iter().position(|node| node.name == instance.as_str());
            members.extend(place.map(|place| supervisor.children.remove(place)));
        }
        match supervisor.children.iter_mut().find(|node| node.name == id) {
            Some(node) => {
                node.kind = "group".to_owned();
                let period = humantime::format_duration(group.period);
                let (strategy, intensity) = (group.strategy.as_str(), group.intensity);
                node.detail = Some(format!("{strategy}, {intensity} restarts in {period}"));
                node.children = members;
            }
            None => supervisor.children.extend(members),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::policy::GroupStrategy;

    fn node(name: &str) -> TreeNode {
        TreeNode {
            name: name.to_owned(),
            kind: "worker".to_owned(),
            state: "running".to_owned(),
            restarts: 0,
            detail: None,
            children: Vec::new(),
        }
    }

    #[test]
    fn members_stand_below_their_group_in_its_order() {
        let instance = |name| {
            let model = crate::ids::ModelName::try_new(name).expect("a name");
            node(InstanceId::of_model(&model).as_str())
        };
        let mut supervisor = node("instance_supervisor");
        supervisor.children =
            vec![instance("target"), node("group pair"), instance("other"), instance("draft")];
        let members = ["draft", "target", "never-loaded"];
        let pair = GroupSpec::new("pair", GroupStrategy::OneForAll, members).expect("names");
        let gone = GroupSpec::new("gone", GroupStrategy::OneForOne, ["other"]).expect("names");
        gather_groups(&mut supervisor, &[Arc::new(pair), Arc::new(gone)]);
        let [group, other] = &supervisor.children[..] else { panic!("{supervisor:?}") };
        assert_eq!((group.name.as_str(), group.kind.as_str()), ("group pair", "group"));
        assert_eq!(group.detail.as_deref(), Some("one_for_all, 5 restarts in 10m"));
        assert_eq!(group.children, [instance("draft"), instance("target")]);
        assert_eq!(*other, instance("other"), "a group that does not run yet hides nobody");
    }
}
