//! Pacing: which streams make way for more urgent ones, how far, and for how long (Y-PRIO-3, Y-PRIO-5 to Y-PRIO-8).

use super::Bench;
use crate::config::Config;
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::proto::WriteError;
use crate::proto::key::Key;
use crate::proto::limits::{HELD_MOST, IDLE_AFTER, IN_USE, STARVATION_BYTES, STARVATION_TIME};
use crate::wire::{Flags, Header, PingKind, StreamId};
use std::time::Duration;

const FRAME: usize = 16 * 1024;
/// What may be on its way before the path is known.
const FIRST: usize = 32 * 1024;
const BULK: usize = 160 * 1024;
const NANO: Duration = Duration::from_nanos(1);
const ROUND_TRIP: Duration = Duration::from_millis(40);

impl Bench {
    /// A connection with a stream of bulk and an urgent one on which something has just left.
    fn paced(settings: impl FnOnce(crate::config::ConfigBuilder) -> crate::config::ConfigBuilder) -> Paced {
        let mut bench = Self::with(1 << 30, settings(Config::builder().max_send_buffer(16 << 20)));
        let headers = bench.send();
        bench.now += ROUND_TRIP;
        bench.answer(&headers);
        let (bulk, urgent) = (bench.stream(Priority::LOW), bench.stream(Priority::HIGH));
        for (_, id) in [bulk, urgent] {
            bench.receive(Header::WindowUpdate { id, flags: Flags::NONE, value: 16 << 20 });
        }
        bench.write_all(urgent.0, 64);
        bench.send();
        Paced { bench, bulk, urgent }
    }

    /// Answers the pings among what was sent.
    fn answer(&mut self, sent: &[Header]) {
        for header in sent {
            if let Header::Ping { kind: PingKind::Request, nonce } = *header {
                self.receive(Header::Ping { kind: PingKind::Response, nonce });
            }
        }
        self.settle();
    }

    /// Writes so many bytes, with memory for all of them.
    fn write_all(&mut self, key: Key, len: usize) {
        let mut left = len;
        while left > 0 {
            match self.mux.write(key, &vec![7; left], self.now) {
                Ok(written) => left -= written,
                Err(WriteError::Blocked { growth: Some(bytes) }) => {
                    let granted = Reservation::new(&self.manager, bytes, Priority::ALWAYS).expect("room");
                    self.mux.grow_pool(granted);
                }
                Err(error) => panic!("{error:?}, {left} bytes left"),
            }
            self.settle();
        }
    }
}

struct Paced {
    bench: Bench,
    bulk: (Key, StreamId),
    urgent: (Key, StreamId),
}

/// Bytes of a stream among what was sent.
fn bytes(sent: &[Header], of: StreamId) -> usize {
    let len = |header: &Header| match *header {
        Header::Data { id, len, .. } if id == of => len as usize,
        _ => 0,
    };
    sent.iter().map(len).sum()
}

fn pings(sent: &[Header]) -> usize {
    sent.iter().filter(|header| matches!(header, Header::Ping { kind: PingKind::Request, .. })).count()
}

#[test]
fn y_prio_5_beside_urgent_streams_bulk_leaves_as_the_peer_reads() {
    let Paced { mut bench, bulk, urgent } = Bench::paced(|settings| settings);
    bench.write_all(bulk.0, BULK);
    bench.write_all(urgent.0, 64);
    let sent = bench.send();
    assert_eq!(bytes(&sent, urgent.1), 64);
    let first = bytes(&sent, bulk.1);
    assert!((FIRST / 2..=FIRST + 64).contains(&first), "{first}");
    assert!(pings(&sent) > 2, "there are markers in between");
    assert_eq!(bench.send(), [], "the rest waits for an answer");
    // Without more than the least time for it the path looks fast, and more leaves.
    bench.now += ROUND_TRIP;
    bench.answer(&sent);
    let then = bytes(&bench.send(), bulk.1);
    assert!(then > first, "{then} after {first}");
}

