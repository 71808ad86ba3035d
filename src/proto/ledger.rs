//! Owns [`Ledger`]: what a connection has counted, and how its figures and a stream's are put together.
//!
//! The core counts where things happen; only waits and reserved bytes have verbs here, since each of them has several
//! beginnings and ends.

use super::limits::STREAM_BOOKS;
use super::mux::Mux;
use super::stall::{Cause, Clocks};
use super::store::Key;
use super::stream::{ResetBy, ResetCause};
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::stats::{ConnectionStats, Refusals, ReservedBytes, Resets, StreamCounts, StreamStats, Traffic, add, count};
use crate::wire::Header;
use web_time::Instant;

/// The counters of a connection.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) sent: Traffic,
    pub(super) received: Traffic,
    pub(super) useless_frames: u64,
    pub(super) resets: Resets,
    pub(super) refusals: Refusals,
    /// Streams that this end has opened, and accepted.
    pub(super) opened: u64,
    pub(super) accepted: u64,
    /// Windows, by bucket; what the send buffers hold is the pool's to say.
    windows: ReservedBytes,
    clocks: Clocks,
    /// The last moment that the core was told of: what ends without a clock at hand ends then.
    latest: Instant,
}

/// The data of one stream in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    data_frames: u64,
    data_bytes: u64,
}

/// The window updates of one stream. Honest ones stand for half a window each, so that 32 bits do for 2^49 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Updates {
    sent: u32,
    received: u32,
}

impl Counts {
    pub(super) const fn data_frame(&mut self) {
        count(&mut self.data_frames);
    }

    pub(super) const fn body(&mut self, len: usize) {
        add(&mut self.data_bytes, len as u64);
    }

    pub(super) const fn data_bytes(&self) -> u64 {
        self.data_bytes
    }
}

impl Updates {
    pub(super) const fn sent(&mut self) {
        self.sent = self.sent.saturating_add(1);
    }

    pub(super) const fn received(&mut self) {
        self.received = self.received.saturating_add(1);
    }
}

/// The frames of one stream in one direction.
fn traffic(counts: Counts, updates: u32) -> Traffic {
    let Counts { data_frames, data_bytes } = counts;
    Traffic { data_frames, data_bytes, window_update_frames: updates.into(), ..Traffic::default() }
}

/// Counts a frame by its type; the bytes of bodies are counted as they pass.
pub(super) const fn count_frame(traffic: &mut Traffic, header: Header) {
    let frames = match header {
        Header::Data { .. } => &mut traffic.data_frames,
        Header::WindowUpdate { .. } => &mut traffic.window_update_frames,
        Header::Ping { .. } => &mut traffic.ping_frames,
        Header::GoAway { .. } => &mut traffic.go_away_frames,
    };
    count(frames);
}

impl Ledger {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            sent: Traffic::default(),
            received: Traffic::default(),
            useless_frames: 0,
            resets: Resets::default(),
            refusals: Refusals::default(),
            opened: 0,
            accepted: 0,
            windows: ReservedBytes::default(),
            clocks: Clocks::new(now),
            latest: now,
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.latest = self.latest.max(now);
    }

    /// Whether no two streams have something reserved at different levels of priority.
    pub(super) fn is_level(&self) -> bool {
        let ReservedBytes { low, medium, high, always, .. } = self.windows;
        [low, medium, high, always].into_iter().filter(|bytes| *bytes > 0).count() <= 1
    }

    /// Whether nobody has anything reserved at a lower level.
    pub(super) fn is_lowest(&self, priority: Priority) -> bool {
        let ReservedBytes { low, medium, high, .. } = self.windows;
        let lower = match priority.bucket() {
            0 => 0,
            1 => low,
            2 => low | medium,
            _ => low | medium | high,
        };
        lower == 0
    }

    /// A window of `bytes` was reserved, or a part of one.
    pub(super) fn reserved(&mut self, priority: Priority, bytes: usize) {
        let windows = self.windows.bucket_mut(priority.bucket());
        *windows = windows.saturating_add(bytes);
    }

    /// A window was given back, or moved to another bucket.
    pub(super) fn released(&mut self, priority: Priority, bytes: usize) {
        let windows = self.windows.bucket_mut(priority.bucket());
        *windows = windows.saturating_sub(bytes);
    }

    #[cfg(test)]
    pub(super) const fn windows(&self) -> ReservedBytes {
        self.windows
    }

    /// The last moment that the core was told of.
    pub(super) const fn latest(&self) -> Instant {
        self.latest
    }

    #[cfg(test)]
    pub(super) fn stalled(&self, now: Instant) -> crate::stats::Stalled {
        self.clocks.so_far(now)
    }
}

