//! Going away, from either side, and how a connection ends (Y-AWAY, Y-CLOSE).

use crate::support::node::Node;
use crate::support::peer::{Peer, data, fin, go_away, ping, pong, update};
use crate::support::stage::{Stage, assert_same, drain, pattern, reason};
use crate::support::{quiet, run, tcp};
use futures::{AsyncReadExt, AsyncWriteExt, poll};
use sluicegate::wire::Flags;
use sluicegate::{ConnectionError, Mode, OpenError, PingError, Side};
use std::pin::pin;

const OK: Result<(), ConnectionError> = Ok(());

// ---- go-away received -------------------------------------------------------------------------------------------------

#[test]
fn y_away_1_streams_survive_go_away_0_and_the_last_closes() {
    run(async {
        let mut stage = Stage::client();
        let mut one = stage.opened().await;
        let mut two = stage.opened().await;
        stage.peer.send(go_away(0)).await;
        stage.peer.send(go_away(0)).await;
        stage.peer.expect_silence().await;
        assert!(matches!(stage.node.open().await, Err(OpenError::RemoteGoAway)));

        one.write_all(b"still").await.expect("it lives");
        one.flush().await.expect("flushes");
        stage.peer.expect_data(1, b"still").await;
        stage.peer.send_data(1, Flags::FIN, b"here").await;
        let (bytes, error) = drain(&mut one).await;
        assert!(bytes == b"here" && error.is_none());
        one.close().await.expect("closes");
        stage.peer.expect(fin(1)).await;
        stage.peer.expect_silence().await;

        two.reset(3);
        stage.peer.expect(update(3, Flags::RST, 3)).await;
        stage.peer.expect_end(0).await;
        drop(stage.peer);
        assert_same(stage.node.ended().await, OK);
        assert!(matches!(
            stage.node.open().await,
            Err(OpenError::Connection(ConnectionError::Closed { by: Side::Remote }))
        ));
        assert_eq!(stage.memory.reserved(), 0);
    });
}

#[test]
fn y_away_1_go_away_0_without_streams_closes_the_connection() {
    run(async {
        let mut stage = Stage::client();
        stage.peer.expect_silence().await;
        stage.peer.send(go_away(0)).await;
        stage.peer.expect_end(0).await;
        drop(stage.peer);
        assert_same(stage.node.ended().await, OK);
        assert!(matches!(stage.node.accept().await, Err(ConnectionError::Closed { by: Side::Remote })));
    });
}

#[test]
fn y_away_1_go_away_0_fails_an_opener_that_waits() {
    run(async {
        let mut stage = Stage::with(Mode::Client, 1 << 16, quiet().accept_backlog(1));
        let _first = stage.opened().await;
        let mut second = pin!(stage.node.open());
        assert!(poll!(&mut second).is_pending());
        stage.peer.send(go_away(0)).await;
        assert!(matches!(second.await, Err(OpenError::RemoteGoAway)));
    });
}

#[test]
fn y_away_2_any_other_code_ends_everything_at_once() {
    for code in [1, 2, 0x1001, u32::MAX] {
        run(async {
            let mut stage = Stage::with(Mode::Client, 1 << 16, quiet().accept_backlog(2));
            let mut reading = stage.opened().await;
            let mut finished = stage.opened().await;
            stage.peer.answers_pings = false;
            stage.peer.send_data(1, Flags::NONE, b"before").await;
            stage.peer.send_data(3, Flags::FIN, b"whole").await;
            stage.peer.expect_silence().await;
            let third = stage.node.open().await.expect("both were heard of");
            let fourth = stage.node.open().await.expect("both were heard of");
            let (mut fifth, mut accept, mut ping) =
                (pin!(stage.node.open()), pin!(stage.node.accept()), pin!(stage.node.ping()));
            assert!(poll!(&mut fifth).is_pending() && poll!(&mut accept).is_pending() && poll!(&mut ping).is_pending());
            stage.peer.send(go_away(code)).await;

            let expected = ConnectionError::GoAway { by: Side::Remote, code };
            let (bytes, error) = drain(&mut reading).await;
            assert_eq!(bytes, b"before");
            assert_same(reason(&error.expect("no end of file")), &expected);
            let (bytes, error) = drain(&mut finished).await;
            assert!(bytes == b"whole" && error.is_none());
            for stream in [&mut reading, &mut finished] {
                assert_same(reason(&stream.write(b"x").await.expect_err("over")), &expected);
                assert_same(reason(&stream.close().await.expect_err("over")), &expected);
            }
            assert_eq!(stage.peer.next().await, None);
            drop((stage.peer, third, fourth));
            assert_same(fifth.await.map(|_| ()), Err::<(), _>(OpenError::Connection(expected.clone())));
            assert_same(accept.await.map(|_| ()), Err::<(), _>(&expected));
            assert_same(ping.await.map(|_| ()), Err::<(), _>(PingError::Connection(expected.clone())));
            assert_same(stage.node.ended().await, Err::<(), _>(&expected));
            assert_eq!(stage.memory.reserved(), 0);
        });
    }
}

