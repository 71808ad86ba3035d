//! Verbs of [`Mux`] for frames of open streams and of the connection.
//!
//! A header is validated as a whole before any state changes (Y-HDR-8). A body is buffered as it arrives, and a FIN
//! acts once its body is complete. `open` handles SYNs, `late` handles frames of streams that have ended.

use super::Mux;
use crate::counting::count_down;
use crate::error::{ConnectionError, Violation};
use crate::priority::Priority;
use crate::proto::counters::count_frame;
use crate::proto::counters::stall::Cause;
use crate::proto::events::notes::Note;
use crate::proto::key::Key;
use crate::proto::send::delivery::Answer;
use crate::proto::stream::readiness::Readiness;
use crate::proto::stream::{
    Body, Handshake, HandshakeEvent, Opener, Opening, Owed, ReceiveEvent, ReceiveState, ResetBy, ResetCause, SendEvent,
    Target,
};
use crate::stats::{Resets, add, count};
use crate::wire::{Flags, Frame, Header, PingKind, StreamId};
use web_time::Instant;

/// Code of the reset that answers data after a FIN (Y-FIN-3): the code that yamux gives a go-away for a protocol error.
const PROTOCOL_ERROR: u32 = 1;

/// What the shell must do before the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Nothing.
    Settled,
    /// Reserve memory for a stream that the peer opens, and call [`Mux::admit`].
    Reserve,
}

/// Whether a legal frame has changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Useful,
    /// It changed nothing: counted (Y-LIMIT-1).
    Useless,
    /// An expected frame that costs no token and earns none.
    Stray,
}

impl Mux {
    /// Handles a frame, or a piece of a body. A violation ends the connection, and a go-away with its code is then owed
    /// (Y-CLOSE-2).
    pub(crate) fn handle_frame(&mut self, frame: Frame<&[u8]>, now: Instant) -> Admission {
        if self.closed().is_some() {
            return Admission::Settled;
        }
        let result = match frame {
            Frame::Body(bytes) => {
                self.on_body(bytes, now);
                return Admission::Settled;
            }
            Frame::Header(header) => {
                self.events.notes.received(header);
                count_frame(&mut self.counters.received, header);
                self.ends.frame_received(header);
                self.on_header(header, now)
            }
        };
        let accounted = result.and_then(|worth| self.account(worth, now));
        accounted.unwrap_or_else(|violation| self.violated(violation, now));
        match self.body {
            Some(Body { target: Target::Undecided(_), .. }) => Admission::Reserve,
            _ => Admission::Settled,
        }
    }

    /// The peer broke the protocol, in a frame or in the bytes of one.
    pub(crate) fn violated(&mut self, violation: Violation, now: Instant) {
        if self.closed().is_some() {
            return;
        }
        self.events.notes.debug(|| Note::Violated(violation.clone()));
        let code = violation.code();
        self.fail(ConnectionError::Violation(violation), now);
        self.control.owe_go_away(code);
    }

    /// Bytes of the present body that have not arrived, if it is for this stream.
    pub(super) fn arriving(&self, key: Key) -> u32 {
        match self.body {
            Some(Body { target: Target::Stream(target), left, .. }) if target == key => left,
            _ => 0,
        }
    }

    /// The stream that the present body is for.
    pub(super) fn receiver(&self) -> Option<Key> {
        match self.body {
            Some(Body { target: Target::Stream(key), .. }) => Some(key),
            _ => None,
        }
    }

    fn account(&mut self, worth: Progress, now: Instant) -> Result<(), Violation> {
        match worth {
            Progress::Useful => self.useless.earn(),
            Progress::Useless => self.spend_useless(now)?,
            Progress::Stray => {}
        }
        Ok(())
    }

    fn spend_useless(&mut self, now: Instant) -> Result<(), Violation> {
        count(&mut self.counters.useless_frames);
        self.useless.spend(now).map_err(|_| Violation::UselessFrames)
    }

    fn on_header(&mut self, header: Header, now: Instant) -> Result<Progress, Violation> {
        self.body = None;
        match header {
            Header::Data { id, flags, len } if flags.contains(Flags::SYN) => {
                self.on_syn(Opening { id, credit: 0, by: Opener::Data }, flags, len, now)
            }
            Header::WindowUpdate { id, flags, value } if flags.contains(Flags::SYN) => {
                self.on_syn(Opening { id, credit: value, by: Opener::WindowUpdate }, flags, 0, now)
            }
            Header::Data { id, flags, len } => match self.known(id) {
                Some(key) => self.on_data(key, flags, len, now),
                None => self.on_late_data(id, flags, len, now),
            },
            Header::WindowUpdate { id, flags, value } => match self.known(id) {
                Some(key) => self.on_window_update(key, flags, value, now),
                None => Ok(self.on_late_update(id, flags, value, now)),
            },
            Header::Ping { kind, nonce } => self.on_ping(kind, nonce, now),
            Header::GoAway { code } => Ok(self.on_go_away(code, now)),
        }
    }

