//! How streams are opened, by the peer and by this end. Refusals are in `wire_refusal`.

use crate::support::outcome::{WINDOW, expect_reset, fill, read_exactly, read_to_eof, reset, roomy, waits};
use crate::support::peer::{data, fin, scripted, update};
use crate::support::run;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use sluicegate::wire::{Flags, Header};
use sluicegate::{MemoryLimit, Mode, Side};
use std::sync::Arc;

#[test]
fn y_open_8_a_syn_gives_credit_on_top_of_the_default() {
    run(async {
        let (node, mut peer) = scripted(Mode::Server, 64 * 1024, roomy()).await;
        let mut streams = Vec::new();
        for (id, delta) in [(1, 0), (3, 1), (5, 70_001)] {
            peer.send(update(id, Flags::SYN, delta)).await;
            let mut stream = node.accept().await.expect("a stream");
            peer.expect(update(id, Flags::ACK, 0)).await;
            let written = fill(&mut stream);
            assert_eq!((stream.id(), written), (id, (WINDOW + delta) as usize));
            peer.receive_data(id, written, 16 * 1024).await;
            peer.expect_quiet().await;
            peer.send(update(id, Flags::NONE, 7)).await;
            assert_eq!(stream.write(&[0; 100]).await.expect("credit"), 7);
            peer.receive_data(id, 7, 16 * 1024).await;
            streams.push(stream);
        }
        // The most that can be given.
        peer.send(update(7, Flags::SYN, u32::MAX - WINDOW)).await;
        let mut stream = node.accept().await.expect("a stream");
        peer.expect(update(7, Flags::ACK, 0)).await;
        stream.write_all(b"fits").await.expect("credit");
        peer.expect_data(7, b"fits").await;
    });
}

#[test]
fn y_open_8_a_syn_may_carry_a_whole_default_window() {
    run(async {
        // What is granted above the default is not the peer's before it was told.
        let config = roomy().initial_stream_window(2 * WINDOW).max_stream_window(2 * WINDOW);
        let (node, mut peer) = scripted(Mode::Server, 64 * 1024, config).await;
        peer.send_data(1, Flags::SYN, &vec![b'd'; WINDOW as usize]).await;
        let mut stream = node.accept().await.expect("a stream");
        peer.expect(update(1, Flags::ACK, WINDOW)).await;
        peer.send_data(1, Flags::NONE, &vec![b'd'; WINDOW as usize]).await;
        let read = read_exactly(&mut stream, 2 * WINDOW as usize).await;
        assert!(read.iter().all(|byte| *byte == b'd'));
    });
}

#[test]
fn y_open_5_ids_in_any_order_and_with_gaps() {
    for (mode, ids) in
        [(Mode::Server, [9, 3, 1, 0xFFFF_FFFF, 7, 1001, 5]), (Mode::Client, [8, 2, 1000, 0xFFFF_FFFE, 4, 6, 12])]
    {
        run(async {
            let (node, mut peer) = scripted(mode, 64 * 1024, roomy()).await;
            for id in ids {
                peer.feed(update(id, Flags::SYN, 0)).await;
                peer.send_data(id, Flags::NONE, &id.to_be_bytes()).await;
            }
            let mut streams = Vec::new();
            for id in ids {
                let mut stream = node.accept().await.expect("a stream");
                assert_eq!((stream.id(), read_exactly(&mut stream, 4).await), (id, id.to_be_bytes().to_vec()));
                streams.push(stream);
            }
            for (id, stream) in ids.into_iter().zip(&mut streams) {
                let (header, _) = peer.next().await.expect("an acknowledgement");
                assert!(matches!(header, Header::WindowUpdate { flags: Flags::ACK, .. }), "{header:?} for {id}");
                stream.write_all(b"x").await.expect("credit");
            }
            for id in ids {
                peer.expect_data(id, b"x").await;
            }
            assert_eq!(node.num_streams().await, ids.len());
        });
    }
}

