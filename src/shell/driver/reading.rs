//! The way in: transport to core, with memory reserved in between, and a wait where streams come faster than they are
//! accepted.

use super::memory::Provided;
use super::{Driver, Phase, Stop};
use crate::error::ConnectionError;
use crate::proto::Admission;
use crate::proto::limits::{POLL_PIECES, POLL_READ_BYTES};
use crate::shell::last_words::{LastWords, Peer};
use crate::shell::opener::reserve_stream;
use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use web_time::Instant;

/// What has to be had before more of what was read can be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Memory for a stream that the peer opens.
    Window,
    /// Memory for bytes that have arrived.
    Room(usize),
    /// What is owed has to be written first.
    Writing,
    /// The connection is over.
    End,
}

/// How much of what was read has been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applied {
    All,
    /// Up to a stream that fills more than half of the backlog.
    UpToCrowd,
    /// As much as a poll may take.
    Enough,
    /// As much as this end may owe (Y-LIMIT-4).
    Indebted,
    /// The connection is over.
    Ended,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(super) fn poll_read(&mut self, now: Instant, cx: &mut Context<'_>) -> Stop {
        // What was read and not applied before reading had to wait.
        let waited = self.patience.deadline().is_some();
        if waited && self.awaits_acceptor(now, cx) {
            return Stop::Waits;
        }
        let mut rest = waited || std::mem::take(&mut self.unapplied);
        let mut pieces = POLL_PIECES;
        let mut left = POLL_READ_BYTES;
        while (rest || left > 0) && matches!(self.phase, Phase::Running | Phase::Salvaging(_)) {
            if !std::mem::take(&mut rest) {
                let most = self.reads();
                if most == 0 {
                    return Stop::Waits;
                }
                match self.reader.poll_fill(&mut self.io, most, cx) {
                    Poll::Pending => return Stop::Waits,
                    Poll::Ready(Ok(read @ 1..)) => {
                        left = left.saturating_sub(read);
                        self.heard(read, now);
                    }
                    Poll::Ready(end) => {
                        self.reading_ends(end.err(), now);
                        continue;
                    }
                }
            }
            match self.apply(&mut pieces, now) {
                Applied::All => {}
                Applied::UpToCrowd if self.awaits_acceptor(now, cx) => return Stop::Waits,
                Applied::UpToCrowd => rest = true,
                Applied::Enough => {
                    self.unapplied = true;
                    break;
                }
                Applied::Indebted => {
                    self.unapplied = true;
                    return if self.is_full() { Stop::Holds } else { Stop::Yields };
                }
                Applied::Ended => return Stop::Waits,
            }
        }
        Stop::Yields
    }

    /// How many bytes may be read at once.
    const fn reads(&self) -> usize {
        match &self.phase {
            Phase::Running => usize::MAX,
            Phase::Salvaging(salvage) => salvage.left(),
            Phase::Leaving(_) | Phase::Ended => 0,
        }
    }

    fn heard(&mut self, read: usize, now: Instant) {
        self.closing.heard(now);
        if let Phase::Salvaging(salvage) = &mut self.phase {
            salvage.took(read, now);
        }
    }

    /// The transport has ended, or reading from it has failed.
    fn reading_ends(&mut self, error: Option<io::Error>, now: Instant) {
        if matches!(self.phase, Phase::Salvaging(_)) {
            return self.give_up();
        }
        // What has left is not lost by that.
        self.report();
        let inside = self.reader.is_inside_frame();
        // Y-EOF-5: TLS says so of a transport that was closed without a word.
        let failed = error.filter(|error| error.kind() != io::ErrorKind::UnexpectedEof);
        let ended = failed.is_none();
        self.shared.with(|inner| {
            inner.mux.tick(now);
            match failed {
                None => inner.mux.handle_eof(inside),
                Some(error) => inner.mux.handle_read_error(inside, ConnectionError::Io(Arc::new(error))),
            }
        });
        match ended {
            true => self.phase = Phase::Leaving(LastWords::new(Peer::Gone, now)),
            false => self.ended(),
        }
    }

    /// Whether the rest of what was read waits for somebody to accept a stream. The task is parked in the critical
    /// section that saw that nobody has.
    fn awaits_acceptor(&mut self, now: Instant, cx: &Context<'_>) -> bool {
        let patience = &mut self.patience;
        self.shared.with(|inner| {
            let waits = patience.lasts(inner.mux.accepted(), now);
            if waits {
                inner.park_driver(cx);
            }
            waits
        })
    }

    /// Hands what was read to the core, `pieces` of it at most: one critical section, unless memory has to be reserved in
    /// between.
    fn apply(&mut self, pieces: &mut usize, now: Instant) -> Applied {
        let mut provided = Provided::All;
        loop {
            let needs = self.apply_some(pieces, provided, now);
            provided = Provided::All;
            if let Some(tap) = &mut self.tap {
                tap.hand_over_inbound();
            }
            match needs {
                Needs::Nothing => return if *pieces > 0 { Applied::All } else { Applied::Enough },
                // Looked at again: what was read meanwhile has taken room that was counted on.
                Needs::Room(bytes) => provided = self.provide(bytes),
                Needs::Window if self.admit(now) => return Applied::UpToCrowd,
                Needs::Window => {}
                Needs::Writing => return Applied::Indebted,
                Needs::End => return Applied::Ended,
            }
        }
    }

    /// Applies up to what has to be paid for first. The first bytes for which nothing could be `provided` are applied
    /// without.
    fn apply_some(&mut self, pieces: &mut usize, mut provided: Provided, now: Instant) -> Needs {
        let (reader, tap) = (&mut self.reader, &mut self.tap);
        self.shared.with(|inner| {
            inner.mux.heard(now);
            let needs = loop {
                if *pieces == 0 {
                    break Needs::Nothing;
                }
                if inner.mux.must_write() {
                    break Needs::Writing;
                }
                // What comes after the end is thrown away unseen.
                if let Some(tap) = tap
                    && inner.mux.closed().is_none()
                {
                    tap.note(reader.peek_header());
                }
                if std::mem::replace(&mut provided, Provided::All) == Provided::All
                    && let Some(bytes) = inner.mux.lacks(reader.body_ahead())
                {
                    return Needs::Room(bytes);
                }
                match reader.next() {
                    Ok(Some(frame)) => {
                        *pieces = pieces.saturating_sub(1);
                        match inner.mux.handle_frame(frame, now) {
                            Admission::Settled => {}
                            Admission::Reserve => break Needs::Window,
                        }
                    }
                    Ok(None) => break Needs::Nothing,
                    Err(violation) => {
                        inner.mux.violated(violation);
                        break Needs::Nothing;
                    }
                }
            };
            inner.mux.handle_applied();
            if inner.mux.closed().is_some() { Needs::End } else { needs }
        })
    }

    /// Decides on a stream that the peer opens; says whether reading waits for somebody to accept it.
    fn admit(&mut self, now: Instant) -> bool {
        let granted = reserve_stream(&self.config, self.shared.memory()).ok();
        let taken_in = granted.is_some();
        let (waiting, accepted) = self.shared.with(|inner| {
            inner.mux.admit(granted, now);
            (inner.mux.waiting(), inner.mux.accepted())
        });
        // Y-OPEN-13.
        let crowded = taken_in && waiting > self.config.accept_backlog() / 2;
        crowded && self.patience.begin(accepted, now)
    }
}
