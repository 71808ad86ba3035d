//! More streams at once than the backlog holds, from a peer that waits for no acknowledgement. That is no
//! overflow for one who accepts them as they come (Y-OPEN-13).

use crate::support::line::{HEADER, Line, queue};
use crate::support::node::Node;
use crate::support::pair::Counter;
use crate::support::peer::{Peer, data, ping, update};
use crate::support::{pipe, quiet, run};
use sluicegate::wire::Flags;
use sluicegate::{Mode, Priority, Stream};
use std::task::{Context, Poll, Waker};

const STREAMS: usize = 1000;

/// All of it is there when the node reads; all of it is accepted, in order, and none is refused.
async fn burst(backlog: usize, len: u32) {
    let settings = quiet().accept_backlog(backlog).max_incoming_streams(STREAMS);
    let (near, far) = pipe(8 << 20);
    let (node, mut peer) = (Node::new(near, settings.build().expect("valid"), Mode::Server), Peer::new(far));
    peer.greet().await;
    let ids = || (0..STREAMS).map(|n| 2 * n as u32 + 1);
    let mut burst = Vec::new();
    for id in ids() {
        burst.extend_from_slice(&data(id, Flags::SYN, len).encode());
        burst.extend(std::iter::repeat_n(7, len as usize));
    }
    let accepting = async {
        let mut accepted = Vec::new();
        while accepted.len() < STREAMS {
            accepted.push(node.accept().await.expect("a stream"));
        }
        accepted
    };
    let ((), accepted) = futures::join!(peer.send_raw(&burst), accepting);
    assert!(accepted.iter().map(Stream::id).eq(ids()));
    for id in ids() {
        peer.expect(update(id, Flags::ACK, 0)).await;
    }
    peer.expect_quiet().await;
}

#[test]
fn y_open_13_a_burst_of_streams_overflows_no_acceptor() {
    for (backlog, len) in [(256, 0), (16, 0), (1, 0), (256, 1000)] {
        run(burst(backlog, len));
    }
}

/// Whether or not the transport takes what this end has to say.
#[test]
fn y_open_13_accepting_wakes_a_connection_that_waits_for_it() {
    for blocked in [false, true] {
        let mut line = Line::new(quiet().accept_backlog(8));
        let [mut writing] = line.open(Priority::MEDIUM, 0);
        if blocked {
            queue(&mut writing, 1000);
            line.poll();
        } else {
            line.give(usize::MAX);
        }
        for n in 1..=20 {
            line.feed(update(2 * n, Flags::SYN, 0), &[]);
        }
        let (counter, waker) = Counter::new();
        let mut accepted = Vec::new();
        // Five of eight places are taken.
        assert!(poll(&mut line, &waker).is_pending());
        assert_eq!((line.connection.num_streams(), counter.count()), (1 + 5, 0));
        while accepted.len() < 20 {
            let (before, unread) = (counter.count(), 20 - accepted.len() > 5);
            accepted.push(line.accept());
            assert!(!unread || counter.count() > before, "accepting stream {} wakes nobody", 2 * accepted.len());
            assert!(poll(&mut line, &waker).is_pending());
        }
        assert!(accepted.iter().map(Stream::id).eq((1..=20).map(|n| 2 * n)));
    }
}

/// As tokio-yamux sends them, which counts no acknowledgements. The surplus is reset, and nothing else happens.
#[test]
fn y_limit_4_thousands_of_streams_in_one_read_cost_the_surplus_of_them() {
    for streams in [2_305u32, 2_400, 20_000] {
        run(async {
            let (near, far) = pipe(8 << 20);
            let node = Node::new(near, quiet().build().expect("valid"), Mode::Server);
            let mut peer = Peer::new(far);
            peer.greet().await;
            let ids = (0..streams).map(|n| 2 * n + 1);
            let burst: Vec<u8> = ids.clone().flat_map(|id| update(id, Flags::SYN, 0).encode()).collect();
            peer.send_raw(&burst).await;
            for id in ids.clone().skip(256) {
                peer.expect(update(id, Flags::RST, 0)).await;
            }
            let mut kept = Vec::new();
            for id in ids.take(256) {
                kept.push(node.accept().await.expect("in the backlog"));
                peer.expect(update(id, Flags::ACK, 0)).await;
            }
            peer.expect_quiet().await;
        });
    }
}

