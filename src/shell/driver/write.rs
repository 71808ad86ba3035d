//! The outbound direction: batches encoded by the core, written, and flushed once.

use super::{Driver, ParkState, Phase, Stop};
use crate::proto::Mux;
use crate::proto::limits::{COALESCE_TURNS, FLUSH_WAIT, POLL_WRITE_BYTES};
use crate::tap::Direction;
use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::task::{Context, Poll};
use web_time::Instant;

/// What is to be done with the transport next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Write the batch.
    Batch,
    /// A task waits for what was written: flush.
    Flush,
    /// There is nothing more to write, and the task is parked: flush.
    FinalFlush,
    /// A flush has been pending for too long: nothing is encoded until it is done.
    OnlyFlush,
    /// Other tasks may add to the next batch first.
    Coalesce,
    /// The memory manager has to be asked before there is anything to send.
    AskMemory,
    /// Nothing; the task is parked, and this is what it waits for.
    Parked(ParkState),
}

/// The transport takes nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransportStall {
    pub(super) since: Instant,
    /// It is full: it has taken no part of a batch. Otherwise a flush is pending.
    full: bool,
}

/// What has been done with the transport and not been reported to the core: that happens in the critical section in which
/// the next batch is encoded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WriteReport {
    /// Bytes of bodies in a batch that has been written.
    data: Option<usize>,
    /// Up to which batch all is flushed.
    flushed: Option<u64>,
    /// The number of the last batch that was encoded, and of the last one that was written whole.
    encoded: u64,
    written: u64,
}

/// A batch that was postponed, how often, and how many bytes were waiting for it then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Postponed {
    turns: usize,
    waiting: usize,
}

impl WriteReport {
    fn apply(&mut self, mux: &mut Mux, spent: impl Iterator<Item = Bytes>, now: Instant) {
        if let Some(data) = self.data.take() {
            mux.handle_written(data, spent, now);
        }
        if let Some(number) = self.flushed.take() {
            mux.handle_flushed(number, now);
        }
    }
}

