//! The actor and its thread; what clients see is in `tests/gateway.rs`.

use std::sync::mpsc;

use super::shared::Shared;
use super::*;
use crate::clock::Clock;
use crate::events::messages::{EventPage, ReadEvents};
use crate::gateway::doors::{ControlHandle, ServiceFacts};
use crate::gateway::open_sockets::OpenSockets;
use crate::instance::messages::{LoadModel, ModelError, ReadLog, RestartModel, UnloadModel};
use crate::registry::messages::AskDirect;

/// Somebody behind every door who has nothing to say.
struct Nobody;

impl Actor for Nobody {
    type Context = Context<Self>;
}

macro_rules! answers {
    ($($message:ty => $answer:expr,)*) => {
        $(impl Handler<$message> for Nobody {
            type Result = MessageResult<$message>;
            fn handle(&mut self, _: $message, _: &mut Self::Context) -> Self::Result {
                MessageResult($answer)
            }
        })*
    };
}

answers! {
    AskDirect => (),
    LoadModel => Err(ModelError::ShuttingDown),
    UnloadModel => Err(ModelError::ShuttingDown),
    RestartModel => Err(ModelError::ShuttingDown),
    ReadLog => Err(ModelError::ShuttingDown),
    ReadEvents => EventPage { events: Vec::new(), next: 0, missed: 0, dropped: 0 },
}

fn doors(folder: &std::path::Path) -> Doors {
    let nobody = Nobody.start();
    let endpoint = |name: &str| format!("ipc://{}", folder.join(name).display());
    Doors {
        open_sockets: OpenSockets::default(),
        facts: ServiceFacts {
            version: "0",
            pid: 1,
            clock: Clock::start(),
            client_endpoint: endpoint("client"),
            cli_endpoint: endpoint("cli"),
            log_dir: "/logs".into(),
            binary: "/usr/bin/symphony".into(),
            runtime_dir: "/run/symphony".into(),
            allow_chaos: false,
            heart: Default::default(),
        },
        registry: nobody.clone().recipient(),
        load: nobody.clone().recipient(),
        unload: nobody.clone().recipient(),
        restart: nobody.clone().recipient(),
        read_log: nobody.clone().recipient(),
        events: nobody.recipient(),
        control: ControlHandle::channel().0,
    }
}

fn names(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder).expect("folder").count()
}

/// A gateway whose thread runs `body`.
fn with_thread(
    folder: &std::path::Path,
    exit: ExitSlot,
    body: impl FnOnce() -> zmq::Result<()> + Send + 'static,
) -> ZmqGateway {
    let (shared, _) = Shared::new().expect("eventfd");
    let (begin, begun) = mpsc::sync_channel(1);
    let body = move || {
        begun.recv().expect("the actor was started");
        body()
    };
    let thread = Thread::spawn(Arc::new(shared), begin, body).expect("thread");
    let patience = Patience { short: limits::ASK_TIMEOUT, long: limits::ASK_TIMEOUT };
    let doors = Arc::new(doors(folder));
    let (requests, unloads) = (JoinSet::new(), JoinSet::new());
    ZmqGateway { requests, unloads, thread, doors, patience, exit }
}

async fn stopped(gateway: Addr<ZmqGateway>) {
    let gone = async {
        while gateway.connected() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the actor stops");
}

#[actix_rt::test]
async fn a_panic_of_the_thread_ends_the_actor_with_a_reason() {
    let folder = tempfile::tempdir().expect("folder");
    let exit = ExitSlot::default();
    let gateway = with_thread(folder.path(), exit.clone(), || panic!("frame {}", 7));
    stopped(gateway.start()).await;
    let reason = "zmq thread: panicked: frame 7".to_owned();
    assert_eq!(exit.take(), Some(ExitReason::Failed(reason)));
}

#[actix_rt::test]
async fn an_error_of_libzmq_ends_the_actor_with_a_reason() {
    let folder = tempfile::tempdir().expect("folder");
    let exit = ExitSlot::default();
    let gateway = with_thread(folder.path(), exit.clone(), || Err(zmq::Error::ETERM));
    stopped(gateway.start()).await;
    assert!(matches!(exit.take(), Some(ExitReason::Failed(text)) if text.contains("libzmq")));
}

#[actix_rt::test]
async fn a_gateway_that_is_never_started_leaves_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let gateway =
        ZmqGateway::open(doors(folder.path()), GatewayOptions::default(), ExitSlot::default())
            .await
            .expect("open");
    assert_eq!(names(folder.path()), 4, "two sockets and two locks");
    let closed = gateway.closed();
    drop(gateway);
    closed.wait().await;
    assert_eq!(names(folder.path()), 0);
}

