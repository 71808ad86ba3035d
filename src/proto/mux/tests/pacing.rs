//! Pacing: which streams make way for an urgent one, how far, and for how long (Y-PRIO-5).

use super::Bench;
use crate::config::Config;
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::proto::WriteError;
use crate::proto::key::Key;
use crate::proto::limits::{IDLE_AFTER, LATE_PACES, PACE_BYTES, PACE_TIME, STARVATION_BYTES};
use crate::wire::{Flags, Header, PingKind, StreamId};
use std::time::Duration;

const FRAME: usize = 16 * 1024;
const BULK: usize = 160 * 1024;
const NANO: Duration = Duration::from_nanos(1);

/// What has left, in order, without the nonces of pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Ping,
    /// Bytes of a stream.
    Data(u32, usize),
}
use Sent::{Data, Ping};

impl Bench {
    /// A connection with such a round trip, in microseconds, and no ping under way.
    fn near(micros: u64) -> Self {
        let mut bench = Self::with(1 << 30, Config::builder().max_send_buffer(16 << 20));
        let mut sent = bench.send();
        bench.now += Duration::from_micros(micros);
        bench.mux.heard(bench.now);
        bench.answer(&mut sent);
        assert_eq!(bench.mux.rtt(), Some(Duration::from_micros(micros)));
        bench
    }

    /// The same, with a stream of bulk and an urgent one on which something has just left, and with a peer that answers.
    fn paced(micros: u64) -> (Self, (Key, StreamId), (Key, StreamId)) {
        let mut bench = Self::near(micros);
        let (bulk, urgent) = (bench.stream(Priority::MEDIUM), bench.stream(Priority::HIGH));
        bench.write_all(urgent.0, 64);
        assert_eq!(bench.encoded().0, [Data(urgent.1.value(), 64)]);
        bench.write_all(bulk.0, 1);
        let (sent, mut headers) = bench.encoded();
        assert_eq!(sent, [Ping, Data(bulk.1.value(), 1)]);
        bench.now += Duration::from_micros(micros);
        bench.answer(&mut headers);
        (bench, bulk, urgent)
    }

    /// Answers the pings among what was sent.
    fn answer(&mut self, sent: &mut Vec<Header>) {
        for header in sent.drain(..) {
            if let Header::Ping { kind: PingKind::Request, nonce } = header {
                self.receive(Header::Ping { kind: PingKind::Response, nonce });
            }
        }
        self.settle();
    }

