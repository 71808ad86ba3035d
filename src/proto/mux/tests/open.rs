//! When an open waits for the backlog (Y-ACK-4), and what it does about it (Y-OPEN-14).

use super::{Bench, id};
use crate::config::Config;
use crate::priority::Priority;
use crate::proto::limits::{HALF_OPEN, UNACKNOWLEDGED_TIME};
use crate::proto::{Announced, OpenBlocked};
use crate::wire::{Flags, Header};
use std::time::Duration;

const BACKLOG: usize = 256;

fn syn(stream: u32) -> Header {
    Header::WindowUpdate { id: id(stream), flags: Flags::SYN, value: 0 }
}

fn ack(stream: u32) -> Header {
    Header::WindowUpdate { id: id(stream), flags: Flags::ACK, value: 0 }
}

fn bench(backlog: usize) -> Bench {
    let mut bench = Bench::with(1 << 30, Config::builder().accept_backlog(backlog));
    // The first ping.
    bench.send();
    bench
}

impl Bench {
    /// An open has to wait.
    fn waits(&mut self, announced: &mut Announced) {
        assert!(matches!(self.mux.can_open(), Err(OpenBlocked::Backlog)));
        self.mux.announce_for(announced);
    }
}

#[test]
fn y_open_14_an_open_that_waits_announces_the_oldest_stream_that_was_not() {
    let mut bench = bench(BACKLOG);
    for _ in 0..BACKLOG {
        bench.open();
    }
    assert_eq!(bench.send(), [], "nobody has used one");
    let (mut first, mut second) = (Announced::default(), Announced::default());
    bench.waits(&mut first);
    assert_eq!(bench.send(), [syn(1)]);
    // It is asked again, and nothing has happened.
    bench.waits(&mut first);
    assert_eq!(bench.send(), []);
    bench.waits(&mut second);
    assert_eq!(bench.send(), [syn(3)]);
    bench.receive(ack(1));
    assert_eq!(bench.open().1, 2 * BACKLOG as u32 + 1);
    // The other one has taken the place that it waited for.
    bench.waits(&mut second);
    assert_eq!(bench.send(), [syn(5)]);
    bench.waits(&mut second);
    assert_eq!(bench.send(), []);
}

#[test]
fn y_open_14_streams_that_are_announced_or_over_are_passed_by() {
    let mut bench = bench(7);
    let streams: Vec<_> = (0..7).map(|_| bench.open()).collect();
    let [(dropped, _), (written, _), (flushed, _), (finished, _), ..] = streams[..] else { panic!("seven") };
    bench.release(dropped);
    assert_eq!(bench.mux.write(written, b"x", bench.now).expect("room"), 1);
    assert!(bench.mux.flush(flushed).is_err() && bench.mux.finish(finished, bench.now).is_err());
    bench.open();
    bench.waits(&mut Announced::default());
    let announced: Vec<_> =
        bench.send().into_iter().filter(|header| matches!(header, Header::WindowUpdate { .. })).collect();
    assert_eq!(announced, [syn(5), syn(9), syn(3), syn(7)]);
    for waiting in [syn(11), syn(13), syn(15)] {
        bench.waits(&mut Announced::default());
        assert_eq!(bench.send(), [waiting]);
    }
    // There is nothing left that could be done about it.
    bench.waits(&mut Announced::default());
    assert_eq!(bench.send(), []);
}

#[test]
fn y_open_14_what_is_announced_is_what_its_user_would_have_announced() {
    let mut bench = bench(1);
    let (key, _) = bench.open();
    bench.mux.choose_priority(key, Priority::LOW, bench.now);
    bench.waits(&mut Announced::default());
    assert_eq!(bench.send(), [syn(1)]);
    assert_eq!(bench.mux.write(key, b"x", bench.now).expect("room"), 1);
    assert_eq!(bench.send(), [Header::Data { id: id(1), flags: Flags::NONE, len: 1 }]);
    bench.release(key);
    assert_eq!(bench.send(), [Header::Data { id: id(1), flags: Flags::FIN, len: 0 }]);
}

