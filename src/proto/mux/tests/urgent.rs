//! How long urgent messages take beside bulk on links with a queue, and how much of the link bulk keeps (Y-PRIO-5,
//! Y-PRIO-8).
//!
//! Two cores in virtual time: the link's queue takes far more than the path holds, as those of kernels and routers do.

use super::far::{End, MILLI, Path};
use crate::config::Config;
use crate::mode::Mode;
use crate::priority::Priority;
use crate::proto::{Chunks, Key, Taken};
use std::time::Duration;
use web_time::Instant;

const MESSAGE: usize = 64;
const EVERY: Duration = Duration::from_millis(20);
/// The first seconds are the beginning of bulk.
const SETTLE: Duration = Duration::from_secs(3);
const MEASURE: Duration = Duration::from_secs(5);

/// Which ends pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paces {
    Both,
    /// The receiver of bulk alone.
    Receiver,
    Neither,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) ends: [End; 2],
    pub(super) now: Instant,
    /// How often the receiver of bulk has a turn.
    pub(super) turn: Duration,
    turn_at: Instant,
    /// How long it takes for each frame.
    cost: Duration,
    busy_until: Instant,
    /// What happens to the path, and is asked of it, at each step.
    pub(super) each_step: Option<Box<dyn Step>>,
}

/// What happens at each step of a run.
pub(super) trait Step: std::fmt::Debug {
    /// Before anything arrives or is sent.
    fn before(&mut self, ends: &mut [End; 2], now: Instant);
    /// Once the sender has sent all that it may. `settled` says whether the beginning of bulk is over.
    fn sent(&mut self, end: &mut End, urgent: Key, settled: bool, now: Instant);
}

/// What came of it: sorted one-way times of messages, and the bulk that arrived.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) messages: Vec<Duration>,
    pub(super) bulk: u64,
}

impl Outcome {
    pub(super) fn at(&self, percent: usize) -> Duration {
        self.messages[self.messages.len() * percent / 100]
    }
}

impl Line {
    pub(super) fn new(path: Path, paces: Paces) -> Self {
        let now = Instant::now();
        let end = |side: usize| {
            let on = paces == Paces::Both || (paces == Paces::Receiver && side == 1);
            let config = Config::builder().pacing(on).max_stream_window(64 << 20).build().expect("valid");
            End::new([Mode::Client, Mode::Server][side], path, config, now)
        };
        let mut line = Self {
            ends: [end(0), end(1)],
            now,
            turn: Duration::ZERO,
            turn_at: now,
            cost: Duration::ZERO,
            busy_until: now,
            each_step: None,
        };
        while line.ends.iter().any(|end| end.mux.pinger.rtt.minimum().is_none()) {
            line.pass();
        }
        line
    }

    /// A stream of this priority at both ends.
    fn stream(&mut self, priority: Priority) -> [Key; 2] {
        let end = &mut self.ends[0];
        let (key, _) = end.mux.open(end.reserve()).expect("opens");
        end.mux.choose_priority(key, priority, self.now);
        assert!(end.mux.flush(key).is_err());
        loop {
            if let Some(other) = self.ends[1].mux.accept() {
                self.ends[1].mux.choose_priority(other, priority, self.now);
                return [key, other];
            }
            self.pass();
        }
    }

    fn pass(&mut self) {
        let arrivals = self.ends.iter().filter_map(|end| end.line.flying.front().map(|(at, _)| *at));
        let busy_until = Some(self.busy_until);
        let later = arrivals.chain(busy_until).filter(|at| *at > self.now).min();
        let next = later.map_or(self.now + MILLI, |at| at.min(self.now + MILLI));
        self.now = next.max(self.now);
        if let Some(step) = &mut self.each_step {
            step.before(&mut self.ends, self.now);
        }
        let busy = self.now < self.turn_at;
        if !busy {
            self.turn_at = self.now + self.turn;
        }
        for side in (0..2).filter(|side| *side == 1 || !busy) {
            while self.ends[side].line.flying.front().is_some_and(|(at, _)| *at <= self.now)
                && (side == 1 || self.busy_until <= self.now)
            {
                let (_, bytes) = self.ends[side].line.flying.pop_front().expect("there is one");
                let frames = self.ends[1 - side].receive(&bytes, self.now);
                if side == 0 {
                    self.busy_until = self.now + self.cost * frames;
                }
            }
        }
        for end in self.ends.iter_mut().take(if busy { 1 } else { 2 }) {
            end.mux.handle_timeout(self.now);
            end.send(self.now, self.now);
        }
    }

    fn read(&mut self, key: Key) -> u64 {
        let (mut chunks, mut read) = (Chunks::default(), 0);
        let mux = &mut self.ends[1].mux;
        while let Ok(Taken::Bytes { .. }) = mux.read(key, &mut chunks) {
            let len = chunks.clear();
            mux.consume(key, len as u32, self.now);
            read += len as u64;
        }
        read
    }

