//! Verbs of [`Mux`] for an idle connection: it gives back storage that only an active one uses.
//!
//! An active connection keeps its empty collections, so that no frame costs an allocation. Never drops a collection
//! that holds a byte, a frame or a stream.

use super::Mux;
use crate::proto::limits::{IDLE_AFTER, IDLE_ROUND_TRIPS};
use std::collections::VecDeque;
use std::time::Duration;
use web_time::Instant;

impl Mux {
    /// Bytes have arrived: the peer is alive.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.pinger.heard(now);
        let now = self.advance(now);
        self.moved(now);
        self.update_pacer(now);
    }

    /// A byte has crossed, in either direction.
    pub(super) const fn moved(&mut self, now: Instant) {
        self.moved = Some(now);
    }

    /// Whether the connection is idle. Other owners of spare storage give it back then.
    pub(crate) const fn is_idle(&self) -> bool {
        self.moved.is_none()
    }

    /// When the connection becomes idle, unless a byte crosses before.
    pub(super) fn idle_at(&self) -> Option<Instant> {
        self.moved.and_then(|moved| moved.checked_add(IDLE_AFTER))
    }

    pub(super) fn release_if_quiet(&mut self, now: Instant) {
        if self.idle_at().is_some_and(|at| now >= at) {
            self.moved = None;
            self.release_if_idle();
        }
    }

    /// Frees the storage of empty collections.
    fn release_if_idle(&mut self) {
        self.pacer.release_if_idle();
        self.schedule.release_if_idle();
        self.inflow.stop();
        self.store.release_all_idle();
        self.chunk_lists.clear();
        self.control.release_if_idle();
        self.half_open.release_if_idle();
        self.release_idle_windows();
        // Frames that the peer sent before it knew of a stream's end have arrived by now.
        let quick = |rtt: Duration| IDLE_AFTER >= rtt.saturating_mul(IDLE_ROUND_TRIPS);
        if self.pinger.rtt.latest().is_some_and(quick) {
            self.tombstones.release_if_idle();
        }
        if self.incoming.is_empty() {
            self.incoming = VecDeque::new();
        }
        if self.events.ready.is_empty() {
            self.events.ready = Vec::new();
        }
    }
}
