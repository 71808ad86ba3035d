//! Verbs of [`Mux`] that count, and that assemble the figures of a connection and of a stream.
//!
//! `counters` owns the counts. Never changes what a stream or the connection does.

use super::Mux;
use crate::memory::Reservation;
use crate::proto::counters::stall::Cause;
use crate::proto::counters::{Counters, traffic};
use crate::proto::key::Key;
use crate::proto::stream::{ResetBy, ResetCause};
use crate::stats::{ConnectionStats, ReservedBytes, StreamCounts, StreamStats, count};
use web_time::Instant;

impl Mux {
    /// Advances the clock of waits to `now`: no sum that was reported ever falls.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.pinger.rtt.clock_shows(now.saturating_duration_since(self.counters.latest()));
        self.counters.tick(now);
    }

    /// The figures of the connection. Costs the same however many streams there are.
    pub(crate) fn stats(&mut self, now: Instant) -> ConnectionStats {
        self.tick(now);
        let now = self.counters.latest();
        let Counters { sent, received, useless_frames, resets, refusals, opened, accepted, .. } = &self.counters;
        ConnectionStats {
            streams: StreamCounts {
                open: self.store.live() as u64,
                unaccepted: self.incoming.len() as u64,
                unacknowledged: self.awaiting_ack() as u64,
                opened: *opened,
                accepted: *accepted,
            },
            sent: *sent,
            received: *received,
            useless_frames: *useless_frames,
            largest_window: self.largest_window,
            stalled: self.counters.stalled(now),
            transport_stalled: self.counters.transport_stalled(now),
            rtt: self.pinger.rtt.latest(),
            min_rtt: self.pinger.rtt.minimum(),
            resets: *resets,
            refusals: *refusals,
            reserved: ReservedBytes { send_buffers: self.send_pool.reserved(), ..self.counters.windows() },
        }
    }

    /// The figures of a stream.
    pub(crate) fn stream_stats(&mut self, key: Key, now: Instant) -> Option<StreamStats> {
        self.tick(now);
        let now = self.counters.latest();
        let arriving = self.arriving(key);
        let stream = self.store.get(key)?;
        let (send, receive) = (&stream.send, &stream.receive);
        Some(StreamStats {
            priority: stream.priority,
            sent: traffic(stream.sent, stream.updates.sent),
            received: traffic(stream.received, stream.updates.received),
            unsent: stream.active().unsent.len(),
            // This end has dropped the bytes of a stream that it has reset.
            unread: match stream.reset {
                Some(ResetCause { by: ResetBy::Local, .. }) => 0,
                _ => receive.window.held().saturating_sub(arriving),
            },
            receive_window: receive.window.size(),
            largest_receive_window: receive.window.largest(),
            send_window: send.window.available(),
            largest_send_window: send.window.largest(),
            stalled: stream.stall.so_far(now),
            reserved: stream.reservation.as_ref().map_or(0, Reservation::bytes),
        })
    }

    /// A writer starts to wait, for this cause.
    pub(in crate::proto) fn begin_stall(&mut self, key: Key, cause: Cause) {
        if let Some(stream) = self.store.get_mut(key) {
            self.counters.begin_stall(&mut stream.stall, cause);
        }
    }

    /// The writer of a stream waits no longer, or need not.
    pub(in crate::proto) fn end_stall(&mut self, key: Key) {
        if let Some(stream) = self.store.get_mut(key) {
            self.counters.end_stall(&mut stream.stall);
        }
    }

    /// The memory manager has refused the window of a stream that this end wanted to open.
    pub(crate) const fn open_refused(&mut self) {
        count(&mut self.counters.refusals.opens);
    }

    /// The transport is full, and data is waiting.
    pub(crate) fn transport_stalls(&mut self, now: Instant) {
        self.tick(now);
        self.counters.begin_transport_stall();
    }

    /// No data waits for the transport any more.
    pub(in crate::proto) fn transport_moves_no_more(&mut self) {
        self.counters.end_transport_stall();
    }

    /// The transport takes bytes again. After it was full that is a sign of life (Y-PING-6).
    pub(crate) fn transport_moves(&mut self, now: Instant) {
        self.tick(now);
        self.counters.end_transport_stall();
        if self.control.transport_took() {
            self.pinger.heard(now);
        }
    }
}
