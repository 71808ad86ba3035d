//! Acknowledgements, and the limit of unacknowledged streams: when an ACK is sent, and what counts as one.

use crate::support::node::Node;
use crate::support::outcome::{WINDOW, expect_reset, fill, read_exactly, read_to_eof, roomy, waits};
use crate::support::peer::{Peer, data, fin, scripted, update};
use crate::support::{Pipe, run};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use sluicegate::wire::{Flags, Header};
use sluicegate::{MemoryLimit, Mode, Side, Stream};
use std::sync::Arc;

/// Opens a stream that the peer knows of.
async fn announced(node: &Node<Pipe>, peer: &mut Peer<Pipe>) -> Stream {
    let mut stream = node.open().await.expect("opens");
    stream.flush().await.expect("flushes");
    peer.expect(update(stream.id(), Flags::SYN, 0)).await;
    stream
}

#[test]
fn y_ack_1_an_ack_is_sent_at_the_accept_and_not_before() {
    run(async {
        let config = roomy().initial_stream_window(300_000).max_stream_window(1 << 20);
        let (node, mut peer) = scripted(Mode::Client, 64 * 1024, config).await;
        peer.send(update(2, Flags::SYN, 0)).await;
        peer.send_data(4, Flags::SYN, b"data").await;
        peer.send(update(6, Flags::SYN | Flags::FIN, 0)).await;
        peer.send_data(2, Flags::NONE, b"more").await;
        peer.expect_quiet().await;
        let mut streams = Vec::new();
        for (id, grant) in [(2, 300_000 - WINDOW), (4, 300_000 - WINDOW), (6, 0)] {
            // Nothing has to be read or written for it.
            streams.push(node.accept().await.expect("a stream"));
            peer.expect(update(id, Flags::ACK, grant)).await;
            peer.expect_quiet().await;
        }
        for (stream, expected) in streams.iter_mut().zip([b"more".as_slice(), b"data"]) {
            assert_eq!(read_exactly(stream, 4).await, expected);
            stream.write_all(b"back").await.expect("credit");
            peer.expect_data(stream.id(), b"back").await;
        }
        peer.expect_quiet().await;
    });
}

#[test]
fn y_drop_7_a_stream_dropped_as_soon_as_accepted_is_reset() {
    run(async {
        let (node, mut peer) = scripted(Mode::Client, 64 * 1024, roomy()).await;
        peer.send(update(2, Flags::SYN, 0)).await;
        peer.send(update(4, Flags::SYN | Flags::FIN, 0)).await;
        for id in [2, 4] {
            drop(node.accept().await.expect("a stream"));
            // The ACK may have left before.
            let mut first = peer.next_header().await;
            if first == update(id, Flags::ACK, 0) {
                first = peer.next_header().await;
            }
            assert_eq!(first, update(id, Flags::RST, 0));
        }
        peer.expect_quiet().await;
    });
}

#[test]
fn y_ack_2_opening_waits_while_the_backlog_is_unacknowledged() {
    run(async {
        let (node, mut peer) = scripted(Mode::Client, 64 * 1024, roomy().accept_backlog(3)).await;
        let mut streams = Vec::new();
        // Counted from the opening on, whether the peer knows of the stream or not.
        streams.push(announced(&node, &mut peer).await);
        streams.push(node.open().await.expect("opens"));
        streams.push(announced(&node, &mut peer).await);
        let mut opening = Box::pin(node.open());
        assert!(waits(&node, &mut opening).await);
        // Y-OPEN-14: it announces the one that was not.
        peer.expect(update(3, Flags::SYN, 0)).await;
        peer.expect_quiet().await;
        assert!(waits(&node, &mut opening).await);
        // One place each: the third stream's, then no other.
        peer.send(update(5, Flags::ACK, 0)).await;
        let fourth = opening.await.expect("opens");
        assert_eq!(fourth.id(), 7);
        let mut opening = Box::pin(node.open());
        assert!(waits(&node, &mut opening).await);
        peer.expect(update(7, Flags::SYN, 0)).await;
        // Neither a second ACK, nor one for streams that are no one's or the peer's, frees a place.
        peer.send(update(2, Flags::SYN, 0)).await;
        for id in [5, 5, 99, 2, 4] {
            peer.send(update(id, Flags::ACK, 0)).await;
            peer.send(data(id, Flags::ACK, 0)).await;
        }
        peer.expect_quiet().await;
        assert!(waits(&node, &mut opening).await);
        peer.send(update(1, Flags::ACK, 0)).await;
        assert_eq!(opening.await.expect("opens").id(), 9);
    });
}

