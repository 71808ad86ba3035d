//! The core's reaction to the state of its transport: full, flushed, writable again.

use super::{Bench, id};
use crate::error::{ConnectionError, Violation};
use crate::priority::Priority;
use crate::proto::Batch;
use crate::proto::limits::{MARKERS, PONGS_MOST, REFUSALS_MOST, REFUSALS_OWED};
use crate::wire::{Flags, Header, PingKind};
use std::collections::VecDeque;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);

impl Bench {
    /// Encodes a batch, which is not written yet.
    fn cut_batch(&mut self) -> u64 {
        let mut batch = Batch::default();
        assert!(self.mux.poll_transmit(&mut batch, usize::MAX, self.now));
        self.mux.handle_written(batch.take(&mut VecDeque::new()), [], self.now);
        self.settle();
        self.mux.last_encoded()
    }

    fn pings(&mut self, pings: usize) {
        for nonce in 0..pings {
            self.receive(Header::Ping { kind: PingKind::Request, nonce: nonce as u32 });
        }
    }
}

#[test]
fn y_send_5_a_flush_covers_the_batches_that_were_written_whole_before_it() {
    let mut bench = Bench::new();
    let (first, second) = (bench.stream(Priority::MEDIUM).0, bench.stream(Priority::MEDIUM).0);
    bench.mux.write(first, b"first", bench.now).expect("room");
    assert!(bench.mux.flush(first).is_err());
    let written = bench.cut_batch();
    assert!(bench.mux.wants_flush());
    // While that is being flushed, another one is encoded.
    bench.mux.write(second, b"second", bench.now).expect("room");
    assert!(bench.mux.flush(second).is_err());
    let later = bench.cut_batch();
    bench.mux.handle_flushed(written, bench.now);
    assert!(bench.mux.flush(first).is_ok());
    assert!(bench.mux.flush(second).is_err() && bench.mux.wants_flush());
    bench.mux.handle_flushed(later, bench.now);
    assert!(bench.mux.flush(second).is_ok() && !bench.mux.wants_flush());
}

#[test]
fn y_send_5_a_close_is_done_when_its_own_batch_is_flushed() {
    let mut bench = Bench::new();
    let key = bench.stream(Priority::MEDIUM).0;
    bench.mux.write(key, b"first", bench.now).expect("room");
    let before = bench.cut_batch();
    bench.mux.close(0);
    let last = bench.cut_batch();
    bench.mux.handle_flushed(before, bench.now);
    assert!(bench.mux.closed().is_none());
    bench.mux.handle_flushed(last, bench.now);
    assert!(bench.mux.closed().is_some());
}

#[test]
fn y_ping_6_taking_bytes_again_is_life_and_a_slow_flush_not() {
    let mut bench = Bench::new();
    let start = bench.now;
    bench.mux.transport_stalls(start);
    bench.mux.transport_moves(start + SECOND);
    assert_eq!(bench.mux.heard_at(), start);
    bench.mux.transport_is_full(start + 2 * SECOND);
    assert_eq!(bench.mux.heard_at(), start);
    bench.mux.transport_moves(start + 5 * SECOND);
    assert_eq!(bench.mux.heard_at(), start + 5 * SECOND);
}

#[test]
fn y_limit_4_a_peer_that_takes_no_answers_ends_the_connection() {
    let timeout = Bench::new().mux.config().connection_write_timeout();
    for (pings, ends) in [(32 + MARKERS, false), (33 + MARKERS, true), (PONGS_MOST, true)] {
        let mut bench = Bench::new();
        bench.send();
        bench.mux.transport_is_full(bench.now);
        bench.pings(pings);
        bench.wait(timeout - NANO);
        assert!(bench.mux.closed().is_none());
        bench.wait(NANO);
        let closed = bench.mux.closed();
        assert_eq!(matches!(closed, Some(ConnectionError::Violation(Violation::PingFlood))), ends, "{closed:?}");
    }
}

#[test]
fn y_limit_4_a_burst_of_streams_nobody_accepts_is_reset_and_nothing_else() {
    let mut bench = Bench::new();
    bench.send();
    let syn = |n: u32| Header::WindowUpdate { id: id(2 * n), flags: Flags::SYN, value: 0 };
    bench.mux.go_away();
    let (mut resets, mut most) = (0, 0);
    for n in 1..=20_000 {
        if bench.mux.must_write() {
            let sent = bench.send();
            resets += sent.iter().filter(|header| matches!(header, Header::WindowUpdate { .. })).count();
            most = most.max(sent.len());
        }
        bench.receive(syn(n));
    }
    resets += bench.send().iter().filter(|header| matches!(header, Header::WindowUpdate { .. })).count();
    assert_eq!((resets, bench.mux.closed().is_none()), (20_000, true));
    assert!(most <= REFUSALS_OWED / 2 + 1, "{most}");
    // The transport is full: as many as a ring holds at most, and reading waits.
    bench.mux.transport_is_full(bench.now);
    for n in 20_001.. {
        if bench.mux.must_write() {
            assert_eq!(n as usize, 20_001 + REFUSALS_MOST);
            break;
        }
        bench.receive(syn(n));
    }
    bench.wait(bench.mux.config().connection_write_timeout());
    let closed = bench.mux.closed();
    assert!(matches!(closed, Some(ConnectionError::Violation(Violation::RefusedFlood))), "{closed:?}");
}
