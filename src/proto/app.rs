//! Owns the verbs of the application: what a task does with a stream.
//!
//! `Blocked` is a value here. It becomes `Pending` in the shell, which has put a waker away in the same critical
//! section; what the task then waits for is in the stream's interest.

use super::chunks::Chunks;
use super::limits::SMALL_READ;
use super::mux::{Lifecycle, Mux};
use super::ready::Ready;
use super::stall::Cause;
use super::store::Key;
use super::stream::{
    Handle, Handshake, HandshakeEvent, ReceiveEvent, ReceiveState, ResetBy, ResetCause, SendEvent, SendState, Stream,
};
use crate::error::StreamError;
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::stats::{add, count};
use bytes::Bytes;
use std::collections::VecDeque;
use web_time::Instant;

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Bytes. Report them with [`Mux::consume`] when the application has used them: at the latest when `due` are used, or
    /// where that is 0 with every chunk.
    Bytes { due: u32 },
    /// Nothing: the peer has finished.
    End,
}

/// Bytes taken off a stream in one go, but for the last chunk.
const TAKE: usize = 64 * 1024;

/// Why nothing was read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Blocked,
    Failed(StreamError),
}

/// Why nothing was written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// `growth` is how much more memory would make room.
    Blocked {
        growth: Option<usize>,
    },
    Failed(StreamError),
}

/// Why something is not flushed.
#[derive(Debug)]
pub(crate) enum FlushError {
    Blocked,
    Failed(StreamError),
}

impl Mux {
    /// Takes the oldest stream that waits to be accepted; its ACK is owed then (Y-ACK-1).
    pub(crate) fn accept(&mut self) -> Option<Key> {
        let key = self.take_incoming()?;
        count(&mut self.ledger.accepted);
        Some(key)
    }

    /// Takes the oldest stream off the backlog, as one that is accepted.
    pub(super) fn take_incoming(&mut self) -> Option<Key> {
        let key = self.incoming.pop_front()?;
        if self.incoming.is_empty() {
            // A backlog may be long, and is short most of the time.
            self.incoming = VecDeque::new();
        }
        let next = self.store.get(key)?.handshake.on(HandshakeEvent::Accept);
        self.set_handshake(key, next);
        self.queue_control(key);
        Some(key)
    }

    /// Streams that wait to be accepted.
    pub(crate) fn waiting(&self) -> usize {
        self.incoming.len()
    }

    /// Streams that have been accepted so far.
    pub(crate) const fn accepted(&self) -> u64 {
        self.ledger.accepted
    }

    pub(crate) fn stream_id(&self, key: Key) -> Option<u32> {
        self.store.get(key).map(|stream| stream.id.value())
    }

    /// Copies all there is to read, if it is little and fits. Says how many bytes that is, and what [`Taken::Bytes`] says.
    pub(crate) fn read_small(&mut self, key: Key, into: &mut [u8]) -> Option<(usize, Taken)> {
        // Chunks are not used again any more.
        let alive = !matches!(self.lifecycle, Lifecycle::Closed(_));
        let stream = self.store.get_mut(key).filter(|_| alive)?;
        self.answering.end(stream);
        let read = stream.motion.as_mut()?.unread.copy_all(into, SMALL_READ, &mut self.pool)?;
        let (due, over) = (stream.due(), stream.is_receive_over());
        stream.receive.lent = 0;
        self.store.still(key);
        if over {
            // Y-MEM-13.
            self.give_back(key);
        }
        Some((read, Taken::Bytes { due }))
    }

    /// Takes bytes off a stream, as whole chunks.
    pub(crate) fn read(&mut self, key: Key, chunks: &mut Chunks) -> Result<Taken, ReadError> {
        self.send_syn(key);
        let Some(stream) = self.store.get_mut(key) else { return Err(ReadError::Failed(StreamError::ReadClosed)) };
        self.answering.end(stream);
        stream.receive.lent = 0;
        // Y-RST-2: what arrived before an end of any kind is delivered before it.
        if let Some(motion) = stream.motion.as_mut().filter(|motion| !motion.unread.is_empty()) {
            motion.unread.take(chunks, &mut self.shelf, TAKE);
            stream.receive.lent = u32::try_from(chunks.memory()).unwrap_or(u32::MAX);
            let due = stream.due();
            self.store.still(key);
            return Ok(Taken::Bytes { due });
        }
        let end = match (stream.receive.state, &self.lifecycle) {
            // Y-FIN-1.
            (ReceiveState::Finished, _) => Ok(Taken::End),
            (ReceiveState::Reset, _) => Err(ReadError::Failed(stream.reset_error())),
            (ReceiveState::Stopped | ReceiveState::Done, _) => Err(ReadError::Failed(StreamError::ReadClosed)),
            // Y-EOF-2: a lost connection is never an end of file.
            (ReceiveState::Open, Lifecycle::Closed(reason)) => Err(ReadError::Failed(reason.clone().into())),
            (ReceiveState::Open, Lifecycle::Open | Lifecycle::Closing { .. }) => {
                stream.interest = stream.interest | Ready::READ;
                return Err(ReadError::Blocked);
            }
        };
        // Nothing can arrive and nothing is left (Y-MEM-4).
        self.give_back(key);
        end
    }