/// What ends the wait for an ACK.
#[test]
fn y_ack_4_each_first_frame_and_each_end_frees_a_place() {
    let body = vec![b'b'; WINDOW as usize];
    let frames: [(&str, Header); 14] = [
        ("ACK", update(1, Flags::ACK, 0)),
        ("ACK with credit", update(1, Flags::ACK, 9)),
        ("ACK on data", data(1, Flags::ACK, 0)),
        ("data", data(1, Flags::NONE, WINDOW)),
        ("empty data", data(1, Flags::NONE, 0)),
        ("credit", update(1, Flags::NONE, 9)),
        ("no credit", update(1, Flags::NONE, 0)),
        ("FIN", update(1, Flags::FIN, 0)),
        ("FIN on data", data(1, Flags::FIN, 5)),
        ("RST", update(1, Flags::RST, 3)),
        ("RST on data", data(1, Flags::RST, 0)),
        ("refusal", update(1, Flags::ACK | Flags::RST, 3)),
        ("refusal on data", data(1, Flags::ACK | Flags::RST, 5)),
        ("ACK with FIN", update(1, Flags::ACK | Flags::FIN, 0)),
    ];
    for (row, header) in frames {
        println!("{row}");
        run(async {
            let (node, mut peer) = scripted(Mode::Client, 64 * 1024, roomy().accept_backlog(1)).await;
            let _first = announced(&node, &mut peer).await;
            let mut opening = Box::pin(node.open());
            assert!(waits(&node, &mut opening).await);
            peer.feed(header).await;
            peer.send_raw(&body[..header.body_len() as usize]).await;
            let second = opening.await.expect("opens");
            assert_eq!(second.id(), 3);
            assert!(waits(&node, &mut Box::pin(node.open())).await);
        });
    }
    for row in ["reset", "unsaid drop", "unsaid reset and drop"] {
        println!("{row}");
        run(async {
            let (node, mut peer) = scripted(Mode::Client, 64 * 1024, roomy().accept_backlog(1)).await;
            let mut first = match row {
                "reset" => announced(&node, &mut peer).await,
                _ => node.open().await.expect("opens"),
            };
            let mut opening = Box::pin(node.open());
            assert!(waits(&node, &mut opening).await);
            if row != "unsaid drop" {
                first.reset(3);
            }
            drop(first);
            assert_eq!(opening.await.expect("opens").id(), 3);
        });
    }
}

#[test]
fn y_ack_4_what_the_peer_has_not_answered_keeps_its_place() {
    run(async {
        let (node, mut peer) = scripted(Mode::Client, 64 * 1024, roomy().accept_backlog(1)).await;
        let mut stream = announced(&node, &mut peer).await;
        stream.write_all(b"all").await.expect("credit");
        stream.close().await.expect("closes");
        peer.expect_data(1, b"all").await;
        peer.expect(fin(1)).await;
        let mut opening = Box::pin(node.open());
        assert!(waits(&node, &mut opening).await);
        peer.expect_quiet().await;
        assert!(waits(&node, &mut opening).await);
        // Dropped, too: the peer has not accepted it, and would refuse what is beyond its backlog.
        drop(stream);
        peer.expect_quiet().await;
        assert!(waits(&node, &mut opening).await);
        peer.send(update(1, Flags::ACK, 0)).await;
        assert_eq!(opening.await.expect("opens").id(), 3);
    });
}

#[test]
fn y_ack_4_a_whole_backlog_of_refusals_wakes_the_opener() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(1 << 30));
        let (node, mut peer) = scripted(Mode::Client, 64 * 1024, roomy().memory(budget.clone())).await;
        let mut streams = Vec::new();
        for _ in 0..256 {
            streams.push(announced(&node, &mut peer).await);
        }
        let mut opening = Box::pin(node.open());
        assert!(waits(&node, &mut opening).await);
        peer.expect_quiet().await;
        for stream in &streams {
            let flags = if stream.id() % 4 == 1 { Flags::RST } else { Flags::ACK | Flags::RST };
            peer.feed(update(stream.id(), flags, 0x1002)).await;
        }
        peer.expect_quiet().await;
        let mut next = opening.await.expect("opens");
        assert_eq!(next.id(), 513);
        for mut stream in streams {
            expect_reset(&mut stream, (Side::Remote, 0x1002)).await;
        }
        assert_eq!(budget.reserved(), WINDOW as usize);
        next.write_all(b"on").await.expect("credit");
        peer.expect(update(513, Flags::SYN, 0)).await;
        peer.expect_data(513, b"on").await;
        // All 256 places are free again, less this one.
        let mut streams = Vec::new();
        for _ in 0..255 {
            streams.push(node.open().await.expect("opens"));
        }
        assert!(waits(&node, &mut Box::pin(node.open())).await);
    });
}

