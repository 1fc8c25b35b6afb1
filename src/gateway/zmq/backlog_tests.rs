use super::super::shared::{Lane, Route};
use super::*;

fn reply(peer: usize, number: usize, bytes: usize) -> Outgoing {
    let identity = peer.to_be_bytes().as_slice().into();
    let route = Route { door: Door::Cli, identity, delimiter: false, lane: Lane::Direct };
    let mut payload = vec![0; bytes.max(8)];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    Outgoing::new(route, &payload)
}

fn number(reply: &Outgoing) -> usize {
    usize::from_be_bytes(reply.payload[..8].try_into().expect("eight"))
}

#[test]
fn the_oldest_reply_of_a_slow_peer_is_dropped() {
    let mut backlog = Backlog::default();
    for n in 0..limits::PEER_BACKLOG {
        assert_eq!(backlog.push(reply(1, n, 8)), 0);
    }
    assert_eq!(backlog.push(reply(1, limits::PEER_BACKLOG, 8)), 1);
    assert_eq!(backlog.replies(), limits::PEER_BACKLOG);
    let mut seen = Vec::new();
    let losses = backlog.retry(|reply| {
        seen.push(number(&reply));
        Handover::Taken
    });
    assert_eq!(
        seen,
        (1..=limits::PEER_BACKLOG).collect::<Vec<_>>(),
        "in order, without the oldest"
    );
    assert_eq!(losses.sent, limits::PEER_BACKLOG);
    assert!(backlog.is_empty());
    assert_eq!((backlog.replies, backlog.bytes), (0, 0));
}

#[test]
fn a_full_peer_keeps_its_order_and_others_go_on() {
    let mut backlog = Backlog::default();
    for n in 0..3 {
        backlog.push(reply(1, n, 8));
        backlog.push(reply(2, n, 8));
    }
    let slow = 1_usize.to_be_bytes();
    let losses = backlog.retry(|reply| {
        if *reply.route.identity == slow[..] { Handover::Full(reply) } else { Handover::Taken }
    });
    assert_eq!(losses.sent, 3);
    assert!(backlog.holds(Door::Cli, &slow));
    assert!(!backlog.holds(Door::Handshake, &slow), "the other socket has its own peers");
    assert!(!backlog.holds(Door::Cli, &2_usize.to_be_bytes()));
    let mut seen = Vec::new();
    backlog.retry(|reply| {
        seen.push(number(&reply));
        Handover::Gone
    });
    assert_eq!(seen, [0, 1, 2]);
    assert!(backlog.is_empty());
}

#[test]
fn the_peer_that_waited_longest_is_given_up() {
    let mut backlog = Backlog::default();
    for peer in 0..limits::BACKLOGGED_PEERS {
        assert_eq!(backlog.push(reply(peer, 0, 8)), 0);
    }
    assert_eq!(backlog.push(reply(usize::MAX, 0, 8)), 1);
    assert_eq!(backlog.peers(), limits::BACKLOGGED_PEERS);
    assert!(!backlog.holds(Door::Cli, &0_usize.to_be_bytes()));
}

#[test]
fn a_peer_that_reads_a_little_is_not_the_one_given_up() {
    let mut backlog = Backlog::default();
    for peer in 0..limits::BACKLOGGED_PEERS {
        backlog.push(reply(peer, 0, 8));
        backlog.push(reply(peer, 1, 8));
    }
    let first = 0_usize.to_be_bytes();
    let losses = backlog.retry(|reply| match number(&reply) {
        0 if *reply.route.identity == first[..] => Handover::Taken,
        _ => Handover::Full(reply),
    });
    assert_eq!(losses.sent, 1);
    assert_eq!(backlog.push(reply(usize::MAX, 0, 8)), 2);
    assert!(backlog.holds(Door::Cli, &first));
    assert!(!backlog.holds(Door::Cli, &1_usize.to_be_bytes()));
}

#[test]
fn bytes_are_bounded_whatever_the_replies_are() {
    let mut backlog = Backlog::default();
    let mut dropped = 0;
    for peer in 0..100 {
        dropped += backlog.push(reply(peer, 0, limits::BACKLOG_BYTES / 10));
        assert!(backlog.bytes <= limits::BACKLOG_BYTES);
    }
    assert_eq!(dropped + backlog.replies(), 100, "every reply is kept or counted");
    let kept = backlog.replies();
    assert_eq!(backlog.push(reply(7, 0, limits::BACKLOG_BYTES + 1)), 1, "fits in no backlog");
    assert_eq!(backlog.replies(), kept, "and costs nobody else a reply");
}

#[test]
fn tries_slow_down_while_nothing_moves() {
    let mut retry = Retry::default();
    let now = Moment::from_millis(5);
    retry.arm(now, false);
    assert_eq!(retry.due(), now + limits::BACKLOG_RETRY_MIN);
    for _ in 0..20 {
        retry.arm(now, false);
    }
    assert_eq!(retry.due(), now + limits::BACKLOG_RETRY_MAX);
    retry.arm(now, true);
    assert_eq!(retry.due(), now + limits::BACKLOG_RETRY_MIN);
}

#[test]
fn a_peer_that_asks_again_is_tried_alone() {
    let mut backlog = Backlog::default();
    for n in 0..3 {
        backlog.push(reply(1, n, 8));
        backlog.push(reply(2, n, 8));
    }
    let (asking, other) = (1_usize.to_be_bytes(), 2_usize.to_be_bytes());
    let mut seen = Vec::new();
    let losses = backlog.retry_one(Door::Cli, &asking, |reply| match number(&reply) {
        2 => Handover::Full(reply),
        n => {
            seen.push(n);
            Handover::Taken
        }
    });
    assert_eq!((losses.sent, seen), (2, vec![0, 1]));
    assert!(backlog.holds(Door::Cli, &asking) && backlog.holds(Door::Cli, &other));
    assert_eq!((backlog.replies(), backlog.bytes), (4, 32));

    let losses = backlog.retry_one(Door::Cli, &asking, |_| Handover::Gone);
    assert_eq!(losses.unreachable, 1);
    assert!(!backlog.holds(Door::Cli, &asking));
    let nobody = backlog.retry_one(Door::Cli, &asking, |_| unreachable!("nothing is kept"));
    assert_eq!(nobody, Losses::default());
    assert_eq!((backlog.replies(), backlog.bytes), (3, 24));
}
