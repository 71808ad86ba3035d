//! [`Session`]: handles used by many tasks, futures that are given up at each of their await points, and every end.

mod support;

use futures::future::{Either, join_all, poll_fn};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, poll};
use sluicegate::wire::{Flags, Header, PingKind};
use sluicegate::{
    Config, ConfigBuilder, ConnectionError, MemoryLimit, Mode, OpenError, PingError, Session, Side, Stream, StreamError,
};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use support::outcome::stream_error;
use support::pattern::{echo, exchange};
use support::peer::{Peer, data, go_away, pong, update};
use support::{Pipe, pipe, quiet, run, run_threaded};
use tokio::task::JoinHandle;

type Driven = JoinHandle<Result<(), ConnectionError>>;

fn start(io: Pipe, settings: ConfigBuilder, mode: Mode) -> (Session, Driven) {
    let (session, driver) = Session::new(io, settings.build().expect("valid"), mode);
    (session, tokio::spawn(driver))
}

fn pair(settings: fn() -> ConfigBuilder) -> [(Session, Driven); 2] {
    let (near, far) = pipe(1 << 16);
    [start(near, settings(), Mode::Client), start(far, settings(), Mode::Server)]
}

/// A client session and the peer that is driven by hand, which has answered its first ping.
async fn by_hand(settings: ConfigBuilder) -> (Session, Driven, Peer<Pipe>) {
    let (near, far) = pipe(1 << 16);
    let ((session, driven), mut peer) = (start(near, settings, Mode::Client), Peer::new(far));
    peer.greet().await;
    // It knows of the answer by now.
    peer.expect_silence().await;
    (session, driven, peer)
}

