//! What a peer can make grow or repeat, and where that ends (Y-LIMIT, Y-PING-4).

use crate::support::clock::{now, paused, run_paused};
use crate::support::peer::{data, fin, ping, pong, update};
use crate::support::stage::{Stage, WINDOW, assert_same, drain, pattern, reason};
use crate::support::{quiet, run};
use futures::task::{ArcWake, waker};
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt, poll};
use sluicegate::wire::{Flags, Header, PingKind};
use sluicegate::{ConnectionError, Mode, Violation};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

/// Frames that change nothing before the connection ends, if they come at once.
const USELESS: usize = 10_000;
/// Streams opened and reset unaccepted before it ends.
const RAPID: u32 = 1_000;
/// Resets that may be owed.
const REFUSALS: u32 = 2_048;

/// Counts wake-ups.
struct Count(AtomicUsize);

impl ArcWake for Count {
    fn wake_by_ref(count: &Arc<Self>) {
        count.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn ended(violation: Violation) -> Result<(), ConnectionError> {
    Err(ConnectionError::Violation(violation))
}

fn encoded(headers: impl IntoIterator<Item = Header>) -> Vec<u8> {
    headers.into_iter().flat_map(Header::encode).collect()
}

#[test]
fn y_limit_1_frames_that_change_nothing_are_bounded() {
    let unflagged = Header::Ping { kind: PingKind::Unflagged, nonce: 1 };
    let useless: [(&str, Header); 10] = [
        ("empty data", data(1, Flags::NONE, 0)),
        ("no credit", update(1, Flags::NONE, 0)),
        ("an ACK too many", update(1, Flags::ACK, 0)),
        ("a second FIN", update(3, Flags::FIN, 0)),
        ("a second FIN on data", data(3, Flags::FIN, 0)),
        ("empty data after the FIN", data(3, Flags::NONE, 0)),
        ("data for an unknown stream", data(99, Flags::NONE, 0)),
        ("credit for an unknown stream", update(98, Flags::NONE, 9)),
        ("a ping that asks nothing", unflagged),
        ("a pong for nothing", pong(0)),
    ];
    for (what, frame) in useless {
        run(async {
            let mut stage = Stage::server();
            let stream = stage.accepted(1).await;
            let finished = stage.accepted(3).await;
            stage.peer.send(update(3, Flags::FIN, 0)).await;
            stage.peer.expect_silence().await;
            stage.peer.send_raw(&encoded([frame; USELESS])).await;
            stage.peer.expect_silence().await;
            // Y-MEM-13: of the stream that the peer has finished what it takes itself.
            assert_eq!(stage.memory.reserved(), WINDOW + 1024, "{what}");
            // Time gives some back, far fewer than these.
            let flood = encoded([frame; 2 * USELESS]);
            stage.peer.send_raw(&flood).await;
            assert_same(stage.node.ended().await, ended(Violation::UselessFrames));
            stage.peer.expect_end(1).await;
            drop((stream, finished));
            assert_eq!(stage.memory.reserved(), 0, "{what}");
        });
    }
}

#[test]
fn y_limit_1_frames_that_do_something_pay_for_the_others() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        // As tokio-yamux does it: an empty frame with each that has a body.
        let mut rounds = Vec::new();
        for _ in 0..USELESS {
            rounds.extend(data(1, Flags::NONE, 0).encode());
            rounds.extend(data(1, Flags::NONE, 1).encode());
            rounds.push(7);
        }
        for _ in 0..3 {
            stage.peer.send_raw(&rounds).await;
            let mut bytes = vec![0; USELESS];
            stream.read_exact(&mut bytes).await.expect("reads");
            assert!(bytes == [7; USELESS]);
        }
        assert!(!stage.node.call(|connection| connection.is_closed()).await);
    });
}

