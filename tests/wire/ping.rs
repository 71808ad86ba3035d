//! Pings on the wire: answering, asking, and being alive (Y-PING).

use crate::support::clock::{paused, run_paused};
use crate::support::node::Node;
use crate::support::peer::{Peer, data, ping, pong, update};
use crate::support::stage::{Stage, WINDOW, assert_same, drain, pattern, reason};
use crate::support::{Pipe, pipe, quiet, run};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, future, poll};
use sluicegate::wire::{Flags, Frame, Header, Parser, PingKind};
use sluicegate::{ConnectionError, Mode, PingError};
use std::cell::Cell;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::compat::TokioAsyncReadCompatExt;

/// A ping frame with everything that it may hold.
fn raw_ping(flags: u16, id: u32, nonce: u32) -> Vec<u8> {
    let mut frame = vec![0, 2];
    frame.extend_from_slice(&flags.to_be_bytes());
    frame.extend_from_slice(&id.to_be_bytes());
    frame.extend_from_slice(&nonce.to_be_bytes());
    frame
}

/// The ping with which every connection begins.
async fn first_ping(peer: &mut Peer<Pipe>) -> u32 {
    peer.answers_pings = false;
    match peer.next_header().await {
        Header::Ping { kind: PingKind::Request, nonce } => nonce,
        other => panic!("{other:?} where the first ping was expected"),
    }
}

#[test]
fn y_ping_1_a_ping_is_answered_once_with_its_value() {
    run(async {
        let (near, mut far) = pipe(1 << 16);
        let _node = Node::server(near, quiet().build().expect("valid"));
        // SYN with another id, with ACK, with FIN and RST, with bits that mean nothing.
        let requests = [(0x1, 0), (0x1, 7), (0x3, 0), (0xD, 0), (0xFFF1, u32::MAX)];
        let mut sent = Vec::new();
        let mut expected = Vec::new();
        for (nonce, (flags, id)) in [0, 1, 77, u32::MAX - 1, u32::MAX].into_iter().zip(requests) {
            sent.extend(raw_ping(flags, id, nonce));
            expected.extend(raw_ping(0x2, 0, nonce));
        }
        far.write_all(&sent).await.expect("room");
        let mut received = vec![0; expected.len()];
        far.read_exact(&mut received).await.expect("pongs");
        assert_eq!(received, expected);
        // The node's own ping has SYN alone, and id 0; a pong goes ahead of it.
        let mut own = [0; 12];
        far.read_exact(&mut own).await.expect("a ping");
        assert_eq!(own[..8], [0, 2, 0, 1, 0, 0, 0, 0]);
    });
}

#[test]
fn y_ping_1_a_pong_goes_ahead_of_data_that_waits() {
    run(async {
        const PIPE: usize = 4096;
        let mut stage = Stage::with(Mode::Server, PIPE, quiet());
        let mut stream = stage.accepted(1).await;
        stage.peer.send(update(1, Flags::NONE, 1 << 20)).await;
        let writing = tokio::spawn(async move {
            stream.write_all(&pattern(1 << 20)).await.expect("there is credit");
            stream.close().await.expect("closes");
        });
        // The pipe is full and a batch is half written when the ping comes.
        let (_, body) = stage.peer.next().await.expect("data");
        stage.peer.send(ping(5)).await;
        let mut before = body.len();
        loop {
            let (header, body) = stage.peer.next().await.expect("more");
            if header == pong(5) {
                break;
            }
            before += body.len();
        }
        // What is in the pipe, the batch that was cut, and the frames that were read at once with the first.
        assert!(before <= 2 * 64 * 1024 + 2 * 16 * 1024, "{before} bytes of data went first");
        let mut rest = 0;
        while before + rest < 1 << 20 {
            rest += stage.peer.next().await.expect("the rest").1.len();
        }
        writing.await.expect("no panic");
    });
}

// Y-PING-2 as well.
#[test]
fn y_ping_3_unasked_pongs_and_pings_without_syn_are_ignored() {
    run(async {
        let mut stage = Stage::server();
        let nonce = first_ping(&mut stage.peer).await;
        for frame in
            [Header::Ping { kind: PingKind::Unflagged, nonce }, pong(nonce.wrapping_add(1)), pong(0), pong(u32::MAX)]
        {
            stage.peer.send(frame).await;
            stage.peer.expect_silence().await;
            assert_eq!(stage.node.call(|connection| connection.rtt()).await, None);
        }
        stage.peer.send_raw(&raw_ping(0x4, 3, nonce)).await;
        stage.peer.send_raw(&raw_ping(0xFFF0, 0, nonce)).await;
        stage.peer.expect_silence().await;
        assert_eq!(stage.node.call(|connection| connection.rtt()).await, None);
        stage.peer.send(pong(nonce)).await;
        stage.peer.expect_silence().await;
        let rtt = stage.node.call(|connection| connection.rtt()).await.expect("answered");
        // The same answer again says nothing.
        tokio::time::sleep(Duration::from_millis(2)).await;
        stage.peer.send(pong(nonce)).await;
        stage.peer.expect_silence().await;
        assert_eq!(stage.node.call(|connection| connection.rtt()).await, Some(rtt));
    });
}