#[test]
fn y_prio_5_the_highest_bucket_in_use_is_never_held_back() {
    let Paced { mut bench, bulk, urgent } = Bench::paced(|settings| settings);
    bench.write_all(bulk.0, BULK);
    bench.send();
    for len in [1, 100, 20_000, 4 << 20] {
        bench.write_all(urgent.0, len);
        assert_eq!(bytes(&bench.send(), urgent.1), len);
    }
    // A pong that answers nothing says nothing.
    bench.receive(Header::Ping { kind: PingKind::Response, nonce: 1 });
    assert_eq!(bytes(&bench.send(), bulk.1), 0);
}

#[test]
fn y_prio_7_one_priority_or_an_idle_urgent_one_paces_nothing() {
    let all_leaves = |bench: &mut Bench, bulk: (Key, StreamId)| {
        bench.write_all(bulk.0, BULK);
        let sent = bench.send();
        assert_eq!((bytes(&sent, bulk.1), pings(&sent)), (BULK, 0));
    };
    // A setting.
    let Paced { mut bench, bulk, .. } = Bench::paced(|settings| settings.pacing(false));
    all_leaves(&mut bench, bulk);
    // The others have the same priority.
    let Paced { mut bench, bulk, urgent } = Bench::paced(|settings| settings);
    bench.mux.choose_priority(urgent.0, Priority::LOW, bench.now);
    all_leaves(&mut bench, bulk);
    // The urgent stream has not been used for a while.
    let Paced { mut bench, bulk, .. } = Bench::paced(|settings| settings.measure_rtt_interval(IN_USE * 4));
    bench.now += IN_USE;
    all_leaves(&mut bench, bulk);
    // The urgent stream is bulk, and what is beside it has a lower priority and nothing to send.
    let Paced { mut bench, urgent, .. } = Bench::paced(|settings| settings);
    bench.write_all(urgent.0, BULK);
    assert_eq!(bytes(&bench.send(), urgent.1), BULK);
}

#[test]
fn y_prio_6_a_peer_without_answers_holds_nobody_back_for_long() {
    let Paced { mut bench, bulk, urgent } = Bench::paced(|settings| settings.measure_rtt_interval(IN_USE * 4));
    bench.write_all(bulk.0, 3 << 20);
    let markers = bench.send();
    // What the guard against starvation lets through aside.
    let mut through = bytes(&markers, bulk.1);
    let until = bench.now + HELD_MOST;
    while bench.now < until - NANO {
        bench.wait((until - NANO - bench.now).min(STARVATION_TIME));
        bench.write_all(urgent.0, 64);
        let sent = bench.send();
        assert!(bytes(&sent, bulk.1) <= FRAME, "{} of bulk", bytes(&sent, bulk.1));
        through += bytes(&sent, bulk.1);
    }
    bench.wait(NANO);
    assert_eq!(bytes(&bench.send(), bulk.1), (3 << 20) - through);
    // It is asked again now and then, and an answer begins it anew.
    bench.write_all(bulk.0, 1 << 20);
    bench.wait(HELD_MOST);
    let sent = bench.send();
    assert_eq!((bytes(&sent, bulk.1), pings(&sent)), (1 << 20, 1));
    bench.answer(&sent);
    bench.write_all(bulk.0, 1 << 20);
    assert!(bytes(&bench.send(), bulk.1) < 1 << 20);
}

#[test]
fn y_prio_6_a_peer_that_has_answered_no_ping_is_not_paced() {
    let mut bench = Bench::with(1 << 30, Config::builder().max_send_buffer(16 << 20));
    let (bulk, urgent) = (bench.stream(Priority::LOW), bench.stream(Priority::HIGH));
    bench.write_all(urgent.0, 64);
    bench.send();
    bench.write_all(bulk.0, BULK);
    assert_eq!(bytes(&bench.send(), bulk.1), BULK);
}

