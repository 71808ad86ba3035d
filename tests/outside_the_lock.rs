//! What is not ours runs while the connection's lock is open, the end of a waker and of a future included; and a task
//! that drives its connection and waits on it too sleeps while there is nothing to do.
//!
//! A binary of its own: what `tracing` knows of its events is of the whole process, and other threads must not have theirs beside
//! these.

mod support;

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use sluicegate::memory::Refused;
use sluicegate::stats::NodeStats;
use sluicegate::wire::TapEvent;
use sluicegate::wire::{Flags, PingKind};
use sluicegate::{
    Clock, Config, Connection, ConnectionError, MemoryManager, Mode, OpenError, PingError, Priority, ReceiveCharge,
    RefusedOpen, Session, Stream,
};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use std::{fmt, io};
use support::peer::{Peer, go_away, update};
use support::{Pipe, pipe, quiet};

/// `tracing` keeps for the whole process which callsites anybody listens to, and decides that anew when a subscriber comes. A
/// callsite that another thread without one reaches for the first time meanwhile may stay silent: these tests take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test`; one that locks itself out fails.
fn unlocked(test: impl FnOnce() + Send + 'static) {
    let _alone = alone();
    let (done, finished) = mpsc::channel();
    let test = std::thread::spawn(move || {
        test();
        done.send(()).expect("somebody waits");
    });
    match finished.recv_timeout(Duration::from_secs(30)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("user code ran under the lock"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => test.join().expect("passes"),
    }
}

fn connection(config: Config) -> (Connection<Pipe>, Peer<Pipe>) {
    let (near, far) = pipe(1 << 20);
    (Connection::new(near, config, Mode::Client), Peer::new(far))
}

fn open(connection: &mut Connection<Pipe>) -> Stream {
    poll_fn(|cx| connection.poll_outbound(cx)).now_or_never().expect("at once").expect("opens")
}

fn drive(connection: &mut Connection<Pipe>) {
    for _ in 0..8 {
        let _ = connection.poll(&mut Context::from_waker(Waker::noop()));
    }
}

fn read(stream: &mut Stream, waker: &Waker) {
    let read = Pin::new(stream).poll_read(&mut Context::from_waker(waker), &mut [0; 8]);
    assert!(read.is_pending());
}

/// The last waker of a task that will never run again: the task goes with it, and with the task its stream.
struct LastWaker(#[allow(dead_code, reason = "it is there to be dropped")] Mutex<Stream>);

impl Wake for LastWaker {
    fn wake(self: Arc<Self>) {}
}

fn last_waker(connection: &mut Connection<Pipe>) -> Waker {
    Arc::new(LastWaker(Mutex::new(open(connection)))).into()
}

#[test]
fn a_waker_that_is_replaced_ends_outside_the_lock() {
    unlocked(|| {
        let (mut connection, _peer) = connection(quiet().build().expect("valid"));
        let mut stream = open(&mut connection);
        read(&mut stream, &last_waker(&mut connection));
        assert_eq!(connection.num_streams(), 2);
        read(&mut stream, Waker::noop());
        assert_eq!(connection.num_streams(), 1);
        let waker = last_waker(&mut connection);
        assert!(connection.poll_inbound(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert!(connection.poll_inbound(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(connection.num_streams(), 1);
    });
}

#[test]
fn the_wakers_of_a_dropped_stream_end_outside_the_lock() {
    unlocked(|| {
        let (mut connection, _peer) = connection(quiet().build().expect("valid"));
        let mut stream = open(&mut connection);
        read(&mut stream, &last_waker(&mut connection));
        drive(&mut connection);
        drop(stream);
        drive(&mut connection);
        assert_eq!(connection.num_streams(), 0);
    });
}

/// Grants until it is told to refuse; then its futures never complete, and take a stream with them.
#[derive(Debug, Default)]
struct Stubborn {
    refuses: AtomicBool,
    kept: Mutex<Option<Stream>>,
}

impl MemoryManager for Stubborn {
    fn reserve(&self, bytes: usize, _: Priority) -> Result<(), Refused> {
        if self.refuses.load(Ordering::Relaxed) { Err(Refused::new(bytes)) } else { Ok(()) }
    }

    fn release(&self, _: usize) {}

    fn released(&self, _: usize, _: Priority) -> Option<BoxFuture<'static, ()>> {
        let kept = self.kept.lock().expect("no panic").take();
        Some(Box::pin(async move {
            pending::<()>().await;
            drop(kept);
        }))
    }
}

#[test]
fn the_managers_future_ends_outside_the_lock() {
    unlocked(|| {
        let manager = Arc::new(Stubborn::default());
        let config = quiet().memory(manager.clone()).refused_open(RefusedOpen::Wait).build().expect("valid");
        let (mut connection, mut peer) = connection(config);
        let _open = open(&mut connection);
        *manager.kept.lock().expect("no panic") = Some(open(&mut connection));
        manager.refuses.store(true, Ordering::Relaxed);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(connection.poll_outbound(cx).is_pending());
        // What the open waits for is the driver's.
        drive(&mut connection);
        assert_eq!(connection.num_streams(), 2);
        peer.send(go_away(0)).now_or_never().expect("room");
        drive(&mut connection);
        let refused = connection.poll_outbound(cx);
        assert!(matches!(refused, Poll::Ready(Err(OpenError::RemoteGoAway))), "{refused:?}");
        drive(&mut connection);
        assert_eq!(connection.num_streams(), 1);
    });
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_task_that_drives_and_waits_for_a_pong_sleeps_meanwhile() {
    let _alone = alone();
    let (mut connection, mut peer) = connection(quiet().build().expect("valid"));
    peer.answers_pings = false;
    let wakes = Arc::new(Count::default());
    let waker = Waker::from(wakes.clone());
    let cx = &mut Context::from_waker(&waker);
    let (mut polls, mut ping) = (0, connection.ping());
    // As an executor does it: again for as long as it was woken meanwhile.
    loop {
        let before = wakes.0.load(Ordering::Relaxed);
        let pong = Pin::new(&mut ping).poll(cx);
        assert!(pong.is_pending(), "{pong:?}");
        assert!(connection.poll(cx).is_pending());
        polls += 1;
        assert!(polls < 20, "the task never sleeps");
        if wakes.0.load(Ordering::Relaxed) == before {
            break;
        }
    }
    let sluicegate::wire::Header::Ping { kind: PingKind::Request, nonce } =
        peer.next_header().now_or_never().expect("a ping was sent")
    else {
        panic!("no ping")
    };
    let before = wakes.0.load(Ordering::Relaxed);
    peer.send(support::peer::pong(nonce)).now_or_never().expect("room");
    assert!(wakes.0.load(Ordering::Relaxed) > before);
    assert!(connection.poll(cx).is_pending());
    let rtt: Poll<Result<Duration, PingError>> = Pin::new(&mut ping).poll(cx);
    assert!(matches!(rtt, Poll::Ready(Ok(_))), "{rtt:?}");
}

/// A muxer must not report what is no end of the connection; so whoever waits there is told when that comes.
#[cfg(feature = "libp2p")]
#[test]
fn y_away_5_an_open_in_vain_is_woken_by_the_end() {
    let _alone = alone();
    use libp2p::core::muxing::StreamMuxer;
    let (mut connection, mut peer) = connection(quiet().build().expect("valid"));
    let _stream = open(&mut connection);
    peer.send(go_away(0)).now_or_never().expect("room");
    drive(&mut connection);
    let wakes = Arc::new(Count::default());
    let waker = Waker::from(wakes.clone());
    let cx = &mut Context::from_waker(&waker);
    assert!(StreamMuxer::poll_outbound(Pin::new(&mut connection), cx).is_pending());
    drive(&mut connection);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    peer.send(update(0x7fff_fffe, Flags::SYN, 0)).now_or_never().expect("room");
    peer.send(go_away(1)).now_or_never().expect("room");
    drop(peer);
    drive(&mut connection);
    assert!(wakes.0.load(Ordering::Relaxed) > 0, "nobody told the opener");
    let opened = StreamMuxer::poll_outbound(Pin::new(&mut connection), cx);
    assert!(matches!(opened, Poll::Ready(Err(_))));
}

#[test]
fn a_tap_may_ask_its_connection_for_figures() {
    unlocked(|| {
        let stats = NodeStats::default();
        let (asked, seen) = (stats.clone(), Arc::new(AtomicUsize::new(0)));
        let counter = seen.clone();
        let tap = move |_: &TapEvent| {
            let total = asked.total();
            counter.store((total.sent.frames() + total.received.frames()) as usize, Ordering::Relaxed);
        };
        let (mut connection, mut peer) = connection(quiet().stats(stats.clone()).tap(tap).build().expect("valid"));
        drive(&mut connection);
        futures::executor::block_on(peer.send(go_away(0)));
        drive(&mut connection);
        assert!(seen.load(Ordering::Relaxed) >= 2, "our ping and their go-away have been counted");
    });
}

thread_local! {
    /// Whether what is not ours is at it already: what it does would call it again.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whatever is not ours: it uses the connection that calls it in every way that does not end it.
#[derive(Clone, Default)]
struct Foreign(Arc<Acts>);

#[derive(Default)]
struct Acts {
    session: OnceLock<Session>,
    node: NodeStats,
    refuses: AtomicBool,
    /// How often it was called, and as what.
    called: Mutex<BTreeMap<&'static str, usize>>,
    /// What was logged.
    said: Mutex<BTreeSet<String>>,
}

impl Foreign {
    fn acts(&self, called_as: &'static str) {
        if INSIDE.replace(true) {
            return;
        }
        *self.0.called.lock().expect("no panic").entry(called_as).or_default() += 1;
        if let Some(session) = self.0.session.get() {
            let _figures = (session.stats(), session.num_streams(), session.rtt(), session.is_closed());
            let _ = (self.0.node.total(), self.0.node.connections());
            if let Some(Ok(mut stream)) = session.open().now_or_never() {
                stream.set_priority(Priority::HIGH);
                stream.grow_receive_window(1 << 20);
                let _ = Pin::new(&mut stream).poll_write(&mut Context::from_waker(Waker::noop()), b"from elsewhere");
                let _figures = stream.stats();
                stream.reset(7);
            }
            let _ = (session.accept().now_or_never(), session.ping().now_or_never(), session.closed().now_or_never());
        }
        INSIDE.set(false);
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Foreign")
    }
}

impl MemoryManager for Foreign {
    fn reserve(&self, bytes: usize, _: Priority) -> Result<(), Refused> {
        self.acts("reserve");
        // What it does itself is not in its own way.
        if self.0.refuses.load(Ordering::Relaxed) && !INSIDE.get() { Err(Refused::new(bytes)) } else { Ok(()) }
    }

    fn release(&self, _: usize) {
        self.acts("release");
    }

    fn released(&self, _: usize, _: Priority) -> Option<BoxFuture<'static, ()>> {
        self.acts("released");
        Some(Box::pin(pending()))
    }

    fn has_room(&self, _: usize, _: Priority) -> bool {
        self.acts("has_room");
        true
    }
}

impl Clock for Foreign {
    fn now(&self) -> Instant {
        self.acts("clock");
        Instant::now()
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        self.acts("clock");
        Box::pin(pending())
    }
}

/// The waker of one task.
struct ForeignWaker(Foreign);

impl Wake for ForeignWaker {
    fn wake(self: Arc<Self>) {
        self.0.acts("wake");
    }
}

impl Drop for ForeignWaker {
    fn drop(&mut self) {
        self.0.acts("end of a waker");
    }
}

impl tracing::field::Visit for Foreign {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        // Whatever is formatted is formatted here.
        self.acts("format");
        if field.name() == "message" {
            self.0.said.lock().expect("no panic").insert(format!("{value:?}"));
        }
    }
}

impl tracing::Subscriber for Foreign {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> tracing::subscriber::Interest {
        self.acts("register_callsite");
        tracing::subscriber::Interest::sometimes()
    }

    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        self.acts("enabled");
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        self.acts("event");
        assert_eq!(event.metadata().target(), "sluicegate");
        event.record(&mut self.clone());
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// A conversation in which everything is called that is not ours.
fn converse(foreign: &Foreign, charging: ReceiveCharge) {
    let tapped = foreign.clone();
    let config = quiet()
        .memory(Arc::new(foreign.clone()))
        .receive_charge(charging)
        .refused_open(RefusedOpen::Wait)
        .clock(Arc::new(foreign.clone()))
        .stats(foreign.0.node.clone())
        .tap(move |_| tapped.acts("tap"));
    let (near, far) = pipe(1 << 20);
    let (session, mut driver) = Session::new(near, config.build().expect("valid"), Mode::Client);
    let mut peer = Peer::new(far);
    assert!(foreign.0.session.set(session.clone()).is_ok());
    let task = || Waker::from(Arc::new(ForeignWaker(foreign.clone())));
    let mut drive = || {
        for _ in 0..8 {
            let _ = driver.poll_unpin(&mut Context::from_waker(&task()));
        }
    };
    drive();
    let mut stream = session.open().now_or_never().expect("at once").expect("opens");
    let id = stream.id();
    for _ in 0..2 {
        // The second task takes the first one's place.
        let waker = task();
        let cx = &mut Context::from_waker(&waker);
        assert!(Pin::new(&mut stream).poll_read(cx, &mut [0; 8]).is_pending());
        assert!(Pin::new(&mut stream).poll_write(cx, &[7; 100_000]).is_ready());
        let _ = Pin::new(&mut stream).poll_flush(cx);
    }
    drive();
    peer.send_data(id, Flags::ACK, &[7; 200_000]).now_or_never().expect("room");
    drive();
    let mut read = 0;
    while let Poll::Ready(Ok(some @ 1..)) =
        Pin::new(&mut stream).poll_read(&mut Context::from_waker(&task()), &mut [0; 4096])
    {
        read += some;
    }
    assert_eq!(read, 200_000);
    drive();
    // Refused: an open of ours, and one of the peer's.
    foreign.0.refuses.store(true, Ordering::Relaxed);
    let mut refused = Box::pin(session.open());
    assert!(refused.poll_unpin(&mut Context::from_waker(&task())).is_pending());
    peer.feed(update(2, Flags::SYN, 0)).now_or_never().expect("room");
    peer.send(update(id, Flags::RST, 9)).now_or_never().expect("room");
    drive();
    foreign.0.refuses.store(false, Ordering::Relaxed);
    drop(refused);
    let failed = Pin::new(&mut stream).poll_read(&mut Context::from_waker(&task()), &mut [0; 8]);
    assert!(matches!(&failed, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset), "{failed:?}");
    drop(stream);
    peer.send(update(4, Flags::SYN, 0)).now_or_never().expect("room");
    drive();
    session.go_away();
    peer.feed(go_away(0)).now_or_never().expect("room");
    // Parity.
    peer.send(update(9_999, Flags::SYN, 0)).now_or_never().expect("room");
    drive();
    assert!(matches!(session.closed().now_or_never(), Some(ConnectionError::Violation(_)) | None));
    drop(driver);
    assert!(session.is_closed());
}

#[test]
fn whatever_is_not_ours_may_use_the_connection_that_calls_it() {
    for charging in [ReceiveCharge::Window, ReceiveCharge::Buffered] {
        unlocked(move || {
            let foreign = Foreign::default();
            tracing::subscriber::with_default(foreign.clone(), || converse(&foreign, charging));
            let called = foreign.0.called.lock().expect("no panic").clone();
            println!("{charging:?}: {called:?}");
            let all = ["clock", "enabled", "end of a waker", "event", "format", "register_callsite", "release"];
            let all = all.into_iter().chain(["released", "reserve", "tap", "wake"]);
            let missing: Vec<_> = all.filter(|called_as| !called.contains_key(called_as)).collect();
            assert!(missing.is_empty(), "never called: {missing:?}");
            // It is asked for the open that waits, whatever is charged when.
            assert!(called.contains_key("has_room"));
            let said = foreign.0.said.lock().expect("no panic").clone();
            let expected = [
                "ending the connection",
                "received",
                "refused an inbound stream",
                "reset by the peer",
                "sent",
                "the peer sent a go-away",
            ];
            assert_eq!(said.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        });
    }
}
