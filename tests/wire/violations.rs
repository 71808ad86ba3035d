//! A peer that breaks the protocol is told so, over a real socket, with bytes unread in both directions, every time.

use crate::support::node::Node;
use crate::support::peer::{Peer, data, ping, update};
use crate::support::stage::{WINDOW, assert_same, pattern, reason};
use crate::support::{quiet, run, tcp};
use futures::{AsyncReadExt, AsyncWriteExt, future};
use sluicegate::wire::{Flags, HEADER_LEN, Header, PingKind};
use sluicegate::{ConnectionError, MemoryLimit, Violation};
use std::io;
use std::sync::Arc;

/// Connections for each kind of violation, and how many of them at a time.
const CONNECTIONS: usize = 100;
const AT_ONCE: usize = 10;

/// Bytes that break the protocol on a connection where the peer has stream 1 open, and what the node says to it.
struct Kind {
    bytes: Vec<u8>,
    violation: Violation,
}

fn kind(headers: impl IntoIterator<Item = Header>, violation: Violation) -> Kind {
    Kind { bytes: headers.into_iter().flat_map(Header::encode).collect(), violation }
}

fn raw(header: [u8; HEADER_LEN], violation: Violation) -> Kind {
    Kind { bytes: header.to_vec(), violation }
}

/// All connections of one kind (Y-CLOSE-2): the peer gets go-away 1 as the last frame, then the end of the transport.
fn every_time(kind: Kind) {
    run(async {
        for _ in 0..CONNECTIONS / AT_ONCE {
            future::join_all((0..AT_ONCE).map(|_| once(&kind))).await;
        }
    });
}

async fn once(kind: &Kind) {
    let (near, mut far) = tcp().await;
    let memory = Arc::new(MemoryLimit::new(1 << 30));
    let config = quiet().accept_backlog(1).memory(memory.clone()).build().expect("valid");
    let node = Node::server(near, config);
    far.write_all(&update(1, Flags::SYN, 0).encode()).await.expect("sends");
    let mut stream = node.accept().await.expect("opened");
    // Not read by the peer until it is over.
    stream.write_all(&pattern(20_000)).await.expect("within the window");
    stream.flush().await.expect("the socket takes it");
    // Not read by the node: what follows a violation is never looked at.
    let mut bytes = kind.bytes.clone();
    bytes.resize(bytes.len() + 30_000, 0xFF);
    far.write_all(&bytes).await.expect("the node takes it");

    let error = stream.read(&mut [0; 8]).await.expect_err("no end of file");
    let expected = ConnectionError::Violation(kind.violation.clone());
    assert_same(reason(&error), &expected);
    assert_eq!(memory.reserved(), 0);
    let mut received = Vec::new();
    far.read_to_end(&mut received).await.expect("the transport ends in good order");
    assert_eq!(last_frame(&received).expect("frames"), [0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "{expected}");
    drop(far);
    assert_same(node.close().await, Err::<(), _>(expected));
}

/// The header of the last of these frames.
fn last_frame(mut bytes: &[u8]) -> io::Result<[u8; HEADER_LEN]> {
    loop {
        let (header, rest) = bytes.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
        let body = Header::decode(header).map_err(io::Error::other)?.body_len() as usize;
        if rest.is_empty() {
            return Ok(*header);
        }
        bytes = rest.get(body..).ok_or(io::ErrorKind::UnexpectedEof)?;
    }
}

#[test]
fn y_hdr_2_a_wrong_version_is_told() {
    every_time(raw([1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], Violation::Version(1)));
}

#[test]
fn y_hdr_3_an_unknown_type_is_told() {
    every_time(raw([0, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], Violation::FrameType(4)));
}

#[test]
fn y_hdr_7_a_frame_of_stream_0_is_told() {
    every_time(raw([0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], Violation::StreamZero));
    every_time(raw([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Violation::StreamZero));
}

#[test]
fn y_open_6_a_wrong_parity_is_told() {
    every_time(kind([update(2, Flags::SYN, 0)], Violation::Parity { stream: 2 }));
}

#[test]
fn y_open_7_a_second_syn_is_told() {
    every_time(kind([update(1, Flags::SYN, 0)], Violation::DuplicateStream { stream: 1 }));
}

#[test]
fn y_flow_2_data_beyond_the_window_is_told() {
    let len = WINDOW as u32 + 1;
    let violation = Violation::WindowExceeded { stream: 1, len, credit: WINDOW as u32 };
    every_time(kind([data(1, Flags::NONE, len)], violation));
}

#[test]
fn y_open_8_data_beyond_the_window_with_the_syn_is_told() {
    let len = WINDOW as u32 + 1;
    let violation = Violation::WindowExceeded { stream: 3, len, credit: WINDOW as u32 };
    every_time(kind([data(3, Flags::SYN, len)], violation));
}

#[test]
fn y_data_1_data_beyond_every_window_for_no_stream_is_told() {
    let violation = Violation::WindowExceeded { stream: 99, len: u32::MAX, credit: 0 };
    every_time(kind([data(99, Flags::NONE, u32::MAX)], violation));
}

#[test]
fn y_open_8_credit_overflow_with_the_syn_is_told() {
    let delta = u32::MAX - WINDOW as u32 + 1;
    let violation = Violation::CreditOverflow { stream: 3, credit: WINDOW as u32, delta };
    every_time(kind([update(3, Flags::SYN, delta)], violation));
}

#[test]
fn y_flow_7_credit_overflow_is_told() {
    let credit = WINDOW as u32 - 20_000;
    let violation = Violation::CreditOverflow { stream: 1, credit, delta: u32::MAX };
    every_time(kind([update(1, Flags::NONE, u32::MAX)], violation));
}

/// What honest peers send at once is no violation where they read; those that do not are in `wire_floods`.
#[test]
fn y_limit_4_bursts_over_a_socket_are_answered_one_by_one() {
    let pings: Vec<_> = (0..4_000).map(ping).collect();
    let syns: Vec<_> = (0..8_000).map(|n| update(2 * n + 1, Flags::SYN, 0)).collect();
    run(async {
        for (burst, answers) in [(&pings, pings.len()), (&syns, syns.len() - 1)] {
            let (near, far) = tcp().await;
            let node = Node::server(near, quiet().accept_backlog(1).build().expect("valid"));
            let mut peer = Peer::new(far);
            for header in burst {
                peer.feed(*header).await;
            }
            peer.send_raw(&[]).await;
            for _ in 0..answers {
                let answer = peer.next_header().await;
                let pong = matches!(answer, Header::Ping { kind: PingKind::Response, .. });
                let reset = matches!(answer, Header::WindowUpdate { flags: Flags::RST, .. });
                assert!(pong || reset, "{answer:?}");
            }
            // It lives, and owes nothing more.
            peer.expect_silence().await;
            drop(node);
        }
    });
}

#[test]
fn y_limit_2_rapid_reset_is_told() {
    every_time(kind((0..10_000).map(|n| update(2 * n + 3, Flags::SYN | Flags::RST, 0)), Violation::RapidReset));
}

#[test]
fn y_limit_1_useless_frames_are_told() {
    every_time(kind((0..16_000).map(|_| update(1, Flags::NONE, 0)), Violation::UselessFrames));
}
