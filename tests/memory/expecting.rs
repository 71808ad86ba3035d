//! Windows that are made large ahead of what is coming.

use crate::support::node::Node;
use crate::support::pair::{WINDOW, pattern};
use crate::support::peer::{Peer, data, scripted, update};
use crate::support::{Pipe, quiet, run};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::wire::Flags;
use sluicegate::{MemoryLimit, Mode, Priority};
use std::sync::Arc;

const MAX: usize = 4 << 20;

/// A node with a budget of `limit` bytes, and its peer.
async fn budgeted(mode: Mode, limit: usize) -> (Node<Pipe>, Peer<Pipe>, Arc<MemoryLimit>) {
    let budget = Arc::new(MemoryLimit::new(limit));
    let settings = quiet().memory(budget.clone()).max_stream_window(MAX as u32).max_send_buffer(65_536);
    let (node, peer) = scripted(mode, 8 << 20, settings).await;
    (node, peer, budget)
}

#[test]
fn y_flow_11_what_is_expected_needs_no_further_credit() {
    run(async {
        let (node, mut peer, budget) = budgeted(Mode::Server, 64 << 20).await;
        peer.send(update(1, Flags::SYN, 0)).await;
        let mut stream = node.accept().await.expect("a stream");
        peer.expect(update(1, Flags::ACK, 0)).await;
        const COMING: usize = 3 << 20;
        stream.grow_receive_window(COMING as u32);
        peer.expect(update(1, Flags::NONE, (COMING - WINDOW) as u32)).await;
        assert_eq!(budget.reserved(), COMING);
        // Less than it has is nothing new, and neither is the same again.
        stream.grow_receive_window(1);
        stream.grow_receive_window(COMING as u32);
        let bytes = pattern(1, COMING);
        for frame in bytes.chunks(1 << 20) {
            peer.send_data(1, Flags::NONE, frame).await;
        }
        peer.send(data(1, Flags::FIN, 0)).await;
        peer.expect_quiet().await;
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.expect("ends");
        assert!(received == bytes);
        drop(stream);
        peer.expect(data(1, Flags::FIN, 0)).await;
        peer.expect_quiet().await;
        assert_eq!(budget.reserved(), 0);
    });
}

#[test]
fn y_flow_11_the_syn_announces_what_is_expected() {
    run(async {
        let (node, mut peer, budget) = budgeted(Mode::Client, 64 << 20).await;
        let mut stream = node.open().await.expect("opens");
        stream.grow_receive_window(1 << 20);
        stream.flush().await.expect("announces itself");
        peer.expect(update(1, Flags::SYN, (1 << 20) - WINDOW as u32)).await;
        // Never past the largest window there may be.
        stream.grow_receive_window(u32::MAX);
        peer.expect(update(1, Flags::NONE, (MAX - (1 << 20)) as u32)).await;
        assert_eq!(budget.reserved(), MAX);
        peer.expect_quiet().await;
    });
}

#[test]
fn y_flow_11_a_refused_hint_changes_nothing() {
    run(async {
        let (node, mut peer, budget) = budgeted(Mode::Client, 1 << 20).await;
        let mut stream = node.open().await.expect("opens");
        stream.flush().await.expect("announces itself");
        peer.expect(update(1, Flags::SYN, 0)).await;
        // A stream of this priority may bring the budget to two fifths.
        stream.set_priority(Priority::LOW);
        stream.grow_receive_window(512 << 10);
        peer.expect_quiet().await;
        assert_eq!(budget.reserved(), WINDOW);
        stream.set_priority(Priority::HIGH);
        stream.grow_receive_window(512 << 10);
        peer.expect(update(1, Flags::NONE, (512 << 10) - WINDOW as u32)).await;
        assert_eq!(budget.reserved(), 512 << 10);
    });
}

#[test]
fn nothing_is_reserved_on_a_connection_that_is_over() {
    run(async {
        let (node, mut peer, budget) = budgeted(Mode::Client, 64 << 20).await;
        let mut stream = node.open().await.expect("opens");
        stream.flush().await.expect("announces itself");
        peer.expect(update(1, Flags::SYN, 0)).await;
        peer.send_data(1, Flags::NONE, b"unread").await;
        peer.expect_quiet().await;
        drop(peer);
        node.ended().await.expect_err("it was cut");
        let before = budget.reserved();
        stream.grow_receive_window(1 << 20);
        assert_eq!(budget.reserved(), before);
        let mut received = [0; 6];
        stream.read_exact(&mut received).await.expect("arrived before the end");
        drop(stream);
        assert_eq!(budget.reserved(), 0);
    });
}

#[test]
fn nothing_is_reserved_for_a_half_that_has_ended() {
    run(async {
        let (node, mut peer, budget) = budgeted(Mode::Client, 64 << 20).await;
        for end in ["FIN", "reset by the peer", "reset", "closed"] {
            let mut stream = node.open().await.expect("opens");
            let id = stream.id();
            stream.flush().await.expect("announces itself");
            peer.expect(update(id, Flags::SYN, 0)).await;
            match end {
                "FIN" => peer.send(data(id, Flags::FIN, 0)).await,
                "reset by the peer" => peer.send(update(id, Flags::RST, 1)).await,
                "reset" => stream.reset(1),
                _ => stream.close_read(),
            }
            if end == "reset" {
                peer.expect(update(id, Flags::RST, 1)).await;
            }
            peer.expect_quiet().await;
            let before = budget.reserved();
            stream.grow_receive_window(1 << 20);
            peer.expect_quiet().await;
            assert_eq!(budget.reserved(), before, "{end}");
            stream.reset(2);
            drop(stream);
            if end == "FIN" || end == "closed" {
                peer.expect(update(id, Flags::RST, 2)).await;
            }
            peer.expect_quiet().await;
            assert_eq!(budget.reserved(), 0, "{end}");
        }
    });
}