impl Postponed {
    /// Whether a batch is postponed, once more or for the first time, when so many bytes wait: the tasks that were woken
    /// get a turn, and another one while they continue to write.
    fn postpone(before: Option<Self>, waiting: usize) -> Option<Self> {
        let Some(Self { turns, waiting: less }) = before else { return Some(Self { turns: 1, waiting }) };
        (turns < COALESCE_TURNS && waiting > less).then_some(Self { turns: turns.saturating_add(1), waiting })
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Sends what there is to send. If there is no more and the task was parked, also returns what it waits for.
    ///
    /// A flush that is pending stops nothing (Y-SEND-5): it is asked for again when there is no more to write, or the poll has
    /// done enough.
    pub(super) fn poll_write(&mut self, now: Instant, cx: &mut Context<'_>) -> (Stop, Option<ParkState>) {
        let (mut left, mut pending) = (POLL_WRITE_BYTES, false);
        while left > 0 {
            match self.next(pending, now, cx) {
                Next::Batch => {
                    left = left.saturating_sub(self.writer.len());
                    if self.poll_batch(now, cx).is_pending() {
                        self.flush_while_full(now, cx);
                        return (Stop::Pending, None);
                    }
                }
                Next::Flush => pending = self.poll_flush(now, cx).is_pending(),
                next @ (Next::FinalFlush | Next::OnlyFlush) => {
                    if self.poll_flush(now, cx).is_pending() {
                        self.stalled(next == Next::OnlyFlush, now);
                        return (Stop::Pending, None);
                    }
                }
                Next::Coalesce | Next::AskMemory => return (Stop::BudgetSpent, None),
                Next::Parked(parked) => {
                    self.progressed(now);
                    return (Stop::Pending, Some(parked));
                }
            }
            if !matches!(self.phase, Phase::Running) {
                return (Stop::Pending, None);
            }
        }
        // Nothing written stays unflushed while the task yields.
        let _ = self.poll_flush(now, cx);
        self.report(now);
        (Stop::BudgetSpent, None)
    }

    /// What is to be done next; a flush may be `pending` since a moment ago.
    fn next(&mut self, pending: bool, now: Instant, cx: &Context<'_>) -> Next {
        let waited = self.flush_pending.map(|since| now.saturating_duration_since(since));
        if !self.writer.is_empty() {
            Next::Batch
        } else if self.flush_awaited && !pending {
            Next::Flush
        } else if waited.is_some_and(|waited| waited >= FLUSH_WAIT) {
            Next::OnlyFlush
        } else {
            self.encode(pending, now, cx)
        }
    }

    /// Encodes the next batch and hands it to the writer. If there is none and nothing is left to flush, the task is parked in
    /// the critical section that saw so.
    fn encode(&mut self, pending: bool, now: Instant, cx: &Context<'_>) -> Next {
        let (batch, unflushed) = (&mut self.batch, self.writer.needs_flush());
        let (report, spent, postponed) = (&mut self.report, self.writer.spent(), &mut self.postponed);
        let (awaited, credit, opening) = (&mut self.flush_awaited, self.credit.as_deref(), self.opening.is_some());
        let next = self.shared.with(|inner| {
            report.apply(&mut inner.mux, spent, now);
            // A task that waits for a flush does not wait for the others to have nothing more to send.
            if unflushed && inner.mux.wants_flush() {
                *awaited = true;
                if !pending {
                    return Next::Flush;
                }
            }
            // Nothing written stays unflushed while other tasks have their turn.
            let waiting = if unflushed { None } else { inner.mux.coalesces() };
            *postponed = waiting.and_then(|waiting| Postponed::postpone(*postponed, waiting));
            if postponed.is_some() {
                return Next::Coalesce;
            }
            if waiting.is_some() {
                inner.mux.coalesced_in_vain();
            }
            if inner.mux.poll_transmit(batch, inner.mux.batch_budget(), now) {
                *awaited |= inner.mux.wants_flush();
                report.encoded = inner.mux.last_encoded();
                return Next::Batch;
            }
            // What was decided without the lock may have changed, and a task that is not parked is not woken for it.
            if inner.mux.has_window_requests() || Self::waits_are_outdated(credit, opening, inner) {
                return Next::AskMemory;
            }
            if unflushed {
                // Parked, so that what is written while this flush is pending does not wait for it.
                inner.park_driver(cx);
                return Next::FinalFlush;
            }
            inner.mux.handle_idle(now);
            inner.park_driver(cx);
            Next::Parked(ParkState::of(inner))
        });
        if next == Next::Batch {
            self.load();
        }
        next
    }

    /// Tells the core what has been done with the transport.
    pub(super) fn report(&mut self, now: Instant) {
        let (report, spent) = (&mut self.report, self.writer.spent());
        self.shared.with(|inner| report.apply(&mut inner.mux, spent, now));
    }

    pub(super) fn load(&mut self) {
        let batch = &mut self.batch;
        if let Some(tap) = &self.tap {
            tap.show(Direction::Outbound, batch.take_shown());
        }
        self.writer.load(|pieces| batch.take(pieces));
        // Pieces that were joined have been copied: their buffers are not kept beside the copy.
        let spent = self.writer.spent();
        if spent.len() > 0 {
            self.shared.with(|inner| inner.mux.recycle(spent));
        }
    }

    fn poll_batch(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut progress = false;
        let result = self.writer.poll_write(&mut self.io, &mut progress, cx);
        if progress {
            self.close_timeout.wrote(now);
            self.progressed(now);
        }
        match result {
            Poll::Ready(Ok(data)) => {
                (self.report.data, self.report.written) = (Some(data), self.report.encoded);
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => self.write_failed(error, now),
            Poll::Pending => {
                self.stalled(true, now);
                Poll::Pending
            }
        }
    }

    /// Flushes, as far as batches were written whole.
    fn poll_flush(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match self.writer.poll_flush(&mut self.io, cx) {
            Poll::Ready(Ok(())) => {
                self.report.flushed = Some(self.report.written);
                (self.flush_awaited, self.flush_pending) = (false, None);
                if self.writer.is_empty() {
                    self.progressed(now);
                }
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => self.write_failed(error, now),
            Poll::Pending => {
                if self.flush_awaited {
                    self.flush_pending.get_or_insert(now);
                }
                Poll::Pending
            }
        }
    }

    /// The transport is full. If a task waits for a flush of what it has taken, that may succeed all the same.
    fn flush_while_full(&mut self, now: Instant, cx: &mut Context<'_>) {
        if self.flush_awaited && matches!(self.phase, Phase::Running) && self.poll_flush(now, cx).is_ready() {
            self.report(now);
        }
    }

    /// The transport takes nothing, though something is waiting.
    fn stalled(&mut self, full: bool, now: Instant) {
        let before = self.stall.map(|stall| stall.full);
        if before.is_none() || (full && before == Some(false)) {
            self.stall = Some(TransportStall { since: self.stall.map_or(now, |stall| stall.since), full });
            self.shared.with(|inner| match full {
                true => inner.mux.transport_is_full(now),
                false => inner.mux.transport_stalls(now),
            });
        }
    }

    /// Whether the transport has not taken what it was given last.
    pub(super) const fn is_full(&self) -> bool {
        matches!(self.stall, Some(TransportStall { full: true, .. }))
    }

    /// The transport has taken something, or nothing is waiting.
    pub(super) fn progressed(&mut self, now: Instant) {
        if self.stall.take().is_some() {
            self.shared.with(|inner| inner.mux.transport_moves(now));
        }
    }

    /// The peer may have said why: what it has sent is read before the connection ends (Y-CLOSE-6).
    fn write_failed(&mut self, error: io::Error, now: Instant) -> Poll<()> {
        self.start_final_read(error, now);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_postponed_while_it_grows_and_not_for_ever() {
        let first = Postponed::postpone(None, 100);
        assert!(first.is_some());
        assert!(Postponed::postpone(first, 100).is_none(), "nothing was added to it");
        let (mut postponed, mut turns) = (None, 0);
        while let Some(next) = Postponed::postpone(postponed, 100 + turns) {
            (postponed, turns) = (Some(next), turns + 1);
        }
        assert_eq!(turns, COALESCE_TURNS);
    }
}
