//! How much of a link a stream fills, and how large its window becomes for that (Y-FLOW-4, Y-FLOW-8).
//!
//! Two cores in virtual time over a link with a rate, a latency and a queue before it.

use crate::config::{Config, ConfigBuilder};
use crate::memory::{MemoryManager, Reservation, Unlimited};
use crate::mode::Mode;
use crate::priority::Priority;
use crate::proto::limits::{BATCH_BYTES, INITIAL_WINDOW, NEAR_WINDOW};
use crate::proto::{Admission, Batch, Charge, Chunks, Key, Mux, Taken};
use crate::stats::StreamStats;
use crate::wire::Parser;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use web_time::Instant;

pub(super) const MIB: u64 = 1 << 20;
pub(super) const MILLI: Duration = Duration::from_millis(1);

/// Bytes that arrive together.
const PIECE: usize = 16 * 1024;

/// What is between two ends, the same both ways.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// Bytes a second.
    pub(super) rate: u64,
    pub(super) round_trip: Duration,
    /// The transport takes bytes while those before them take less than this.
    pub(super) queue: Duration,
}

pub(super) const FAR: Path =
    Path { rate: 125_000_000, round_trip: Duration::from_millis(100), queue: Duration::from_millis(25) };

impl Path {
    pub(super) fn time(self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes * 1_000_000_000 / self.rate)
    }

    /// What fills it: the bandwidth-delay product.
    pub(super) fn product(self) -> u64 {
        (u128::from(self.rate) * self.round_trip.as_nanos() / 1_000_000_000) as u64
    }
}

/// One direction.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) path: Path,
    pub(super) busy_until: Instant,
    pub(super) flying: VecDeque<(Instant, Bytes)>,
    /// Nothing arrives before: a lost packet is on its way again.
    held_until: Instant,
}

impl Line {
    pub(super) fn is_writable(&self, now: Instant) -> bool {
        self.busy_until.saturating_duration_since(now) < self.path.queue
    }

    /// Nothing arrives before `until`, and then what has piled up.
    fn stand_still(&mut self, until: Instant) {
        self.busy_until = self.busy_until.max(until);
        self.flying.iter_mut().for_each(|(at, _)| *at = (*at).max(until));
    }

    /// A packet is lost: what is sent meanwhile arrives together with it, once it was sent again.
    pub(super) fn lose(&mut self, now: Instant) {
        self.held_until = self.held_until.max(now + self.path.round_trip * 3 / 2);
        let until = self.held_until;
        self.flying.iter_mut().for_each(|(at, _)| *at = (*at).max(until));
    }

    fn send(&mut self, mut bytes: Bytes, now: Instant) {
        while !bytes.is_empty() {
            // No more than arrives in an eighth of a millisecond, or a packet.
            let most = PIECE.min((self.path.rate / 8000).max(1500) as usize);
            let piece = bytes.split_to(bytes.len().min(most));
            self.busy_until = self.busy_until.max(now) + self.path.time(piece.len() as u64);
            let at = self.busy_until + self.path.round_trip / 2;
            self.flying.push_back((at.max(self.held_until), piece));
        }
    }
}

/// A core, and the part of the shell that this plays.
#[derive(Debug)]
pub(super) struct End {
    pub(super) mux: Mux,
    pub(super) manager: Arc<dyn MemoryManager>,
    parser: Parser,
    unparsed: Vec<u8>,
    batch: Batch,
    pub(super) line: Line,
}

impl End {
    pub(super) fn new(mode: Mode, path: Path, config: Config, now: Instant) -> Self {
        Self {
            mux: Mux::new(mode, config, 1, now),
            manager: Arc::new(Unlimited),
            parser: Parser::default(),
            unparsed: Vec::new(),
            batch: Batch::default(),
            line: Line { path, busy_until: now, flying: VecDeque::new(), held_until: now },
        }
    }

    pub(super) fn reserve(&self) -> Reservation {
        Reservation::new(&self.manager, Charge::new(self.mux.config()).first_reservation(), Priority::ALWAYS)
            .expect("no limit")
    }

    pub(super) fn settle(&mut self) {
        let events = self.mux.events_mut();
        events.ready.clear();
        events.released.clear();
    }

