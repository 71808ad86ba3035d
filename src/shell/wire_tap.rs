//! Owns [`WireTap`]: the user's tap on a connection, and the headers that were read and not handed to it yet.
//!
//! Frames are applied under the lock and the tap is foreign code: headers are noted there and handed over outside.

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

    /// Notes a header that was read.
    pub(super) fn note(&mut self, header: Option<[u8; 12]>) {
        self.inbound.extend(header);
    }

    /// Hands over what was noted. Not under the lock.
    pub(super) fn hand_over_inbound(&mut self) {
        let inbound = std::mem::take(&mut self.inbound);
        self.hand_over(Direction::Inbound, inbound);
    }

    /// Hands over headers that leave. Not under the lock.
    pub(super) fn hand_over(&self, direction: Direction, headers: Vec<[u8; 12]>) {
        let (connection, at) = (self.connection, self.time.now());
        headers.into_iter().for_each(|header| self.tap.show(&TapEvent { connection, direction, header, at }));
    }
}
