use super::*;
use crate::clock::{Moment, Started};
use crate::ids::ModelName;
use std::os::unix::fs::{PermissionsExt, symlink};

fn instance(model: &str) -> InstanceId {
    InstanceId::of_model(&ModelName::try_new(model).unwrap())
}

fn file(model: &str, record: &str) -> InstanceFile {
    let record = serde_json::value::to_raw_value(record).unwrap();
    InstanceFile { instance: instance(model), record: Some(record), process: None }
}

fn service() -> ServiceFile {
    ServiceFile {
        id: "a".into(),
        boot_id: "b".into(),
        started: Started { wall_seconds: 1.5, at: Moment::from_millis(7) },
        last_event: 9,
        awaited: [instance("x")].into(),
        autostart: Some([instance("x"), instance("y")].into()),
    }
}

struct Place {
    folder: tempfile::TempDir,
    state: StateFolder,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::make(&folder.path().join("state")).unwrap();
        Self { folder, state }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("state").join(name)
    }

    fn path_of(&self, model: &str) -> PathBuf {
        self.path(&format!("{}.json", instance(model)))
    }

    fn read(&self) -> Contents {
        self.state.read().unwrap()
    }

    fn damage(&self) -> Damage {
        let contents = self.read();
        assert!(contents.instances.is_empty());
        match contents.damaged.as_slice() {
            [one] => one.damage.clone(),
            other => panic!("one file is damaged, but {other:?}"),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.state.names().unwrap();
        names.sort();
        names
    }
}

