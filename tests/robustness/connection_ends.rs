//! The end of a connection as applications meet it: what came before it is accepted and read, the reason is the right one,
//! and a close takes as long as the transport needs and no longer (Y-CLOSE-6, Y-CLOSE-9 to Y-CLOSE-13, Y-EOF-4).

use crate::support::clock::{now, paused, run_paused};
use crate::support::ending::FailsAtEnd;
use crate::support::pair::{Driven, default, session};
use crate::support::peer::{Peer, data, fin, go_away, ping, pong, update};
use crate::support::stage::{WINDOW, assert_same, drain, pattern, reason};
use crate::support::tricky::{Fault, Tricky, Write};
use crate::support::{Pipe, pipe, quiet, run, tcp};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt};
use sluicegate::stats::NodeStats;
use sluicegate::wire::Flags;
use sluicegate::{Connection, ConnectionError, MemoryLimit, Mode, Session, Side, Stream};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

// ---- streams that nobody has accepted ------------------------------------------------------------------------------------

/// Opens streams, writes a message to each, closes them and the session; all of that is `Ok`.
async fn send_and_leave(session: Session, messages: usize) {
    for n in 0..messages {
        let mut stream = session.open().await.expect("opens");
        stream.write_all(format!("message {n}").as_bytes()).await.expect("writes");
        stream.close().await.expect("closes");
    }
    session.close().await.expect("closes in good order");
}

/// Accepts until the connection is over, with a pause before each; every stream holds a whole message.
async fn receive_all(session: Session, pause: Duration) -> (usize, ConnectionError) {
    for n in 0.. {
        tokio::time::sleep(pause).await;
        let mut stream = match session.accept().await {
            Ok(stream) => stream,
            Err(reason) => return (n, reason),
        };
        let mut message = String::new();
        stream.read_to_string(&mut message).await.expect("it is whole");
        assert_eq!(message, format!("message {n}"));
    }
    unreachable!("so many messages were not sent")
}

/// How many of the messages arrive, of so many connections with as many messages each.
async fn messages(connections: usize, each: usize, pause: Duration) -> usize {
    let (stats, budget) = (NodeStats::default(), Arc::new(MemoryLimit::new(1 << 30)));
    let settings = || quiet().stats(stats.clone()).memory(budget.clone()).build().expect("valid");
    let mut received = 0;
    for _ in 0..connections {
        let (near, far) = tcp().await;
        let ((client, _near), (server, _far)) =
            (session(near, default(), Mode::Client), session(far, settings(), Mode::Server));
        let ((), (arrived, reason)) = futures::join!(send_and_leave(client, each), receive_all(server, pause));
        assert_same(reason, ConnectionError::Closed { by: Side::Remote });
        received += arrived;
    }
    assert_eq!(budget.reserved(), 0);
    let total = stats.total();
    assert_eq!((total.streams.accepted, total.streams.unaccepted), (received as u64, 0));
    assert_eq!(total.reserved.total(), 0);
    received
}

#[test]
fn y_close_9_one_message_a_connection_always_arrives() {
    run(async { assert_eq!(messages(500, 1, Duration::ZERO).await, 500) });
}

#[test]
fn y_close_9_messages_wait_for_an_acceptor_that_takes_a_millisecond() {
    run(async { assert_eq!(messages(50, 4, Duration::from_millis(1)).await, 200) });
}