#[test]
fn y_prio_6_a_peer_that_drops_answers_still_paces() {
    let Paced { mut bench, bulk, .. } = Bench::paced(|settings| settings);
    bench.write_all(bulk.0, 2 << 20);
    for round in 0..5 {
        let sent = bench.send();
        assert!(bytes(&sent, bulk.1) > 0, "round {round}");
        assert!(pings(&sent) <= 24, "{}", pings(&sent));
        bench.wait(ROUND_TRIP);
        let markers: Vec<_> = sent.iter().filter(|header| matches!(header, Header::Ping { .. })).copied().collect();
        bench.answer(&markers[markers.len() - 1..]);
    }
}

#[test]
fn y_prio_3_a_stream_that_waited_too_long_has_a_turn() {
    let Paced { mut bench, bulk, urgent } = Bench::paced(|settings| settings);
    bench.write_all(bulk.0, BULK);
    bench.send();
    let turns = STARVATION_BYTES as usize / FRAME;
    for turn in 1..=turns {
        bench.write_all(urgent.0, FRAME);
        let sent = bench.send();
        assert_eq!(bytes(&sent, bulk.1) > 0, turn == turns, "turn {turn} of {turns}");
    }
    // And so it is after a while, however little was sent.
    bench.wait(STARVATION_TIME - NANO);
    assert_eq!(bytes(&bench.send(), bulk.1), 0);
    bench.wait(NANO);
    assert!(bytes(&bench.send(), bulk.1) > 0);
}

#[test]
fn a_close_sends_what_waits() {
    let Paced { mut bench, bulk, .. } = Bench::paced(|settings| settings);
    bench.write_all(bulk.0, BULK);
    bench.mux.close(0);
    let (mut all, mut headers) = (0, bench.send());
    while !headers.iter().any(|header| matches!(header, Header::GoAway { .. })) {
        assert_ne!(headers, [], "nothing waits for an answer that has come");
        all += bytes(&headers, bulk.1);
        bench.now += ROUND_TRIP;
        bench.answer(&headers);
        headers = bench.send();
    }
    assert_eq!(all + bytes(&headers, bulk.1), BULK);
}

#[test]
fn y_prio_8_credit_of_lower_streams_is_what_fills_the_path() {
    let Paced { mut bench, bulk, .. } = Bench::paced(|settings| settings.measure_rtt_interval(IN_USE * 4));
    // A megabyte a second, which is 40 KB in a round trip: the first window arrives in a quarter of a second.
    let (piece, every) = (1000, Duration::from_millis(1));
    let (mut credit, mut arrived, mut most) = (256_i64 << 10, 0, 0);
    while arrived < 2 << 20 {
        bench.now += every;
        bench.mux.heard(bench.now);
        if credit >= piece {
            credit -= piece;
            arrived += piece;
            bench.receive_data(bulk.1, piece as usize);
            bench.read(bulk.0);
        }
        bench.ask();
        for header in bench.send() {
            match header {
                Header::WindowUpdate { id, value, .. } if id == bulk.1 => credit += i64::from(value),
                header @ Header::Ping { .. } => bench.answer(&[header]),
                _ => {}
            }
        }
        if arrived > 1 << 20 {
            most = most.max(credit);
        }
    }
    assert!((20_000..80_000).contains(&most), "it had {most} bytes of credit");
}

#[test]
fn nothing_is_kept_for_an_idle_connection() {
    let Paced { mut bench, urgent, .. } = Bench::paced(|settings| settings);
    bench.write_all(urgent.0, 64);
    bench.send();
    bench.wait(IDLE_AFTER);
    assert_ne!(format!("{:?}", bench.mux.pacer), "Pacer { held: 0, state: None }");
    bench.mux.choose_priority(urgent.0, Priority::LOW, bench.now);
    bench.mux.heard(bench.now);
    bench.wait(IDLE_AFTER);
    assert_eq!(format!("{:?}", bench.mux.pacer), "Pacer { held: 0, state: None }");
    assert_eq!(format!("{:?}", bench.mux.inflow), "Inflow { state: None }");
}
