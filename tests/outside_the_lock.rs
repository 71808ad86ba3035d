//! What is not ours runs while the connection's lock is open, the end of a waker and of a future included; and a task
//! that drives its connection and waits on it too sleeps while there is nothing to do.

mod support;

use futures::future::BoxFuture;
use futures::{AsyncRead, FutureExt};
use sluicegate::wire::PingKind;
use sluicegate::{
    Config, Connection, MemoryManager, Mode, NodeStats, OpenError, PingError, Priority, Refused, RefusedOpen, Stream,
    TapEvent,
};
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use support::peer::{Peer, go_away};
use support::{Pipe, pipe, quiet};

/// Runs `test`; one that locks itself out fails.
fn unlocked(test: impl FnOnce() + Send + 'static) {
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
fn n8_a_waker_that_is_replaced_ends_outside_the_lock() {
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
fn n8_the_wakers_of_a_dropped_stream_end_outside_the_lock() {
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
fn n8_the_managers_future_ends_outside_the_lock() {
    unlocked(|| {
        let manager = Arc::new(Stubborn::default());
        let config = quiet().memory(manager.clone()).refused_open(RefusedOpen::Wait).build().expect("valid");
        let (mut connection, mut peer) = connection(config);
        let _open = open(&mut connection);
        *manager.kept.lock().expect("no panic") = Some(open(&mut connection));
        manager.refuses.store(true, Ordering::Relaxed);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(connection.poll_outbound(cx).is_pending());
        assert_eq!(connection.num_streams(), 2);
        peer.send(go_away(0)).now_or_never().expect("room");
        drive(&mut connection);
        let refused = connection.poll_outbound(cx);
        assert!(matches!(refused, Poll::Ready(Err(OpenError::RemoteGoAway))), "{refused:?}");
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
fn b2_a_task_that_drives_and_waits_for_a_pong_sleeps_meanwhile() {
    let (mut connection, mut peer) = connection(quiet().build().expect("valid"));
    peer.answers_pings = false;
    let wakes = Arc::new(Count::default());
    let waker = Waker::from(wakes.clone());
    let cx = &mut Context::from_waker(&waker);
    let mut polls = 0;
    // As an executor does it: again for as long as it was woken meanwhile.
    loop {
        let before = wakes.0.load(Ordering::Relaxed);
        assert!(connection.poll(cx).is_pending());
        let pong = connection.poll_ping(cx);
        assert!(pong.is_pending(), "{pong:?}");
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
    let rtt: Poll<Result<Duration, PingError>> = connection.poll_ping(cx);
    assert!(matches!(rtt, Poll::Ready(Ok(_))), "{rtt:?}");
}

/// A muxer must not report what is no end of the connection; so whoever waits there is told when that comes.
#[cfg(feature = "libp2p")]
#[test]
fn w80_an_open_that_can_never_be_is_woken_by_the_end_of_the_connection() {
    use libp2p::core::muxing::StreamMuxer;
    use sluicegate::wire::Flags;
    use support::peer::update;

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
fn a_tap_may_ask_for_the_figures_of_the_connection_that_calls_it() {
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
