//! A machine that has no more to give: no descriptors, no folder to write to. The service lives on, tells what is
//! missing, and goes on when it is there again.

use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::backend::until;
use crate::processes::descriptors_of;
use crate::service::{Service, fake};

fn descriptors(service: &Service) -> usize {
    descriptors_of(service.pid()).len()
}

/// Leaves the service `spare` descriptors more than it has; answers how many it may have.
fn limit_descriptors(service: &Service, spare: usize) -> usize {
    let most = descriptors(service) + spare;
    let limit = Some(u64::try_from(most).unwrap());
    let pid = Pid::from_raw(i32::try_from(service.pid()).unwrap());
    prlimit(pid, Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    most
}

#[test]
fn a_service_without_descriptors_goes_on_and_recovers() {
    let service = Service::start(&[fake("a", &[]), fake("b", &[])]);
    let before = service.load("a");
    let most = limit_descriptors(&service, 8);
    let socket = service.endpoint("cli");
    let socket = socket.strip_prefix("ipc://").unwrap();
    let crowd: Vec<_> = (0..50).map(|_| UnixStream::connect(socket).unwrap()).collect();
    until("a full table", || (descriptors(&service) >= most).then_some(()));

    // who is connected already is served as before
    let load = json!({ "model_name": "b" });
    let refused = service.refused("load-model", load);
    assert!(refused.contains("open files"), "{refused}");
    let starved = service.row("b");
    assert!(starved.reason().contains("next start in"), "{starved:?}");
    assert_eq!((service.row("a").pid(), service.row("a").state()), (before.pid(), "ready"));

    drop(crowd);
    service.wait_for_state("b", "ready");
    let newcomer = service.manager();
    newcomer.ask("version", json!({})).unwrap();
    service.stop();
}
