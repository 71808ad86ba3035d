//! Opening and accepting streams, and what holds them up.

use crate::support::node::Node;
use crate::support::outcome::{lost, reset, violation};
use crate::support::pair::*;
use crate::support::peer::{Peer, data, fin, go_away, id, update};
use crate::support::{Pipe, pipe, quiet, run};
use futures::future::try_join_all;
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::wire::Flags;
use sluicegate::{Config, ConnectionError, Mode, OpenError, Side, Stream, Violation};
use std::io;
use std::time::Duration;

fn backlog(streams: usize) -> Config {
    quiet().accept_backlog(streams).build().unwrap()
}

/// Opens as many streams and writes to each of them, so that they fill the backlog.
async fn fill(client: &Node<Pipe>, streams: usize) -> Vec<Stream> {
    let mut opened = Vec::new();
    for _ in 0..streams {
        let mut stream = client.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        opened.push(stream);
    }
    opened
}

// Two servers as well as two clients.
#[test]
fn y_open_6_two_ends_in_the_same_mode_find_out() {
    for (mode, stream) in [(Mode::Client, 1), (Mode::Server, 2)] {
        run(async {
            let (near, far) = pipe(4096);
            let (near, far) = (Node::new(near, default(), mode), Node::new(far, default(), mode));
            let mut opened = near.open().await.unwrap();
            assert_eq!(opened.id(), stream);
            opened.flush().await.unwrap();
            let accepted = far.accept().await.unwrap_err();
            assert_eq!(violation(accepted), Violation::Parity { stream });
            assert_eq!(violation(far.ended().await.unwrap_err()), Violation::Parity { stream });
            let told = near.ended().await.unwrap_err();
            assert!(matches!(told, ConnectionError::GoAway { by: Side::Remote, code: 1 }), "{told}");
            assert!(matches!(lost(&opened.read(&mut [0]).await.unwrap_err()), ConnectionError::GoAway { .. }));
        });
    }
}

#[test]
fn y_open_1_both_ends_open_at_once_from_their_first_ids() {
    run(async {
        let (client, server) = pair(default(), default(), 4096);
        assert_eq!((client.num_streams().await, server.num_streams().await), (0, 0));
        let open = |node| async move {
            let node: &Node<_> = node;
            let mut stream = node.open().await.unwrap();
            stream.flush().await.unwrap();
            stream
        };
        let (near, far, accepted_near, accepted_far) =
            futures::join!(open(&client), open(&server), client.accept(), server.accept());
        let mut streams = [near, far, accepted_near.unwrap(), accepted_far.unwrap()];
        assert_eq!(streams.each_ref().map(|stream| stream.id()), [1, 2, 2, 1]);
        assert_eq!((client.num_streams().await, server.num_streams().await), (2, 2));
        assert_eq!(streams[0].connection_id(), streams[2].connection_id());
        assert_ne!(streams[0].connection_id(), streams[1].connection_id());
        try_join_all(streams.iter_mut().map(|stream| stream.close())).await.unwrap();
        settle(&client, &server).await;
        assert_eq!((client.num_streams().await, server.num_streams().await), (0, 0));
        let ids = [client.open().await.unwrap().id(), server.open().await.unwrap().id()];
        assert_eq!(ids, [3, 4]);
    });
}

// What is beyond the backlog waits, and an acceptor lets it go on.
#[test]
fn y_ack_2_opens_beyond_the_backlog_wait_for_the_acceptor() {
    for streams in [1, 7, 256] {
        run(async {
            let (client, server) = pair(backlog(streams), backlog(streams), 4096);
            let _opened = fill(&client, streams).await;
            let mut next = Box::pin(client.open());
            assert!(futures::poll!(next.as_mut()).is_pending());
            settle(&client, &server).await;
            assert!(futures::poll!(next.as_mut()).is_pending());
            assert_eq!(client.num_streams().await, streams);
            let mut first = server.accept().await.unwrap();
            let mut last = next.await.unwrap();
            assert_eq!((first.id(), last.id()), (1, 2 * streams as u32 + 1));
            last.flush().await.unwrap();
            first.read_exact(&mut [0]).await.unwrap();
            for stream in 1..=streams {
                assert_eq!(server.accept().await.unwrap().id(), 2 * stream as u32 + 1);
            }
        });
    }
}

