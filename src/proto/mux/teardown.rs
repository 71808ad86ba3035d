//! Verbs of [`Mux`] that end a stream: its halves, its presence on the wire, and its place in the store.
//!
//! Every end of a stream goes through here, so that queues, ids, places in the backlog and memory are given up exactly
//! once. A stream is dropped once. The frame that then leaves is decided in that moment, by what the application has
//! done with the stream so far (Y-DROP-1, Y-DROP-6 to Y-DROP-8). `spec.md` draws the states of a dropped stream under
//! DROP, and `tests/stream_ends` tries them row by row.

use super::write::FlushError;
use super::{Lifecycle, Mux};
use crate::proto::key::Key;
use crate::proto::limits::STREAM_BOOKS;
use crate::proto::stream::readiness::Readiness;
use crate::proto::stream::{
    Handle, Handshake, ReceiveEvent, ReceiveState, ResetBy, ResetCause, SendEvent, SendState, Stream,
};
use crate::stats::add;
use web_time::Instant;

/// How the application drops a stream, as far as its handle knows. The first variant that applies is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The application has closed the stream before.
    Closed,
    /// The stream is dropped in the middle of an operation, or its settings ask for a reset of all that is not closed:
    /// with this code.
    CutShort(u32),
    /// The application has neither read nor written anything.
    Unused,
    /// None of these. `read` of the bytes that count as unread are not unread: the application has read them and has
    /// not reported it yet, or they are not its own.
    Done {
        read: u32,
        /// The application has written something.
        wrote: bool,
    },
}

/// The frame that leaves when a stream is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Nothing.
    Silence,
    /// A reset, at once.
    Reset(u32),
    /// The data that was written, then the frame that this event asks for.
    Behind(SendEvent),
}

/// The record that a stream leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    /// None: the peer has never heard of the stream, or no frame arrives any more.
    None,
    /// A tombstone: the peer has ended the stream too, or is told with a reset.
    Over,
    /// A half-open stream: the peer has not ended its half.
    HalfOpen,
}

