//! Owns when a connection is at rest, and what it gives back then: storage that only one that moves has a use for.
//!
//! A connection that moves keeps its empty collections, so that nothing is allocated for each frame; here is where they
//! go when it has stopped.

use super::Mux;
use crate::proto::limits::{REST_AFTER, REST_ROUND_TRIPS};
use std::collections::VecDeque;
use std::time::Duration;
use web_time::Instant;

impl Mux {
    /// Bytes came from the peer: it is alive.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.liveness.heard(now);
        self.moved(now);
        self.tick(now);
    }

    /// Something has crossed, one way or the other.
    pub(super) const fn moved(&mut self, now: Instant) {
        self.moved = Some(now);
    }

    /// Whether nothing has crossed for a while, and whoever keeps storage to be used again is to give it back.
    pub(crate) const fn is_at_rest(&self) -> bool {
        self.moved.is_none()
    }

    /// When it will be at rest, unless something crosses before.
    pub(super) fn rests_at(&self) -> Option<Instant> {
        self.moved.and_then(|moved| moved.checked_add(REST_AFTER))
    }

    pub(super) fn rest_if_quiet(&mut self, now: Instant) {
        if self.rests_at().is_some_and(|at| now >= at) {
            self.moved = None;
            self.rest();
        }
    }

    /// Gives back what holds nothing.
    fn rest(&mut self) {
        self.urgency.release_if_idle();
        self.store.rest();
        self.shelf.clear();
        self.control.rest();
        self.half_open.rest();
        self.rest_windows();
        // What a peer has sent before it knew of an end has arrived by now.
        let quick = |rtt: Duration| REST_AFTER >= rtt.saturating_mul(REST_ROUND_TRIPS);
        if self.liveness.rtt.latest().is_some_and(quick) {
            self.tombstones.rest();
        }
        if self.incoming.is_empty() {
            self.incoming = VecDeque::new();
        }
        if self.events.ready.is_empty() {
            self.events.ready = Vec::new();
        }
    }
}