#[test]
fn y_close_9_streams_are_accepted_when_the_driver_is_long_gone() {
    run(async {
        let budget = Arc::new(MemoryLimit::new(1 << 30));
        for ending in ["closed", "eof inside a frame", "read error", "driver dropped", "go-away 42", "violation"] {
            let (near, far) = pipe(1 << 16);
            let tricky = Tricky::new(near, Write::Plain);
            let calls = tricky.calls();
            let settings = quiet().memory(budget.clone()).build().expect("valid");
            let (server, driven) = session(tricky, settings, Mode::Server);
            let mut peer = Peer::new(far);
            peer.greet().await;
            peer.send(update(1, Flags::SYN, 0)).await;
            peer.send_data(3, Flags::SYN, b"begun").await;
            peer.send_data(5, Flags::SYN | Flags::FIN, b"whole").await;
            peer.send(update(7, Flags::SYN | Flags::FIN, 0)).await;
            peer.expect_silence().await;
            match ending {
                "closed" => peer.send(go_away(0)).await,
                "go-away 42" => peer.send(go_away(42)).await,
                "eof inside a frame" => {
                    peer.feed(data(3, Flags::NONE, 100)).await;
                    peer.send_raw(b" and cut").await;
                }
                "violation" => peer.send_raw(&[9; 12]).await,
                "read error" => calls.break_with(Fault::ReadFails),
                _ => driven.abort(),
            }
            if ending == "read error" {
                // It notices with its next turn.
                peer.send(ping(1)).await;
            }
            drop(peer);
            let _ = driven.await;
            let begun: &[u8] = if ending == "eof inside a frame" { b"begun and cut" } else { b"begun" };
            let all = [(1, &b""[..], false), (3, begun, false), (5, &b"whole"[..], true), (7, &b""[..], true)];
            for (id, bytes, whole) in &all[usize::from(ending != "closed")..] {
                let mut stream = server.accept().await.expect("it came before the end");
                assert_eq!(stream.id(), *id, "{ending}");
                let (read, error) = drain(&mut stream).await;
                assert_eq!((&read[..], error.is_none()), (*bytes, *whole), "{ending}: stream {id}");
                if let Some(error) = error {
                    assert_same(reason(&error), server.closed().await);
                }
            }
            assert!(server.accept().now_or_never().expect("at once").is_err());
            assert_eq!(budget.reserved(), 0, "{ending}");
        }
    });
}

#[test]
fn y_close_9_what_nobody_can_accept_any_more_is_given_back() {
    run(async {
        for keeps_session in [true, false] {
            let budget = Arc::new(MemoryLimit::new(1 << 30));
            let (near, far) = pipe(1 << 16);
            let config = quiet().memory(budget.clone()).build().expect("valid");
            let mut peer = Peer::new(far);
            let sent = async {
                peer.send_data(1, Flags::SYN | Flags::FIN, b"whole").await;
                peer.send(go_away(0)).await;
                peer.shut().await;
            };
            if keeps_session {
                let (session, driven) = session(near, config, Mode::Server);
                sent.await;
                driven.await.expect("no panic").expect("in good order");
                assert_eq!(budget.reserved(), 512);
                drop(session);
            } else {
                let mut connection = Connection::new(near, config, Mode::Server);
                sent.await;
                poll_fn(|cx| connection.poll(cx)).await.expect("in good order");
                assert_eq!(budget.reserved(), 512);
                drop(connection);
            }
            assert_eq!(budget.reserved(), 0);
        }
    });
}

// ---- a write that fails --------------------------------------------------------------------------------------------------

/// So many bytes wait to be read when a write fails, on streams with their first windows, and a go-away behind them.
fn salvaged(bytes: usize, code: u32) {
    run(async {
        let (near, far) = pipe(2 << 20);
        let mut tricky = Tricky::new(near, Write::Plain);
        tricky.reads_after_fault = true;
        let calls = tricky.calls();
        let mut peer = Peer::new(far);
        let all = pattern(bytes);
        for (n, part) in (0..).zip(all.chunks(WINDOW)) {
            peer.send(update(2 * n + 1, Flags::SYN, 0)).await;
            for piece in part.chunks(16 << 10) {
                peer.send_data(2 * n + 1, Flags::NONE, piece).await;
            }
            peer.send(fin(2 * n + 1)).await;
        }
        peer.send(go_away(code)).await;
        calls.break_with(Fault::WriteFails);
        let (server, driven) = session(tricky, default(), Mode::Server);
        let ended = driven.await.expect("no panic");
        match code {
            0 => assert_same(ended, Ok::<_, ConnectionError>(())),
            code => assert_same(ended, Err::<(), _>(ConnectionError::GoAway { by: Side::Remote, code })),
        }
        let mut received = Vec::new();
        while received.len() < bytes {
            let (read, error) = drain(&mut server.accept().await.expect("it came")).await;
            assert!(error.is_none(), "{error:?} after {}", received.len());
            received.extend(read);
        }
        assert!(received == all);
    });
}

#[test]
fn y_close_6_unread_bytes_and_the_go_away_behind_them_arrive() {
    for bytes in [10, 400 << 10, 900 << 10] {
        for code in [0, 42] {
            salvaged(bytes, code);
        }
    }
}

