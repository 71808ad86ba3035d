//! Owns [`WireTap`]: the user's tap on a connection, and the headers that were read and not passed to it yet.
//!
//! Frames are applied with the lock held, and a tap is code of the user's: headers are recorded there and passed on outside.

use crate::clock::Time;
use crate::config::{Config, Tap};
use crate::tap::{Direction, TapEvent};

/// A tap on one connection.
#[derive(Debug)]
pub(super) struct WireTap {
    tap: Tap,
    connection: u64,
    time: Time,
    /// Headers of what is being applied: as many as one read can hold.
    inbound: Vec<[u8; 12]>,
}

impl WireTap {
    pub(super) fn new(config: &Config, connection: u64) -> Option<Self> {
        Some(Self { tap: config.tap()?.clone(), connection, time: config.clock().clone(), inbound: Vec::new() })
    }

    /// Records a header that was read.
    pub(super) fn record(&mut self, header: Option<[u8; 12]>) {
        self.inbound.extend(header);
    }

    /// Passes on what was recorded. Not with the lock held.
    pub(super) fn show_inbound(&mut self) {
        let inbound = std::mem::take(&mut self.inbound);
        self.show(Direction::Inbound, inbound);
    }

    /// Passes on headers that leave. Not with the lock held.
    pub(super) fn show(&self, direction: Direction, headers: Vec<[u8; 12]>) {
        let (connection, at) = (self.connection, self.time.now());
        headers.into_iter().for_each(|header| self.tap.show(&TapEvent { connection, direction, header, at }));
    }
}
