//! Owns [`Driver`]: one poll of it reads what there is, applies it, cuts a batch, writes it, flushes once, and parks.
//!
//! It alone touches the transport. Memory is reserved, tasks are woken and bytes are moved outside the lock.

use super::last_words::{Gone, LastWords};
use super::opener::reserve_window;
use super::reader::Reader;
use super::shared::Shared;
use super::timer::Timer;
use super::writer::Writer;
use crate::config::Config;
use crate::error::ConnectionError;
use crate::memory::Reservation;
use crate::proto::limits::{BATCH_BYTES, POLL_BATCHES, POLL_READ_BYTES};
use crate::proto::{Admission, Batch};
use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use web_time::Instant;

/// Moves the bytes of a connection.
#[derive(Debug)]
pub(crate) struct Driver<T> {
    io: T,
    shared: Arc<Shared>,
    config: Config,
    reader: Reader,
    writer: Writer,
    batch: Batch,
    timer: Timer,
    /// Since when the transport has taken no bytes though some are waiting.
    stalled: Option<Instant>,
    /// Until when a graceful close has to be done.
    close_by: Option<Instant>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Running,
    Leaving(LastWords),
    Ended,
}

/// What is to be done with the transport next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Write the batch.
    Batch,
    /// All is written, or somebody waits for what was written: flush.
    Flush,
    /// A window wants to grow before there is anything to send.
    Growth,
    /// Nothing; the task is parked.
    Parked,
}

