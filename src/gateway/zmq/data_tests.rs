use serde_json::{Value, json};

use super::*;
use crate::clock::{Clock, Moment, Started};
use crate::ids::{Generation, InstanceId, ModelName};
use crate::launcher::ExitStatus;
use crate::registry::catalogue::Catalogue;

struct World {
    instances: Vec<Arc<InstanceView>>,
    catalogue: Catalogue,
}

impl RegistryView for World {
    fn instances(&self) -> &[Arc<InstanceView>] {
        &self.instances
    }
    fn ready_protocols(&self) -> &[String] {
        &[]
    }
    fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }
}

fn name(text: &str) -> ModelName {
    ModelName::try_new(text).expect("valid")
}

fn instance(model: &str, state: State) -> Arc<InstanceView> {
    Arc::new(InstanceView {
        instance: InstanceId::of_model(&name(model)),
        model: name(model),
        fullname: Some(format!("org/{model}")),
        model_type: "t".into(),
        generation: Generation(2),
        endpoint: format!("ipc:///tmp/{model}"),
        state,
        pid: state.has_process().then_some(7),
        started_at: Some(Started { wall_seconds: 100.5, at: Moment::from_millis(300) }),
        restarts: 1,
        last_exit: Some(Arc::new(LastExit {
            generation: Generation(1),
            status: Some(ExitStatus::Code(3)),
            reason: "exit 3 before ready".into(),
            output: vec!["out of memory".into()],
            at: 99.0,
        })),
        protocols: vec!["ping".into()],
        reason: None,
        progress: Some("40 %".into()),
        group: None,
        outdated: false,
    })
}

fn world() -> World {
    let spec = |model: &str| {
        Arc::new(ModelSpec {
            name: name(model),
            fullname: None,
            model_type: "t".into(),
            backend: None,
            path: None,
            autostart: false,
            after: Vec::new(),
            group: None,
        })
    };
    World {
        instances: vec![
            instance("parked", State::Parked),
            instance("ready", State::Ready),
            instance("removed", State::Stopping),
        ],
        catalogue: Catalogue::new(["never", "parked", "ready"].map(spec).to_vec()),
    }
}

fn facts() -> ServiceFacts {
    ServiceFacts {
        version: "1.2.3",
        pid: 42,
        clock: Clock::start(),
        client_endpoint: "ipc:///c".into(),
        cli_endpoint: "ipc:///m".into(),
        log_dir: "/logs".into(),
        binary: "/usr/bin/symphony".into(),
        runtime_dir: "/run/symphony".into(),
        allow_chaos: false,
        heart: Default::default(),
    }
}

fn status(with_idle: bool) -> Value {
    serde_json::to_value(StatusData::new(
        &facts(),
        &world(),
        with_idle,
        Moment::from_millis(60_400),
    ))
    .expect("json")
}

fn names(models: &Value) -> Vec<&str> {
    let models = models.as_array().expect("a list").iter();
    models.map(|model| model["name"].as_str().expect("a name")).collect()
}

#[test]
fn status_lists_what_is_loaded_with_the_keys_of_the_contract() {
    let mut status = status(false);
    let models = status["models"].take();
    assert_eq!(
        status,
        json!({
            "service_status": "running", "is_running": true, "version": "1.2.3",
            "binary": "/usr/bin/symphony", "pid": 42, "uptime": 60,
            "client_endpoint": "ipc:///c", "cli_endpoint": "ipc:///m", "model_count": 2, "models": null,
        })
    );
    assert_eq!(names(&models), ["ready", "removed"]);
    assert_eq!(
        models[0],
        json!({
            "name": "ready", "model_name": "ready", "type": "t", "model_type": "t", "fullname": "org/ready",
            "endpoint": "ipc:///tmp/ready", "pid": 7, "started_at": 100.5, "uptime": 60, "is_alive": true,
            "state": "ready", "generation": 2, "restarts": 1,
            "last_exit": {
                "generation": 1, "status": {"code": 3}, "reason": "exit 3 before ready",
                "output": ["out of memory"], "at": 99.0,
            },
            "supported_protocols": ["ping"], "reason": null, "progress": "40 %",
        })
    );
}

#[test]
fn status_of_all_adds_parked_and_never_loaded_models_in_file_order() {
    let status = status(true);
    assert_eq!(names(&status["models"]), ["never", "parked", "ready", "removed"]);
    assert_eq!(status["model_count"], 4);
    let never = &status["models"][0];
    assert_eq!((&never["state"], &never["generation"]), (&json!("stopped"), &json!(0)));
    assert_eq!(status["models"][1]["is_alive"], false);
}

#[test]
fn list_models_tells_loaded_and_supported_ones() {
    let list = serde_json::to_value(ListModelsData::new(&facts(), &world(), Moment::default()))
        .expect("json");
    assert_eq!(names(&list["loaded_models"]), ["ready", "removed"]);
    assert_eq!(list["installed_models"], json!([]));
    assert_eq!(
        list["supported_models"],
        json!([
            {"name": "never", "fullname": null, "type": "t", "state": "stopped"},
            {"name": "parked", "fullname": null, "type": "t", "state": "parked"},
            {"name": "ready", "fullname": null, "type": "t", "state": "ready"},
        ])
    );
}

#[test]
fn list_models_tells_what_each_may_use_up() {
    let mut world = world();
    let backend = crate::settings::model::BackendSpec::command(["true"]);
    let model = ModelSpec::new("limited", backend).expect("valid");
    let limited = model.name.clone();
    world.catalogue = Catalogue::new(vec![Arc::new(model)]);
    let list =
        serde_json::to_value(ListModelsData::new(&facts(), &world, Moment::from_millis(10_300)))
            .expect("json");
    let row = &list["supported_models"][0];
    assert_eq!(
        row["restart"],
        json!({"class": "permanent", "max_consecutive_failures": 5, "reset_after_ms": 10_000, "window_max": 20,
               "window_period_ms": 1_800_000, "on_give_up": "park"})
    );
    let file = format!("/logs/{}.log", crate::ids::InstanceId::of_model(&limited));
    assert_eq!(row["log"], json!({"max_bytes": 16 * 1024 * 1024, "keep": 3, "file": file}));
}
