//! Owns [`Ends`]: what is known of how a connection ends, and what the end of its transport means for it and its streams.
//!
//! The transport says only that it has ended, or failed. Whether that is the end of a connection in good order, and what of
//! its streams was lost by it, is decided here.

use crate::error::{ConnectionError, Side};
use crate::proto::events::notes::Note;
use crate::proto::key::Key;
use crate::proto::mux::inbound::Worth;
use crate::proto::mux::{Lifecycle, Mux};
use crate::proto::stream::{Handle, Handshake, ReceiveState, Stream};
use web_time::Instant;

/// What is known of how a connection ends.
#[derive(Debug, Default)]
pub(in crate::proto) struct Ends {
    /// Number of the last batch that the transport has taken, and of the last one with a FIN in it.
    pub(in crate::proto) written: u64,
    pub(in crate::proto) last_fin: u64,
    /// How many frames the peer had sent on streams when it said that it goes away.
    away_after: Option<u64>,
    /// All ids of this end have been used, and the peer knows that the connection ends with its streams.
    pub(in crate::proto) retiring: bool,
    /// When the connection closes though streams are open: somebody wants one that it will never open.
    pub(in crate::proto) overdue: Option<Instant>,
    /// How many streams have ended while their handles held what had been taken off them.
    pub(in crate::proto) held: u64,
}

impl Ends {
    pub(in crate::proto) const fn is_retiring(&self) -> bool {
        self.retiring
    }

    pub(in crate::proto) const fn overdue_at(&self) -> Option<Instant> {
        self.overdue
    }
}

impl Mux {
    /// The peer takes no more streams, or ends the connection.
    pub(in crate::proto) fn on_go_away(&mut self, code: u32) -> Worth {
        self.events.notes.debug(|| Note::GoesAway { code });
        self.ends.away_after = Some(self.stream_frames());
        if code != 0 {
            // Y-AWAY-2.
            self.fail(ConnectionError::GoAway { by: Side::Remote, code });
            return Worth::Useful;
        }
        let news = !std::mem::replace(&mut self.remote_away, true);
        self.events.openable = true;
        self.close_if_drained();
        if news { Worth::Useful } else { Worth::Useless }
    }

    /// Whether the last that the peer has said was that it goes away, pings aside: one that closes says no more, one that
    /// only wants no more streams goes on with those that are open (Y-CLOSE-13).
    pub(crate) fn peer_has_left(&self) -> bool {
        self.ends.away_after == Some(self.stream_frames())
    }

    const fn stream_frames(&self) -> u64 {
        self.ledger.received.data_frames.saturating_add(self.ledger.received.window_update_frames)
    }

    /// The transport takes no more bytes. What the peer said last explains it better than the error does (Y-CLOSE-6).
    pub(crate) fn handle_write_error(&mut self, error: ConnectionError) {
        let reason = self.orderly_end(false).unwrap_or(error);
        self.fail(reason);
    }

    /// Reading from the transport has failed, `inside` a frame or not (Y-EOF-4).
    pub(crate) fn handle_read_error(&mut self, inside: bool, error: ConnectionError) {
        let reason = self.orderly_end(inside).unwrap_or(error);
        self.fail(reason);
    }

    /// The transport has ended, `inside` a frame or not (Y-EOF-1, Y-EOF-3).
    pub(crate) fn handle_eof(&mut self, inside: bool) {
        // A stream whose SYN has not left is none that the peer could have ended.
        let known = |key| self.store.get(key).is_some_and(|stream| stream.handshake != Handshake::Lazy);
        let open = self.store.live() > 0 && self.store.keys().any(|key| known(key) && self.is_linked(key));
        let reason = match (self.orderly_end(inside), &self.lifecycle) {
            (Some(reason), _) => reason,
            (None, _) if inside || open => ConnectionError::UnexpectedEof,
            (None, Lifecycle::Closing { reason, .. }) => reason.clone(),
            (None, _) => ConnectionError::Closed { by: Side::Remote },
        };
        self.fail(reason);
    }

