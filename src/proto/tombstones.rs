//! Owns [`Tombstones`]: what is remembered of streams that are over for both ends, or of which the peer was told with a reset,
//! so that late frames are told from garbage. Those that the peer has not ended are `half_open`'s.

use super::limits::TOMBSTONES;
use super::spread::Spread;
use crate::wire::StreamId;
use std::collections::{HashMap, VecDeque};

/// The last [`TOMBSTONES`] streams that ended.
#[derive(Debug)]
pub(super) struct Tombstones {
    graves: HashMap<StreamId, Tombstone, Spread>,
    order: VecDeque<StreamId>,
    /// Late frames that streams which were forgotten may still cause.
    forgiven: u32,
}

/// An ended stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tombstone {
    /// Bytes that the peer could still send.
    credit: u32,
    /// Bytes that the peer has been sent, and may still give credit for: it gives it as it reads them.
    sent: u32,
    /// Other frames without a body that are still expected.
    patience: u8,
    /// The peer has sent nothing on it yet: the stream takes a place of Y-ACK-2.
    unacknowledged: bool,
}

/// Frames without a body that an honest peer may send on a stream that has ended here, credit for what it still reads not
/// counted: its ACK, FIN or RST, and what its window grows by.
const PATIENCE: u8 = 16;

/// The same for a stream that was forgotten, on average: its ACK, credit, and FIN or RST.
const FORGIVEN: u32 = 4;

/// A body passes the credit that an ended stream had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BeyondCredit(pub(super) u32);

impl Tombstone {
    /// Of a stream on which the peer may still send `credit` bytes, and `sent` have been sent to it.
    pub(super) fn new(credit: u32, sent: u64) -> Self {
        Self { credit, sent: u32::try_from(sent).unwrap_or(u32::MAX), patience: PATIENCE, unacknowledged: false }
    }

    /// The peer has not acknowledged the stream.
    pub(super) const fn unacknowledged(mut self) -> Self {
        self.unacknowledged = true;
        self
    }

    pub(super) const fn is_unacknowledged(&self) -> bool {
        self.unacknowledged
    }

    /// The peer has acknowledged the stream, or is not waited for any more; says whether it was.
    pub(super) const fn acknowledge(&mut self) -> bool {
        std::mem::replace(&mut self.unacknowledged, false)
    }

    /// Bytes that the peer could still send.
    pub(super) const fn credit(&self) -> u32 {
        self.credit
    }

    /// Takes a body in.
    pub(super) fn body(&mut self, len: u32) -> Result<(), BeyondCredit> {
        self.credit = self.credit.checked_sub(len).ok_or(BeyondCredit(self.credit))?;
        Ok(())
    }

    /// Takes a frame without a body in, with this much credit; says whether it was to be expected.
    pub(super) const fn expects(&mut self, credit: u32) -> bool {
        if credit > 0 && credit <= self.sent {
            self.sent = self.sent.saturating_sub(credit);
            return true;
        }
        let expected = self.patience > 0;
        self.patience = self.patience.saturating_sub(1);
        expected
    }
}

impl Tombstones {
    pub(super) fn new(spread: Spread) -> Self {
        Self { graves: HashMap::with_hasher(spread), order: VecDeque::new(), forgiven: 0 }
    }

    pub(super) fn insert(&mut self, id: StreamId, tombstone: Tombstone) {
        if self.graves.insert(id, tombstone).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > TOMBSTONES
            && let Some(oldest) = self.order.pop_front()
        {
            self.graves.remove(&oldest);
            self.forgiven = self.forgiven.saturating_add(FORGIVEN);
        }
    }

    /// So many streams have ended and are not remembered.
    pub(super) const fn forget(&mut self, streams: u32) {
        self.forgiven = self.forgiven.saturating_add(streams.saturating_mul(FORGIVEN));
    }

    /// Whether a frame for a stream that nothing is known of may belong to one that was forgotten.
    pub(super) const fn forgives(&mut self) -> bool {
        let forgiven = self.forgiven > 0;
        self.forgiven = self.forgiven.saturating_sub(1);
        forgiven
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Tombstone> {
        self.graves.get_mut(&id)
    }

    /// Forgets a stream whose id is being opened anew; says whether it was known.
    pub(super) fn remove(&mut self, id: StreamId) -> bool {
        let known = self.graves.remove(&id).is_some();
        if known {
            self.order.retain(|other| *other != id);
        }
        known
    }

    /// Forgets them all.
    pub(super) fn rest(&mut self) {
        self.forget(u32::try_from(self.graves.len()).unwrap_or(u32::MAX));
        *self = Self { forgiven: self.forgiven, ..Self::new(*self.graves.hasher()) };
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(*self.graves.hasher());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut tombstones = Tombstones::new(Spread::new(5));
        let id = |n: usize| StreamId::new(n as u32).expect("not zero");
        let grave = Tombstone::new(1, 0);
        for n in 1..=TOMBSTONES + 10 {
            tombstones.insert(id(n), grave);
        }
        assert_eq!((tombstones.order.len(), tombstones.graves.len()), (TOMBSTONES, TOMBSTONES));
        assert_eq!(tombstones.get_mut(id(10)), None);
        assert!(tombstones.get_mut(id(11)).is_some());
        tombstones.remove(id(11));
        assert_eq!(tombstones.get_mut(id(11)), None);
        assert_eq!((tombstones.order.len(), tombstones.graves.len()), (TOMBSTONES - 1, TOMBSTONES - 1));
        let forgiven = std::iter::repeat_with(|| tombstones.forgives()).take_while(|forgives| *forgives).count();
        assert_eq!(forgiven, 10 * FORGIVEN as usize);
    }

    #[test]
    fn a_tombstone_takes_what_there_was_credit_for_and_its_patience_ends() {
        let mut tombstone = Tombstone::new(10, 0);
        assert_eq!([4, 5].map(|len| tombstone.body(len)), [Ok(()), Ok(())]);
        assert_eq!(tombstone.body(2), Err(BeyondCredit(1)));
        let expected = std::iter::repeat_with(|| tombstone.expects(0)).take_while(|expects| *expects).count();
        assert_eq!(expected, usize::from(PATIENCE));
    }

    #[test]
    fn credit_is_expected_for_what_was_sent_in_pieces_of_any_size() {
        let mut tombstone = Tombstone::new(0, 1_000);
        let expected = std::iter::repeat_with(|| tombstone.expects(3)).take(1_000).filter(|expects| *expects).count();
        assert_eq!(expected, 333 + usize::from(PATIENCE));
        let mut tombstone = Tombstone::new(0, u64::MAX);
        assert!(tombstone.expects(u32::MAX));
    }
}
