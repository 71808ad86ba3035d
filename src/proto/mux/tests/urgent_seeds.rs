//! Bulk beside urgent messages on paths that are drawn from a seed: any rate, delay and queue, packets that are lost, other
//! traffic on the bottleneck, and a peer that is busy (Y-PRIO-5, Y-PRIO-6).
//!
//! `SLUICEGATE_SEED=<n> cargo test --lib urgent_seeds -- --nocapture` repeats one; `SLUICEGATE_SEEDS=10` runs ten times as many.

use super::far::{End, MILLI, Path};
use super::urgent::{Line, Outcome, Paces, Step};
use crate::proto::Key;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use web_time::Instant;

const SEEDS: u64 = 24;

/// Bytes of the smallest pieces and of a turn that Y-PRIO-3 gives, which leave in any case.
const SLACK: u64 = 64 * 1024;

/// A path, and what happens on it.
#[derive(Clone, Copy, Debug)]
struct Case {
    path: Path,
    streams: usize,
    turn: Duration,
    /// A packet is lost after this time on average, if any.
    loss: Option<Duration>,
    /// Other traffic leaves at least so many percent of the bottleneck.
    left: u64,
}

impl Case {
    fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let rate = [2, 5, 10, 20, 50, 100, 200][rng.random_range(0..7)] * 125_000;
        let round_trip = rng.random_range(1..150) * MILLI;
        let queue = Duration::from_millis(rng.random_range(50..800)).max(round_trip);
        let turn = [0, 0, 1, 5, 15][rng.random_range(0..5)] * MILLI;
        let loss = rng.random_bool(0.5).then(|| round_trip * rng.random_range(3..50));
        let left = if rng.random_bool(0.5) { 100 } else { rng.random_range(30..100) };
        Self { path: Path { rate, round_trip, queue }, streams: rng.random_range(1..9), turn, loss, left }
    }

    fn run(self, seed: u64, paces: Paces) -> Outcome {
        let mut line = Line::new(self.path, paces);
        line.turn = self.turn;
        line.each_step = Some(Box::new(Events {
            case: self,
            rng: StdRng::seed_from_u64(!seed),
            lost_at: line.now,
            changes_at: line.now,
            paces: paces == Paces::Both,
        }));
        line.run(self.streams)
    }

    /// What may be on its way once the bandwidth is known: what probing may send; and where answers may be held up, what
    /// arrives in the two round trips that they are not waited for.
    fn bound(&self) -> u64 {
        let product =
            self.path.product() + (u128::from(self.path.rate) * 2 * self.turn.as_nanos() / 1_000_000_000) as u64;
        let held_up =
            if self.loss.is_some() || self.turn > Duration::ZERO || self.left < 100 { 2 * product } else { 0 };
        product * 7 / 4 + held_up + SLACK
    }
}

#[derive(Debug)]
struct Events {
    case: Case,
    rng: StdRng,
    lost_at: Instant,
    changes_at: Instant,
    paces: bool,
}

impl Step for Events {
    fn before(&mut self, ends: &mut [End; 2], now: Instant) {
        if let Some(every) = self.case.loss.filter(|_| now >= self.lost_at) {
            self.lost_at = now + every.mul_f64(self.rng.random_range(0.1..1.9));
            ends[0].line.lose(now);
        }
        if now >= self.changes_at {
            self.changes_at = now + self.rng.random_range(100..3000) * MILLI;
            let left = self.rng.random_range(self.case.left..=100);
            ends[0].line.path.rate = self.case.path.rate * left / 100;
        }
    }

    fn sent(&mut self, end: &mut End, urgent: Key, settled: bool, now: Instant) {
        if !self.paces {
            return;
        }
        let unsent = end.mux.store.get(urgent).map_or(0, |stream| stream.active().unsent.len());
        assert!(unsent == 0 || !end.line.is_writable(now), "{unsent} urgent bytes are held back: {:?}", self.case);
        let on_the_way: u64 = end.line.flying.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        assert!(!settled || on_the_way <= self.case.bound(), "{on_the_way} bytes are on their way: {:?}", self.case);
    }
}

#[test]
fn y_prio_5_bulk_and_urgent_streams_share_any_path() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (only, times) = (number("SLUICEGATE_SEED"), number("SLUICEGATE_SEEDS").unwrap_or(1));
    for seed in only.map_or(0..SEEDS * times, |seed| seed..seed + 1) {
        let case = Case::of(seed);
        let (with, without) = (case.run(seed, Paces::Both), case.run(seed, Paces::Neither));
        let kept = with.bulk as f64 / without.bulk as f64;
        println!(
            "seed {seed}: {kept:.3} of bulk, {:?} {:?}, unpaced {:?}; {case:?}",
            with.at(50),
            with.at(99),
            without.at(50)
        );
        let told = format!("SLUICEGATE_SEED={seed}: {kept:.3} of bulk, {:?}; {case:?}", with.at(50));
        assert!(kept >= 0.8, "{told}");
        // A message takes half a round trip alone, and the peer may only then have a turn.
        let slow = case.path.time(100 * 8 * 1500 / case.left);
        assert!(with.at(50) <= case.path.round_trip + 2 * case.turn + slow, "{told}");
    }
}
