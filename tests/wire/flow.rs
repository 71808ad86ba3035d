//! Data and credit where a stream's halves are open, closed or gone. How much credit there is, and when it
//! comes back, is in `wire_credit`.

use crate::support::node::Node;
use crate::support::outcome::{
    WINDOW, expect_reset, read_exactly, read_to_eof, read_to_error, roomy, stream_error, waits,
};
use crate::support::peer::{Peer, accepted, data, fin, ping, pong, scripted, update};
use crate::support::{Pipe, run};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use sluicegate::wire::{Flags, Header};
use sluicegate::{MemoryLimit, Mode, Side, StreamError};
use std::io;
use std::sync::Arc;

const HALF: u32 = WINDOW / 2;

/// A server that has said hello to its peer, with windows that keep their size, over a transport of `capacity` bytes.
async fn budgeted_over(capacity: usize) -> (Node<Pipe>, Peer<Pipe>, Arc<MemoryLimit>) {
    let budget = Arc::new(MemoryLimit::new(64 << 20));
    let settings = roomy().max_stream_window(WINDOW).memory(budget.clone());
    let (node, peer) = scripted(Mode::Server, capacity, settings).await;
    (node, peer, budget)
}

async fn budgeted() -> (Node<Pipe>, Peer<Pipe>, Arc<MemoryLimit>) {
    budgeted_over(64 * 1024).await
}

fn bytes(len: u32) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[test]
fn y_flow_1_only_bodies_count_against_the_window() {
    run(async {
        let (node, mut peer, budget) = budgeted().await;
        let mut stream = accepted(&node, &mut peer, 1, 0).await;
        let sent = bytes(WINDOW);
        for piece in sent.chunks(10_000) {
            peer.feed(data(1, Flags::NONE, 0)).await;
            peer.feed(update(1, Flags::NONE, 1)).await;
            peer.feed(data(1, Flags::ACK, 0)).await;
            peer.send_data(1, Flags::NONE, piece).await;
        }
        peer.send(data(1, Flags::FIN, 0)).await;
        peer.expect_quiet().await;
        assert_eq!(budget.reserved(), WINDOW as usize);
        assert!(read_to_eof(&mut stream).await == sent);
    });
}

#[test]
fn y_rst_6_credit_for_streams_that_have_ended_is_ignored() {
    for end in ["FINs", "reset by the peer", "reset by this end", "dropped"] {
        println!("{end}");
        run(async {
            let (node, mut peer, budget) = budgeted().await;
            let mut other = accepted(&node, &mut peer, 3, 0).await;
            let mut stream = accepted(&node, &mut peer, 1, 0).await;
            match end {
                "FINs" => {
                    stream.close().await.expect("closes");
                    peer.expect(fin(1)).await;
                    peer.send(update(1, Flags::FIN, 0)).await;
                }
                "reset by the peer" => peer.send(update(1, Flags::RST, 0)).await,
                "reset by this end" => {
                    stream.reset(5);
                    peer.expect(update(1, Flags::RST, 5)).await;
                }
                _ => {
                    stream.write_all(b"all").await.expect("credit");
                    drop(stream);
                    peer.expect_data(1, b"all").await;
                    peer.expect(fin(1)).await;
                }
            }
            for value in [0, 1, u32::MAX, u32::MAX] {
                peer.send(update(1, Flags::NONE, value)).await;
                peer.send(update(1, Flags::ACK, value)).await;
            }
            peer.expect_quiet().await;
            assert_eq!((node.num_streams().await, budget.reserved()), (1, WINDOW as usize));
            other.write_all(b"on").await.expect("credit");
            peer.expect_data(3, b"on").await;
        });
    }
}

#[test]
fn y_flow_7_credit_after_the_peers_fin_is_applied() {
    run(async {
        let (node, mut peer, _) = budgeted().await;
        let mut stream = accepted(&node, &mut peer, 1, 0).await;
        peer.send(update(1, Flags::FIN, 0)).await;
        assert_eq!(read_to_eof(&mut stream).await, b"");
        let (sent, mut received) = (bytes(16 * WINDOW), Vec::new());
        let writing = async {
            stream.write_all(&sent).await.expect("the write half is open");
            stream.close().await.expect("closes");
        };
        let receiving = async {
            for _ in 0..16 {
                received.extend(peer.receive_data(1, WINDOW as usize, 16 * 1024).await);
                peer.send(update(1, Flags::NONE, WINDOW)).await;
            }
            peer.expect(fin(1)).await;
        };
        futures::join!(writing, receiving);
        assert!(received == sent);
        assert_eq!(node.num_streams().await, 0);
    });
}