#[test]
fn y_limit_1_empty_data_wakes_no_reader() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = waker(count.clone());
        let reading = Pin::new(&mut stream).poll_read(&mut Context::from_waker(&waker), &mut [0; 8]);
        assert!(reading.is_pending());
        stage.peer.send_raw(&encoded([data(1, Flags::NONE, 0); 100])).await;
        stage.peer.expect_silence().await;
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        stage.peer.send_data(1, Flags::NONE, b"x").await;
        stage.peer.expect_silence().await;
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn y_open_9_streams_opened_and_reset_in_one_frame_are_bounded() {
    run(async {
        let mut stage = Stage::server();
        let mut accept = pin!(stage.node.accept());
        assert!(poll!(&mut accept).is_pending());
        let both = Flags::SYN | Flags::RST;
        let id = |n: u32| 2 * n + 1;
        stage.peer.send_raw(&encoded((0..RAPID / 2).map(|n| update(id(n), both, 0)))).await;
        stage.peer.send_raw(&encoded((RAPID / 2..RAPID).map(|n| data(id(n), both, 0)))).await;
        stage.peer.expect_silence().await;
        assert!(poll!(&mut accept).is_pending());
        assert_eq!((stage.memory.peak(), stage.node.num_streams().await), (0, 0));
        stage.peer.send_raw(&encoded((RAPID..10 * RAPID).map(|n| update(id(n), both, 0)))).await;
        assert_same(accept.await.map(|_| ()), ended(Violation::RapidReset));
        stage.peer.expect_end(1).await;
        assert_eq!(stage.memory.peak(), 0);
    });
}

#[test]
fn y_open_10_streams_reset_before_accepted_are_bounded() {
    run(async {
        let mut stage = Stage::server();
        let cancels = |range: std::ops::Range<u32>| {
            encoded(range.flat_map(|n| [update(2 * n + 1, Flags::SYN, 0), update(2 * n + 1, Flags::RST, 0)]))
        };
        stage.peer.send_raw(&cancels(0..RAPID)).await;
        // Neither refused for a full backlog nor answered.
        stage.expect_clean().await;
        assert_eq!(stage.memory.peak(), WINDOW);
        // One that stays is the first that is accepted.
        drop(stage.accepted(99_999).await);
        stage.peer.expect(update(99_999, Flags::RST, 0)).await;
        stage.peer.send_raw(&cancels(RAPID..10 * RAPID)).await;
        assert_same(stage.node.ended().await, ended(Violation::RapidReset));
        stage.peer.expect_end(1).await;
        assert_eq!((stage.memory.peak(), stage.memory.reserved()), (WINDOW, 0));
    });
}

#[test]
fn y_ping_4_pings_to_a_node_that_cannot_write_end_the_connection() {
    run_paused(async {
        let mut stage = Stage::with(Mode::Server, 1024, paused(quiet()));
        let start = now();
        let mut stream = stage.accepted(1).await;
        // Never read by the peer: the pipe is full.
        let written = stream.write(&pattern(WINDOW)).await.expect("within the window");
        assert!(written > 1024);
        let mut sent = 0;
        while !stage.node.call(|connection| connection.is_closed()).await {
            stage.peer.send(ping(sent)).await;
            sent += 1;
            assert!(sent < 1_500, "more than a batch, the most pongs that are owed, and the pipe");
        }
        assert!(now() - start < Duration::from_secs(11), "{:?}", now() - start);
        assert_same(stage.node.ended().await, ended(Violation::PingFlood));
        let (bytes, error) = drain(&mut stream).await;
        assert!(bytes.is_empty());
        assert_same(reason(&error.expect("over")), ConnectionError::Violation(Violation::PingFlood));
        assert_eq!(stage.memory.reserved(), 0);
    });
}

#[test]
fn y_limit_3_refused_streams_hold_up_nobody_and_are_bounded() {
    run_paused(async {
        let backlog = 4;
        let mut stage = Stage::with(Mode::Server, 1024, paused(quiet().accept_backlog(backlog)));
        let mut stream = stage.accepted(1).await;
        let written = stream.write(&pattern(100_000)).await.expect("within the window");
        assert!(written > 1024);
        let syn = |n: u32| update(2 * n + 3, Flags::SYN, 0);
        // The backlog, and beyond it as many refusals as may be owed; the pipe is full of data.
        let total = backlog as u32 + REFUSALS;
        stage.peer.send_raw(&encoded((0..total).map(syn))).await;
        while stage.node.num_streams().await < 1 + backlog {}
        // Nobody else waits.
        let opened = stage.node.open().await.expect("opens");
        assert_eq!(stream.write(b"more").await.expect("there is room"), 4);
        for n in 0..backlog as u32 {
            assert_eq!(stage.node.accept().await.expect("in the backlog").id(), 2 * n + 3);
        }
        assert!(!stage.node.call(|connection| connection.is_closed()).await);
        drop(opened);
        // The backlog is free again; what comes after it is too much.
        stage.peer.send_raw(&encoded((total..2 * total + 200).map(syn))).await;
        let start = now();
        assert_same(stage.node.ended().await, ended(Violation::RefusedFlood));
        assert!(now() - start < Duration::from_secs(11), "{:?}", now() - start);
        assert_eq!(stage.memory.reserved(), 0);
    });
}