    pub(super) fn run(mut self, streams: usize) -> Outcome {
        let urgent = self.stream(Priority::HIGH);
        let bulk: Vec<_> = (0..streams).map(|_| self.stream(Priority::LOW)).collect();
        let (mut sent, mut arrived, mut messages, mut of_bulk) = (Vec::new(), 0, Vec::new(), 0);
        let (mut next, measured, end) = (self.now, self.now + SETTLE, self.now + SETTLE + MEASURE);
        while self.now < end {
            for [key, _] in &bulk {
                while self.ends[0].mux.write(*key, &[7; 64 * 1024], self.now).is_ok() {}
            }
            if self.now >= next {
                next = self.now + EVERY;
                assert_eq!(self.ends[0].mux.write(urgent[0], &[7; MESSAGE], self.now).ok(), Some(MESSAGE));
                sent.push(self.now);
            }
            self.ends[0].send(self.now, self.now);
            if let Some(step) = &mut self.each_step {
                step.sent(&mut self.ends[0], urgent[0], self.now >= measured, self.now);
            }
            self.pass();
            for [_, key] in &bulk {
                let read = self.read(*key);
                of_bulk += if self.now >= measured { read } else { 0 };
            }
            arrived += self.read(urgent[1]) as usize;
            while messages.len() < arrived / MESSAGE {
                messages.push((sent[messages.len()], self.now));
            }
        }
        let counted = messages.iter().filter(|(sent, _)| *sent >= measured).map(|(sent, at)| *at - *sent);
        let mut messages: Vec<_> = counted.collect();
        messages.sort();
        Outcome { messages, bulk: of_bulk }
    }
}

/// A link of so many megabits a second, and the round trip in milliseconds. Its queue takes 400 ms.
fn path(megabits: u64, round_trip: u64) -> Path {
    let rate = megabits * 1_000_000 / 8;
    Path { rate, round_trip: Duration::from_millis(round_trip), queue: Duration::from_millis(400) }
}

const PATHS: [(u64, u64, usize); 6] = [(20, 40, 1), (20, 40, 8), (2, 40, 4), (200, 20, 4), (100, 1, 4), (20, 300, 4)];

#[test]
fn y_prio_5_urgent_messages_are_in_time_and_bulk_keeps_the_link() {
    for (megabits, round_trip, streams) in PATHS {
        let path = path(megabits, round_trip);
        let outcome = |paces| Line::new(path, paces).run(streams);
        let (with, without) = (outcome(Paces::Both), outcome(Paces::Neither));
        let (median, late, kept) = (with.at(50), with.at(99), with.bulk as f64 / without.bulk as f64);
        let told =
            format!("{megabits} Mbit/s, {round_trip} ms, {streams} streams: {median:?}, {late:?}, {kept:.3} of bulk");
        println!("{told}; unpaced {:?}, {:?}", without.at(50), without.at(99));
        // Alone a message takes half a round trip.
        let alone = path.round_trip / 2;
        let packets = path.time(4 * 1500) + 2 * MILLI;
        assert!(median <= alone + path.round_trip / 4 + packets, "{told}");
        assert!(late <= alone + path.round_trip * 3 / 4 + packets, "{told}");
        assert!(kept >= 0.93, "{told}");
        // The windows of several streams hold far more than the path.
        assert!(without.at(50) > 2 * median || streams == 1 || round_trip > 100, "{told}");
    }
}

#[test]
fn y_prio_5_a_peer_whose_turns_are_rare_does_not_starve_bulk() {
    // Answers that wait for a turn look like a longer path with a shorter least round trip.
    for (millis, least) in [(2, 0.95), (5, 0.95), (10, 0.9), (20, 0.9), (50, 0.6)] {
        let path = path(20, 40);
        let outcome = |paces| {
            let mut line = Line::new(path, paces);
            line.turn = Duration::from_millis(millis);
            line.run(8)
        };
        let (with, without) = (outcome(Paces::Both), outcome(Paces::Neither));
        let kept = with.bulk as f64 / without.bulk as f64;
        let told = format!("a turn every {millis} ms: {:?}, {:?}, {kept:.3} of bulk", with.at(50), with.at(99));
        println!("{told}; unpaced {:?}", without.at(50));
        assert!(kept >= least && with.at(50) <= path.round_trip + Duration::from_millis(2 * millis), "{told}");
    }
}

#[test]
fn y_prio_5_a_peer_that_is_slow_for_each_frame_does_not_starve_bulk() {
    // The smaller the pieces, the fewer bytes a second such a peer reads.
    for (micros, least) in [(50, 0.6), (200, 0.5), (1000, 0.5)] {
        let path = path(1000, 1);
        let outcome = |paces| {
            let mut line = Line::new(path, paces);
            line.cost = Duration::from_micros(micros);
            line.run(1)
        };
        let (with, without) = (outcome(Paces::Both), outcome(Paces::Neither));
        let kept = with.bulk as f64 / without.bulk as f64;
        let told = format!("{micros} us for each frame: {:?}, {:?}, {kept:.3} of bulk", with.at(50), with.at(99));
        println!("{told}; unpaced {:?}", without.at(50));
        assert!(kept >= least, "{told}");
    }
}

#[test]
fn y_prio_8_bulk_from_a_peer_that_does_not_pace_is_held_back() {
    for (megabits, round_trip, streams) in [(20, 40, 1), (20, 40, 8), (200, 20, 4)] {
        let path = path(megabits, round_trip);
        let outcome = |paces| Line::new(path, paces).run(streams);
        let (with, without) = (outcome(Paces::Receiver), outcome(Paces::Neither));
        let (median, late, kept) = (with.at(50), with.at(99), with.bulk as f64 / without.bulk as f64);
        let told =
            format!("{megabits} Mbit/s, {round_trip} ms, {streams} streams: {median:?}, {late:?}, {kept:.3} of bulk");
        assert!(median <= path.round_trip * 5 / 4 && late <= path.round_trip * 2, "{told}");
        assert!(kept >= 0.93, "{told}");
    }
}
