use super::*;

fn record(kind: &'static str) -> Record {
    Record { subject: "m".into(), model: None, generation: None, kind, cause: None }
}

struct Slow(Vec<u64>);

impl Actor for Slow {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4);
    }
}

impl Handler<EventOccurred> for Slow {
    type Result = ();
    fn handle(&mut self, EventOccurred(event): EventOccurred, _: &mut Self::Context) {
        self.0.push(event.seq);
    }
}

#[actix::test]
async fn ring_is_bounded_and_tells_what_a_reader_missed() {
    let log = EventLog::new(Clock::start(), Arc::default(), 0).start();
    for _ in 0..limits::EVENT_RING + 10 {
        log.do_send(record("ready"));
    }
    let page = log.send(ReadEvents { since: 4, limit: usize::MAX }).await.expect("alive");
    assert_eq!(page.events.len(), limits::EVENT_RING);
    assert_eq!(page.missed, 6, "events 5 to 10 are gone");
    assert_eq!(page.next, limits::EVENT_RING as u64 + 10);
    let page = log.send(ReadEvents { since: page.next, limit: 10 }).await.expect("alive");
    assert!(page.events.is_empty() && page.missed == 0);
}

#[actix::test]
async fn numbers_of_cores_before_this_one_are_no_missed_events() {
    let log = EventLog::new(Clock::start(), Arc::new(4096.into()), 4096).start();
    log.do_send(record("ready"));
    for since in [0, 7, 4096] {
        let page = log.send(ReadEvents { since, limit: 10 }).await.expect("alive");
        assert_eq!((page.missed, page.events.len(), page.next), (0, 1, 4097), "since {since}");
    }
}

#[actix::test]
async fn event_overflow_counted() {
    let log = EventLog::new(Clock::start(), Arc::default(), 0).start();
    let slow = Slow(Vec::new()).start();
    log.send(Subscribe { to: slow.recipient() }).await.expect("alive");
    // the log handles all of them before the subscriber gets a turn
    for _ in 0..100 {
        log.do_send(record("ready"));
    }
    let page = log.send(ReadEvents { since: 0, limit: 0 }).await.expect("alive");
    let dropped = page.dropped;
    assert!(dropped > 0, "a subscriber that is too slow loses events, and that is counted");
    assert!(dropped < 100, "what fits is delivered");
}
