//! Verbs of [`Mux`] that begin streams: open, accept, the SYN of either end, and refusal.
//!
//! An open that waits because too many streams are unacknowledged sends the SYNs that were held back until the first
//! write, since the peer cannot acknowledge a stream that it has not heard of (Y-OPEN-14). `teardown` ends streams.

use super::inbound::Progress;
use super::{Lifecycle, Mux};
use crate::counting::count_up;
use crate::error::{OpenError, Violation};
use crate::memory::Reservation;
use crate::proto::events::notes::Note;
use crate::proto::key::Key;
use crate::proto::limits::INITIAL_WINDOW;
use crate::proto::peer::tombstones::Tombstone;
use crate::proto::stream::{Body, Handshake, HandshakeEvent, Opener, Opening, SendState, Stream, Target};
use crate::stats::count;
use crate::wire::{Flags, StreamId};
use std::collections::VecDeque;
use web_time::Instant;

/// The next id to be opened when a waiting open last announced a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Announced(Option<Option<StreamId>>);

/// Why a stream cannot be opened now.
#[derive(Clone, Debug)]
pub(crate) enum OpenBlocked {
    /// Too many streams wait for the peer to acknowledge them.
    Backlog,
    /// No stream can be opened any more.
    Failed(OpenError),
}

impl Mux {
    /// Whether [`Mux::open`] would succeed.
    pub(crate) fn can_open(&self) -> Result<StreamId, OpenBlocked> {
        let failed = match &self.lifecycle {
            Lifecycle::Closed(reason) => OpenError::Connection(reason.clone()),
            Lifecycle::Closing { .. } => OpenError::Closing,
            // Y-AWAY-1.
            Lifecycle::Open if self.remote_away => OpenError::RemoteGoAway,
            Lifecycle::Open => match self.next_id {
                None => OpenError::StreamsExhausted,
                // Y-ACK-2, Y-ACK-4: derived from the streams' states, not a semaphore.
                Some(_) if self.awaiting_ack() >= self.config.accept_backlog() => return Err(OpenBlocked::Backlog),
                Some(id) => return Ok(id),
            },
        };
        Err(OpenBlocked::Failed(failed))
    }

    /// Streams of this end that the peer has not acknowledged, half-open ones included.
    pub(super) const fn awaiting_ack(&self) -> usize {
        self.unacknowledged.saturating_add(self.half_open.unacknowledged())
    }

    /// Opens a stream with the window that `reservation` pays for: [`Charge::first_reservation`] bytes, or the least window of
    /// yamux where that is promised. Nothing is sent yet (Y-OPEN-1, Y-OPEN-2).
    pub(crate) fn open(&mut self, reservation: Reservation) -> Result<(Key, StreamId), OpenBlocked> {
        let id = match self.can_open() {
            Ok(id) => id,
            Err(blocked) => {
                self.events.released.push(reservation);
                return Err(blocked);
            }
        };
        self.next_id = id.value().checked_add(2).and_then(StreamId::new);
        let key = self.insert(id, Handshake::Lazy, reservation);
        count(&mut self.counters.opened);
        Ok((key, id))
    }

    /// Sends the SYN of the oldest stream that is not announced, once for each waiting open. If the open still waits
    /// after other streams have been opened, one of these may have taken the place, and another stream is announced.
    ///
    /// Ids are given out in order and each is looked at once: all calls together cost one step for each stream ever
    /// opened.
    pub(crate) fn announce_for(&mut self, waiting: &mut Announced) {
        let next = Some(self.next_id);
        if std::mem::replace(&mut waiting.0, next) == next {
            return;
        }
        while let Some(id) = self.unannounced.filter(|id| Some(*id) != self.next_id) {
            self.unannounced = id.value().checked_add(2).and_then(StreamId::new);
            if let Some(key) = self.store.find(id).filter(|key| self.is_unannounced(*key)) {
                // Y-OPEN-14.
                return self.send_syn(key);
            }
        }
    }

    /// Whether a stream's SYN has not left and is not queued either.
    fn is_unannounced(&self, key: Key) -> bool {
        let lazy = |stream: &Stream| stream.handshake == Handshake::Lazy && !stream.owed.syn && !stream.has_output();
        self.store.get(key).is_some_and(lazy)
    }

    pub(super) fn insert(&mut self, id: StreamId, handshake: Handshake, reservation: Reservation) -> Key {
        self.forget(id);
        let priority = self.config.default_priority();
        self.levels.reserve(priority, reservation.bytes());
        let window = self.charge_policy().first_window(reservation.bytes());
        let stream = Stream::new(id, handshake, priority, window, reservation);
        match handshake.is_unacknowledged() {
            true => self.unacknowledged = count_up(self.unacknowledged, 1),
            false => self.inbound = count_up(self.inbound, 1),
        }
        self.store.insert(stream)
    }

    /// Accepts the oldest stream of the backlog; its ACK is owed then (Y-ACK-1).
    pub(crate) fn accept(&mut self) -> Option<Key> {
        let key = self.take_incoming()?;
        self.accepted = count_up(self.accepted, 1);
        Some(key)
    }

    /// Takes the oldest stream off the backlog, as accepted.
    pub(super) fn take_incoming(&mut self) -> Option<Key> {
        let key = self.incoming.pop_front()?;
        if self.incoming.is_empty() {
            // A backlog may be long, and is short most of the time.
            self.incoming = VecDeque::new();
        }
        self.view(key)?.handshake(HandshakeEvent::Accept);
        self.sync_queues(key);
        Some(key)
    }

