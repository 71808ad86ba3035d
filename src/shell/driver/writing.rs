//! The way out: batches cut from the core, written, and flushed once.

use super::{Driver, Outlook, Phase, Stop};
use crate::proto::Mux;
use crate::proto::limits::{FLUSH_PATIENCE, GATHER_TURNS, POLL_WRITE_BYTES};
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
    /// Somebody waits for what was written: flush.
    Flush,
    /// There is nothing more to write, and the task is parked: flush.
    Last,
    /// A flush has been pending for too long: nothing is cut until it is done.
    Drain,
    /// Others may add to the next batch first.
    Gather,
    /// The memory manager has to be asked before there is anything to send.
    Wish,
    /// Nothing; the task is parked, and this is what it waits for.
    Parked(Outlook),
}

/// The transport takes nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stalled {
    pub(super) since: Instant,
    /// It is full: it has taken no part of a batch. Otherwise a flush is pending.
    full: bool,
}

/// What has been done with the transport and not been reported to the core: that is done with the lock that the next
/// batch is cut under.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// Bytes of bodies in a batch that has been written.
    data: Option<usize>,
    /// Up to which batch all is flushed.
    flushed: Option<u64>,
    /// The number of the last batch that was cut, and of the last one that was written whole.
    cut: u64,
    whole: u64,
}

/// A batch that was put off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gathered {
    turns: usize,
    waiting: usize,
}

impl Written {
    fn report(&mut self, mux: &mut Mux, spent: impl Iterator<Item = Bytes>) {
        if let Some(data) = self.data.take() {
            mux.handle_written(data, spent);
        }
        if let Some(number) = self.flushed.take() {
            mux.handle_flushed(number);
        }
    }
}

