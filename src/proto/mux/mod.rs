//! Owns [`Mux`], the coordinator: one end of a connection with all its parts.
//!
//! This file holds its fields, its lifecycle, its timers and helpers that several verbs share. The files beside it hold
//! the verbs, one theme each. The parts are in the other folders of `proto` and do not know `Mux`. The fields are
//! private to this folder.

mod charging;
mod close;
mod idle;
mod inbound;
#[cfg(test)]
mod inspect;
mod late;
mod memory;
mod open;
mod outbound;
mod read;
mod stats;
mod teardown;
#[cfg(test)]
mod tests;
mod view;
mod write;

pub(crate) use inbound::Admission;
#[cfg(test)]
pub(in crate::proto) use inspect::Inspect;
pub(crate) use open::{Announced, OpenBlocked};
pub(crate) use read::{ReadError, Taken};
pub(crate) use teardown::Leave;
pub(crate) use write::{FlushError, WriteError};

use crate::config::Config;
use crate::error::ConnectionError;
use crate::memory::Reservation;
use crate::mode::Mode;
use crate::proto::buffer::chunks::ChunkListPool;
use crate::proto::counters::Counters;
use crate::proto::events::Events;
use crate::proto::flow::grown::GrownWindows;
use crate::proto::flow::inflow::Inflow;
use crate::proto::flow::levels::Levels;
use crate::proto::flow::requests::{Charge, CreditQueue};
use crate::proto::key::Key;
use crate::proto::limits::{INITIAL_WINDOW, MARKERS, RAPID_RESETS, USELESS_FRAMES};
use crate::proto::peer::control::Control;
use crate::proto::peer::ends::Ends;
use crate::proto::peer::half_open::HalfOpen;
use crate::proto::peer::ping::{Pinger, Verdict};
use crate::proto::peer::token_bucket::TokenBucket;
use crate::proto::peer::tombstones::Tombstones;
use crate::proto::peer::user_pings::PingProgress;
use crate::proto::send::coalesce::PendingReaders;
use crate::proto::send::pacer::Pacer;
use crate::proto::send::schedule::Schedule;
use crate::proto::send::send_pool::SendPool;
use crate::proto::store::Store;
use crate::proto::store::id_hash::IdHash;
use crate::proto::store::queue::{ControlPlace, FlushPlace, Queue};
use crate::proto::stream::Body;
use crate::wire::StreamId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;
use std::time::Duration;
use web_time::Instant;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Mux {
    config: Config,
    mode: Mode,
    lifecycle: Lifecycle,
    store: Store,
    /// Streams that owe a SYN, an ACK, credit or a reset.
    control_queue: Queue<ControlPlace>,
    /// Streams that have data or a FIN to send.
    schedule: Schedule,
    control: Control,
    pinger: Pinger,
    send_pool: SendPool,
    /// The free list of storage for chunks that readers hold.
    chunk_lists: ChunkListPool,
    tombstones: Tombstones,
    half_open: HalfOpen,
    /// The backlog: inbound streams that were not accepted yet.
    incoming: VecDeque<Key>,
    /// Streams that have been accepted so far: the driver sees by it that the application accepts.
    accepted: u64,
    counters: Counters,
    /// Memory that windows reserve.
    levels: Levels,
    /// The application opens and accepts no more streams.
    draining: bool,
    ends: Ends,
    /// The body that is arriving.
    body: Option<Body>,
    /// When the last bytes of a body arrived, on any stream.
    last_data: Instant,
    /// Streams whose credit is due: the memory manager is asked whether their windows may grow with it.
    window_requests: VecDeque<Key>,
    grown: GrownWindows,
    /// Credit that waits for memory.
    credit_queue: CreditQueue,
    inflow: Inflow,
    pacer: Pacer,
    /// Memory reserved ahead for bytes that were read from the transport and are being applied.
    ahead: Option<Reservation>,
    useless: TokenBucket,
    rapid: TokenBucket,
    /// Seed of the next random number. Random numbers are rare, and a generator would be large.
    seed: u64,
    remote_away: bool,
    local_away: bool,
    /// Number of the last batch that was encoded, and of the last one that was flushed together with all before it.
    last_encoded: u64,
    flushed: u64,
    /// Streams that wait for a flush.
    flushing: Queue<FlushPlace>,
    pending_readers: PendingReaders,
    /// Until when small writes are held back to be coalesced with more (`write_coalesce_delay`).
    coalesce_until: Option<Instant>,
    largest_window: u32,
    /// The latest time that a verb was given.
    latest: Instant,
    /// When a byte last crossed in either direction; `None` once the connection is idle.
    moved: Option<Instant>,
    events: Events,
    next_id: Option<StreamId>,
    /// Every stream that this end has opened before this id has been announced, or is over.
    unannounced: Option<StreamId>,
    /// Streams without an ACK, kept by `insert` and `View::set_handshake`.
    unacknowledged: usize,
    inbound: usize,
}

