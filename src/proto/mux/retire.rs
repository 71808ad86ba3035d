//! Owns when a connection ends because it can open no stream any more: its ids are used up, or the peer takes none.
//!
//! It lives on with the streams that are open. Where somebody waits for one that it will never open, a connection that still
//! has streams is a dead end: after a while it closes, so that another one can take its place.

use crate::proto::mux::Mux;
use web_time::Instant;

impl Mux {
    /// A stream is wanted, and there is no id for it: the peer is told that this connection ends with its streams
    /// (Y-AWAY-4).
    pub(crate) fn retire(&mut self) {
        if self.next_id.is_none() && self.lifecycle_is_open() && !std::mem::replace(&mut self.ends.retiring, true) {
            self.go_away();
            self.close_if_drained();
        }
    }

    /// Somebody waits for a stream that will never be opened. That may go on for `drain_timeout` (Y-AWAY-5).
    #[cfg(any(feature = "libp2p", test))]
    pub(crate) fn wait_for_end(&mut self, now: Instant) {
        let never = self.remote_away || self.next_id.is_none();
        if never
            && self.lifecycle_is_open()
            && self.ends.overdue.is_none()
            && let Some(at) = self.config.drain_timeout().and_then(|timeout| now.checked_add(timeout))
        {
            self.ends.overdue = Some(at);
            self.events.outlook = true;
        }
    }

    /// Closes when somebody has waited for so long.
    pub(super) fn close_if_overdue(&mut self, now: Instant) {
        if self.ends.overdue.is_some_and(|at| now >= at) {
            self.ends.overdue = None;
            self.close_drained();
        }
    }
}