impl Gathered {
    /// Whether a batch is put off, once more or for the first time, when so many bytes wait: the tasks that were woken
    /// get a turn, and another one while they go on writing.
    fn put_off(before: Option<Self>, waiting: usize) -> Option<Self> {
        let Some(Self { turns, waiting: less }) = before else { return Some(Self { turns: 1, waiting }) };
        (turns < GATHER_TURNS && waiting > less).then_some(Self { turns: turns.saturating_add(1), waiting })
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Sends what there is to send. Where there is no more and the task was parked, also says what it waits for.
    ///
    /// A flush that is pending stops nothing (Y-SEND-5): it is asked for again when there is no more to write, or the poll has
    /// done enough.
    pub(super) fn poll_write(&mut self, now: Instant, cx: &mut Context<'_>) -> (Stop, Option<Outlook>) {
        let (mut left, mut pending) = (POLL_WRITE_BYTES, false);
        // What comes next is decided when the task has its turn again.
        while left > 0 {
            match self.next(pending, now, cx) {
                Next::Batch => {
                    left = left.saturating_sub(self.writer.len());
                    if self.poll_batch(now, cx).is_pending() {
                        self.flush_beside(now, cx);
                        return (Stop::Waits, None);
                    }
                }
                Next::Flush => pending = self.poll_flush(now, cx).is_pending(),
                next @ (Next::Last | Next::Drain) => {
                    if self.poll_flush(now, cx).is_pending() {
                        self.stalls(next == Next::Drain, now);
                        return (Stop::Waits, None);
                    }
                }
                Next::Gather | Next::Wish => return (Stop::Yields, None),
                Next::Parked(outlook) => {
                    self.moves(now);
                    return (Stop::Waits, Some(outlook));
                }
            }
            if !matches!(self.phase, Phase::Running) {
                return (Stop::Waits, None);
            }
        }
        // Nothing written stays unflushed while the task yields.
        let _ = self.poll_flush(now, cx);
        self.report();
        (Stop::Yields, None)
    }

    /// What is to be done next; a flush may be `pending` since a moment ago.
    fn next(&mut self, pending: bool, now: Instant, cx: &Context<'_>) -> Next {
        let waited = self.flushing.map(|since| now.saturating_duration_since(since));
        if !self.writer.is_empty() {
            Next::Batch
        } else if self.awaited && !pending {
            Next::Flush
        } else if waited.is_some_and(|waited| waited >= FLUSH_PATIENCE) {
            Next::Drain
        } else {
            self.cut(pending, now, cx)
        }
    }

    /// Cuts the next batch and hands it to the writer. When there is none and nothing is left to flush, the task is
    /// parked in the critical section that saw so.
    fn cut(&mut self, pending: bool, now: Instant, cx: &Context<'_>) -> Next {
        let (batch, unflushed) = (&mut self.batch, self.writer.needs_flush());
        let (written, spent, gathered) = (&mut self.written, self.writer.spent(), &mut self.gathered);
        let (awaited, credit, opening) = (&mut self.awaited, self.credit.as_ref(), self.opening.is_some());
        let next = self.shared.with(|inner| {
            written.report(&mut inner.mux, spent);
            // Whoever waits for a flush does not wait for the others to have nothing more to send.
            if unflushed && inner.mux.wants_flush() {
                *awaited = true;
                if !pending {
                    return Next::Flush;
                }
            }
            // Nothing written stays unflushed while the others have their turn.
            let waiting = if unflushed { None } else { inner.mux.coalesces() };
            *gathered = waiting.and_then(|waiting| Gathered::put_off(*gathered, waiting));
            if gathered.is_some() {
                return Next::Gather;
            }
            if waiting.is_some() {
                inner.mux.coalesced_in_vain();
            }
            if inner.mux.poll_transmit(batch, inner.mux.batch_budget(), now) {
                *awaited |= inner.mux.wants_flush();
                written.cut = inner.mux.last_encoded();
                return Next::Batch;
            }
            // What was decided without the lock has to hold still: nobody wakes a task that is not parked.
            if inner.mux.has_window_requests() || Self::overlooks(credit, opening, inner) {
                return Next::Wish;
            }
            if unflushed {
                // What is written while a flush is pending does not wait for it.
                inner.park_driver(cx);
                return Next::Last;
            }
            inner.mux.handle_idle(now);
            inner.park_driver(cx);
            Next::Parked(Outlook::of(inner))
        });
        if next == Next::Batch {
            self.load();
        }
        next
    }

    /// Tells the core what has been done with the transport.
    pub(super) fn report(&mut self) {
        let (written, spent) = (&mut self.written, self.writer.spent());
        self.shared.with(|inner| written.report(&mut inner.mux, spent));
    }

    pub(super) fn load(&mut self) {
        let batch = &mut self.batch;
        if let Some(tap) = &self.tap {
            tap.hand_over(Direction::Outbound, batch.take_shown());
        }
        self.writer.load(|pieces| batch.take(pieces));
        // Joined pieces are copies by now: what they were is not held beside them.
        let spent = self.writer.spent();
        if spent.len() > 0 {
            self.shared.with(|inner| inner.mux.recycle(spent));
        }
    }

    fn poll_batch(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut progress = false;
        let result = self.writer.poll_write(&mut self.io, &mut progress, cx);
        if progress {
            self.closing.taken(now);
            self.moves(now);
        }
        match result {
            Poll::Ready(Ok(data)) => {
                (self.written.data, self.written.whole) = (Some(data), self.written.cut);
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => self.write_failed(error, now),
            Poll::Pending => {
                self.stalls(true, now);
                Poll::Pending
            }
        }
    }

    /// Flushes, as far as batches were written whole.
    fn poll_flush(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match self.writer.poll_flush(&mut self.io, cx) {
            Poll::Ready(Ok(())) => {
                self.written.flushed = Some(self.written.whole);
                (self.awaited, self.flushing) = (false, None);
                if self.writer.is_empty() {
                    self.moves(now);
                }
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => self.write_failed(error, now),
            Poll::Pending => {
                if self.awaited {
                    self.flushing.get_or_insert(now);
                }
                Poll::Pending
            }
        }
    }

    /// The transport is full. Where somebody waits for a flush of what it has taken, that may be done all the same.
    fn flush_beside(&mut self, now: Instant, cx: &mut Context<'_>) {
        if self.awaited && matches!(self.phase, Phase::Running) && self.poll_flush(now, cx).is_ready() {
            self.report();
        }
    }

    /// The transport takes nothing, though something is waiting.
    fn stalls(&mut self, full: bool, now: Instant) {
        let before = self.stalled.map(|stalled| stalled.full);
        if before.is_none() || (full && before == Some(false)) {
            self.stalled = Some(Stalled { since: self.stalled.map_or(now, |stalled| stalled.since), full });
            self.shared.with(|inner| match full {
                true => inner.mux.transport_is_full(now),
                false => inner.mux.transport_stalls(now),
            });
        }
    }

    /// Whether the transport has not taken what it was given last.
    pub(super) const fn is_full(&self) -> bool {
        matches!(self.stalled, Some(Stalled { full: true, .. }))
    }

    /// The transport has taken something, or nothing is waiting.
    pub(super) fn moves(&mut self, now: Instant) {
        if self.stalled.take().is_some() {
            self.shared.with(|inner| inner.mux.transport_moves(now));
        }
    }

    /// The peer may have said why: what it has sent is read before the connection ends (Y-CLOSE-6).
    fn write_failed(&mut self, error: io::Error, now: Instant) -> Poll<()> {
        self.salvage(error, now);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_put_off_while_it_grows_and_not_for_ever() {
        let first = Gathered::put_off(None, 100);
        assert!(first.is_some());
        assert!(Gathered::put_off(first, 100).is_none(), "nobody has added to it");
        let (mut gathered, mut turns) = (None, 0);
        while let Some(next) = Gathered::put_off(gathered, 100 + turns) {
            (gathered, turns) = (Some(next), turns + 1);
        }
        assert_eq!(turns, GATHER_TURNS);
    }
}
