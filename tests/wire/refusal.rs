//! Streams of the peer that are not taken in. Only they end; nothing is kept for them.

use crate::support::node::Node;
use crate::support::outcome::{WINDOW, expect_reset, fill, read_exactly, read_to_eof, roomy, waits};
use crate::support::peer::{Peer, data, fin, go_away, scripted, update};
use crate::support::{Pipe, pipe, run};
use futures::AsyncWriteExt;
use sluicegate::wire::Flags;
use sluicegate::{ConfigBuilder, MemoryLimit, Mode, Side, Stream};
use std::sync::Arc;

const CODE: u32 = 0x1002;

/// A server that has said hello to its peer, and what its streams reserve.
async fn budgeted(config: ConfigBuilder, limit: usize) -> (Node<Pipe>, Peer<Pipe>, Arc<MemoryLimit>) {
    let budget = Arc::new(MemoryLimit::new(limit));
    let settings = config.refusal_code(CODE).memory(budget.clone());
    let (node, peer) = scripted(Mode::Server, 64 * 1024, settings).await;
    (node, peer, budget)
}

async fn accept(node: &Node<Pipe>, peer: &mut Peer<Pipe>, id: u32) -> Stream {
    let stream = node.accept().await.expect("a stream");
    assert_eq!(stream.id(), id);
    peer.expect(update(id, Flags::ACK, 0)).await;
    stream
}

/// Every way to open stream `id` is answered with one reset of this code, whatever else is sent to the stream.
async fn expect_refused(peer: &mut Peer<Pipe>, id: u32, code: u32) {
    let body = vec![0; WINDOW as usize];
    for fin in [Flags::NONE, Flags::FIN] {
        peer.send(update(id, Flags::SYN | fin, 77)).await;
        peer.expect(update(id, Flags::RST, code)).await;
        peer.send(update(id, Flags::NONE, u32::MAX)).await;
        peer.send_data(id, Flags::NONE, &body).await;
        peer.send(update(id, Flags::FIN, 0)).await;
        peer.send(update(id, Flags::RST, 3)).await;
        peer.expect_quiet().await;
        peer.send_data(id, Flags::SYN | fin, &body[1..]).await;
        peer.expect(update(id, Flags::RST, code)).await;
        peer.send_data(id, Flags::NONE, &body[..1]).await;
        peer.expect_quiet().await;
    }
}

/// Nothing has happened to a stream that was there before.
async fn expect_alive(peer: &mut Peer<Pipe>, stream: &mut Stream) {
    let id = stream.id();
    peer.send_data(id, Flags::NONE, b"ping").await;
    assert_eq!(read_exactly(stream, 4).await, b"ping");
    stream.write_all(b"pong").await.expect("credit");
    peer.expect_data(id, b"pong").await;
}

#[test]
fn y_open_11_streams_beyond_the_accept_backlog_are_reset() {
    run(async {
        let (node, mut peer, budget) = budgeted(roomy().accept_backlog(2), 64 << 20).await;
        peer.send(update(1, Flags::SYN, 0)).await;
        peer.send_data(3, Flags::SYN, b"waits").await;
        expect_refused(&mut peer, 5, CODE).await;
        assert_eq!((node.num_streams().await, budget.reserved()), (2, 2 * WINDOW as usize));

        let mut first = accept(&node, &mut peer, 1).await;
        peer.send(update(5, Flags::SYN, 0)).await;
        peer.expect_quiet().await;
        expect_refused(&mut peer, 7, CODE).await;
        let mut second = accept(&node, &mut peer, 3).await;
        assert_eq!(read_exactly(&mut second, 5).await, b"waits");
        let mut third = accept(&node, &mut peer, 5).await;
        for stream in [&mut first, &mut second, &mut third] {
            expect_alive(&mut peer, stream).await;
        }
        assert!(waits(&node, &mut Box::pin(node.accept())).await);
    });
}

#[test]
fn y_open_11_streams_beyond_the_limit_are_reset() {
    run(async {
        let (node, mut peer, budget) = budgeted(roomy().max_incoming_streams(2), 64 << 20).await;
        // Streams of this end do not count.
        let mut own = node.open().await.expect("opens");
        own.flush().await.expect("flushes");
        peer.expect(update(2, Flags::SYN, 0)).await;
        peer.send(update(1, Flags::SYN, 0)).await;
        peer.send(update(3, Flags::SYN, 0)).await;
        let mut first = accept(&node, &mut peer, 1).await;
        let mut second = accept(&node, &mut peer, 3).await;
        expect_refused(&mut peer, 5, CODE).await;
        assert_eq!((node.num_streams().await, budget.reserved()), (3, 3 * WINDOW as usize));

        // Half closed, either way round, they count still.
        peer.send(update(1, Flags::FIN, 0)).await;
        assert_eq!(read_to_eof(&mut first).await, b"");
        second.close().await.expect("closes");
        peer.expect(fin(3)).await;
        expect_refused(&mut peer, 5, CODE).await;

        // Ended, they do not, though they are held.
        first.close().await.expect("closes");
        peer.expect(fin(1)).await;
        peer.send(update(5, Flags::SYN, 0)).await;
        let mut third = accept(&node, &mut peer, 5).await;
        expect_refused(&mut peer, 7, CODE).await;
        peer.send(update(3, Flags::RST, 0)).await;
        peer.send(update(7, Flags::SYN, 0)).await;
        let mut fourth = accept(&node, &mut peer, 7).await;
        for stream in [&mut own, &mut third, &mut fourth] {
            expect_alive(&mut peer, stream).await;
        }
        drop((first, second));
    });
}

