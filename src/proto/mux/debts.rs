//! Owns what comes of debts: when writing goes before reading, and when a peer that takes nothing was waited for long enough
//! (Y-LIMIT-4). How much is owed is `control`'s to say.

use crate::proto::mux::Mux;
use web_time::Instant;

impl Mux {
    /// Whether what is owed has to be written before more of what was read is applied.
    pub(crate) fn must_write(&self) -> bool {
        self.control.must_write()
    }

    /// The transport takes nothing of what is to be written.
    pub(crate) fn transport_is_full(&mut self, now: Instant) {
        self.transport_stalls(now);
        self.control.transport_is_full(now);
    }

    /// The transport takes nothing ever again: what is owed is forgotten.
    pub(crate) fn forget_debts(&mut self) {
        self.control.mute();
    }

    /// Ends the connection where a peer has made this end owe more than it may, and has taken nothing for too long.
    pub(super) fn call_in_debts(&mut self, now: Instant) {
        if let Some(violation) = self.control.overdue(self.config.connection_write_timeout(), now) {
            self.violated(violation);
        }
    }

    /// When that will be.
    pub(super) fn debts_due(&self) -> Option<Instant> {
        self.control.overdue_at(self.config.connection_write_timeout())
    }
}
