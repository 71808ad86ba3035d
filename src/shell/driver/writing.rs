//! The way out: batches cut from the core, written, and flushed once.

use super::{Driver, Stop};
use crate::error::ConnectionError;
use crate::proto::limits::{BATCH_BYTES, POLL_BATCHES, POLL_READ_BYTES};
use crate::tap::Direction;
use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use web_time::Instant;

/// What is to be done with the transport next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Write the batch.
    Batch,
    /// All is written, or somebody waits for what was written: flush.
    Flush,
    /// The memory manager has to be asked before there is anything to send.
    Wish,
    /// Nothing; the task is parked.
    Parked,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(super) fn poll_write(&mut self, now: Instant, cx: &mut Context<'_>) -> Stop {
        for _ in 0..POLL_BATCHES {
            let next = if self.writer.is_empty() { self.cut(now, cx) } else { Next::Batch };
            let done = match next {
                Next::Batch => self.poll_batch(now, cx),
                Next::Flush => self.poll_flush(now, cx),
                Next::Wish => return Stop::Yields,
                Next::Parked => {
                    self.moves(now);
                    return Stop::Waits;
                }
            };
            if done.is_pending() {
                return Stop::Waits;
            }
        }
        // Nothing written stays unflushed while the task yields.
        match self.poll_flush(now, cx) {
            Poll::Ready(()) => Stop::Yields,
            Poll::Pending => Stop::Waits,
        }
    }

    /// Cuts the next batch and hands it to the writer. When there is none and nothing is left to flush, the task is
    /// parked in the critical section that saw so.
    fn cut(&mut self, now: Instant, cx: &Context<'_>) -> Next {
        let (batch, unflushed) = (&mut self.batch, self.writer.needs_flush());
        let next = self.shared.with(|inner| {
            // Whoever waits for a flush does not wait for the others to have nothing more to send.
            if unflushed && inner.mux.wants_flush() {
                return Next::Flush;
            }
            if inner.mux.poll_transmit(batch, BATCH_BYTES, now) {
                return Next::Batch;
            }
            if inner.mux.has_wishes() {
                return Next::Wish;
            }
            if unflushed {
                // What is written while a flush is pending does not wait for it.
                inner.park_driver(cx);
                return Next::Flush;
            }
            inner.mux.handle_idle(now);
            inner.park_driver(cx);
            Next::Parked
        });
        self.load();
        next
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
            self.moves(now);
        }
        match result {
            Poll::Ready(Ok(data)) => {
                let spent = self.writer.spent();
                self.shared.with(|inner| inner.mux.handle_written(data, spent));
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => self.write_failed(error, now, cx),
            Poll::Pending => {
                self.stalls(now);
                Poll::Pending
            }
        }
    }

    fn poll_flush(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match self.writer.poll_flush(&mut self.io, cx) {
            Poll::Ready(Ok(())) => {
                self.moves(now);
                self.shared.with(|inner| inner.mux.handle_flushed());
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => self.write_failed(error, now, cx),
            Poll::Pending => {
                self.stalls(now);
                Poll::Pending
            }
        }
    }

    /// The transport takes nothing, though something is waiting.
    fn stalls(&mut self, now: Instant) {
        if self.stalled.is_none() {
            self.stalled = Some(now);
            self.shared.with(|inner| inner.mux.transport_stalls(now));
        }
    }

    /// The transport has taken something, or nothing is waiting.
    pub(super) fn moves(&mut self, now: Instant) {
        if self.stalled.take().is_some() {
            self.shared.with(|inner| inner.mux.transport_moves(now));
        }
    }

    /// The peer may have said why: what it has sent is read before the connection ends (Y-CLOSE-6).
    fn write_failed(&mut self, error: io::Error, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut left = POLL_READ_BYTES;
        self.apply_all(now);
        while left > 0
            && let Poll::Ready(Ok(read @ 1..)) = self.reader.poll_fill(&mut self.io, cx)
        {
            left = left.saturating_sub(read);
            self.apply_all(now);
        }
        self.shared.with(|inner| inner.mux.handle_write_error(ConnectionError::Io(Arc::new(error))));
        self.ended();
        Poll::Pending
    }
}
