//! The bytes of a frame, and where a transport may end. What breaks the protocol is in `wire_faults`.

use crate::support::ending::{FAILURE, FailsAtEnd};
use crate::support::node::Node;
use crate::support::outcome::{WINDOW, lost, over, read_exactly, read_to_eof, read_to_error, stream_error};
use crate::support::peer::{Peer, accepted, data, fin, scripted, update};
use crate::support::{Pipe, Transport, pipe, quiet, run};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use sluicegate::wire::Flags;
use sluicegate::{ConnectionError, MemoryLimit, Mode, Side};
use std::io;
use std::sync::Arc;

/// A node that has said hello to its peer, whose streams' memory is counted.
async fn budgeted(mode: Mode) -> (Node<Pipe>, Peer<Pipe>, Arc<MemoryLimit>) {
    let budget = Arc::new(MemoryLimit::new(64 << 20));
    let (node, peer) = scripted(mode, 64 * 1024, quiet().memory(budget.clone())).await;
    (node, peer, budget)
}

/// The next `N` bytes on the wire.
async fn take<const N: usize>(far: &mut Pipe) -> [u8; N] {
    let mut bytes = [0; N];
    far.read_exact(&mut bytes).await.expect("bytes");
    bytes
}

async fn put(far: &mut Pipe, bytes: &[u8]) {
    far.write_all(bytes).await.expect("room");
}