#[actix_rt::test]
async fn an_open_that_is_given_up_leaves_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let doors = doors(folder.path());
    let sockets = doors.open_sockets.clone();
    let open = ZmqGateway::open(doors, GatewayOptions::default(), ExitSlot::default());
    let given_up = tokio::time::timeout(Duration::ZERO, open).await;
    drop(given_up);
    all_closed(&sockets).await;
    assert_eq!(names(folder.path()), 0, "all files go");
}

/// Waits until no thread of a gateway has or opens anything any more.
async fn all_closed(sockets: &OpenSockets) {
    tokio::time::timeout(Duration::from_secs(30), sockets.closed()).await.expect("closed");
}

#[actix_rt::test]
async fn a_successor_waits_for_the_sockets_of_its_predecessor() {
    let folder = tempfile::tempdir().expect("folder");
    let options = GatewayOptions::default();
    let sockets = OpenSockets::default();
    for _ in 0..3 {
        let doors = Doors { open_sockets: sockets.clone(), ..doors(folder.path()) };
        let gateway = ZmqGateway::open(doors, options, ExitSlot::default())
            .await
            .expect("the one before lets go in time");
        // dropped while its thread still has everything open
        drop(gateway.start());
    }
    all_closed(&sockets).await;
}

/// Makes the actor panic.
#[derive(Message)]
#[rtype(result = "()")]
struct Explode;

impl Handler<Explode> for ZmqGateway {
    type Result = ();
    fn handle(&mut self, _: Explode, _: &mut Self::Context) {
        panic!("told to");
    }
}

#[actix_rt::test]
async fn a_panic_of_the_actor_closes_the_sockets() {
    let folder = tempfile::tempdir().expect("folder");
    let options = GatewayOptions::default();
    let gateway =
        ZmqGateway::open(doors(folder.path()), options, ExitSlot::default()).await.expect("open");
    let closed = gateway.closed();
    let gateway = gateway.start();
    assert!(gateway.send(Explode).await.is_err());
    closed.wait().await;
    assert_eq!(names(folder.path()), 0);
}

#[actix_rt::test]
async fn close_sockets_answers_when_the_files_are_gone() {
    let folder = tempfile::tempdir().expect("folder");
    let exit = ExitSlot::default();
    let gateway = ZmqGateway::open(doors(folder.path()), GatewayOptions::default(), exit.clone())
        .await
        .expect("open")
        .start();
    gateway.send(CloseIntake).await.expect("answer");
    assert!(gateway.send(Observe).await.expect("answer").closing);
    gateway.send(CloseSockets).await.expect("answer");
    assert_eq!(names(folder.path()), 0);
    stopped(gateway).await;
    assert_eq!(exit.take(), Some(ExitReason::Shutdown));
}

#[actix_rt::test]
async fn open_errors_leave_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("client"), "my thesis").expect("write");
    let open =
        ZmqGateway::open(doors(folder.path()), GatewayOptions::default(), ExitSlot::default());
    let error = open.await.err().expect("the second socket cannot be bound");
    assert_eq!(error, OpenError::NotASocket(folder.path().join("client")));
    assert_eq!(names(folder.path()), 1, "the first was given back");

    let mut same = doors(folder.path());
    same.facts.client_endpoint = same.facts.cli_endpoint.clone();
    let open = ZmqGateway::open(same, GatewayOptions::default(), ExitSlot::default());
    assert!(matches!(open.await.err(), Some(OpenError::SameEndpoint(_))));

    let mut odd = doors(folder.path());
    odd.facts.cli_endpoint = "inproc://x".into();
    let open = ZmqGateway::open(odd, GatewayOptions::default(), ExitSlot::default());
    assert!(matches!(open.await.err(), Some(OpenError::BadEndpoint { .. })));
}
