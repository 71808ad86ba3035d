//! Verbs of [`Mux`] for what leaves: frames are encoded when the socket has room, and what they say is decided then.
//!
//! Also when writing goes before reading, when a batch waits for more, and when a peer that takes nothing was waited for long
//! enough (Y-LIMIT-4). The order of streams is the schedule's. Never does IO.

use super::{Lifecycle, Mux};
use crate::proto::events::notes::Notes;
use crate::proto::flow::requests::CreditState;
use crate::proto::key::Key;
use crate::proto::limits::{BATCH_BYTES, INITIAL_WINDOW, LEVEL_BATCH_BYTES};
use crate::proto::send::batch::Batch;
use crate::proto::send::pacer::Limit;
use crate::proto::stream::readiness::Readiness;
use crate::proto::stream::{Handshake, HandshakeEvent, ReceiveState, SendEvent, SendState, Stream};
use crate::wire::{Flags, Header, PingKind};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use web_time::Instant;

impl Mux {
    /// Encodes frames into `batch` until it holds `budget` bytes or there is nothing to send. Says whether it put any in.
    ///
    /// The order is the law's: what is owed for the connection, what is owed for streams, then data by priority
    /// (Y-PRIO-2, Y-PRIO-4).
    pub(crate) fn poll_transmit(&mut self, batch: &mut Batch, budget: usize, now: Instant) -> bool {
        let before = batch.len();
        let number = self.last_encoded.wrapping_add(1);
        // A stream may end with what is encoded now, and time begins to run.
        self.tick(now);
        match self.lifecycle {
            Lifecycle::Closed(_) => {
                let go_away = self.control.take_go_away();
                go_away.into_iter().for_each(|header| put(batch, &mut self.events.notes, header));
            }
            // Y-CLOSE-1: the go-away of a close is the last word.
            Lifecycle::Closing { said: true, .. } => {}
            Lifecycle::Open | Lifecycle::Closing { .. } => {
                if self.pacer.wants_ping(&self.schedule, &self.pinger.rtt, now) {
                    // Y-PRIO-5.
                    self.pinger.ping_to_pace(now);
                }
                self.encode_control(batch, budget, now);
                self.encode_stream_control(batch, budget, number, now);
                self.encode_data(batch, budget, number, now);
                self.encode_last(batch, budget);
            }
        }
        let cut = batch.len() > before;
        if cut {
            self.last_encoded = number;
            self.moved(now);
            self.counters.sent.add(&batch.count());
            self.send_pool.recycle(batch.copied());
        }
        cut
    }

    /// How much a batch may hold: as little as keeps the transport busy where something may become urgent meanwhile.
    pub(crate) fn batch_budget(&self) -> usize {
        if self.counters.is_level() { LEVEL_BATCH_BYTES } else { BATCH_BYTES }
    }

    /// A batch was written to the transport: `data` bytes of bodies are gone from memory, their chunks are `spent`.
    pub(crate) fn handle_written(&mut self, data: usize, spent: impl IntoIterator<Item = Bytes>) {
        if self.closed().is_none() {
            self.control.batch_written();
            self.send_pool.written(data);
            self.ends.batch_written(self.last_encoded);
            self.send_pool.recycle(spent);
            self.wake_writers();
        }
    }

    /// Whether a stream that waits for a flush has nothing left but that: all it wrote has been encoded.
    pub(crate) fn wants_flush(&self) -> bool {
        self.flushing.iter(&self.store).any(|key| self.store.get(key).is_some_and(Stream::is_encoded))
    }

    /// The number of the last batch that was encoded.
    pub(crate) const fn last_encoded(&self) -> u64 {
        self.last_encoded
    }

    /// The transport has flushed the batches up to `number`, all of which had been written whole (Y-SEND-3). Others may have
    /// been encoded since (Y-SEND-5).
    pub(crate) fn handle_flushed(&mut self, number: u64) {
        self.flushed = number;
        let mut next = self.flushing.first();
        while let Some(key) = next {
            next = self.flushing.after(&self.store, key);
            if self.store.get(key).is_some_and(|stream| stream.is_encoded() && stream.send.last_batch <= number) {
                self.notify(key, Readiness::FLUSH);
            }
        }
        if let Lifecycle::Closing { reason, said: true, .. } = &self.lifecycle
            && number == self.last_encoded
        {
            self.fail(reason.clone());
        }
    }

    /// There is nothing to send: memory that only a busy connection needs is given back after a while.
    pub(crate) fn handle_idle(&mut self, now: Instant) {
        self.send_pool.idle(now);
    }