#[test]
fn y_hdr_1_bytes_that_a_client_sends() {
    run(async {
        let (near, mut far) = pipe(64 * 1024);
        let config = quiet().initial_stream_window(300_000).build().expect("valid");
        let node = Node::client(near, config);
        let [0, 2, 0, 1, 0, 0, 0, 0, nonce @ ..] = take::<12>(&mut far).await else { panic!("no ping comes first") };
        put(&mut far, &[&[0, 2, 0, 2, 0, 0, 0, 0], nonce.as_slice()].concat()).await;

        let mut stream = node.open().await.expect("opens");
        assert_eq!(stream.id(), 1);
        stream.write_all(b"hi").await.expect("credit");
        stream.close().await.expect("closes");
        // 300 000 - 262 144 = 0x93E0.
        assert_eq!(take(&mut far).await, [0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0x93, 0xE0]);
        assert_eq!(take(&mut far).await, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, b'h', b'i']);
        assert_eq!(take(&mut far).await, [0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0]);

        let mut stream = node.open().await.expect("opens");
        stream.flush().await.expect("flushes");
        assert_eq!(take(&mut far).await, [0, 1, 0, 1, 0, 0, 0, 3, 0, 0, 0x93, 0xE0]);
        stream.reset(0xFFFE_FDFC);
        assert_eq!(take(&mut far).await, [0, 1, 0, 8, 0, 0, 0, 3, 0xFF, 0xFE, 0xFD, 0xFC]);

        node.call(|connection| connection.go_away()).await;
        assert_eq!(take(&mut far).await, [0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    });
}

// Y-HDR-4 as well: the upper flag bits.
#[test]
fn y_hdr_5_what_means_nothing_is_ignored_and_never_sent() {
    run(async {
        let (near, mut far) = pipe(64 * 1024);
        let node = Node::server(near, quiet().build().expect("valid"));
        take::<12>(&mut far).await;
        // FIN, RST, the reserved bits and an id on a ping.
        put(&mut far, &[0, 2, 0xFF, 0xFD, 0, 0, 0, 9, 0xA, 0xB, 0xC, 0xD]).await;
        assert_eq!(take(&mut far).await, [0, 2, 0, 2, 0, 0, 0, 0, 0xA, 0xB, 0xC, 0xD]);
        // The reserved bits on a SYN, on data, on credit and on a FIN.
        put(&mut far, &[0, 1, 0xFF, 0xF1, 0, 0, 0, 1, 0, 0, 0, 0]).await;
        let mut stream = node.accept().await.expect("a stream");
        assert_eq!(take(&mut far).await, [0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0]);
        put(&mut far, &[0, 0, 0xFF, 0xF0, 0, 0, 0, 1, 0, 0, 0, 2, b'h', b'i']).await;
        put(&mut far, &[0, 1, 0xFF, 0xF0, 0, 0, 0, 1, 0, 0, 0, 1]).await;
        put(&mut far, &[0, 1, 0xFF, 0xF4, 0, 0, 0, 1, 0, 0, 0, 0]).await;
        assert_eq!(read_to_eof(&mut stream).await, b"hi");
        // Flags and an id on a go-away.
        put(&mut far, &[0, 3, 0xFF, 0xFF, 0, 0, 0, 1, 0, 0, 0x10, 1]).await;
        far.close().await.expect("shuts");
        let reason = over(&node).await;
        assert!(matches!(reason, ConnectionError::GoAway { by: Side::Remote, code: 0x1001 }), "{reason:?}");
        assert_eq!(stream.write(b"late").await.expect_err("over").kind(), io::ErrorKind::ConnectionAborted);
    });
}

#[test]
fn y_hdr_1_frames_that_come_byte_by_byte() {
    run(async {
        let (node, mut peer, budget) = budgeted(Mode::Server).await;
        let frames = [
            update(1, Flags::SYN, 0).encode().as_slice(),
            &data(1, Flags::NONE, 5).encode(),
            b"hello",
            &data(3, Flags::SYN | Flags::FIN, 3).encode(),
            b"bye",
            &update(1, Flags::FIN, 0).encode(),
        ]
        .concat();
        for byte in frames {
            peer.send_raw(&[byte]).await;
            tokio::task::yield_now().await;
        }
        for (id, expected) in [(1, b"hello".as_slice()), (3, b"bye")] {
            let mut stream = node.accept().await.expect("a stream");
            assert_eq!((stream.id(), read_to_eof(&mut stream).await.as_slice()), (id, expected));
        }
        drop(peer);
        over(&node).await;
        assert!(node.close().await.is_err());
        assert_eq!(budget.reserved(), 0);
    });
}

#[test]
fn y_limit_1_empty_data_is_ignored_and_its_flag_is_not() {
    run(async {
        let (node, mut peer, _) = budgeted(Mode::Server).await;
        peer.send(data(1, Flags::SYN, 0)).await;
        let mut stream = node.accept().await.expect("a stream");
        peer.expect(update(1, Flags::ACK, 0)).await;
        for body in [b"".as_slice(), b"a", b"", b"", b"b"] {
            peer.send_data(1, Flags::NONE, body).await;
        }
        assert_eq!(read_exactly(&mut stream, 2).await, b"ab");
        peer.send(data(1, Flags::NONE, 0)).await;
        peer.expect_quiet().await;
        assert!(stream.read(&mut [0; 1]).now_or_never().is_none());
        peer.send(data(1, Flags::FIN, 0)).await;
        assert_eq!(read_to_eof(&mut stream).await, b"");
    });
}

#[test]
fn y_eof_1_an_end_between_frames_without_a_stream_is_clean() {
    run(async {
        let (node, mut peer, budget) = budgeted(Mode::Client).await;
        // A stream that has ended is none.
        peer.send(update(2, Flags::SYN | Flags::FIN, 0)).await;
        let mut stream = node.accept().await.expect("a stream");
        stream.close().await.expect("closes");
        peer.expect(update(2, Flags::ACK, 0)).await;
        peer.expect(fin(2)).await;
        peer.expect_quiet().await;
        drop(peer);
        let reason = over(&node).await;
        assert!(matches!(reason, ConnectionError::Closed { by: Side::Remote }), "{reason:?}");
        assert_eq!(read_to_eof(&mut stream).await, b"");
        node.close().await.expect("in good order");
        drop(stream);
        assert_eq!(budget.reserved(), 0);
    });
}

/// Where a transport ends, after a stream with data, one with data and a FIN, and one that nothing came on.
struct End {
    row: &'static str,
    /// The last bytes: a piece of a frame.
    tail: Vec<u8>,
    /// What of it can be read on the first stream.
    partial: &'static [u8],
}

#[test]
fn y_eof_2_an_end_of_the_transport_is_no_end_of_file() {
    let header = data(1, Flags::FIN, 9).encode();
    let mut ends = vec![
        End { row: "between frames", tail: vec![], partial: b"" },
        End { row: "behind a header", tail: header.to_vec(), partial: b"" },
        End { row: "inside a body", tail: [header.as_slice(), b"part"].concat(), partial: b"part" },
        End { row: "before its last byte", tail: [header.as_slice(), b"partial."].concat(), partial: b"partial." },
        End { row: "no stream's", tail: data(99, Flags::NONE, 9).encode().to_vec(), partial: b"" },
    ];
    ends.extend((1..12).map(|len| End { row: "inside a header", tail: header[..len].to_vec(), partial: b"" }));
    for end in ends {
        println!("{} {:?}", end.row, end.tail);
        let reason = run(suffer(end, |pipe| pipe));
        assert!(matches!(reason, ConnectionError::UnexpectedEof), "{reason:?}");
        assert_eq!(reason.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn y_eof_2_a_failed_transport_is_no_end_of_file() {
    let inside = [data(1, Flags::FIN, 9).encode().as_slice(), b"part"].concat();
    for (tail, partial) in [(vec![], b"".as_slice()), (inside, b"part")] {
        let reason =
            run(suffer(End { row: "fails", tail, partial }, |pipe| FailsAtEnd(pipe, io::ErrorKind::ConnectionReset)));
        assert!(matches!(&reason, ConnectionError::Io(error) if error.to_string() == FAILURE), "{reason:?}");
        assert_eq!(reason.kind(), io::ErrorKind::ConnectionReset);
    }
}

async fn suffer<T: Transport>(end: End, wrap: impl FnOnce(Pipe) -> T) -> ConnectionError {
    let budget = Arc::new(MemoryLimit::new(64 << 20));
    let (near, far) = pipe(64 * 1024);
    let node = Node::server(wrap(near), quiet().memory(budget.clone()).build().expect("valid"));
    let mut peer = Peer::new(far);
    peer.greet().await;
    let mut streams = Vec::new();
    for id in [1, 3, 5] {
        peer.send(update(id, Flags::SYN, 0)).await;
        streams.push(node.accept().await.expect("a stream"));
        peer.expect(update(id, Flags::ACK, 0)).await;
    }
    peer.send_data(1, Flags::NONE, b"before ").await;
    peer.send_data(3, Flags::FIN, b"all").await;
    peer.send_raw(&end.tail).await;
    assert_eq!(budget.reserved(), 3 * WINDOW as usize);
    peer.shut().await;

    let reason = over(&node).await;
    let expected = [[b"before ", end.partial].concat(), b"all".to_vec(), vec![]];
    for (stream, expected) in streams.iter_mut().zip(expected) {
        if stream.id() == 3 {
            assert_eq!(read_to_eof(stream).await, expected);
            assert_eq!(read_to_eof(stream).await, b"");
        } else {
            let (read, error) = read_to_error(stream).await;
            assert_eq!(read, expected);
            check(&error, &reason);
            check(&read_to_error(stream).await.1, &reason);
        }
        check(&stream.write(b"late").await.expect_err("over"), &reason);
        check(&stream.close().await.expect_err("over"), &reason);
    }
    assert_eq!(format!("{:?}", node.close().await.expect_err("not in good order")), format!("{reason:?}"));
    // What has been read to its end holds no memory, though the streams are there.
    assert_eq!(budget.reserved(), 0);
    drop(streams);
    assert_eq!(budget.reserved(), 0);
    reason
}

fn check(error: &io::Error, expected: &ConnectionError) {
    assert_eq!(error.kind(), expected.kind());
    assert_eq!(format!("{:?}", lost(error)), format!("{expected:?}"));
    assert_eq!(stream_error(error).to_string(), expected.to_string());
}

#[test]
fn y_eof_3_an_end_inside_a_frame_is_an_error_without_streams() {
    for tail in [vec![0], data(99, Flags::NONE, 1).encode().to_vec(), update(1, Flags::SYN, 0).encode()[..11].to_vec()]
    {
        run(async {
            let (node, mut peer, _) = budgeted(Mode::Server).await;
            peer.send_raw(&tail).await;
            peer.shut().await;
            let reason = over(&node).await;
            assert!(matches!(reason, ConnectionError::UnexpectedEof), "{reason:?}");
        });
    }
}

#[test]
fn y_hdr_6_a_late_body_is_followed_by_its_fin() {
    run(async {
        let (node, mut peer, _) = budgeted(Mode::Server).await;
        let mut stream = accepted(&node, &mut peer, 1, 0).await;
        peer.send(data(1, Flags::FIN, 6)).await;
        let reading = tokio::spawn(async move { (read_to_eof(&mut stream).await, stream) });
        for part in [b"pay".as_slice(), b"lo", b"a"] {
            // The reader has been let see all there is: it must not have taken the FIN for the end.
            tokio::task::yield_now().await;
            assert!(!reading.is_finished());
            peer.send_raw(part).await;
        }
        let (read, _stream) = reading.await.expect("no panic");
        assert_eq!(read, b"payloa");
        peer.expect_quiet().await;
    });
}
