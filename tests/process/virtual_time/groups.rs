//! Groups and dependencies: what is counted together, what is waited for, and when all come back.

use std::collections::HashSet;
use std::sync::Arc;

use actix::{Actor, ActorContext, Context, Handler};
use symphony::events::messages::ReadEvents;
use symphony::ids::{Generation, GroupName, ModelName};
use symphony::instance::desk::UseModels;
use symphony::instance::messages::{ModelError, RestartModel, UnloadModel};
use symphony::instance::state::State;
use symphony::instance::{FindGroup, FindLive, Present};
use symphony::launcher::ExitStatus;
use symphony::limits;
use symphony::probe::scripted::ScriptedProber;
use symphony::registry::catalogue::Catalogue;
use symphony::registry::messages::InstanceView;
use symphony::settings::model::{GroupSpec, Settings};
use symphony::settings::policy::GroupStrategy;
use symphony::supervision::crash::CrashForTest;
use symphony::supervision::supervisor::{StartChild, TerminateChild};
use symphony::supervision::{ChildRules, ChildSpec, StopActor};
use tokio::time::{Duration, Instant, sleep};

use super::{MOMENT, Stage, assert_took, in_virtual_time_with, process};
use crate::actor_crashes::view;

const MINUTE: Duration = Duration::from_secs(60);

fn pair(strategy: GroupStrategy, intensity: u32) -> impl FnOnce(Settings) -> Settings {
    move |settings| {
        let mut group = GroupSpec::new("pair", strategy, ["draft", "target"]).unwrap();
        group.intensity = intensity;
        settings.with_group(group)
    }
}

async fn seen(stage: &Stage, model: &str) -> InstanceView {
    let seen = view(&stage.service.wiring(), model).await.expect("it was loaded");
    (*seen).clone()
}

async fn load_both(stage: &Stage) {
    stage.load("target", true).await.unwrap().unwrap();
    assert_eq!(seen(stage, "draft").await.state, State::Ready);
    // long enough to forgive what members count by themselves
    sleep(MINUTE).await;
}

#[test]
fn failures_of_all_members_are_counted_in_one_sliding_window() {
    let group = pair(GroupStrategy::OneForAll, 2);
    in_virtual_time_with(&["draft", "target"], group, ScriptedProber::default(), async |stage| {
        load_both(stage).await;
        // the first is just forgotten when the third comes: the window has ten minutes
        for (generation, model) in [(1, "draft"), (2, "target"), (3, "draft")] {
            stage.crash(&process(model, generation));
            for member in ["draft", "target"] {
                stage.process(member, generation + 1).await;
            }
            sleep(MINUTE * 5 + MOMENT).await;
        }
        for member in ["draft", "target"] {
            assert_eq!(seen(stage, member).await.restarts, 3, "each went with the other");
        }
        stage.crash(&process("target", 4));
        sleep(MOMENT).await;
        stage.process("draft", 5).await;
        stage.process("target", 5).await;
        sleep(MINUTE).await;
        stage.crash(&process("draft", 5));
        sleep(MOMENT).await;
        for member in ["draft", "target"] {
            let view = seen(stage, member).await;
            let reason = view.reason.unwrap_or_default();
            assert_eq!(view.state, State::Parked, "{reason}");
            let used_up = "group pair: 2 restarts in 10m used up, last: draft: exit 1";
            assert_eq!(reason, format!("{used_up}; one trial start after a rest of 5m"));
        }
    });
}

#[test]
fn a_parked_group_comes_back_as_a_whole_after_the_rest_of_the_one_that_failed() {
    let group = pair(GroupStrategy::OneForAll, 0);
    in_virtual_time_with(&["draft", "target"], group, ScriptedProber::default(), async |stage| {
        load_both(stage).await;
        for (rest, generation) in [(5, 1), (10, 3)] {
            let died = Instant::now();
            stage.crash(&process("target", generation));
            sleep(MOMENT * 5).await;
            assert_eq!(stage.launcher.live(), [], "both are down");
            sleep(MINUTE * rest - Duration::from_secs(1)).await;
            assert_eq!(stage.launcher.live(), [], "and rest");
            while stage.launcher.live().len() < 2 {
                sleep(MOMENT).await;
            }
            assert!(died.elapsed() >= MINUTE * rest, "{:?}", died.elapsed());
            assert!(died.elapsed() <= MINUTE * rest + 2 * Duration::from_secs(1));
            // not long enough to forgive the failure
            sleep(Duration::from_secs(2)).await;
        }
        let spawns = stage.launcher.spawns();
        let order: Vec<_> = spawns.iter().map(|key| &key.instance).collect();
        let (draft, target) = (process("draft", 1).instance, process("target", 1).instance);
        assert_eq!(order, [&draft, &target].repeat(3), "always in their order");
    });
}

