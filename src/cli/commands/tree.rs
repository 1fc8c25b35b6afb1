//! `symphony tree`.

use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::models::state_style;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::supervision::tree::TreeNode;
use crate::telemetry::escape::one_line;

/// Draws the supervision tree.
pub fn run(session: &Session) -> Result<(), CliError> {
    let answer = session.ask("tree", json!({}))?;
    if session.output.is_json() {
        return session.output.line(answer.text());
    }
    let root: TreeNode = answer.parse()?;
    session.output.line(drawing(&root, &session.output))
}

/// The tree, one line for each node.
pub fn drawing(root: &TreeNode, output: &Output) -> String {
    let mut lines = vec![label(root, output)];
    draw_children(root, "", output, &mut lines);
    lines.join("\n")
}

// A reply nests at most 128 deep: serde_json refuses to read a deeper one.
fn draw_children(node: &TreeNode, indent: &str, output: &Output, lines: &mut Vec<String>) {
    for (index, child) in node.children.iter().enumerate() {
        let is_last = index + 1 == node.children.len();
        let (branch, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(format!("{indent}{branch}{}", label(child, output)));
        draw_children(child, &format!("{indent}{below}"), output, lines);
    }
}

fn label(node: &TreeNode, output: &Output) -> String {
    let state = output.styled(&one_line(&node.state), state_style(&node.state));
    let mut label = format!("{} ({}) {state}", one_line(&node.name), one_line(&node.kind));
    match node.restarts {
        0 => {}
        1 => label.push_str(", 1 restart"),
        many => label.push_str(&format!(", {many} restarts")),
    }
    if let Some(detail) = &node.detail {
        label.push_str(&format!(" · {}", one_line(detail)));
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, kind: &str, children: Vec<TreeNode>) -> TreeNode {
        let state = "running".to_owned();
        TreeNode {
            name: name.into(),
            kind: kind.into(),
            state,
            restarts: 0,
            detail: None,
            children,
        }
    }

    #[test]
    fn branches_end_where_children_end() {
        let mut process = node("phi-1", "process", vec![]);
        process.restarts = 2;
        process.detail = Some("pid 7\n".into());
        let root = node(
            "root",
            "supervisor",
            vec![
                node("instances", "supervisor", vec![process]),
                node("gateways", "supervisor", vec![node("zmq", "worker", vec![])]),
            ],
        );
        assert_eq!(
            drawing(&root, &Output::new(true)),
            "root (supervisor) running\n\
             ├─ instances (supervisor) running\n\
             │  └─ phi-1 (process) running, 2 restarts · pid 7\\n\n\
             └─ gateways (supervisor) running\n\
             \u{20}  └─ zmq (worker) running"
        );
    }
}