#[test]
fn what_another_program_wrote_is_told_from_damage_and_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let folder = StateFolder::make(&place.path().join("state")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    folder.write_service(&service()).unwrap();
    write("damaged.json", "{");
    write("notes.txt", r#"{"version":2}"#);
    assert_eq!(folder.foreign().unwrap(), []);
    write("newer.json", r#"{"version":2,"new":[1]}"#);
    let senseless = envelope::seal(&serde_json::json!({ "instance": 5 })).unwrap();
    write("senseless.json", std::str::from_utf8(&senseless).unwrap());
    let foreign = folder.foreign().unwrap();
    let names: Vec<_> = foreign.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["newer.json", "senseless.json"]);
    assert_eq!(foreign[0].damage, Damage::OtherVersion(2));
    for name in ["damaged.json", "newer.json", "senseless.json"] {
        assert!(folder.path().join(name).exists(), "{name} was touched");
    }
}

#[test]
fn what_was_written_is_read_again_and_the_last_word_counts() {
    let place = Place::new();
    assert_eq!(place.folder.path().join("state").metadata().unwrap().mode() & 0o777, 0o700);
    place.state.write_service(&service()).unwrap();
    for (model, record) in [("a", "first"), ("b", "only"), ("a", "second")] {
        place.state.write_instance(&file(model, record)).unwrap();
    }
    let contents = place.read();
    assert_eq!(contents.service, Some(service()));
    let records: Vec<_> =
        contents.instances.iter().map(|file| file.record.as_ref().unwrap().get()).collect();
    assert_eq!(records, ["\"second\"", "\"only\""]);
    assert!(contents.damaged.is_empty());
    assert_eq!(place.path_of("a").metadata().unwrap().mode() & 0o777, 0o600);

    place.state.remove_instance(&instance("a")).unwrap();
    place.state.remove_instance(&instance("a")).unwrap();
    assert_eq!(place.read().instances.len(), 1);
    place.state.clear(&[]).unwrap();
    assert!(!place.folder.path().join("state").exists());
}

#[test]
fn every_kind_of_damage_is_told_and_set_aside() {
    type Harm = (fn(&Place), fn(&Damage) -> bool);
    let harms: [Harm; 8] = [
        (|p| std::fs::write(p.path_of("a"), "").unwrap(), |d| matches!(d, Damage::NoEnvelope(_))),
        (
            |p| {
                let bytes = std::fs::read(p.path_of("a")).unwrap();
                std::fs::write(p.path_of("a"), &bytes[..bytes.len() / 2]).unwrap();
            },
            |d| matches!(d, Damage::NoEnvelope(_)),
        ),
        (
            |p| {
                let text = std::fs::read_to_string(p.path_of("a")).unwrap();
                std::fs::write(p.path_of("a"), text.replace("whole", "w hole")).unwrap();
            },
            |d| *d == Damage::Checksum,
        ),
        (
            |p| std::fs::write(p.path_of("a"), r#"{"version":2,"other":[]}"#).unwrap(),
            |d| *d == Damage::OtherVersion(2),
        ),
        (
            |p| {
                let huge = vec![b' '; usize::try_from(limits::STATE_FILE_BYTES).unwrap() + 1];
                std::fs::write(p.path_of("a"), huge).unwrap();
            },
            |d| matches!(d, Damage::TooLarge { .. }),
        ),
        (
            |p| {
                let target = p.folder.path().join("elsewhere");
                std::fs::rename(p.path_of("a"), &target).unwrap();
                symlink(target, p.path_of("a")).unwrap();
            },
            |d| *d == Damage::NoFile,
        ),
        (
            |p| {
                std::fs::remove_file(p.path_of("a")).unwrap();
                std::fs::create_dir(p.path_of("a")).unwrap();
            },
            |d| *d == Damage::NoFile,
        ),
        (
            |p| std::fs::rename(p.path_of("a"), p.path_of("other")).unwrap(),
            |d| matches!(d, Damage::Senseless(_)),
        ),
    ];
    for (at, (harm, expected)) in harms.into_iter().enumerate() {
        let place = Place::new();
        place.state.write_instance(&file("a", "whole")).unwrap();
        harm(&place);
        let before = place.names();
        assert_eq!(place.state.look().unwrap().damaged.len(), 1, "harm {at}");
        assert_eq!(place.names(), before, "harm {at}: who looks changes nothing");
        let damage = place.damage();
        assert!(expected(&damage), "harm {at}: {damage:?}");
        assert!(place.read().damaged.is_empty(), "harm {at}: told once");
        let names = place.names();
        assert!(names.len() == 1 && names[0].ends_with(".damaged"), "harm {at}: {names:?}");
        assert!(place.state.clear(&[]).is_ok() && !place.folder.path().join("state").exists());
        if at == 5 {
            assert!(
                place.folder.path().join("elsewhere").exists(),
                "what a link led to is not ours"
            );
        }
    }
}

#[test]
fn pipes_do_not_hold_a_start_and_foreign_files_are_left_alone() {
    let place = Place::new();
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, place.path_of("a"), mode).unwrap();
    std::fs::write(place.path("notes.txt"), "precious").unwrap();
    assert_eq!(place.damage(), Damage::NoFile);
    place.state.clear(&[]).unwrap();
    assert_eq!(place.names(), ["notes.txt"]);
}

#[test]
fn what_was_just_set_aside_is_not_forgotten() {
    let place = Place::new();
    place.state.write_instance(&file("a", "whole")).unwrap();
    std::fs::write(place.path("service.json"), "{").unwrap();
    assert_eq!(place.read().damaged.len(), 1);
    place.state.forget().unwrap();
    assert_eq!(place.names(), ["service.json.damaged"]);
    place.state.clear(&[]).unwrap();
    assert!(!place.folder.path().join("state").exists());
}

#[test]
fn what_was_never_finished_is_removed_and_hides_nothing() {
    let place = Place::new();
    place.state.write_instance(&file("a", "whole")).unwrap();
    let unfinished = format!("{}.json.unfinished", instance("a"));
    std::fs::write(place.path(&unfinished), "{\"ver").unwrap();
    place.state.write_instance(&file("a", "newer")).unwrap();
    std::fs::write(place.path(&unfinished), "{\"ver").unwrap();
    assert!(place.state.look().is_ok() && place.path(&unfinished).exists());
    let contents = place.read();
    assert_eq!(contents.instances[0].record.as_ref().unwrap().get(), "\"newer\"");
    assert!(contents.damaged.is_empty() && !place.path(&unfinished).exists());
}

#[test]
fn a_folder_that_is_gone_or_not_ours_alone_is_an_error() {
    let place = Place::new();
    let path = place.folder.path().join("state");
    assert!(place.state.is_in_place());
    std::fs::remove_dir(&path).unwrap();
    assert!(!place.state.is_in_place());
    assert!(place.state.write_instance(&file("a", "lost")).is_err());
    assert!(StateFolder::find(&path).unwrap().is_none());
    std::fs::create_dir(&path).unwrap();
    assert!(!place.state.is_in_place(), "another one of the same name");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(StateFolder::find(&path).is_err());
    std::fs::remove_dir(&path).unwrap();
    symlink(place.folder.path(), &path).unwrap();
    assert!(StateFolder::make(&path).is_err(), "a link may lead anywhere");
}

#[test]
fn what_still_lives_keeps_its_file() {
    let place = Place::new();
    place.state.write_service(&service()).unwrap();
    place.state.write_instance(&file("a", "gone")).unwrap();
    place.state.write_instance(&file("b", "unkillable")).unwrap();
    place.state.clear(&[instance("b")]).unwrap();
    let contents = place.read();
    assert_eq!(contents.instances.len(), 1);
    assert_eq!(contents.instances[0].instance, instance("b"));
    assert!(contents.service.is_some());
}