/// As a node that was paused finds them, or one whose peer pings for each of its tasks.
#[test]
fn y_limit_4_any_number_of_pings_in_one_read_is_answered() {
    for (pings, backlog) in [(32u32, 32), (33, 32), (200, 32), (5_000, 32), (1, 1), (2, 1), (200, 1), (1024, 1024)] {
        run(async {
            let mut stage = Stage::with(Mode::Server, 1 << 20, quiet().ping_backlog(backlog));
            // One write, so that all of them are there in one poll of the node.
            let all: Vec<u8> = (0..pings).flat_map(|nonce| ping(nonce).encode()).collect();
            stage.peer.send_raw(&all).await;
            for nonce in 0..pings {
                stage.peer.expect(pong(nonce)).await;
            }
            stage.expect_clean().await;
        });
    }
}

/// The peer reads a little every 9 s.
#[test]
fn y_limit_4_pings_on_a_full_transport_are_answered_later() {
    for pings in [33u32, 200, 1_500, 10_000] {
        run_paused(async {
            let (near, far) = tokio::io::duplex(1024);
            let node = Node::server(near.compat(), paused(quiet()).build().expect("valid"));
            let (mut from, mut to) = tokio::io::split(far);
            to.write_all(&update(1, Flags::SYN, 0).encode()).await.expect("room");
            let mut stream = node.accept().await.expect("opened");
            assert!(stream.write(&pattern(WINDOW)).await.expect("within the window") > 1024);
            let writing = async {
                let all: Vec<u8> = (0..pings).flat_map(|nonce| ping(nonce).encode()).collect();
                to.write_all(&all).await.expect("the node reads on");
            };
            let reading = async {
                let (mut parser, mut unparsed, mut answered) = (Parser::default(), Vec::new(), 0);
                while answered < pings {
                    tokio::time::sleep(Duration::from_secs(9)).await;
                    let mut bytes = [0; 1024];
                    for _ in 0..100 {
                        let read = from.read(&mut bytes).now_or_never().map_or(0, |read| read.expect("no end"));
                        unparsed.extend_from_slice(&bytes[..read]);
                        tokio::task::yield_now().await;
                    }
                    let mut input = &unparsed[..];
                    while let Some(frame) = parser.next(&mut input).expect("legal") {
                        answered += u32::from(frame == Frame::Header(pong(answered)));
                    }
                    unparsed = input.to_vec();
                }
            };
            future::join(writing, reading).await;
            assert!(!node.call(|connection| connection.is_closed()).await, "{pings}");
        });
    }
}

#[test]
fn y_ping_8_a_peer_that_says_nothing_ends_the_connection() {
    run(async {
        let timeout = Duration::from_millis(100);
        let settings = quiet().keep_alive_interval(Some(timeout)).connection_write_timeout(timeout);
        let mut stage = Stage::with(Mode::Client, 1 << 16, settings);
        stage.peer.answers_pings = false;
        let mut stream = stage.node.open().await.expect("opens");
        stream.flush().await.expect("the pipe takes it");
        let start = Instant::now();
        let ((bytes, error), accepted, pinged) =
            future::join3(drain(&mut stream), stage.node.accept(), stage.node.ping()).await;
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(bytes.is_empty());
        assert_same(reason(&error.expect("no end of file")), ConnectionError::KeepAliveTimeout);
        assert_same(accepted.expect_err("over"), ConnectionError::KeepAliveTimeout);
        // Its own time-out comes first.
        assert!(matches!(pinged, Err(PingError::TimedOut)));
        assert_same(stage.node.ended().await, Err::<(), _>(ConnectionError::KeepAliveTimeout));
        assert_eq!(stage.memory.reserved(), 0);
    });
}

#[test]
fn y_ping_6_silence_brings_a_ping_whose_answer_keeps_the_connection() {
    run(async {
        let interval = Duration::from_millis(50);
        let settings = quiet().keep_alive_interval(Some(interval)).connection_write_timeout(Duration::from_secs(20));
        let mut stage = Stage::with(Mode::Server, 1 << 16, settings);
        let mut nonces = vec![first_ping(&mut stage.peer).await];
        for _ in 0..3 {
            let last = Instant::now();
            stage.peer.send(pong(*nonces.last().expect("one"))).await;
            let Header::Ping { kind: PingKind::Request, nonce } = stage.peer.next_header().await else {
                panic!("not a ping")
            };
            assert!(last.elapsed() >= interval, "a ping after {:?}", last.elapsed());
            nonces.push(nonce);
        }
        nonces.sort_unstable();
        nonces.dedup();
        assert_eq!(nonces.len(), 4, "values that cannot be guessed do not repeat");
        assert!(!stage.node.call(|connection| connection.is_closed()).await);
    });
}