#[test]
fn y_hdr_5_the_other_fields_of_a_go_away_mean_nothing() {
    run(async {
        let mut stage = Stage::client();
        stage.peer.expect_silence().await;
        stage.peer.send_raw(&[0, 3, 0xFF, 0xFF, 0, 0, 0, 9, 0, 0, 0x10, 1]).await;
        let expected = ConnectionError::GoAway { by: Side::Remote, code: 0x1001 };
        assert_eq!(stage.peer.next().await, None);
        drop(stage.peer);
        assert_same(stage.node.ended().await, Err::<(), _>(expected));
    });
}

#[test]
fn y_away_1_new_streams_after_their_go_away_are_refused() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stage.peer.send(go_away(0)).await;
        // It is leaving: what it opens now would keep it.
        stage.peer.send(update(3, Flags::SYN, 0)).await;
        stage.peer.expect(update(3, Flags::RST, 0)).await;
        stage.peer.send_data(1, Flags::FIN, b"data").await;
        let (bytes, error) = drain(&mut stream).await;
        assert!(bytes == b"data" && error.is_none());
        drop(stream);
        stage.peer.expect(fin(1)).await;
        stage.peer.expect_end(0).await;
    });
}

#[test]
fn y_eof_2_an_end_after_go_away_0_is_no_end_of_file() {
    run(async {
        let mut stage = Stage::client();
        let mut stream = stage.opened().await;
        stage.peer.send_data(1, Flags::NONE, b"before").await;
        stage.peer.send(go_away(0)).await;
        stage.peer.shut().await;
        let (bytes, error) = drain(&mut stream).await;
        assert_eq!(bytes, b"before");
        assert_same(reason(&error.expect("no FIN came")), ConnectionError::Closed { by: Side::Remote });
    });
}

// ---- go-away sent -----------------------------------------------------------------------------------------------------

#[test]
fn y_away_3_after_our_go_away_new_streams_are_refused() {
    run(async {
        let mut stage = Stage::with(Mode::Server, 1 << 16, quiet().refusal_code(99));
        let mut stream = stage.accepted(1).await;
        stage.node.call(|connection| connection.go_away()).await;
        stage.node.call(|connection| connection.go_away()).await;
        stage.peer.expect(go_away(0)).await;
        stage.peer.send(update(3, Flags::SYN, 0)).await;
        stage.peer.expect(update(3, Flags::RST, 0)).await;
        stage.peer.send_data(5, Flags::SYN | Flags::FIN, b"body").await;
        stage.peer.expect(update(5, Flags::RST, 0)).await;

        stage.peer.send_data(1, Flags::NONE, b"in").await;
        let mut read = [0; 2];
        stream.read_exact(&mut read).await.expect("it lives");
        stream.write_all(b"out").await.expect("it lives");
        stream.close().await.expect("closes");
        stage.peer.expect_data(1, b"out").await;
        stage.peer.expect(fin(1)).await;
        // Opening from here goes on.
        let ours = stage.node.open().await.expect("only the peer may not open");
        assert_eq!(ours.id(), 2);
        assert_eq!(stage.node.num_streams().await, 2);
    });
}

