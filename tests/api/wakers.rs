//! Who is woken, and by what: every waiter has a waker of its own, and each thing that it waits for wakes it alone.
//!
//! Connections are polled by hand here, so that every wake can be counted.

use crate::support::outcome::{lost, reset};
use crate::support::pair::*;
use crate::support::peer::{Peer, data, go_away, update};
use crate::support::{Pipe, pipe, quiet};
use futures::{AsyncRead, AsyncWrite, FutureExt};
use sluicegate::wire::{Flags, Header};
use sluicegate::{Config, Connection, ConnectionError, Mode, Ping, Side, Stream};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A connection without a task, and its peer.
struct Bench {
    connection: Option<Connection<Pipe>>,
    peer: Peer<Pipe>,
}

fn drive(connection: &mut Connection<Pipe>) {
    for _ in 0..8 {
        let _ = connection.poll(&mut Context::from_waker(Waker::noop()));
    }
}

impl Bench {
    fn new(config: Config, capacity: usize) -> Self {
        let (near, far) = pipe(capacity);
        Self { connection: Some(Connection::new(near, config, Mode::Client)), peer: Peer::new(far) }
    }

    fn connection(&mut self) -> &mut Connection<Pipe> {
        self.connection.as_mut().expect("not dropped")
    }

    /// Lets the connection do all it can, waking nobody who counts.
    fn drive(&mut self) {
        drive(self.connection());
    }

    fn stream(&mut self) -> Stream {
        poll_fn(|cx| self.connection().poll_outbound(cx)).now_or_never().expect("at once").expect("opens")
    }

    fn send(&mut self, header: Header) {
        self.peer.send(header).now_or_never().expect("the transport has room");
    }

    fn send_data(&mut self, stream: u32, flags: Flags, body: &[u8]) {
        self.peer.send_data(stream, flags, body).now_or_never().expect("the transport has room");
    }

    /// What the connection has sent and still sends while this is taken off the transport.
    fn received(&mut self) -> Vec<Header> {
        let mut headers = Vec::new();
        loop {
            // A frame may take several turns; to give up on one in the middle would lose its place.
            let mut next = Box::pin(self.peer.next());
            let frame = (0..32).find_map(|_| {
                let frame = next.as_mut().now_or_never();
                drive(self.connection.as_mut().expect("not dropped"));
                frame
            });
            match frame {
                Some(Some((header, _))) => headers.push(header),
                Some(None) | None => return headers,
            }
        }
    }
}

/// Something that a task may wait for on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Read,
    Write,
    Flush,
}

const WAITS: [Wait; 3] = [Wait::Read, Wait::Write, Wait::Flush];

impl Wait {
    fn poll(self, stream: &mut Stream, waker: &Waker) -> Poll<io::Result<usize>> {
        let (stream, cx) = (Pin::new(stream), &mut Context::from_waker(waker));
        match self {
            Self::Read => stream.poll_read(cx, &mut [0; 64]),
            Self::Write => stream.poll_write(cx, &[0; 64]),
            Self::Flush => stream.poll_flush(cx).map_ok(|()| 0),
        }
    }
}

/// One waiter for each thing.
struct Waiters(Vec<(Wait, Arc<Counter>, Waker)>);

impl Waiters {
    /// All of them wait on `stream`.
    fn park(stream: &mut Stream) -> Self {
        let waiters = WAITS.map(|wait| {
            let (counter, waker) = Counter::new();
            assert!(wait.poll(stream, &waker).is_pending(), "{wait:?}");
            (wait, counter, waker)
        });
        Self(waiters.into())
    }

    fn counts(&self) -> Vec<usize> {
        self.0.iter().map(|(_, counter, _)| counter.count()).collect()
    }
}

/// What the peer, or the transport, does.
type Cause = fn(&mut Bench);

