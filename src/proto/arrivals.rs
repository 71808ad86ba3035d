//! Owns the memory of what arrives, where that is charged as it is used and not as it was promised.
//!
//! While what was read is applied, some is reserved ahead of it, so that the memory manager is asked about once a read and
//! not once a frame. What is kept for a stream is charged to it, chunk by chunk, and given back as it is read; there never
//! is a byte in a buffer that nothing is reserved for (Y-MEM-9).

use super::limits::STREAM_BOOKS;
use super::mux::{Lifecycle, Mux};
use super::notes::Note;
use super::spares::CHUNK;
use super::store::Key;
use super::stream::{Owed, ReceiveEvent, ResetBy, ResetCause};
use crate::config::ReceiveCharge;
use crate::memory::Reservation;
use crate::stats::count;

impl Mux {
    /// Bytes that have to be reserved before the next `len` bytes of the body under way can be kept. Answered with
    /// [`Mux::provide`]; without that they end their stream.
    pub(crate) fn lacks(&self, len: usize) -> Option<usize> {
        if self.config.receive_charge() == ReceiveCharge::Window || len == 0 {
            return None;
        }
        let needed = self.store.get(self.receiver()?)?.allocation(len);
        let ahead = self.ahead.as_ref().map_or(0, Reservation::bytes);
        needed.checked_sub(ahead).filter(|lacking| *lacking > 0)
    }

    /// Takes in what was reserved for what [`Mux::lacks`] has said, or more.
    pub(crate) fn provide(&mut self, granted: Reservation) {
        if matches!(self.lifecycle, Lifecycle::Closed(_)) {
            self.events.released.push(granted);
            return;
        }
        match &mut self.ahead {
            Some(own) => own.merge(granted),
            None => self.ahead = Some(granted),
        }
    }

    /// All that was read has been applied, or as much of it as a poll may: what was reserved ahead is given back.
    pub(crate) fn handle_applied(&mut self) {
        self.events.released.extend(self.ahead.take());
    }

    /// Charges a stream for the next `len` bytes of its body; `false` where nothing is reserved for them.
    pub(super) fn charge(&mut self, key: Key, len: usize) -> bool {
        if self.config.receive_charge() == ReceiveCharge::Window {
            return true;
        }
        let Some(stream) = self.store.get_mut(key) else { return true };
        let needed = stream.allocation(len);
        if needed == 0 {
            return true;
        }
        let (Some(ahead), Some(own)) = (&mut self.ahead, &mut stream.reservation) else { return false };
        if ahead.bytes() < needed {
            return false;
        }
        ahead.move_to(own, needed);
        self.ledger.reserved(stream.priority, needed);
        true
    }

    /// Bytes of a stream have been read: gives back what is not needed for the rest of them.
    pub(super) fn discharge(&mut self, key: Key) {
        if self.config.receive_charge() == ReceiveCharge::Window {
            return;
        }
        let arriving = self.arriving(key);
        let Some(stream) = self.store.get_mut(key) else { return };
        let needed = needed_for(stream.receive.window.held().saturating_sub(arriving) as usize);
        let Some(own) = &mut stream.reservation else { return };
        let excess = own.bytes().saturating_sub(STREAM_BOOKS).saturating_sub(needed);
        if excess == 0 {
            return;
        }
        self.events.released.push(own.split(excess));
        self.ledger.released(stream.priority, excess);
    }

    /// There is no memory for what arrives on a stream: it ends, and the peer is told. What arrived before is kept for
    /// the application (Y-MEM-11).
    pub(super) fn overrun(&mut self, key: Key) {
        let code = self.config.refusal_code();
        let Some(stream) = self.store.get(key) else { return };
        self.events.notes.debug(|| Note::OutOfMemory { stream: stream.id, code });
        count(&mut self.ledger.resets.out_of_memory);
        if self.leave_backlog(key) {
            self.end_with_reset(key, code);
            return;
        }
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.receive.state = stream.receive.state.on(ReceiveEvent::RemoteReset);
        stream.owed = Owed { syn: false, reset: true };
        self.take_stock(key);
        self.end_halves(key, ResetCause { by: ResetBy::Overrun, code });
    }
}

/// The most that chunks take in which there are `held` unread bytes. Of the first, most may have been read; the last one
/// that the reader has taken and the last one that arrives may be nearly empty. The others are full.
pub(super) const fn needed_for(held: usize) -> usize {
    if held == 0 { 0 } else { held.saturating_add(3 * CHUNK) }
}