/// An end that opens more streams than the backlog holds, each unused for as long as possible, goes on with every
/// answer.
#[test]
fn y_open_14_a_thousand_opens_take_a_round_trip_each_at_most() {
    let (mut bench, mut announced, mut waits) = (bench(4), Announced::default(), 0);
    for stream in 0..1000 {
        if bench.mux.can_open().is_err() {
            waits += 1;
            bench.waits(&mut announced);
            let [Header::WindowUpdate { id, flags: Flags::SYN, value: 0 }] = bench.send()[..] else {
                panic!("{stream}: nothing was announced")
            };
            bench.receive(ack(id.value()));
        }
        bench.open();
    }
    assert_eq!(waits, 996);
}

impl Bench {
    /// A message and its end leave, and the stream is dropped.
    fn fire(&mut self) -> u32 {
        let (key, stream) = self.open();
        assert_eq!(self.mux.write(key, b"x", self.now).expect("room"), 1);
        let _ = self.mux.finish(key, self.now);
        self.release(key);
        self.send();
        stream
    }

    fn is_blocked(&self) -> bool {
        matches!(self.mux.can_open(), Err(OpenBlocked::Backlog))
    }
}

#[test]
fn y_ack_4_a_dropped_stream_keeps_its_place_until_the_peer_answers() {
    let answers = |stream| {
        let stream = id(stream);
        [
            Header::WindowUpdate { id: stream, flags: Flags::ACK, value: 0 },
            Header::WindowUpdate { id: stream, flags: Flags::FIN, value: 0 },
            Header::WindowUpdate { id: stream, flags: Flags::RST, value: 0 },
            Header::Data { id: stream, flags: Flags::NONE, len: 0 },
            Header::Data { id: stream, flags: Flags::NONE, len: 3 },
            Header::Data { id: stream, flags: Flags::ACK | Flags::FIN, len: 0 },
        ]
    };
    for which in 0..answers(1).len() {
        let mut bench = bench(2);
        let [first, _] = [bench.fire(), bench.fire()];
        assert!(bench.is_blocked());
        bench.mux.events_mut().openable = false;
        bench.receive(answers(first)[which]);
        assert!(bench.mux.events_mut().openable && !bench.is_blocked(), "{:?}", answers(first)[which]);
        bench.open();
        // A place is freed once.
        bench.receive(ack(first));
        assert!(bench.is_blocked());
    }
}

#[test]
fn y_ack_4_a_peer_that_acknowledges_nothing_is_waited_for_so_long() {
    let mut bench = bench(3);
    let start = bench.now;
    let first = bench.fire();
    bench.wait(Duration::from_secs(60));
    bench.fire();
    bench.fire();
    bench.wait(Duration::from_secs(10));
    // One acknowledgement, and the time begins anew for the others.
    bench.receive(ack(first));
    bench.fire();
    bench.wait(UNACKNOWLEDGED_TIME - Duration::from_millis(1));
    assert!(bench.is_blocked());
    bench.mux.events_mut().openable = false;
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.now - start, Duration::from_secs(70) + UNACKNOWLEDGED_TIME);
    assert!(bench.mux.events_mut().openable && !bench.is_blocked());
    // What comes too late frees no place of another's.
    for _ in 0..3 {
        bench.fire();
    }
    bench.receive(ack(first + 2));
    assert!(bench.is_blocked());
}

#[test]
fn y_ack_4_streams_that_are_forgotten_give_their_places_up() {
    let mut bench = bench(2 * HALF_OPEN);
    for _ in 0..2 * HALF_OPEN {
        bench.fire();
    }
    assert!(!bench.is_blocked());
    assert!(bench.mux.stats(bench.now).streams.unacknowledged as usize <= HALF_OPEN);
}
