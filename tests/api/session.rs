//! [`Session`]: handles used by many tasks, futures that are given up at each of their await points, and every end.

use crate::support::clock::{now, paused, run_paused};
use crate::support::outcome::stream_error;
use crate::support::pair::{Driven, session};
use crate::support::pattern::{echo, exchange};
use crate::support::peer::{Peer, data, go_away, pong, update};
use crate::support::{Pipe, pipe, quiet, run, run_threaded};
use futures::future::{BoxFuture, Either, join_all, poll_fn};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, poll};
use sluicegate::wire::{Flags, Header, PingKind};
use sluicegate::{
    Config, ConfigBuilder, Connection, ConnectionError, MemoryLimit, Mode, OpenError, PingError, RefusedOpen, Session,
    Side, Stream, StreamError,
};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

fn sessions(settings: fn() -> ConfigBuilder) -> [(Session, Driven); 2] {
    let (near, far) = pipe(1 << 16);
    [
        session(near, settings().build().expect("valid"), Mode::Client),
        session(far, settings().build().expect("valid"), Mode::Server),
    ]
}

/// A client session and the peer that is driven by hand, which has answered its first ping.
async fn by_hand(settings: ConfigBuilder) -> (Session, Driven, Peer<Pipe>) {
    let (near, far) = pipe(1 << 16);
    let ((session, driven), mut peer) = (session(near, settings.build().expect("valid"), Mode::Client), Peer::new(far));
    peer.greet().await;
    // It knows of the answer by now.
    peer.expect_silence().await;
    (session, driven, peer)
}