#[test]
fn y_mem_7_an_unread_stream_of_one_byte_frames_blocks_nobody() {
    run(async {
        let mut stage = Stage::server();
        let mut unread = stage.accepted(1).await;
        let mut other = stage.accepted(3).await;
        let (mut bytes, mut frames) = (Vec::new(), Vec::new());
        for n in 0..10_000u32 {
            bytes.push(n as u8);
            frames.extend(data(1, Flags::NONE, 1).encode());
            frames.push(n as u8);
        }
        for part in frames.chunks(13 * 1000) {
            stage.peer.send_raw(part).await;
            stage.peer.send_data(3, Flags::NONE, b"through").await;
            let mut read = [0; 7];
            other.read_exact(&mut read).await.expect("reads");
            assert_eq!(&read, b"through");
            stage.peer.expect_silence().await;
        }
        assert_eq!(stage.memory.reserved(), 2 * WINDOW);
        let mut read = vec![0; bytes.len()];
        unread.read_exact(&mut read).await.expect("all there");
        assert!(read == bytes);
    });
}

#[test]
fn y_open_11_half_closed_and_dropped_streams_count_until_ended() {
    run(async {
        let mut stage = Stage::with(Mode::Server, 1024, quiet().max_incoming_streams(3).refusal_code(7));
        let mut ours = stage.accepted(1).await;
        ours.close().await.expect("closes");
        stage.peer.expect(fin(1)).await;
        let mut theirs = stage.accepted(3).await;
        stage.peer.send(update(3, Flags::FIN, 0)).await;
        let mut dropped = stage.accepted(5).await;
        let sent = dropped.write(&pattern(5_000)).await.expect("within the window");
        drop(dropped);
        stage.peer.send(update(7, Flags::SYN, 0)).await;
        // The refusal goes ahead of the data that has not been cut.
        let (mut received, mut refused, mut finished) = (0, false, false);
        while received < sent || !refused || !finished {
            let (header, body) = stage.peer.next().await.expect("alive");
            received += body.len();
            refused |= header == update(7, Flags::RST, 7);
            finished |= header == fin(5);
        }
        // That one is gone now; for the next there is no room.
        let last = stage.accepted(9).await;
        stage.peer.send(update(11, Flags::SYN, 0)).await;
        stage.peer.expect(update(11, Flags::RST, 7)).await;
        theirs.close().await.expect("closes");
        stage.peer.expect(fin(3)).await;
        drop(stage.accepted(13).await);
        drop((ours, last));
    });
}

#[test]
fn y_hdr_6_a_body_that_never_comes_holds_a_window_only() {
    run(async {
        let settings = quiet().initial_stream_window(1 << 20);
        let mut stage = Stage::with(Mode::Server, 1 << 16, settings);
        stage.peer.send(update(1, Flags::SYN, 0)).await;
        let mut stream = stage.node.accept().await.expect("opened");
        stage.peer.expect(update(1, Flags::ACK, (1 << 20) - WINDOW as u32)).await;
        stage.peer.send(data(1, Flags::NONE, 1 << 20)).await;
        stream.write_all(b"the other way is open").await.expect("writes");
        stream.flush().await.expect("flushes");
        stage.peer.expect_data(1, b"the other way is open").await;
        assert_eq!(stage.memory.reserved(), 1 << 20);
        stream.reset(1);
        stage.peer.expect(update(1, Flags::RST, 1)).await;
        assert_eq!(stage.memory.reserved(), 0);
        stage.node.call(|connection| connection.close_with(0)).await;
        stage.peer.expect_end(0).await;
    });
}

#[test]
fn y_rst_6_more_streams_than_are_remembered_end_without_harm() {
    run(async {
        let mut stage = Stage::server();
        for n in 0..600 {
            let id = 2 * n + 1;
            drop(stage.accepted(id).await);
            stage.peer.expect(update(id, Flags::RST, 0)).await;
        }
        // The oldest is forgotten and the last is not: neither is answered.
        for id in [1, 1199, 1199] {
            stage.peer.send_data(id, Flags::NONE, b"late").await;
            stage.expect_clean().await;
        }
    });
}
