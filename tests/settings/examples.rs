//! The files under `config/` work, and mean what they say.

use std::path::{Path, PathBuf};

use symphony::settings::model::{LaunchForm, Settings, Transport};
use symphony::settings::policy::{GroupStrategy, Readiness};

use super::world::{World, model};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn example(name: &str) -> Settings {
    let mut world = World::new();
    world.sources.overrides.config = Some(folder().join(name));
    world.settings()
}

#[test]
fn every_example_file_is_valid() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder()).expect("the folder is there") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        let settings = example(&name);
        assert!(!settings.models.is_empty(), "{name}");
        assert!(settings.models.iter().all(|model| model.backend.is_some()), "{name}");
        names.push(name);
    }
    names.sort();
    assert_eq!(
        names,
        [
            "config.json",
            "embedded.toml",
            "llama-server.toml",
            "pair.toml",
            "python-script.toml",
            "reference.toml",
            "vllm.toml"
        ]
    );
}

#[test]
fn the_embedded_example_is_the_built_in_default() {
    let (file, default) = (example("embedded.toml"), World::new().settings());
    assert_eq!(file.models, default.models);
    assert_eq!(file.endpoints, default.endpoints);
}

#[test]
fn servers_of_models_are_http_commands() {
    for (file, name, program) in
        [("llama-server.toml", "qwen3-8b", "llama-server"), ("vllm.toml", "qwen3-32b", "vllm")]
    {
        let settings = example(file);
        let spec = model(&settings, name).backend.as_ref().expect("has one");
        assert_eq!(spec.transport, Transport::Http);
        assert_eq!(spec.start.ready, Readiness::Http { path: "/health".into(), status: 200 });
        assert!(matches!(&spec.launch, LaunchForm::Command { argv } if argv[0] == program));
    }
    let settings = example("llama-server.toml");
    let large = model(&settings, "llama-3.3-70b").backend.as_ref().expect("has one");
    assert_eq!(large.limits.memory, Some(64 << 30));
}

#[test]
fn a_draft_and_a_target_live_and_die_together() {
    let settings = example("pair.toml");
    let group = &settings.groups[0];
    assert_eq!(group.strategy, GroupStrategy::OneForAll);
    let members: Vec<_> = group.members.iter().map(|member| member.as_str()).collect();
    assert_eq!(members, ["draft", "target"]);
    let agent = model(&settings, "agent");
    assert_eq!((agent.after.len(), agent.group.as_ref()), (1, None));
}

#[test]
fn a_python_script_gets_its_interpreter() {
    let settings = example("python-script.toml");
    assert_eq!(settings.service.interpreter, "/opt/my-backends/venv/bin/python3");
    let spec = model(&settings, "Qwen3-8B").backend.as_ref().expect("has one");
    assert_eq!(spec.env["CUDA_VISIBLE_DEVICES"], "1");
    assert_eq!(spec.env["TOKENIZERS_PARALLELISM"], "false");
}