// What waits for the backlog fails with the connection and does not hang.
#[test]
fn y_ack_2_an_open_that_waits_fails_with_the_connection() {
    run(async {
        let (client, server) = pair(backlog(3), backlog(3), 4096);
        let _opened = fill(&client, 3).await;
        let mut next = Box::pin(client.open());
        assert!(futures::poll!(next.as_mut()).is_pending());
        settle(&client, &server).await;
        server.call(|connection| connection.close_with(42)).await;
        let error = next.await.unwrap_err();
        let expected = ConnectionError::GoAway { by: Side::Remote, code: 42 };
        assert_eq!(error.to_string(), OpenError::Connection(expected).to_string());
    });
}

// A stream that was closed before it was accepted gives its place back when it is acknowledged.
#[test]
fn y_ack_4_a_close_before_the_ack_frees_its_place() {
    run(async {
        let (client, server) = pair(backlog(8), backlog(8), 4096);
        let mut streams = Vec::new();
        for _ in 0..8 {
            let mut stream = client.open().await.unwrap();
            stream.close().await.unwrap();
            streams.push(stream);
        }
        for expected in 0..8 {
            let mut accepted = server.accept().await.unwrap();
            assert_eq!(accepted.id(), 2 * expected + 1);
            accepted.close().await.unwrap();
        }
        for mut stream in streams {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }
        let mut ninth = client.open().await.unwrap();
        ninth.flush().await.unwrap();
        assert_eq!(server.accept().await.unwrap().id(), 17);
    });
}

#[test]
fn y_ack_2_five_backlogs_open_while_the_acceptor_accepts() {
    run(async {
        let (client, server) = pair(backlog(16), backlog(16), 4096);
        let open = async {
            let mut streams = Vec::new();
            for _ in 0..80 {
                let mut stream = client.open().await.unwrap();
                stream.write_all(b"x").await.unwrap();
                streams.push(stream);
            }
            streams
        };
        let accept = async {
            let mut streams = Vec::new();
            for _ in 0..80 {
                streams.push(server.accept().await.unwrap());
            }
            streams
        };
        let (opened, accepted) = futures::join!(open, accept);
        let ids = |streams: &[Stream]| streams.iter().map(|stream| stream.id()).collect::<Vec<_>>();
        assert_eq!(ids(&opened), ids(&accepted));
        assert_eq!((client.num_streams().await, server.num_streams().await), (80, 80));
    });
}

// Those beyond the limits are refused one by one, and nobody else notices.
#[test]
fn y_open_11_streams_beyond_the_limit_are_reset_until_one_ends() {
    run(async {
        let limited = quiet().max_incoming_streams(5).refusal_code(0x1002).build().unwrap();
        let (client, server) = pair(default(), limited, 4096);
        let mut open = Vec::new();
        for _ in 0..5 {
            open.push(stream(&client, &server).await);
        }
        for _ in 0..3 {
            let mut sixth = client.open().await.unwrap();
            sixth.write_all(b"x").await.unwrap();
            assert_eq!(reset(&sixth.read(&mut [0]).await.unwrap_err()), (Side::Remote, 0x1002));
            assert_eq!(reset(&sixth.write(b"x").await.unwrap_err()), (Side::Remote, 0x1002));
        }
        let (mut near, mut far) = open.remove(0);
        near.close().await.unwrap();
        far.close().await.unwrap();
        drop((near, far));
        open.push(stream(&client, &server).await);
        // The limit is on what comes in, not on what goes out.
        for _ in 0..6 {
            stream(&server, &client).await;
        }
        for (near, far) in open {
            let (echoed, received) = futures::join!(echo(far), exchange(near, b"alive"));
            assert_eq!((echoed.unwrap(), received.unwrap().as_slice()), (5, &b"alive"[..]));
        }
    });
}

