//! Owns [`View`]: one stream, with the parts of [`Mux`] that change with it, borrowed together. A verb is a method of
//! `Mux` for one operation.
//!
//! A verb resolves its key once, changes the stream through the view, and ends with [`Mux::sync`]. Queues, presence on
//! the wire and the place in the store are derived there, and nowhere else.

use super::Mux;
use crate::config::Config;
use crate::counting::count_down;
use crate::proto::counters::Counters;
use crate::proto::counters::stall::Cause;
use crate::proto::events::Events;
use crate::proto::flow::levels::Levels;
use crate::proto::flow::requests::{Charge, CreditQueue, CreditState};
use crate::proto::key::Key;
use crate::proto::limits::STREAM_STATE;
use crate::proto::peer::ends::Ends;
use crate::proto::send::coalesce::PendingReaders;
use crate::proto::send::send_pool::SendPool;
use crate::proto::stream::readiness::Readiness;
use crate::proto::stream::{Handle, Handshake, HandshakeEvent, ReceiveState, Stream};
use web_time::Instant;

/// A stream, resolved, and the parts that change with it.
pub(super) struct View<'a> {
    pub(super) key: Key,
    pub(super) stream: &'a mut Stream,
    pub(super) counters: &'a mut Counters,
    pub(super) levels: &'a mut Levels,
    pub(super) events: &'a mut Events,
    pub(super) send_pool: &'a mut SendPool,
    credit_queue: &'a mut CreditQueue,
    pending_readers: &'a mut PendingReaders,
    ends: &'a mut Ends,
    unacknowledged: &'a mut usize,
    config: &'a Config,
    /// Bytes of the body under way that have not arrived, if it is for this stream.
    pub(super) arriving: u32,
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
    /// Resolves a key, for a verb that changes the stream and then calls [`Mux::sync`].
    pub(super) fn view(&mut self, key: Key) -> Option<View<'_>> {
        let arriving = self.arriving(key);
        let Self { config, store, counters, levels, events, send_pool, credit_queue, pending_readers, ends, .. } = self;
        let unacknowledged = &mut self.unacknowledged;
        let stream = store.get_mut(key)?;
        Some(View {
            key,
            stream,
            counters,
            levels,
            events,
            send_pool,
            credit_queue,
            pending_readers,
            ends,
            unacknowledged,
            config,
            arriving,
        })
    }

    /// Derives what follows from a stream's state. Every verb that has changed a stream ends here.
    ///
    /// A stream whose halves are both over leaves the wire (Y-FIN-5). The stream enters or leaves the queues of streams
    /// that owe control frames, that have data to send, and that wait for a flush. A stream that is off the wire and
    /// that no application holds is removed.
    pub(super) fn sync(&mut self, key: Key, now: Instant) {
        let Some(stream) = self.store.get(key) else { return };
        if stream.linked && stream.is_wire_over() {
            let trace = match stream.receive.state {
                // Y-OPEN-4: no trace of a stream that the peer has never heard of.
                _ if stream.handshake == Handshake::Lazy => Trace::None,
                // Y-DROP-2: this end has finished and reads no more, and the peer may go on sending.
                ReceiveState::Stopped if stream.reset.is_none() => Trace::HalfOpen,
                _ => Trace::Over,
            };
            self.leave_wire(key, trace, now);
        }
        self.sync_queues(key);
    }

    /// The same for a stream that has not ended with this change.
    pub(super) fn sync_queues(&mut self, key: Key) {
        let Some(stream) = self.store.get(key) else { return };
        let (wanted, queued, priority) = (stream.wanted_queues(), stream.queues(), stream.priority);
        let gone = !stream.linked && stream.handle == Handle::Released;
        if wanted != queued {
            if wanted.control && self.control_queue.push(&mut self.store, key) {
                self.events.attention = true;
            } else if !wanted.control && queued.control {
                self.control_queue.remove(&mut self.store, key);
            }
            if wanted.data && !queued.data {
                self.schedule.push(&mut self.store, key, priority);
                self.events.attention = true;
            } else if !wanted.data && queued.data {
                self.schedule.remove(&mut self.store, key, priority);
            }
            if wanted.flush {
                self.flushing.push(&mut self.store, key);
            } else if queued.flush {
                self.flushing.remove(&mut self.store, key);
            }
        }
        match gone {
            true => self.remove(key),
            false => self.store.release_if_idle(key),
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(mut view) = self.view(key) {
            view.stream.receive.lent = 0;
            view.drop_unread();
            view.give_back();
        }
        self.store.remove(key);
    }
}