    /// Takes chunks back whose bytes have been used.
    pub(crate) fn recycle(&mut self, spent: impl IntoIterator<Item = Bytes>) {
        if !matches!(self.lifecycle, Lifecycle::Closed(_)) {
            self.pool.recycle(spent);
        }
    }

    /// Takes back what a reader needs no more: chunks that were read to their end, and storage for them.
    pub(crate) fn reuse(&mut self, chunks: &mut Chunks) {
        if matches!(self.lifecycle, Lifecycle::Closed(_)) {
            chunks.forget_spent();
            return;
        }
        chunks.spent().into_iter().flatten().for_each(|chunk| self.pool.reuse(chunk));
        self.shelf.put(chunks);
    }

    /// The application has used `bytes`, or they were discarded for it: memory is given back, credit may be due, and the
    /// window may be worth growing.
    pub(crate) fn consume(&mut self, key: Key, bytes: u32, now: Instant) {
        self.tick(now);
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.receive.window.consume(bytes, now);
        self.discharge(key);
        self.watch(key, now);
        self.wish(key);
        self.queue_control(key);
    }

    /// Takes bytes to be sent: as many as the peer's credit covers and the connection has memory for.
    pub(crate) fn write(&mut self, key: Key, bytes: &[u8], now: Instant) -> Result<usize, WriteError> {
        let Some(stream) = self.store.get_mut(key) else { return Err(WriteError::Failed(StreamError::WriteClosed)) };
        if let Some(error) = write_failure(stream, &self.lifecycle) {
            return Err(WriteError::Failed(error));
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let (bucket, motion) = (stream.priority.bucket(), stream.motion());
        let closed = self.pool.is_closed_to(bucket, stream.send.turn) && !motion.woken;
        let room = if closed { 0 } else { self.pool.room(bucket, motion.unsent.len(), bytes.len()) };
        let wanted = bytes.len().min(room);
        let written = stream.send.window.take(wanted);
        if written == 0 {
            stream.interest = stream.interest | Ready::WRITE;
            self.ledger.tick(now);
            let priority = stream.priority;
            let growth = if room == 0 && !closed { self.pool.growth(priority) } else { None };
            match room {
                0 => self.pool.wait(&mut self.store, key, priority),
                // Y-MEM-6: whoever waits for credit keeps nobody from the room that there is.
                _ => self.pool.leave(&mut self.store, key, priority),
            }
            match (room, growth) {
                (1.., _) => self.begin_stall(key, Cause::Window),
                (0, None) if self.pool.is_refused(priority) => self.begin_stall(key, Cause::Memory),
                (0, None) => self.begin_stall(key, Cause::Socket),
                // Whether there is more memory is not known yet.
                (0, Some(_)) => {}
            }
            return Err(WriteError::Blocked { growth });
        }
        let (stalled, priority) = (stream.stall.cause().is_some(), stream.priority);
        stream.send.turn = self.pool.turn(bucket);
        let bytes = bytes.get(..written).unwrap_or(bytes);
        let (mut waited, mut queued) = (false, false);
        match &mut stream.motion {
            Some(motion) => {
                (motion.woken, waited) = (false, motion.room_links.is_queued());
                queued = motion.data_links.is_queued();
                motion.unsent.push(bytes, &mut self.pool.spares);
            }
            None => {
                let motion = self.store.motion(key);
                motion.into_iter().for_each(|motion| motion.unsent.push(bytes, &mut self.pool.spares));
            }
        }
        self.pool.add(bucket, written);
        if waited {
            self.pool.leave(&mut self.store, key, priority);
        }
        if stalled {
            self.ledger.tick(now);
            self.end_stall(key);
        }
        self.hold_back(now);
        match queued {
            true => self.events.attention = true,
            false => self.queue_data(key),
        }
        Ok(written)
    }

    /// Gives the send buffers more memory.
    pub(crate) fn grow_pool(&mut self, reservation: Reservation) {
        let excess = match self.lifecycle {
            Lifecycle::Closed(_) => Some(reservation),
            Lifecycle::Open | Lifecycle::Closing { .. } => self.pool.grow(reservation),
        };
        self.events.released.extend(excess);
    }

    /// Starts to wait for more small writes, where that is configured and nothing else is under way.
    fn hold_back(&mut self, now: Instant) {
        let delay = self.config.write_coalesce_delay();
        if !delay.is_zero() && self.schedule.is_empty() {
            self.coalesce_until = now.checked_add(delay);
        }
    }

    /// Whether all that was written has reached the transport and was flushed there (Y-SEND-3). The SYN leaves even if
    /// nothing was written.
    pub(crate) fn flush(&mut self, key: Key) -> Result<(), FlushError> {
        self.send_syn(key);
        self.coalesce_until = None;
        let Some(stream) = self.store.get(key) else { return Err(FlushError::Failed(StreamError::WriteClosed)) };
        if stream.send.state == SendState::Reset {
            return Err(FlushError::Failed(stream.reset_error()));
        }
        let out = stream.motion().unsent.is_empty() && !stream.owed.syn && !stream.send.lost;
        let sent = out && stream.send.last_batch > 0 && stream.send.last_batch <= self.flushed;
        match &self.lifecycle {
            Lifecycle::Closed(reason) if self.is_complete(stream, reason) => Ok(()),
            Lifecycle::Closed(reason) if !sent => Err(FlushError::Failed(reason.clone().into())),
            _ => self.await_flush(key, out),
        }
    }

    /// Finishes the write half (Y-FIN-4); `Ok` once the FIN was flushed.
    pub(crate) fn finish(&mut self, key: Key) -> Result<(), FlushError> {
        self.coalesce_until = None;
        let Some(stream) = self.store.get_mut(key) else { return Ok(()) };
        let sent = stream.send.state == SendState::Closed && stream.send.last_batch <= self.flushed;
        if sent {
            return Ok(());
        }
        if stream.send.state == SendState::Reset {
            return Err(FlushError::Failed(stream.reset_error()));
        }
        if let Lifecycle::Closed(reason) = &self.lifecycle {
            let complete = self.store.get(key).is_some_and(|stream| self.is_complete(stream, reason));
            return if complete { Ok(()) } else { Err(FlushError::Failed(reason.clone().into())) };
        }
        let Some(stream) = self.store.get_mut(key) else { return Ok(()) };
        stream.send.state = stream.send.state.on(SendEvent::Finish);
        self.end_stall(key);
        let Some(stream) = self.store.get(key) else { return Ok(()) };
        let cut = stream.send.state == SendState::Closed;
        self.queue_data(key);
        self.await_flush(key, cut)
    }

    fn await_flush(&mut self, key: Key, out: bool) -> Result<(), FlushError> {
        let Some(stream) = self.store.get_mut(key) else { return Ok(()) };
        if out && stream.send.last_batch <= self.flushed {
            return Ok(());
        }
        stream.interest = stream.interest | Ready::FLUSH;
        self.flushing.push(&mut self.store, key);
        self.events.attention = true;
        Err(FlushError::Blocked)
    }

    /// Ends both halves at once, with a code that the peer sees (Y-RST-4). What was queued is dropped.
    pub(crate) fn reset(&mut self, key: Key, code: u32) {
        if let Some(stream) = self.store.get_mut(key) {
            // The handle has let go of what it had taken.
            stream.receive.lent = 0;
        }
        let told = self.end_with_reset(key, code);
        add(&mut self.ledger.resets.application, told.into());
    }

    /// The same from elsewhere than where the stream is read: what was taken off it and not read stays reserved until that is
    /// found out there. Says whether there is a stream that
    /// the application has not dropped: nothing happens to any other (Y-RST-8).
    pub(crate) fn reset_from_afar(&mut self, key: Key, code: u32) -> bool {
        let arriving = self.arriving(key);
        let held = |stream: &&mut Stream| stream.handle == Handle::Held;
        let Some(stream) = self.store.get_mut(key).filter(held) else { return false };
        if !stream.linked && stream.receive.state == ReceiveState::Finished {
            // It has ended: what is left of it to read is whole.
            return false;
        }
        let buffered = stream.motion().unread.len();
        let taken = stream.receive.window.held().saturating_sub(arriving).saturating_sub(buffered);
        let told = self.end_half_read(key, code, taken);
        add(&mut self.ledger.resets.application, told.into());
        true
    }

    /// Says whether the peer is told.
    pub(super) fn end_with_reset(&mut self, key: Key, code: u32) -> bool {
        self.end_half_read(key, code, 0)
    }

    /// The same where the application still holds so many of the bytes that were not read.
    fn end_half_read(&mut self, key: Key, code: u32, taken: u32) -> bool {
        let Some(stream) = self.store.get_mut(key) else { return false };
        let over = stream.is_wire_over() || stream.reset.is_some() || matches!(self.lifecycle, Lifecycle::Closed(_));
        self.leave_backlog(key);
        let (arriving, latest) = (self.arriving(key), self.ledger.latest());
        let Some(stream) = self.store.get_mut(key) else { return false };
        if over && stream.receive.window.held() == 0 {
            // Nothing is left of it, neither to be told nor to be dropped.
            self.give_back(key);
            return false;
        }
        if !over {
            stream.owed = super::stream::Owed { syn: false, reset: stream.handshake != Handshake::Lazy };
        }
        let told = !over && stream.owed.reset;
        stream.receive.state = stream.receive.state.on(ReceiveEvent::LocalReset);
        self.answering.end(stream);
        stream.drop_unread();
        // All that has come counts as read, but for what the handle still holds: it is gone.
        let dropped = stream.receive.window.held().saturating_sub(arriving).saturating_sub(taken);
        stream.receive.window.consume(dropped, latest);
        stream.receive.window.rest();
        self.give_back(key);
        self.end_halves(key, ResetCause { by: ResetBy::Local, code });
        told
    }

    /// Reads no more: what is buffered is dropped, what still comes is discarded (Y-FLOW-10).
    ///
    /// `unread` bytes were taken with [`Mux::read`] and not reported: they count as read now.
    pub(crate) fn stop(&mut self, key: Key, unread: u32, now: Instant) {
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.receive.state = stream.receive.state.on(ReceiveEvent::Stop);
        stream.receive.lent = 0;
        self.answering.end(stream);
        let dropped = stream.drop_unread().saturating_add(unread);
        // What is discarded needs no memory, nor a larger window (Y-FLOW-10).
        self.stop_asking(key);
        self.give_back(key);
        self.consume(key, dropped, now);
        self.notify(key, Ready::READ);
        self.settle(key);
    }

    /// The application says how urgent a stream is.
    pub(crate) fn choose_priority(&mut self, key: Key, priority: Priority) {
        if let Some(stream) = self.store.get_mut(key) {
            stream.priority_chosen = true;
        }
        self.set_priority(key, priority);
    }

    /// Something else says how urgent a stream is, which counts unless the application has said so itself.
    #[cfg(feature = "libp2p")]
    pub(crate) fn suggest_priority(&mut self, key: Key, priority: Priority) {
        if self.store.get(key).is_some_and(|stream| !stream.priority_chosen) {
            self.set_priority(key, priority);
        }
    }

    /// Changes how urgent a stream is: what it may grow into, and who goes first (Y-PRIO-1).
    fn set_priority(&mut self, key: Key, priority: Priority) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let before = std::mem::replace(&mut stream.priority, priority);
        if let Some(reservation) = &stream.reservation {
            self.ledger.released(before, reservation.bytes());
            self.ledger.reserved(priority, reservation.bytes());
        }
        self.pool.shift(before, priority, stream.motion().unsent.len());
        self.move_in_line(key);
        self.pool.leave(&mut self.store, key, before);
        // It waits for room no more until it asks again.
        if self.store.get(key).is_some_and(|stream| stream.stall.cause() != Some(Cause::Window)) {
            self.end_stall(key);
        }
        if self.schedule.remove(&mut self.store, key, before) {
            self.queue_data(key);
        }
        // Its share of the send buffers may be larger now.
        self.notify(key, Ready::WRITE);
    }

