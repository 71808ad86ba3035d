//! Verbs of [`Mux`] that end a stream: its halves, its presence on the wire, and its place in the store.
//!
//! Every end of a stream goes through here, so that queues, ids, places in the backlog and memory are released exactly
//! once. When the application drops a stream, its state at that moment decides whether a FIN or a reset is sent
//! (Y-DROP-1, Y-DROP-6 to Y-DROP-8). `spec.md` draws the states of a dropped stream under DROP, and the tests in
//! `proto/mux/tests/stream_ends` try them row by row.

use super::view::{Trace, View};
use super::write::FlushError;
use super::{Lifecycle, Mux};
use crate::counting::count_down;
use crate::proto::key::Key;
use crate::proto::stream::readiness::Readiness;
use crate::proto::stream::{
    Handle, Handshake, Owed, ReceiveEvent, ReceiveState, ResetBy, ResetCause, SendEvent, SendState, Stream,
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

impl Mux {
    /// Finishes the write half (Y-FIN-4); `Ok` once the FIN was flushed.
    pub(crate) fn finish(&mut self, key: Key, now: Instant) -> Result<(), FlushError> {
        let now = self.advance(now);
        self.coalesce_until = None;
        let Some(stream) = self.store.get(key) else { return Ok(()) };
        if stream.send.state == SendState::Closed && stream.send.last_batch <= self.flushed {
            return Ok(());
        }
        if stream.send.state == SendState::Reset {
            return Err(FlushError::Failed(stream.reset_error()));
        }
        if let Lifecycle::Closed(reason) = &self.lifecycle {
            let complete = self.is_complete(stream, reason);
            return if complete { Ok(()) } else { Err(FlushError::Failed(reason.clone().into())) };
        }
        let Some(mut view) = self.view(key) else { return Ok(()) };
        view.stream.send.state = view.stream.send.state.on(SendEvent::Finish);
        view.end_stall(now);
        let encoded = view.stream.send.state == SendState::Closed;
        self.await_flush(key, encoded)
    }

    /// The application has dropped the stream.
    ///
    /// `unread` bytes were taken with [`Mux::read`] and not reported: they count as read now.
    pub(crate) fn release(&mut self, key: Key, unread: u32, leave: Leave, now: Instant) {
        let now = self.advance(now);
        let closing = matches!(self.lifecycle, Lifecycle::Closing { .. });
        let Some(mut view) = self.view(key) else { return };
        let stream = &mut *view.stream;
        stream.handle = Handle::Released;
        stream.interest = Readiness::NONE;
        stream.receive.lent = 0;
        if !stream.linked {
            view.end_stall(now);
            return self.sync_queues(key);
        }
        match manner(stream, leave, closing) {
            Manner::Silence => {
                self.leave_wire(key, Trace::None, now);
                self.sync_queues(key);
            }
            Manner::Reset(code) => {
                let told = self.end_with_reset(key, code, now);
                add(&mut self.counters.resets.dropped, told.into());
            }
            Manner::Behind(event) => {
                view.give_back();
                view.stream.send.unanswered = matches!(leave, Leave::Done { wrote: false, .. });
                view.stream.send.state = view.stream.send.state.on(event);
                view.end_stall(now);
                view.events.attention |= view.stream.has_output();
                self.coalesce_until = None;
                self.stop(key, unread, now);
            }
        }
    }

    /// Ends both halves at once, with a code that the peer sees (Y-RST-4). Queued data is dropped.
    pub(crate) fn reset(&mut self, key: Key, code: u32, now: Instant) {
        let now = self.advance(now);
        if let Some(stream) = self.store.get_mut(key) {
            // The handle has dropped the bytes that it had taken.
            stream.receive.lent = 0;
        }
        let told = self.end_with_reset(key, code, now);
        add(&mut self.counters.resets.application, told.into());
    }

    /// Resets a stream from elsewhere than its reader. Bytes that the reader has taken and not read stay reserved until
    /// it finds out. Returns whether the application still holds the stream: no other stream is affected (Y-RST-8).
    pub(crate) fn reset_from_afar(&mut self, key: Key, code: u32, now: Instant) -> bool {
        let now = self.advance(now);
        let held = |view: &View<'_>| view.stream.handle == Handle::Held;
        let Some(view) = self.view(key).filter(held) else { return false };
        let (stream, arriving) = (view.stream, view.arriving);
        if !stream.linked && stream.receive.state == ReceiveState::Finished {
            // The stream has ended, and its unread bytes are complete.
            return false;
        }
        let buffered = stream.active().unread.len();
        let taken = stream.receive.window.held().saturating_sub(arriving).saturating_sub(buffered);
        let told = self.end_half_read(key, code, taken, now);
        add(&mut self.counters.resets.application, told.into());
        true
    }

    /// Resets a stream; returns whether the peer is told.
    pub(super) fn end_with_reset(&mut self, key: Key, code: u32, now: Instant) -> bool {
        self.end_half_read(key, code, 0, now)
    }

    /// The same where the application still holds `taken` of the bytes that count as unread.
    fn end_half_read(&mut self, key: Key, code: u32, taken: u32, now: Instant) -> bool {
        let closed = matches!(self.lifecycle, Lifecycle::Closed(_));
        self.leave_backlog(key);
        let Some(mut view) = self.view(key) else { return false };
        let (stream, arriving) = (&mut *view.stream, view.arriving);
        let over = closed || stream.is_wire_over() || stream.reset.is_some();
        if over && stream.receive.window.held() == 0 {
            // Neither a frame nor a byte is left of the stream.
            view.give_back();
            self.sync(key, now);
            return false;
        }
        if !over {
            stream.owed = Owed { syn: false, reset: stream.handshake != Handshake::Lazy };
        }
        let told = !over && stream.owed.reset;
        stream.receive.state = stream.receive.state.on(ReceiveEvent::LocalReset);
        view.drop_unread();
        // All bytes that have arrived count as read, except those that the handle still holds.
        let window = &mut view.stream.receive.window;
        window.consume(window.held().saturating_sub(arriving).saturating_sub(taken), now);
        window.forget_rate();
        view.give_back();
        self.end_halves(key, ResetCause { by: ResetBy::Local, code }, now);
        told
    }

    /// Stops reading: buffered bytes are dropped, and later ones are discarded (Y-FLOW-10).
    ///
    /// `unread` bytes were taken with [`Mux::read`] and not reported: they count as read now.
    pub(crate) fn stop(&mut self, key: Key, unread: u32, now: Instant) {
        let Some(mut view) = self.view(key) else { return };
        view.stream.receive.state = view.stream.receive.state.on(ReceiveEvent::Stop);
        view.stream.receive.lent = 0;
        let dropped = view.drop_unread().saturating_add(unread);
        // Discarded bytes need neither memory nor a larger window (Y-FLOW-10).
        view.leave_credit_queue();
        view.give_back();
        view.notify(Readiness::READ);
        self.consume(key, dropped, now);
    }

    /// Ends both halves of a stream where the peer is to be told.
    pub(super) fn end_halves(&mut self, key: Key, cause: ResetCause, now: Instant) {
        let Some(mut view) = self.view(key) else { return };
        view.stream.reset.get_or_insert(cause);
        view.stream.send.state = view.stream.send.state.on(SendEvent::Reset);
        view.drop_unsent();
        view.end_stall(now);
        view.leave_credit_queue();
        view.notify(Readiness::ALL);
        self.sync(key, now);
        self.wake_writers(now);
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

    /// Takes a stream off the wire: frees its id and its place in the backlog of the peer, and closes the connection if
    /// it has waited for this. Safe to call again.
    pub(super) fn leave_wire(&mut self, key: Key, trace: Trace, now: Instant) {
        let Some(mut view) = self.view(key) else { return };
        view.end_stall(now);
        view.leave_credit_queue();
        let (id, priority) = (view.stream.id, view.stream.priority);
        if view.stream.active().room_links.is_queued() {
            self.send_pool.leave(&mut self.store, key, priority);
        }
        if !self.store.unlink(key) {
            return;
        }
        if id.is_client() != self.mode.is_client() {
            self.inbound = count_down(self.inbound, 1);
        }
        self.remember(key, trace, now);
        if let Some(mut view) = self.view(key) {
            // It gives up its place among the unacknowledged streams.
            view.set_handshake(Handshake::Done);
            // Y-MEM-4: no more bytes can arrive.
            view.release_window_memory();
        }
        self.close_if_drained();
    }

    /// Resets a stream whose application dropped it without writing anything, if its FIN has not left (Y-DROP-9).
    #[cfg(any(feature = "libp2p", test))]
    pub(super) fn reset_unanswered(&mut self, key: Key, now: Instant) {
        let Some(stream) = self.store.get_mut(key) else { return };
        if stream.handle != Handle::Released || !stream.send.unanswered || stream.send.state != SendState::Closing {
            return;
        }
        if stream.active().unsent.is_empty() {
            let told = self.end_with_reset(key, 0, now);
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
