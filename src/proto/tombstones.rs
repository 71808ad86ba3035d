//! Owns [`Tombstones`]: what is remembered of streams that have ended, so that late frames are told from garbage.

use super::limits::TOMBSTONES;
use super::store::Spread;
use crate::wire::StreamId;
use nohash_hasher::IntMap;
use std::collections::VecDeque;

/// The last [`TOMBSTONES`] streams that ended.
#[derive(Debug)]
pub(super) struct Tombstones {
    spread: Spread,
    graves: IntMap<u64, Tombstone>,
    order: VecDeque<u64>,
}

/// An ended stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tombstone {
    /// Bytes that the peer could still send.
    pub(super) credit: u32,
    pub(super) answer: Answer,
}

/// What data for an ended stream is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// One reset: the peer still writes and nobody will read it (Y-RST-7).
    Reset,
    /// Nothing: the peer knows.
    Silence,
}

impl Tombstones {
    pub(super) fn new(spread: Spread) -> Self {
        Self { spread, graves: IntMap::default(), order: VecDeque::new() }
    }

    pub(super) fn insert(&mut self, id: StreamId, tombstone: Tombstone) {
        let id = self.spread.of(id);
        if self.graves.insert(id, tombstone).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > TOMBSTONES
            && let Some(oldest) = self.order.pop_front()
        {
            self.graves.remove(&oldest);
        }
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Tombstone> {
        self.graves.get_mut(&self.spread.of(id))
    }

    /// Forgets a stream whose id is being opened anew.
    pub(super) fn remove(&mut self, id: StreamId) {
        let id = self.spread.of(id);
        if self.graves.remove(&id).is_some() {
            self.order.retain(|other| *other != id);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.spread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut tombstones = Tombstones::new(Spread::new(5));
        let id = |n: usize| StreamId::new(n as u32).expect("not zero");
        let grave = Tombstone { credit: 1, answer: Answer::Silence };
        for n in 1..=TOMBSTONES + 10 {
            tombstones.insert(id(n), grave);
        }
        assert_eq!((tombstones.order.len(), tombstones.graves.len()), (TOMBSTONES, TOMBSTONES));
        assert_eq!(tombstones.get_mut(id(10)), None);
        assert!(tombstones.get_mut(id(11)).is_some());
        tombstones.remove(id(11));
        assert_eq!(tombstones.get_mut(id(11)), None);
        assert_eq!((tombstones.order.len(), tombstones.graves.len()), (TOMBSTONES - 1, TOMBSTONES - 1));
    }
}
