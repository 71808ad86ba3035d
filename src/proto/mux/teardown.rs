//! Owns the ends: of a stream on the wire, of a stream in the store, and of all of them with the connection.
//!
//! Each way a stream can end comes through here, so that queues, ids, places and memory are given up exactly once.

use crate::error::ConnectionError;
use crate::proto::key::Key;
use crate::proto::mux::late::Trace;
use crate::proto::mux::withheld::Asking;
use crate::proto::mux::{Lifecycle, Mux};
use crate::proto::stream::readiness::Ready;
use crate::proto::stream::{Handle, Handshake, ReceiveState, ResetCause, SendEvent};

impl Mux {
    /// Ends the connection: every stream fails, everything queued is dropped, all memory but that of unread bytes is
    /// given back. The first reason stays (Y-CLOSE-4).
    pub(crate) fn fail(&mut self, reason: ConnectionError) {
        if matches!(self.lifecycle, Lifecycle::Closed(_)) {
            return;
        }
        self.part_with_backlog(&reason);
        self.lifecycle = Lifecycle::Closed(reason);
        self.transport_moves_no_more();
        self.control.clear();
        self.tombstones.clear();
        self.half_open.clear();
        self.shelf.clear();
        self.forget_windows();
        self.give_up_body();
        self.coalesce_until = None;
        self.events.released.extend(self.pool.clear());
        self.events.released.extend(self.ahead.take());
        (self.events.incoming, self.events.openable, self.events.pong) = (true, true, true);
        self.events.attention = true;
        self.store.forget_ids();
        for key in self.store.keys().collect::<Vec<_>>() {
            self.fail_stream(key);
        }
    }

    fn fail_stream(&mut self, key: Key) {
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.send.lost |= stream.drop_unsent() > 0;
        stream.owed = Default::default();
        if let Some(motion) = &mut stream.motion {
            (motion.asking, motion.trickle) = (Asking::No, 0);
        }
        stream.receive.window.rest();
        let orphan = stream.handle == Handle::Released;
        self.notify(key, Ready::ALL);
        self.unlink(key, Trace::None);
        if orphan {
            self.remove(key);
        }
    }

    /// What ends with both halves of a stream, when the peer is to be told.
    pub(super) fn end_halves(&mut self, key: Key, cause: ResetCause) {
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.reset.get_or_insert(cause);
        stream.send.state = stream.send.state.on(SendEvent::Reset);
        let unsent = stream.drop_unsent();
        let priority = stream.priority;
        self.end_stall(key);
        self.stop_asking(key);
        self.pool.remove(priority, unsent);
        self.schedule.remove(&mut self.store, key, priority);
        self.notify(key, Ready::ALL);
        self.queue_control(key);
        self.settle(key);
        self.wake_writers();
    }

    /// Ends a stream's wire life if both halves are over (Y-FIN-5), and the stream itself if nobody holds it.
    pub(super) fn settle(&mut self, key: Key) {
        let Some(stream) = self.store.get(key) else { return };
        if stream.is_wire_over() {
            let trace = match stream.receive.state {
                // Y-OPEN-4: no trace of a stream that the peer has never heard of.
                _ if stream.handshake == Handshake::Lazy => Trace::None,
                // Y-DROP-2: this end has finished and reads no more, and the peer may go on.
                ReceiveState::Stopped if stream.reset.is_none() => Trace::HalfOpen,
                _ => Trace::Over,
            };
            self.unlink(key, trace);
            self.remove_if_released(key);
            self.close_if_drained();
        }
    }

    /// Takes a stream that nobody has accepted out of the backlog; says whether it was there.
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

    /// Takes a stream off the wire: out of the queues, its id free, its places given up. Safe to call again.
    pub(super) fn unlink(&mut self, key: Key, trace: Trace) {
        self.end_stall(key);
        self.stop_asking(key);
        let Some(stream) = self.store.get(key) else { return };
        let (id, priority, unacknowledged) = (stream.id, stream.priority, stream.handshake.is_unacknowledged());
        if let Some(motion) = stream.motion.as_deref() {
            let (data, room) = (motion.data_links.is_queued(), motion.room_links.is_queued());
            self.control_queue.remove(&mut self.store, key);
            if data {
                self.schedule.remove(&mut self.store, key, priority);
            }
            if room {
                self.pool.leave(&mut self.store, key, priority);
            }
            self.store.still(key);
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
            // The count above is done with this stream whatever happens to its handshake from here on.
            stream.handshake = Handshake::Done;
        }
        // Y-MEM-4: nothing can arrive.
        self.take_stock(key);
    }

    pub(super) fn remove(&mut self, key: Key) {
        if self.store.get(key).is_some_and(|stream| stream.motion().flush_links.is_queued()) {
            self.flushing.remove(&mut self.store, key);
        }
        if let Some(stream) = self.store.get_mut(key) {
            self.answering.end(stream);
            stream.drop_unread();
            stream.receive.lent = 0;
        }
        self.end_stall(key);
        self.give_back(key);
        self.store.remove(key);
    }
}