    pub(crate) fn priority(&self, key: Key) -> Option<Priority> {
        self.store.get(key).map(|stream| stream.priority)
    }

    /// Lets the SYN of a lazily opened stream leave (Y-OPEN-2).
    pub(super) fn send_syn(&mut self, key: Key) {
        let lazy = self.lifecycle_is_open();
        let Some(stream) = self.store.get_mut(key).filter(|stream| stream.handshake == Handshake::Lazy) else { return };
        if lazy && stream.send.state != SendState::Reset && !stream.owed.syn {
            stream.owed.syn = true;
            self.queue_control(key);
        }
    }

    pub(super) const fn lifecycle_is_open(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Open)
    }

    /// Wakes writers that wait for room in the pool, as many as there is room for.
    pub(super) fn wake_writers(&mut self) {
        let mut round = self.pool.round();
        while let Some(key) = self.pool.next_waiting(&mut self.store, &mut round) {
            if self.store.get(key).is_some_and(|stream| stream.stall.cause() != Some(Cause::Window)) {
                self.end_stall(key);
            }
            self.notify(key, Ready::WRITE);
        }
    }
}

/// Why nothing can be written to a stream any more.
fn write_failure(stream: &Stream, lifecycle: &Lifecycle) -> Option<StreamError> {
    match (stream.send.state, lifecycle) {
        (SendState::Reset, _) => Some(stream.reset_error()),
        (SendState::Closing | SendState::Aborting | SendState::Closed, _) => Some(StreamError::WriteClosed),
        (SendState::Open, Lifecycle::Closed(reason) | Lifecycle::Closing { reason, .. }) => Some(reason.clone().into()),
        (SendState::Open, Lifecycle::Open) => None,
    }
}