    /// Returns how many frames it was, bodies included.
    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant) -> u32 {
        let mut frames = 0;
        self.mux.heard(now);
        self.unparsed.extend_from_slice(bytes);
        let unparsed = std::mem::take(&mut self.unparsed);
        let mut input = unparsed.as_slice();
        while let Some(frame) = self.parser.next(&mut input).expect("our own frames are legal") {
            frames += 1;
            if self.mux.handle_frame(frame, now) == Admission::Reserve {
                let granted = self.reserve();
                self.mux.admit(Some(granted), now);
            }
        }
        self.unparsed = input.to_vec();
        self.mux.handle_applied();
        self.settle();
        frames
    }

    /// Sends at `now` what there is, which is `clock` by its own clock.
    pub(super) fn send(&mut self, clock: Instant, now: Instant) {
        while let Some(request) = self.mux.next_window_request(clock) {
            let decision = request.put_to(&self.manager);
            self.mux.apply_decision(request, decision);
        }
        let mut pieces = VecDeque::<Bytes>::new();
        while self.line.is_writable(now) && self.mux.poll_transmit(&mut self.batch, BATCH_BYTES, clock) {
            let data = self.batch.take(&mut pieces);
            pieces.iter().for_each(|piece| self.line.send(piece.clone(), now));
            self.mux.handle_written(data, pieces.drain(..), clock);
        }
        self.mux.handle_flushed(self.mux.last_encoded(), clock);
        self.settle();
    }
}

/// Which end opens the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opener {
    Sender,
    /// And it says how much it expects.
    Reader,
}

/// How the bytes are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reader {
    /// Whatever has arrived, at once.
    Eager,
    /// So many bytes each millisecond.
    Slow(u32),
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// From the first write to the last byte that was read.
    pub(super) time: Duration,
    pub(super) reader: StreamStats,
}

impl Outcome {
    /// How much of the path was used, in percent.
    pub(super) fn of(&self, path: Path, bytes: u64) -> f64 {
        100.0 * path.time(bytes).as_secs_f64() / self.time.as_secs_f64()
    }
}

/// Two ends with a path between them, on a connection whose round trip is known.
#[derive(Debug)]
pub(super) struct Transfer {
    /// The sender and the reader.
    pub(super) ends: [End; 2],
    pub(super) keys: [Option<Key>; 2],
    pub(super) now: Instant,
    pub(super) to_write: u64,
    to_read: u64,
    unread: u32,
    may_read: u32,
    started: Option<Instant>,
    /// What the clocks of both ends show: every so manieth moment. The finest where that is nothing.
    pub(super) tick: Duration,
    epoch: Instant,
    /// Where the writer has so many bytes every so often, and not all of them at once.
    pub(super) bursts: Option<(Duration, u64)>,
    burst_at: Instant,
    /// How often and for how long the link to the reader stalls.
    pub(super) stall: Option<(Duration, Duration)>,
    stands_at: Instant,
    may_write: u64,
}

impl Transfer {
    pub(super) fn new(path: Path, config: Config, bytes: u64) -> Self {
        let now = Instant::now();
        let ends = [Mode::Client, Mode::Server].map(|mode| End::new(mode, path, config.clone(), now));
        Self {
            ends,
            keys: [None; 2],
            now,
            to_write: bytes,
            to_read: bytes,
            unread: 0,
            may_read: 0,
            started: None,
            tick: Duration::ZERO,
            epoch: now,
            bursts: None,
            burst_at: now,
            stall: None,
            stands_at: now,
            may_write: u64::MAX,
        }
    }

    /// The same, with clocks as coarse as that, once the round trip is known.
    pub(super) fn begun(mut self, tick: Duration) -> Self {
        self.tick = tick;
        let mut transfer = self;
        while transfer.ends.iter().any(|end| end.mux.pinger.rtt.minimum().is_none()) {
            transfer.pass();
        }
        transfer
    }

    /// What a clock shows.
    fn clock(&self) -> Instant {
        match self.now.saturating_duration_since(self.epoch).as_nanos().checked_rem(self.tick.as_nanos()) {
            Some(missed) => self.now - Duration::from_nanos(missed as u64),
            None => self.now,
        }
    }

