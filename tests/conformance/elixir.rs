//! From Elixir's tests of `DynamicSupervisor`, `Supervisor` and `Registry`.

use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use symphony::ids::{Generation, InstanceId, ModelName};
use symphony::instance::state::State;
use symphony::registry::Registry;
use symphony::registry::catalogue::Catalogue;
use symphony::registry::messages::{FindInstance, InstanceChanged, InstanceGone, InstanceView};
use symphony::supervision::supervisor::TerminateChild;
use symphony::supervision::{ExitReason, Restart, Strategy, SupervisorFlags};

use crate::bench::{Plan, flags, id, patient, virtual_time};

#[test]
fn max_children_counts_restarting_ones() {
    virtual_time(|bench| async move {
        let flags = SupervisorFlags {
            max_children: Some(1),
            intensity: u32::MAX,
            ..flags(Strategy::Dynamic)
        };
        let top = bench.running(flags, vec![]).await;
        top.add(bench.worker("a", Restart::Permanent)).await;
        bench.plan("a", &[Plan::Hang]);
        bench.crash("a").await;
        let full = "the supervisor has its 1 children already";
        assert_eq!(top.add(bench.worker("b", Restart::Permanent)).await, full);
        assert_eq!(top.ask(TerminateChild(id("a"))).await, "Terminated");
        assert_eq!(top.add(bench.worker("b", Restart::Permanent)).await, "Started");
    });
}

#[test]
fn stop_cancels_a_pending_retry() {
    virtual_time(|bench| async move {
        let top = bench.running(patient(), bench.workers(&["a", "b"])).await;
        bench.plan("a", &[Plan::FailAfter(Duration::from_secs(1)), Plan::Hang]);
        bench.crash("a").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(top.children().await, "a:starting b:running", "the second try hangs");
        bench.journal().await;
        assert_eq!(top.stop().await, ExitReason::Shutdown);
        assert_eq!(bench.journal().await, "?b -b", "no third one follows");
    });
}

/// Elixir's registry drops the entry of a process that died, and only that one: when its successor has registered under
/// the same key already, the late report of the death must leave the successor's entry alone.
#[test]
fn registry_entry_removed_by_generation() {
    virtual_time(|_| async move {
        let registry = Registry::new(Catalogue::default()).start();
        let gone = |generation| InstanceGone {
            instance: InstanceId::of_model(&model()),
            generation: Generation(generation),
        };
        registry.do_send(InstanceChanged(view(1)));
        registry.do_send(InstanceChanged(view(2)));
        registry.do_send(gone(1));
        let found = registry.send(FindInstance(model())).await.expect("a live registry");
        assert_eq!(found.map(|view| view.generation), Some(Generation(2)));
        registry.do_send(InstanceChanged(view(1)));
        let found = registry.send(FindInstance(model())).await.expect("a live registry");
        assert_eq!(found.map(|view| view.generation), Some(Generation(2)), "a late word of it");
        registry.do_send(gone(2));
        let found = registry.send(FindInstance(model())).await.expect("a live registry");
        assert_eq!(found, None);
    });
}

fn model() -> ModelName {
    ModelName::try_new("m").expect("a valid name")
}

fn view(generation: u64) -> Arc<InstanceView> {
    Arc::new(InstanceView {
        instance: InstanceId::of_model(&model()),
        model: model(),
        fullname: None,
        model_type: "t".into(),
        generation: Generation(generation),
        endpoint: "ipc:///nowhere".into(),
        state: State::Ready,
        pid: None,
        started_at: None,
        restarts: 0,
        last_exit: None,
        protocols: Vec::new(),
        reason: None,
        progress: None,
        group: None,
        outdated: false,
    })
}