#[test]
fn y_ping_8_a_users_ping_times_out_and_the_connection_lives() {
    run(async {
        let settings = quiet().connection_write_timeout(Duration::from_millis(100));
        let mut stage = Stage::with(Mode::Server, 1 << 16, settings);
        let nonce = first_ping(&mut stage.peer).await;
        // It has one of its own, which leaves when that one has timed out.
        assert!(matches!(stage.node.ping().await, Err(PingError::TimedOut)));
        let Header::Ping { kind: PingKind::Request, nonce: own } = stage.peer.next_header().await else {
            panic!("not a ping")
        };
        assert_ne!(own, nonce);
        // The late answers are to nothing, and the next ping is a new one.
        stage.peer.send(pong(nonce)).await;
        stage.peer.send(pong(own)).await;
        let mut asking = pin!(stage.node.ping());
        assert!(poll!(&mut asking).is_pending());
        let Header::Ping { kind: PingKind::Request, nonce: next } = stage.peer.next_header().await else {
            panic!("not a ping")
        };
        assert_ne!(next, nonce);
        stage.peer.send(pong(next)).await;
        asking.await.expect("answered");
        stage.peer.expect_silence().await;
    });
}

#[test]
fn y_ping_7_one_ping_at_a_time_is_under_way() {
    run(async {
        let mut stage = Stage::server();
        let nonce = first_ping(&mut stage.peer).await;
        let mut asking = pin!(stage.node.ping());
        assert!(poll!(&mut asking).is_pending());
        stage.peer.expect_silence().await;
        stage.peer.send(pong(nonce)).await;
        assert!(poll!(&mut asking).is_pending(), "that ping left before the call");
        let Header::Ping { kind: PingKind::Request, nonce } = stage.peer.next_header().await else {
            panic!("not a ping")
        };
        assert!(poll!(&mut asking).is_pending());
        stage.peer.send(pong(nonce)).await;
        asking.await.expect("answered");
        stage.peer.expect_silence().await;
    });
}

#[test]
fn y_send_4_two_writers_pass_the_pipes_size_while_pings_cross() {
    for capacity in [64, 1024, 16 * 1024, 100_000] {
        run(async {
            let (near, far) = pipe(capacity);
            let config = || quiet().build().expect("valid");
            let ends = [Node::client(near, config()), Node::server(far, config())];
            let total = if capacity < 1024 { WINDOW } else { 3 * WINDOW };
            let talks = ends.iter().map(|node| async move {
                let mut out = node.open().await.expect("opens");
                out.flush().await.expect("flushes");
                let mut into = node.accept().await.expect("the other end opens too");
                let write = async {
                    out.write_all(&pattern(total)).await.expect("writes");
                    out.close().await.expect("closes");
                };
                let read = async {
                    let (bytes, error) = drain(&mut into).await;
                    assert!(bytes == pattern(total) && error.is_none());
                };
                let both = pin!(future::join(write, read));
                let pings = Cell::new(0);
                let pinging = pin!(async {
                    loop {
                        node.ping().await.expect("answered");
                        pings.set(pings.get() + 1);
                    }
                });
                future::select(both, pinging).await;
                assert!(pings.get() >= 1, "no ping was answered");
            });
            future::join_all(talks).await;
        });
    }
}

#[test]
fn y_send_4_a_pong_that_waits_does_not_stop_reading() {
    run(async {
        let mut stage = Stage::with(Mode::Server, 1024, quiet());
        let mut stream = stage.accepted(1).await;
        let (mut reader, mut writer) = {
            stage.peer.send(update(1, Flags::NONE, 1 << 20)).await;
            stream.flush().await.expect("nothing is owed");
            stream.split()
        };
        let writing = tokio::spawn(async move {
            writer.write_all(&pattern(1 << 20)).await.expect("there is credit");
        });
        // The node cannot write, and owes a pong: it reads on, for as long as there is a window.
        stage.peer.send(ping(1)).await;
        let bytes = pattern(WINDOW / 4);
        let sending = async {
            for piece in bytes.chunks(500) {
                stage.peer.send_data(1, Flags::NONE, piece).await;
            }
        };
        let mut received = vec![0; bytes.len()];
        let (_, read) = future::join(sending, reader.read_exact(&mut received)).await;
        read.expect("reads");
        assert!(received == bytes);
        assert!(!writing.is_finished());
        let mut data_bytes = 0;
        let mut pongs = 0;
        while data_bytes < 1 << 20 {
            match stage.peer.next().await.expect("the node writes on") {
                (header, body) if header == data(1, Flags::NONE, body.len() as u32) => data_bytes += body.len(),
                (header, _) => {
                    assert_eq!(header, pong(1));
                    pongs += 1;
                }
            }
        }
        assert_eq!(pongs, 1);
        writing.await.expect("no panic");
    });
}
