//! Verbs of [`Mux`] for frames of streams that have ended at this end, and for the reset that is sent when the peer goes
//! on sending and no application reads.
//!
//! `peer::half_open` and `peer::tombstones` own the records.

use super::Mux;
use super::inbound::Progress;
use super::view::Trace;
use crate::error::Violation;
use crate::proto::key::Key;
use crate::proto::peer::tombstones::Tombstone;
use crate::proto::stream::{Body, ReceiveEvent, ResetBy, ResetCause, SendEvent, Target};
use crate::stats::{add, count};
use crate::wire::{Flags, Header, StreamId};
use web_time::Instant;

impl Mux {
    /// Records a stream that leaves the wire. The rest of a body that is arriving still belongs to a half-open stream
    /// (Y-DROP-5).
    pub(super) fn remember(&mut self, key: Key, trace: Trace, now: Instant) {
        let arriving = self.receiver() == Some(key);
        let Some(stream) = self.store.get(key) else { return };
        let (id, tombstone) = (stream.id, Tombstone::new(stream.receive.window.credit(), stream.sent.data_bytes()));
        let unacknowledged = stream.handshake.is_unacknowledged();
        match trace {
            Trace::None => {}
            // Y-RST-6.
            Trace::Over => self.tombstones.insert(id, tombstone),
            Trace::HalfOpen => {
                if let Some(body) = self.body.as_mut().filter(|_| arriving) {
                    body.target = Target::HalfOpen(id);
                    let left = body.left;
                    // The rest of the body is not unread: no reader waits for it.
                    if let Some(stream) = self.store.get_mut(key) {
                        stream.receive.window.consume(left, now);
                    }
                }
                let before = self.half_open.poll_timeout();
                // Y-ACK-4: the peer may not have accepted the stream yet, and would refuse streams beyond its backlog.
                let tombstone = if unacknowledged { tombstone.unacknowledged() } else { tombstone };
                self.half_open.insert(id, tombstone, arriving, now);
                // Y-DROP-3: a sleeping driver must set its timer for this reset.
                self.events.outlook |= self.half_open.poll_timeout() != before;
                // Y-DROP-4.
                let (forgotten, told) = self.half_open.evicted();
                self.events.openable |= forgotten > 0 || !told.is_empty();
                self.tombstones.forget(forgotten);
                self.told(told);
            }
        }
    }

    /// Forgets a stream whose id is being opened anew.
    pub(super) fn forget(&mut self, id: StreamId) {
        self.half_open.remove(id);
        if self.tombstones.remove(id) {
            // Every stream that a reset may be owed for has a tombstone.
            self.half_open.cancel_reset(id);
            self.control.cancel_reset(id);
        }
    }

    /// Resets the half-open streams whose peers have waited for credit for too long (Y-DROP-3), and frees places that
    /// were taken for too long (Y-ACK-4).
    pub(super) fn end_late(&mut self, now: Instant) {
        self.events.openable |= self.half_open.free_places(now);
        let expired = self.half_open.expired(now);
        self.told(expired);
    }

    /// A reset is owed for each of these streams, and nothing more after it (Y-RST-7).
    fn told(&mut self, streams: Vec<(StreamId, Tombstone)>) {
        if streams.is_empty() {
            return;
        }
        add(&mut self.counters.resets.dropped, streams.len() as u64);
        streams.into_iter().for_each(|(id, tombstone)| self.tombstones.insert(id, tombstone));
        self.events.attention = true;
    }

    /// The next reset of a stream that has left the wire.
    pub(super) fn next_late_reset(&mut self) -> Option<Header> {
        let id = self.half_open.next_reset()?;
        Some(Header::WindowUpdate { id, flags: Flags::RST, value: 0 })
    }

    /// A reset leaves in place of the FIN of a stream that no application holds.
    pub(super) fn end_in_reset(&mut self, key: Key) {
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.reset.get_or_insert(ResetCause { by: ResetBy::Local, code: 0 });
        stream.send.state = stream.send.state.on(SendEvent::Reset);
        stream.receive.state = stream.receive.state.on(ReceiveEvent::LocalReset);
        stream.updates.sent();
        count(&mut self.counters.resets.dropped);
    }

    /// Credit, FIN or RST without a body, for a stream that has ended here or never existed.
    pub(super) fn on_late_update(&mut self, id: StreamId, flags: Flags, credit: u32, now: Instant) -> Progress {
        let reset = flags.contains(Flags::RST);
        // The value of a reset is a code.
        let credit = if reset { 0 } else { credit };
        self.events.openable |= self.half_open.acknowledged(id, now);
        let expected = if let Some(tombstone) = self.half_open.get_mut(id) {
            let expected = tombstone.expects(credit);
            if reset || flags.contains(Flags::FIN) {
                self.end_half_open(id);
            }
            expected
        } else {
            match self.tombstones.get_mut(id) {
                // Y-RST-6: peers give credit for, finish and reset streams that have ended.
                Some(tombstone) => tombstone.expects(credit),
                None => self.tombstones.allow_untracked_late_frame(),
            }
        };
        if expected { Progress::Stray } else { Progress::Useless }
    }

    /// Data for a stream that has ended here or never existed (Y-DATA-1, Y-RST-6, Y-DROP-2).
    pub(super) fn on_late_data(
        &mut self,
        id: StreamId,
        flags: Flags,
        len: u32,
        now: Instant,
    ) -> Result<Progress, Violation> {
        let beyond = |credit| Violation::WindowExceeded { stream: id.value(), len, credit };
        self.body = Some(Body { target: Target::Discard, left: len, fin: false });
        if len > self.largest_window {
            return Err(beyond(0));
        }
        if len == 0 {
            return Ok(self.on_late_update(id, flags, 0, now));
        }
        self.events.openable |= self.half_open.acknowledged(id, now);
        if let Some(tombstone) = self.half_open.get_mut(id) {
            tombstone.body(len).map_err(|left| beyond(left.0))?;
            if flags.contains(Flags::RST) {
                self.end_half_open(id);
            } else {
                self.half_open.arrives(id);
                let fin = flags.contains(Flags::FIN);
                self.body = Some(Body { target: Target::HalfOpen(id), left: len, fin });
            }
            return Ok(Progress::Stray);
        }
        let Some(tombstone) = self.tombstones.get_mut(id) else {
            let ends = flags.contains(Flags::FIN) || flags.contains(Flags::RST);
            if !ends && self.half_open.resets_forgotten(id) {
                // Y-DROP-4: its credit is forgotten as well.
                self.told(vec![(id, Tombstone::new(self.largest_window.saturating_sub(len), 0))]);
                return Ok(Progress::Stray);
            }
            if self.tombstones.allow_untracked_body(len) {
                return Ok(Progress::Stray);
            }
            return Ok(self.on_late_update(id, flags, 0, now));
        };
        tombstone.body(len).map_err(|left| beyond(left.0))?;
        Ok(Progress::Stray)
    }

    /// A body of a half-open stream is complete, and its FIN may end the peer's half.
    pub(super) fn finish_late_body(&mut self, id: StreamId, fin: bool, now: Instant) {
        if fin {
            self.end_half_open(id);
        } else {
            self.half_open.arrived(id, now);
        }
    }

    /// The peer has ended its half of a half-open stream: no reset is owed.
    fn end_half_open(&mut self, id: StreamId) {
        if let Some(tombstone) = self.half_open.remove(id) {
            self.tombstones.insert(id, tombstone);
        }
    }
}
