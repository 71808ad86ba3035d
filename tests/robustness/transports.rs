//! Transports of every kind: slow, lazy, stuck and broken ones (Y-CLOSE, Y-EOF, Y-SEND-3).

use crate::support::node::Node;
use crate::support::peer::{Peer, data, go_away, update};
use crate::support::stage::{assert_same, drain, pattern, reason};
use crate::support::tricky::{Fault, Tricky, Write};
use crate::support::{Transport, pipe, quiet, run};
use futures::{AsyncReadExt, AsyncWrite, AsyncWriteExt, future};
use sluicegate::wire::Flags;
use sluicegate::{Config, Connection, ConnectionError, Mode, OpenError, PingError, Side};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};

fn config() -> Config {
    quiet().build().expect("valid")
}

/// An exchange in both directions with half closes, and a close.
async fn exchange<T: Transport>(near: T, far: T, len: usize) {
    let (client, server) = (Node::client(near, config()), Node::server(far, config()));
    let ask = async {
        let mut stream = client.open().await.expect("opens");
        stream.write_all(&pattern(len)).await.expect("writes");
        stream.close().await.expect("closes");
        let (bytes, error) = drain(&mut stream).await;
        assert!(bytes == pattern(len / 2) && error.is_none());
    };
    let answer = async {
        let mut stream = server.accept().await.expect("accepts");
        let (bytes, error) = drain(&mut stream).await;
        assert!(bytes == pattern(len) && error.is_none());
        stream.write_all(&pattern(len / 2)).await.expect("writes");
        stream.close().await.expect("closes");
    };
    future::join(ask, answer).await;
    client.ping().await.expect("answered");
    let (one, two) = future::join(client.close(), server.close()).await;
    assert_same(one, Ok::<_, ConnectionError>(()));
    assert_same(two, Ok::<_, ConnectionError>(()));
}

#[test]
fn any_transport_that_keeps_its_promises_will_do() {
    let writes = [Write::Plain, Write::Bytewise, Write::FirstSlice, Write::OnFlush, Write::OftenPending];
    for write in writes {
        for one_by_one in [false, true] {
            run(async {
                let (near, far) = pipe(5_000);
                let tricky = |io| {
                    let mut tricky = Tricky::new(io, write);
                    tricky.reads_one_by_one = one_by_one;
                    tricky
                };
                exchange(tricky(near), tricky(far), 10_000).await;
            });
        }
    }
}

#[test]
fn a_transport_that_takes_one_slice_is_given_one() {
    run(async {
        let (near, far) = pipe(1 << 20);
        let tricky = Tricky::new(near, Write::FirstSlice);
        let calls = tricky.calls();
        let node = Node::client(tricky, config());
        let mut peer = Peer::new(far);
        let mut stream = node.open().await.expect("opens");
        // A batch of several pieces shows what the transport is.
        stream.write_all(&pattern(10_000)).await.expect("writes");
        stream.flush().await.expect("flushes");
        let before = calls.writes();
        stream.write_all(&pattern(60_000)).await.expect("writes");
        stream.flush().await.expect("flushes");
        assert!(calls.writes() - before <= 3, "{} calls for one batch", calls.writes() - before);
        let mut received = 0;
        while received < 70_000 {
            received += peer.next().await.expect("data").1.len();
        }
    });
}

#[test]
fn y_close_5_a_transport_that_takes_nothing_ends_the_connection() {
    for fault in [Fault::WriteStalls, Fault::FlushStalls] {
        run(async {
            let timeout = Duration::from_millis(100);
            let (near, _far) = pipe(1 << 16);
            let tricky = Tricky::new(near, Write::Plain);
            let calls = tricky.calls();
            let node = Node::client(tricky, quiet().connection_write_timeout(timeout).build().expect("valid"));
            let mut stream = node.open().await.expect("opens");
            stream.flush().await.expect("flushes");
            calls.break_with(fault);
            stream.write_all(b"into the void").await.expect("taken in");
            let start = Instant::now();
            let error = stream.flush().await.expect_err("it is not flushed");
            let took = start.elapsed();
            assert!(took >= timeout - Duration::from_millis(5) && took < Duration::from_secs(5), "{took:?}");
            assert_same(reason(&error), ConnectionError::WriteTimeout);
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_same(reason(&stream.read(&mut [0; 8]).await.expect_err("over")), ConnectionError::WriteTimeout);
            assert_same(node.ended().await, Err::<(), _>(ConnectionError::WriteTimeout));
            assert!(matches!(node.open().await, Err(OpenError::Connection(ConnectionError::WriteTimeout))));
            let before = calls.all();
            assert_same(node.close().await, Err::<(), _>(ConnectionError::WriteTimeout));
            assert_eq!(calls.all(), before, "touched after the end");
        });
    }
}

#[test]
fn y_close_11_a_close_that_gets_nowhere_is_bounded() {
    run(async {
        let (near, _far) = pipe(1 << 16);
        let tricky = Tricky::new(near, Write::Plain);
        let calls = tricky.calls();
        let timeout = Duration::from_millis(100);
        let node = Node::client(tricky, quiet().connection_write_timeout(timeout).build().expect("valid"));
        let mut stream = node.open().await.expect("opens");
        stream.flush().await.expect("flushes");
        calls.break_with(Fault::WriteStalls);
        stream.write_all(b"never sent").await.expect("taken in");
        assert_same(node.close().await, Err::<(), _>(ConnectionError::WriteTimeout));
        assert_same(reason(&stream.flush().await.expect_err("not sent")), ConnectionError::WriteTimeout);
    });
}