#[test]
fn y_send_2_credit_after_our_fin_changes_nothing() {
    run(async {
        let (node, mut peer, _) = budgeted().await;
        let mut stream = accepted(&node, &mut peer, 1, 0).await;
        stream.close().await.expect("closes");
        peer.expect(fin(1)).await;
        peer.send(update(1, Flags::NONE, u32::MAX - WINDOW)).await;
        peer.expect_quiet().await;
        let error = stream.write(b"late").await.expect_err("closed");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(matches!(stream_error(&error), StreamError::WriteClosed));
        peer.send_data(1, Flags::FIN, b"still").await;
        assert_eq!(read_to_eof(&mut stream).await, b"still");
        peer.expect_quiet().await;
    });
}

#[test]
fn y_fin_3_data_after_a_fin_ends_the_stream_once() {
    for unread in [true, false] {
        run(async {
            let (node, mut peer, budget) = budgeted().await;
            let mut other = accepted(&node, &mut peer, 3, 0).await;
            let mut stream = accepted(&node, &mut peer, 1, 0).await;
            peer.send_data(1, Flags::FIN, b"all").await;
            if !unread {
                assert_eq!(read_to_eof(&mut stream).await, b"all");
            }
            // These are no data.
            peer.send(data(1, Flags::NONE, 0)).await;
            peer.send(update(1, Flags::FIN, 0)).await;
            peer.send(data(1, Flags::FIN, 0)).await;
            peer.expect_quiet().await;
            peer.send_data(1, Flags::NONE, b"more").await;
            peer.expect(update(1, Flags::RST, 1)).await;
            expect_reset(&mut stream, (Side::Local, 1)).await;
            for flags in [Flags::NONE, Flags::FIN, Flags::NONE] {
                peer.send_data(1, flags, b"and more").await;
            }
            peer.expect_quiet().await;
            assert_eq!((node.num_streams().await, budget.reserved()), (1, WINDOW as usize));
            peer.send_data(3, Flags::NONE, b"on").await;
            assert_eq!(read_exactly(&mut other, 2).await, b"on");
        });
    }
}

#[test]
fn y_flow_10_a_closed_read_half_holds_no_memory_and_returns_credit() {
    run(async {
        let (node, mut peer, budget) = budgeted().await;
        let mut stream = accepted(&node, &mut peer, 1, 0).await;
        // What is unread counts as consumed, too.
        peer.send_data(1, Flags::NONE, &bytes(HALF + 1)).await;
        assert_eq!(read_exactly(&mut stream, 100).await.len(), 100);
        peer.expect_quiet().await;
        stream.close_read();
        peer.expect(update(1, Flags::NONE, HALF + 1)).await;
        // That is what the stream itself takes, which can still be written to.
        assert_eq!(budget.reserved(), 1024);
        for _ in 0..8 {
            peer.send_data(1, Flags::NONE, &bytes(HALF - 1)).await;
            peer.expect_quiet().await;
            peer.send_data(1, Flags::NONE, b"x").await;
            peer.expect(update(1, Flags::NONE, HALF)).await;
        }
        for _ in 0..2 {
            let (read, error) = read_to_error(&mut stream).await;
            assert_eq!((read.len(), error.kind()), (0, io::ErrorKind::NotConnected));
            assert!(matches!(stream_error(&error), StreamError::ReadClosed));
        }
        stream.write_all(b"still").await.expect("the write half is open");
        peer.expect_data(1, b"still").await;
        peer.send(update(1, Flags::FIN, 0)).await;
        stream.close().await.expect("closes");
        peer.expect(fin(1)).await;
        assert_eq!((node.num_streams().await, budget.reserved()), (0, 0));
    });
}

