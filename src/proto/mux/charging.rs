//! Verbs of [`Mux`] for the memory of received bytes where bytes are reserved as they arrive, and not with the window
//! (`ReceiveCharge::Buffered`).
//!
//! Memory is reserved ahead of the bytes of one read, so that the memory manager is asked once a read and not once a
//! frame. Each buffered chunk is charged to its stream, and is given back as the application reads. No buffer ever
//! holds a byte that is not reserved (Y-MEM-9).

use super::{Lifecycle, Mux};
use crate::memory::Reservation;
use crate::proto::events::notes::Note;
use crate::proto::key::Key;
use crate::proto::stream::{Owed, ReceiveEvent, ResetBy, ResetCause};
use crate::stats::count;
use web_time::Instant;

impl Mux {
    /// Bytes that have to be reserved before the next `len` bytes of the present body can be buffered. The shell
    /// answers with [`Mux::provide`]; otherwise these bytes end their stream.
    pub(crate) fn lacks(&self, len: usize) -> Option<usize> {
        if !self.charge_policy().is_as_used() || len == 0 {
            return None;
        }
        let needed = self.store.get(self.receiver()?)?.allocation(len);
        let ahead = self.ahead.as_ref().map_or(0, Reservation::bytes);
        needed.checked_sub(ahead).filter(|lacking| *lacking > 0)
    }

    /// Takes the reservation for the bytes that [`Mux::lacks`] has returned, or for more.
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

    /// The bytes of one read have been applied, or as many as a poll may: the rest of the reservation ahead is given
    /// back.
    pub(crate) fn handle_applied(&mut self) {
        self.events.released.extend(self.ahead.take());
    }

    /// Charges a stream for the next `len` bytes of its body; `false` if no memory is reserved for them.
    pub(super) fn charge(&mut self, key: Key, len: usize) -> bool {
        if !self.charge_policy().is_as_used() {
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
        self.levels.reserve(stream.priority, needed);
        true
    }

    /// There is no memory for the bytes that arrive on a stream: it ends, and the peer is told. Bytes that arrived
    /// before are kept for the application (Y-MEM-11).
    pub(super) fn end_out_of_memory(&mut self, key: Key, now: Instant) {
        let code = self.config.refusal_code();
        let Some(stream) = self.store.get(key) else { return };
        self.events.notes.debug(|| Note::OutOfMemory { stream: stream.id, code });
        count(&mut self.counters.resets.out_of_memory);
        if self.leave_backlog(key) {
            self.end_with_reset(key, code, now);
            return;
        }
        let Some(mut view) = self.view(key) else { return };
        view.stream.receive.state = view.stream.receive.state.on(ReceiveEvent::RemoteReset);
        view.stream.owed = Owed { syn: false, reset: true };
        view.release_window_memory();
        self.end_halves(key, ResetCause { by: ResetBy::OutOfMemory, code }, now);
    }
}