    /// Bytes that wait to be encoded, where it pays to let others add to them first: there are readers who may be about to
    /// answer, nothing urgent waits, and a batch is not full yet.
    pub(crate) fn coalesces(&self) -> Option<usize> {
        let waiting = self.send_pool.used();
        let open = matches!(self.lifecycle, Lifecycle::Open);
        let urgent = self.schedule.is_urgent(self.config.default_priority());
        let worth = open && self.pending_readers.any() && (1..BATCH_BYTES).contains(&waiting) && !urgent;
        worth.then_some(waiting)
    }

    /// A batch was put off and nobody has added to it: half of them are taken for busy with something else, so that who is
    /// keeps no more than a few batches.
    pub(crate) const fn coalesced_in_vain(&mut self) {
        self.pending_readers.forget_half();
    }

    /// Whether what is owed has to be written before more of what was read is applied.
    pub(crate) fn must_write(&self) -> bool {
        self.control.must_write()
    }

    /// The transport takes nothing of what is to be written.
    pub(crate) fn transport_is_full(&mut self, now: Instant) {
        self.transport_stalls(now);
        self.control.transport_is_full(now);
    }

    /// The transport takes nothing ever again: what is owed is forgotten.
    pub(crate) fn forget_debts(&mut self) {
        self.control.mute();
    }

    /// Ends the connection where a peer has made this end owe more than it may, and has taken nothing for too long.
    pub(super) fn call_in_debts(&mut self, now: Instant) {
        if let Some(violation) = self.control.overdue(self.config.connection_write_timeout(), now) {
            self.violated(violation);
        }
    }

    /// When that will be.
    pub(super) fn debts_due(&self) -> Option<Instant> {
        self.control.overdue_at(self.config.connection_write_timeout())
    }

    fn encode_control(&mut self, batch: &mut Batch, budget: usize, now: Instant) {
        while batch.len() < budget {
            let Some(header) = self.control.next().or_else(|| self.next_late_reset()) else { break };
            put(batch, &mut self.events.notes, header);
        }
        if self.pinger.is_owed() && batch.len() < budget {
            let nonce = self.next_nonce();
            put(batch, &mut self.events.notes, Header::Ping { kind: PingKind::Request, nonce });
            self.pinger.ping_encoded(nonce, now);
            self.pacer.refill(&self.pinger.rtt);
        }
    }

    fn next_nonce(&mut self) -> u32 {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let nonce = rng.random();
        self.seed = rng.random();
        nonce
    }

    fn encode_stream_control(&mut self, batch: &mut Batch, budget: usize, number: u64, now: Instant) {
        while batch.len() < budget {
            let Some(key) = self.control_queue.pop(&mut self.store) else { break };
            self.encode_owed(key, batch, number, now);
            self.settle(key);
        }
    }

    /// Encodes what one stream owes besides data: first the SYN (Y-OPEN-3), then ACK and credit as one frame; or only a reset.
    fn encode_owed(&mut self, key: Key, batch: &mut Batch, number: u64, now: Instant) {
        let Some(stream) = self.store.get_mut(key) else { return };
        if std::mem::take(&mut stream.owed.reset) {
            let value = stream.reset.map_or(0, |reset| reset.code);
            let header = Header::WindowUpdate { id: stream.id, flags: Flags::RST, value };
            put(batch, &mut self.events.notes, header);
            stream.updates.sent();
            return;
        }
        let (flags, event) = match stream.handshake {
            Handshake::Lazy if stream.owed.syn || !stream.active().unsent.is_empty() => {
                (Flags::SYN, Some(HandshakeEvent::SynQueued))
            }
            Handshake::Accepted => (Flags::ACK, Some(HandshakeEvent::AckQueued)),
            Handshake::Lazy | Handshake::SynSent | Handshake::Incoming | Handshake::Done => (Flags::NONE, None),
        };
        if event.is_none() && !stream.owes_credit() {
            return;
        }
        if flags == Flags::SYN {
            stream.owed.syn = false;
            stream.send.last_batch = number;
        }
        let header = Header::WindowUpdate { id: stream.id, flags, value: grant(stream, now) };
        put(batch, &mut self.events.notes, header);
        stream.updates.sent();
        if let Some(event) = event {
            let next = stream.handshake.on(event);
            self.set_handshake(key, next);
        }
    }

    /// The stream whose turn it is to send, and how much: up to `frame` bytes, or what a more urgent one leaves it.
    fn next_turn(&mut self, frame: usize, now: Instant) -> Option<(Key, usize)> {
        let Some(Limit { urgent, room }) = self.pacer.limit(&self.pinger.rtt, now) else {
            return Some((self.schedule.pop(&mut self.store, None)?, frame));
        };
        let key = self.schedule.pop(&mut self.store, (room == 0).then_some(urgent))?;
        let makes_way = self.store.get(key).is_some_and(|stream| stream.priority.bucket() < urgent.bucket());
        // Y-PRIO-3: where there is no room, it has waited for too long.
        Some((key, if makes_way && room > 0 { frame.min(room) } else { frame }))
    }

