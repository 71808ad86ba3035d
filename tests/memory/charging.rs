//! Memory that is charged as it is used: what it has room for, how credit waits for it, and who ends when it is gone.

use crate::support::manager::{BOOKS, Mute};
use crate::support::node::Node;
use crate::support::outcome::{read_to_error, stream_error, waits};
use crate::support::pair::{WINDOW, pattern};
use crate::support::peer::{Peer, fin, scripted, update};
use crate::support::{Pipe, quiet, run};
use futures::AsyncReadExt;
use sluicegate::wire::{Flags, Header};
use sluicegate::{MemoryLimit, MemoryManager, Mode, Priority, ReceiveCharge, Stream, StreamError};
use std::io;
use std::sync::Arc;

const MIB: usize = 1 << 20;
const REFUSAL: u32 = 77;

/// A node of this budget, and its peer.
async fn charged(memory: Arc<dyn MemoryManager>, charging: ReceiveCharge) -> (Node<Pipe>, Peer<Pipe>) {
    let settings = quiet().memory(memory).receive_charge(charging).refusal_code(REFUSAL).max_incoming_streams(100_000);
    scripted(Mode::Server, 8 << 20, settings).await
}

/// A stream that the peer opens, with `unread` bytes.
async fn stream(node: &Node<Pipe>, peer: &mut Peer<Pipe>, id: u32, unread: usize) -> Stream {
    peer.send(update(id, Flags::SYN, 0)).await;
    let stream = node.accept().await.expect("a stream");
    peer.expect(update(id, Flags::ACK, 0)).await;
    peer.send_data(id, Flags::NONE, &pattern(id as usize, unread)).await;
    peer.expect_quiet().await;
    stream
}

#[test]
fn y_mem_9_a_budget_has_room_for_many_more_idle_streams() {
    for (charging, expected) in [(ReceiveCharge::Window, MIB / WINDOW), (ReceiveCharge::Buffered, MIB / BOOKS)] {
        run(async {
            let budget = Arc::new(MemoryLimit::new(MIB));
            let (node, mut peer) = charged(budget.clone(), charging).await;
            let mut streams = Vec::new();
            for n in 0..=expected as u32 {
                peer.send(update(2 * n + 1, Flags::SYN, 0)).await;
                if n as usize == expected {
                    peer.expect(update(2 * n + 1, Flags::RST, REFUSAL)).await;
                } else {
                    streams.push(node.accept().await.expect("a stream"));
                    peer.expect(update(2 * n + 1, Flags::ACK, 0)).await;
                }
            }
            assert_eq!((streams.len(), budget.reserved()), (expected, MIB));
        });
    }
    const { assert!(MIB / BOOKS >= 50 * (MIB / WINDOW)) }
}

// What another connection has read gives room: the wait ends without anything happening on its own.
#[test]
fn y_mem_10_withheld_credit_comes_when_memory_is_released_elsewhere() {
    // MEDIUM may fill 612 KiB of it.
    let (told, mute) = (Arc::new(MemoryLimit::new(MIB)), Arc::new(Mute(MemoryLimit::new(MIB))));
    run(gives_back(told.clone(), || told.reserved()));
    run(gives_back(mute.clone(), || mute.0.reserved()));
}

async fn gives_back(memory: Arc<dyn MemoryManager>, reserved: impl Fn() -> usize) {
    let (hoarder, mut hoarders_peer) = charged(memory.clone(), ReceiveCharge::Buffered).await;
    let mut hoards = Vec::new();
    for id in [1, 3] {
        hoards.push(stream(&hoarder, &mut hoarders_peer, id, WINDOW).await);
    }
    let (node, mut peer) = charged(memory, ReceiveCharge::Buffered).await;
    let mut waiting = stream(&node, &mut peer, 1, WINDOW / 2).await;
    let mut received = vec![0; WINDOW / 2];
    waiting.read_exact(&mut received).await.expect("it is there");
    assert!(received == pattern(1, WINDOW / 2));
    // The reader waits for more, so what it has read is known.
    let mut next = [0];
    let mut more = waiting.read(&mut next);
    assert!(futures::poll!(&mut more).is_pending());
    peer.expect_quiet().await;
    assert!(reserved() > 512 << 10);
    let mut all = vec![0; WINDOW];
    hoards[0].read_exact(&mut all).await.expect("it is there");
    assert!(all == pattern(1, WINDOW));
    assert!(futures::poll!(hoards[0].read(&mut all)).is_pending());
    peer.expect(update(1, Flags::NONE, WINDOW as u32 / 2)).await;
    drop(more);
}

