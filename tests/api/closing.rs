//! How connections end, and what everyone who uses them is told.

use crate::support::node::Node;
use crate::support::outcome::{lost, over, read_to_error, reset, stream_error};
use crate::support::pair::*;
use crate::support::peer::{Peer, data, fin, go_away, update};
use crate::support::{Pipe, pipe, quiet, run, run_threaded};
use futures::future::join_all;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use sluicegate::wire::Flags;
use sluicegate::{ConnectionError, OpenError, PingError, Side, Stream, StreamError};
use std::io;
use std::time::{Duration, Instant};

/// Long enough for a machine under load, short enough for a test.
const TIMEOUT: Duration = Duration::from_millis(100);

// Over a transport that holds next to nothing, in both roles; the transport has been shut.
#[test]
fn y_send_3_close_implies_flush() {
    for client_writes in [true, false] {
        run(async {
            let (client, server) = pair(default(), default(), 100);
            let (writer, reader) = if client_writes { (&client, &server) } else { (&server, &client) };
            let (mut near, mut far) = stream(writer, reader).await;
            deliver(&mut near, &mut far, &pattern(0, 10_000)).await;
        });
    }
}

// What was written leaves, then the FIN, then the go-away, then the end of the transport.
#[test]
fn y_close_1_data_fin_and_go_away_leave_in_this_order() {
    for code in [0, 42] {
        run(async {
            let (near, far) = pipe(100);
            let (client, mut peer) = (Node::client(near, default()), Peer::new(far));
            let mut finished = client.open().await.unwrap();
            let mut open = client.open().await.unwrap();
            let sent = pattern(0, 20_000);
            finished.write_all(&sent).await.unwrap();
            assert!(futures::poll!(finished.close()).is_pending());
            open.write_all(b"last").await.unwrap();
            client.call(move |connection| connection.close_with(code)).await;
            let reading = tokio::spawn(async move {
                let mut bodies = [Vec::new(), Vec::new()];
                peer.expect(update(1, Flags::SYN, 0)).await;
                let mut others = Vec::new();
                while let Some((header, body)) = peer.next().await {
                    match header {
                        sluicegate::wire::Header::Data { id, flags: Flags::NONE, .. } => {
                            bodies[id.value() as usize / 2].extend(body)
                        }
                        other => others.push(other),
                    }
                }
                (bodies, others)
            });
            let (bodies, others) = reading.await.unwrap();
            assert!(bodies[0] == sent);
            assert_eq!(bodies[1], b"last");
            let order = others.iter().filter(|header| **header != update(3, Flags::SYN, 0)).collect::<Vec<_>>();
            assert_eq!(order, [&fin(1), &go_away(code)]);
            let ended = client.ended().await;
            match code {
                0 => ended.unwrap(),
                code => {
                    assert!(matches!(ended, Err(ConnectionError::GoAway { by: Side::Local, code: c }) if c == code))
                }
            }
        });
    }
}

// Everything that waits, or is asked later, is told the same.
#[test]
fn y_close_7_after_a_close_every_call_fails_with_its_reason() {
    for code in [0, 42] {
        run(async {
            let (client, server) = pair(default(), default(), 4096);
            let (near, far) = stream(&client, &server).await;
            let streams = [near, far].map(|mut stream| {
                tokio::spawn(async move {
                    let error = stream.read(&mut [0]).await.unwrap_err();
                    (stream, error)
                })
            });
            let accepts = futures::future::join(client.accept(), server.accept());
            settle(&client, &server).await;
            let close = client.call(move |connection| connection.close_with(code));
            let ((near, far), ()) = futures::join!(accepts, close);
            let reasons = [(Side::Local, near.unwrap_err()), (Side::Remote, far.unwrap_err())];
            for ((by, reason), (waiting, node)) in reasons.into_iter().zip(streams.into_iter().zip([&client, &server]))
            {
                let expected = match code {
                    0 => ConnectionError::Closed { by },
                    code => ConnectionError::GoAway { by, code },
                };
                let expected = format!("{expected:?}");
                assert_eq!(format!("{reason:?}"), expected);
                assert_eq!(format!("{:?}", over(node).await), expected);
                assert!(node.call(|connection| connection.is_closed()).await);
                let (mut stream, error) = waiting.await.unwrap();
                assert_eq!(format!("{:?}", lost(&error)), expected);
                assert_eq!(format!("{:?}", lost(&stream.write(b"x").await.unwrap_err())), expected);
                assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
            }
        });
    }
}