#[test]
fn y_ack_3_acks_beyond_the_first_change_nothing() {
    run(async {
        let (node, mut peer) = scripted(Mode::Client, 64 * 1024, roomy()).await;
        let mut own = announced(&node, &mut peer).await;
        peer.send(update(2, Flags::SYN, 0)).await;
        peer.expect_quiet().await;
        for _ in 0..3 {
            for id in [1, 2, 99, 100] {
                peer.send(update(id, Flags::ACK, 0)).await;
            }
        }
        let mut theirs = node.accept().await.expect("a stream");
        peer.expect(update(2, Flags::ACK, 0)).await;
        for stream in [&mut own, &mut theirs] {
            let id = stream.id();
            // Its length is credit all the same.
            peer.send(update(id, Flags::ACK, 5)).await;
            peer.send_data(id, Flags::ACK, b"data").await;
            peer.send_data(id, Flags::ACK | Flags::FIN, b" end").await;
            assert_eq!(read_to_eof(stream).await, b"data end");
            assert_eq!(fill(stream), WINDOW as usize + 5);
            peer.receive_data(id, WINDOW as usize + 5, 16 * 1024).await;
        }
        peer.expect_quiet().await;
    });
}

#[test]
fn y_ack_3_a_stream_that_is_never_acknowledged_works() {
    run(async {
        let config = roomy().max_stream_window(WINDOW);
        let (node, mut peer) = scripted(Mode::Client, 64 * 1024, config).await;
        let mut stream = announced(&node, &mut peer).await;
        stream.write_all(b"question").await.expect("credit");
        peer.expect_data(1, b"question").await;
        peer.send_data(1, Flags::NONE, &vec![b'a'; WINDOW as usize]).await;
        assert_eq!(read_exactly(&mut stream, WINDOW as usize / 2).await, vec![b'a'; WINDOW as usize / 2]);
        peer.expect(update(1, Flags::NONE, WINDOW / 2)).await;
        peer.send(update(1, Flags::FIN, 0)).await;
        assert_eq!(read_to_eof(&mut stream).await, vec![b'a'; WINDOW as usize / 2]);
        stream.close().await.expect("closes");
        peer.expect(fin(1)).await;
        assert_eq!(node.num_streams().await, 0);
    });
}

#[test]
fn y_rst_2_a_refusal_is_a_reset_by_the_peer() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(64 << 20));
        let (node, mut peer) = scripted(Mode::Client, 64 * 1024, roomy().memory(budget.clone())).await;
        for (code, refusal) in [(0, false), (7, false), (0x1002, false), (u32::MAX, false), (0, true)] {
            let mut stream = announced(&node, &mut peer).await;
            let id = stream.id();
            let reading = stream.read(&mut [0; 1]).now_or_never();
            assert!(reading.is_none());
            match refusal {
                true => peer.send_data(id, Flags::ACK | Flags::RST, b"thrown away").await,
                false => peer.send(update(id, Flags::ACK | Flags::RST, code)).await,
            }
            expect_reset(&mut stream, (Side::Remote, code)).await;
            assert_eq!((node.num_streams().await, budget.reserved()), (0, 0));
            drop(stream);
            peer.expect_quiet().await;
        }
    });
}

#[test]
fn y_ack_4_many_streams_may_be_dropped_before_any_answer() {
    run(async {
        const STREAMS: u32 = 20_000;
        let (node, mut peer) = scripted(Mode::Client, 64 * 1024, roomy()).await;
        let opening = async {
            for _ in 0..STREAMS {
                let mut stream = node.open().await.expect("an acknowledgement frees the place");
                stream.write_all(b"x").await.expect("credit");
            }
        };
        let receiving = async {
            // A SYN, the data and a FIN: nobody is told that it is one of too many before it writes.
            for _ in 0..3 * STREAMS {
                let (header, _) = peer.next().await.expect("a frame");
                match header {
                    Header::WindowUpdate { flags: Flags::RST, .. } => panic!("{header:?}"),
                    Header::WindowUpdate { id, flags: Flags::SYN, .. } | Header::Data { id, flags: Flags::SYN, .. } => {
                        peer.send(update(id.value(), Flags::ACK, 0)).await;
                    }
                    _ => {}
                }
            }
        };
        futures::join!(opening, receiving);
        for n in 0..STREAMS {
            peer.send(update(2 * n + 1, Flags::FIN, 0)).await;
        }
        peer.expect_quiet().await;
    });
}
