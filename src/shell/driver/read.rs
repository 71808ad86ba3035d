//! The inbound direction: from the transport to the core, with memory reserved in between, and a pause where streams arrive
//! faster than they are accepted.

use super::linger::{Linger, Peer};
use super::memory::InputMemory;
use super::{Driver, Phase, Stop};
use crate::error::ConnectionError;
use crate::proto::Admission;
use crate::proto::limits::{POLL_PIECES, POLL_READ_BYTES};
use crate::shell::reserve::reserve_stream;
use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use web_time::Instant;

/// Why the core applies no more of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// All is applied, or as much as one poll may do.
    Nothing,
    /// It needs memory for a stream that the peer opens.
    StreamMemory,
    /// It needs memory for bytes that have arrived.
    InputMemory(usize),
    /// What is owed has to be written first.
    Write,
    /// The connection is over.
    End,
}

/// How much of what was read has been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applied {
    All,
    /// Up to a stream that fills more than half of the backlog.
    UpToBacklog,
    /// As much as one poll may do.
    BudgetSpent,
    /// Up to as much as this end may owe (Y-LIMIT-4).
    UpToDebts,
    /// The connection is over.
    Ended,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(super) fn poll_read(&mut self, now: Instant, cx: &mut Context<'_>) -> Stop {
        let paused = self.accept_pause.deadline().is_some();
        if paused && self.awaits_accept(now, cx) {
            return Stop::Pending;
        }
        // What was read before and not applied comes first.
        let mut unapplied = paused || std::mem::take(&mut self.unapplied);
        let mut pieces = POLL_PIECES;
        let mut left = POLL_READ_BYTES;
        while (unapplied || left > 0) && matches!(self.phase, Phase::Running | Phase::FinalRead(_)) {
            if !std::mem::take(&mut unapplied) {
                let most = self.read_limit();
                if most == 0 {
                    return Stop::Pending;
                }
                match self.reader.poll_fill(&mut self.io, most, cx) {
                    Poll::Pending => return Stop::Pending,
                    Poll::Ready(Ok(read @ 1..)) => {
                        left = left.saturating_sub(read);
                        self.has_read(read, now);
                    }
                    Poll::Ready(end) => {
                        self.end_of_input(end.err(), now);
                        continue;
                    }
                }
            }
            match self.apply(&mut pieces, now) {
                Applied::All => {}
                Applied::UpToBacklog if self.awaits_accept(now, cx) => return Stop::Pending,
                Applied::UpToBacklog => unapplied = true,
                Applied::BudgetSpent => {
                    self.unapplied = true;
                    break;
                }
                Applied::UpToDebts => {
                    self.unapplied = true;
                    return if self.is_full() { Stop::TransportFull } else { Stop::BudgetSpent };
                }
                Applied::Ended => return Stop::Pending,
            }
        }
        Stop::BudgetSpent
    }

    /// How many bytes may be read at once.
    const fn read_limit(&self) -> usize {
        match &self.phase {
            Phase::Running => usize::MAX,
            Phase::FinalRead(reading) => reading.left(),
            Phase::Lingering(_) | Phase::Ended => 0,
        }
    }

    fn has_read(&mut self, bytes: usize, now: Instant) {
        self.close_timeout.read(now);
        if let Phase::FinalRead(reading) = &mut self.phase {
            reading.read(bytes, now);
        }
    }

    /// The transport has ended, or reading from it has failed.
    fn end_of_input(&mut self, error: Option<io::Error>, now: Instant) {
        if matches!(self.phase, Phase::FinalRead(_)) {
            return self.end_final_read(now);
        }
        // What was written before counts as sent.
        self.report(now);
        let inside = self.reader.is_inside_frame();
        // Y-EOF-5: TLS reports a transport that was closed without a close_notify so.
        let failed = error.filter(|error| error.kind() != io::ErrorKind::UnexpectedEof);
        let ended = failed.is_none();
        self.shared.with(|inner| match failed {
            None => inner.mux.handle_eof(inside, now),
            Some(error) => inner.mux.handle_read_error(inside, ConnectionError::Io(Arc::new(error)), now),
        });
        match ended {
            true => self.phase = Phase::Lingering(Linger::new(Peer::Eof, now)),
            false => self.ended(),
        }
    }

    /// Whether the rest of what was read waits for the application to accept a stream. The task is parked in the critical
    /// section that saw that it has not.
    fn awaits_accept(&mut self, now: Instant, cx: &Context<'_>) -> bool {
        let pause = &mut self.accept_pause;
        self.shared.with(|inner| {
            let paused = pause.is_active(inner.mux.accepted(), now);
            if paused {
                inner.park_driver(cx);
            }
            paused
        })
    }

    /// Passes what was read to the core, `pieces` of it at most: in one critical section, unless memory has to be reserved in
    /// between.
    fn apply(&mut self, pieces: &mut usize, now: Instant) -> Applied {
        let mut memory = InputMemory::Unknown;
        loop {
            let needs = self.apply_some(pieces, memory, now);
            memory = InputMemory::Unknown;
            if let Some(tap) = &mut self.tap {
                tap.show_inbound();
            }
            match needs {
                Needs::Nothing => return if *pieces > 0 { Applied::All } else { Applied::BudgetSpent },
                // The core is asked again: another task may have used the memory meanwhile.
                Needs::InputMemory(bytes) => memory = self.reserve_input(bytes),
                Needs::StreamMemory if self.admit(now) => return Applied::UpToBacklog,
                Needs::StreamMemory => {}
                Needs::Write => return Applied::UpToDebts,
                Needs::End => return Applied::Ended,
            }
        }
    }

    /// Applies up to what has to be reserved first. Where that was refused, which `memory` says, the first bytes are applied
    /// without.
    fn apply_some(&mut self, pieces: &mut usize, mut memory: InputMemory, now: Instant) -> Needs {
        let (reader, tap) = (&mut self.reader, &mut self.tap);
        self.shared.with(|inner| {
            inner.mux.heard(now);
            let needs = loop {
                if *pieces == 0 {
                    break Needs::Nothing;
                }
                if inner.mux.must_write() {
                    break Needs::Write;
                }
                // What arrives after the end is discarded and not shown.
                if let Some(tap) = tap
                    && inner.mux.closed().is_none()
                {
                    tap.record(reader.peek_header());
                }
                if std::mem::replace(&mut memory, InputMemory::Unknown) == InputMemory::Unknown
                    && let Some(bytes) = inner.mux.lacks(reader.body_ahead())
                {
                    return Needs::InputMemory(bytes);
                }
                match reader.next() {
                    Ok(Some(frame)) => {
                        *pieces = pieces.saturating_sub(1);
                        match inner.mux.handle_frame(frame, now) {
                            Admission::Settled => {}
                            Admission::Reserve => break Needs::StreamMemory,
                        }
                    }
                    Ok(None) => break Needs::Nothing,
                    Err(violation) => {
                        inner.mux.violated(violation, now);
                        break Needs::Nothing;
                    }
                }
            };
            inner.mux.handle_applied();
            if inner.mux.closed().is_some() { Needs::End } else { needs }
        })
    }

    /// Accepts or refuses a stream that the peer opens. Returns whether reading pauses for the application to accept it.
    fn admit(&mut self, now: Instant) -> bool {
        let granted = reserve_stream(&self.config, self.shared.memory()).ok();
        let admitted = granted.is_some();
        let (waiting, accepted) = self.shared.with(|inner| {
            inner.mux.admit(granted, now);
            (inner.mux.waiting(), inner.mux.accepted())
        });
        // Y-OPEN-13.
        let half_full = admitted && waiting > self.config.accept_backlog() / 2;
        half_full && self.accept_pause.start(accepted, now)
    }
}