#[test]
fn y_away_2_the_peers_code_arrives_on_both_halves_and_open() {
    run(async {
        let (client, server) = pair(default(), default(), 4096);
        let (mut near, _far) = stream(&client, &server).await;
        server.call(|connection| connection.close_with(42)).await;
        let told = |reason: &ConnectionError| matches!(reason, ConnectionError::GoAway { by: Side::Remote, code: 42 });
        assert!(told(&lost(&near.read(&mut [0]).await.unwrap_err())));
        assert!(told(&lost(&near.write(&[0]).await.unwrap_err())));
        assert!(matches!(client.open().await, Err(OpenError::Connection(reason)) if told(&reason)));
        assert!(matches!(client.ping().await, Err(PingError::Connection(reason)) if told(&reason)));
    });
}

#[test]
fn y_close_4_bytes_from_before_the_peers_close_are_read() {
    run(async {
        let (client, server) = pair(default(), default(), 4096);
        let (mut near, mut far) = stream(&client, &server).await;
        let sent = pattern(0, WINDOW);
        far.write_all(&sent).await.unwrap();
        far.close().await.unwrap();
        server.close().await.unwrap();
        client.ended().await.unwrap();
        let mut received = Vec::new();
        near.read_to_end(&mut received).await.unwrap();
        assert!(received == sent);
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        assert!(matches!(lost(&near.write(&[0]).await.unwrap_err()), ConnectionError::Closed { by: Side::Remote }));
    });
}

// A connection that is lost is never an end of file.
#[test]
fn y_eof_3_an_end_inside_a_frame_wakes_readers_and_writers() {
    run(async {
        let (near, far) = pipe(4096);
        let (server, mut peer) = (Node::server(near, default()), Peer::new(far));
        let mut streams = Vec::new();
        for n in 0..200 {
            peer.send(update(2 * n + 1, Flags::SYN, 0)).await;
            streams.push(server.accept().await.unwrap());
            peer.expect(update(2 * n + 1, Flags::ACK, 0)).await;
        }
        let serve = |stream: Stream| {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let (mut read, block) = (Vec::new(), vec![0; 64 << 10]);
                let write = async {
                    loop {
                        if let Err(error) = writer.write_all(&block).await {
                            return error;
                        }
                    }
                };
                let (written, ended) = futures::join!(write, reader.read_to_end(&mut read));
                (read, written, ended.unwrap_err())
            })
        };
        let tasks: Vec<_> = streams.into_iter().map(serve).collect();
        peer.feed(data(1, Flags::NONE, 100)).await;
        peer.send_raw(b"half of").await;
        peer.shut().await;
        for (n, task) in tasks.into_iter().enumerate() {
            let (read, written, ended) = task.await.unwrap();
            assert_eq!(read, if n == 0 { &b"half of"[..] } else { b"" });
            for error in [written, ended] {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                assert!(matches!(lost(&error), ConnectionError::UnexpectedEof));
            }
        }
    });
}

// Whatever needs the transport fails with the timeout, and nobody hangs.
#[test]
fn y_close_5_a_transport_that_takes_nothing_is_a_write_timeout() {
    run(async {
        let (near, far) = pipe(4 << 20);
        let (near, gate) = Gate::around(near);
        let client = Node::client(near, quiet().connection_write_timeout(TIMEOUT).build().unwrap());
        let server = Node::server(far, default());
        let (near, mut far) = stream(&client, &server).await;
        settle(&client, &server).await;
        gate.shut();
        let before = Instant::now();
        // The peer floods: to go on it would need credit that cannot leave.
        let flood = tokio::spawn(async move { far.write_all(&vec![7; 2 * WINDOW]).await });
        let (mut reader, mut writer) = near.split();
        let mut read = Vec::new();
        let write = async {
            loop {
                if let Err(error) = writer.write_all(&[0; 4096]).await {
                    return error;
                }
            }
        };
        let (written, ended) = futures::join!(write, reader.read_to_end(&mut read));
        assert_eq!(read, vec![7; WINDOW]);
        for error in [written, ended.unwrap_err(), writer.flush().await.unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(matches!(lost(&error), ConnectionError::WriteTimeout));
        }
        assert!(before.elapsed() >= TIMEOUT);
        assert!(matches!(over(&client).await, ConnectionError::WriteTimeout));
        drop(client);
        let error = flood.await.unwrap().unwrap_err();
        assert!(matches!(lost(&error), ConnectionError::UnexpectedEof), "{error:?}");
    });
}