#[test]
fn all_wait_for_the_delay_of_the_one_that_failed() {
    let group = pair(GroupStrategy::OneForAll, 5);
    in_virtual_time_with(&["draft", "target"], group, ScriptedProber::default(), async |stage| {
        load_both(stage).await;
        stage.crash(&process("target", 1));
        stage.process("target", 2).await;
        // the second in a row has a delay of half a second, give or take a fifth
        let died = Instant::now();
        stage.crash(&process("target", 2));
        sleep(Duration::from_millis(300)).await;
        assert_eq!(stage.launcher.live(), []);
        let draft = seen(stage, "draft").await;
        assert_eq!(
            (draft.state, draft.progress),
            (State::Starting, Some("waiting for target".into()))
        );
        stage.process("target", 3).await;
        assert!(died.elapsed() >= Duration::from_millis(400), "{:?}", died.elapsed());
        let draft = seen(stage, "draft").await;
        assert_eq!((draft.state, draft.generation), (State::Ready, Generation(3)));
    });
}

/// The first model is started after the second, which may take hours.
fn after_slow_db(mut settings: Settings) -> Settings {
    let agent = Arc::make_mut(&mut settings.models[0]);
    *agent = agent.clone().with_after(["db"]).unwrap();
    let db = Arc::make_mut(&mut settings.models[1]);
    let backend = Arc::make_mut(db.backend.as_mut().unwrap());
    backend.start.stall_timeout = Duration::from_secs(10 * 3600);
    backend.start.total_timeout = Duration::from_secs(10 * 3600);
    settings
}

#[test]
fn waiting_for_another_model_takes_no_time_of_a_start() {
    let prober = ScriptedProber::by_hand();
    in_virtual_time_with(&["agent", "db"], after_slow_db, prober, async |stage| {
        let load = stage.load("agent", true);
        let db = stage.process("db", 1).await;
        // longer than any start may take
        sleep(MINUTE * 180).await;
        let agent = seen(stage, "agent").await;
        assert_eq!((agent.state, agent.generation), (State::Starting, Generation(1)));
        assert_eq!(agent.progress.as_deref(), Some("waiting for db"));
        assert_eq!(stage.launcher.live(), std::slice::from_ref(&db));
        let ready = Instant::now();
        stage.ready(&db).await;
        let agent = stage.process("agent", 1).await;
        assert_took(ready, Duration::ZERO);
        assert_eq!(seen(stage, "agent").await.progress, None);
        stage.ready(&agent).await;
        load.await.unwrap().unwrap();
    });
}

#[test]
fn waits_that_were_given_up_take_nobodys_place() {
    let prober = ScriptedProber::by_hand();
    in_virtual_time_with(&["agent", "db"], after_slow_db, prober, async |stage| {
        let db = stage.load("db", false);
        stage.process("db", 1).await;
        for _ in 0..=limits::LOAD_WAITERS {
            stage.load("agent", false).await.unwrap().unwrap();
            let unload = UnloadModel { model: "agent".into() };
            stage.service.desk().unwrap().send(unload).await.unwrap().unwrap();
        }
        db.await.unwrap().unwrap();
        stage.load("db", false).await.unwrap().expect("only one waits, and that is this one");
    });
}

/// Takes the place of a group below its supervisor.
struct Squatter;

impl Actor for Squatter {
    type Context = Context<Self>;
}

impl Handler<StopActor> for Squatter {
    type Result = ();