    /// What arrives next does, unless that is more than a millisecond off.
    pub(super) fn pass(&mut self) {
        let arrivals = self.ends.iter().filter_map(|end| end.line.flying.front().map(|(at, _)| *at));
        let next = arrivals.min().map_or(self.now + MILLI, |at| at.min(self.now + MILLI));
        self.now = next.max(self.now);
        if let Some((every, time)) = self.stall.filter(|_| self.now >= self.stands_at) {
            self.stands_at = self.now + every + time;
            self.ends[0].line.stand_still(self.now + time);
        }
        let clock = self.clock();
        for side in 0..2 {
            while self.ends[side].line.flying.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, bytes) = self.ends[side].line.flying.pop_front().expect("there is one");
                self.ends[1 - side].receive(&bytes, clock);
            }
        }
        for end in &mut self.ends {
            end.mux.handle_timeout(clock);
            end.send(clock, self.now);
        }
    }

    fn open(&mut self, opener: Opener) {
        let clock = self.clock();
        let (side, expected) = match opener {
            Opener::Sender => (0, None),
            Opener::Reader => (1, u32::try_from(self.to_read).ok()),
        };
        let end = &mut self.ends[side];
        let reservation = end.reserve();
        let (key, _) = end.mux.open(reservation).expect("opens");
        if let Some(growth) = expected.and_then(|bytes| end.mux.shortfall(key, bytes)) {
            let decision = growth.put_to(&end.manager);
            end.mux.widen(growth, decision);
        }
        assert!(end.mux.flush(key).is_err());
        end.send(clock, self.now);
        self.keys[side] = Some(key);
    }

    pub(super) fn run(mut self, opener: Opener, reader: Reader) -> Outcome {
        self.open(opener);
        let mut tick = self.now;
        loop {
            for side in 0..2 {
                self.keys[side] = self.keys[side].or_else(|| self.ends[side].mux.accept());
            }
            self.write();
            match reader {
                Reader::Eager => self.may_read = u32::MAX,
                Reader::Slow(bytes) if self.now >= tick => {
                    (tick, self.may_read) = (tick + MILLI, bytes);
                }
                Reader::Slow(_) => {}
            }
            self.read();
            if self.to_read == 0 {
                break;
            }
            self.pass();
        }
        let time = self.now.saturating_duration_since(self.started.expect("it has begun"));
        let key = self.keys[1].expect("it was accepted");
        let reader = self.ends[1].mux.stream_stats(key, self.clock()).expect("it lives");
        Outcome { time, reader }
    }

    fn write(&mut self) {
        let Some(key) = self.keys[0] else { return };
        if let Some((every, bytes)) = self.bursts.filter(|_| self.now >= self.burst_at) {
            (self.burst_at, self.may_write) = (self.now + every, bytes);
        }
        let clock = self.clock();
        let end = &mut self.ends[0];
        loop {
            let len = self.to_write.min(64 * 1024).min(self.may_write) as usize;
            match end.mux.write(key, &[7; 64 * 1024][..len], clock) {
                Ok(written @ 1..) => {
                    self.started.get_or_insert(self.now);
                    self.to_write -= written as u64;
                    self.may_write -= if self.bursts.is_some() { written as u64 } else { 0 };
                    end.send(clock, self.now);
                }
                Ok(0) | Err(_) => return,
            }
        }
    }

    fn read(&mut self) {
        let Some(key) = self.keys[1] else { return };
        let clock = self.clock();
        let end = &mut self.ends[1];
        let mut chunks = Chunks::default();
        while self.may_read > 0 {
            if self.unread == 0 {
                let Ok(Taken::Bytes { .. }) = end.mux.read(key, &mut chunks) else { break };
                self.unread = chunks.clear() as u32;
            }
            let used = self.unread.min(self.may_read);
            (self.unread, self.may_read) = (self.unread - used, self.may_read - used);
            self.to_read -= u64::from(used);
            end.mux.consume(key, used, clock);
        }
        end.send(clock, self.now);
    }
}

fn transfer(path: Path, bytes: u64, opener: Opener, reader: Reader) -> Outcome {
    transfer_with(Config::builder(), path, bytes, opener, reader)
}

fn transfer_with(config: ConfigBuilder, path: Path, bytes: u64, opener: Opener, reader: Reader) -> Outcome {
    let config = config.keep_alive_interval(None).build().expect("valid");
    Transfer::new(path, config, bytes).begun(Duration::ZERO).run(opener, reader)
}

/// Windows may become twice what is under way.
fn wide(path: Path) -> ConfigBuilder {
    Config::builder().max_stream_window((2 * path.product()) as u32)
}

/// The most that can be used of a path in percent, where the first window is all that there is until credit for half of
/// it has come.
fn ceiling(path: Path, bytes: u64) -> f64 {
    let wait = path.round_trip.saturating_sub(path.time(u64::from(INITIAL_WINDOW) / 2));
    let sent = path.time(bytes);
    100.0 * sent.as_secs_f64() / (sent + wait + path.round_trip / 2).as_secs_f64()
}

