//! What the busy connections got: how many bytes each of them, and how long the slowest round took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) struct Tally {
    /// Bytes that came, by connection.
    served: Vec<AtomicU64>,
    rounds: AtomicU64,
    /// Microseconds.
    slowest: AtomicU64,
}

/// How evenly the bytes of some time were spread over the connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// Bytes of the least served, of the most served, and of all.
    pub(crate) least: u64,
    pub(crate) most: u64,
    pub(crate) sum: u64,
    pub(crate) connections: usize,
}

impl Tally {
    pub(crate) fn new(connections: usize) -> Self {
        let served = (0..connections).map(|_| AtomicU64::new(0)).collect();
        Self { served, rounds: AtomicU64::new(0), slowest: AtomicU64::new(0) }
    }

    /// Bytes have come on a connection.
    pub(crate) fn serve(&self, number: usize, bytes: u64) {
        if let Some(served) = self.served.get(number) {
            served.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// A connection has moved a round over all its streams.
    pub(crate) fn round(&self, took: Duration) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.slowest.fetch_max(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    pub(crate) fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest.load(Ordering::Relaxed))
    }

    pub(crate) fn spread(&self) -> Spread {
        let served = || self.served.iter().map(|served| served.load(Ordering::Relaxed));
        let (least, most) = (served().min().unwrap_or(0), served().max().unwrap_or(0));
        Spread { least, most, sum: served().sum(), connections: self.served.len() }
    }
}

impl Spread {
    /// What a connection got on the average.
    pub(crate) fn mean(&self) -> f64 {
        self.sum as f64 / self.connections as f64
    }
}