#[test]
fn y_close_6_over_tcp_what_waits_arrives_though_the_peer_has_reset_it() {
    run(async {
        for _ in 0..20 {
            let (near, far) = tcp().await;
            let (server, driven) = session(near, default(), Mode::Server);
            let mut peer = Peer::new(far);
            peer.greet().await;
            // What the peer never reads makes a reset of its close.
            let mut sent = server.open().await.expect("opens");
            sent.write_all(&pattern(1000)).await.expect("credit");
            sent.flush().await.expect("flushes");
            peer.send_data(1, Flags::SYN | Flags::FIN, &pattern(10_000)).await;
            peer.send(go_away(0)).await;
            drop(peer);
            driven.await.expect("no panic").expect("the go-away was heard");
            let (read, error) = drain(&mut server.accept().await.expect("it came")).await;
            assert!(read == pattern(10_000) && error.is_none());
            assert_same(server.accept().await.map(drop), Err::<(), _>(ConnectionError::Closed { by: Side::Remote }));
        }
    });
}

#[test]
fn y_close_6_a_transport_that_can_only_be_read_ends_in_a_second() {
    run_paused(async {
        let (near, far) = pipe(1 << 16);
        let mut tricky = Tricky::new(near, Write::Plain);
        tricky.reads_after_fault = true;
        let calls = tricky.calls();
        let (_server, driven) = session(tricky, paused(quiet()).build().expect("valid"), Mode::Server);
        let mut peer = Peer::new(far);
        calls.break_with(Fault::WriteFails);
        let begun = now();
        let pinging = tokio::spawn(async move {
            loop {
                peer.send(pong(1)).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let ended = driven.await.expect("no panic");
        pinging.abort();
        assert!(matches!(ended, Err(ConnectionError::Io(_))), "{ended:?}");
        let took = now() - begun;
        assert!(took >= SECOND && took <= SECOND + Duration::from_millis(30), "{took:?}");
    });
}

// ---- the right reason ----------------------------------------------------------------------------------------------------

/// TLS without close_notify, and a socket that was reset.
const FAILURES: [io::ErrorKind; 2] = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];

#[test]
fn y_eof_4_a_transport_that_fails_after_an_orderly_end_is_one_that_ends() {
    for kind in FAILURES {
        for form in ["go-away", "go-away beside a stream", "own close", "both close"] {
            run(async {
                let (near, far) = pipe(1 << 16);
                let (server, driven) = session(FailsAtEnd(near, kind), default(), Mode::Server);
                let mut peer = Peer::new(far);
                peer.greet().await;
                let mut stream = None;
                if form == "go-away beside a stream" {
                    peer.send(update(1, Flags::SYN, 0)).await;
                    stream = Some(server.accept().await.expect("opened"));
                    peer.expect(update(1, Flags::ACK, 0)).await;
                }
                if form != "own close" {
                    peer.feed(go_away(0)).await;
                }
                let mut closing = form.ends_with("close").then(|| server.close().boxed());
                if let Some(closing) = &mut closing {
                    assert!(futures::poll!(closing).is_pending());
                }
                peer.shut().await;
                assert_same(driven.await.expect("no panic"), Ok::<_, ConnectionError>(()));
                if let Some(closing) = closing {
                    assert_same(closing.await, Ok::<_, ConnectionError>(()));
                }
                drop(stream);
            });
        }
    }
}

#[test]
fn y_eof_5_a_transport_that_ends_unexpectedly_between_frames_has_ended() {
    for (kind, streams, expected) in [
        (io::ErrorKind::UnexpectedEof, false, "Ok(())"),
        (io::ErrorKind::UnexpectedEof, true, "Err(UnexpectedEof)"),
        (io::ErrorKind::ConnectionReset, false, "Err(Io(Custom { kind: ConnectionReset, error: \"pulled\" }))"),
        (io::ErrorKind::ConnectionReset, true, "Err(Io(Custom { kind: ConnectionReset, error: \"pulled\" }))"),
    ] {
        run(async {
            let (near, far) = pipe(1 << 16);
            let (server, driven) = session(FailsAtEnd(near, kind), default(), Mode::Server);
            let mut peer = Peer::new(far);
            peer.greet().await;
            if streams {
                peer.send(update(1, Flags::SYN, 0)).await;
            }
            peer.shut().await;
            assert_eq!(format!("{:?}", driven.await.expect("no panic")), expected);
            drop(server);
        });
    }
}

/// Reads to the end, sends it back, and closes.
async fn echo(mut stream: Stream) -> io::Result<()> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    // The peer has got what it wanted, and leaves meanwhile.
    tokio::task::yield_now().await;
    stream.close().await
}

#[test]
fn y_close_12_handlers_that_were_done_report_no_failure_when_the_peer_disconnects() {
    run(async {
        for _ in 0..30 {
            let (near, far) = tcp().await;
            let ((client, _near), (server, _far)) =
                (session(near, default(), Mode::Client), session(far, default(), Mode::Server));
            let echoing = tokio::spawn(async move { echo(server.accept().await.expect("opened")).await });
            let mut stream = client.open().await.expect("opens");
            stream.write_all(b"hello").await.expect("writes");
            stream.close().await.expect("closes");
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).await.expect("echoed");
            client.close().await.expect("closes in good order");
            echoing.await.expect("no panic").expect("nothing of it was lost");
        }
    });
}

