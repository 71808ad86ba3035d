//! Owns [`Driver`]: one poll of it reads what there is, applies it, cuts a batch, writes it, flushes once, and parks.
//!
//! It alone touches the transport. Memory is reserved, tasks are woken and bytes are moved outside the lock. Here are the
//! phases and the clock; `reading` and `writing` are the two directions, and `memory` is what has to be asked for.

mod closing;
mod memory;
mod reading;
mod salvage;
mod writing;

use self::closing::Closing;
use self::memory::Wait;
use self::salvage::Salvage;
use self::writing::{Gathered, Stalled, Written};
use super::last_words::{Gone, LastWords, Peer};
use super::patience::Patience;
use super::reader::Reader;
use super::shared::{Inner, Shared};
use super::timer::Timer;
use super::wire_tap::WireTap;
use super::writer::Writer;
use crate::config::Config;
use crate::error::ConnectionError;
use crate::proto::Batch;
use crate::proto::limits::BATCH_BYTES;
use futures::{AsyncRead, AsyncWrite};
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
    stalled: Option<Stalled>,
    /// How far a graceful close has come.
    closing: Closing,
    patience: Patience,
    /// What credit that is withheld waits for.
    credit: Option<Wait>,
    /// What those wait for who open streams and were refused the memory.
    opening: Option<Wait>,
    /// How often a batch has been put off for more to come, and how much waited then.
    gathered: Option<Gathered>,
    /// What has been done with the transport and not been reported to the core.
    written: Written,
    /// Whether somebody waits for what was cut to be flushed.
    awaited: bool,
    /// Since when such a flush is pending.
    flushing: Option<Instant>,
    /// Whether something was read and not applied yet: a poll had done enough.
    unapplied: bool,
    tap: Option<WireTap>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Running,
    /// A write has failed: what the peer has sent is read.
    Salvaging(Salvage),
    Leaving(LastWords),
    Ended,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outlook {
    deadline: Option<Instant>,
    /// When the peer last gave a sign of life.
    heard: Instant,
    closing: bool,
    closed: bool,
    /// It is at rest.
    rests: bool,
}

impl Outlook {
    /// Also gives back what a connection at rest has no use for.
    fn of(inner: &mut Inner) -> Self {
        let rests = inner.mux.is_idle();
        if rests {
            inner.rest();
        }
        let (closing, closed) = (inner.mux.is_closing(), inner.mux.closed().is_some());
        Self { deadline: inner.mux.poll_timeout(), heard: inner.mux.heard_at(), closing, closed, rests }
    }
}