#[test]
fn y_close_1_a_close_sends_data_the_fin_and_the_go_away() {
    for code in [0, 42] {
        run(async {
            for _ in 0..20 {
                let (near, far) = tcp().await;
                let node = Node::client(near, quiet().build().expect("valid"));
                let mut peer = Peer::new(far);
                let mut stream = node.open().await.expect("opens");
                let bytes = pattern(200_000);
                stream.write_all(&bytes).await.expect("within the window");
                // Asked for, and not waited for.
                let mut closing = pin!(stream.close());
                let _ = poll!(&mut closing);
                // The node never reads this: it must not turn the close into a reset of the transport.
                peer.send_data(1, Flags::NONE, &[7; 50_000]).await;
                node.call(move |connection| connection.close_with(code)).await;
                peer.expect(update(1, Flags::SYN, 0)).await;
                let mut received = Vec::new();
                while received.len() < bytes.len() {
                    let (_, body) = peer.next().await.expect("all of the data");
                    assert!(!body.is_empty());
                    received.extend_from_slice(&body);
                }
                assert!(received == bytes);
                peer.expect(fin(1)).await;
                peer.expect_end(code).await;
                drop(peer);
                let expected = match code {
                    0 => OK,
                    code => Err(ConnectionError::GoAway { by: Side::Local, code }),
                };
                assert_same(node.ended().await, expected);
                closing.await.expect("the FIN was flushed");
            }
        });
    }
}

#[test]
fn y_close_1_a_stream_that_was_not_closed_gets_no_fin() {
    run(async {
        let mut stage = Stage::server();
        let mut stream = stage.accepted(1).await;
        stage.peer.send_data(1, Flags::NONE, b"unread").await;
        stage.peer.expect_silence().await;
        stream.write_all(b"written").await.expect("within the window");
        stage.node.call(|connection| connection.close_with(0)).await;
        let closed = ConnectionError::Closed { by: Side::Local };
        assert_same(reason(&stream.write(b"x").await.expect_err("it closes")), &closed);
        stage.peer.expect_data(1, b"written").await;
        stage.peer.expect_end(0).await;
        drop(stage.peer);
        assert_same(stage.node.close().await, OK);
        let (bytes, error) = drain(&mut stream).await;
        assert_eq!(bytes, b"unread");
        assert_same(reason(&error.expect("no FIN came")), &closed);
        assert_eq!(stage.memory.reserved(), 0);
    });
}

#[test]
fn y_close_1_closing_waits_for_a_slow_peer_and_refuses_streams() {
    run(async {
        let mut stage = Stage::with(Mode::Server, 1024, quiet().max_send_buffer(1 << 20));
        let mut stream = stage.accepted(1).await;
        // More than one batch, so that the go-away has not been cut when the peer's frames come.
        let bytes = pattern(150_000);
        stream.write_all(&bytes).await.expect("within the window");
        drop(stream);
        stage.node.call(|connection| connection.close_with(0)).await;
        assert!(matches!(stage.node.open().await, Err(OpenError::Closing)));
        stage.peer.send(update(3, Flags::SYN, 0)).await;
        stage.peer.send(ping(9)).await;
        // What is owed goes ahead of what has not been cut; the go-away behind everything.
        let (mut received, mut others) = (Vec::new(), Vec::new());
        while let Some((header, body)) = stage.peer.next().await {
            if body.is_empty() {
                others.push(header);
            }
            received.extend_from_slice(&body);
        }
        assert!(received == bytes);
        assert_eq!(others, [pong(9), update(3, Flags::RST, 0), fin(1), go_away(0)]);
    });
}

#[test]
fn y_close_1_nothing_follows_the_go_away() {
    run(async {
        let mut stage = Stage::with(Mode::Server, 1024, quiet());
        let mut stream = stage.accepted(1).await;
        let bytes = pattern(20_000);
        stream.write_all(&bytes).await.expect("within the window");
        drop(stream);
        stage.node.call(|connection| connection.close_with(0)).await;
        // The go-away is in the batch that the pipe has taken a part of.
        stage.node.num_streams().await;
        for frame in [update(3, Flags::SYN, 0), ping(9), data(99, Flags::NONE, 0)] {
            stage.peer.send(frame).await;
        }
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            received.extend(stage.peer.next().await.expect("all of the data").1);
        }
        assert!(received == bytes);
        stage.peer.expect(fin(1)).await;
        stage.peer.expect_end(0).await;
    });
}

#[test]
fn y_close_1_both_ends_may_close_at_once() {
    run(async {
        let (near, far) = tcp().await;
        let config = || quiet().build().expect("valid");
        let (client, server) = (Node::client(near, config()), Node::server(far, config()));
        client.ping().await.expect("answered");
        let (one, two) = futures::join!(client.close(), server.close());
        assert_same(one, OK);
        assert_same(two, OK);
    });
}