/// Whether a part of a poll has stopped because it waits, or because it has done enough for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Waits,
    Yields,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(crate) fn new(io: T, shared: Arc<Shared>, config: Config) -> Self {
        Self {
            io,
            shared,
            reader: Reader::new(config.read_buffer_size()),
            writer: Writer::default(),
            batch: Batch::default(),
            timer: Timer::default(),
            stalled: None,
            close_by: None,
            phase: Phase::Running,
            config,
        }
    }

    pub(crate) const fn io(&self) -> &T {
        &self.io
    }

    /// Drives the connection until it is over; then says why, again and again.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionError> {
        loop {
            let now = Instant::now();
            let changed = match &self.phase {
                Phase::Running => self.poll_running(now, cx),
                Phase::Leaving(_) => self.poll_leaving(now, cx),
                Phase::Ended => return Poll::Ready(self.reason()),
            };
            if changed.is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn reason(&self) -> ConnectionError {
        self.shared.with(|inner| inner.mux.closed().cloned().unwrap_or(ConnectionError::Dropped))
    }

    /// Ready when the phase has changed.
    fn poll_running(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let read = self.poll_read(now, cx);
        // Time passes after what had arrived before it was read: a task that slept is not a peer that was silent.
        self.shared.with(|inner| inner.mux.handle_timeout(now));
        if self.has_closed(now) {
            return Poll::Ready(());
        }
        self.grow_windows(now);
        let write = self.poll_write(now, cx);
        if self.has_closed(now) {
            return Poll::Ready(());
        }
        if read == Stop::Yields || write == Stop::Yields {
            cx.waker().wake_by_ref();
        }
        match self.check_time(now, cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    // ---- reading -------------------------------------------------------------------------------------------------

    fn poll_read(&mut self, now: Instant, cx: &mut Context<'_>) -> Stop {
        let mut left = POLL_READ_BYTES;
        while left > 0 && matches!(self.phase, Phase::Running) {
            match self.reader.poll_fill(&mut self.io, cx) {
                Poll::Pending => return Stop::Waits,
                Poll::Ready(Ok(0)) => {
                    let inside = self.reader.is_inside_frame();
                    self.shared.with(|inner| inner.mux.handle_eof(inside));
                    self.phase = Phase::Leaving(LastWords::new(true, now));
                }
                Poll::Ready(Ok(read)) => {
                    left = left.saturating_sub(read);
                    self.apply(now);
                    if self.shared.with(|inner| inner.mux.closed().is_some()) {
                        return Stop::Waits;
                    }
                }
                Poll::Ready(Err(error)) => self.end(ConnectionError::Io(Arc::new(error))),
            }
        }
        Stop::Yields
    }

    /// Hands everything that was read to the core: one critical section, unless memory has to be reserved in between.
    fn apply(&mut self, now: Instant) {
        loop {
            let reader = &mut self.reader;
            let admission = self.shared.with(|inner| {
                inner.mux.heard(now);
                loop {
                    match reader.next() {
                        Ok(Some(frame)) => match inner.mux.handle_frame(frame, now) {
                            Admission::Settled => {}
                            Admission::Reserve => return Admission::Reserve,
                        },
                        Ok(None) => return Admission::Settled,
                        Err(violation) => {
                            inner.mux.violated(violation);
                            return Admission::Settled;
                        }
                    }
                }
            });
            if admission == Admission::Settled {
                return;
            }
            let granted = reserve_window(&self.config).ok();
            self.shared.with(|inner| inner.mux.admit(granted, now));
        }
    }

    /// Asks the memory manager for the windows that want to grow.
    fn grow_windows(&mut self, now: Instant) {
        while let Some(growth) = self.shared.with(|inner| inner.mux.next_growth(now)) {
            let granted = Reservation::new(self.config.memory(), growth.bytes as usize, growth.priority).ok();
            self.shared.with(|inner| inner.mux.grow(growth.key, granted));
        }
    }

    // ---- writing -------------------------------------------------------------------------------------------------

    fn poll_write(&mut self, now: Instant, cx: &mut Context<'_>) -> Stop {
        for _ in 0..POLL_BATCHES {
            let next = if self.writer.is_empty() { self.cut(now, cx) } else { Next::Batch };
            let done = match next {
                Next::Batch => self.poll_batch(now, cx),
                Next::Flush => self.poll_flush(now, cx),
                Next::Growth => return Stop::Yields,
                Next::Parked => {
                    self.stalled = None;
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
            if inner.mux.wants_growth() {
                return Next::Growth;
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

    fn load(&mut self) {
        let batch = &mut self.batch;
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
            self.stalled = None;
        }
        match result {
            Poll::Ready(Ok(data)) => {
                let spent = self.writer.spent();
                self.shared.with(|inner| inner.mux.handle_written(data, spent));
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => self.write_failed(error, now, cx),
            Poll::Pending => {
                self.stalled.get_or_insert(now);
                Poll::Pending
            }
        }
    }

    fn poll_flush(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match self.writer.poll_flush(&mut self.io, cx) {
            Poll::Ready(Ok(())) => {
                self.stalled = None;
                self.shared.with(|inner| inner.mux.handle_flushed());
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => self.write_failed(error, now, cx),
            Poll::Pending => {
                self.stalled.get_or_insert(now);
                Poll::Pending
            }
        }
    }

    /// The peer may have said why: what it has sent is read before the connection ends (Y-CLOSE-6).
    fn write_failed(&mut self, error: io::Error, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut left = POLL_READ_BYTES;
        while let Poll::Ready(Ok(read @ 1..)) = self.reader.poll_fill(&mut self.io, cx) {
            self.apply(now);
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
        self.shared.with(|inner| inner.mux.handle_write_error(ConnectionError::Io(Arc::new(error))));
        self.ended();
        Poll::Pending
    }

    // ---- time and ends -------------------------------------------------------------------------------------------

    /// Sets the alarm; says whether the phase has changed.
    fn check_time(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let timeout = self.config.connection_write_timeout();
        let (deadline, closing) = self.shared.with(|inner| (inner.mux.poll_timeout(), inner.mux.is_closing()));
        if closing && self.close_by.is_none() {
            self.close_by = now.checked_add(timeout);
        }
        let stalled = self.stalled.and_then(|since| since.checked_add(timeout));
        let ours = stalled.into_iter().chain(self.close_by).min();
        if ours.is_some_and(|deadline| now >= deadline) {
            // Y-CLOSE-1, Y-CLOSE-5.
            self.end(ConnectionError::WriteTimeout);
            return true;
        }
        // A deadline that passes while it is being set is looked at in the next poll.
        if self.timer.poll(deadline.into_iter().chain(ours).min(), now, cx) {
            cx.waker().wake_by_ref();
        }
        false
    }

    /// Whether the connection is over, as far as its streams go; then the driver takes its leave.
    fn has_closed(&mut self, now: Instant) -> bool {
        if !matches!(self.phase, Phase::Running) {
            return true;
        }
        let Some(reason) = self.shared.with(|inner| inner.mux.closed().cloned()) else { return false };
        match reason {
            ConnectionError::KeepAliveTimeout | ConnectionError::WriteTimeout | ConnectionError::Io(_) => self.ended(),
            _ => {
                // The go-away that says why, behind what is half written.
                let batch = &mut self.batch;
                self.shared.with(|inner| inner.mux.poll_transmit(batch, BATCH_BYTES, now));
                self.load();
                self.phase = Phase::Leaving(LastWords::new(false, now));
            }
        }
        true
    }

    fn poll_leaving(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Phase::Leaving(last_words) = &mut self.phase else { return Poll::Ready(()) };
        match last_words.poll(&mut self.io, &mut self.reader, &mut self.writer, now, cx) {
            Poll::Ready(Gone) => {
                self.ended();
                Poll::Ready(())
            }
            Poll::Pending => {
                let deadline = last_words.deadline();
                if self.timer.poll(Some(deadline), now, cx) {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    /// Ends the connection here and now: the transport is not touched again (Y-CLOSE-7).
    fn end(&mut self, reason: ConnectionError) {
        self.shared.with(|inner| inner.mux.fail(reason));
        self.ended();
    }

    fn ended(&mut self) {
        self.phase = Phase::Ended;
        self.shared.with(super::shared::Inner::end);
    }
}