/// Whether a part of a poll has stopped because it waits, or because it has done enough for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Waits,
    Yields,
    /// It waits for the transport to take what is owed.
    Holds,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(crate) fn new(io: T, shared: Arc<Shared>, config: Config) -> Self {
        let tap = WireTap::new(&config, shared.id());
        Self {
            io,
            shared,
            reader: Reader::new(config.read_buffer_size()),
            writer: Writer::default(),
            batch: if tap.is_some() { Batch::showing_headers() } else { Batch::default() },
            tap,
            timer: Timer::default(),
            stalled: None,
            closing: Closing::default(),
            patience: Patience::default(),
            credit: None,
            opening: None,
            gathered: None,
            written: Written::default(),
            awaited: false,
            flushing: None,
            unapplied: false,
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
            let now = self.shared.now();
            let changed = match &self.phase {
                Phase::Running => self.poll_running(now, cx),
                Phase::Salvaging(_) => self.poll_salvaging(now, cx),
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
        let (closed, asks, lacks) = self.shared.with(|inner| {
            inner.mux.handle_timeout(now);
            let asks = inner.mux.has_window_requests() || inner.mux.withheld().is_some();
            (inner.mux.closed().is_some(), asks, inner.lacks_memory())
        });
        if closed || !matches!(self.phase, Phase::Running) {
            self.take_leave(now);
            return Poll::Ready(());
        }
        if asks || self.credit.is_some() {
            self.ask_for_windows(now, cx);
        }
        if lacks || self.opening.is_some() {
            self.wait_for_openers(lacks, cx);
        }
        let (write, outlook) = self.poll_write(now, cx);
        // What was read and had to wait for writing goes on when the transport has taken something.
        let goes_on = read == Stop::Holds && (!self.is_full() || !self.shared.with(|inner| inner.mux.must_write()));
        if read == Stop::Yields || write == Stop::Yields || goes_on {
            cx.waker().wake_by_ref();
        }
        let outlook = outlook.unwrap_or_else(|| self.park_full(cx));
        match self.check_time(outlook, now, cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Parks the task, which waits for the transport or goes on in a moment: what it waits for besides may change while the
    /// transport takes nothing.
    fn park_full(&self, cx: &Context<'_>) -> Outlook {
        let (outlook, overlooks) = self.shared.with(|inner| {
            inner.park_full_driver(cx);
            (Outlook::of(inner), Self::overlooks(self.credit.as_ref(), self.opening.is_some(), inner))
        });
        if overlooks {
            cx.waker().wake_by_ref();
        }
        outlook
    }

    /// Sets the alarm, by what was seen when the task was parked; says whether the phase has changed.
    fn check_time(&mut self, outlook: Outlook, now: Instant, cx: &mut Context<'_>) -> bool {
        let timeout = self.config.connection_write_timeout();
        let Outlook { deadline, heard, closing, closed, rests } = outlook;
        if closed || !matches!(self.phase, Phase::Running) {
            self.take_leave(now);
            return true;
        }
        if rests {
            self.rest();
        }
        // Y-CLOSE-5: neither has it taken anything in that time, nor has the peer been heard.
        let ours = if closing {
            self.closing.deadline(timeout, self.config.close_timeout(), now)
        } else {
            self.stalled.and_then(|stalled| stalled.since.max(heard).checked_add(timeout))
        };
        if ours.is_some_and(|deadline| now >= deadline) {
            // Y-CLOSE-1.
            self.end(ConnectionError::WriteTimeout);
            return true;
        }
        // A deadline that passes while it is being set is looked at in the next poll.
        if self.timer.poll(
            self.shared.time(),
            deadline.into_iter().chain(ours).chain(self.patience.deadline()).min(),
            now,
            cx,
        ) {
            cx.waker().wake_by_ref();
        }
        false
    }

    /// Gives back the storage that only a connection which moves has a use for. A read that finds nothing takes some, too.
    fn rest(&mut self) {
        self.reader.rest();
        self.writer.rest();
        self.batch.release_if_idle();
    }

    /// The connection is over, as far as its streams go.
    fn take_leave(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        match self.reason() {
            ConnectionError::KeepAliveTimeout | ConnectionError::WriteTimeout | ConnectionError::Io(_) => self.ended(),
            _ => {
                // The go-away that says why, behind what is half written.
                let batch = &mut self.batch;
                let left = self.shared.with(|inner| {
                    inner.mux.poll_transmit(batch, BATCH_BYTES, now);
                    // A go-away that came before ours was not the peer's last word.
                    inner.mux.peer_has_left() && inner.mux.closed().is_some_and(|reason| !reason.is_clean())
                });
                self.load();
                (self.credit, self.opening) = (None, None);
                self.phase = Phase::Leaving(LastWords::new(if left { Peer::Left } else { Peer::Talks }, now));
            }
        }
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
                if self.timer.poll(self.shared.time(), Some(deadline), now, cx) {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    /// Ends the connection here and now: the transport is not touched again (Y-CLOSE-7).
    fn end(&mut self, reason: ConnectionError) {
        let now = self.shared.now();
        self.shared.with(|inner| {
            inner.mux.tick(now);
            inner.mux.fail(reason);
        });
        self.ended();
    }

    fn ended(&mut self) {
        (self.credit, self.opening) = (None, None);
        self.phase = Phase::Ended;
        self.shared.with(Inner::end);
        self.rest();
    }
}