// Not accepting is back-pressure, of 256 streams and no more.
#[test]
fn y_open_11_streams_beyond_the_backlog_are_reset_until_one_is_accepted() {
    run(async {
        let (near, far) = pipe(1 << 16);
        let (server, mut peer) = (Node::server(near, default()), Peer::new(far));
        let ids = |n: u32| 2 * n + 1;
        for n in 0..257 {
            peer.feed(update(ids(n), Flags::SYN, 0)).await;
        }
        peer.send(update(ids(257), Flags::SYN, 0)).await;
        peer.expect(update(ids(256), Flags::RST, 0)).await;
        peer.expect(update(ids(257), Flags::RST, 0)).await;
        peer.expect_silence().await;
        let accepted = server.accept().await.unwrap();
        assert_eq!(accepted.id(), 1);
        peer.expect(update(1, Flags::ACK, 0)).await;
        peer.send(update(ids(258), Flags::SYN, 0)).await;
        peer.expect_silence().await;
        assert_eq!(server.num_streams().await, 257);
    });
}

#[test]
fn y_ack_4_an_opener_goes_on_when_every_stream_is_refused() {
    run(async {
        let (near, far) = pipe(1 << 16);
        let (client, mut peer) = (Node::client(near, default()), Peer::new(far));
        let mut streams = Vec::new();
        for n in 0..256 {
            let mut stream = client.open().await.unwrap();
            stream.flush().await.unwrap();
            streams.push(stream);
            peer.expect(update(2 * n + 1, Flags::SYN, 0)).await;
        }
        let mut next = Box::pin(client.open());
        assert!(futures::poll!(next.as_mut()).is_pending());
        for n in 0..255 {
            peer.feed(update(2 * n + 1, Flags::RST, 3)).await;
        }
        peer.send(update(511, Flags::RST, 3)).await;
        assert_eq!(next.await.unwrap().id(), 513);
        for mut stream in streams {
            assert_eq!(reset(&stream.read(&mut [0]).await.unwrap_err()), (Side::Remote, 3));
        }
    });
}

#[test]
fn y_open_15_giving_up_on_accept_or_open_loses_no_stream() {
    run(async {
        let (client, server) = pair(backlog(1), default(), 4096);
        let mut waits = Box::pin(server.accept());
        assert!(futures::poll!(waits.as_mut()).is_pending());
        settle(&client, &server).await;
        drop(waits);
        let mut first = client.open().await.unwrap();
        first.flush().await.unwrap();
        let mut waits = Box::pin(client.open());
        assert!(futures::poll!(waits.as_mut()).is_pending());
        settle(&client, &server).await;
        drop(waits);
        let accepted = server.accept().await.unwrap();
        let (near, far) = stream(&client, &server).await;
        assert_eq!([accepted.id(), near.id(), far.id()], [1, 3, 3]);
        assert_eq!((client.num_streams().await, server.num_streams().await), (2, 2));
    });
}

// How long a stream may wait to be accepted is the application's to decide.
#[test]
fn y_ack_2_an_ack_may_take_longer_than_any_timeout() {
    run(async {
        let timeout = Duration::from_millis(20);
        let (near, far) = pipe(4096);
        let client = Node::client(near, quiet().connection_write_timeout(timeout).build().unwrap());
        let mut peer = Peer::new(far);
        let mut stream = client.open().await.unwrap();
        stream.write_all(b"early").await.unwrap();
        stream.flush().await.unwrap();
        peer.expect(update(1, Flags::SYN, 0)).await;
        peer.expect_data(1, b"early").await;
        peer.expect_nothing_for(5 * timeout).await;
        peer.send(update(1, Flags::ACK, 0)).await;
        peer.send_data(1, Flags::FIN, b"late").await;
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"late");
    });
}

// A stream that says nothing of its own is announced by whatever is done with it.
#[test]
fn y_open_3_the_syn_goes_ahead_of_all_else() {
    run(async {
        let (near, far) = pipe(4096);
        let (client, mut peer) = (Node::client(near, default()), Peer::new(far));
        let mut flushed = client.open().await.unwrap();
        flushed.flush().await.unwrap();
        peer.expect(update(1, Flags::SYN, 0)).await;
        let mut written = client.open().await.unwrap();
        written.write_all(b"data").await.unwrap();
        peer.expect(update(3, Flags::SYN, 0)).await;
        peer.expect_data(3, b"data").await;
        let mut closed = client.open().await.unwrap();
        closed.close().await.unwrap();
        peer.expect(update(5, Flags::SYN, 0)).await;
        peer.expect(fin(5)).await;
        let mut read = client.open().await.unwrap();
        assert!(futures::poll!(read.read(&mut [0])).is_pending());
        peer.expect(update(7, Flags::SYN, 0)).await;
        drop(client.open().await.unwrap());
        peer.expect_silence().await;
        assert_eq!(client.num_streams().await, 4);
    });
}