#[test]
fn a_far_link_is_filled_from_the_second_round_trip_on() {
    let outcome = transfer_with(wide(FAR), FAR, 256 * MIB, Opener::Sender, Reader::Eager);
    // The ceiling is at 93.5.
    assert!(outcome.of(FAR, 256 * MIB) > 93.0, "{outcome:?}");
    assert!(u64::from(outcome.reader.largest_receive_window) <= 2 * FAR.product(), "{outcome:?}");
    // An update for each eighth of it, and those of the beginning.
    let eighths = 256 * MIB * 4 / FAR.product();
    assert!(outcome.reader.sent.window_update_frames <= eighths + 4, "{outcome:?}");
}

/// What some peers cannot take of it before they have given credit is not kept back: `docs/performance.md` has the price.
#[test]
fn y_flow_1_the_first_window_leaves_to_its_last_byte() {
    for path in [FAR, Path { rate: 12_500_000, round_trip: 20 * MILLI, queue: 25 * MILLI }] {
        let outcome = transfer(path, INITIAL_WINDOW.into(), Opener::Sender, Reader::Eager);
        let one_way = path.time(INITIAL_WINDOW.into()) + path.round_trip / 2;
        assert!(outcome.time <= one_way + 2 * MILLI, "{path:?}: {outcome:?}");
    }
}

#[test]
fn a_far_link_is_filled_at_once_by_what_is_expected() {
    let outcome = transfer_with(wide(FAR), FAR, 256 * MIB, Opener::Reader, Reader::Eager);
    assert!(outcome.of(FAR, 256 * MIB) > 96.0, "{outcome:?}");
    assert!(u64::from(outcome.reader.largest_receive_window) <= 2 * FAR.product(), "{outcome:?}");
}

#[test]
fn windows_are_twice_what_is_under_way_and_links_are_full() {
    for (megabits, millis) in
        [(20, 200), (50, 30), (100, 50), (500, 64), (1000, 5), (1000, 40), (1000, 60), (10_000, 1)]
    {
        let (rate, round_trip) = (megabits * 125_000, Duration::from_millis(millis));
        let path = Path { rate, round_trip, queue: Duration::from_millis(25) };
        let bytes = (2 * rate).min(256 * MIB);
        let outcome = transfer(path, bytes, Opener::Sender, Reader::Eager);
        assert!(outcome.of(path, bytes) > ceiling(path, bytes) - 1.0, "{path:?}: {outcome:?}");
        let window = u64::from(outcome.reader.largest_receive_window);
        assert!((path.product()..=2 * path.product()).contains(&window), "{path:?}: {outcome:?}");
    }
}

#[test]
fn the_largest_window_limits_a_link_with_more_room() {
    const WINDOW: u64 = 16 * MIB;
    for path in [FAR, Path { round_trip: 300 * MILLI, ..FAR }] {
        let outcome = transfer(path, 256 * MIB, Opener::Sender, Reader::Eager);
        assert_eq!(u64::from(outcome.reader.largest_receive_window), WINDOW);
        // Credit for the first eighth leaves when that has come, and takes a round trip; and there is the first window.
        let each = path.time(WINDOW).max(path.round_trip + path.time(WINDOW / 8));
        assert!(outcome.time < each * (256 * MIB / WINDOW) as u32 + path.round_trip * 2, "{path:?}: {outcome:?}");
    }
}

#[test]
fn a_slow_reader_keeps_a_window_for_what_it_reads() {
    let outcome = transfer(FAR, 64 * MIB, Opener::Sender, Reader::Slow(12_500));
    // It reads a tenth of what the link carries, give or take a millisecond's worth.
    assert!(u64::from(outcome.reader.largest_receive_window) <= 2 * (FAR.product() / 10 + 12_500), "{outcome:?}");
}

#[test]
fn where_little_is_under_way_windows_stay_as_they_are() {
    let near = [(10, 20 * MILLI), (1000, MILLI), (1000, MILLI / 20), (10_000, MILLI / 10)];
    // Where the ends take longer than the link, windows grow as far as that needs.
    for ((megabits, round_trip), largest) in
        near.into_iter().zip([INITIAL_WINDOW, INITIAL_WINDOW, INITIAL_WINDOW, NEAR_WINDOW])
    {
        let path = Path { rate: megabits * 125_000, round_trip, queue: 25 * MILLI };
        let bytes = (4 * path.rate).min(64 * MIB);
        let outcome = transfer(path, bytes, Opener::Sender, Reader::Eager);
        assert!(outcome.of(path, bytes) > 99.0, "{path:?}: {outcome:?}");
        assert_eq!(outcome.reader.largest_receive_window, largest, "{path:?}: {outcome:?}");
    }
}