/// After `fault`, every call says so, again and again, and the transport is left alone.
#[test]
fn y_close_7_a_transport_that_fails_is_never_touched_again() {
    for fault in [Fault::ReadFails, Fault::WriteFails, Fault::FlushFails, Fault::WritesNothing] {
        run(async {
            let (near, _far) = pipe(1 << 16);
            let tricky = Tricky::new(near, Write::Plain);
            let calls = tricky.calls();
            let mut connection = Connection::new(tricky, config(), Mode::Client);
            let mut stream = poll_fn(|cx| connection.poll_outbound(cx)).await.expect("opens");
            let flushed = poll_fn(|cx| {
                assert!(connection.poll(cx).is_pending());
                Pin::new(&mut stream).poll_flush(cx)
            });
            flushed.await.expect("flushes");
            calls.break_with(fault);
            let _ = stream.write(b"x").await.expect("taken in");
            let error = poll_fn(|cx| connection.poll(cx)).await.expect_err("broken");
            let kind = if fault == Fault::WritesNothing { io::ErrorKind::WriteZero } else { io::ErrorKind::Other };
            assert!(matches!(&error, ConnectionError::Io(cause) if cause.kind() == kind), "{error:?}");
            let before = calls.all();
            for _ in 0..3 {
                assert_same(poll_fn(|cx| connection.poll(cx)).await, Err::<(), _>(&error));
                assert_same(poll_fn(|cx| connection.poll_close(cx)).await, Err::<(), _>(&error));
                let opened = poll_fn(|cx| connection.poll_outbound(cx)).await;
                assert_same(opened.map(|_| ()), Err::<(), _>(OpenError::Connection(error.clone())));
                let accepted = poll_fn(|cx| connection.poll_inbound(cx)).await;
                assert_same(accepted.map(|_| ()), Err::<(), _>(&error));
                let pinged = connection.ping().await;
                assert_same(pinged.map(|_| ()), Err::<(), _>(PingError::Connection(error.clone())));
                assert_same(reason(&stream.read(&mut [0; 8]).await.expect_err("over")), &error);
                assert_same(reason(&stream.write(b"x").await.expect_err("over")), &error);
                assert_same(reason(&stream.flush().await.expect_err("x was lost")), &error);
                assert_same(reason(&stream.close().await.expect_err("over")), &error);
            }
            drop(stream);
            drop(connection);
            assert_eq!(calls.all(), before, "{fault:?}: touched after the end");
        });
    }
}

#[test]
fn y_close_6_a_go_away_that_waits_explains_a_failed_write() {
    for (code, expected) in [(2, Some(ConnectionError::GoAway { by: Side::Remote, code: 2 })), (0, None)] {
        run(async {
            let (near, far) = pipe(1 << 16);
            let mut tricky = Tricky::new(near, Write::Plain);
            // The peer's last bytes show only when a write has failed, as on a socket where both happen at once.
            tricky.reads_after_fault = true;
            let calls = tricky.calls();
            let mut peer = Peer::new(far);
            peer.send_data(2, Flags::SYN, b"last").await;
            peer.send(go_away(code)).await;
            calls.break_with(Fault::WriteFails);
            let node = Node::client(tricky, config());
            assert_same(node.ended().await, expected.map_or(Ok(()), Err));
        });
    }
}

#[test]
fn y_eof_3_the_transport_may_end_anywhere() {
    // Where it ends in a FIN-less stream of frames: after 0..=12 bytes of a header, or inside a body.
    let mut frames = data(1, Flags::NONE, 5).encode().to_vec();
    frames.extend(b"hello");
    for cut in 0..=frames.len() {
        run(async {
            let (near, mut far) = pipe(1 << 16);
            let node = Node::server(near, config());
            far.write_all(&update(1, Flags::SYN, 0).encode()).await.expect("room");
            let mut stream = node.accept().await.expect("opened");
            far.write_all(&frames[..cut]).await.expect("room");
            far.close().await.expect("shuts");
            let (bytes, error) = drain(&mut stream).await;
            assert_eq!(bytes, frames[12.min(cut)..cut], "cut at {cut}");
            assert_same(reason(&error.expect("no FIN came")), ConnectionError::UnexpectedEof);
            assert_same(node.close().await, Err::<(), _>(ConnectionError::UnexpectedEof));
        });
    }
    for cut in 0..12 {
        run(async {
            let (near, mut far) = pipe(1 << 16);
            let node = Node::server(near, config());
            far.write_all(&update(1, Flags::SYN, 0).encode()[..cut]).await.expect("room");
            far.close().await.expect("shuts");
            let expected = if cut == 0 { Ok(()) } else { Err(ConnectionError::UnexpectedEof) };
            assert_same(node.ended().await, expected);
        });
    }
}

#[test]
fn y_eof_2_a_lost_transport_is_an_error_and_finished_streams_end() {
    run(async {
        let (near, far) = pipe(1 << 16);
        let node = Node::server(near, config());
        let mut peer = Peer::new(far);
        peer.send_data(1, Flags::SYN, b"cut off").await;
        peer.send_data(3, Flags::SYN | Flags::FIN, b"whole").await;
        let (mut cut, mut whole) = (node.accept().await.expect("opened"), node.accept().await.expect("opened"));
        drop(peer);
        let (bytes, error) = drain(&mut cut).await;
        assert_eq!(bytes, b"cut off");
        let error = reason(&error.expect("no FIN came"));
        let (bytes, none) = drain(&mut whole).await;
        assert!(bytes == b"whole" && none.is_none());
        assert_same(reason(&whole.write(b"x").await.expect_err("over")), &error);
        // A pipe whose other end is gone fails writes and ends reads; either may be met first.
        assert!(matches!(error, ConnectionError::UnexpectedEof | ConnectionError::Io(_)), "{error:?}");
    });
}