#[test]
fn y_open_11_streams_without_memory_are_reset() {
    run(async {
        let (node, mut peer, budget) = budgeted(roomy(), 2 * WINDOW as usize).await;
        peer.send(update(1, Flags::SYN, 0)).await;
        peer.send(update(3, Flags::SYN, 0)).await;
        let mut first = accept(&node, &mut peer, 1).await;
        let second = accept(&node, &mut peer, 3).await;
        expect_refused(&mut peer, 5, CODE).await;
        assert_eq!((node.num_streams().await, budget.reserved()), (2, 2 * WINDOW as usize));
        expect_alive(&mut peer, &mut first).await;

        drop(second);
        peer.expect(update(3, Flags::RST, 0)).await;
        peer.send_data(5, Flags::SYN, b"now").await;
        let mut third = accept(&node, &mut peer, 5).await;
        assert_eq!(read_exactly(&mut third, 3).await, b"now");
        assert_eq!(budget.peak(), 2 * WINDOW as usize);
        drop((first, third));
        let reading = async move { while peer.next().await.is_some() {} };
        futures::join!(node.close(), reading).0.expect("in good order");
        assert_eq!(budget.reserved(), 0);
    });
}

#[test]
fn y_away_3_streams_after_a_go_away_are_reset_without_code() {
    run(async {
        let (node, mut peer, budget) = budgeted(roomy(), 64 << 20).await;
        peer.send(update(1, Flags::SYN, 0)).await;
        let mut first = accept(&node, &mut peer, 1).await;
        peer.send(update(3, Flags::SYN, 0)).await;
        peer.expect_quiet().await;
        node.call(|connection| connection.go_away()).await;
        peer.expect(go_away(0)).await;
        expect_refused(&mut peer, 5, 0).await;
        // What was open before it lives on, also where it waits to be accepted.
        let mut second = accept(&node, &mut peer, 3).await;
        let mut own = node.open().await.expect("this end may");
        own.flush().await.expect("flushes");
        peer.expect(update(2, Flags::SYN, 0)).await;
        for stream in [&mut first, &mut second, &mut own] {
            expect_alive(&mut peer, stream).await;
        }
        assert_eq!(budget.reserved(), 3 * WINDOW as usize);
    });
}

#[test]
fn y_away_3_streams_during_a_close_are_reset_without_code() {
    run(async {
        let (near, far) = pipe(256);
        let (node, mut peer) = (Node::server(near, roomy().build().expect("valid")), Peer::new(far));
        peer.greet().await;
        peer.send(update(1, Flags::SYN, 0)).await;
        let mut stream = accept(&node, &mut peer, 1).await;
        assert_eq!(fill(&mut stream), WINDOW as usize);
        // The transport is full: closing has to wait, and goes on reading.
        node.call(|connection| connection.close_with(0)).await;
        peer.send(update(3, Flags::SYN, 0)).await;
        let (mut received, mut refused) = (0, 0);
        while let Some((header, body)) = peer.next().await {
            received += body.len();
            if header == update(3, Flags::RST, 0) {
                refused += 1;
            } else if header == go_away(0) {
                break;
            }
        }
        assert_eq!((received, refused), (WINDOW as usize, 1));
        assert_eq!(peer.next().await, None);
        drop(peer);
        node.close().await.expect("in good order");
    });
}

#[test]
fn y_open_9_a_syn_with_a_reset_is_neither_shown_nor_answered() {
    run(async {
        let (node, mut peer, budget) = budgeted(roomy().accept_backlog(1), 64 << 20).await;
        for code in [0, 7, u32::MAX] {
            peer.send(update(1, Flags::SYN | Flags::RST, code)).await;
            peer.send(update(3, Flags::SYN | Flags::RST | Flags::FIN | Flags::ACK, code)).await;
            peer.send_data(5, Flags::SYN | Flags::RST, &vec![0; WINDOW as usize]).await;
        }
        peer.expect_quiet().await;
        assert!(waits(&node, &mut Box::pin(node.accept())).await);
        assert_eq!((node.num_streams().await, budget.peak()), (0, 0));
        peer.send_data(1, Flags::SYN | Flags::FIN, b"new").await;
        assert_eq!(read_to_eof(&mut accept(&node, &mut peer, 1).await).await, b"new");
    });
}

#[test]
fn y_open_10_a_stream_reset_before_accepted_is_never_shown() {
    run(async {
        let (node, mut peer, budget) = budgeted(roomy().accept_backlog(2), 64 << 20).await;
        peer.send(update(1, Flags::SYN, 0)).await;
        // As often as the budget allows: the place in the backlog is free again each time.
        for round in 0..1_000 {
            peer.feed(update(3, Flags::SYN, 0)).await;
            peer.feed(data(3, Flags::NONE, 0)).await;
            peer.send(match round % 3 {
                0 => update(3, Flags::RST, round),
                1 => update(3, Flags::RST | Flags::FIN, round),
                _ => data(3, Flags::RST, 0),
            })
            .await;
        }
        peer.send(update(5, Flags::SYN, 0)).await;
        peer.expect_quiet().await;
        assert_eq!((node.num_streams().await, budget.reserved()), (2, 2 * WINDOW as usize));
        let mut first = accept(&node, &mut peer, 1).await;
        let mut second = accept(&node, &mut peer, 5).await;
        expect_alive(&mut peer, &mut first).await;
        // From here on it is a stream like any other that is reset.
        peer.send(update(5, Flags::RST, 7)).await;
        expect_reset(&mut second, (Side::Remote, 7)).await;
        assert!(waits(&node, &mut Box::pin(node.accept())).await);
    });
}
