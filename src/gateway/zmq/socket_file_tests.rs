use std::os::unix::net::{UnixDatagram, UnixListener};

use super::*;

fn claim(path: &Path) -> Result<SocketFile, OpenError> {
    let clock = Clock::start();
    SocketFile::claim(path, clock, clock.now())
}

/// Claims and binds with a plain listener, which stays alive until it is dropped.
fn bind(path: &Path) -> Result<(UnixListener, SocketFile), OpenError> {
    let mut file = claim(path)?;
    let mut listener = None;
    file.bind_with(|staged| {
        listener =
            Some(UnixListener::bind(staged).map_err(|e| OpenError::file("bind", staged, e))?);
        Ok(())
    })?;
    Ok((listener.expect("bound"), file))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_bound_socket_is_private_and_leaves_nothing_when_dropped() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("deep/er/s");
    let (listener, file) = bind(&path).expect("free");
    let meta = fs::symlink_metadata(&path).expect("there");
    assert_eq!(meta.mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(folder.path().join("deep")).expect("made").mode() & 0o777, 0o700);
    assert_eq!(names(path.parent().expect("parent")), ["s", "s.lock"]);
    std::os::unix::net::UnixStream::connect(&path).expect("reached under its final name");
    drop((listener, file));
    assert_eq!(names(path.parent().expect("parent")), [""; 0]);
}

#[test]
fn a_stale_socket_is_replaced() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    drop(UnixListener::bind(&path).expect("bind"));
    assert!(path.exists(), "a dead socket file is left");
    bind(&path).expect("replaced");
}

#[test]
fn a_live_socket_of_another_program_is_refused_and_untouched() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let stream = UnixListener::bind(&path).expect("bind");
    assert_eq!(claim(&path).expect_err("live"), OpenError::InUse(path.clone()));
    std::os::unix::net::UnixStream::connect(&path).expect("still reached");
    drop(stream);

    let other = folder.path().join("datagram");
    let _datagram = UnixDatagram::bind(&other).expect("bind");
    assert_eq!(claim(&other).expect_err("live"), OpenError::InUse(other));
}

#[test]
fn a_listener_with_a_full_queue_counts_as_live() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let _listener = UnixListener::bind(&path).expect("bind");
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let mut waiting = Vec::new();
    loop {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("socket");
        let outcome = connect(&socket, &SocketAddrUnix::new(&path).expect("address"));
        waiting.push(socket);
        match outcome {
            Ok(()) => assert!(waiting.len() < 100_000, "the queue never fills"),
            Err(error) => break assert_eq!(error, Errno::AGAIN),
        }
    }
    assert_eq!(claim(&path).expect_err("live"), OpenError::InUse(path));
}

#[test]
fn a_file_that_is_no_socket_is_refused_and_untouched() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    fs::write(&path, "my thesis").expect("write");
    assert_eq!(claim(&path).expect_err("foreign"), OpenError::NotASocket(path.clone()));
    assert_eq!(fs::read_to_string(&path).expect("still there"), "my thesis");
    assert_eq!(names(folder.path()), ["s"]);
}

#[test]
fn what_appears_after_the_claim_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let mut file = claim(&path).expect("free");
    fs::write(&path, "quick").expect("write");
    let error = file.bind_with(|staged| {
        UnixListener::bind(staged).map(drop).map_err(|e| OpenError::file("bind", staged, e))
    });
    assert_eq!(error.expect_err("taken"), OpenError::InUse(path.clone()));
    drop(file);
    assert_eq!(fs::read_to_string(&path).expect("still there"), "quick");
    assert_eq!(names(folder.path()), ["s"]);
}

#[test]
fn what_replaced_our_socket_is_not_removed() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let (listener, file) = bind(&path).expect("free");
    fs::remove_file(&path).expect("remove ours");
    let theirs = UnixListener::bind(&path).expect("bind theirs");
    drop((listener, file));
    assert!(path.exists());
    drop(theirs);
}

#[test]
fn endless_paths_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("x".repeat(120));
    assert!(matches!(claim(&path), Err(OpenError::PathTooLong { .. })));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_socket_that_was_left_lives_until_it_is_replaced() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let (old, mut file) = bind(&path).expect("free");
    let left = file.leave().expect("left");
    drop(file);
    assert_eq!(names(folder.path()), ["s", "s.lock"]);
    assert!(!left.is_replaced());
    std::os::unix::net::UnixStream::connect(&path).expect("the old one answers");
    old.accept().expect("it does");

    let (new, file) = bind(&path).expect("it was left to us");
    assert!(left.is_replaced());
    std::os::unix::net::UnixStream::connect(&path).expect("the new one answers");
    new.accept().expect("it does");
    drop((old, left));
    assert_eq!(names(folder.path()), ["s", "s.lock"], "what is the successor's stays");
    drop((new, file));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_socket_that_was_left_to_nobody_goes_with_its_owner() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let (listener, mut file) = bind(&path).expect("free");
    let left = file.leave().expect("left");
    drop((listener, file, left));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn only_the_very_socket_that_was_left_is_replaced() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let (ours, mut file) = bind(&path).expect("free");
    let left = file.leave().expect("left");
    drop(file);
    // somebody who knows nothing of our lock puts another one there: before the claim, and after it
    fs::remove_file(&path).expect("remove");
    let foreign = UnixListener::bind(&path).expect("bind");
    assert_eq!(claim(&path).expect_err("foreign"), OpenError::InUse(path.clone()));
    drop((foreign, ours, left));
    assert!(path.exists(), "no socket of ours");

    fs::remove_file(&path).expect("remove");
    let (_ours, mut file) = bind(&path).expect("free");
    let _left = file.leave().expect("left");
    let mut file = claim(&path).expect("it was left to us");
    fs::remove_file(&path).expect("remove");
    fs::write(&path, "quick").expect("write");
    let error = file.bind_with(|staged| {
        UnixListener::bind(staged).map(drop).map_err(|e| OpenError::file("bind", staged, e))
    });
    assert_eq!(error.expect_err("taken"), OpenError::InUse(path.clone()));
    assert_eq!(fs::read_to_string(&path).expect("still there"), "quick");
}

#[test]
fn a_socket_that_was_left_and_died_is_replaced_too() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let (listener, mut file) = bind(&path).expect("free");
    // as after SIGKILL: nothing of it is dropped
    std::mem::forget(file.leave().expect("left"));
    drop((listener, file));
    assert_eq!(names(folder.path()), ["s", "s.lock"]);
    drop(bind(&path).expect("nobody lives there"));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn what_was_left_by_a_service_that_was_killed_while_it_bound_is_removed() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("s");
    let left = Staging::make(&path).expect("made");
    drop(UnixListener::bind(&left.socket).expect("bound"));
    std::mem::forget(left);
    let bound = bind(&path).expect("free");
    assert_eq!(names(folder.path()), ["s", "s.lock"]);
    drop(bound);

    let name = Staging::make(&path).expect("made").folder.clone();
    fs::create_dir(&name).expect("made");
    fs::write(name.join("thesis"), "mine").expect("written");
    drop(bind(&path).expect("under another name"));
    assert_eq!(fs::read_to_string(name.join("thesis")).expect("there"), "mine");
    assert_eq!(names(folder.path()).len(), 1);
}