#[test]
fn a7_any_number_of_tasks_open_accept_and_are_answered() {
    const STREAMS: usize = 200;
    const LEN: usize = 10_000;
    run_threaded(async {
        // Openers wait for their turn as well as for the backlog.
        let [(client, driven), (server, _server)] = pair(|| quiet().accept_backlog(4));
        let mut tasks = Vec::new();
        for seed in 0..STREAMS {
            let (client, server) = (client.clone(), server.clone());
            tasks.push(tokio::spawn(async move {
                exchange(client.open().await.expect("opens"), (seed, LEN), (seed, LEN)).await;
            }));
            tasks.push(tokio::spawn(async move { echo(server.accept().await.expect("accepts"), LEN).await }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!((client.num_streams(), server.num_streams()), (0, 0));
        assert!(client.rtt().is_some() && client.id() != server.id());
        client.close().await.expect("closes in good order");
        driven.await.expect("no panic").expect("closed in good order");
        assert!(matches!(server.closed().await, ConnectionError::Closed { by: Side::Remote }));
    });
}

/// The nonce of the only frame that has come.
async fn ping(peer: &mut Peer<Pipe>) -> u32 {
    match peer.next_header().await {
        Header::Ping { kind: PingKind::Request, nonce } => nonce,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a39_pings_at_the_same_time_are_one_ping() {
    run(async {
        let (session, _driven, mut peer) = by_hand(quiet()).await;
        peer.answers_pings = false;
        for _ in 0..3 {
            let asking = join_all((0..100).map(|_| session.ping()));
            let answering = async {
                let nonce = ping(&mut peer).await;
                peer.send(pong(nonce)).await;
            };
            let (answers, ()) = futures::join!(asking, answering);
            let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("answered")).collect();
            assert!(answers.iter().all(|rtt| *rtt == answers[0]), "{answers:?}");
            // Nothing but that ping was sent.
            peer.expect_silence().await;
        }
    });
}

#[test]
fn a_ping_that_is_given_up_goes_on_for_the_others() {
    run(async {
        let (session, _driven, mut peer) = by_hand(quiet()).await;
        peer.answers_pings = false;
        let [mut first, mut second, mut third] = [(); 3].map(|()| session.ping().boxed());
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
        let nonce = ping(&mut peer).await;
        // One while it waits for the answer, one while it waits for its turn.
        drop((first, second));
        assert!(poll!(&mut third).is_pending());
        peer.send(pong(nonce)).await;
        third.await.expect("answered");
        peer.expect_silence().await;
    });
}

#[test]
fn an_open_that_is_given_up_leaves_nothing_behind() {
    for given_up in ["while it waits for the backlog", "while it waits for its turn"] {
        run(async {
            let budget = Arc::new(MemoryLimit::new(64 << 20));
            let (session, _driven, mut peer) = by_hand(quiet().accept_backlog(1).memory(budget.clone())).await;
            let mut held = session.open().await.expect("opens");
            held.flush().await.expect("announces itself");
            peer.expect(update(1, Flags::SYN, 0)).await;
            let reserved = budget.reserved();
            let (mut waits, mut queues) = (session.open().boxed(), session.open().boxed());
            assert!(poll!(&mut waits).is_pending() && poll!(&mut queues).is_pending());
            let (dropped, mut kept) =
                if given_up == "while it waits for the backlog" { (waits, queues) } else { (queues, waits) };
            drop(dropped);
            assert!(poll!(&mut kept).is_pending());
            assert_eq!((session.num_streams(), budget.reserved()), (1, reserved));
            peer.send(update(1, Flags::ACK, 0)).await;
            assert_eq!(kept.await.expect("opens").id(), 3);
            peer.expect_silence().await;
        });
    }
}

/// One that comes just when the turn is passed on is not ahead of those who wait for it.
#[test]
fn whoever_waits_is_served_in_the_order_in_which_they_came() {
    run(async {
        let (session, _driven, mut peer) = by_hand(quiet().accept_backlog(1)).await;
        let mut held = session.open().await.expect("opens");
        held.flush().await.expect("announces itself");
        peer.expect(update(1, Flags::SYN, 0)).await;
        let [mut first, mut second, mut last] = [(); 3].map(|()| session.open().boxed());
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        drop(first);
        assert!(poll!(&mut last).is_pending());
        peer.send(update(1, Flags::ACK, 0)).await;
        peer.expect_silence().await;
        assert!(poll!(&mut last).is_pending(), "served before its turn");
        assert_eq!(second.await.expect("opens").id(), 3);
        assert_eq!(last.await.expect("opens").id(), 5);
    });
}

#[test]
fn b30_an_accept_that_is_given_up_takes_no_stream_away() {
    for given_up in 0..2 {
        run(async {
            let (session, _driven, mut peer) = by_hand(quiet()).await;
            let mut waiting = vec![session.accept().boxed(), session.accept().boxed()];
            for accept in &mut waiting {
                assert!(poll!(accept).is_pending());
            }
            drop(waiting.remove(given_up));
            peer.send(update(2, Flags::SYN, 0)).await;
            let stream = waiting.remove(0).await.expect("accepts");
            assert_eq!(stream.id(), 2);
            peer.expect(update(2, Flags::ACK, 0)).await;
        });
    }
}

#[test]
fn a_close_that_is_given_up_goes_on() {
    run(async {
        let (session, driven, mut peer) = by_hand(quiet()).await;
        assert!(poll!(pin!(session.close_with(7))).is_pending());
        peer.expect(go_away(7)).await;
        peer.shut().await;
        let ended = driven.await.expect("no panic").expect_err("ended with a code");
        assert!(matches!(ended, ConnectionError::GoAway { by: Side::Local, code: 7 }), "{ended:?}");
        assert!(session.is_closed());
    });
}

/// What is asked of a session that is over has the reason for an answer.
async fn expect_over(session: &Session, is: fn(&ConnectionError) -> bool) {
    assert!(session.is_closed() && is(&session.closed().await));
    for _ in 0..2 {
        assert!(matches!(session.open().await, Err(OpenError::Connection(reason)) if is(&reason)));
        assert!(matches!(session.accept().await, Err(reason) if is(&reason)));
        assert!(matches!(session.ping().await, Err(PingError::Connection(reason)) if is(&reason)));
    }
}

#[test]
fn a12_whoever_waits_learns_of_the_end_and_its_code() {
    run(async {
        let [(client, _client), (server, _server)] = pair(quiet);
        let waiting = async |session: Session| {
            let ends = join_all((0..10).map(|_| session.closed()));
            let accepts = join_all((0..10).map(|_| session.accept()));
            futures::join!(ends, accepts)
        };
        let (ends, accepts) = {
            let waiting = waiting(server.clone());
            let closing = async { client.close_with(42).await.expect_err("ended with a code") };
            let (waited, closed) = futures::join!(waiting, closing);
            assert!(matches!(closed, ConnectionError::GoAway { by: Side::Local, code: 42 }), "{closed:?}");
            waited
        };
        let theirs =
            |reason: &ConnectionError| matches!(reason, ConnectionError::GoAway { by: Side::Remote, code: 42 });
        assert!(ends.iter().all(theirs) && accepts.iter().all(|accept| accept.as_ref().is_err_and(theirs)));
        expect_over(&server, theirs).await;
        expect_over(&client, |reason| matches!(reason, ConnectionError::GoAway { by: Side::Local, code: 42 })).await;
    });
}

#[test]
fn a_driver_that_is_dropped_ends_everything() {
    run(async {
        let [(client, driven), (_server, _driven)] = pair(quiet);
        let mut stream = client.open().await.expect("opens");
        let mut waiting: [Pin<Box<dyn Future<Output = ()>>>; 2] = [
            Box::pin(async { drop(client.accept().await.expect_err("over")) }),
            Box::pin(async { assert!(matches!(client.closed().await, ConnectionError::Dropped)) }),
        ];
        for future in &mut waiting {
            assert!(poll!(future).is_pending());
        }
        driven.abort();
        join_all(waiting).await;
        expect_over(&client, |reason| matches!(reason, ConnectionError::Dropped)).await;
        let error = stream.read(&mut [0]).await.expect_err("over");
        assert!(matches!(stream_error(&error), StreamError::Connection(ConnectionError::Dropped)));
    });
}

#[test]
fn a11_a_go_away_stops_the_peer_from_opening_and_nothing_else() {
    run(async {
        let [(client, _client), (server, _server)] = pair(quiet);
        let (near, far) = stream(&client, &server).await;
        server.go_away();
        // Heard by the time that what was said later is answered.
        server.ping().await.expect("answered");
        assert!(matches!(client.open().await, Err(OpenError::RemoteGoAway)));
        futures::join!(exchange(near, (1, 1 << 20), (1, 1 << 20)), echo(far, 1 << 20));
        assert!(matches!(client.closed().await, ConnectionError::Closed { by: Side::Remote }));
    });
}

/// The two ends of a stream that `from` opens.
async fn stream(from: &Session, to: &Session) -> (Stream, Stream) {
    let mut near = from.open().await.expect("opens");
    near.flush().await.expect("announces itself");
    (near, to.accept().await.expect("accepts"))
}

#[test]
fn the_last_handle_drains_and_closes() {
    run(async {
        let (session, driven, mut peer) = by_hand(quiet().refusal_code(9)).await;
        let mut stream = session.open().await.expect("opens");
        stream.flush().await.expect("announces itself");
        peer.expect(update(1, Flags::SYN, 0)).await;
        // One waits to be accepted by nobody.
        peer.send(update(2, Flags::SYN, 0)).await;
        let clone = session.clone();
        drop(session);
        peer.expect_silence().await;
        drop(clone);
        peer.expect(update(2, Flags::RST, 0)).await;
        peer.send(update(4, Flags::SYN, 0)).await;
        peer.expect(update(4, Flags::RST, 0)).await;
        // The stream lives on, with the connection.
        peer.send_data(1, Flags::NONE, b"still").await;
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).await.expect("open");
        stream.write_all(b"here").await.expect("open");
        peer.expect_data(1, b"here").await;
        assert!(!driven.is_finished());
        peer.send(data(1, Flags::FIN, 0)).await;
        stream.close().await.expect("closes");
        peer.expect(data(1, Flags::FIN, 0)).await;
        peer.expect(go_away(0)).await;
        peer.shut().await;
        driven.await.expect("no panic").expect("closed in good order");
    });
}

#[test]
fn a_session_without_streams_closes_with_its_last_handle() {
    run(async {
        let [(client, driven), (server, _server)] = pair(quiet);
        client.ping().await.expect("answered");
        drop(client);
        driven.await.expect("no panic").expect("closed in good order");
        assert!(matches!(server.closed().await, ConnectionError::Closed { by: Side::Remote }));
    });
}

/// A session is used without any runtime.
#[test]
fn two_sessions_are_driven_by_hand() {
    let (near, far) = pipe(1024);
    let (client, mut client_driver) = Session::new(near, Config::default(), Mode::Client);
    let (server, mut server_driver) = Session::new(far, Config::default(), Mode::Server);
    let talk = async {
        let (near, far) = stream(&client, &server).await;
        futures::join!(exchange(near, (1, 5000), (1, 5000)), echo(far, 5000));
    };
    let drive = poll_fn(|cx| {
        let _ = Pin::new(&mut client_driver).poll(cx);
        Pin::new(&mut server_driver).poll(cx)
    });
    let talked = async { matches!(futures::future::select(pin!(talk), drive).await, Either::Left(_)) };
    assert!(run(talked), "a session has ended");
}