#[test]
fn y_open_5_an_id_of_an_ended_stream_opens_a_new_one() {
    run(async {
        let (node, mut peer) = scripted(Mode::Server, 64 * 1024, roomy()).await;
        for round in 0..3u8 {
            peer.send_data(1, Flags::SYN, &[round]).await;
            let mut stream = node.accept().await.expect("a stream");
            peer.expect(update(1, Flags::ACK, 0)).await;
            assert_eq!(read_exactly(&mut stream, 1).await, [round]);
            // A fresh window, whatever the last one of this id had left.
            assert_eq!(fill(&mut stream), WINDOW as usize);
            peer.receive_data(1, WINDOW as usize, 16 * 1024).await;
            match round {
                0 => {
                    stream.close().await.expect("closes");
                    peer.expect(fin(1)).await;
                    peer.send(update(1, Flags::FIN, 0)).await;
                    assert_eq!(read_to_eof(&mut stream).await, b"");
                }
                1 => {
                    peer.send(update(1, Flags::RST, 8)).await;
                    expect_reset(&mut stream, (Side::Remote, 8)).await;
                }
                _ => {
                    stream.reset(9);
                    peer.expect(update(1, Flags::RST, 9)).await;
                }
            }
            peer.expect_quiet().await;
        }
        // The old handle knows nothing of the new stream.
        peer.send(update(1, Flags::SYN, 0)).await;
        let mut old = node.accept().await.expect("a stream");
        peer.send(update(1, Flags::RST, 0)).await;
        peer.send_data(1, Flags::SYN, b"new").await;
        let mut new = node.accept().await.expect("a stream");
        expect_reset(&mut old, (Side::Remote, 0)).await;
        old.reset(4);
        drop(old);
        assert_eq!(read_exactly(&mut new, 3).await, b"new");
        peer.send_data(1, Flags::FIN, b"er").await;
        assert_eq!(read_to_eof(&mut new).await, b"er");
    });
}

#[test]
fn y_open_12_an_ack_beside_a_syn_is_ignored() {
    run(async {
        let (node, mut peer) = scripted(Mode::Server, 64 * 1024, roomy().accept_backlog(1)).await;
        let mut waiting = node.open().await.expect("opens");
        waiting.flush().await.expect("flushes");
        peer.expect(update(2, Flags::SYN, 0)).await;
        peer.send(update(1, Flags::SYN | Flags::ACK, 5)).await;
        let mut stream = node.accept().await.expect("a stream");
        peer.expect(update(1, Flags::ACK, 0)).await;
        assert_eq!(fill(&mut stream), WINDOW as usize + 5);
        // It has acknowledged nothing of ours.
        assert!(waits(&node, &mut Box::pin(node.open())).await);
    });
}

#[test]
fn y_open_12_a_syn_with_a_fin_ends_behind_its_data() {
    run(async {
        let (node, mut peer) = scripted(Mode::Server, 64 * 1024, roomy().initial_stream_window(300_000)).await;
        for (id, body, flags) in [
            (1, b"".as_slice(), Flags::SYN | Flags::FIN),
            (3, b"payload", Flags::SYN | Flags::FIN),
            (5, b"", Flags::SYN | Flags::FIN | Flags::ACK),
        ] {
            match body {
                b"" => peer.send(update(id, flags, 10)).await,
                body => peer.send_data(id, flags, body).await,
            }
            let mut stream = node.accept().await.expect("a stream");
            // The peer has no use for credit.
            peer.expect(update(id, Flags::ACK, 0)).await;
            assert_eq!(read_to_eof(&mut stream).await, body);
            stream.write_all(b"answer").await.expect("the other half is open");
            stream.close().await.expect("closes");
            peer.expect_data(id, b"answer").await;
            peer.expect(fin(id)).await;
        }
        assert_eq!(node.num_streams().await, 0);
        peer.expect_quiet().await;
    });
}