/// A stream without credit, on a transport without room: nothing about it can go on.
fn stuck() -> (Bench, Stream) {
    let mut bench = Bench::new(quiet().max_send_buffer(4 << 20).build().unwrap(), 4096);
    let mut stream = bench.stream();
    let mut written = 0;
    while let Poll::Ready(result) = Wait::Write.poll(&mut stream, Waker::noop()) {
        written += result.unwrap();
    }
    assert_eq!(written, WINDOW);
    bench.drive();
    (bench, stream)
}

/// The connection's ends, and those of a stream: all who wait are woken, once each, and told.
#[test]
fn y_close_4_every_end_wakes_reader_writer_and_flusher() {
    type Check = fn(&io::Error) -> bool;
    let rows: [(&str, Cause, Check); 5] = [
        ("reset", |bench| bench.send(update(1, Flags::RST, 7)), |error| reset(error) == (Side::Remote, 7)),
        (
            "go-away",
            |bench| bench.send(go_away(2)),
            |error| matches!(lost(error), ConnectionError::GoAway { by: Side::Remote, code: 2 }),
        ),
        (
            "violation",
            |bench| bench.send(update(2, Flags::SYN, u32::MAX)),
            |error| matches!(lost(error), ConnectionError::Violation(_)),
        ),
        (
            "end of the transport",
            |bench| bench.peer.shut().now_or_never().expect("shuts"),
            |error| matches!(lost(error), ConnectionError::UnexpectedEof),
        ),
        ("drop", |bench| drop(bench.connection.take()), |error| matches!(lost(error), ConnectionError::Dropped)),
    ];
    for (name, end, check) in rows {
        let (mut bench, mut stream) = stuck();
        let waiters = Waiters::park(&mut stream);
        bench.connection.is_some().then(|| bench.drive());
        assert_eq!(waiters.counts(), [0, 0, 0], "{name}");
        end(&mut bench);
        bench.connection.is_some().then(|| bench.drive());
        assert_eq!(waiters.counts(), [1, 1, 1], "{name}");
        for (wait, _, waker) in &waiters.0 {
            match wait.poll(&mut stream, waker) {
                Poll::Ready(Err(error)) => assert!(check(&error), "{name}: {wait:?} {error:?}"),
                other => panic!("{name}: {wait:?} {other:?}"),
            }
        }
    }
}

#[test]
fn y_rst_4_a_local_reset_wakes_all_who_wait() {
    let (_bench, mut stream) = stuck();
    let waiters = Waiters::park(&mut stream);
    stream.reset(3);
    assert_eq!(waiters.counts(), [1, 1, 1]);
    for (wait, _, waker) in &waiters.0 {
        let Poll::Ready(Err(error)) = wait.poll(&mut stream, waker) else { panic!("{wait:?}") };
        assert_eq!(reset(&error), (Side::Local, 3));
    }
}

// What concerns one half wakes that half alone, whichever was polled last.
#[test]
fn data_wakes_only_the_reader_and_credit_only_the_writer() {
    let rows: [(&str, Cause, [usize; 3]); 4] = [
        ("data", |bench| bench.send_data(1, Flags::NONE, b"x"), [1, 0, 0]),
        ("fin", |bench| bench.send(data(1, Flags::FIN, 0)), [1, 0, 0]),
        ("credit", |bench| bench.send(update(1, Flags::NONE, 64)), [0, 1, 0]),
        ("ack", |bench| bench.send(update(1, Flags::ACK, 0)), [0, 0, 0]),
    ];
    for (name, cause, expected) in rows {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let (mut bench, mut stream) = stuck();
            let waiters = Waiters::park(&mut stream);
            // Polling again, in any order, moves no waker to another place.
            for index in order {
                let (wait, _, waker) = &waiters.0[index];
                assert!(wait.poll(&mut stream, waker).is_pending());
            }
            cause(&mut bench);
            bench.drive();
            assert_eq!(waiters.counts(), expected, "{name} {order:?}");
            for ((wait, _, waker), woken) in waiters.0.iter().zip(expected) {
                assert_eq!(wait.poll(&mut stream, waker).is_ready(), woken == 1, "{name} {wait:?}");
            }
        }
    }
}

