//! Progress of the busy connections: bytes moved by each, and when the first and the last were done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) struct Tally {
    /// Bytes received, by connection.
    served: Vec<AtomicU64>,
    /// Microseconds.
    first: AtomicU64,
    last: AtomicU64,
}

/// How evenly the bytes were spread over the connections at one moment.
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
        Self { served, first: AtomicU64::new(u64::MAX), last: AtomicU64::new(0) }
    }

    /// Bytes have arrived on a connection.
    pub(crate) fn serve(&self, number: usize, bytes: u64) {
        if let Some(served) = self.served.get(number) {
            served.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// A connection has moved all its data.
    pub(crate) fn finish(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.first.fetch_min(took, Ordering::Relaxed);
        self.last.fetch_max(took, Ordering::Relaxed);
    }

    /// How long the first connection took, and the last.
    pub(crate) fn finished(&self) -> [Duration; 2] {
        [&self.first, &self.last].map(|took| Duration::from_micros(took.load(Ordering::Relaxed)))
    }

    pub(crate) fn spread(&self) -> Spread {
        let served = || self.served.iter().map(|served| served.load(Ordering::Relaxed));
        let (least, most) = (served().min().unwrap_or(0), served().max().unwrap_or(0));
        Spread { least, most, sum: served().sum(), connections: self.served.len() }
    }
}

impl Spread {
    /// The average of a connection.
    pub(crate) fn mean(&self) -> f64 {
        self.sum as f64 / self.connections as f64
    }
}