#[test]
fn any_number_of_tasks_open_accept_and_are_answered() {
    const STREAMS: usize = 200;
    const LEN: usize = 10_000;
    run_threaded(async {
        // Openers wait for their turn as well as for the backlog.
        let [(client, driven), (server, _server)] = sessions(|| quiet().accept_backlog(4));
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
fn y_ping_7_pings_at_the_same_time_are_one_ping() {
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

/// Whoever looks first has it: that another one came before does not hold it up.
#[test]
fn y_open_15_waiters_are_served_in_the_order_of_their_polls() {
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
        let Poll::Ready(Ok(stream)) = poll!(&mut last) else { panic!("there is a place") };
        assert!(poll!(&mut second).is_pending());
        assert_eq!(stream.id(), 3);
        drop(stream);
        assert_eq!(second.await.expect("opens").id(), 5);
    });
}

#[test]
fn an_accept_that_is_given_up_takes_no_stream_away() {
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
fn y_close_4_every_waiter_learns_of_the_end_and_its_code() {
    run(async {
        let [(client, _client), (server, _server)] = sessions(quiet);
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
        let [(client, driven), (_server, _driven)] = sessions(quiet);
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

/// An executor that is gone drops a task instead of running it again, in the very call that wakes it. Whatever the task holds
/// is then dropped there, another wait for the same end included.
#[test]
fn y_close_4_a_task_that_is_dropped_as_it_is_woken_holds_up_nobody() {
    struct Gone(Mutex<Option<BoxFuture<'static, ()>>>);
    impl Wake for Gone {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().expect("no panic").take());
        }
    }
    let (done, waits) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (near, _far) = pipe(1 << 16);
        let (session, driver) = Session::new(near, quiet().build().expect("valid"), Mode::Client);
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let session = session.clone();
                let waiting = async move {
                    let (one, other) = (session.closed(), session.closed());
                    futures::join!(one, other);
                };
                let task = Arc::new(Gone(Mutex::new(None)));
                let (waker, mut future): (_, BoxFuture<'static, ()>) = (task.clone().into(), Box::pin(waiting));
                assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                *task.0.lock().expect("no panic") = Some(future);
                task
            })
            .collect();
        drop(driver);
        let dropped = tasks.iter().all(|task| task.0.lock().expect("no panic").is_none());
        done.send(dropped).expect("somebody waits");
    });
    assert_eq!(waits.recv_timeout(Duration::from_secs(10)), Ok(true));
}

#[test]
fn y_away_3_a_go_away_stops_only_the_peers_opening() {
    run(async {
        let [(client, _client), (server, _server)] = sessions(quiet);
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
        let [(client, driven), (server, _server)] = sessions(quiet);
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

/// What several callers may wait for at once.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Accept,
    Backlog,
    Memory,
    Ping,
}

/// A session on which calls of one kind have to wait, and what ends that for one of them.
struct Scene {
    kind: Kind,
    session: Session,
    driven: Driven,
    peer: Peer<Pipe>,
    budget: Arc<MemoryLimit>,
    held: Option<Stream>,
    next: u32,
}

impl Scene {
    const WINDOW: usize = 256 << 10;

    async fn new(kind: Kind) -> Self {
        let budget = Arc::new(MemoryLimit::new(if matches!(kind, Kind::Memory) { Self::WINDOW } else { 64 << 20 }));
        let settings = paused(quiet()).memory(budget.clone()).refused_open(RefusedOpen::Wait);
        let backlog = if matches!(kind, Kind::Backlog) { 1 } else { 256 };
        let (near, far) = pipe(1 << 16);
        let ((session, driven), mut peer) =
            (session(near, settings.accept_backlog(backlog).build().expect("valid"), Mode::Client), Peer::new(far));
        peer.greet().await;
        tokio::task::yield_now().await;
        peer.answers_pings = false;
        let mut scene = Self { kind, session, driven, peer, budget, held: None, next: 2 };
        match kind {
            Kind::Backlog => {
                let mut held = scene.session.open().await.expect("opens");
                held.flush().await.expect("announces itself");
                scene.peer.expect(update(1, Flags::SYN, 0)).await;
                scene.held = Some(held);
            }
            Kind::Memory => scene.held = Some(scene.session.open().await.expect("opens")),
            Kind::Accept | Kind::Ping => {}
        }
        scene
    }

    /// A call that has to wait.
    fn call(&self) -> BoxFuture<'static, Option<Stream>> {
        let (kind, session) = (self.kind, self.session.clone());
        async move {
            match kind {
                Kind::Accept => Some(session.accept().await.expect("accepts")),
                Kind::Backlog | Kind::Memory => Some(session.open().await.expect("opens")),
                Kind::Ping => {
                    session.ping().await.expect("answered");
                    None
                }
            }
        }
        .boxed()
    }

    /// There is something for one caller: for all of them where it is a pong.
    async fn serve(&mut self) {
        match self.kind {
            Kind::Accept => {
                self.peer.send(update(self.next, Flags::SYN, 0)).await;
                self.next += 2;
            }
            Kind::Backlog => {
                let id = self.held.take().expect("one at a time").id();
                self.peer.send(update(id, Flags::ACK, 0)).await;
            }
            Kind::Memory => drop(self.held.take()),
            Kind::Ping => {
                let nonce = ping(&mut self.peer).await;
                self.peer.send(pong(nonce)).await;
            }
        }
    }

    /// What a call has given is what the next one waits for.
    async fn keep(&mut self, served: Option<Stream>) {
        if matches!(self.kind, Kind::Backlog)
            && let Some(mut stream) = served
        {
            stream.flush().await.expect("announces itself");
            let id = stream.id();
            while self.peer.next_header().await != update(id, Flags::SYN, 0) {}
            self.held = Some(stream);
        } else if matches!(self.kind, Kind::Memory) {
            self.held = served;
        }
    }
}

const KINDS: [Kind; 4] = [Kind::Accept, Kind::Backlog, Kind::Memory, Kind::Ping];

/// No time may pass: whoever is told by an alarm only is told too late.
async fn at_once<R>(what: impl Future<Output = R>, of: Kind) -> R {
    let start = now();
    let timeout = tokio::time::timeout(Duration::from_secs(5), what);
    let result = timeout.await.unwrap_or_else(|_| panic!("{of:?}: waits for ever"));
    assert!(now() - start < Duration::from_millis(50), "{of:?}: {:?}", now() - start);
    result
}

/// `select!` over a pinned call, in whose other branch the same is called again.
#[test]
fn y_open_15_a_call_that_is_kept_and_not_polled_holds_up_nobody() {
    for kind in KINDS {
        run_paused(async {
            let mut scene = Scene::new(kind).await;
            let mut kept = [scene.call(), scene.call()];
            for call in &mut kept {
                assert!(poll!(call).is_pending());
            }
            for _ in 0..3 {
                let mut other = scene.call();
                assert!(poll!(&mut other).is_pending());
                at_once(scene.serve(), kind).await;
                let served = at_once(other, kind).await;
                scene.keep(served).await;
            }
            // They have missed nothing that is left for them.
            for call in kept {
                if !matches!(kind, Kind::Ping) {
                    scene.serve().await;
                }
                let served = at_once(call, kind).await;
                scene.keep(served).await;
            }
        });
    }
}

#[test]
fn y_open_15_tasks_that_call_at_the_same_time_all_get_on() {
    for kind in KINDS {
        run_paused(async {
            let mut scene = Scene::new(kind).await;
            let (served, mut done) = futures::channel::mpsc::unbounded();
            for _ in 0..10 {
                let (call, served) = (scene.call(), served.clone());
                tokio::spawn(async move { served.unbounded_send(call.await).expect("the test waits") });
            }
            drop(served);
            tokio::task::yield_now().await;
            for served in 0..10 {
                if !matches!(kind, Kind::Ping) || served == 0 {
                    at_once(scene.serve(), kind).await;
                }
                let stream = at_once(done.next(), kind).await.expect("one is served");
                scene.keep(stream).await;
            }
        });
    }
}

/// Before its first poll, while it waits, and when it has been told and has not looked.
#[test]
fn y_open_15_a_call_that_is_given_up_leaves_nothing_behind() {
    for (kind, moment) in KINDS.into_iter().flat_map(|kind| [0, 1, 2].map(|moment| (kind, moment))) {
        run_paused(async {
            let mut scene = Scene::new(kind).await;
            let (mut first, mut second) = (scene.call(), scene.call());
            if moment > 0 {
                assert!(poll!(&mut first).is_pending());
            }
            assert!(poll!(&mut second).is_pending());
            if moment < 2 {
                drop(first);
                at_once(scene.serve(), kind).await;
            } else {
                at_once(scene.serve(), kind).await;
                tokio::task::yield_now().await;
                drop(first);
            }
            let served = at_once(second, kind).await;
            let (streams, reserved) = (scene.session.num_streams(), scene.budget.reserved());
            let expected = match kind {
                Kind::Ping => 0,
                Kind::Accept | Kind::Backlog | Kind::Memory => 1,
            };
            assert_eq!((streams, reserved), (expected, expected * Scene::WINDOW), "{kind:?} {moment}");
            drop((served, scene.session));
            scene.driven.abort();
        });
    }
}

/// A budget that another connection waits for, too: what it waits for does not go to a call that was given up.
#[test]
fn y_open_15_memory_goes_to_another_connection_where_a_call_was_given_up() {
    run_paused(async {
        let mut scene = Scene::new(Kind::Memory).await;
        let settings = paused(quiet()).memory(scene.budget.clone()).refused_open(RefusedOpen::Wait);
        let (near, _far) = pipe(1 << 16);
        let (other, _driven) = session(near, settings.build().expect("valid"), Mode::Client);
        let mut given_up = scene.call();
        assert!(poll!(&mut given_up).is_pending());
        tokio::task::yield_now().await;
        let mut waits = other.open().boxed();
        assert!(poll!(&mut waits).is_pending());
        tokio::task::yield_now().await;
        drop(given_up);
        tokio::task::yield_now().await;
        scene.serve().await;
        drop(at_once(waits, Kind::Memory).await.expect("opens"));
    });
}

#[test]
fn y_ping_7_a_ping_takes_a_round_trip_of_its_own() {
    run_paused(async {
        const SECOND: Duration = Duration::from_secs(1);
        let mut scene = Scene::new(Kind::Ping).await;
        for _ in 0..3 {
            let mut given_up = scene.call();
            assert!(poll!(&mut given_up).is_pending());
            let nonce = ping(&mut scene.peer).await;
            drop(given_up);
            tokio::time::sleep(SECOND).await;
            // Its answer comes, and is not that to the next call, which comes before or after it.
            let mut early = scene.session.ping().boxed();
            assert!(poll!(&mut early).is_pending());
            scene.peer.send(pong(nonce)).await;
            let own = ping(&mut scene.peer).await;
            let mut late = scene.session.ping().boxed();
            assert!(poll!(&mut early).is_pending() && poll!(&mut late).is_pending());
            tokio::time::sleep(SECOND).await;
            scene.peer.send(pong(own)).await;
            let rtt = early.await.expect("answered");
            assert!(rtt >= SECOND && rtt < 2 * SECOND, "{rtt:?}");
            let last = ping(&mut scene.peer).await;
            assert!(poll!(&mut late).is_pending());
            scene.peer.send(pong(last)).await;
            late.await.expect("answered");
        }
        // A peer that answers nothing does not answer this.
        let start = now();
        drop(poll!(&mut scene.call()));
        let ended = scene.session.ping().await;
        assert!(matches!(ended, Err(PingError::TimedOut)), "{ended:?}");
        assert!(now() - start >= 10 * SECOND && now() - start < 11 * SECOND, "{:?}", now() - start);
        // One whose ping has to wait until that has timed out has its own time all the same.
        let start = now();
        let [mut first, mut second] = [(); 2].map(|()| scene.session.ping().boxed());
        assert!(poll!(&mut first).is_pending());
        tokio::time::sleep(9 * SECOND).await;
        assert!(poll!(&mut second).is_pending());
        assert!(matches!(first.await, Err(PingError::TimedOut)));
        assert!(matches!(second.await, Err(PingError::TimedOut)));
        assert!(now() - start >= 20 * SECOND && now() - start < 21 * SECOND, "{:?}", now() - start);
    });
}

#[test]
fn y_ping_8_a_ping_that_cannot_leave_times_out_too() {
    run_paused(async {
        const SECOND: Duration = Duration::from_secs(1);
        let settings = paused(quiet());
        let (near, far) = pipe(64);
        let ((session, _driven), mut peer) =
            (session(near, settings.build().expect("valid"), Mode::Client), Peer::new(far));
        peer.greet().await;
        let mut stream = session.open().await.expect("opens");
        stream.write_all(&[1; 4096]).await.expect("room");
        tokio::time::sleep(SECOND).await;
        let (start, early) = (now(), session.ping());
        let ended = early.await;
        assert!(matches!(ended, Err(PingError::TimedOut | PingError::Connection(_))), "{ended:?}");
        assert!(now() - start <= 11 * SECOND, "{:?}", now() - start);
    });
}

/// 256 streams that nobody has used: the next one opens after a round trip.
#[test]
fn y_open_14_the_257th_open_goes_on_when_the_peer_accepts() {
    const STREAMS: usize = 256;
    run_paused(async {
        let [(client, _client), (server, _server)] = sessions(|| paused(quiet()));
        let mut held = Vec::new();
        for _ in 0..STREAMS {
            held.push(client.open().await.expect("opens"));
        }
        assert_eq!(server.num_streams(), 0);
        let mut more = [(); 2].map(|()| client.open().boxed());
        for open in &mut more {
            assert!(poll!(open).is_pending());
        }
        let accepted = [(); 2].map(|()| server.accept());
        let accepted = at_once(join_all(accepted), Kind::Accept).await;
        let ids = accepted.iter().map(|stream| stream.as_ref().expect("accepts").id());
        assert_eq!(ids.collect::<Vec<_>>(), [1, 3]);
        for (open, id) in more.into_iter().zip([513, 515]) {
            assert_eq!(at_once(open, Kind::Backlog).await.expect("opens").id(), id);
        }
    });
}

#[test]
fn y_open_14_a_connection_that_is_polled_announces_for_its_opens_too() {
    run_paused(async {
        let (near, far) = pipe(1 << 16);
        let config = |backlog| paused(quiet()).accept_backlog(backlog).build().expect("valid");
        let mut connection = Connection::new(near, config(4), Mode::Client);
        let (server, _driven) = session(far, paused(quiet()).build().expect("valid"), Mode::Server);
        let accepting = tokio::spawn(async move {
            let mut accepted = Vec::new();
            loop {
                accepted.push(server.accept().await.expect("accepts"));
            }
        });
        let mut held = Vec::new();
        for _ in 0..20 {
            let opened = poll_fn(|cx| {
                assert!(connection.poll(cx).is_pending());
                connection.poll_outbound(cx)
            });
            held.push(at_once(opened, Kind::Backlog).await.expect("opens"));
        }
        #[cfg(feature = "libp2p")]
        for _ in 0..20 {
            use libp2p::core::muxing::StreamMuxer;
            let opened = poll_fn(|cx| {
                assert!(connection.poll(cx).is_pending());
                StreamMuxer::poll_outbound(Pin::new(&mut connection), cx)
            });
            held.push(at_once(opened, Kind::Backlog).await.expect("opens"));
        }
        drop(held);
        accepting.abort();
    });
}