    /// The stream that a frame without SYN is for. The peer cannot know a stream whose SYN has not left.
    fn known(&self, id: StreamId) -> Option<Key> {
        let key = self.store.find(id)?;
        self.store.get(key).filter(|stream| stream.handshake != Handshake::Lazy).map(|_| key)
    }

    // ---- data and credit -----------------------------------------------------------------------------------------

    fn on_data(&mut self, key: Key, flags: Flags, len: u32, now: Instant) -> Result<Progress, Violation> {
        let quiet = self.last_data;
        let Some(mut view) = self.view(key) else { return Ok(Progress::Stray) };
        let (state, window) = (view.stream.receive.state, &mut view.stream.receive.window);
        let exceeded = Violation::WindowExceeded { stream: view.stream.id.value(), len, credit: window.credit() };
        // Y-FLOW-2: validated by the header alone, and in every state.
        window.receive(len, quiet, now).map_err(|_| exceeded)?;
        view.stream.received.data_frame();
        // Y-ACK-3.
        let heard = view.handshake(HandshakeEvent::Heard);
        if flags.contains(Flags::RST) {
            self.body = Some(Body { target: Target::Discard, left: len, fin: false });
            self.consume(key, len, now);
            // Y-RST-5: whatever else the frame says.
            self.on_reset(key, 0, now)?;
            return Ok(Progress::Useful);
        }
        let fin = flags.contains(Flags::FIN);
        match state {
            ReceiveState::Open | ReceiveState::Stopped => {
                self.body = Some(Body { target: Target::Stream(key), left: len, fin });
                self.finish_body(now);
                Ok(if len == 0 && !fin && !heard { Progress::Useless } else { Progress::Useful })
            }
            ReceiveState::Finished | ReceiveState::Done if len > 0 => {
                // Y-FIN-3: data after the end of the stream.
                self.body = Some(Body { target: Target::Discard, left: len, fin: false });
                self.consume(key, len, now);
                let told = self.end_with_reset(key, PROTOCOL_ERROR, now);
                add(&mut self.counters.resets.after_fin, told.into());
                Ok(Progress::Useless)
            }
            ReceiveState::Finished | ReceiveState::Done => Ok(Progress::Useless),
            // Our reset has not left yet, so the peer cannot know of it.
            ReceiveState::Reset => {
                self.body = Some(Body { target: Target::Discard, left: len, fin: false });
                self.consume(key, len, now);
                Ok(Progress::Stray)
            }
        }
    }

    fn on_body(&mut self, bytes: &[u8], now: Instant) {
        let Some(body) = &mut self.body else { return };
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        add(&mut self.counters.received.data_bytes, len.into());
        self.last_data = now;
        body.left = count_down(body.left, len);
        if let Target::Stream(key) = body.target {
            if !self.charge(key, bytes.len()) {
                self.end_out_of_memory(key, now);
            }
            let kept = self.store.keep(key, bytes, &mut self.send_pool.free_chunks);
            if let Some(mut view) = self.view(key) {
                view.stream.received.body(bytes.len());
                if kept {
                    view.data_arrived();
                }
                let priority = view.stream.priority;
                self.pace_arrivals(key, priority, bytes.len(), now);
            }
            if !kept {
                self.consume(key, len, now);
            }
        }
        self.finish_body(now);
    }

    /// Bytes of a stream have arrived: counts them where the stream makes way for more urgent ones (Y-PRIO-8).
    fn pace_arrivals(&mut self, key: Key, priority: Priority, bytes: usize, now: Instant) {
        let (levels, paces) = (&self.levels, self.config.pacing());
        self.pacer.arrived(priority.bucket(), || !paces || levels.is_lowest(priority), now);
        if self.pacer.top().is_some_and(|top| priority.bucket() < top)
            && let Some(round_trip) = self.pinger.rtt.round_trip()
            && let Some(stream) = self.store.get_mut(key)
        {
            self.inflow.arrived(bytes, &mut stream.receive.interval, round_trip, now);
        }
    }

    /// Applies the FIN of a data frame once its body is complete (Y-HDR-6).
    pub(super) fn finish_body(&mut self, now: Instant) {
        let Some(Body { target, left: 0, fin }) = self.body else { return };
        match target {
            Target::Stream(key) => {
                self.body = None;
                if fin && self.on_fin(key, now) == Progress::Useless {
                    // The data earned a token, which this FIN spends.
                    self.spend_useless(now).unwrap_or_else(|violation| self.violated(violation, now));
                }
            }
            Target::HalfOpen(id) => {
                self.body = None;
                self.finish_late_body(id, fin, now);
            }
            Target::Discard | Target::Undecided(_) => {}
        }
    }

