//! Counters of a run.

use crate::link::Kill;
use crate::transfer::Manner;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    done: AtomicU64,
    reset: AtomicU64,
    dropped: AtomicU64,
    answered: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
    cut: AtomicU64,
    ends_dropped: AtomicU64,
    closed: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Transfers that ended as planned, as seen by the end that opened the stream; of these, those that were
    /// reset and those that were dropped.
    pub(crate) done: u64,
    pub(crate) reset: u64,
    pub(crate) dropped: u64,
    /// The same as seen by the accepting end, and the bytes compared at both ends.
    pub(crate) answered: u64,
    pub(crate) bytes: u64,
    /// Streams for which there was no memory.
    pub(crate) refused: u64,
    /// Transfers that ended with a connection that was killed.
    pub(crate) lost: u64,
    /// Killed connections: socket shut, dropped by one end, closed by one end.
    pub(crate) cut: u64,
    pub(crate) ends_dropped: u64,
    pub(crate) closed: u64,
}

impl Counts {
    pub(crate) const fn kills(&self) -> u64 {
        self.cut + self.ends_dropped + self.closed
    }
}

impl Tally {
    pub(crate) fn done(&self, manner: Manner) {
        add(&self.done, 1);
        match manner {
            Manner::Whole => {}
            Manner::ResetByOpener | Manner::ResetByAcceptor => add(&self.reset, 1),
            Manner::DroppedByOpener | Manner::DroppedByAcceptor => add(&self.dropped, 1),
        }
    }

    pub(crate) fn answered(&self, bytes: u64) {
        add(&self.answered, 1);
        add(&self.bytes, bytes);
    }

    pub(crate) fn refused(&self) {
        add(&self.refused, 1);
    }

    pub(crate) fn lost(&self) {
        add(&self.lost, 1);
    }

    pub(crate) fn killed(&self, how: Kill) {
        match how {
            Kill::Cut => add(&self.cut, 1),
            Kill::Drop(_) => add(&self.ends_dropped, 1),
            Kill::Close(_) => add(&self.closed, 1),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            done: of(&self.done),
            reset: of(&self.reset),
            dropped: of(&self.dropped),
            answered: of(&self.answered),
            bytes: of(&self.bytes),
            refused: of(&self.refused),
            lost: of(&self.lost),
            cut: of(&self.cut),
            ends_dropped: of(&self.ends_dropped),
            closed: of(&self.closed),
        }
    }
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}
