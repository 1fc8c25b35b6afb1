//! Wrong usage, help, generated texts.

use super::program::run;

#[test]
fn wrong_usage_is_2() {
    for line in [
        &["nonsense"][..],
        &[],
        &["load-model"],
        &["status", "--timeout", "never"],
        &["status", "--endpoint", "nowhere"],
        &["serve", "--log-level", "LOUD"],
        &["serve", "--endpoint", "ipc:///tmp/x"],
        &["chaos", "--only", "murder"],
        &["chaos", "--for", "1s", "--faults", "1"],
        &["chaos", "--start=0"],
        &["chaos", "--start", "--endpoint", "ipc:///tmp/x"],
    ] {
        let run = run(line);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{line:?}");
        assert!(!run.stderr.is_empty(), "{line:?}");
    }
}

#[test]
fn the_demo_has_no_json() {
    let run = run(&["demo", "--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(2), ""));
    assert!(run.json()["error"].as_str().is_some_and(|text| text.contains("--json")), "{run:?}");
}

#[test]
fn help_and_version() {
    let run = run(&["--help"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    for word in ["Examples:", "Exit codes:", "start-service", "NO_COLOR"] {
        assert!(run.stdout.contains(word), "{word}");
    }
    assert!(!run.stdout.contains("exec-shim"), "hidden");
    let version = format!("symphony {}\n", env!("CARGO_PKG_VERSION"));
    let run = super::program::run(&["--version"]);
    assert_eq!(run.all(), (Some(0), version.as_str(), ""));
}

#[test]
fn completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = run(&["completions", shell]);
        assert_eq!(run.code, Some(0));
        assert!(run.stdout.contains("load-model"), "{shell}");
    }
    let page = run(&["man"]);
    assert!(page.code == Some(0) && page.stdout.contains(".TH symphony 1"), "{page:?}");
    let page = run(&["man", "status"]);
    assert!(page.code == Some(0) && page.stdout.contains("symphony\\-status"), "{page:?}");
    assert_eq!(run(&["man", "nonsense"]).code, Some(1));
}

#[test]
fn the_library_comes_later_and_says_so() {
    for name in ["install-model", "uninstall-model"] {
        let run = run(&[name, "phi"]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
        assert!(run.stderr.contains("comes with the model library"), "{run:?}");
    }
}

#[test]
fn chaos_names_the_faults_that_there_are() {
    let run = run(&["chaos", "--only", "kill,murder"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("there are kill, stop, freeze, slow, flood"), "{run:?}");
}
