//! Verbs of [`Mux`] that encode frames. Frames are encoded when the transport has room, and their content is decided
//! then.
//!
//! These verbs also decide when the driver writes before it reads, when it waits for more small writes to coalesce, and
//! when a peer has read nothing for too long (Y-LIMIT-4). The schedule decides the order of streams. Never does IO.

use super::view::View;
use super::{Lifecycle, Mux};
use crate::counting::count_down;
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
    /// Encodes frames into `batch` until it holds `budget` bytes or there is nothing to send. Returns whether it
    /// encoded any.
    ///
    /// First come the control frames of the connection, then those of streams, then data by priority (Y-PRIO-2,
    /// Y-PRIO-4).
    pub(crate) fn poll_transmit(&mut self, batch: &mut Batch, budget: usize, now: Instant) -> bool {
        let before = batch.len();
        let number = self.last_encoded.wrapping_add(1);
        // A stream may end with a frame encoded here, and its time-outs run from now on.
        let now = self.advance(now);
        match self.lifecycle {
            Lifecycle::Closed(_) => {
                let go_away = self.control.take_go_away();
                go_away.into_iter().for_each(|header| put(batch, &mut self.events.notes, header));
            }
            // Y-CLOSE-1: the go-away of a close is the last word.
            Lifecycle::Closing { said: true, .. } => {}
            Lifecycle::Open | Lifecycle::Closing { .. } => {
                self.update_pacer(now);
                self.encode_control(batch, budget, now);
                self.encode_stream_control(batch, budget, number, now);
                self.encode_data(batch, budget, number, now);
                if self.pacer.is_used() {
                    self.pacer.encoded(&self.schedule, now);
                }
                self.encode_last(batch, budget);
            }
        }
        let encoded = batch.len() > before;
        if encoded {
            self.last_encoded = number;
            self.moved(now);
            self.counters.sent.add(&batch.count());
            self.send_pool.recycle(batch.copied());
        }
        encoded
    }

    /// Most bytes of a batch. Fewer where a stream may become urgent meanwhile: just enough to keep the transport busy.
    pub(crate) fn batch_budget(&self) -> usize {
        if self.levels.is_level() { LEVEL_BATCH_BYTES } else { BATCH_BYTES }
    }

    /// A batch was written to the transport: `data` bytes of bodies have left the send buffers, and their chunks are
    /// `spent`.
    pub(crate) fn handle_written(&mut self, data: usize, spent: impl IntoIterator<Item = Bytes>, now: Instant) {
        if self.closed().is_none() {
            self.control.batch_written();
            self.send_pool.written(data);
            self.ends.batch_written(self.last_encoded);
            self.send_pool.recycle(spent);
            let now = self.advance(now);
            self.wake_writers(now);
        }
    }

    /// Whether some stream only waits for the transport's flush: all it wrote has been encoded.
    pub(crate) fn wants_flush(&self) -> bool {
        self.flushing.iter(&self.store).any(|key| self.store.get(key).is_some_and(Stream::is_encoded))
    }

    /// The number of the last batch that was encoded.
    pub(crate) const fn last_encoded(&self) -> u64 {
        self.last_encoded
    }

    /// The transport has flushed the batches up to `number`, all of which had been written completely (Y-SEND-3). Later
    /// batches may have been encoded since (Y-SEND-5).
    pub(crate) fn handle_flushed(&mut self, number: u64, now: Instant) {
        self.flushed = number;
        let mut next = self.flushing.first();
        while let Some(key) = next {
            next = self.flushing.after(&self.store, key);
            let flushed = |view: &View<'_>| view.stream.is_encoded() && view.stream.send.last_batch <= number;
            if let Some(mut view) = self.view(key).filter(flushed) {
                view.notify(Readiness::FLUSH);
                self.sync_queues(key);
            }
        }
        if let Lifecycle::Closing { reason, said: true, .. } = &self.lifecycle
            && number == self.last_encoded
        {
            self.fail(reason.clone(), now);
        }
    }

    /// The connection has nothing to send: starts the timer that gives back the memory of a busy connection.
    pub(crate) fn handle_idle(&mut self, now: Instant) {
        self.send_pool.idle(now);
    }

    /// Bytes that wait to be encoded, where coalescing pays: readers are about to answer, no urgent stream waits, and a
    /// batch is not full yet.
    pub(crate) fn coalesces(&self) -> Option<usize> {
        let waiting = self.send_pool.used();
        let open = matches!(self.lifecycle, Lifecycle::Open);
        let urgent = self.schedule.is_urgent(self.config.default_priority());
        let worth = open && self.pending_readers.any() && (1..BATCH_BYTES).contains(&waiting) && !urgent;
        worth.then_some(waiting)
    }

    /// A batch was put off, and no stream has added to it. Half of the pending readers count as busy with something
    /// else, so that they delay no more than a few batches.
    pub(crate) const fn coalesced_in_vain(&mut self) {
        self.pending_readers.forget_half();
    }

    /// Whether control frames have to be written before more of the bytes read is applied.
    pub(crate) fn must_write(&self) -> bool {
        self.control.must_write()
    }

    /// The transport is full.
    pub(crate) fn transport_is_full(&mut self, now: Instant) {
        self.transport_stalls(now);
        self.control.transport_is_full(now);
    }

    /// The transport has failed for writing: owed control frames are dropped.
    pub(crate) fn drop_owed_control(&mut self) {
        self.control.mute();
    }

    /// Ends the connection of a peer that made this end owe more control frames than it may, and has read nothing for
    /// too long.
    pub(super) fn end_if_control_overdue(&mut self, now: Instant) {
        if let Some(violation) = self.control.overdue(self.config.connection_write_timeout(), now) {
            self.violated(violation, now);
        }
    }

    /// When that is due.
    pub(super) fn control_overdue_at(&self) -> Option<Instant> {
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
        }
        self.encode_marker(batch, now);
    }

    /// Looks at which priorities are in use (Y-PRIO-5).
    pub(super) fn update_pacer(&mut self, now: Instant) {
        if !self.pacer.is_used() {
            return;
        }
        self.pacer.update(self.levels.are_open(), self.pinger.rtt.latest().is_some(), now);
        if self.pacer.top().is_none() {
            self.inflow.stop();
        }
    }

    /// Encodes a marker, where the pacer wants one (Y-PRIO-6).
    fn encode_marker(&mut self, batch: &mut Batch, now: Instant) {
        if self.pacer.is_used() && self.pacer.wants_marker(&self.schedule, now) {
            let nonce = self.next_nonce();
            put(batch, &mut self.events.notes, Header::Ping { kind: PingKind::Request, nonce });
            self.pacer.marked(nonce, now);
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
            self.sync(key, now);
        }
    }

    /// Encodes a stream's control frames: first the SYN (Y-OPEN-3), then ACK and credit as one frame; or only a reset.
    fn encode_owed(&mut self, key: Key, batch: &mut Batch, number: u64, now: Instant) {
        let Some(mut view) = self.view(key) else { return };
        let stream = &mut *view.stream;
        if std::mem::take(&mut stream.owed.reset) {
            let value = stream.reset.map_or(0, |reset| reset.code);
            let header = Header::WindowUpdate { id: stream.id, flags: Flags::RST, value };
            put(batch, &mut view.events.notes, header);
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
        put(batch, &mut view.events.notes, header);
        stream.updates.sent();
        if let Some(event) = event {
            view.handshake(event);
        }
    }

    /// The stream whose turn it is to send, and how much it may: `frame` bytes, or what the pacer leaves it.
    fn next_turn(&mut self, frame: usize, now: Instant) -> Option<(Key, usize)> {
        let limit = if self.pacer.is_used() { self.pacer.limit(now) } else { None };
        let Some(Limit { top, room, piece }) = limit else {
            return Some((self.schedule.pop(&mut self.store, 0, now)?, frame));
        };
        let key = self.schedule.pop(&mut self.store, if room == 0 { top } else { 0 }, now)?;
        let makes_way = self.store.get(key).is_some_and(|stream| stream.priority.bucket() < top);
        // Y-PRIO-3: a paced stream without room was only chosen because it is starved.
        let room = if room == 0 { piece } else { room.min(piece) };
        Some((key, if makes_way { frame.min(room) } else { frame }))
    }

    fn encode_data(&mut self, batch: &mut Batch, budget: usize, number: u64, now: Instant) {
        let frame = self.config.max_message_size() as usize;
        if self.coalesce_until.is_some_and(|until| now < until) && self.send_pool.used() < frame {
            return;
        }
        while batch.len() < budget {
            let Some((key, max)) = self.next_turn(frame, now) else { break };
            self.encode_frame(key, batch, max, number, now);
            self.sync(key, now);
            self.encode_marker(batch, now);
        }
    }

    /// Encodes one data frame of a stream, or its FIN once all its data is encoded (Y-SEND-1, Y-FIN-4).
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
                left = count_down(left, piece.len());
                batch.body(piece);
            }
            self.schedule.sent(priority, len);
            self.send_pool.encoded(priority, len as usize);
            // Y-PRIO-7.
            let is_lowest = || !self.config.pacing() || self.levels.is_lowest(priority);
            self.pacer.sent(priority.bucket(), len as usize, is_lowest, now);
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
    }

    /// Encodes the go-away of a close that this end began, once all else is encoded (Y-CLOSE-1).
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
            // Y-CLOSE-14: without streams the peer closes as well, and its close is the confirmation.
            if self.ends.asks_confirmation() && self.store.live().saturating_add(self.half_open.len()) > 0 {
                let nonce = self.next_nonce();
                self.ends.confirm_by(nonce);
                put(batch, &mut self.events.notes, Header::Ping { kind: PingKind::Request, nonce });
            }
        }
    }
}

/// Encodes a header into a batch. Every frame that this end sends goes through here.
fn put(batch: &mut Batch, notes: &mut Notes, header: Header) {
    notes.sent(header);
    batch.header(header);
}

/// The credit to grant: all that the window allows and the peer has not been granted, as long as the peer can use it.
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