    /// Sends all frames that may leave. Returns them, and the frames that a peer which answers needs.
    fn encoded(&mut self) -> (Vec<Sent>, Vec<Header>) {
        let headers = self.send();
        let sent = headers.iter().filter_map(|header| match *header {
            Header::Ping { kind: PingKind::Request, .. } => Some(Ping),
            Header::Data { id, len, .. } => Some(Data(id.value(), len as usize)),
            _ => None,
        });
        (sent.collect(), headers)
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

/// Bytes of the stream among what was sent.
fn bytes(sent: &[Sent], of: StreamId) -> usize {
    sent.iter().map(|sent| if let Data(id, len) = *sent { if id == of.value() { len } else { 0 } } else { 0 }).sum()
}

/// Frames of a stream, full ones and the last.
fn frames(of: StreamId, len: usize) -> Vec<Sent> {
    let full = std::iter::repeat_n(FRAME, len / FRAME).chain(Some(len % FRAME).filter(|len| *len > 0));
    full.map(|len| Data(of.value(), len)).collect()
}

#[test]
fn beside_something_urgent_bulk_leaves_piece_by_piece_as_the_peer_reads() {
    for (micros, piece) in [(50, PACE_BYTES), (93, PACE_BYTES), (125, 32_768), (250, 65_536), (499, 130_809)] {
        let (mut bench, bulk, urgent) = Bench::paced(micros);
        bench.write_all(bulk.0, BULK);
        bench.write_all(urgent.0, 64);
        let (mut sent, mut headers) = bench.encoded();
        let mut expected = vec![Ping, Data(urgent.1.value(), 64)];
        let mut left = BULK;
        // The peer has told of the last piece when the next leaves: no more than two are under way.
        while left > 0 {
            let piece = piece.min(left);
            expected.extend(frames(bulk.1, piece));
            assert_eq!(sent, expected, "{micros} µs, {left} bytes left");
            assert_eq!(bench.encoded().0, [], "{micros} µs, {left} bytes left");
            left -= piece;
            bench.now += Duration::from_micros(micros);
            bench.answer(&mut headers);
            (sent, headers) = bench.encoded();
            expected = vec![Ping];
        }
        // A stream that has nothing to send needs no ping.
        assert_eq!(sent, []);
    }
}

#[test]
fn y_prio_5_bulk_waits_for_its_ping_and_urgent_data_does_not() {
    let (mut bench, bulk, urgent) = Bench::paced(50);
    bench.write_all(bulk.0, BULK);
    let (sent, mut headers) = bench.encoded();
    assert_eq!(bytes(&sent, bulk.1), PACE_BYTES);
    for len in [1, 100, 20_000] {
        bench.write_all(urgent.0, len);
        assert_eq!(bench.encoded().0, frames(urgent.1, len));
    }
    // Another answer than the one that is waited for says nothing.
    bench.receive(Header::Ping { kind: PingKind::Response, nonce: 1 });
    assert_eq!(bench.encoded().0, []);
    bench.answer(&mut headers);
    assert_eq!(bytes(&bench.encoded().0, bulk.1), PACE_BYTES);
}

#[test]
fn y_prio_5_only_less_urgent_streams_on_near_links_wait() {
    let cases = [
        (50, Priority::MEDIUM, Priority::HIGH),
        (50, Priority::MEDIUM, Priority::MEDIUM),
        (500, Priority::HIGH, Priority::MEDIUM),
    ];
    for (micros, other, own) in cases {
        let mut bench = Bench::near(micros);
        let (bulk, other) = (bench.stream(own), bench.stream(other));
        bench.write_all(other.0, 64);
        assert_eq!(bench.encoded().0, [Data(other.1.value(), 64)]);
        bench.write_all(bulk.0, BULK);
        assert_eq!(bench.encoded().0, frames(bulk.1, BULK), "{micros} µs, {own:?}");
    }
}

#[test]
fn soon_after_the_last_that_was_urgent_nobody_waits() {
    let (mut bench, bulk, urgent) = Bench::paced(50);
    bench.write_all(bulk.0, BULK);
    bench.write_all(urgent.0, 64);
    assert_eq!(bytes(&bench.encoded().0, bulk.1), PACE_BYTES);
    bench.wait(PACE_TIME - NANO);
    assert_eq!(bench.encoded().0, []);
    bench.wait(NANO);
    assert_eq!(bench.encoded().0, frames(bulk.1, BULK - PACE_BYTES));
}

#[test]
fn a_peer_that_does_not_answer_holds_nobody_up() {
    let mut bench = Bench::near(50);
    let (bulk, urgent) = (bench.stream(Priority::MEDIUM), bench.stream(Priority::HIGH));
    bench.write_all(urgent.0, 64);
    bench.encoded();
    // As long as it has never done so, not at all; and then for as long as it may take.
    bench.write_all(bulk.0, FRAME);
    let (sent, mut headers) = bench.encoded();
    assert_eq!(sent, [vec![Ping], frames(bulk.1, FRAME)].concat());
    bench.write_all(bulk.0, 2 * FRAME);
    assert_eq!(bench.encoded().0, frames(bulk.1, 2 * FRAME));
    bench.answer(&mut headers);
    bench.write_all(bulk.0, BULK);
    let (sent, mut headers) = bench.encoded();
    assert_eq!(bytes(&sent, bulk.1), PACE_BYTES);
    for (waits, then) in [(PACE_TIME - NANO, 0), (NANO, BULK - PACE_BYTES)] {
        bench.wait(waits);
        bench.write_all(urgent.0, 64);
        assert_eq!(bytes(&bench.encoded().0, bulk.1), then);
    }
    // An answer that is late counts for what comes then.
    bench.write_all(bulk.0, 1);
    assert_eq!(bench.encoded().0, frames(bulk.1, 1));
    bench.answer(&mut headers);
    bench.write_all(bulk.0, 2 * FRAME);
    let (sent, _) = bench.encoded();
    assert_eq!((sent[0], bytes(&sent, bulk.1)), (Ping, PACE_BYTES));
}

/// The first ping took 50 µs, and the path takes 80 ms from then on.
#[test]
fn y_prio_5_pings_that_are_always_late_hold_nobody_up() {
    let (mut bench, bulk, urgent) = Bench::paced(50);
    bench.receive(Header::WindowUpdate { id: bulk.1, flags: Flags::NONE, value: 16 << 20 });
    for round in 0..10 {
        bench.write_all(urgent.0, 64);
        bench.write_all(bulk.0, BULK);
        let (sent, mut headers) = bench.encoded();
        assert_eq!(bytes(&sent, bulk.1) < BULK, round < LATE_PACES, "round {round}");
        bench.wait(Duration::from_millis(80));
        headers.extend(bench.encoded().1);
        bench.answer(&mut headers);
    }
}

#[test]
fn y_prio_3_a_stream_that_waited_too_long_has_a_turn() {
    let (mut bench, bulk, urgent) = Bench::paced(50);
    bench.receive(Header::WindowUpdate { id: urgent.1, flags: Flags::NONE, value: 1 << 20 });
    bench.write_all(bulk.0, BULK);
    assert_eq!(bytes(&bench.encoded().0, bulk.1), PACE_BYTES);
    let turns = STARVATION_BYTES as usize / FRAME;
    for turn in 1..=turns {
        bench.write_all(urgent.0, FRAME);
        let (sent, _) = bench.encoded();
        let expected = if turn == turns { frames(bulk.1, FRAME) } else { Vec::new() };
        assert_eq!(sent, [frames(urgent.1, FRAME), expected].concat(), "turn {turn} of {turns}");
    }
}

#[test]
fn a_close_sends_what_waits() {
    let (mut bench, bulk, _) = Bench::paced(50);
    bench.write_all(bulk.0, BULK);
    bench.mux.close(0);
    let (mut all, mut headers) = bench.encoded();
    assert_eq!(bytes(&all, bulk.1), PACE_BYTES);
    while !headers.iter().any(|header| matches!(header, Header::GoAway { .. })) {
        bench.answer(&mut headers);
        let (sent, next) = bench.encoded();
        assert_ne!(next, [], "nothing waits for an answer that has come");
        all.extend(sent);
        headers = next;
    }
    assert_eq!(bytes(&all, bulk.1), BULK);
}

#[test]
fn nothing_is_kept_for_a_connection_at_rest() {
    let (mut bench, _, urgent) = Bench::paced(50);
    bench.write_all(urgent.0, 64);
    bench.encoded();
    bench.wait(IDLE_AFTER - NANO);
    assert_ne!(format!("{:?}", bench.mux.pacer), "Pacer { recent: None }");
    bench.wait(NANO);
    assert_eq!(format!("{:?}", bench.mux.pacer), "Pacer { recent: None }");
}