    fn handle(&mut self, _: StopActor, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[test]
fn a_group_that_cannot_be_started_is_told_and_tried_again() {
    let group = pair(GroupStrategy::OneForAll, 5);
    in_virtual_time_with(&["draft", "target"], group, ScriptedProber::default(), async |stage| {
        let wiring = stage.service.wiring();
        let (desk, instances) = (stage.service.desk().unwrap(), wiring.instances.get().unwrap());
        let settings = wiring.settings.borrow().clone();
        let use_models = |models| UseModels {
            catalogue: Catalogue::new(models),
            settings: Arc::new(settings.service.clone()),
        };
        let without = settings.models.iter().map(|model| {
            let mut model = model.clone();
            Arc::make_mut(&mut model).group = None;
            model
        });
        desk.send(use_models(without.collect())).await.unwrap();
        sleep(MOMENT).await;
        let squatter = || {
            let rules = ChildRules::worker("group pair");
            ChildSpec::actor(rules, |_| Squatter, |_| {})
        };
        instances.send(StartChild(squatter())).await.unwrap().unwrap();
        desk.send(use_models(settings.models.clone())).await.unwrap();
        let load = stage.load("target", true);
        sleep(MINUTE).await;
        assert_eq!(seen(stage, "target").await.progress.as_deref(), Some("waiting for its group"));
        let read = ReadEvents { since: 0, limit: usize::MAX };
        let page = stage.service.events().unwrap().send(read).await.unwrap();
        let told = page.events.iter().filter(|event| event.kind == "group_not_started");
        let told: Vec<_> =
            told.map(|event| (event.subject.as_str(), event.cause.as_deref())).collect();
        assert_eq!(told, [("group pair", Some("already started"))], "once, and not at each try");

        instances.send(TerminateChild("group pair".into())).await.unwrap().unwrap();
        let free = Instant::now();
        load.await.unwrap().unwrap();
        assert!(free.elapsed() <= limits::GROUP_RETRY + 5 * MOMENT, "{:?}", free.elapsed());
        assert_eq!(seen(stage, "draft").await.state, State::Ready);
    });
}

/// One of the many things that may happen at any moment.
async fn something_happens(stage: &Stage, random: &mut fastrand::Rng, asked: &mut Asked) {
    let model = ["draft", "target", "agent"][random.usize(..3)];
    let desk = stage.service.desk().unwrap();
    match random.u8(..10) {
        0..3 => asked.push(stage.load(model, random.bool())),
        3 => {
            let restart = RestartModel { model: model.into(), wait: random.bool() };
            let sent = desk.send(restart);
            asked.push(actix_rt::spawn(async move { sent.await.unwrap() }));
        }
        4 => {
            let sent = desk.send(UnloadModel { model: model.into() });
            asked.push(actix_rt::spawn(async move {
                sent.await.unwrap().map(|()| Err(ModelError::NotLoaded(String::new())))?
            }));
        }
        5 => {
            let live = stage.launcher.live();
            if let Some(key) = random.choice(live) {
                stage.launcher.exit(&key, ExitStatus::Code(3), Vec::new());
            }
        }
        6 if random.u8(..4) == 0 => {
            let name = GroupName::try_new("pair").unwrap();
            if let Ok(Some(group)) = desk.send(FindGroup(name)).await {
                let _ = group.send(CrashForTest).await;
            }
        }
        7 if random.u8(..4) == 0 => {
            let name = ModelName::try_new(model).unwrap();
            if let Ok(Some(Present::Runs(actor))) = desk.send(FindLive(name)).await {
                let _ = actor.send(CrashForTest).await;
            }
        }
        _ => sleep(Duration::from_millis(random.u64(..800))).await,
    }
}

type Asked = Vec<tokio::task::JoinHandle<super::Loaded>>;

#[test]
fn whatever_crosses_in_a_group_is_answered_and_comes_to_rest() {
    // two that once found something, and those after them
    let seed = 9_668_415_816_828_222_683_u64;
    for (round, strategy) in
        [GroupStrategy::OneForAll, GroupStrategy::RestForOne, GroupStrategy::OneForOne]
            .into_iter()
            .cycle()
            .take(12)
            .enumerate()
    {
        let seed = seed.wrapping_add(round as u64);
        println!("{strategy:?}, seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let hanging = |settings: Settings| {
            let mut settings = pair(strategy, 3)(settings);
            let agent = Arc::make_mut(&mut settings.models[2]);
            *agent = agent.clone().with_after(["target"]).unwrap();
            settings
        };
        let models = ["draft", "target", "agent"];
        in_virtual_time_with(&models, hanging, ScriptedProber::default(), async |stage| {
            let mut asked = Vec::new();
            for _ in 0..150 {
                something_happens(stage, &mut random, &mut asked).await;
                let live = stage.launcher.live();
                let instances: HashSet<_> = live.iter().map(|key| &key.instance).collect();
                assert_eq!(instances.len(), live.len(), "two processes of one: {live:?}");
            }
            for answer in asked {
                // every one is answered, if with a refusal
                let _ = answer.await.unwrap();
            }
            for model in ["agent", "target", "draft"] {
                let unload = UnloadModel { model: model.into() };
                let _ = stage.service.desk().unwrap().send(unload).await.unwrap();
            }
            sleep(MINUTE).await;
            assert_eq!(stage.launcher.live(), [], "a stop is obeyed");
            stage.load("agent", true).await.unwrap().unwrap();
            assert_eq!(seen(stage, "target").await.state, State::Ready);
            if strategy != GroupStrategy::OneForOne {
                assert_eq!(seen(stage, "draft").await.state, State::Ready);
            }
        });
    }
}