    /// Streams that wait to be accepted.
    pub(crate) fn waiting(&self) -> usize {
        self.incoming.len()
    }

    /// Streams that have been accepted so far.
    pub(crate) const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Queues the SYN of a lazily opened stream (Y-OPEN-2).
    pub(super) fn send_syn(&mut self, key: Key) {
        let lazy = self.lifecycle_is_open();
        let Some(stream) = self.store.get_mut(key).filter(|stream| stream.handshake == Handshake::Lazy) else { return };
        if lazy && stream.send.state != SendState::Reset && !stream.owed.syn {
            stream.owed.syn = true;
            self.sync_queues(key);
        }
    }

    // ---- streams that the peer opens ------------------------------------------------------------------

    /// Handles a SYN. It is validated as a whole before a stream is created (Y-OPEN-8). Any id of the peer that is not
    /// open is legal (Y-OPEN-5).
    pub(super) fn on_syn(
        &mut self,
        opening: Opening,
        flags: Flags,
        len: u32,
        now: Instant,
    ) -> Result<Progress, Violation> {
        let stream = opening.id.value();
        if opening.id.is_client() == self.mode.is_client() {
            // Y-OPEN-6.
            return Err(Violation::Parity { stream });
        }
        if self.store.find(opening.id).is_some() {
            // Y-OPEN-7.
            return Err(Violation::DuplicateStream { stream });
        }
        if len > INITIAL_WINDOW {
            return Err(Violation::WindowExceeded { stream, len, credit: INITIAL_WINDOW });
        }
        let reset = flags.contains(Flags::RST);
        if !reset && INITIAL_WINDOW.checked_add(opening.credit).is_none() {
            return Err(Violation::CreditOverflow { stream, credit: INITIAL_WINDOW, delta: opening.credit });
        }
        let mut body = Body { target: Target::Discard, left: len, fin: flags.contains(Flags::FIN) };
        if reset {
            // Y-OPEN-9: opened and reset at once. The application never sees the stream.
            count(&mut self.counters.resets.remote_unaccepted);
            self.rapid.spend(now).map_err(|_| Violation::RapidReset)?;
        } else if let Some(code) = self.refusal() {
            self.refuse(opening.id, code, len)?;
        } else {
            body.target = Target::Undecided(opening);
        }
        self.body = Some(body);
        Ok(Progress::Stray)
    }

    /// The code of the reset that refuses an inbound stream; `None` if one can be accepted now (Y-OPEN-11, Y-AWAY-1,
    /// Y-AWAY-3).
    fn refusal(&mut self) -> Option<u32> {
        let refusals = &mut self.counters.refusals;
        let (refused, code) = if self.local_away || self.remote_away || !matches!(self.lifecycle, Lifecycle::Open) {
            (&mut refusals.incoming_by_go_away, 0)
        } else if self.incoming.len() >= self.config.accept_backlog() {
            (&mut refusals.incoming_by_backlog, self.config.refusal_code())
        } else if self.inbound >= self.config.max_incoming_streams() {
            (&mut refusals.incoming_by_limit, self.config.refusal_code())
        } else {
            return None;
        };
        count(refused);
        Some(code)
    }

    /// Refuses a stream: owes a reset, and leaves a tombstone for frames that are already on the wire.
    fn refuse(&mut self, id: StreamId, code: u32, len: u32) -> Result<(), Violation> {
        self.events.notes.debug(|| Note::Refused { stream: id, code });
        self.half_open.remove(id);
        self.control.owe_reset(id, code)?;
        self.tombstones.insert(id, Tombstone::new(INITIAL_WINDOW.saturating_sub(len), 0));
        self.events.attention = true;
        Ok(())
    }

    /// Applies the memory manager's decision on the stream that the last frame opens; `None` means that it was refused
    /// (Y-MEM-1). With FIN it opens half-closed (Y-OPEN-12).
    pub(crate) fn admit(&mut self, granted: Option<Reservation>, now: Instant) {
        let Some(Body { target: Target::Undecided(opening), left, fin }) = self.body else {
            self.events.released.extend(granted);
            return;
        };
        let Some(reservation) = granted else {
            self.body = Some(Body { target: Target::Discard, left, fin });
            count(&mut self.counters.refusals.incoming_by_memory);
            if let Err(violation) = self.refuse(opening.id, self.config.refusal_code(), left) {
                self.violated(violation, now);
            }
            return;
        };
        let key = self.insert(opening.id, Handshake::Incoming, reservation);
        if let Some(stream) = self.store.get_mut(key) {
            // Invariant: `on_syn` has checked that neither overflows nor passes the window.
            let _ = stream.send.window.credit(opening.credit);
            let _ = stream.receive.window.receive(left, now, now);
            match opening.by {
                Opener::Data => stream.received.data_frame(),
                Opener::WindowUpdate => stream.updates.received(),
            }
        }
        self.incoming.push_back(key);
        self.events.incoming = true;
        self.useless.earn();
        self.body = Some(Body { target: Target::Stream(key), left, fin });
        self.finish_body(now);
        // Y-CLOSE-8: the acceptor may have gone while the memory manager was asked.
        if self.draining {
            self.drain(now);
        }
    }
}
