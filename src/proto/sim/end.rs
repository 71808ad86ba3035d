//! Owns [`End`]: one core with its application, and the part of the shell that the simulation plays.

use super::moody::Moody;
use super::oracle::{Oracle, REFUSAL, ReadEnd, pattern};
use super::{Chance, Load, Reached, Weather};
use crate::config::{Config, ReceiveCharge};
use crate::error::StreamError;
use crate::memory::{MemoryManager, Reservation};
use crate::mode::Mode;
use crate::priority::Priority;
use crate::proto::stream::{ReceiveState, Stream};
use crate::proto::{Admission, Batch, Charge, Chunks, FlushError, Key, Leave, Mux, ReadError, Taken, WriteError};
use crate::wire::{Frame, Header, Parser, PingKind};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use web_time::Instant;

/// As it is by default.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Pings beyond the core's after which there are no more bursts in a run: two ends that owe each other more than a ring holds
/// at all, and both of whose transports are full, wait for each other.
const MANY_PINGS: u64 = 300;

/// A stream as the application holds it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) id: u32,
    /// Bytes of a chunk that were taken and not used.
    unread: u32,
    /// The application writes until it is told that the peer does not read.
    insists: bool,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) side: usize,
    pub(super) mux: Mux,
    pub(super) limit: Arc<Moody>,
    manager: Arc<dyn MemoryManager>,
    pub(super) held: Vec<Held>,
    parser: Parser,
    unparsed: Vec<u8>,
    batch: Batch,
    /// Encoded batches that the socket has not taken, and how many bytes of bodies they hold.
    pub(super) unsent: VecDeque<u8>,
    pub(super) unsent_data: usize,
    spent: Vec<Bytes>,
    load: Load,
    /// Bytes that the application still writes in this run.
    volume: u64,
    /// The link carries several windows in a run.
    is_wide: bool,
    /// How far its clock is ahead of the other's: it has jumped, as it does where a machine sleeps.
    jumped: Duration,
    /// Windows that `check` has found smaller than they had been.
    pub(super) smaller: u64,
    /// How often something waited beside something urgent.
    paced: u64,
    /// Whether something has arrived that waits until what is owed has left, and how often that was so.
    pub(super) is_held_back: bool,
    held_back: u64,
    /// Pings that were sent beside those of the core.
    pub(super) foreign_pings: u64,
    /// Whether an error of the connection is to be expected.
    pub(super) may_end: bool,
}

impl End {
    pub(super) fn new(
        side: usize,
        volume: u64,
        load: Load,
        weather: Weather,
        chance: &mut Chance,
        now: Instant,
    ) -> Self {
        let limits: &[u64] = load.pick(&[2 << 20, 16 << 20, 1 << 30], &[300_000, 1 << 20]);
        let limit = Arc::new(Moody::new(limits, chance));
        let used = load == Load::Scarce || chance.of(2);
        let manager: Arc<dyn MemoryManager> = limit.clone();
        let config = Config::builder()
            .memory(manager.clone())
            .receive_charge(if used { ReceiveCharge::Buffered } else { ReceiveCharge::Window })
            .accept_backlog(chance.pick(&[1, 4, 256]) as usize)
            .max_incoming_streams(chance.pick(&[3, 1000]) as usize)
            .initial_stream_window(chance.pick(&[256 << 10, 300_000]) as u32)
            .max_stream_window(chance.pick(&[300_000, 16 << 20]) as u32)
            .max_message_size(chance.pick(&[1024, 16 << 10, 64 << 10]) as u32)
            .pacing(chance.of(2))
            .write_coalesce_delay(Duration::from_micros(chance.pick(&[0, 0, 100])))
            .refusal_code(REFUSAL)
            .keep_alive_interval((weather != Weather::Jumps).then_some(KEEP_ALIVE))
            .build()
            .expect("valid");
        let mode = if side == 0 { Mode::Client } else { Mode::Server };
        let mut mux = Mux::new(mode, config, chance.seed(), now);
        // The virtual clock is exact, although it often does not advance between two steps.
        mux.stats(now + Duration::from_nanos(1));
        Self {
            side,
            mux,
            limit,
            manager,
            held: Vec::new(),
            parser: Parser::default(),
            unparsed: Vec::new(),
            batch: Batch::default(),
            unsent: VecDeque::new(),
            unsent_data: 0,
            spent: Vec::new(),
            load,
            volume,
            is_wide: volume > 4 << 20,
            jumped: Duration::ZERO,
            smaller: 0,
            paced: 0,
            is_held_back: false,
            held_back: 0,
            foreign_pings: 0,
            may_end: false,
        }
    }