    fn on_window_update(&mut self, key: Key, flags: Flags, value: u32, now: Instant) -> Result<Progress, Violation> {
        let Some(mut view) = self.view(key) else { return Ok(Progress::Stray) };
        view.stream.updates.received();
        // Any frame of the peer on this stream counts as its ACK (Y-ACK-3).
        let heard = view.handshake(HandshakeEvent::Heard);
        if flags.contains(Flags::RST) {
            // Y-RST-1: the value is a code, never credit.
            self.on_reset(key, value, now)?;
            return Ok(Progress::Useful);
        }
        let window = &mut view.stream.send.window;
        let (stream, credit) = (view.stream.id.value(), window.available());
        window.credit(value).map_err(|_| Violation::CreditOverflow { stream, credit, delta: value })?;
        if value > 0 {
            if view.stream.stall.cause() == Some(Cause::Window) {
                view.end_stall(now);
            }
            view.notify(Readiness::WRITE);
        }
        if flags.contains(Flags::FIN) {
            return Ok(self.on_fin(key, now));
        }
        Ok(if value > 0 || heard { Progress::Useful } else { Progress::Useless })
    }

    // ---- ends ----------------------------------------------------------------------------------------------------

    fn on_fin(&mut self, key: Key, now: Instant) -> Progress {
        let Some(mut view) = self.view(key) else { return Progress::Stray };
        let state = view.stream.receive.state;
        view.stream.receive.state = state.on(ReceiveEvent::Fin);
        if view.stream.receive.state == state {
            // Y-FIN-2: a second FIN.
            return Progress::Useless;
        }
        view.leave_credit_queue();
        view.release_window_memory();
        view.notify(Readiness::READ);
        self.sync(key, now);
        Progress::Useful
    }

    /// Both halves are over: the stream leaves the wire even if unread bytes are left.
    fn on_reset(&mut self, key: Key, code: u32, now: Instant) -> Result<(), Violation> {
        let Some(mut view) = self.view(key) else { return Ok(()) };
        let stream = &mut *view.stream;
        view.events.notes.debug(|| Note::Reset { stream: stream.id, code });
        stream.send.state = stream.send.state.on(SendEvent::Reset);
        stream.receive.state = stream.receive.state.on(ReceiveEvent::RemoteReset);
        // A stream that this end has reset before is counted as such.
        let news = stream.reset.is_none();
        stream.reset.get_or_insert(ResetCause { by: ResetBy::Remote, code });
        stream.owed = Owed::default();
        view.drop_unsent();
        view.notify(Readiness::ALL);
        // Y-OPEN-10: the stream leaves the backlog and is never handed out.
        let unaccepted = self.leave_backlog(key);
        self.sync(key, now);
        let Resets { remote, remote_unaccepted, .. } = &mut self.counters.resets;
        add(if unaccepted { remote_unaccepted } else { remote }, news.into());
        if unaccepted {
            self.rapid.spend(now).map_err(|_| Violation::RapidReset)?;
        }
        self.wake_writers(now);
        Ok(())
    }

    // ---- the connection ------------------------------------------------------------------------------------------

    /// Returns whether the pong answers a marker (Y-PRIO-6).
    fn on_marker(&mut self, nonce: u32, now: Instant) -> bool {
        let answer = self.pacer.answered(nonce, now);
        if let Answer::Sample(sample) = answer {
            self.pinger.rtt.sample_loaded(sample.sent_at, now);
        }
        let is_marker = answer != Answer::NoMarker;
        self.events.attention |= is_marker;
        is_marker
    }

    fn on_ping(&mut self, kind: PingKind, nonce: u32, now: Instant) -> Result<Progress, Violation> {
        if kind == PingKind::Response {
            self.ends.on_pong(nonce);
        }
        match kind {
            // Y-PING-1.
            PingKind::Request => {
                self.control.owe_pong(nonce)?;
                self.inflow.ping();
                self.events.attention = true;
                Ok(Progress::Stray)
            }
            PingKind::Response if self.pinger.pong(nonce, now) => {
                self.events.pong |= self.pinger.user.take_ended();
                Ok(Progress::Useful)
            }
            PingKind::Response if self.on_marker(nonce, now) => Ok(Progress::Useful),
            // Y-PING-2, Y-PING-3.
            PingKind::Response | PingKind::Unflagged => Ok(Progress::Useless),
        }
    }
}