// ---- how long a close takes ----------------------------------------------------------------------------------------------

/// A transport that takes so many bytes a second, and has no buffer of its own.
struct Slow {
    io: Pipe,
    rate: f64,
    budget: f64,
    last: std::time::Instant,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let passed = now() - self.last;
            self.last = now();
            self.budget = (self.budget + passed.as_secs_f64() * self.rate).min(1024.0);
            if self.budget >= 1.0 {
                let len = buf.len().min(self.budget as usize);
                let written = futures::ready!(Pin::new(&mut self.io).poll_write(cx, &buf[..len]))?;
                self.budget -= written as f64;
                return Poll::Ready(Ok(written));
            }
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(100))));
            futures::ready!(sleep.poll_unpin(cx));
            self.sleep = None;
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// Queues so many bytes at 4 KB/s and closes: how many arrive, how long that takes, and what the close says.
async fn close_slowly(bytes: usize, close_timeout: Duration) -> (usize, Duration, Result<(), ConnectionError>) {
    let (near, far) = pipe(1 << 20);
    let slow = Slow { io: near, rate: 4000.0, budget: 0.0, last: now(), sleep: None };
    let settings = paused(quiet()).close_timeout(close_timeout).max_send_buffer(1 << 20);
    let (client, _driven) = session(slow, settings.build().expect("valid"), Mode::Client);
    let begun = now();
    let mut stream = client.open().await.expect("opens");
    stream.write_all(&pattern(bytes)).await.expect("taken in");
    let reading = tokio::spawn(async move {
        let (mut peer, mut received) = (Peer::new(far), 0);
        while let Some((_, body)) = peer.next().await {
            received += body.len();
        }
        received
    });
    let closed = client.close().await;
    let took = now() - begun;
    drop((client, stream));
    (reading.await.expect("no panic"), took, closed)
}

#[test]
fn y_close_11_what_is_queued_arrives_however_slow_the_transport_is() {
    run_paused(async {
        let (received, took, closed) = close_slowly(90 << 10, 120 * SECOND).await;
        assert_same(closed, Ok::<_, ConnectionError>(()));
        assert_eq!(received, 90 << 10);
        assert!(took > 20 * SECOND && took < 30 * SECOND, "{took:?}");
    });
}

#[test]
fn y_close_11_a_close_has_an_outer_bound() {
    run_paused(async {
        let (received, took, closed) = close_slowly(90 << 10, 15 * SECOND).await;
        assert_same(closed, Err::<(), _>(ConnectionError::WriteTimeout));
        assert!(received < 70 << 10, "{received}");
        assert!(took >= 15 * SECOND && took <= 15 * SECOND + SECOND / 10, "{took:?}");
    });
}

/// A transport that takes nothing, over which a peer may still be heard.
#[test]
fn y_close_11_only_a_close_that_stands_still_fails() {
    for heard in [false, true] {
        run_paused(async {
            let (near, far) = pipe(1 << 16);
            let tricky = Tricky::new(near, Write::Plain);
            let calls = tricky.calls();
            let settings = paused(quiet()).close_timeout(60 * SECOND);
            let (client, _driven) = session(tricky, settings.build().expect("valid"), Mode::Client);
            let mut peer = Peer::new(far);
            peer.greet().await;
            calls.break_with(Fault::WriteStalls);
            let mut stream = client.open().await.expect("opens");
            stream.write_all(b"never taken").await.expect("taken in");
            let talking = tokio::spawn(async move {
                // Until it is aborted.
                for _ in 0..if heard { u64::MAX } else { 0 } {
                    peer.send(pong(1)).await;
                    tokio::time::sleep(SECOND).await;
                }
                peer
            });
            let begun = now();
            assert_same(client.close().await, Err::<(), _>(ConnectionError::WriteTimeout));
            let (took, expected) = (now() - begun, if heard { 60 * SECOND } else { 10 * SECOND });
            assert!(took >= expected - SECOND / 10 && took <= expected + SECOND / 10, "{took:?}");
            talking.abort();
        });
    }
}