/// Pongs that are in a batch are not owed any more, though the transport has taken none of it: reading goes on, and nobody
/// else wakes it.
#[test]
fn y_limit_4_reading_goes_on_once_the_pongs_owed_are_encoded() {
    const PINGS: u32 = 1024;
    let mut line = Line::new(quiet());
    let [mut writing, reading] = line.open(Priority::MEDIUM, 0);
    queue(&mut writing, 1000);
    line.poll();
    (0..=PINGS).for_each(|nonce| line.feed(ping(nonce), &[]));
    line.feed(data(reading.id(), Flags::NONE, 3), b"new");
    line.poll();
    assert_eq!(reading.stats().unread, 0, "no more pongs than these may be owed");
    // The rest of the batch before, and half of a pong.
    line.give(HEADER + 1000 + HEADER / 2);
    assert_eq!(reading.stats().unread, 3);
}

/// A round trip of small messages on more streams than are remembered when they have been refused: the peer learns of that
/// behind all of it.
#[test]
fn y_limit_1_data_that_crosses_the_refusal_of_thousands_of_streams_is_no_flood() {
    const STREAMS: u32 = 4_000;
    const MESSAGES: usize = 10;
    run(async {
        let (near, far) = pipe(16 << 20);
        let node = Node::new(near, quiet().build().expect("valid"), Mode::Server);
        let mut peer = Peer::new(far);
        peer.greet().await;
        let ids = || (0..STREAMS).map(|n| 2 * n + 1);
        let mut burst: Vec<u8> = ids().flat_map(|id| update(id, Flags::SYN, 0).encode()).collect();
        for id in (0..MESSAGES).flat_map(|_| ids()) {
            burst.extend(data(id, Flags::NONE, 100).encode());
            burst.extend([7; 100]);
        }
        peer.send_raw(&burst).await;
        for id in ids().skip(256) {
            peer.expect(update(id, Flags::RST, 0)).await;
        }
        peer.expect_quiet().await;
        assert_eq!(node.num_streams().await, 256);
    });
}

/// All of them are given up at once, before any was accepted.
#[test]
fn y_limit_2_a_burst_of_given_up_streams_is_no_attack() {
    run(async {
        let (near, far) = pipe(8 << 20);
        let node = Node::new(near, quiet().build().expect("valid"), Mode::Server);
        let mut peer = Peer::new(far);
        peer.greet().await;
        let cancelled = (0..2_400).flat_map(|n| [Flags::SYN, Flags::RST].map(|flags| update(2 * n + 1, flags, 0)));
        peer.send_raw(&cancelled.flat_map(|header| header.encode()).collect::<Vec<u8>>()).await;
        peer.expect_quiet().await;
        assert_eq!(node.num_streams().await, 0);
    });
}

fn poll(line: &mut Line, waker: &Waker) -> Poll<()> {
    line.connection.poll(&mut Context::from_waker(waker)).map(|ended| panic!("{ended:?}"))
}

/// Law 9: a poll does a bounded amount of work, however small the frames are, then yields, and nothing is lost by that.
#[test]
fn a_poll_takes_a_bounded_number_of_frames() {
    const FRAMES: usize = 10_000;
    let mut line = Line::new(quiet());
    let [stream] = line.open(Priority::MEDIUM, 0);
    for _ in 0..FRAMES {
        line.feed(data(stream.id(), Flags::NONE, 1), &[7]);
    }
    let (counter, waker) = Counter::new();
    let before = line.connection.stats().received.data_frames as usize;
    let mut taken = Vec::new();
    while taken.iter().sum::<usize>() < FRAMES {
        let woken = counter.count();
        assert!(poll(&mut line, &waker).is_pending());
        let all = line.connection.stats().received.data_frames as usize - before;
        taken.push(all - taken.iter().sum::<usize>());
        assert!(all == FRAMES || counter.count() > woken, "nobody asks for the rest");
    }
    // A frame comes as its header and its body.
    assert_eq!(taken, [2048, 2048, 2048, 2048, 1808]);
    assert_eq!(stream.stats().unread as usize, FRAMES);
}