    pub(super) fn reached(&mut self) -> Reached {
        let stats = self.mux.stats(self.mux.inspect().latest);
        Reached {
            out_of_memory: stats.resets.out_of_memory,
            credit_denied: stats.refusals.credit,
            smaller: self.smaller,
            paced: self.paced,
            held_back: self.held_back,
            outages: 0,
        }
    }

    /// What its clock shows. Threads that look at it at once do not always come in that order.
    pub(super) fn clock(&self, now: Instant, chance: &mut Chance) -> Instant {
        let now = now + self.jumped;
        if chance.of(16) { now.checked_sub(Duration::from_micros(500)).unwrap_or(now) } else { now }
    }

    pub(super) fn may_jump(&mut self, chance: &mut Chance) {
        if chance.of(100) {
            self.jumped += Duration::from_millis(chance.pick(&[1, 1_000, 60_000, 10_000_000]));
        }
    }

    /// When it has something to do, by the other's clock.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.mux.poll_timeout()?.checked_sub(self.jumped)
    }

    fn reserve(&self, bytes: usize, priority: Priority) -> Option<Reservation> {
        Reservation::new(&self.manager, bytes, priority).ok()
    }

    /// What the shell does after every call: memory is given back, wakers are the application's own business here.
    pub(super) fn settle(&mut self) {
        let events = self.mux.events_mut();
        events.ready.clear();
        drop(std::mem::take(&mut events.released));
    }

    pub(super) fn receive(&mut self, bytes: &[u8], chance: &mut Chance, now: Instant) {
        self.mux.heard(now);
        self.unparsed.extend_from_slice(bytes);
        self.apply(chance, now);
    }

    /// Hands what has arrived to the core, unless what is owed has to leave first.
    pub(super) fn apply(&mut self, chance: &mut Chance, now: Instant) {
        let unparsed = std::mem::take(&mut self.unparsed);
        let mut input = unparsed.as_slice();
        loop {
            self.is_held_back = self.mux.must_write() && !input.is_empty();
            if self.is_held_back {
                self.held_back += 1;
                break;
            }
            let Some(frame) = self.parser.next(&mut input).expect("our own frames are legal") else { break };
            if let Frame::Body(bytes) = frame
                && let Some(needed) = self.mux.lacks(bytes.len())
            {
                let granted = self.reserve(needed + chance.pick(&[0, 0, 10_000]) as usize, Priority::ALWAYS);
                granted.into_iter().for_each(|granted| self.mux.provide(granted));
            }
            if self.mux.handle_frame(frame, now) == Admission::Reserve {
                let granted = self.reserve(Charge::new(self.mux.config()).first_reservation(), Priority::ALWAYS);
                self.mux.admit(granted, now);
            }
            self.settle();
        }
        self.unparsed = input.to_vec();
        self.mux.handle_applied();
        self.settle();
    }

    /// Puts all window requests to the memory manager, denied credit again.
    pub(super) fn ask(&mut self, now: Instant) {
        self.mux.ask_again();
        while let Some(request) = self.mux.next_window_request(now) {
            let decision = request.put_to(&self.manager);
            self.mux.apply_decision(request, decision);
            self.settle();
        }
        assert!(self.mux.first_waiting_credit().is_none() || self.may_run_out_of_memory());
    }

    /// Whether this end may deny credit, and end streams for want of memory.
    pub(super) fn may_run_out_of_memory(&self) -> bool {
        self.mux.config().receive_charge() == ReceiveCharge::Buffered
    }

    /// Cuts a batch when the last one has gone; then gives the socket up to `room` bytes.
    pub(super) fn transmit(&mut self, room: usize, chance: &mut Chance, now: Instant) -> Vec<u8> {
        if self.unsent.is_empty() {
            let budget = chance.pick(&[1, 64, 64 * 1024]) as usize;
            if self.mux.poll_transmit(&mut self.batch, budget, now) {
                let mut pieces = VecDeque::new();
                self.unsent_data = self.batch.take(&mut pieces);
                self.unsent.extend(pieces.iter().flat_map(|piece| piece.iter().copied()));
                self.spent.extend(pieces);
            } else {
                self.mux.handle_flushed(self.mux.last_encoded(), now);
                self.mux.handle_idle(now);
                self.paced += u64::from(self.mux.inspect().pace_ends.is_some());
            }
        }
        let len = room.min(self.unsent.len());
        let sent: Vec<u8> = self.unsent.drain(..len).collect();
        if len > 0 {
            self.mux.transport_moves(now);
        }
        if !self.unsent.is_empty() {
            self.mux.transport_is_full(now);
        }
        if self.unsent.is_empty() && !sent.is_empty() {
            self.mux.handle_written(std::mem::take(&mut self.unsent_data), self.spent.drain(..), now);
        }
        self.settle();
        sent
    }

    /// Sends many pings at once, as peers do for each of their tasks.
    pub(super) fn burst(&mut self, chance: &mut Chance) {
        if !self.unsent.is_empty() || self.foreign_pings >= MANY_PINGS {
            return;
        }
        let pings = chance.pick(&[33, 200, 650]);
        self.foreign_pings += pings;
        for nonce in 0..pings {
            self.unsent.extend(Header::Ping { kind: PingKind::Request, nonce: nonce as u32 }.encode());
        }
    }

    // ---- the application -----------------------------------------------------------------------------------------

    /// Does something at random.
    pub(super) fn act(&mut self, oracle: &mut Oracle, chance: &mut Chance, now: Instant) {
        match chance.below(16) {
            0 => self.open(),
            1 => self.accept(),
            action => {
                if self.held.is_empty() {
                    return;
                }
                let index = chance.below(self.held.len());
                match action {
                    2..=6 => self.write(index, oracle, chance, now),
                    7..=10 => {
                        self.read(index, oracle, chance, now);
                    }
                    11 => {
                        self.finish(index, oracle, now);
                    }
                    12 if chance.of(8) => self.reset(index, oracle, chance, now),
                    13 if chance.of(8) => self.stop(index, oracle, now),
                    14 if chance.of(4) => {
                        let cut = (self.held[index].id % 16 < 4).then_some(2000);
                        self.release(index, cut, oracle, now);
                    }
                    15 => self.turn(index, chance, now),
                    _ => {}
                }
            }
        }
        self.settle();
    }

    fn open(&mut self) {
        if self.held.len() > self.load.pick(12, 2) {
            return;
        }
        let window = Charge::new(self.mux.config()).first_reservation();
        let Some(reservation) = self.reserve(window, Priority::ALWAYS) else { return };
        if let Ok((key, id)) = self.mux.open(reservation) {
            self.held.push(Held { key, id: id.value(), unread: 0, insists: id.value() % 8 < 2 });
        }
    }

    pub(super) fn accept(&mut self) {
        if let Some(key) = self.mux.accept() {
            let id = self.mux.stream_id(key).expect("accepted");
            self.held.push(Held { key, id, unread: 0, insists: id % 8 >= 6 });
        }
    }

    /// Accepts all waiting streams at once, as a late acceptor does.
    pub(super) fn accept_all(&mut self) {
        while self.mux.waiting() > 0 {
            self.accept();
        }
    }

    /// The connection ends by `end`, unless it has ended before. Of the streams that wait to be accepted those stay that the
    /// application may still see.
    pub(super) fn end(&mut self, end: impl FnOnce(&mut Mux)) {
        let worth = |key: &Key| {
            let stream = self.mux.inspect().store.get(*key).expect("it waits");
            stream.receive.state == ReceiveState::Finished || !stream.active().unread.is_empty()
        };
        let waiting: Vec<_> = self.mux.inspect().incoming.iter().map(|key| (*key, worth(key))).collect();
        let before = self.mux.closed().is_some();
        end(&mut self.mux);
        let clean = before || self.mux.closed().expect("it has ended").is_clean();
        let stays: Vec<_> = waiting.into_iter().filter(|(_, worth)| clean || *worth).map(|(key, _)| key).collect();
        assert!(self.mux.inspect().incoming.iter().eq(&stays), "{:?} of {stays:?}", self.mux.inspect().incoming);
    }

    fn write(&mut self, index: usize, oracle: &mut Oracle, chance: &mut Chance, now: Instant) {
        let Held { key, id, .. } = self.held[index];
        let lens: &[u64] = self.load.pick(&[0, 1, 100, 5_000, 300_000], &[300_000]);
        let len = chance.pick(lens).min(self.volume) as usize;
        let start = oracle.record(self.side, id).written;
        let bytes: Vec<u8> = (start..).take(len).map(|index| pattern(self.side, id, index)).collect();
        match self.mux.write(key, &bytes, now) {
            Ok(written) => {
                oracle.record(self.side, id).written += written as u64;
                self.volume -= written as u64;
            }
            Err(WriteError::Blocked { growth: Some(bytes) }) => {
                let priority = self.mux.priority(key).expect("held");
                if let Some(reservation) = self.reserve(bytes, priority) {
                    self.mux.grow_pool(reservation);
                } else {
                    self.mux.room_refused(key, priority, now);
                }
            }
            Err(WriteError::Blocked { growth: None }) => {}
            Err(WriteError::Failed(error)) => self.failed(oracle, id, &error),
        }
    }

    /// Reads a chunk, not always to its end; says whether the stream has come to one.
    pub(super) fn read(&mut self, index: usize, oracle: &mut Oracle, chance: &mut Chance, now: Instant) -> bool {
        let Held { key, id, .. } = self.held[index];
        let unread = std::mem::take(&mut self.held[index].unread);
        if unread > 0 {
            self.mux.consume(key, unread, now);
        }
        let mut chunks = Chunks::default();
        match self.mux.read(key, &mut chunks) {
            Ok(Taken::Bytes { .. }) => {
                let mut len = 0;
                while !chunks.is_empty() {
                    oracle.on_read(self.side, id, chunks.first());
                    len += chunks.first().len() as u32;
                    chunks.advance(chunks.first().len());
                }
                let used = if chance.of(2) { len } else { chance.below(len as usize) as u32 };
                self.held[index].unread = len - used;
                self.mux.consume(key, used, now);
                self.mux.reuse(&mut chunks);
                self.mux.returned(key, chunks.memory());
                false
            }
            Ok(Taken::End) => {
                oracle.on_eof(self.side, id);
                true
            }
            Err(ReadError::Blocked) => false,
            Err(ReadError::Failed(error)) => {
                self.failed(oracle, id, &error);
                oracle.record(self.side, id).read_end = Some(ReadEnd::Error);
                true
            }
        }
    }

    fn failed(&self, oracle: &mut Oracle, id: u32, error: &StreamError) {
        oracle.on_error(self.side, id, error, self.may_end);
    }

    /// Finishes the write half; says whether that is done.
    pub(super) fn finish(&mut self, index: usize, oracle: &mut Oracle, now: Instant) -> bool {
        let Held { key, id, .. } = self.held[index];
        oracle.record(self.side, id).finished = true;
        match self.mux.finish(key, now) {
            Ok(()) => true,
            Err(FlushError::Blocked) => false,
            Err(FlushError::Failed(error)) => {
                self.failed(oracle, id, &error);
                true
            }
        }
    }

    fn reset(&mut self, index: usize, oracle: &mut Oracle, chance: &mut Chance, now: Instant) {
        let Held { key, id, .. } = self.held[index];
        let code = 1000 + chance.below(3) as u32;
        oracle.record(self.side, id).reset.get_or_insert(code);
        self.mux.reset(key, code, now);
    }

    fn stop(&mut self, index: usize, oracle: &mut Oracle, now: Instant) {
        let Held { key, id, ref mut unread, .. } = self.held[index];
        oracle.record(self.side, id).stopped = true;
        self.mux.stop(key, std::mem::take(unread), now);
    }

    /// Drops a stream, in the middle of something where there is a code for it.
    pub(super) fn release(&mut self, index: usize, cut: Option<u32>, oracle: &mut Oracle, now: Instant) {
        let Held { key, id, unread, .. } = self.held.swap_remove(index);
        let reads = |stream: &&Stream| matches!(stream.receive.state, ReceiveState::Open | ReceiveState::Finished);
        let unread_at_all = |stream: &Stream| stream.receive.window.held() > 0;
        let stream = self.mux.inspect().store.get(key).filter(|stream| stream.linked);
        let record = oracle.record(self.side, id);
        let (leave, aborted) = match cut {
            _ if record.finished => (Leave::Closed, None),
            Some(code) => (Leave::CutShort(code), Some(code)),
            None if record.written == 0 && record.read == 0 => (Leave::Unused, Some(0)),
            None => {
                (Leave::Done { read: 0, wrote: true }, stream.filter(reads).is_some_and(unread_at_all).then_some(0))
            }
        };
        record.dropped = true;
        record.aborted = aborted.filter(|_| stream.is_some());
        self.mux.release(key, unread, leave, now);
    }

    /// Whether the application would write for ever to a peer that never reads.
    pub(super) fn insists(&self, index: usize, oracle: &mut Oracle) -> bool {
        let Held { id, insists, .. } = self.held[index];
        let own = oracle.record(self.side, id).clone();
        insists && self.is_wide && !self.may_end && !own.finished && oracle.record(1 - self.side, id).has_left()
    }

    /// Writes on; says whether it was told.
    pub(super) fn insist(&mut self, index: usize, oracle: &mut Oracle, now: Instant) -> bool {
        let Held { key, id, .. } = self.held[index];
        let start = oracle.record(self.side, id).written;
        let bytes: Vec<u8> = (start..).take(10_000).map(|index| pattern(self.side, id, index)).collect();
        match self.mux.write(key, &bytes, now) {
            Ok(written) => oracle.record(self.side, id).written += written as u64,
            Err(WriteError::Blocked { .. }) => {}
            Err(WriteError::Failed(error)) => {
                self.failed(oracle, id, &error);
                return true;
            }
        }
        false
    }

    /// Changes the priority, expects a lot, or flushes.
    fn turn(&mut self, index: usize, chance: &mut Chance, now: Instant) {
        let key = self.held[index].key;
        if chance.of(2) {
            self.mux.choose_priority(key, Priority::new(chance.below(256) as u8), now);
        } else if chance.of(2) {
            if let Some(growth) = self.mux.shortfall(key, chance.below(4 << 20) as u32) {
                let decision = growth.put_to(&self.manager);
                self.mux.widen(growth, decision);
                self.settle();
            }
        } else if let Err(FlushError::Failed(StreamError::Connection(_))) = self.mux.flush(key) {
            assert!(self.may_end, "the connection ended by itself");
        }
    }
}