// The driver waits for the most urgent of those that wait, and for nobody who waits no more.
#[test]
fn whoever_becomes_urgent_need_not_wait_for_the_others() {
    run(async {
        // LOW may fill 408 KiB of it, HIGH 816.
        let budget = Arc::new(MemoryLimit::new(MIB));
        let (node, mut peer) = charged(budget.clone(), ReceiveCharge::Buffered).await;
        let hoard = stream(&node, &mut peer, 1, WINDOW).await;
        let second = stream(&node, &mut peer, 3, WINDOW / 2).await;
        let mut waiting = Vec::new();
        for id in [5, 7] {
            let mut low = stream(&node, &mut peer, id, 0).await;
            low.set_priority(Priority::LOW);
            peer.send_data(id, Flags::NONE, &pattern(id as usize, WINDOW / 2)).await;
            low.read_exact(&mut vec![0; WINDOW / 2]).await.expect("it is there");
            peer.expect_quiet().await;
            waiting.push(low);
        }
        waiting[1].set_priority(Priority::HIGH);
        peer.expect(update(7, Flags::NONE, WINDOW as u32 / 2)).await;
        peer.expect_quiet().await;
        drop(waiting.pop());
        // Its end, and then that of the others, who held the memory that the last one waits for.
        peer.expect(fin(7)).await;
        drop((hoard, second));
        let unread = [1, 3].map(|id| update(id, Flags::RST, 0));
        let mut credit = 0;
        while credit < WINDOW / 2 {
            match peer.next_header().await {
                Header::WindowUpdate { id, flags: Flags::NONE, value } if id.value() == 5 => credit += value as usize,
                header => assert!(unread.contains(&header) || is_credit(header), "{header:?}"),
            }
        }
        assert_eq!(credit, WINDOW / 2);
    });
}

/// For streams that are dropped: what was discarded for them.
fn is_credit(header: Header) -> bool {
    matches!(header, Header::WindowUpdate { flags: Flags::NONE, .. })
}

#[test]
fn y_mem_11_bytes_without_memory_end_their_stream_alone() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(400 << 10));
        let (node, mut peer) = charged(budget.clone(), ReceiveCharge::Buffered).await;
        let mut first = stream(&node, &mut peer, 1, 200_000).await;
        peer.send(update(3, Flags::SYN, 0)).await;
        let mut second = node.accept().await.expect("a stream");
        peer.expect(update(3, Flags::ACK, 0)).await;
        let sent = pattern(3, WINDOW);
        for piece in sent.chunks(10_000) {
            peer.send_data(3, Flags::NONE, piece).await;
        }
        peer.expect(update(3, Flags::RST, REFUSAL)).await;
        peer.expect_quiet().await;
        assert!(budget.reserved() <= budget.limit());
        let (received, error) = read_to_error(&mut second).await;
        assert!(sent.starts_with(&received) && received.len() > 100_000, "{} bytes", received.len());
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(matches!(stream_error(&error), StreamError::OutOfMemory), "{error:?}");
        let mut all = vec![0; 200_000];
        first.read_exact(&mut all).await.expect("it is there");
        assert!(all == pattern(1, 200_000));
        let stats = node.call(|connection| connection.stats()).await;
        assert_eq!((stats.resets.out_of_memory, stats.streams.open), (1, 1));
        drop((first, second));
    });
}

#[test]
fn a_stream_that_nobody_has_accepted_is_not_handed_out_after_it() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(100 << 10));
        let (node, mut peer) = charged(budget.clone(), ReceiveCharge::Buffered).await;
        peer.send(update(1, Flags::SYN, 0)).await;
        peer.send_data(1, Flags::NONE, &pattern(1, 200_000)).await;
        peer.expect(update(1, Flags::RST, REFUSAL)).await;
        let mut accepted = Box::pin(node.accept());
        assert!(waits(&node, &mut accepted).await);
        peer.expect_quiet().await;
        assert_eq!(budget.reserved(), 0);
    });
}

// The same bytes through both kinds of windows that are read as they come: no credit is denied, and no stream ends.
#[test]
fn a_transfer_needs_no_more_memory_than_what_is_unread() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(4 * MIB));
        let (node, mut peer) = charged(budget.clone(), ReceiveCharge::Buffered).await;
        let mut reader = stream(&node, &mut peer, 1, 0).await;
        let sent = pattern(1, 64 * WINDOW);
        let mut received = Vec::new();
        for half in sent.chunks(WINDOW / 2) {
            peer.send_data(1, Flags::NONE, half).await;
            let mut read = vec![0; half.len()];
            reader.read_exact(&mut read).await.expect("arrives");
            received.extend(read);
            assert!(futures::poll!(reader.read(&mut [0])).is_pending());
            peer.expect(update(1, Flags::NONE, WINDOW as u32 / 2)).await;
        }
        assert!(received == sent);
        assert!(budget.peak() <= BOOKS + WINDOW / 2 + (64 << 10), "{}", budget.peak());
    });
}