impl Mux {
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
        let encoded = stream.send.state == SendState::Closed;
        self.queue_data(key);
        self.await_flush(key, encoded)
    }

    /// The application has dropped the stream.
    ///
    /// `unread` bytes were taken with [`Mux::read`] and not reported: they count as read now.
    pub(crate) fn release(&mut self, key: Key, unread: u32, leave: Leave, now: Instant) {
        self.tick(now);
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.handle = Handle::Released;
        stream.interest = Readiness::NONE;
        stream.receive.lent = 0;
        self.flushing.remove(&mut self.store, key);
        if !self.is_linked(key) {
            self.remove(key);
            return;
        }
        let Some(stream) = self.store.get(key) else { return };
        let closing = matches!(self.lifecycle, Lifecycle::Closing { .. });
        match manner(stream, leave, closing) {
            Manner::Silence => {
                self.unlink(key, Trace::None);
                self.remove(key);
                self.close_if_drained();
            }
            Manner::Reset(code) => {
                let told = self.end_with_reset(key, code);
                add(&mut self.counters.resets.dropped, told.into());
            }
            Manner::Behind(event) => {
                self.give_back(key);
                if let Some(stream) = self.store.get_mut(key) {
                    stream.send.unanswered = matches!(leave, Leave::Done { wrote: false, .. });
                    stream.send.state = stream.send.state.on(event);
                }
                self.end_stall(key);
                self.coalesce_until = None;
                self.queue_data(key);
                self.stop(key, unread, now);
            }
        }
    }

    /// Ends both halves at once, with a code that the peer sees (Y-RST-4). Queued data is dropped.
    pub(crate) fn reset(&mut self, key: Key, code: u32) {
        if let Some(stream) = self.store.get_mut(key) {
            // The handle has dropped the bytes that it had taken.
            stream.receive.lent = 0;
        }
        let told = self.end_with_reset(key, code);
        add(&mut self.counters.resets.application, told.into());
    }

    /// Resets a stream from elsewhere than its reader. Bytes that the reader has taken and not read stay reserved until
    /// it finds out. Returns whether the application still holds the stream: no other stream is affected (Y-RST-8).
    pub(crate) fn reset_from_afar(&mut self, key: Key, code: u32) -> bool {
        let arriving = self.arriving(key);
        let held = |stream: &&mut Stream| stream.handle == Handle::Held;
        let Some(stream) = self.store.get_mut(key).filter(held) else { return false };
        if !stream.linked && stream.receive.state == ReceiveState::Finished {
            // The stream has ended, and its unread bytes are complete.
            return false;
        }
        let buffered = stream.active().unread.len();
        let taken = stream.receive.window.held().saturating_sub(arriving).saturating_sub(buffered);
        let told = self.end_half_read(key, code, taken);
        add(&mut self.counters.resets.application, told.into());
        true
    }

    /// Resets a stream; returns whether the peer is told.
    pub(super) fn end_with_reset(&mut self, key: Key, code: u32) -> bool {
        self.end_half_read(key, code, 0)
    }

    /// The same where the application still holds `taken` of the bytes that count as unread.
    fn end_half_read(&mut self, key: Key, code: u32, taken: u32) -> bool {
        let Some(stream) = self.store.get_mut(key) else { return false };
        let over = stream.is_wire_over() || stream.reset.is_some() || matches!(self.lifecycle, Lifecycle::Closed(_));
        self.leave_backlog(key);
        let (arriving, latest) = (self.arriving(key), self.counters.latest());
        let Some(stream) = self.store.get_mut(key) else { return false };
        if over && stream.receive.window.held() == 0 {
            // Neither a frame nor a byte is left of the stream.
            self.give_back(key);
            return false;
        }
        if !over {
            stream.owed = crate::proto::stream::Owed { syn: false, reset: stream.handshake != Handshake::Lazy };
        }
        let told = !over && stream.owed.reset;
        stream.receive.state = stream.receive.state.on(ReceiveEvent::LocalReset);
        self.pending_readers.end(stream);
        stream.drop_unread();
        // All bytes that have arrived count as read, except those that the handle still holds.
        let dropped = stream.receive.window.held().saturating_sub(arriving).saturating_sub(taken);
        stream.receive.window.consume(dropped, latest);
        stream.receive.window.forget_rate();
        self.give_back(key);
        self.end_halves(key, ResetCause { by: ResetBy::Local, code });
        told
    }

    /// Stops reading: buffered bytes are dropped, and later ones are discarded (Y-FLOW-10).
    ///
    /// `unread` bytes were taken with [`Mux::read`] and not reported: they count as read now.
    pub(crate) fn stop(&mut self, key: Key, unread: u32, now: Instant) {
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.receive.state = stream.receive.state.on(ReceiveEvent::Stop);
        stream.receive.lent = 0;
        self.pending_readers.end(stream);
        let dropped = stream.drop_unread().saturating_add(unread);
        // Discarded bytes need neither memory nor a larger window (Y-FLOW-10).
        self.leave_credit_queue(key);
        self.give_back(key);
        self.consume(key, dropped, now);
        self.notify(key, Readiness::READ);
        self.settle(key);
    }

    /// Ends both halves of a stream where the peer is to be told.
    pub(super) fn end_halves(&mut self, key: Key, cause: ResetCause) {
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.reset.get_or_insert(cause);
        stream.send.state = stream.send.state.on(SendEvent::Reset);
        let unsent = stream.drop_unsent();
        let priority = stream.priority;
        self.end_stall(key);
        self.leave_credit_queue(key);
        self.send_pool.remove(priority, unsent);
        self.schedule.remove(&mut self.store, key, priority);
        self.notify(key, Readiness::ALL);
        self.queue_control(key);
        self.settle(key);
        self.wake_writers();
    }

    /// Takes a stream off the wire if both halves are over (Y-FIN-5), and removes it if no handle is left.
    pub(super) fn settle(&mut self, key: Key) {
        let Some(stream) = self.store.get(key) else { return };
        if stream.is_wire_over() {
            let trace = match stream.receive.state {
                // Y-OPEN-4: no trace of a stream that the peer has never heard of.
                _ if stream.handshake == Handshake::Lazy => Trace::None,
                // Y-DROP-2: this end has finished and reads no more, and the peer may go on sending.
                ReceiveState::Stopped if stream.reset.is_none() => Trace::HalfOpen,
                _ => Trace::Over,
            };
            self.unlink(key, trace);
            self.remove_if_released(key);
            self.close_if_drained();
        }
    }

    /// Takes a stream out of the backlog; returns whether it was there.
    pub(super) fn leave_backlog(&mut self, key: Key) -> bool {
        let Some(stream) = self.store.get_mut(key).filter(|stream| stream.handshake == Handshake::Incoming) else {
            return false;
        };
        stream.handle = Handle::Released;
        self.incoming.retain(|other| *other != key);
        true
    }

    pub(super) fn remove_if_released(&mut self, key: Key) {
        if self.store.get(key).is_some_and(|stream| stream.handle == Handle::Released) {
            self.remove(key);
        }
    }

    /// Takes a stream off the wire: removes it from the queues, frees its id and gives up its place in the backlog.
    /// Safe to call again.
    pub(super) fn unlink(&mut self, key: Key, trace: Trace) {
        self.end_stall(key);
        self.leave_credit_queue(key);
        let Some(stream) = self.store.get(key) else { return };
        let (id, priority, unacknowledged) = (stream.id, stream.priority, stream.handshake.is_unacknowledged());
        if let Some(active) = stream.active.as_deref() {
            let (data, room) = (active.data_links.is_queued(), active.room_links.is_queued());
            self.control_queue.remove(&mut self.store, key);
            if data {
                self.schedule.remove(&mut self.store, key, priority);
            }
            if room {
                self.send_pool.leave(&mut self.store, key, priority);
            }
            self.store.release_if_idle(key);
        }
        if !self.store.unlink(key) {
            return;
        }
        if id.is_client() != self.mode.is_client() {
            self.inbound = self.inbound.saturating_sub(1);
        }
        if unacknowledged {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
            self.events.openable = true;
        }
        self.remember(key, trace);
        if let Some(stream) = self.store.get_mut(key) {
            // The count of unacknowledged streams must not change again with this handshake.
            stream.handshake = Handshake::Done;
        }
        // Y-MEM-4: no more bytes can arrive.
        self.take_stock(key);
    }

    pub(super) fn remove(&mut self, key: Key) {
        if self.store.get(key).is_some_and(|stream| stream.active().flush_links.is_queued()) {
            self.flushing.remove(&mut self.store, key);
        }
        if let Some(stream) = self.store.get_mut(key) {
            self.pending_readers.end(stream);
            stream.drop_unread();
            stream.receive.lent = 0;
        }
        self.end_stall(key);
        self.give_back(key);
        self.store.remove(key);
    }

    /// No more bytes can arrive on a stream: memory beyond that of its unread bytes is given back (Y-MEM-13).
    pub(in crate::proto) fn take_stock(&mut self, key: Key) {
        if let Some(stream) = self.store.get_mut(key)
            && stream.receive.lent > 0
        {
            self.ends.stream_ended_with_held();
            // The news travels with released memory, so an empty reservation carries it.
            self.events.released.extend(stream.reservation.as_mut().map(|own| own.split(0)));
        }
        self.give_back(key);
    }

    /// Gives the memory of a stream's window back, except for the chunks of unread bytes. The charge of the stream
    /// itself stays reserved while it is on the wire (Y-MEM-4, Y-MEM-8).
    pub(super) fn give_back(&mut self, key: Key) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let unread = stream.active().unread.capacity().saturating_add(stream.receive.lent as usize);
        let kept = if stream.linked { unread.saturating_add(STREAM_BOOKS) } else { unread };
        let released = match &mut stream.reservation {
            Some(reservation) if kept > 0 => {
                let excess = reservation.bytes().saturating_sub(kept);
                (excess > 0).then(|| reservation.split(excess))
            }
            _ => stream.reservation.take(),
        };
        if let Some(released) = released {
            self.counters.released(stream.priority, released.bytes());
            self.events.released.push(released);
        }
    }

    /// Resets a stream whose application dropped it without writing anything, if its FIN has not left (Y-DROP-9).
    #[cfg(any(feature = "libp2p", test))]
    pub(super) fn reset_unanswered(&mut self, key: Key) {
        let Some(stream) = self.store.get_mut(key) else { return };
        if stream.handle != Handle::Released || !stream.send.unanswered || stream.send.state != SendState::Closing {
            return;
        }
        if stream.active().unsent.is_empty() {
            let told = self.end_with_reset(key, 0);
            add(&mut self.counters.resets.dropped, told.into());
        } else {
            stream.send.state = stream.send.state.on(SendEvent::Abort);
        }
    }
}

fn manner(stream: &Stream, leave: Leave, closing: bool) -> Manner {
    if stream.send.state != SendState::Open {
        return Manner::Behind(SendEvent::Finish);
    }
    let queued = !stream.active().unsent.is_empty();
    if stream.handshake == Handshake::Lazy && !queued && !stream.owed.syn {
        // Y-OPEN-4: the peer has never heard of it.
        return Manner::Silence;
    }
    // Bytes that arrive after the application stopped reading do not count as unread.
    let reads = matches!(stream.receive.state, ReceiveState::Open | ReceiveState::Finished);
    let unread = match leave {
        Leave::Closed => false,
        // Y-CLOSE-1: a close promises that data written before it leaves.
        Leave::CutShort(_) if closing && queued => true,
        // Y-DROP-6.
        Leave::CutShort(code) => return Manner::Reset(code),
        // Y-DROP-7.
        Leave::Unused => true,
        // Y-DROP-8.
        Leave::Done { read, .. } => reads && stream.receive.window.held() > read,
    };
    match (unread, queued) {
        (false, _) => Manner::Behind(SendEvent::Finish),
        (true, true) => Manner::Behind(SendEvent::Abort),
        (true, false) => Manner::Reset(0),
    }
}
