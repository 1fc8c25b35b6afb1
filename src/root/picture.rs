//! The whole tree as a picture: supervisors, actors, and below each instance its process.

use actix::Addr;

use super::wiring::Wiring;
use crate::limits;
use crate::registry::messages::ListInstances;
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
    }
    tree
}