// While nothing can be written, everything that arrives is read; then all goes on.
#[test]
fn y_send_4_a_stuck_transport_does_not_stop_reading() {
    run(async {
        let (near, far) = pipe(4 << 20);
        let (near, gate) = Gate::around(near);
        let (client, server) = (Node::client(near, default()), Node::server(far, default()));
        let (mut near, mut far) = stream(&client, &server).await;
        settle(&client, &server).await;
        gate.shut();
        let sent = pattern(0, WINDOW);
        let mut queued = 0;
        while let Some(result) = near.write(&sent[queued..]).now_or_never() {
            queued += result.unwrap();
        }
        far.write_all(&sent).await.unwrap();
        let mut received = vec![0; WINDOW];
        near.read_exact(&mut received).await.unwrap();
        assert!(received == sent);
        gate.open();
        settle(&client, &server).await;
        let mut received = vec![0; queued];
        far.read_exact(&mut received).await.unwrap();
        assert!(received == sent[..queued]);
    });
}

// Both ends write more than the transport and all buffers hold, and read only as they are read.
#[test]
fn y_send_4_both_ends_saturate_a_transport_while_pings_cross() {
    run(async {
        let (client, server) = pair(default(), default(), 64);
        let (near, far) = stream(&client, &server).await;
        let (left, right) = (pattern(1, 3 * WINDOW), pattern(2, 3 * WINDOW));
        let pings = |node| async move {
            let node: &Node<Pipe> = node;
            for _ in 0..20 {
                node.ping().await.unwrap();
            }
        };
        let (at_near, at_far, (), ()) =
            futures::join!(exchange(near, &left), exchange(far, &right), pings(&client), pings(&server));
        assert!(at_near.unwrap() == right && at_far.unwrap() == left);
    });
}

