//! Owns [`Mux`]: one end of a connection, its streams, and its life from open to closed.
//!
//! What frames do is in `inbound`, what the application does in `app`, what is sent in `outbound`, how things end in
//! `lifetime`; here is what they share, and what concerns the connection as a whole.

use super::budget::Budget;
use super::chunks::Shelf;
use super::control::Control;
use super::ends::Ends;
use super::gathering::Answering;
use super::half_open::HalfOpen;
use super::inbound::Body;
use super::ledger::Ledger;
use super::limits::{INITIAL_WINDOW, RAPID_RESETS, USELESS_FRAMES};
use super::liveness::{Liveness, PingProgress, Verdict};
use super::notes::Notes;
use super::pool::Pool;
use super::ready::Ready;
use super::release::Leave;
use super::schedule::Schedule;
use super::spread::Spread;
use super::store::{ControlPlace, FlushPlace, Key, Queue, Store};
use super::stream::{Handshake, Stream};
use super::tombstones::Tombstones;
use super::urgency::Urgency;
use super::windows::Windows;
use super::withheld::Withheld;
use crate::config::{Config, ReceiveCharge};
use crate::error::{ConnectionError, OpenError, Side};
use crate::memory::Reservation;
use crate::mode::Mode;
use crate::stats::{add, count};
use crate::wire::StreamId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;
use std::time::Duration;
use web_time::Instant;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Mux {
    pub(super) config: Config,
    pub(super) mode: Mode,
    pub(super) lifecycle: Lifecycle,
    pub(super) store: Store,
    /// Streams that owe a SYN, an ACK, credit or a reset.
    pub(super) control_queue: Queue<ControlPlace>,
    /// Streams that have data or a FIN to send.
    pub(super) schedule: Schedule,
    pub(super) control: Control,
    pub(super) liveness: Liveness,
    pub(super) pool: Pool,
    /// Storage for what readers have taken.
    pub(super) shelf: Shelf,
    pub(super) tombstones: Tombstones,
    pub(super) half_open: HalfOpen,
    /// Inbound streams that were not accepted yet.
    pub(super) incoming: VecDeque<Key>,
    pub(super) ledger: Ledger,
    /// Nobody opens or accepts streams any more.
    pub(super) draining: bool,
    pub(super) ends: Ends,
    /// The body that is arriving.
    pub(super) body: Option<Body>,
    /// When the last of any body came.
    pub(super) last_data: Instant,
    pub(super) windows: Windows,
    /// Credit that waits for memory.
    pub(super) withheld: Withheld,
    pub(super) urgency: Urgency,
    /// Memory for what was read and is being applied.
    pub(super) ahead: Option<Reservation>,
    pub(super) useless: Budget,
    pub(super) rapid: Budget,
    /// What the next random number is made from. Those are rare: a generator would be large for what it does.
    pub(super) seed: u64,
    pub(super) remote_away: bool,
    pub(super) local_away: bool,
    /// Number of the last batch that was cut, and of the last one that was flushed with all before it.
    pub(super) cut: u64,
    pub(super) flushed: u64,
    /// Streams that wait for a flush.
    pub(super) flushing: Queue<FlushPlace>,
    pub(super) answering: Answering,
    /// Small writes wait for more until then.
    pub(super) coalesce_until: Option<Instant>,
    pub(super) largest_window: u32,
    /// When something last crossed; nothing once the connection is at rest.
    pub(super) moved: Option<Instant>,
    pub(super) events: Events,
    pub(super) next_id: Option<StreamId>,
    /// The streams that this end has opened before this one have been announced, or are over.
    pub(super) unannounced: Option<StreamId>,
    /// Streams without an ACK, kept by `set_handshake`, `insert` and `unlink`.
    pub(super) unacknowledged: usize,
    pub(super) inbound: usize,
}

/// Where a connection is in its life.
#[derive(Clone, Debug)]
pub(super) enum Lifecycle {
    /// Streams come and go.
    Open,
    /// This end closes: what was written goes out, then the go-away, which has been cut once it is `said`.
    Closing { code: u32, reason: ConnectionError, said: bool },
    /// It is over. Only the go-away that says why may still have to leave.
    Closed(ConnectionError),
}

/// What the shell has to act on, once the lock is open. Level-triggered: each is looked at anew by whoever it wakes.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Streams for which something has happened that somebody waits for.
    pub(crate) ready: Vec<(Key, Ready)>,
    /// Memory to give back: dropping it calls the memory manager.
    pub(crate) released: Vec<Reservation>,
    /// What there is to log: saying it calls a subscriber.
    pub(crate) notes: Notes,
    /// Look at whether a stream can be accepted.
    pub(crate) incoming: bool,
    /// Look at whether a stream can be opened.
    pub(crate) openable: bool,
    /// Look at the ping.
    pub(crate) pong: bool,
    /// There is something to send.
    pub(crate) attention: bool,
    /// What the driver waits for besides is another thing now: until when, or for which memory. It has to know also
    /// while the transport takes nothing.
    pub(crate) outlook: bool,
}

