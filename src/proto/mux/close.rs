//! Verbs of [`Mux`] for the end of the connection: close and drain, the go-aways of both ends, and the end of the
//! transport.
//!
//! The transport only reports that it has ended or failed. These verbs decide whether the connection ended in good
//! order, and which streams lost data. A connection that can open no more streams lives on with the open ones. If a
//! task waits for a stream that will never open, the connection closes after a while, so that a new one can replace it.

use super::inbound::Progress;
use super::teardown::Leave;
use super::view::Trace;
use super::{Lifecycle, Mux};
use crate::error::{ConnectionError, Side};
use crate::proto::events::notes::Note;
use crate::proto::flow::requests::CreditState;
use crate::proto::key::Key;
use crate::proto::peer::ends::Confirmation;
use crate::proto::stream::readiness::Readiness;
use crate::proto::stream::{Handle, Handshake, Owed, ReceiveState, Stream};
use crate::stats::add;
use web_time::Instant;

impl Mux {
    /// Tells the peer that this end accepts no new streams; the open ones live on (Y-AWAY-3).
    pub(crate) fn go_away(&mut self) {
        if !self.local_away && matches!(self.lifecycle, Lifecycle::Open) {
            self.local_away = true;
            self.control.owe_go_away(0);
            self.events.attention = true;
        }
    }

    /// Begins to close: written data leaves, then a go-away with `code` (Y-CLOSE-1).
    pub(crate) fn close(&mut self, code: u32) {
        let reason = match code {
            0 => ConnectionError::Closed { by: Side::Local },
            code => ConnectionError::GoAway { by: Side::Local, code },
        };
        self.begin_close(code, reason);
    }

    /// Closes the connection as a libp2p muxer, whose user drops all streams, so that requests it has read stay
    /// unanswered. Streams that were dropped without an answer and whose FIN has not left are reset instead (Y-DROP-9),
    /// and a ping asks the peer to confirm that it has read the last frame (Y-CLOSE-14).
    #[cfg(any(feature = "libp2p", test))]
    pub(crate) fn close_muxer(&mut self, now: Instant) {
        if !matches!(self.lifecycle, Lifecycle::Open) {
            return;
        }
        let now = self.advance(now);
        self.ends.ask_confirmation();
        for key in self.store.keys().collect::<Vec<_>>() {
            self.reset_unanswered(key, now);
        }
        self.close(0);
    }

    pub(super) fn begin_close(&mut self, code: u32, reason: ConnectionError) {
        if matches!(self.lifecycle, Lifecycle::Open) {
            self.lifecycle = Lifecycle::Closing { code, reason, said: false };
            self.coalesce_until = None;
            (self.events.attention, self.events.outlook) = (true, true);
            self.events.openable = true;
        }
    }

    /// The application opens and accepts no more streams: streams in the backlog and later ones are refused, and the
    /// connection closes with the last open stream (Y-CLOSE-8).
    pub(crate) fn drain(&mut self, now: Instant) {
        let now = self.advance(now);
        self.draining = true;
        self.local_away = true;
        while let Some(key) = self.take_incoming() {
            let told = self.end_with_reset(key, 0, now);
            add(&mut self.counters.refusals.incoming_by_go_away, told.into());
            self.release(key, 0, Leave::Closed, now);
        }
        self.close_if_drained();
    }

    /// Closes the connection when its last stream has ended, if the peer sent a go-away with code 0, if the application
    /// has dropped the connection, or if no stream can be opened any more (Y-AWAY-1, Y-AWAY-4).
    pub(super) fn close_if_drained(&mut self) {
        if self.store.live() == 0 && (self.remote_away || self.draining || self.ends.is_retiring()) {
            self.close_drained();
        }
    }

    /// Closes a connection that has no use any more, in good order.
    pub(super) fn close_drained(&mut self) {
        let by = if self.remote_away { Side::Remote } else { Side::Local };
        self.begin_close(0, ConnectionError::Closed { by });
    }