#[test]
fn y_ping_6_silence_brings_keep_alive_pings() {
    run(async {
        let (near, far) = pipe(4096);
        let interval = Duration::from_millis(10);
        let config = quiet().keep_alive_interval(Some(interval)).build().unwrap();
        let (_client, mut peer) = (Node::client(near, config), Peer::new(far));
        peer.answers_pings = false;
        let mut nonces = Vec::new();
        let before = Instant::now();
        for _ in 0..4 {
            match peer.next_header().await {
                sluicegate::wire::Header::Ping { nonce, .. } => {
                    peer.send(crate::support::peer::pong(nonce)).await;
                    nonces.push(nonce);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(before.elapsed() >= 3 * interval);
        nonces.dedup();
        assert_eq!(nonces.len(), 4);
    });
}

#[test]
fn y_ping_8_a_silent_peer_ends_a_connection_kept_alive() {
    run(async {
        let (near, far) = pipe(4096);
        let config = quiet().keep_alive_interval(Some(TIMEOUT)).connection_write_timeout(TIMEOUT).build().unwrap();
        let (client, _peer) = (Node::client(near, config), Peer::new(far));
        let mut stream = client.open().await.unwrap();
        let (accepted, read) = futures::join!(client.accept(), async { stream.read(&mut [0]).await });
        assert!(matches!(accepted.unwrap_err(), ConnectionError::KeepAliveTimeout));
        assert!(matches!(lost(&read.unwrap_err()), ConnectionError::KeepAliveTimeout));
        assert!(matches!(over(&client).await, ConnectionError::KeepAliveTimeout));
    });
}

#[test]
fn y_ping_8_a_ping_times_out_and_the_next_one_works() {
    run(async {
        let (near, far) = pipe(4096);
        let config = quiet().connection_write_timeout(TIMEOUT).build().unwrap();
        let (client, mut peer) = (Node::client(near, config), Peer::new(far));
        let before = Instant::now();
        assert!(matches!(client.ping().await, Err(PingError::TimedOut)));
        assert!(before.elapsed() >= TIMEOUT);
        let serve = tokio::spawn(async move { while peer.next().await.is_some() {} });
        assert!(client.ping().await.unwrap() > Duration::ZERO);
        client.close().await.unwrap();
        serve.await.unwrap();
    });
}

#[test]
fn y_close_3_closing_ends_though_the_peer_says_nothing() {
    run(async {
        let (near, far) = pipe(4096);
        let (client, mut peer) = (Node::client(near, default()), Peer::new(far));
        // Its own side of the transport stays open; the bound is a second.
        let (ended, ()) = futures::join!(client.close(), peer.expect_end(0));
        ended.unwrap();
    });
}

// A stream that has ended leaves nothing to be said when it is dropped.
#[test]
fn y_fin_5_dropping_a_stream_that_has_ended_sends_nothing() {
    run(async {
        let (near, far) = pipe(4096);
        let (client, mut peer) = (Node::client(near, default()), Peer::new(far));
        for (id, end) in [(1, Flags::FIN), (3, Flags::RST), (5, Flags::NONE)] {
            let mut stream = client.open().await.unwrap();
            stream.close().await.unwrap();
            peer.expect(update(id, Flags::SYN, 0)).await;
            peer.expect(fin(id)).await;
            peer.send(update(id, end, 0)).await;
            peer.expect_silence().await;
            match end {
                Flags::FIN => assert_eq!(stream.read(&mut [0]).await.unwrap(), 0),
                Flags::RST => assert_eq!(reset(&stream.read(&mut [0]).await.unwrap_err()), (Side::Remote, 0)),
                _ => {}
            }
            drop(stream);
            peer.expect_silence().await;
            assert_eq!(client.num_streams().await, 0);
        }
    });
}

#[test]
fn a_connection_that_is_dropped_tells_its_streams() {
    run(async {
        let (client, server) = pair(default(), default(), 4096);
        let (mut near, mut far) = stream(&client, &server).await;
        far.write_all(b"before").await.unwrap();
        far.flush().await.unwrap();
        settle(&client, &server).await;
        client.task.abort();
        let (read, error) = read_to_error(&mut near).await;
        assert_eq!(read, b"before");
        assert!(matches!(lost(&error), ConnectionError::Dropped));
        let (read, error) = read_to_error(&mut far).await;
        assert_eq!(read, b"");
        assert!(matches!(lost(&error), ConnectionError::UnexpectedEof));
    });
}

// Races on two threads: whatever a stream is doing when it is reset and both connections end, nothing hangs or panics.
#[test]
fn streams_race_with_the_end_of_both_connections() {
    run_threaded(async {
        for round in 0..50 {
            let (client, server) = pair(default(), default(), 4096);
            let tasks = join_all((0..4).map(|kind| {
                let (client, server) = (&client, &server);
                async move {
                    let (near, far) = stream(client, server).await;
                    [near, far].map(|mut stream| {
                        tokio::spawn(async move {
                            let error = match kind {
                                0 => None,
                                1 => stream.close().await.err(),
                                2 => stream.write_all(&[0; WINDOW]).await.err(),
                                _ => stream.read(&mut [0; 64]).await.err(),
                            };
                            stream.reset(round);
                            error
                        })
                    })
                }
            }))
            .await;
            let ends = futures::join!(client.close(), server.close());
            for task in tasks.into_iter().flatten() {
                if let Some(error) = task.await.unwrap() {
                    let known = matches!(stream_error(&error), StreamError::Reset { .. } | StreamError::Connection(_));
                    assert!(known, "{error:?}");
                }
            }
            assert!(ends.0.is_ok() && ends.1.is_ok(), "{ends:?}");
        }
    });
}