    /// Why the connection is over where its transport ends or fails after the peer has said that it goes away, or while
    /// this end closes and nothing of a stream is lost by it: both are in good order. `None` where it is not.
    fn orderly_end(&self, inside: bool) -> Option<ConnectionError> {
        match &self.lifecycle {
            _ if inside => None,
            Lifecycle::Closing { reason, .. } if self.remote_away || self.has_sent_all() => Some(reason.clone()),
            _ if self.remote_away => Some(ConnectionError::Closed { by: Side::Remote }),
            _ => None,
        }
    }

    /// Whether the transport has taken all that was written, and every FIN that was asked for.
    fn has_sent_all(&self) -> bool {
        self.pool.used() == 0 && self.schedule.is_empty() && self.ends.last_fin <= self.ends.written
    }

    /// Decides who stays in the backlog though the connection is over: after an end in good order all of them, otherwise
    /// those that are complete or have something to read (Y-CLOSE-9). The others go as if nobody held them.
    pub(in crate::proto) fn part_with_backlog(&mut self, reason: &ConnectionError) {
        let (store, clean) = (&mut self.store, reason.is_clean());
        self.incoming.retain(|key| {
            let Some(stream) = store.get_mut(*key) else { return false };
            let finished = stream.receive.state == ReceiveState::Finished;
            let stays = clean || finished || !stream.motion().unread.is_empty();
            if !stays {
                stream.handle = Handle::Released;
            }
            stays
        });
        self.incoming.shrink_to_fit();
    }

    /// What of the body under way has not arrived by the end of the connection is not waited for any more.
    pub(in crate::proto) fn give_up_body(&mut self) {
        if let Some(key) = self.receiver() {
            let (left, latest) = (self.arriving(key), self.ledger.latest());
            if let Some(stream) = self.store.get_mut(key) {
                stream.receive.window.consume(left, latest);
            }
        }
        self.body = None;
    }

    /// Whether nothing of a stream was lost by the end of its connection, though its FIN may not have left: that was in
    /// good order, the peer has finished and was read to its end, and all that was written was sent (Y-CLOSE-12).
    pub(in crate::proto) fn is_complete(&self, stream: &Stream, reason: &ConnectionError) -> bool {
        let read = stream.receive.state == ReceiveState::Finished && stream.receive.window.held() == 0;
        reason.is_clean() && read && stream.has_sent_all(self.ends.written)
    }

    /// The application has used bytes, which it says after the end of the connection.
    pub(crate) fn consume_late(&mut self, key: Key, bytes: u32) {
        if bytes > 0 {
            self.consume(key, bytes, self.ledger.latest());
        }
    }

    /// How many streams have ended while their handles held what had been taken off them: those look again what of that has
    /// to stay reserved.
    pub(crate) const fn ends_with_held(&self) -> u64 {
        self.ends.held
    }

    /// Nothing can arrive on a stream any more: what it had reserved beyond what is unread is given back (Y-MEM-13).
    pub(in crate::proto) fn take_stock(&mut self, key: Key) {
        if let Some(stream) = self.store.get_mut(key)
            && stream.receive.lent > 0
        {
            self.ends.held = self.ends.held.wrapping_add(1);
            // The news is passed on with what is released, if it is nothing.
            self.events.released.extend(stream.reservation.as_mut().map(|own| own.split(0)));
        }
        self.give_back(key);
    }

    /// The handle of a stream holds no more of what was taken off it than `memory` bytes, chunks that are not full included.
    /// Says whether nothing more can arrive: then each chunk that has been read is worth a word.
    pub(crate) fn returned(&mut self, key: Key, memory: usize) -> bool {
        let Some(stream) = self.store.get_mut(key) else { return false };
        stream.receive.lent = u32::try_from(memory).unwrap_or(u32::MAX);
        let over = stream.is_receive_over();
        if over {
            self.give_back(key);
        }
        over
    }
}