impl View<'_> {
    /// A writer starts to wait, for this cause.
    pub(super) fn begin_stall(&mut self, cause: Cause, now: Instant) {
        self.counters.begin_stall(&mut self.stream.stall, cause, now);
    }

    /// The writer of the stream waits no longer, or need not.
    pub(super) fn end_stall(&mut self, now: Instant) {
        self.counters.end_stall(&mut self.stream.stall, now);
    }

    /// Reports to the shell what has become ready, as far as a task waits for it.
    pub(super) fn notify(&mut self, what: Readiness) {
        let wanted = self.stream.interest & what;
        if !wanted.is_empty() {
            self.stream.interest = self.stream.interest & !wanted;
            self.events.ready.push((self.key, wanted));
        }
    }

    /// Applies an event to the handshake; returns whether that is news.
    pub(super) fn handshake(&mut self, event: HandshakeEvent) -> bool {
        let next = self.stream.handshake.on(event);
        let news = next != self.stream.handshake;
        self.set_handshake(next);
        news
    }

    /// Sets the handshake and keeps the count of unacknowledged streams. No other code does.
    pub(super) fn set_handshake(&mut self, next: Handshake) {
        let before = std::mem::replace(&mut self.stream.handshake, next);
        if before.is_unacknowledged() && !next.is_unacknowledged() {
            *self.unacknowledged = count_down(*self.unacknowledged, 1);
            self.events.openable = true;
        }
    }

    /// Takes the stream's credit out of the queue: it is requested in another way, or is no longer needed.
    pub(super) fn leave_credit_queue(&mut self) {
        let Some(active) = &mut self.stream.active else { return };
        active.minimum_credit = 0;
        if let CreditState::Waiting(place) = std::mem::replace(&mut active.credit_state, CreditState::Settled) {
            self.credit_queue.remove(place);
        }
    }

    /// There is new data for the reader.
    pub(super) fn data_arrived(&mut self) {
        self.pending_readers.begin(self.stream);
        self.notify(Readiness::READ);
    }

    /// Drops data that is not encoded; returns how many bytes it was.
    pub(super) fn drop_unsent(&mut self) -> usize {
        let unsent = self.stream.drop_unsent();
        self.send_pool.remove(self.stream.priority, unsent);
        unsent
    }

    /// Drops buffered bytes that nobody reads any more; returns how many they were.
    pub(super) fn drop_unread(&mut self) -> u32 {
        self.pending_readers.end(self.stream);
        self.stream.drop_unread()
    }

    /// No more bytes can arrive on the stream: memory beyond that of its unread bytes is given back (Y-MEM-13).
    pub(super) fn release_window_memory(&mut self) {
        if self.stream.receive.lent > 0 {
            self.ends.stream_ended_with_held();
            // The shell learns of it from released memory, so an empty reservation is released.
            self.events.released.extend(self.stream.reservation.as_mut().map(|own| own.split(0)));
        }
        self.give_back();
    }

    /// Gives the memory of the window back, except for the chunks of unread bytes. The charge of the stream itself
    /// stays reserved while it is on the wire (Y-MEM-4, Y-MEM-8).
    pub(super) fn give_back(&mut self) {
        let stream = &mut *self.stream;
        let unread = stream.active().unread.capacity().saturating_add(stream.receive.lent as usize);
        let kept = if stream.linked { unread.saturating_add(STREAM_STATE) } else { unread };
        let released = match &mut stream.reservation {
            Some(reservation) if kept > 0 => {
                let excess = reservation.bytes().saturating_sub(kept);
                (excess > 0).then(|| reservation.split(excess))
            }
            _ => stream.reservation.take(),
        };
        if let Some(released) = released {
            self.levels.release(stream.priority, released.bytes());
            self.events.released.push(released);
        }
    }

    /// Bytes were read: gives back the memory that the rest does not need, where received bytes are charged as they are
    /// used.
    pub(super) fn discharge(&mut self) {
        let held = self.stream.receive.window.held().saturating_sub(self.arriving) as usize;
        let Some(own) = &mut self.stream.reservation else { return };
        let excess = Charge::new(self.config).excess(own.bytes(), held);
        if excess > 0 {
            self.events.released.push(own.split(excess));
            self.levels.release(self.stream.priority, excess);
        }
    }
}