#[test]
fn y_drop_2_data_for_a_stream_that_is_gone_is_discarded() {
    for gone in ["dropped", "closed, both halves"] {
        println!("{gone}");
        run(async {
            let (node, mut peer, budget) = budgeted().await;
            let mut other = accepted(&node, &mut peer, 3, 0).await;
            let mut stream = accepted(&node, &mut peer, 1, 0).await;
            stream.write_all(b"last words").await.expect("credit");
            let held = match gone {
                "dropped" => {
                    drop(stream);
                    None
                }
                _ => {
                    stream.close_read();
                    stream.close().await.expect("closes");
                    Some(stream)
                }
            };
            peer.expect_data(1, b"last words").await;
            peer.expect(fin(1)).await;
            peer.send(data(1, Flags::NONE, 0)).await;
            peer.expect_quiet().await;
            peer.send_data(1, Flags::NONE, b"anybody?").await;
            peer.expect_quiet().await;
            peer.send_data(1, Flags::NONE, &bytes(WINDOW - 8)).await;
            peer.expect_quiet().await;
            peer.send_data(1, Flags::FIN, b"").await;
            peer.send(update(1, Flags::RST, 0)).await;
            peer.expect_quiet().await;
            assert_eq!((node.num_streams().await, budget.reserved()), (1, WINDOW as usize));
            peer.send_data(3, Flags::NONE, b"on").await;
            assert_eq!(read_exactly(&mut other, 2).await, b"on");
            drop(held);
            peer.expect_quiet().await;
        });
    }
}

#[test]
fn y_drop_1_all_that_was_written_leaves_while_the_peer_writes() {
    run(async {
        let (node, mut peer, budget) = budgeted_over(256).await;
        let mut stream = accepted(&node, &mut peer, 1, 0).await;
        let written = bytes(150_000);
        stream.write_all(&written).await.expect("room");
        drop(stream);
        assert_eq!(node.num_streams().await, 1);
        let reserved = budget.reserved();
        // The transport is full, the FIN cannot have left: nothing answers this, and it holds no memory.
        for _ in 0..4 {
            peer.send_data(1, Flags::NONE, b"still writing").await;
        }
        assert_eq!((node.num_streams().await, budget.reserved()), (1, reserved));
        assert!(peer.receive_data(1, written.len(), 16 * 1024).await == written);
        peer.expect(fin(1)).await;
        peer.expect_quiet().await;
        assert_eq!(node.num_streams().await, 0);
        peer.send_data(1, Flags::NONE, b"still writing").await;
        peer.expect_quiet().await;
    });
}

#[test]
fn y_drop_3_a_peer_that_ends_first_is_not_told() {
    for header in [update(1, Flags::FIN, 0), update(1, Flags::RST, 7), data(1, Flags::FIN, 0), data(1, Flags::RST, 0)] {
        run(async {
            let (node, mut peer, _) = budgeted().await;
            let mut stream = accepted(&node, &mut peer, 1, 0).await;
            stream.close().await.expect("closes");
            drop(stream);
            peer.expect(fin(1)).await;
            peer.send(header).await;
            peer.send_data(1, Flags::NONE, b"late").await;
            peer.expect_quiet().await;
        });
    }
}

#[test]
fn y_hdr_6_a_slow_body_is_read_as_it_comes() {
    run(async {
        let (node, mut peer, _) = budgeted().await;
        let mut own = node.open().await.expect("opens");
        own.flush().await.expect("flushes");
        peer.expect(update(2, Flags::SYN, 0)).await;
        peer.send_data(2, Flags::NONE, b"buffered").await;
        let mut stream = accepted(&node, &mut peer, 1, 0).await;
        peer.answers_pings = false;
        peer.send(data(1, Flags::NONE, 1_000)).await;
        let mut ping_waits = Box::pin(node.ping());
        for round in 0..1_000u32 {
            assert!(stream.read(&mut [0; 1]).now_or_never().is_none());
            if round == 500 {
                // Everything but the other frames of the peer goes on: its earlier bytes, our writes, openings, pings.
                assert_eq!(read_exactly(&mut own, 8).await, b"buffered");
                own.write_all(b"goes on").await.expect("credit");
                peer.expect_data(2, b"goes on").await;
                let mut another = node.open().await.expect("opens");
                another.flush().await.expect("flushes");
                peer.expect(update(4, Flags::SYN, 0)).await;
                stream.write_all(b"both ways").await.expect("credit");
                peer.expect_data(1, b"both ways").await;
                drop(another);
                peer.expect(update(4, Flags::RST, 0)).await;
                assert!(waits(&node, &mut ping_waits).await);
            }
            peer.send_raw(&[round as u8]).await;
            assert_eq!(read_exactly(&mut stream, 1).await, [round as u8]);
        }
        // The next frame's header is not taken for the body.
        let Header::Ping { nonce, .. } = peer.next_header().await else { panic!("not the ping") };
        peer.send(ping(9)).await;
        peer.expect(pong(9)).await;
        peer.send(pong(nonce)).await;
        ping_waits.await.expect("answered");
    });
}