#[test]
fn a_frame_that_changes_nothing_wakes_nobody() {
    let (mut bench, mut stream) = stuck();
    let waiters = Waiters::park(&mut stream);
    for _ in 0..3 {
        bench.send(data(1, Flags::NONE, 0));
        bench.send(update(1, Flags::NONE, 0));
        bench.drive();
    }
    assert_eq!(waiters.counts(), [0, 0, 0]);
}

#[test]
fn a_transport_that_takes_all_wakes_the_flusher_alone() {
    let mut bench = Bench::new(quiet().build().unwrap(), 1 << 20);
    let mut stream = bench.stream();
    let cx = &mut Context::from_waker(Waker::noop());
    for _ in 0..WINDOW / 16_384 {
        bench.drive();
        assert!(matches!(Pin::new(&mut stream).poll_write(cx, &[0; 16_384]), Poll::Ready(Ok(16_384))));
    }
    let waiters = Waiters::park(&mut stream);
    bench.drive();
    assert_eq!(waiters.counts(), [0, 0, 1]);
    let (flush, _, waker) = &waiters.0[2];
    assert!(matches!(flush.poll(&mut stream, waker), Poll::Ready(Ok(0))));
}

// A writer that waits for room in the send buffers, and not for credit.
#[test]
fn room_in_the_send_buffers_wakes_the_writer() {
    let mut bench = Bench::new(quiet().max_send_buffer(65_536).build().unwrap(), 4096);
    let mut stream = bench.stream();
    let mut written = 0;
    let (counter, waker) = Counter::new();
    while let Poll::Ready(result) = Wait::Write.poll(&mut stream, &waker) {
        written += result.unwrap();
        assert!(written < WINDOW, "the buffers end before the credit");
    }
    bench.drive();
    let before = counter.count();
    bench.received();
    assert_eq!(counter.count(), before + 1);
    assert!(Wait::Write.poll(&mut stream, &waker).is_ready());
}

#[test]
fn the_last_waker_of_a_waiter_is_the_one_that_is_woken() {
    let (mut bench, mut stream) = stuck();
    let (first, second) = (Waiters::park(&mut stream), Waiters::park(&mut stream));
    bench.send(update(1, Flags::RST, 0));
    bench.drive();
    assert_eq!((first.counts(), second.counts()), (vec![0, 0, 0], vec![1, 1, 1]));
}

#[test]
fn streams_do_not_wake_each_other() {
    let mut bench = Bench::new(quiet().build().unwrap(), 4096);
    let mut streams = [bench.stream(), bench.stream()];
    let wakers = streams.each_mut().map(|stream| {
        let (counter, waker) = Counter::new();
        assert!(Wait::Read.poll(stream, &waker).is_pending());
        counter
    });
    bench.drive();
    bench.send_data(3, Flags::NONE, b"x");
    bench.drive();
    assert_eq!(wakers.each_ref().map(|counter| counter.count()), [0, 1]);
}

/// Something that a task may wait for on a connection.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Inbound,
    Outbound,
    Ping,
}

impl Ask {
    /// `None` while it waits, and else whether it went well.
    fn poll(self, connection: &mut Connection<Pipe>, ping: &mut Ping, waker: &Waker) -> Option<bool> {
        let cx = &mut Context::from_waker(waker);
        let result = match self {
            Self::Inbound => connection.poll_inbound(cx).map(|result| result.is_ok()),
            Self::Outbound => connection.poll_outbound(cx).map(|result| result.is_ok()),
            Self::Ping => Pin::new(ping).poll(cx).map(|result| result.is_ok()),
        };
        match result {
            Poll::Ready(well) => Some(well),
            Poll::Pending => None,
        }
    }
}

