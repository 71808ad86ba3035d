//! Owns [`Tombstones`]: the record of streams that both ends have ended, or that this end has reset, so that late
//! frames are told from garbage. `half_open` owns the streams that the peer has not ended.
//!
//! It holds Y-RST-6, and matters more the longer a round trip is: frames sent before a reset arrives come late.

use crate::proto::limits::TOMBSTONES;
use crate::proto::store::id_hash::IdHash;
use crate::wire::StreamId;
use std::collections::{HashMap, VecDeque};

/// The last [`TOMBSTONES`] streams that ended.
#[derive(Debug)]
pub(in crate::proto) struct Tombstones {
    entries: HashMap<StreamId, Tombstone, IdHash>,
    order: VecDeque<StreamId>,
    /// Late frames that may still arrive for streams without a tombstone.
    untracked_late_frames: u32,
    /// Bytes that the peers of those that were forgotten may still send.
    untracked_credit: u64,
}

/// An ended stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Tombstone {
    /// Bytes that the peer could still send.
    credit: u32,
    /// Bytes sent to the peer for which it may still give credit: it does so as it reads them.
    sent: u32,
    /// Other frames without a body that may still arrive.
    late_frames_left: u8,
    /// The peer has sent no frame on it yet: the stream takes a place of Y-ACK-2.
    unacknowledged: bool,
}

/// Frames without a body that an honest peer may send on a stream that has ended here, besides credit for bytes that it
/// still reads: its ACK, FIN or RST, and the growth of its window. A window doubles six times from 256 KiB to 16 MiB;
/// 16 leave as many frames again (Y-RST-6).
const LATE_FRAMES: u8 = 16;

/// The same for a stream that was forgotten, on average: its ACK, credit, and FIN or RST.
const UNTRACKED_LATE_FRAMES: u32 = 4;

/// A body exceeds the credit that an ended stream had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct BeyondCredit(pub(in crate::proto) u32);

impl Tombstone {
    /// A tombstone of a stream on which the peer may still send `credit` bytes, and on which it was sent `sent` bytes.
    pub(in crate::proto) fn new(credit: u32, sent: u64) -> Self {
        Self {
            credit,
            sent: u32::try_from(sent).unwrap_or(u32::MAX),
            late_frames_left: LATE_FRAMES,
            unacknowledged: false,
        }
    }

    /// The peer has not acknowledged the stream.
    pub(in crate::proto) const fn unacknowledged(mut self) -> Self {
        self.unacknowledged = true;
        self
    }

    pub(in crate::proto) const fn is_unacknowledged(&self) -> bool {
        self.unacknowledged
    }

    /// The peer has acknowledged the stream, or its ACK is not waited for any more; returns whether it was still owed.
    pub(in crate::proto) const fn acknowledge(&mut self) -> bool {
        std::mem::replace(&mut self.unacknowledged, false)
    }

    /// Bytes that the peer could still send.
    pub(in crate::proto) const fn credit(&self) -> u32 {
        self.credit
    }

    /// Counts a late body against the credit.
    pub(in crate::proto) fn body(&mut self, len: u32) -> Result<(), BeyondCredit> {
        self.credit = self.credit.checked_sub(len).ok_or(BeyondCredit(self.credit))?;
        Ok(())
    }

    /// Counts a late frame without a body that carries this much credit; returns whether an honest peer may send it.
    pub(in crate::proto) const fn expects(&mut self, credit: u32) -> bool {
        if credit > 0 && credit <= self.sent {
            self.sent = self.sent.saturating_sub(credit);
            return true;
        }
        let expected = self.late_frames_left > 0;
        self.late_frames_left = self.late_frames_left.saturating_sub(1);
        expected
    }
}

impl Tombstones {
    pub(in crate::proto) fn new(id_hash: IdHash) -> Self {
        Self {
            entries: HashMap::with_hasher(id_hash),
            order: VecDeque::new(),
            untracked_late_frames: 0,
            untracked_credit: 0,
        }
    }

    pub(in crate::proto) fn insert(&mut self, id: StreamId, tombstone: Tombstone) {
        if self.entries.insert(id, tombstone).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > TOMBSTONES
            && let Some(oldest) = self.order.pop_front()
        {
            let credit = self.entries.remove(&oldest).map_or(0, |entry| entry.credit());
            self.untracked_credit = self.untracked_credit.saturating_add(credit.into());
            self.untracked_late_frames = self.untracked_late_frames.saturating_add(UNTRACKED_LATE_FRAMES);
        }
    }

    /// This many streams have ended without a tombstone.
    pub(in crate::proto) const fn forget(&mut self, streams: u32) {
        self.untracked_late_frames =
            self.untracked_late_frames.saturating_add(streams.saturating_mul(UNTRACKED_LATE_FRAMES));
    }