    /// The peer accepts no more streams, or ends the connection.
    pub(super) fn on_go_away(&mut self, code: u32, now: Instant) -> Progress {
        self.events.notes.debug(|| Note::GoesAway { code });
        if code != 0 {
            // Y-AWAY-2.
            self.fail(ConnectionError::GoAway { by: Side::Remote, code }, now);
            return Progress::Useful;
        }
        let news = !std::mem::replace(&mut self.remote_away, true);
        self.events.openable = true;
        self.close_if_drained();
        if news { Progress::Useful } else { Progress::Useless }
    }

    /// Whether the peer's go-away was the last frame it sent, pings aside. A peer that closes sends nothing more. A
    /// peer that only refuses new streams goes on with the open ones (Y-CLOSE-13).
    pub(crate) const fn peer_has_left(&self) -> bool {
        self.ends.peer_has_left()
    }

    /// Whether the peer has read the go-away, where it was asked (Y-CLOSE-14).
    pub(crate) const fn confirmation(&self) -> Option<Confirmation> {
        self.ends.confirmation()
    }

    /// Writing to the transport has failed. A go-away that the peer sent explains it better than the error (Y-CLOSE-6).
    pub(crate) fn handle_write_error(&mut self, error: ConnectionError, now: Instant) {
        let reason = self.orderly_end(false).unwrap_or(error);
        self.fail(reason, now);
    }

    /// Reading from the transport has failed, `inside` a frame or not (Y-EOF-4).
    pub(crate) fn handle_read_error(&mut self, inside: bool, error: ConnectionError, now: Instant) {
        let reason = self.orderly_end(inside).unwrap_or(error);
        self.fail(reason, now);
    }

    /// The transport has ended, `inside` a frame or not (Y-EOF-1, Y-EOF-3).
    pub(crate) fn handle_eof(&mut self, inside: bool, now: Instant) {
        // The peer could not have ended a stream whose SYN has not left.
        let known = |key| self.store.get(key).is_some_and(|stream| stream.handshake != Handshake::Lazy);
        let open = self.store.live() > 0 && self.store.keys().any(|key| known(key) && self.is_linked(key));
        let reason = match (self.orderly_end(inside), &self.lifecycle) {
            (Some(reason), _) => reason,
            (None, _) if inside || open => ConnectionError::UnexpectedEof,
            (None, Lifecycle::Closing { reason, .. }) => reason.clone(),
            (None, _) => ConnectionError::Closed { by: Side::Remote },
        };
        self.fail(reason, now);
    }

    /// The reason of an end in good order: the transport ends or fails after the peer's go-away, or while this end
    /// closes and no stream loses data by it. `None` otherwise.
    fn orderly_end(&self, inside: bool) -> Option<ConnectionError> {
        match &self.lifecycle {
            _ if inside => None,
            Lifecycle::Closing { reason, .. } if self.remote_away || self.has_sent_all() => Some(reason.clone()),
            _ if self.remote_away => Some(ConnectionError::Closed { by: Side::Remote }),
            _ => None,
        }
    }

    /// Whether the transport has taken all data and every FIN that was asked for.
    fn has_sent_all(&self) -> bool {
        self.send_pool.used() == 0 && self.schedule.is_empty() && self.ends.has_written_fins()
    }

    /// Decides which streams stay in the backlog after the connection is over: all of them after an end in good order,
    /// otherwise those that are complete or have unread bytes (Y-CLOSE-9). The others are dropped.
    pub(super) fn part_with_backlog(&mut self, reason: &ConnectionError) {
        let (store, clean) = (&mut self.store, reason.is_clean());
        self.incoming.retain(|key| {
            let Some(stream) = store.get_mut(*key) else { return false };
            let finished = stream.receive.state == ReceiveState::Finished;
            let stays = clean || finished || !stream.active().unread.is_empty();
            if !stays {
                stream.handle = Handle::Released;
            }
            stays
        });
        self.incoming.shrink_to_fit();
    }