impl Mux {
    /// What is told of waits from here on is not of before `now`: no sum that was told ever falls.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.liveness.rtt.clock_shows(now.saturating_duration_since(self.ledger.latest));
        self.ledger.tick(now);
    }

    /// The figures of the connection. Costs the same however many streams there are.
    pub(crate) fn stats(&mut self, now: Instant) -> ConnectionStats {
        self.tick(now);
        let Ledger { sent, received, useless_frames, resets, refusals, opened, accepted, windows, clocks, latest: now } =
            &self.ledger;
        let now = *now;
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
            stalled: clocks.so_far(now),
            transport_stalled: clocks.transport_so_far(now),
            rtt: self.liveness.rtt.latest(),
            min_rtt: self.liveness.rtt.minimum(),
            resets: *resets,
            refusals: *refusals,
            reserved: ReservedBytes { send_buffers: self.pool.reserved(), ..*windows },
        }
    }

    /// The figures of a stream.
    pub(crate) fn stream_stats(&mut self, key: Key, now: Instant) -> Option<StreamStats> {
        self.tick(now);
        let now = self.ledger.latest;
        let arriving = self.arriving(key);
        let stream = self.store.get(key)?;
        let (send, receive) = (&stream.send, &stream.receive);
        Some(StreamStats {
            priority: stream.priority,
            sent: traffic(stream.sent, stream.updates.sent),
            received: traffic(stream.received, stream.updates.received),
            unsent: stream.motion().unsent.len(),
            // What this end has reset it has dropped.
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

    /// A writer finds that it has to wait, and for what.
    pub(super) fn begin_stall(&mut self, key: Key, cause: Cause) {
        let Ledger { clocks, latest, .. } = &mut self.ledger;
        if let Some(stream) = self.store.get_mut(key) {
            stream.stall.begin(cause, *latest, clocks);
        }
    }

    /// Nobody waits any more to write to a stream, or need not.
    pub(super) fn end_stall(&mut self, key: Key) {
        let Ledger { clocks, latest, .. } = &mut self.ledger;
        if let Some(stream) = self.store.get_mut(key) {
            stream.stall.end(*latest, clocks);
        }
    }

    /// Gives the memory of a stream's window back, but for what holds the bytes that are unread. What the stream itself takes
    /// stays reserved while it is on the wire (Y-MEM-4, Y-MEM-8).
    pub(super) fn give_back(&mut self, key: Key) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let unread = stream.motion().unread.capacity().saturating_add(stream.receive.lent as usize);
        let kept = if stream.linked { unread.saturating_add(STREAM_BOOKS) } else { unread };
        let released = match &mut stream.reservation {
            Some(reservation) if kept > 0 => {
                let excess = reservation.bytes().saturating_sub(kept);
                (excess > 0).then(|| reservation.split(excess))
            }
            _ => stream.reservation.take(),
        };
        if let Some(released) = released {
            self.ledger.released(stream.priority, released.bytes());
            self.events.released.push(released);
        }
    }

    /// The memory manager has refused the window of a stream that this end wanted to open.
    pub(crate) const fn open_refused(&mut self) {
        count(&mut self.ledger.refusals.opens);
    }

    /// The memory manager has refused room for what a stream wanted to write. It waits for that if it still does:
    /// meanwhile there may have been room, or the stream may be over.
    pub(crate) fn room_refused(&mut self, key: Key, asked: Priority) {
        count(&mut self.ledger.refusals.send_buffers);
        self.pool.refuse(asked);
        if self.store.get(key).is_some_and(|stream| stream.motion().room_links.is_queued()) {
            self.begin_stall(key, Cause::Memory);
        }
    }

    /// The transport takes nothing, though something is waiting.
    pub(crate) fn transport_stalls(&mut self, now: Instant) {
        self.tick(now);
        self.ledger.clocks.transport_begins(self.ledger.latest);
    }

    /// Nothing waits for the transport any more.
    pub(super) fn transport_moves_no_more(&mut self) {
        self.ledger.clocks.transport_ends(self.ledger.latest);
    }

    /// The transport takes something again. After it was full that is a sign of life (Y-PING-6).
    pub(crate) fn transport_moves(&mut self, now: Instant) {
        self.tick(now);
        self.ledger.clocks.transport_ends(self.ledger.latest);
        if self.control.transport_took() {
            self.liveness.heard(now);
        }
    }
}
