//! What makes two orders start the same process. Pure.

use serde::Serialize;

use crate::launcher::SpawnOrder;
use crate::settings::model::Transport;
use crate::settings::policy::{LogFilePolicy, ResourceLimits};
use crate::state::envelope::digest;

/// Everything that a process cannot take over while it runs. Records keep its digest over releases: a field is added only
/// where the models of all running services may be called outdated by it.
#[derive(Serialize)]
struct Essence<'a> {
    transport: &'a str,
    program: std::borrow::Cow<'a, str>,
    args: &'a [String],
    env: &'a std::collections::BTreeMap<String, String>,
    env_allow: &'a Option<Vec<String>>,
    working_dir: Option<std::borrow::Cow<'a, str>>,
    limits: &'a ResourceLimits,
    log: &'a LogFilePolicy,
}

/// A digest of what an order is about, whatever the generation.
pub fn order_digest(order: &SpawnOrder, transport: Transport) -> String {
    let command = &order.command;
    let essence = Essence {
        transport: match transport {
            Transport::Zmq => "zmq",
            Transport::Http => "http",
        },
        program: command.program.to_string_lossy(),
        args: &command.args,
        env: &command.env,
        env_allow: &command.env_allow,
        working_dir: command.working_dir.as_ref().map(|folder| folder.to_string_lossy()),
        limits: &order.limits,
        log: &order.log,
    };
    // text, numbers and maps of text: there is nothing that JSON could refuse
    digest(&serde_json::to_vec(&essence).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::ReadyChannel;
    use crate::launcher::testing::sleeping_order;

    #[test]
    fn what_a_running_process_cannot_take_over_makes_another_digest() {
        let of = |order: &SpawnOrder| order_digest(order, Transport::Zmq);
        let base = of(&sleeping_order("a", 1));
        let changes: [fn(&mut SpawnOrder); 7] = [
            |order| order.command.program = "other".into(),
            |order| order.command.args.push("-v".into()),
            |order| drop(order.command.env.insert("A".into(), "1".into())),
            |order| order.command.env_allow = Some(Vec::new()),
            |order| order.command.working_dir = Some("/".into()),
            |order| order.limits.nice = Some(1),
            |order| order.log.keep = 9,
        ];
        let digests: std::collections::BTreeSet<_> = changes
            .iter()
            .map(|change| {
                let mut order = sleeping_order("a", 1);
                change(&mut order);
                of(&order)
            })
            .chain([base.clone(), order_digest(&sleeping_order("a", 1), Transport::Http)])
            .collect();
        assert_eq!(digests.len(), 9);
        let mut later = sleeping_order("a", 7);
        later.ready_channel = ReadyChannel::Fd { number: 3 };
        assert_eq!(of(&later), base, "which start it is makes no difference");
        // written down by a release, read by another one
        assert_eq!(base, "3592d3e477a25663a495f61561ee01d4");
    }
}