#[test]
fn y_data_1_frames_for_ids_never_opened_are_ignored() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(64 << 20));
        let (node, mut peer) = scripted(Mode::Server, 64 * 1024, roomy().memory(budget.clone())).await;
        // The node has given id 2 to a stream that the peer cannot know of yet.
        let mut unsaid = node.open().await.expect("opens");
        let reserved = budget.reserved();
        for id in [2, 4, 99, 100, u32::MAX] {
            for flags in [Flags::NONE, Flags::ACK, Flags::FIN, Flags::RST, Flags::ACK | Flags::RST] {
                peer.feed(update(id, flags, u32::MAX)).await;
                peer.feed(data(id, flags, 0)).await;
                peer.send_data(id, flags, &vec![0; WINDOW as usize]).await;
            }
        }
        peer.expect_quiet().await;
        assert_eq!((node.num_streams().await, budget.reserved()), (1, reserved));
        assert!(waits(&node, &mut Box::pin(node.accept())).await);
        // Nothing of it sticks to the streams that get these ids.
        assert_eq!(fill(&mut unsaid), WINDOW as usize);
        peer.expect(update(2, Flags::SYN, 0)).await;
        peer.receive_data(2, WINDOW as usize, 16 * 1024).await;
        peer.send_data(99, Flags::SYN | Flags::FIN, b"now").await;
        let mut stream = node.accept().await.expect("a stream");
        assert_eq!(read_to_eof(&mut stream).await, b"now");
    });
}

/// What makes a stream known to the peer, and what the peer then gets.
#[test]
fn y_open_2_whatever_is_done_first_announces_the_stream() {
    for (action, after) in [
        ("write", vec![data(1, Flags::NONE, 2)]),
        ("flush", vec![]),
        ("close", vec![fin(1)]),
        ("read", vec![]),
        ("write and drop", vec![data(1, Flags::NONE, 2), fin(1)]),
        ("flush and reset", vec![update(1, Flags::RST, 6)]),
    ] {
        println!("{action}");
        run(async {
            let config = roomy().initial_stream_window(WINDOW + 1000).max_stream_window(1 << 20);
            let (node, mut peer) = scripted(Mode::Client, 64 * 1024, config).await;
            let mut stream = node.open().await.expect("opens");
            peer.expect_quiet().await;
            match action {
                "write" | "write and drop" => stream.write_all(b"hi").await.expect("credit"),
                "flush" => stream.flush().await.expect("flushes"),
                "close" => stream.close().await.expect("closes"),
                "read" => assert!(stream.read(&mut [0; 1]).now_or_never().is_none()),
                _ => {
                    stream.flush().await.expect("flushes");
                    stream.reset(6);
                }
            }
            let held = (action != "write and drop").then_some(stream);
            peer.expect(update(1, Flags::SYN, 1000)).await;
            for expected in after {
                assert_eq!(peer.next().await.expect("a frame").0, expected);
            }
            peer.expect_quiet().await;
            drop(held);
        });
    }
}

#[test]
fn y_open_4_a_stream_never_announced_leaves_no_trace() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(WINDOW as usize));
        let (node, mut peer) =
            scripted(Mode::Client, 64 * 1024, roomy().accept_backlog(1).memory(budget.clone())).await;
        for round in 0..4 {
            let mut stream = node.open().await.expect("its place and its memory are free again");
            assert_eq!((stream.id(), budget.reserved()), (1 + 2 * round, WINDOW as usize));
            match round {
                0 => {}
                1 => {
                    stream.reset(5);
                    assert_eq!(reset(&stream.write(b"x").await.expect_err("reset")), (Side::Local, 5));
                }
                2 => stream.close_read(),
                _ => assert_eq!(stream.write(b"").await.expect("nothing"), 0),
            }
            drop(stream);
            assert_eq!((node.num_streams().await, budget.reserved()), (0, 0));
        }
        peer.expect_quiet().await;
        let mut stream = node.open().await.expect("opens");
        stream.flush().await.expect("flushes");
        peer.expect(update(9, Flags::SYN, 0)).await;
    });
}

#[test]
fn y_open_2_streams_are_announced_in_the_order_of_use() {
    run(async {
        let (node, mut peer) = scripted(Mode::Server, 64 * 1024, roomy()).await;
        let mut streams = Vec::new();
        for id in [2, 4, 6] {
            streams.push(node.open().await.expect("opens"));
            assert_eq!(streams.last().expect("just pushed").id(), id);
        }
        for stream in streams.iter_mut().rev() {
            stream.write_all(b"x").await.expect("credit");
            stream.flush().await.expect("flushes");
            peer.expect(update(stream.id(), Flags::SYN, 0)).await;
            peer.expect_data(stream.id(), b"x").await;
        }
    });
}