    fn encode_data(&mut self, batch: &mut Batch, budget: usize, number: u64, now: Instant) {
        let frame = self.config.max_message_size() as usize;
        if self.coalesce_until.is_some_and(|until| now < until) && self.send_pool.used() < frame {
            return;
        }
        while batch.len() < budget {
            let Some((key, max)) = self.next_turn(frame, now) else { break };
            self.encode_frame(key, batch, max, number, now);
            self.queue_data(key);
            self.settle(key);
        }
    }

    /// Encodes one data frame of a stream, or its FIN when all data has left (Y-SEND-1, Y-FIN-4).
    fn encode_frame(&mut self, key: Key, batch: &mut Batch, max: usize, number: u64, now: Instant) {
        if self.store.get(key).is_some_and(|stream| stream.handshake == Handshake::Lazy) {
            if let Some(stream) = self.store.get_mut(key) {
                stream.owed.syn = true;
            }
            self.encode_owed(key, batch, number, now);
        }
        let Some(stream) = self.store.get_mut(key) else { return };
        let before = std::mem::replace(&mut stream.send.last_batch, number);
        let (id, priority, buffered) = (stream.id, stream.priority, stream.active().unsent.len());
        let mut left = buffered.min(max);
        let len = u32::try_from(left).unwrap_or(u32::MAX);
        if len > 0 {
            let header = Header::Data { id, flags: Flags::NONE, len };
            put(batch, &mut self.events.notes, header);
            stream.sent.data_frame();
            stream.sent.body(left);
            while left > 0 {
                let Some(piece) = stream.active.as_mut().and_then(|active| active.unsent.pop(left)) else { break };
                left = left.saturating_sub(piece.len());
                batch.body(piece);
            }
            self.schedule.sent(priority, len);
            self.send_pool.encoded(priority, len as usize);
            let is_lowest = || self.counters.is_lowest(priority);
            self.pacer.sent(priority, len as usize, &self.pinger.rtt, is_lowest, now);
        }
        let Some(stream) = self.store.get_mut(key) else { return };
        if stream.active().unsent.is_empty() && stream.send.state == SendState::Closing {
            // Y-SEND-2, Y-FIN-4: the FIN is a frame of its own, never on a body.
            stream.send.state = stream.send.state.on(SendEvent::FinQueued);
            stream.send.fin_alone = len == 0 && before < number;
            self.ends.fin_encoded(number);
            put(batch, &mut self.events.notes, Header::Data { id, flags: Flags::FIN, len: 0 });
            stream.sent.data_frame();
        } else if stream.active().unsent.is_empty() && stream.send.state == SendState::Aborting {
            // Y-DROP-8: in the place of the FIN.
            self.end_in_reset(key);
            put(batch, &mut self.events.notes, Header::WindowUpdate { id, flags: Flags::RST, value: 0 });
        }
        self.store.release_if_idle(key);
    }

    /// Encodes the go-away that ends a connection which this end closes, once all else has left (Y-CLOSE-1).
    fn encode_last(&mut self, batch: &mut Batch, budget: usize) {
        let owes = !self.control.is_empty() || self.half_open.owes_resets();
        let drained = !owes && self.control_queue.is_empty() && self.schedule.is_empty();
        if drained
            && batch.len() < budget
            && let Lifecycle::Closing { code, said: said @ false, .. } = &mut self.lifecycle
        {
            put(batch, &mut self.events.notes, Header::GoAway { code: *code });
            *said = true;
            self.control.mute();
            // Y-CLOSE-14: without streams the peer closes, too, and says so by that.
            if self.ends.asks_confirmation() && self.store.live().saturating_add(self.half_open.len()) > 0 {
                let nonce = self.next_nonce();
                self.ends.confirm_by(nonce);
                put(batch, &mut self.events.notes, Header::Ping { kind: PingKind::Request, nonce });
            }
        }
    }
}

/// Puts a header into a batch. Each one that leaves comes through here.
fn put(batch: &mut Batch, notes: &mut Notes, header: Header) {
    notes.sent(header);
    batch.header(header);
}

/// All credit that the window allows and the peer does not know of, as long as it can use it.
fn grant(stream: &mut Stream, now: Instant) -> u32 {
    debug_assert!(stream.receive.window.size() >= INITIAL_WINDOW);
    match stream.receive.state {
        ReceiveState::Open | ReceiveState::Stopped => match &mut stream.active {
            Some(active) if active.credit_state != CreditState::Settled => {
                let minimum_credit = std::mem::take(&mut active.minimum_credit);
                stream.receive.window.grant_up_to(minimum_credit, now)
            }
            Some(_) | None => stream.receive.window.grant(now),
        },
        // Y-ACK-1, Y-FLOW-6: the peer has no use for it.
        ReceiveState::Finished | ReceiveState::Done | ReceiveState::Reset => 0,
    }
}