    /// The rest of the present body will not arrive: the connection is over.
    pub(super) fn give_up_body(&mut self, now: Instant) {
        if let Some(view) = self.receiver().and_then(|key| self.view(key)) {
            view.stream.receive.window.consume(view.arriving, now);
        }
        self.body = None;
    }

    /// Whether a stream lost nothing by the end of its connection: the end was in good order, the peer has finished and
    /// was read to its end, and all written data was sent. The FIN may be missing (Y-CLOSE-12).
    pub(super) fn is_complete(&self, stream: &Stream, reason: &ConnectionError) -> bool {
        let read = stream.receive.state == ReceiveState::Finished && stream.receive.window.held() == 0;
        reason.is_clean() && read && stream.has_sent_all(self.ends.written())
    }

    /// How many streams have ended while their handles held taken bytes. Each of these handles recounts the memory that
    /// has to stay reserved.
    pub(crate) const fn ends_with_held(&self) -> u64 {
        self.ends.held()
    }

    /// A task wants a stream, and all ids are used: the peer is told that this connection ends with its streams
    /// (Y-AWAY-4).
    pub(crate) fn retire(&mut self) {
        if self.next_id.is_none() && self.lifecycle_is_open() && self.ends.retire() {
            self.go_away();
            self.close_if_drained();
        }
    }

    /// A task waits for a stream that will never be opened. It waits for `drain_timeout` at most (Y-AWAY-5).
    #[cfg(any(feature = "libp2p", test))]
    pub(crate) fn wait_for_end(&mut self, now: Instant) {
        let never = self.remote_away || self.next_id.is_none();
        if never
            && self.lifecycle_is_open()
            && self.ends.overdue_at().is_none()
            && let Some(at) = self.config.drain_timeout().and_then(|timeout| now.checked_add(timeout))
        {
            self.ends.close_at(at);
            self.events.outlook = true;
        }
    }

    /// Closes the connection when that time is over.
    pub(super) fn close_if_overdue(&mut self, now: Instant) {
        if self.ends.take_overdue(now) {
            self.close_drained();
        }
    }

    /// Ends the connection: every stream fails, queued data is dropped, and all memory but that of unread bytes is
    /// given back. The first reason stays (Y-CLOSE-4).
    pub(crate) fn fail(&mut self, reason: ConnectionError, now: Instant) {
        if matches!(self.lifecycle, Lifecycle::Closed(_)) {
            return;
        }
        let now = self.advance(now);
        self.part_with_backlog(&reason);
        self.lifecycle = Lifecycle::Closed(reason);
        self.counters.end_transport_stall(now);
        self.control.clear();
        self.tombstones.clear();
        self.half_open.clear();
        self.chunk_lists.clear();
        self.forget_windows();
        self.give_up_body(now);
        self.coalesce_until = None;
        self.events.released.extend(self.send_pool.clear());
        self.events.released.extend(self.ahead.take());
        (self.events.incoming, self.events.openable, self.events.pong) = (true, true, true);
        self.events.attention = true;
        self.store.forget_ids();
        for key in self.store.keys().collect::<Vec<_>>() {
            self.fail_stream(key, now);
        }
    }

    fn fail_stream(&mut self, key: Key, now: Instant) {
        let Some(mut view) = self.view(key) else { return };
        let stream = &mut *view.stream;
        stream.send.lost |= stream.drop_unsent() > 0;
        stream.owed = Owed::default();
        if let Some(active) = &mut stream.active {
            (active.credit_state, active.minimum_credit) = (CreditState::Settled, 0);
        }
        stream.receive.window.forget_rate();
        view.notify(Readiness::ALL);
        self.leave_wire(key, Trace::None, now);
        self.sync_queues(key);
    }
}