// One waker each for accepting, opening and pinging.
#[test]
fn each_call_of_a_connection_is_woken_by_its_own_event() {
    type Answer = fn(&mut Bench, u32);
    let rows: [(&str, Answer, [usize; 3], bool); 6] = [
        ("syn", |bench, _| bench.send(update(2, Flags::SYN, 0)), [1, 0, 0], true),
        ("ack", |bench, _| bench.send(update(1, Flags::ACK, 0)), [0, 1, 0], true),
        ("rst", |bench, _| bench.send(update(1, Flags::RST, 0)), [0, 1, 0], true),
        ("pong", |bench, nonce| bench.send(crate::support::peer::pong(nonce)), [0, 0, 1], true),
        ("go-away", |bench, _| bench.send(go_away(5)), [1, 1, 1], false),
        ("end", |bench, _| bench.peer.shut().now_or_never().expect("shuts"), [1, 1, 1], false),
    ];
    for (name, cause, expected, well) in rows {
        let mut bench = Bench::new(quiet().accept_backlog(1).build().unwrap(), 4096);
        bench.peer.answers_pings = false;
        let mut stream = bench.stream();
        assert!(Wait::Read.poll(&mut stream, Waker::noop()).is_pending());
        let mut ping = bench.connection().ping();
        let waiters = [Ask::Inbound, Ask::Outbound, Ask::Ping].map(|ask| {
            let (counter, waker) = Counter::new();
            assert_eq!(ask.poll(bench.connection(), &mut ping, &waker), None);
            (ask, counter, waker)
        });
        let nonce = bench.received().into_iter().find_map(|header| match header {
            Header::Ping { nonce, .. } => Some(nonce),
            _ => None,
        });
        cause(&mut bench, nonce.expect("a ping"));
        bench.drive();
        if !well {
            // It is told when the connection has taken its leave of the peer.
            bench.received();
            bench.peer.shut().now_or_never().expect("shuts");
            bench.drive();
        }
        let counts = waiters.each_ref().map(|(_, counter, _)| counter.count());
        for ((ask, _, waker), (woken, count)) in waiters.iter().zip(expected.into_iter().zip(counts)) {
            // The end wakes twice at most: when it comes, and when it is over.
            assert!(if well { count == woken } else { (1..=2).contains(&count) }, "{name}: {ask:?} {count}");
            let answer = ask.poll(bench.connection(), &mut ping, waker);
            assert_eq!(answer, (woken > 0).then_some(well), "{name}: {ask:?}");
        }
    }
}

// What a stream does that has to go out wakes the driver, from whichever task.
#[test]
fn everything_that_has_to_go_out_wakes_the_driver() {
    type Act = fn(Stream) -> Option<Stream>;
    let rows: [(&str, Act); 6] = [
        ("write", |mut stream| {
            assert!(Wait::Write.poll(&mut stream, Waker::noop()).is_ready());
            Some(stream)
        }),
        ("close", |mut stream| {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut stream).poll_close(&mut cx).is_pending());
            Some(stream)
        }),
        ("reset", |mut stream| {
            stream.reset(0);
            Some(stream)
        }),
        ("credit", |mut stream| {
            let mut cx = Context::from_waker(Waker::noop());
            let mut read = 0;
            while read < WINDOW / 2 {
                match Pin::new(&mut stream).poll_read(&mut cx, &mut [0; 4096]) {
                    Poll::Ready(Ok(bytes)) => read += bytes,
                    other => panic!("{other:?}"),
                }
            }
            Some(stream)
        }),
        ("close_read", |mut stream| {
            stream.close_read();
            Some(stream)
        }),
        ("drop", |_stream| None),
    ];
    for (name, act) in rows {
        let mut bench = Bench::new(quiet().build().unwrap(), 1 << 20);
        let mut stream = bench.stream();
        assert!(Wait::Read.poll(&mut stream, Waker::noop()).is_pending());
        bench.received();
        bench.send_data(1, Flags::NONE, &vec![1; WINDOW]);
        bench.drive();
        let (counter, waker) = Counter::new();
        assert!(bench.connection().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(counter.count(), 0, "{name}");
        let _stream = act(stream);
        assert_eq!(counter.count(), 1, "{name}");
        assert_ne!(bench.received(), [], "{name}");
    }
}
