//! What an open that waits for the backlog does about it (Y-OPEN-14).

use super::{Bench, id};
use crate::config::Config;
use crate::priority::Priority;
use crate::proto::{Announced, OpenBlocked};
use crate::wire::{Flags, Header};

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
    assert!(bench.mux.flush(flushed).is_err() && bench.mux.finish(finished).is_err());
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
    bench.mux.choose_priority(key, Priority::LOW);
    bench.waits(&mut Announced::default());
    assert_eq!(bench.send(), [syn(1)]);
    assert_eq!(bench.mux.write(key, b"x", bench.now).expect("room"), 1);
    assert_eq!(bench.send(), [Header::Data { id: id(1), flags: Flags::NONE, len: 1 }]);
    bench.release(key);
    assert_eq!(bench.send(), [Header::Data { id: id(1), flags: Flags::FIN, len: 0 }]);
}

/// Whoever opens more than the backlog holds, each stream unused for as long as it can be, goes on with every answer.
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