    /// Whether a frame for an unknown stream may belong to one that was forgotten.
    pub(in crate::proto) const fn allow_untracked_late_frame(&mut self) -> bool {
        let untracked_late_frames = self.untracked_late_frames > 0;
        self.untracked_late_frames = self.untracked_late_frames.saturating_sub(1);
        untracked_late_frames
    }

    /// The same for a body: the peers of those that were forgotten had so much credit left in all.
    pub(in crate::proto) fn allow_untracked_body(&mut self, len: u32) -> bool {
        let left = self.untracked_credit.checked_sub(len.into());
        self.untracked_credit = left.unwrap_or(self.untracked_credit);
        left.is_some()
    }

    pub(in crate::proto) fn get_mut(&mut self, id: StreamId) -> Option<&mut Tombstone> {
        self.entries.get_mut(&id)
    }

    /// Forgets a stream whose id is opened again; returns whether it had a tombstone.
    pub(in crate::proto) fn remove(&mut self, id: StreamId) -> bool {
        let known = self.entries.remove(&id).is_some();
        if known {
            self.order.retain(|other| *other != id);
        }
        known
    }

    /// Forgets all tombstones.
    pub(in crate::proto) fn release_if_idle(&mut self) {
        self.forget(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        let credit = self.entries.values().fold(0_u64, |sum, entry| sum.saturating_add(entry.credit().into()));
        *self = Self {
            untracked_late_frames: self.untracked_late_frames,
            untracked_credit: self.untracked_credit.saturating_add(credit),
            ..Self::new(*self.entries.hasher())
        };
    }

    pub(in crate::proto) fn clear(&mut self) {
        *self = Self::new(*self.entries.hasher());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut tombstones = Tombstones::new(IdHash::new(5));
        let id = |n: usize| StreamId::new(n as u32).expect("not zero");
        let entry = Tombstone::new(1, 0);
        for n in 1..=TOMBSTONES + 10 {
            tombstones.insert(id(n), entry);
        }
        assert_eq!((tombstones.order.len(), tombstones.entries.len()), (TOMBSTONES, TOMBSTONES));
        assert_eq!(tombstones.get_mut(id(10)), None);
        assert!(tombstones.get_mut(id(11)).is_some());
        tombstones.remove(id(11));
        assert_eq!(tombstones.get_mut(id(11)), None);
        assert_eq!((tombstones.order.len(), tombstones.entries.len()), (TOMBSTONES - 1, TOMBSTONES - 1));
        let untracked_late_frames = std::iter::repeat_with(|| tombstones.allow_untracked_late_frame())
            .take_while(|allow_untracked_late_frame| *allow_untracked_late_frame)
            .count();
        assert_eq!(untracked_late_frames, 10 * UNTRACKED_LATE_FRAMES as usize);
    }

    #[test]
    fn y_limit_1_the_credit_of_forgotten_streams_is_remembered_in_all() {
        let mut tombstones = Tombstones::new(IdHash::new(5));
        for n in 1..=TOMBSTONES as u32 + 10 {
            tombstones.insert(StreamId::new(n).expect("not zero"), Tombstone::new(n, 0));
        }
        // The first ten, 55 bytes of credit.
        assert_eq!([50, 6, 5, 1].map(|len| tombstones.allow_untracked_body(len)), [true, false, true, false]);
        tombstones.release_if_idle();
        let rest: u32 = (11..=TOMBSTONES as u32 + 10).sum();
        assert_eq!([rest + 1, rest, 1].map(|len| tombstones.allow_untracked_body(len)), [false, true, false]);
    }

    #[test]
    fn a_tombstone_takes_what_there_was_credit_for_and_its_patience_ends() {
        let mut tombstone = Tombstone::new(10, 0);
        assert_eq!([4, 5].map(|len| tombstone.body(len)), [Ok(()), Ok(())]);
        assert_eq!(tombstone.body(2), Err(BeyondCredit(1)));
        let expected = std::iter::repeat_with(|| tombstone.expects(0)).take_while(|expects| *expects).count();
        assert_eq!(expected, usize::from(LATE_FRAMES));
    }

    #[test]
    fn credit_is_expected_for_what_was_sent_in_pieces_of_any_size() {
        let mut tombstone = Tombstone::new(0, 1_000);
        let expected = std::iter::repeat_with(|| tombstone.expects(3)).take(1_000).filter(|expects| *expects).count();
        assert_eq!(expected, 333 + usize::from(LATE_FRAMES));
        let mut tombstone = Tombstone::new(0, u64::MAX);
        assert!(tombstone.expects(u32::MAX));
    }
}
