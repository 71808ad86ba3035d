//! Owns [`Counters`]: the counters of a connection, and those of one stream.
//!
//! Each counter is raised at the place of its event. Only waits and reserved bytes have methods, since each of them
//! begins and ends in several places. Uses the types of `stats`. Never decides anything.

pub(in crate::proto) mod stall;

use crate::priority::Priority;
use crate::stats::{Refusals, ReservedBytes, Resets, Stalled, Traffic, add, count};
use crate::wire::Header;
use stall::{Cause, Clocks, Stall};
use std::time::Duration;
use web_time::Instant;

/// The counters of a connection.
#[derive(Debug)]
pub(in crate::proto) struct Counters {
    pub(in crate::proto) sent: Traffic,
    pub(in crate::proto) received: Traffic,
    pub(in crate::proto) useless_frames: u64,
    pub(in crate::proto) resets: Resets,
    pub(in crate::proto) refusals: Refusals,
    /// Streams that this end has opened, and accepted.
    pub(in crate::proto) opened: u64,
    pub(in crate::proto) accepted: u64,
    /// Reserved bytes of windows, by bucket. The send pool counts those of send buffers.
    windows: ReservedBytes,
    clocks: Clocks,
}

/// The data of one stream in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proto) struct Counts {
    data_frames: u64,
    data_bytes: u64,
}

/// The window updates of one stream. An honest one stands for half a window, so that 32 bits last for 2^49 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proto) struct Updates {
    pub(in crate::proto) sent: u32,
    pub(in crate::proto) received: u32,
}

impl Counts {
    pub(in crate::proto) const fn data_frame(&mut self) {
        count(&mut self.data_frames);
    }

    pub(in crate::proto) const fn body(&mut self, len: usize) {
        add(&mut self.data_bytes, len as u64);
    }

    pub(in crate::proto) const fn data_bytes(&self) -> u64 {
        self.data_bytes
    }
}

impl Updates {
    pub(in crate::proto) const fn sent(&mut self) {
        self.sent = self.sent.saturating_add(1);
    }

    pub(in crate::proto) const fn received(&mut self) {
        self.received = self.received.saturating_add(1);
    }
}

/// The frames of one stream in one direction.
pub(in crate::proto) fn traffic(counts: Counts, updates: u32) -> Traffic {
    let Counts { data_frames, data_bytes } = counts;
    Traffic { data_frames, data_bytes, window_update_frames: updates.into(), ..Traffic::default() }
}

/// Counts a frame by its type; bytes of bodies are counted as they pass.
pub(in crate::proto) const fn count_frame(traffic: &mut Traffic, header: Header) {
    let frames = match header {
        Header::Data { .. } => &mut traffic.data_frames,
        Header::WindowUpdate { .. } => &mut traffic.window_update_frames,
        Header::Ping { .. } => &mut traffic.ping_frames,
        Header::GoAway { .. } => &mut traffic.go_away_frames,
    };
    count(frames);
}

impl Counters {
    pub(in crate::proto) fn new(now: Instant) -> Self {
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
        }
    }

    /// Whether all reserved bytes are of one priority level.
    pub(in crate::proto) fn is_level(&self) -> bool {
        let ReservedBytes { low, medium, high, always, .. } = self.windows;
        [low, medium, high, always].into_iter().filter(|bytes| *bytes > 0).count() <= 1
    }

    /// Whether no bytes are reserved at a lower level.
    pub(in crate::proto) fn is_lowest(&self, priority: Priority) -> bool {
        let ReservedBytes { low, medium, high, .. } = self.windows;
        let lower = match priority.bucket() {
            0 => 0,
            1 => low,
            2 => low | medium,
            _ => low | medium | high,
        };
        lower == 0
    }

    /// A window of `bytes`, or a part of one, was reserved.
    pub(in crate::proto) fn reserved(&mut self, priority: Priority, bytes: usize) {
        let windows = self.windows.bucket_mut(priority.bucket());
        *windows = windows.saturating_add(bytes);
    }

    /// A window was given back, or moved to another bucket.
    pub(in crate::proto) fn released(&mut self, priority: Priority, bytes: usize) {
        let windows = self.windows.bucket_mut(priority.bucket());
        *windows = windows.saturating_sub(bytes);
    }

    pub(in crate::proto) const fn windows(&self) -> ReservedBytes {
        self.windows
    }

    /// A writer starts to wait, for this cause.
    pub(in crate::proto) fn begin_stall(&mut self, stall: &mut Stall, cause: Cause, now: Instant) {
        stall.begin(cause, now, &mut self.clocks);
    }

    /// The writer waits no longer.
    pub(in crate::proto) fn end_stall(&mut self, stall: &mut Stall, now: Instant) {
        stall.end(now, &mut self.clocks);
    }

    /// The transport is full, and data is waiting.
    pub(in crate::proto) fn begin_transport_stall(&mut self, now: Instant) {
        self.clocks.transport_begins(now);
    }

    /// The transport takes bytes again, or no data waits for it.
    pub(in crate::proto) fn end_transport_stall(&mut self, now: Instant) {
        self.clocks.transport_ends(now);
    }

    /// How long streams have waited so far.
    pub(in crate::proto) fn stalled(&self, now: Instant) -> Stalled {
        self.clocks.so_far(now)
    }

    /// How long data has waited for the transport so far.
    pub(in crate::proto) fn transport_stalled(&self, now: Instant) -> Duration {
        self.clocks.transport_so_far(now)
    }
}
