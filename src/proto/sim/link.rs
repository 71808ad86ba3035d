//! Owns [`Link`]: one direction of a transport, with latency, rate and arbitrary fragmentation.

use super::{Chance, Load};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use web_time::Instant;

/// Bytes in flight. Delivery is in order; the seed decides how they are fragmented.
pub(super) struct Link {
    latency: Duration,
    /// Bytes a second.
    rate: u64,
    /// Bytes that the sender's socket holds before it blocks.
    capacity: usize,
    /// When the last byte that was sent has left.
    busy_until: Instant,
    flying: VecDeque<(Instant, Vec<u8>)>,
    in_flight: usize,
    cut: bool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latency, rate, capacity, in_flight, .. } = self;
        write!(f, "Link {{ {latency:?}, {rate} B/s, {in_flight} of {capacity} B }}")
    }
}

impl Link {
    pub(super) fn new(load: Load, chance: &mut Chance, start: Instant) -> Self {
        let capacities: &[u64] = load.pick(&[1, 300, 300, 4_096, 4_096, 64 * 1024, 256 * 1024], &[256 * 1024]);
        Self {
            latency: Duration::from_micros(chance.pick(load.pick(&[0, 10, 1_000, 50_000], &[0, 10, 0, 1_000]))),
            rate: chance.pick(load.pick(&[100_000, 10_000_000, 1_000_000_000], &[1_000_000_000; 3])),
            capacity: chance.pick(capacities) as usize,
            busy_until: start,
            flying: VecDeque::new(),
            in_flight: 0,
            cut: false,
        }
    }

    /// How many bytes it is reasonable to send through it in a run.
    pub(super) fn volume(&self) -> u64 {
        self.capacity as u64 * 500
    }

    /// Bytes that the socket takes: none while it is nearly full, as a real one is not writable then.
    pub(super) fn room(&self) -> usize {
        let room = self.capacity.saturating_sub(self.in_flight);
        if room >= self.capacity.div_ceil(3) { room } else { 0 }
    }

    /// Whether thousands of small frames go through it in good time.
    pub(super) fn is_wide(&self) -> bool {
        self.capacity >= 4_096
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight == 0
    }

    pub(super) fn send(&mut self, bytes: &[u8], now: Instant) {
        if bytes.is_empty() || self.cut {
            return;
        }
        let time = Duration::from_nanos(bytes.len() as u64 * 1_000_000_000 / self.rate);
        self.busy_until = self.busy_until.max(now) + time;
        self.in_flight += bytes.len();
        self.flying.push_back((self.busy_until + self.latency, bytes.to_vec()));
    }

    /// What has arrived by `now`, cut where the seed says so.
    pub(super) fn receive(&mut self, chance: &mut Chance, now: Instant) -> Option<Vec<u8>> {
        let (at, bytes) = self.flying.front_mut()?;
        if *at > now {
            return None;
        }
        let len = if chance.of(3) { 1 + chance.below(bytes.len()) } else { bytes.len() };
        let rest = bytes.split_off(len.min(bytes.len()));
        let piece = std::mem::replace(bytes, rest);
        if bytes.is_empty() {
            self.flying.pop_front();
        }
        self.in_flight -= piece.len();
        Some(piece)
    }

    /// Nothing arrives before `until`.
    pub(super) fn stand_still(&mut self, until: Instant) {
        self.busy_until = self.busy_until.max(until);
        self.flying.iter_mut().for_each(|(at, _)| *at = (*at).max(until));
    }

    /// The path becomes longer or shorter.
    pub(super) fn change_path(&mut self, latency: Duration) {
        self.latency = latency;
    }

    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.flying.front().map(|(at, _)| *at)
    }

    /// Loses everything from here on.
    pub(super) fn cut(&mut self) {
        (self.cut, self.in_flight) = (true, 0);
        self.flying.clear();
    }
}
