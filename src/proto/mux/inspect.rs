//! Owns [`Inspect`]: what of a connection the simulation may look at. For tests only.

use super::{Lifecycle, Mux};
use crate::config::Config;
use crate::memory::Reservation;
use crate::mode::Mode;
use crate::proto::counters::Counters;
use crate::proto::flow::levels::Levels;
use crate::proto::flow::requests::CreditQueue;
use crate::proto::key::Key;
use crate::proto::peer::half_open::HalfOpen;
use crate::proto::send::send_pool::SendPool;
use crate::proto::store::Store;
use std::collections::VecDeque;
use web_time::Instant;

/// The parts of a connection, to look at.
pub(in crate::proto) struct Inspect<'a> {
    pub(in crate::proto) config: &'a Config,
    pub(in crate::proto) mode: Mode,
    pub(in crate::proto) lifecycle: &'a Lifecycle,
    pub(in crate::proto) store: &'a Store,
    pub(in crate::proto) send_pool: &'a SendPool,
    pub(in crate::proto) incoming: &'a VecDeque<Key>,
    pub(in crate::proto) half_open: &'a HalfOpen,
    pub(in crate::proto) credit_queue: &'a CreditQueue,
    pub(in crate::proto) counters: &'a Counters,
    pub(in crate::proto) levels: &'a Levels,
    /// The latest time that a verb was given.
    pub(in crate::proto) latest: Instant,
    pub(in crate::proto) ahead: Option<&'a Reservation>,
    pub(in crate::proto) unacknowledged: usize,
    /// The same with those that are half open.
    pub(in crate::proto) awaiting_ack: usize,
    pub(in crate::proto) inbound: usize,
    /// When lower priorities that are held back go on all the same.
    pub(in crate::proto) pace_ends: Option<Instant>,
    /// The stream that the body under way is for, and how many bytes of it have not arrived.
    pub(in crate::proto) arriving: Option<(Key, u32)>,
}

impl Mux {
    pub(in crate::proto) fn inspect(&self) -> Inspect<'_> {
        Inspect {
            config: &self.config,
            mode: self.mode,
            lifecycle: &self.lifecycle,
            store: &self.store,
            send_pool: &self.send_pool,
            incoming: &self.incoming,
            half_open: &self.half_open,
            credit_queue: &self.credit_queue,
            counters: &self.counters,
            levels: &self.levels,
            latest: self.latest,
            ahead: self.ahead.as_ref(),
            unacknowledged: self.unacknowledged,
            awaiting_ack: self.awaiting_ack(),
            inbound: self.inbound,
            pace_ends: self.pacer.poll_timeout(),
            arriving: self.receiver().map(|key| (key, self.arriving(key))),
        }
    }
}
