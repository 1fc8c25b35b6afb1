//! Crashes of the actors of a group and of its members, on a scripted launcher: they cost no process, and what the group
//! was about to do is done.

use std::sync::Arc;

use actix::Addr;
use symphony::ids::{Generation, GroupName, ProcessKey};
use symphony::instance::group::Group;
use symphony::instance::group::messages::Observe;
use symphony::instance::group::standing::Phase;
use symphony::instance::state::State;
use symphony::instance::{FindGroup, FindLive, Present};
use symphony::launcher::ExitStatus;
use symphony::launcher::scripted::Script;
use symphony::probe::scripted::ScriptedProber;
use symphony::registry::messages::InstanceView;
use symphony::settings::model::{BackendSpec, GroupSpec};
use symphony::settings::policy::GroupStrategy;
use symphony::supervision::crash::CrashForTest;
use tokio::time::Duration;

use crate::actor_crashes::{crash, crash_instance, view};
use crate::world::{Scripted, instance, start_with};

async fn pair() -> Scripted {
    let mut backend = BackendSpec::command(["x"]);
    backend.restart.backoff_min = Duration::from_millis(1);
    backend.restart.backoff_max = Duration::from_millis(1);
    let mut group = GroupSpec::new("pair", GroupStrategy::OneForAll, ["a", "b"]).unwrap();
    group.intensity = 1000;
    start_with(vec![backend.clone(), backend], ScriptedProber::default(), |settings| {
        settings.with_group(group)
    })
    .await
}

async fn group(scripted: &Scripted) -> Option<Addr<Group>> {
    let name = GroupName::try_new("pair").unwrap();
    scripted.desk().send(FindGroup(name)).await.ok()?
}

/// Waits until both are ready at this generation.
async fn both(scripted: &Scripted, generation: u64) -> [Arc<InstanceView>; 2] {
    let wiring = scripted.service.wiring();
    let mut seen = Vec::new();
    scripted
        .until("both members", async || {
            seen.clear();
            for model in ["a", "b"] {
                seen.extend(view(&wiring, model).await.filter(|view| {
                    view.state == State::Ready && view.generation == Generation(generation)
                }));
            }
            seen.len() == 2
        })
        .await;
    seen.try_into().unwrap()
}

fn kill(scripted: &Scripted, model: &str, generation: u64) {
    let key = ProcessKey { instance: instance(model), generation: Generation(generation) };
    scripted.launcher.exit(&key, ExitStatus::Code(3), Vec::new());
}

#[test]
fn crashes_of_actors_of_a_group_cost_no_process() {
    actix_rt::System::new().block_on(async {
        let scripted = pair().await;
        scripted.load_model("b").await.unwrap();
        let wiring = scripted.service.wiring();
        for (round, what) in ["group", "a", "b", "desk"].into_iter().enumerate() {
            let generation = round as u64 + 1;
            let before = both(&scripted, generation).await;
            let old = group(&scripted).await.expect("it runs");
            match what {
                "group" => crash(old.clone()).await,
                "desk" => crash(scripted.desk()).await,
                member => crash_instance(&wiring, member).await,
            }
            if matches!(what, "group" | "desk") {
                scripted
                    .until("another group", async || {
                        group(&scripted).await.is_some_and(|group| group != old)
                    })
                    .await;
            }
            let member = |model: &'static str| {
                let desk = scripted.desk();
                async move {
                    let name = symphony::ids::ModelName::try_new(model).unwrap();
                    matches!(desk.send(FindLive(name)).await, Ok(Some(Present::Runs(_))))
                }
            };
            scripted.until("both actors", async || member("a").await && member("b").await).await;
            let after = both(&scripted, generation).await;
            assert_eq!(after.map(|view| view.pid), before.map(|view| view.pid), "{what}");
            assert_eq!(scripted.launcher.spawns().len() as u64, 2 * generation, "{what}");
            // and they live and die together as before
            let model = if round % 2 == 0 { "a" } else { "b" };
            kill(&scripted, model, generation);
        }
        both(&scripted, 5).await;
        scripted.service.stop().await.unwrap();
    });
}

#[test]
fn a_group_that_crashes_while_it_takes_others_along_goes_on() {
    actix_rt::System::new().block_on(async {
        let scripted = pair().await;
        scripted.load_model("b").await.unwrap();
        for (round, failing) in ["a", "b"].into_iter().enumerate() {
            let generation = round as u64 + 1;
            let other = if failing == "a" { "b" } else { "a" };
            let stubborn = Script { ignore_stop: true, ..Script::default() };
            scripted.launcher.set_script_of(&instance(other), stubborn);
            kill(&scripted, failing, generation);
            let wiring = scripted.service.wiring();
            scripted
                .until("the other one to be ended", async || {
                    view(&wiring, other).await.is_some_and(|view| view.state == State::Stopping)
                })
                .await;
            let old = group(&scripted).await.expect("it runs");
            assert!(old.send(CrashForTest).await.is_err(), "it crashed before it could answer");
            let expected = [(failing, Phase::Waiting), (other, Phase::Ending { comes_back: true })];
            scripted
                .until("another group, which knows how they stand", async || {
                    let Some(group) = group(&scripted).await else { return false };
                    let phases = group.send(Observe).await.unwrap_or_default();
                    let known = ["a", "b"].into_iter().zip(phases).collect::<Vec<_>>();
                    group != old && expected.iter().all(|member| known.contains(member))
                })
                .await;
            let spawns = scripted.launcher.spawns().len() as u64;
            assert_eq!(spawns, 2 * generation, "nobody is started beside one that is to go");
            scripted.launcher.set_script_of(&instance(other), Script::default());
            kill(&scripted, other, generation);
            both(&scripted, generation + 1).await;
            let spawns = scripted.launcher.spawns();
            let last: Vec<_> = spawns.iter().rev().take(2).map(|key| &key.instance).collect();
            assert_eq!(last, [&instance("b"), &instance("a")], "in their order");
        }
        scripted.service.stop().await.unwrap();
    });
}
