use std::os::unix::fs::PermissionsExt;

use super::*;

/// A program that answers as `script` says.
struct Program {
    folder: tempfile::TempDir,
}

impl Program {
    fn new(script: &str) -> Self {
        let program = Self { folder: tempfile::tempdir().expect("folder") };
        // moved there when it is whole: one that is open for writing cannot be run
        let unfinished = program.folder.path().join("unfinished");
        fs::write(&unfinished, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755)).expect("set");
        fs::rename(unfinished, program.path()).expect("moved");
        program
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    fn tried(&self) -> Result<Candidate, Refused> {
        let inheritance = Inheritance {
            config: Some("/etc/s y.toml".into()),
            backend_path: Some("/b".into()),
            state: Some("/run/state".into()),
        };
        try_within(&self.path(), &inheritance, Duration::from_secs(30))
    }

    fn refusal(&self) -> String {
        let told = self.tried().expect_err("refused").to_string();
        let own = self.path().display().to_string();
        told.strip_prefix(&own).unwrap_or_else(|| panic!("it is named: {told}")).to_owned()
    }
}

/// As Symphony answers, with other answers before that.
fn symphony(other: &str) -> Program {
    Program::new(&format!(
        r#"case "$*" in
{other}
--version) echo "symphony 9.8.7-rc.1" ;;
"config check --config /etc/s y.toml") [ "$SYMPHONY__BACKEND_PATH" = /b ] ;;
"state check /run/state") ;;
*) echo "unexpected: $*" >&2; exit 2 ;;
esac"#
    ))
}

#[test]
fn one_that_copes_with_all_of_it_may_take_over() {
    let program = symphony("");
    let version = "9.8.7-rc.1".to_owned();
    assert_eq!(program.tried(), Ok(Candidate { binary: program.path(), version }));
}

#[test]
fn what_is_no_program_is_refused() {
    let tried = |path: &str| {
        let refused = try_binary(path.as_ref(), &Inheritance::default()).expect_err("refused");
        refused.to_string()
    };
    assert_eq!(tried("bin/true"), "the path of the new binary must be absolute: bin/true");
    assert!(tried("/no/where").starts_with("/no/where cannot be run: No such file"));
    assert_eq!(tried("/"), "/ cannot be run: it is no file");
    let folder = tempfile::tempdir().expect("folder");
    let text = folder.path().join("text");
    fs::write(&text, "#!/bin/sh\n").expect("written");
    let path = text.display().to_string();
    assert!(tried(&path).contains("cannot be run: Permission denied"), "{}", tried(&path));
    fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).expect("set");
    fs::write(&text, b"\x7fELF nothing more").expect("written");
    assert!(tried(&path).contains("cannot be run: Exec format error"), "{}", tried(&path));
}

#[test]
fn other_programs_are_refused() {
    let told = try_binary("/bin/true".as_ref(), &Inheritance::default()).expect_err("refused");
    assert!(told.to_string().starts_with("/bin/true is no symphony: asked for its version"));
    for (script, words) in [
        ("exit 0", r#""exit status: 0""#),
        ("echo symphony", r#""symphony""#),
        ("echo 'symphony orchestra'", r#""symphony orchestra""#),
        ("echo 'symphony 1.0'; exit 1", r#""symphony 1.0""#),
        ("echo 'symphony 1.0'; echo more", r#""symphony 1.0\nmore""#),
        ("kill -SEGV $$", r#""signal: 11 (SIGSEGV)"#),
    ] {
        let refusal = Program::new(script).refusal();
        let asked = " is no symphony: asked for its version, it answered ";
        let answered = refusal.strip_prefix(asked).unwrap_or_else(|| panic!("{refusal}"));
        assert!(answered.starts_with(words), "{script}: {answered}");
    }
}

#[test]
fn one_that_hangs_is_refused_in_time() {
    let program = Program::new("sleep 1000");
    let limit = Duration::from_millis(200);
    let refused = try_within(&program.path(), &Inheritance::default(), limit).expect_err("refused");
    assert!(
        refused.to_string().ends_with("asked for its version, it did not end within 200ms"),
        "{refused}"
    );
}

#[test]
fn its_own_words_tell_what_it_does_not_take() {
    let program = symphony(r#""config check"*) echo "Error: key \`x\` is unknown" >&2; exit 1 ;;"#);
    assert_eq!(program.refusal(), " does not accept the configuration: Error: key `x` is unknown");
    let program = symphony(r#""state check"*) echo "it has version 7" >&2; exit 1 ;;"#);
    assert_eq!(program.refusal(), " cannot take over the models that run: it has version 7");
    // one from before there was such a check
    let program = symphony(r#"state*) echo "unrecognized subcommand" >&2; exit 2 ;;"#);
    assert_eq!(program.refusal(), " cannot take over the models that run: unrecognized subcommand");
}

#[test]
fn its_words_are_bounded() {
    let program = symphony(r#"config*) head -c 20000 /dev/zero | tr '\0' x; exit 1 ;;"#);
    assert!(program.refusal().chars().count() < limits::TRIAL_WORDS + 100);
    let endless = symphony("config*) yes ;;");
    assert_eq!(endless.refusal(), " does not accept the configuration: it writes without an end");
}
