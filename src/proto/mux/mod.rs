//! Owns [`Mux`], the coordinator: one end of a connection with all its parts.
//!
//! Here are its fields, its life from open to closed, its timers and what the verbs share. The verbs are in the files beside
//! this one, a theme of a stream's life each; the parts are in the other folders of `proto` and do not know `Mux`. The fields
//! are private to this folder.

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
use crate::proto::flow::requests::CreditQueue;
use crate::proto::key::Key;
use crate::proto::limits::{INITIAL_WINDOW, RAPID_RESETS, USELESS_FRAMES};
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
use crate::proto::stream::readiness::Readiness;
use crate::proto::stream::{Body, Stream};
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
    /// Storage for what readers have taken.
    chunk_lists: ChunkListPool,
    tombstones: Tombstones,
    half_open: HalfOpen,
    /// Inbound streams that were not accepted yet.
    incoming: VecDeque<Key>,
    counters: Counters,
    /// Nobody opens or accepts streams any more.
    draining: bool,
    ends: Ends,
    /// The body that is arriving.
    body: Option<Body>,
    /// When the last of any body came.
    last_data: Instant,
    /// Streams whose credit is due, and whose windows may become larger or smaller with it: the memory manager is asked.
    window_requests: VecDeque<Key>,
    grown: GrownWindows,
    /// Credit that waits for memory.
    credit_queue: CreditQueue,
    pacer: Pacer,
    /// Memory for what was read and is being applied.
    ahead: Option<Reservation>,
    useless: TokenBucket,
    rapid: TokenBucket,
    /// What the next random number is made from. Those are rare: a generator would be large for what it does.
    seed: u64,
    remote_away: bool,
    local_away: bool,
    /// Number of the last batch that was encoded, and of the last one that was flushed with all before it.
    last_encoded: u64,
    flushed: u64,
    /// Streams that wait for a flush.
    flushing: Queue<FlushPlace>,
    pending_readers: PendingReaders,
    /// Small writes wait for more until then.
    coalesce_until: Option<Instant>,
    largest_window: u32,
    /// When something last crossed; nothing once the connection is idle.
    moved: Option<Instant>,
    events: Events,
    next_id: Option<StreamId>,
    /// The streams that this end has opened before this one have been announced, or are over.
    unannounced: Option<StreamId>,
    /// Streams without an ACK, kept by `set_handshake`, `insert` and `unlink`.
    unacknowledged: usize,
    inbound: usize,
}

/// Where a connection is in its life.
#[derive(Clone, Debug)]
pub(in crate::proto) enum Lifecycle {
    /// Streams come and go.
    Open,
    /// This end closes: what was written goes out, then the go-away, which has been encoded once it is `said`.
    Closing { code: u32, reason: ConnectionError, said: bool },
    /// It is over. Only the go-away that says why may still have to leave.
    Closed(ConnectionError),
}

impl Mux {
    /// A new connection. `seed` decides ping nonces and how ids are hashed; it must not be known to the peer.
    pub(crate) fn new(mode: Mode, config: Config, seed: u64, now: Instant) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let id_hash = IdHash::new(rng.random());
        Self {
            lifecycle: Lifecycle::Open,
            store: Store::new(id_hash),
            control_queue: Queue::new(),
            schedule: Schedule::new(),
            control: Control::new(config.ping_backlog()),
            pinger: Pinger::new(&config, now),
            send_pool: SendPool::new(config.max_send_buffer()),
            chunk_lists: ChunkListPool::default(),
            tombstones: Tombstones::new(id_hash),
            half_open: HalfOpen::new(id_hash, now),
            incoming: VecDeque::new(),
            counters: Counters::new(now),
            draining: false,
            ends: Ends::default(),
            body: None,
            last_data: now,
            window_requests: VecDeque::new(),
            grown: GrownWindows::default(),
            credit_queue: CreditQueue::default(),
            pacer: Pacer::default(),
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

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// Streams whose wire life is not over, those waiting to be accepted included.
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

    /// What has happened and was not acted on yet.
    pub(crate) const fn events_mut(&mut self) -> &mut Events {
        &mut self.events
    }

    /// Asks for a ping, or says how the one that `ticket` is for stands.
    pub(crate) fn ping(&mut self, ticket: &mut Option<u64>, now: Instant) -> Result<PingProgress, ConnectionError> {
        if let Lifecycle::Closed(reason) = &self.lifecycle {
            return Err(reason.clone());
        }
        // Who asks how it stands has no work for the driver, which may be the same task.
        let asks = ticket.is_none();
        let progress = self.pinger.user_ping(ticket, now);
        self.events.attention |= asks;
        self.events.outlook |= asks;
        Ok(progress)
    }

    /// Nobody waits for that ping any more.
    pub(crate) fn forget_ping(&mut self, ticket: u64) {
        self.pinger.user.forget(ticket);
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
        if self.coalesce_until.is_some_and(|until| now >= until) {
            self.coalesce_until = None;
        }
        self.events.released.extend(self.send_pool.handle_timeout(now));
        self.look_at_windows(now);
        self.call_in_debts(now);
        self.pacer.handle_timeout(&self.schedule, &self.pinger.rtt, self.pinger.waiting_since(), now);
        self.end_late(now);
        self.release_if_quiet(now);
        self.close_if_overdue(now);
        match self.pinger.handle_timeout(now) {
            Verdict::Fine => {}
            Verdict::Dead => self.fail(ConnectionError::KeepAliveTimeout),
        }
        self.events.pong |= self.pinger.user.take_ended();
    }

    /// When [`Mux::handle_timeout`] has to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.closed().is_some() {
            return None;
        }
        let memory = sooner(self.send_pool.poll_timeout(), self.grown.poll_timeout());
        let data = sooner(
            sooner(
                self.coalesce_until,
                self.pacer.poll_timeout(&self.schedule, &self.pinger.rtt, self.pinger.waiting_since()),
            ),
            self.debts_due(),
        );
        let life = sooner(self.pinger.poll_timeout(), self.ends.overdue_at());
        let streams = sooner(self.half_open.poll_timeout(), self.idle_at());
        sooner(sooner(memory, data), sooner(life, streams))
    }

    /// Tells the shell that something has happened, as far as somebody waits for it.
    pub(super) fn notify(&mut self, key: Key, what: Readiness) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let wanted = stream.interest & what;
        if !wanted.is_empty() {
            stream.interest = stream.interest & !wanted;
            self.events.ready.push((key, wanted));
            if wanted.contains(Readiness::FLUSH) {
                self.flushing.remove(&mut self.store, key);
            }
        }
    }

    /// Whether a stream's wire life is not over.
    pub(super) fn is_linked(&self, key: Key) -> bool {
        self.store.get(key).is_some_and(|stream| stream.linked)
    }

    /// Queues a stream if it owes a control frame and is still on the wire.
    pub(super) fn queue_control(&mut self, key: Key) {
        if self.is_linked(key) && self.store.get(key).is_some_and(Stream::has_control) {
            self.control_queue.push(&mut self.store, key);
            self.events.attention = true;
        }
    }

    /// Queues a stream if it has data or a FIN to send.
    pub(super) fn queue_data(&mut self, key: Key) {
        if let Some(stream) = self.store.get(key).filter(|stream| stream.has_output()) {
            let (priority, queued) = (stream.priority, stream.active().data_links.is_queued());
            if !queued {
                self.schedule.push(&mut self.store, key, priority);
            }
            self.events.attention = true;
        }
    }
}

/// The earlier of two times, of which there may be none. It is asked for with each poll.
fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