// ---- a transport that tells of no end --------------------------------------------------------------------------------------

/// One end of a pipe that does not tell its peer of being shut, as libp2p's transport in memory does not. Dropped, it does.
struct Mute(Pipe);

impl AsyncRead for Mute {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Mute {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A client on such a transport, a stream that it has announced, and its peer.
async fn mute_client(capacity: usize) -> (Session, Driven, Stream, Peer<Pipe>) {
    let (near, far) = pipe(capacity);
    let (client, driven) = session(Mute(near), paused(quiet()).build().expect("valid"), Mode::Client);
    let mut peer = Peer::new(far);
    peer.greet().await;
    let mut stream = client.open().await.expect("opens");
    stream.flush().await.expect("flushes");
    peer.expect(update(1, Flags::SYN, 0)).await;
    (client, driven, stream, peer)
}

#[test]
fn y_close_13_an_orderly_close_takes_no_time_where_no_end_is_told() {
    for (code, both) in [(0, false), (0, true), (42, false)] {
        run_paused(async {
            let (near, far) = pipe(1 << 16);
            let settings = || paused(quiet()).build().expect("valid");
            let (client, near) = session(Mute(near), settings(), Mode::Client);
            let (server, far) = session(Mute(far), settings(), Mode::Server);
            let mut stream = client.open().await.expect("opens");
            stream.write_all(b"hello").await.expect("writes");
            stream.close().await.expect("closes");
            let (read, error) = drain(&mut server.accept().await.expect("opened")).await;
            assert!(read == b"hello" && error.is_none());
            drop(stream);
            client.ping().await.expect("answered");
            let begun = now();
            let closing = async { if both { server.close().await } else { Ok(()) } };
            let (one, other) = futures::join!(client.close_with(code), closing);
            assert!(other.is_ok() && (code != 0 || one.is_ok()), "{one:?} {other:?}");
            let _ = futures::join!(near, far);
            assert_eq!(now() - begun, Duration::ZERO, "code {code}");
        });
    }
}

/// A peer that wants no more streams goes on with those that are open: what it sends must not destroy our go-away, whether or
/// not it has sent anything between its go-away and ours.
#[test]
fn y_close_13_a_peer_that_goes_on_after_its_go_away_is_listened_to() {
    for between in [&b""[..], b"on it goes"] {
        run_paused(async {
            let (client, driven, mut stream, mut peer) = mute_client(1 << 16).await;
            peer.send(go_away(0)).await;
            if !between.is_empty() {
                peer.send_data(1, Flags::NONE, between).await;
            }
            peer.send(ping(7)).await;
            peer.expect(pong(7)).await;
            stream.read_exact(&mut vec![0; between.len()]).await.expect("it lives");
            let begun = now();
            let closing = tokio::spawn(async move { client.close().await });
            peer.expect(go_away(0)).await;
            peer.send_data(1, Flags::NONE, b"and on").await;
            closing.await.expect("no panic").expect("in good order");
            driven.await.expect("no panic").expect("in good order");
            assert!(now() - begun >= SECOND, "{:?}", now() - begun);
        });
    }
}

#[test]
fn y_close_13_a_go_away_behind_what_is_thrown_away_is_seen() {
    run_paused(async {
        let (client, driven, _stream, mut peer) = mute_client(1 << 20).await;
        let begun = now();
        let closing = tokio::spawn(async move { client.close().await });
        peer.expect(go_away(0)).await;
        peer.send_data(1, Flags::NONE, &pattern(200_000)).await;
        peer.send(go_away(0)).await;
        closing.await.expect("no panic").expect("in good order");
        driven.await.expect("no panic").expect("in good order");
        assert_eq!(now() - begun, Duration::ZERO);
    });
}
