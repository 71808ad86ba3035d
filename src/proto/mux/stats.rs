//! Verbs of [`Mux`] that count, and that assemble the figures of a connection and of a stream.
//!
//! `counters` owns the counts, and only this file reads them. Changes nothing but figures, and the time at which the
//! transport last took bytes.

use super::Mux;
use crate::memory::Reservation;
use crate::proto::counters::{Counters, traffic};
use crate::proto::key::Key;
use crate::proto::stream::{ResetBy, ResetCause};
use crate::stats::{ConnectionStats, ReservedBytes, StreamCounts, StreamStats, count};
use web_time::Instant;

impl Mux {
    /// The figures of the connection. Costs the same however many streams there are.
    pub(crate) fn stats(&mut self, now: Instant) -> ConnectionStats {
        let now = self.advance(now);
        let Counters { sent, received, useless_frames, resets, refusals, opened, .. } = &self.counters;
        ConnectionStats {
            streams: StreamCounts {
                open: self.store.live() as u64,
                unaccepted: self.incoming.len() as u64,
                unacknowledged: self.awaiting_ack() as u64,
                opened: *opened,
                accepted: self.accepted,
            },
            sent: *sent,
            received: *received,
            useless_frames: *useless_frames,
            largest_window: self.largest_window,
            stalled: self.counters.stalled(now),
            transport_stalled: self.counters.transport_stalled(now),
            rtt: self.pinger.rtt.latest(),
            min_rtt: self.pinger.rtt.minimum(),
            pacing: self.pacer.figures(now),
            resets: *resets,
            refusals: *refusals,
            reserved: ReservedBytes::new(self.levels.bytes(), self.send_pool.reserved()),
        }
    }

    /// The figures of a stream.
    pub(crate) fn stream_stats(&mut self, key: Key, now: Instant) -> Option<StreamStats> {
        let now = self.advance(now);
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

    /// The memory manager has refused the window of a stream that this end wanted to open.
    pub(crate) const fn open_refused(&mut self) {
        count(&mut self.counters.refusals.opens);
    }

    /// The transport is full, and data is waiting.
    pub(crate) fn transport_stalls(&mut self, now: Instant) {
        let now = self.advance(now);
        self.counters.begin_transport_stall(now);
    }

    /// The transport takes bytes again. After it was full that is a sign of life (Y-PING-6).
    pub(crate) fn transport_moves(&mut self, now: Instant) {
        let now = self.advance(now);
        self.counters.end_transport_stall(now);
        if self.control.transport_took() {
            self.pinger.heard(now);
        }
    }
}