/// Why a stream cannot be opened now.
#[derive(Clone, Debug)]
pub(crate) enum OpenBlocked {
    /// Too many streams wait for the peer to acknowledge them.
    Backlog,
    /// It never will be.
    Failed(OpenError),
}

impl Mux {
    /// A new connection. `seed` decides ping nonces and how ids are spread; it must not be known to the peer.
    pub(crate) fn new(mode: Mode, config: Config, seed: u64, now: Instant) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let spread = Spread::new(rng.random());
        Self {
            lifecycle: Lifecycle::Open,
            store: Store::new(spread),
            control_queue: Queue::new(),
            schedule: Schedule::new(),
            control: Control::new(config.ping_backlog()),
            liveness: Liveness::new(&config, now),
            pool: Pool::new(config.max_send_buffer()),
            shelf: Shelf::default(),
            tombstones: Tombstones::new(spread),
            half_open: HalfOpen::new(spread, now),
            incoming: VecDeque::new(),
            ledger: Ledger::new(now),
            draining: false,
            ends: Ends::default(),
            body: None,
            last_data: now,
            windows: Windows::default(),
            withheld: Withheld::default(),
            urgency: Urgency::default(),
            ahead: None,
            useless: Budget::new(USELESS_FRAMES, now),
            rapid: Budget::new(RAPID_RESETS, now),
            seed: rng.random(),
            remote_away: false,
            local_away: false,
            cut: 0,
            flushed: 0,
            flushing: Queue::new(),
            answering: Answering::default(),
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

    pub(crate) const fn rtt(&self) -> Option<Duration> {
        self.liveness.rtt.latest()
    }

    /// When the peer last gave a sign of life.
    pub(crate) const fn heard_at(&self) -> Instant {
        self.liveness.heard_at()
    }

    /// What has happened and was not acted on yet.
    pub(crate) const fn events_mut(&mut self) -> &mut Events {
        &mut self.events
    }

    /// Whether [`Mux::open`] would work.
    pub(crate) fn can_open(&self) -> Result<StreamId, OpenBlocked> {
        let failed = match &self.lifecycle {
            Lifecycle::Closed(reason) => OpenError::Connection(reason.clone()),
            Lifecycle::Closing { .. } => OpenError::Closing,
            // Y-AWAY-1.
            Lifecycle::Open if self.remote_away => OpenError::RemoteGoAway,
            Lifecycle::Open => match self.next_id {
                None => OpenError::StreamsExhausted,
                // Y-ACK-2, Y-ACK-4: derived from the streams' states, not a semaphore.
                Some(_) if self.awaiting_ack() >= self.config.accept_backlog() => return Err(OpenBlocked::Backlog),
                Some(id) => return Ok(id),
            },
        };
        Err(OpenBlocked::Failed(failed))
    }

    /// Streams of this end's that the peer has not acknowledged, those that are half open included.
    pub(super) const fn awaiting_ack(&self) -> usize {
        self.unacknowledged.saturating_add(self.half_open.unacknowledged())
    }

    /// Opens a stream with the window that `reservation` is for, [`first_reservation`] of bytes or, where that is promised,
    /// the least that yamux allows. Nothing is sent yet (Y-OPEN-1, Y-OPEN-2).
    pub(crate) fn open(&mut self, reservation: Reservation) -> Result<(Key, StreamId), OpenBlocked> {
        let id = match self.can_open() {
            Ok(id) => id,
            Err(blocked) => {
                self.events.released.push(reservation);
                return Err(blocked);
            }
        };
        self.next_id = id.value().checked_add(2).and_then(StreamId::new);
        let key = self.insert(id, Handshake::Lazy, reservation);
        count(&mut self.ledger.opened);
        Ok((key, id))
    }

    /// Asks for a ping, or says how the one that `ticket` is for stands.
    pub(crate) fn ping(&mut self, ticket: &mut Option<u64>, now: Instant) -> Result<PingProgress, ConnectionError> {
        if let Lifecycle::Closed(reason) = &self.lifecycle {
            return Err(reason.clone());
        }
        // Who asks how it stands has no work for the driver, which may be the same task.
        let asks = ticket.is_none();
        let progress = self.liveness.user_ping(ticket, now);
        self.events.attention |= asks;
        self.events.outlook |= asks;
        Ok(progress)
    }

    /// Nobody waits for that ping any more.
    pub(crate) fn forget_ping(&mut self, ticket: u64) {
        self.liveness.user.forget(ticket);
    }

    /// Tells the peer that no new streams are taken; the open ones live on (Y-AWAY-3).
    pub(crate) fn go_away(&mut self) {
        if !self.local_away && matches!(self.lifecycle, Lifecycle::Open) {
            self.local_away = true;
            self.control.owe_go_away(0);
            self.events.attention = true;
        }
    }

    /// Begins to close: what was written goes out, then a go-away with `code` (Y-CLOSE-1).
    pub(crate) fn close(&mut self, code: u32) {
        let reason = match code {
            0 => ConnectionError::Closed { by: Side::Local },
            code => ConnectionError::GoAway { by: Side::Local, code },
        };
        self.begin_close(code, reason);
    }

    pub(super) fn begin_close(&mut self, code: u32, reason: ConnectionError) {
        if matches!(self.lifecycle, Lifecycle::Open) {
            self.lifecycle = Lifecycle::Closing { code, reason, said: false };
            self.coalesce_until = None;
            (self.events.attention, self.events.outlook) = (true, true);
            self.events.openable = true;
        }
    }

    /// Nobody is there any more to open or accept streams: those that wait and those that come are refused, and the
    /// connection closes with the last of the others (Y-CLOSE-8).
    pub(crate) fn drain(&mut self, now: Instant) {
        self.tick(now);
        self.draining = true;
        self.local_away = true;
        while let Some(key) = self.take_incoming() {
            let told = self.end_with_reset(key, 0);
            add(&mut self.ledger.refusals.incoming_by_go_away, told.into());
            self.release(key, 0, Leave::Closed, now);
        }
        self.close_if_drained();
    }

    /// After a go-away with code 0 from the peer, where nobody uses it here, and where no stream can be opened any more, the
    /// connection closes when its last stream has ended (Y-AWAY-1, Y-AWAY-4).
    pub(super) fn close_if_drained(&mut self) {
        if self.store.live() == 0 && (self.remote_away || self.draining || self.ends.is_retiring()) {
            self.close_drained();
        }
    }

    /// Closes in good order what has no use any more.
    pub(super) fn close_drained(&mut self) {
        let by = if self.remote_away { Side::Remote } else { Side::Local };
        self.begin_close(0, ConnectionError::Closed { by });
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
        if self.coalesce_until.is_some_and(|until| now >= until) {
            self.coalesce_until = None;
        }
        self.events.released.extend(self.pool.handle_timeout(now));
        self.look_at_windows(now);
        self.call_in_debts(now);
        self.end_pace(now);
        self.end_late(now);
        self.rest_if_quiet(now);
        self.close_if_overdue(now);
        match self.liveness.handle_timeout(now) {
            Verdict::Fine => {}
            Verdict::Dead => self.fail(ConnectionError::KeepAliveTimeout),
        }
        self.events.pong |= self.liveness.user.take_ended();
    }

    /// When [`Mux::handle_timeout`] has to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.closed().is_some() {
            return None;
        }
        let memory = sooner(self.pool.poll_timeout(), self.next_look());
        let data = sooner(sooner(self.coalesce_until, self.pace_ends()), self.debts_due());
        let life = sooner(self.liveness.poll_timeout(), self.ends.overdue_at());
        let streams = sooner(self.half_open.poll_timeout(), self.rests_at());
        sooner(sooner(memory, data), sooner(life, streams))
    }

    pub(super) fn insert(&mut self, id: StreamId, handshake: Handshake, reservation: Reservation) -> Key {
        self.forget(id);
        let priority = self.config.default_priority();
        self.ledger.reserved(priority, reservation.bytes());
        let window = match self.config.receive_charge() {
            ReceiveCharge::Window => u32::try_from(reservation.bytes()).unwrap_or(u32::MAX),
            ReceiveCharge::Buffered => self.config.initial_stream_window(),
        };
        let stream = Stream::new(id, handshake, priority, window, reservation);
        match handshake.is_unacknowledged() {
            true => self.unacknowledged = self.unacknowledged.saturating_add(1),
            false => self.inbound = self.inbound.saturating_add(1),
        }
        self.store.insert(stream)
    }

    /// Moves a stream's handshake on and keeps the count of unacknowledged streams: the one place that does.
    pub(super) fn set_handshake(&mut self, key: Key, next: Handshake) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let before = std::mem::replace(&mut stream.handshake, next);
        if before.is_unacknowledged() && !next.is_unacknowledged() {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
            self.events.openable = true;
        }
    }

    /// Tells the shell that something has happened, as far as somebody waits for it.
    pub(super) fn notify(&mut self, key: Key, what: Ready) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let wanted = stream.interest & what;
        if !wanted.is_empty() {
            stream.interest = stream.interest & !wanted;
            self.events.ready.push((key, wanted));
            if wanted.contains(Ready::FLUSH) {
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
            let (priority, queued) = (stream.priority, stream.motion().data_links.is_queued());
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