// A window above the default is announced with the stream or its acknowledgement, and usable at once.
#[test]
fn y_flow_3_larger_first_windows_are_announced_both_ways_and_used() {
    const LARGE: usize = 1 << 20;
    run(async {
        let large = quiet().initial_stream_window(LARGE as u32).build().unwrap();
        let (client, server) = pair(large.clone(), large, 4096);
        let (mut near, mut far) = stream(&client, &server).await;
        // Not a byte is read, yet all of it leaves, both ways.
        let sent = pattern(1, LARGE);
        for stream in [&mut near, &mut far] {
            stream.write_all(&sent).await.unwrap();
            stream.flush().await.unwrap();
        }
        for stream in [&mut near, &mut far] {
            assert!(futures::poll!(stream.write(&[0])).is_pending());
            let mut received = vec![0; LARGE];
            stream.read_exact(&mut received).await.unwrap();
            assert!(received == sent);
        }
    });
}

#[test]
fn y_open_3_syn_and_ack_carry_the_delta_of_the_window() {
    run(async {
        let large = || quiet().initial_stream_window(1 << 20).build().unwrap();
        let delta = (1 << 20) - (256 << 10);
        let (near, far) = pipe(4096);
        let (client, mut peer) = (Node::client(near, large()), Peer::new(far));
        client.open().await.unwrap().write_all(b"x").await.unwrap();
        peer.expect(update(1, Flags::SYN, delta)).await;
        let (near, far) = pipe(4096);
        let (server, mut peer_of_server) = (Node::server(near, large()), Peer::new(far));
        peer_of_server.send(data(1, Flags::SYN, 0)).await;
        let _stream = server.accept().await.unwrap();
        peer_of_server.expect(update(1, Flags::ACK, delta)).await;
    });
}

#[test]
fn y_away_1_opening_fails_and_open_streams_live_on() {
    run(async {
        let (client, server) = pair(default(), default(), 4096);
        let (near, far) = stream(&client, &server).await;
        server.call(|connection| connection.go_away()).await;
        settle(&client, &server).await;
        for _ in 0..2 {
            let error = client.open().await.unwrap_err();
            assert!(matches!(error, OpenError::RemoteGoAway), "{error}");
            assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotConnected);
        }
        // What the one that is leaving opens is refused, and nothing else.
        let mut refused = server.open().await.unwrap();
        let error = refused.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let (echoed, received) = futures::join!(echo(far), exchange(near, b"alive"));
        assert_eq!((echoed.unwrap(), received.unwrap().as_slice()), (5, &b"alive"[..]));
        // The last stream was the last thing to wait for.
        client.ended().await.unwrap();
        server.ended().await.unwrap();
    });
}

#[test]
fn y_flow_2_data_beyond_the_window_is_refused_whole() {
    run(async {
        let (near, far) = pipe(1 << 20);
        let (server, mut peer) = (Node::server(near, default()), Peer::new(far));
        let mut streams = Vec::new();
        for n in 0..50 {
            peer.send(update(2 * n + 1, Flags::SYN, 0)).await;
            streams.push(server.accept().await.unwrap());
            peer.expect(update(2 * n + 1, Flags::ACK, 0)).await;
        }
        let len = 2 * WINDOW as u32;
        peer.send(data(99, Flags::NONE, len)).await;
        peer.send_raw(b"not for anyone").await;
        let expected = Violation::WindowExceeded { stream: id(99).value(), len, credit: WINDOW as u32 };
        for mut stream in streams {
            let error = stream.read(&mut [0; 64]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(violation(lost(&error)), expected);
        }
        peer.expect(go_away(1)).await;
    });
}
