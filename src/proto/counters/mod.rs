//! Owns [`Counters`]: the counters of a connection, and those of one stream.
//!
//! Each counter is raised at the place of its event. Only waits have methods, since each of them begins and ends in
//! several places. The verbs of a connection write the counters, and only `mux/stats` reads them: no decision depends on
//! a figure. What decisions need is a part of its own, as `flow/levels` is. Uses the types of `stats`.

pub(in crate::proto) mod stall;

use crate::stats::{Refusals, Resets, Stalled, Traffic, add, count};
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
    /// Streams that this end has opened.
    pub(in crate::proto) opened: u64,
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
            clocks: Clocks::new(now),
        }
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
