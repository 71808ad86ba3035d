//! Who makes way for whom, and for how long (Y-PRIO-5).

use super::Bench;
use super::windows::credit;
use crate::priority::Priority;
use crate::proto::limits::{INITIAL_WINDOW, NARROW_WINDOW, REST_AFTER, WAY_TIME};
use crate::proto::store::Key;
use crate::wire::StreamId;
use std::time::Duration;

const PIECE: usize = 8 * 1024;

impl Bench {
    fn with_round_trip(micros: u64) -> Self {
        let mut bench = Self::new();
        bench.mux.liveness.rtt.sample(bench.now, bench.now + Duration::from_micros(micros));
        bench
    }

    /// Pieces of bulk arrive and are read, each behind something urgent. Gives the credit that was given for them.
    fn read_beside(&mut self, urgent: (Key, StreamId), bulk: (Key, StreamId), pieces: usize) -> Vec<u32> {
        let mut given = Vec::new();
        for _ in 0..pieces {
            self.receive_data(urgent.1, 64);
            self.read(urgent.0);
            self.receive_data(bulk.1, PIECE);
            self.read(bulk.0);
            self.ask();
            let sent = credit(&self.send()).into_iter();
            given.extend(sent.filter(|(id, _)| *id == bulk.1.value()).map(|(_, bytes)| bytes));
        }
        given
    }
}

#[test]
fn on_a_short_link_what_is_less_urgent_is_held_to_a_narrow_window() {
    for (micros, narrow) in [(50, NARROW_WINDOW), (93, NARROW_WINDOW), (125, 65_536), (250, 131_072), (499, 261_619)] {
        let mut bench = Bench::with_round_trip(micros);
        let (urgent, bulk) = (bench.stream(Priority::HIGH), bench.stream(Priority::MEDIUM));
        // The peer has the whole of its first window, and gets nothing until less than half of the narrow one is left.
        let before = (INITIAL_WINDOW - narrow / 2).div_ceil(PIECE as u32) as usize;
        assert_eq!(bench.read_beside(urgent, bulk, before - 1), Vec::<u32>::new(), "{micros} µs");
        let given: u32 = bench.read_beside(urgent, bulk, 64).into_iter().sum();
        let arrived = (before - 1 + 64) as u32 * PIECE as u32;
        let left = INITIAL_WINDOW + given - arrived;
        assert!((narrow / 2..=narrow).contains(&left), "{micros} µs: {left} of {narrow} bytes are under way");
        // What is reserved for it stays.
        assert_eq!(bench.limit.reserved(), 2 * INITIAL_WINDOW as usize);
    }
}

#[test]
fn the_most_urgent_the_equally_urgent_and_those_on_longer_links_keep_their_windows() {
    let cases = [
        (50, Priority::MEDIUM, Priority::HIGH),
        (50, Priority::MEDIUM, Priority::MEDIUM),
        (500, Priority::HIGH, Priority::MEDIUM),
    ];
    for (micros, other, own) in cases {
        let mut bench = Bench::with_round_trip(micros);
        let (other, bulk) = (bench.stream(other), bench.stream(own));
        let given = bench.read_beside(other, bulk, 32);
        let halves = [INITIAL_WINDOW / 2, INITIAL_WINDOW / 2];
        assert_eq!(given, halves, "{micros} µs, {own:?}");
    }
}

#[test]
fn soon_after_the_last_that_was_urgent_all_of_the_window_is_in_use_again() {
    let mut bench = Bench::with_round_trip(50);
    let (urgent, bulk) = (bench.stream(Priority::HIGH), bench.stream(Priority::MEDIUM));
    assert_eq!(bench.read_beside(urgent, bulk, 29), [NARROW_WINDOW / 2]);
    let kib = 1024;
    for (waits, given) in [(WAY_TIME - Duration::from_nanos(1), vec![]), (Duration::from_nanos(1), vec![216 * kib])] {
        bench.now += waits;
        bench.receive_data(bulk.1, 4 * kib as usize);
        bench.read(bulk.0);
        bench.ask();
        let sent: Vec<_> = credit(&bench.send()).into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(sent, given);
    }
}

#[test]
fn a_connection_at_rest_gives_all_of_the_window_back() {
    let mut bench = Bench::with_round_trip(50);
    let (urgent, bulk) = (bench.stream(Priority::HIGH), bench.stream(Priority::MEDIUM));
    assert_eq!(bench.read_beside(urgent, bulk, 29), [NARROW_WINDOW / 2]);
    bench.wait(REST_AFTER - Duration::from_nanos(1));
    assert_eq!(credit(&bench.send()), []);
    bench.wait(Duration::from_nanos(1));
    assert_eq!(credit(&bench.send()), [(bulk.1.value(), INITIAL_WINDOW - NARROW_WINDOW)]);
    bench.wait(REST_AFTER);
    assert_eq!((credit(&bench.send()), bench.mux.is_at_rest()), (vec![], true));
}
