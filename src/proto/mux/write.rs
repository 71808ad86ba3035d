//! Verbs of [`Mux`] for writing to a stream, and for its priority.
//!
//! `Blocked` is a value here. It becomes `Pending` in the shell, which stores a waker in the same critical section. The
//! stream's interest says what the task waits for.

use super::{Lifecycle, Mux};
use crate::error::StreamError;
use crate::memory::Reservation;
use crate::priority::Priority;
use crate::proto::counters::stall::Cause;
use crate::proto::key::Key;
use crate::proto::stream::readiness::Readiness;
use crate::proto::stream::{SendState, Stream};
use crate::stats::count;
use web_time::Instant;

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
    /// Buffers bytes to be sent: as many as the peer's credit covers and the send buffers have room for.
    pub(crate) fn write(&mut self, key: Key, bytes: &[u8], now: Instant) -> Result<usize, WriteError> {
        let Some(stream) = self.store.get_mut(key) else { return Err(WriteError::Failed(StreamError::WriteClosed)) };
        if let Some(error) = write_failure(stream, &self.lifecycle) {
            return Err(WriteError::Failed(error));
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let (bucket, active) = (stream.priority.bucket(), stream.active());
        let closed = self.send_pool.is_closed_to(bucket, stream.send.turn) && !active.woken;
        let room = if closed { 0 } else { self.send_pool.room(bucket, active.unsent.len(), bytes.len()) };
        let wanted = bytes.len().min(room);
        let written = stream.send.window.take(wanted);
        if written == 0 {
            return Err(WriteError::Blocked { growth: self.wait_to_write(key, room, closed, now) });
        }
        let (stalled, priority) = (stream.stall.cause().is_some(), stream.priority);
        stream.send.turn = self.send_pool.turn(bucket);
        let bytes = bytes.get(..written).unwrap_or(bytes);
        let (mut waited, mut queued) = (false, false);
        match &mut stream.active {
            Some(active) => {
                (active.woken, waited) = (false, active.room_links.is_queued());
                queued = active.data_links.is_queued();
                active.unsent.push(bytes, &mut self.send_pool.free_chunks);
            }
            None => {
                let active = self.store.activate(key);
                active.into_iter().for_each(|active| active.unsent.push(bytes, &mut self.send_pool.free_chunks));
            }
        }
        self.send_pool.add(bucket, written);
        if waited {
            self.send_pool.leave(&mut self.store, key, priority);
        }
        if stalled {
            self.end_stall(key, now);
        }
        self.hold_back(now);
        if !queued {
            self.sync_queues(key);
        }
        self.events.attention = true;
        Ok(written)
    }

    /// Nothing can be written: the stream waits for `room` in the send buffers if there is none, and otherwise for
    /// credit. Returns how much more memory would make room.
    fn wait_to_write(&mut self, key: Key, room: usize, closed: bool, now: Instant) -> Option<usize> {
        let now = self.advance(now);
        let stream = self.store.get_mut(key)?;
        stream.interest = stream.interest | Readiness::WRITE;
        let priority = stream.priority;
        let growth = if room == 0 && !closed { self.send_pool.growth(priority) } else { None };
        match room {
            0 => self.send_pool.wait(&mut self.store, key, priority),
            // Y-MEM-6: a stream that waits for credit keeps no other stream from the room in the send buffers.
            _ => self.send_pool.leave(&mut self.store, key, priority),
        }
        let cause = match (room, growth) {
            (1.., _) => Cause::Window,
            (0, None) if self.send_pool.is_refused(priority) => Cause::Memory,
            (0, None) => Cause::Socket,
            // The memory manager has not decided yet whether there is more memory.
            (0, Some(_)) => return growth,
        };
        self.view(key)?.begin_stall(cause, now);
        growth
    }

    /// The writer of a stream waits no longer, or need not.
    fn end_stall(&mut self, key: Key, now: Instant) {
        let now = self.advance(now);
        if let Some(mut view) = self.view(key) {
            view.end_stall(now);
        }
    }

    /// Gives the send buffers more memory.
    pub(crate) fn grow_pool(&mut self, reservation: Reservation) {
        let excess = match self.lifecycle {
            Lifecycle::Closed(_) => Some(reservation),
            Lifecycle::Open | Lifecycle::Closing { .. } => self.send_pool.grow(reservation),
        };
        self.events.released.extend(excess);
    }

    /// Holds small writes back to coalesce them, where that is configured and no stream waits to send.
    fn hold_back(&mut self, now: Instant) {
        let delay = self.config.write_coalesce_delay();
        if !delay.is_zero() && self.schedule.is_empty() {
            self.coalesce_until = now.checked_add(delay);
        }
    }

    /// Whether all written data has reached the transport and was flushed there (Y-SEND-3). The SYN leaves even if
    /// nothing was written.
    pub(crate) fn flush(&mut self, key: Key) -> Result<(), FlushError> {
        self.send_syn(key);
        self.coalesce_until = None;
        let Some(stream) = self.store.get(key) else { return Err(FlushError::Failed(StreamError::WriteClosed)) };
        if stream.send.state == SendState::Reset {
            return Err(FlushError::Failed(stream.reset_error()));
        }
        let out = stream.active().unsent.is_empty() && !stream.owed.syn && !stream.send.lost;
        let sent = out && stream.send.last_batch > 0 && stream.send.last_batch <= self.flushed;
        match &self.lifecycle {
            Lifecycle::Closed(reason) if self.is_complete(stream, reason) => Ok(()),
            Lifecycle::Closed(reason) if !sent => Err(FlushError::Failed(reason.clone().into())),
            _ => self.await_flush(key, out),
        }
    }

    /// A task waits for the flush of a stream, of which all is encoded if it is `out`.
    pub(super) fn await_flush(&mut self, key: Key, out: bool) -> Result<(), FlushError> {
        let Some(stream) = self.store.get_mut(key) else { return Ok(()) };
        if out && stream.send.last_batch <= self.flushed {
            return Ok(());
        }
        stream.interest = stream.interest | Readiness::FLUSH;
        self.sync_queues(key);
        self.events.attention = true;
        Err(FlushError::Blocked)
    }

    /// The application sets a stream's priority.
    pub(crate) fn choose_priority(&mut self, key: Key, priority: Priority, now: Instant) {
        if let Some(stream) = self.store.get_mut(key) {
            stream.priority_chosen = true;
        }
        self.set_priority(key, priority, now);
    }

    /// Sets a stream's priority on behalf of other code than the application, unless the application has set it.
    #[cfg(feature = "libp2p")]
    pub(crate) fn suggest_priority(&mut self, key: Key, priority: Priority, now: Instant) {
        if self.store.get(key).is_some_and(|stream| !stream.priority_chosen) {
            self.set_priority(key, priority, now);
        }
    }

    /// Changes a stream's priority: the budget that its window may use, and the order of sending (Y-PRIO-1).
    fn set_priority(&mut self, key: Key, priority: Priority, now: Instant) {
        let now = self.advance(now);
        let Some(stream) = self.store.get(key) else { return };
        let before = stream.priority;
        self.schedule.remove(&mut self.store, key, before);
        self.send_pool.leave(&mut self.store, key, before);
        let Some(mut view) = self.view(key) else { return };
        view.stream.priority = priority;
        if let Some(reservation) = &view.stream.reservation {
            view.levels.release(before, reservation.bytes());
            view.levels.reserve(priority, reservation.bytes());
        }
        view.send_pool.shift(before, priority, view.stream.active().unsent.len());
        // The stream waits for room no longer, until it asks again: its share of the send buffers may be larger now.
        if view.stream.stall.cause() != Some(Cause::Window) {
            view.end_stall(now);
        }
        view.notify(Readiness::WRITE);
        self.requeue_credit(key);
        self.sync_queues(key);
    }

    pub(crate) fn priority(&self, key: Key) -> Option<Priority> {
        self.store.get(key).map(|stream| stream.priority)
    }

    /// Wakes as many waiting writers as there is room for in the send pool.
    pub(super) fn wake_writers(&mut self, now: Instant) {
        let mut round = self.send_pool.round();
        while let Some(key) = self.send_pool.next_waiting(&mut self.store, &mut round) {
            let Some(mut view) = self.view(key) else { continue };
            if view.stream.stall.cause() != Some(Cause::Window) {
                view.end_stall(now);
            }
            view.notify(Readiness::WRITE);
        }
    }

    /// The memory manager has refused room for a write. The stream stalls on memory if it still waits: meanwhile there
    /// may have been room, or the stream may be over.
    pub(crate) fn room_refused(&mut self, key: Key, asked: Priority, now: Instant) {
        let now = self.advance(now);
        count(&mut self.counters.refusals.send_buffers);
        self.send_pool.refuse(asked);
        if let Some(mut view) = self.view(key).filter(|view| view.stream.active().room_links.is_queued()) {
            view.begin_stall(Cause::Memory, now);
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