/// The lifecycle of a connection.
#[derive(Clone, Debug)]
pub(in crate::proto) enum Lifecycle {
    /// Streams come and go.
    Open,
    /// This end closes: written data leaves, then the go-away. `said` is set once that is encoded.
    Closing { code: u32, reason: ConnectionError, said: bool },
    /// The connection is over. Only the go-away that gives the reason may still have to leave.
    Closed(ConnectionError),
}

impl Mux {
    /// A new connection. `seed` decides ping nonces and the hash of ids; it must not be known to the peer.
    pub(crate) fn new(mode: Mode, config: Config, seed: u64, now: Instant) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let id_hash = IdHash::new(rng.random());
        Self {
            lifecycle: Lifecycle::Open,
            store: Store::new(id_hash),
            control_queue: Queue::new(),
            schedule: Schedule::new(),
            control: Control::new(config.ping_backlog().saturating_add(MARKERS)),
            pinger: Pinger::new(&config, now),
            send_pool: SendPool::new(config.max_send_buffer()),
            chunk_lists: ChunkListPool::default(),
            tombstones: Tombstones::new(id_hash),
            half_open: HalfOpen::new(id_hash, now),
            incoming: VecDeque::new(),
            accepted: 0,
            counters: Counters::new(now),
            levels: Levels::default(),
            draining: false,
            ends: Ends::default(),
            body: None,
            last_data: now,
            window_requests: VecDeque::new(),
            grown: GrownWindows::default(),
            credit_queue: CreditQueue::default(),
            inflow: Inflow::default(),
            pacer: Pacer::new(),
            ahead: None,
            useless: TokenBucket::new(USELESS_FRAMES, now),
            rapid: TokenBucket::new(RAPID_RESETS, now),
            seed: rng.random(),
            remote_away: false,
            local_away: false,
            last_encoded: 0,
            flushed: 0,
            flushing: Queue::new(),
            pending_readers: PendingReaders::default(),
            coalesce_until: None,
            largest_window: INITIAL_WINDOW.max(config.initial_stream_window()),
            latest: now,
            moved: Some(now),
            events: Events { attention: true, ..Events::default() },
            next_id: StreamId::new(mode.first_id()),
            unannounced: StreamId::new(mode.first_id()),
            unacknowledged: 0,
            inbound: 0,
            config,
            mode,
        }
    }

    /// How received bytes are charged.
    pub(super) fn charge_policy(&self) -> Charge {
        Charge::new(&self.config)
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// Streams that are still on the wire, including those that wait to be accepted.
    pub(crate) fn num_streams(&self) -> usize {
        self.store.live()
    }

    /// Why the connection is over, once it is.
    pub(crate) const fn closed(&self) -> Option<&ConnectionError> {
        match &self.lifecycle {
            Lifecycle::Closed(reason) => Some(reason),
            Lifecycle::Open | Lifecycle::Closing { .. } => None,
        }
    }

    /// Whether this end has begun to close, or the connection is over.
    pub(crate) const fn is_closing(&self) -> bool {
        !matches!(self.lifecycle, Lifecycle::Open)
    }

    pub(super) const fn lifecycle_is_open(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Open)
    }

    pub(crate) fn stream_id(&self, key: Key) -> Option<u32> {
        self.store.get(key).map(|stream| stream.id.value())
    }

    pub(crate) const fn rtt(&self) -> Option<Duration> {
        self.pinger.rtt.latest()
    }

    /// When the peer last gave a sign of life.
    pub(crate) const fn heard_at(&self) -> Instant {
        self.pinger.heard_at()
    }

    /// Events that the shell has not acted on yet.
    pub(crate) const fn events_mut(&mut self) -> &mut Events {
        &mut self.events
    }

    /// Asks for a ping, or returns the progress of the ping behind `ticket`.
    pub(crate) fn ping(&mut self, ticket: &mut Option<u64>, now: Instant) -> Result<PingProgress, ConnectionError> {
        if let Lifecycle::Closed(reason) = &self.lifecycle {
            return Err(reason.clone());
        }
        // A caller that only asks for progress gives the driver no work. It may be the driver's own task.
        let asks = ticket.is_none();
        let progress = self.pinger.user_ping(ticket, now);
        self.events.attention |= asks;
        self.events.outlook |= asks;
        Ok(progress)
    }

    /// The application waits for that ping no longer.
    pub(crate) fn forget_ping(&mut self, ticket: u64) {
        self.pinger.user.forget(ticket);
    }

    /// Handles every timer that is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        if self.coalesce_until.is_some_and(|until| now >= until) {
            self.coalesce_until = None;
        }
        self.events.released.extend(self.send_pool.handle_timeout(now));
        self.look_at_windows(now);
        self.end_if_control_overdue(now);
        self.events.attention |= self.pacer.handle_timeout(now);
        if let Some(top) = self.pacer.holds_below() {
            self.events.attention |= self.schedule.handle_timeout(top, now);
        }
        self.end_late(now);
        self.release_if_quiet(now);
        self.close_if_overdue(now);
        match self.pinger.handle_timeout(now) {
            Verdict::Fine => {}
            Verdict::Dead => self.fail(ConnectionError::KeepAliveTimeout, now),
        }
        self.events.pong |= self.pinger.user.take_ended();
    }

    /// When [`Mux::handle_timeout`] has to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.closed().is_some() {
            return None;
        }
        let memory = sooner(self.send_pool.poll_timeout(), self.grown.poll_timeout());
        let data = sooner(sooner(self.coalesce_until, self.pacer_timeout()), self.control_overdue_at());
        let life = sooner(self.pinger.poll_timeout(), self.ends.overdue_at());
        let streams = sooner(self.half_open.poll_timeout(), self.idle_at());
        sooner(sooner(memory, data), sooner(life, streams))
    }

    /// The time of a verb, from the time that it was given: never earlier than that of a verb before it, since the clock
    /// is read before the lock is taken. No sum that was reported ever falls.
    pub(super) fn advance(&mut self, now: Instant) -> Instant {
        self.pinger.rtt.clock_shows(now.saturating_duration_since(self.latest));
        self.latest = self.latest.max(now);
        self.latest
    }

    /// When streams that are held back may send, whatever the peer answers.
    fn pacer_timeout(&self) -> Option<Instant> {
        let starved = self.pacer.holds_below().and_then(|top| self.schedule.starves_at(top));
        sooner(self.pacer.poll_timeout(), starved)
    }

    /// Whether a stream is still on the wire.
    pub(super) fn is_linked(&self, key: Key) -> bool {
        self.store.get(key).is_some_and(|stream| stream.linked)
    }
}

/// The earlier of two optional times. Every poll uses it.
fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
