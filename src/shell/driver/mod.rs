//! Owns [`Driver`]: one poll of it reads what there is, applies it, encodes a batch, writes it, flushes once, and parks.
//!
//! It alone touches the transport. Memory is reserved, tasks are woken and bytes are moved outside the lock. This file has the
//! phases and the timeouts; `read` and `write` are the two directions, and `memory` is what the memory manager is asked for.

mod accept_pause;
mod close_timeout;
mod final_read;
mod linger;
mod memory;
mod read;
mod tap;
mod write;

use self::accept_pause::AcceptPause;
use self::close_timeout::CloseTimeout;
use self::final_read::FinalRead;
use self::linger::{Done, Linger, Peer};
use self::memory::MemoryWait;
use self::tap::WireTap;
use self::write::{Postponed, TransportStall, WriteReport};
use super::inner::Inner;
use super::reader::Reader;
use super::shared::Shared;
use super::timer::Timer;
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
    stall: Option<TransportStall>,
    close_timeout: CloseTimeout,
    accept_pause: AcceptPause,
    /// The wait for memory of credit that is withheld.
    credit: Option<Box<MemoryWait>>,
    /// The wait for memory of streams that are to be opened and were refused it.
    opening: Option<Box<MemoryWait>>,
    /// How often a batch has been postponed for more writes, and how much was waiting then.
    postponed: Option<Postponed>,
    /// What has been done with the transport and not been reported to the core.
    report: WriteReport,
    /// Whether a task waits for what was encoded to be flushed.
    flush_awaited: bool,
    /// Since when such a flush is pending.
    flush_pending: Option<Instant>,
    /// Whether something was read and not applied yet, since a poll had spent its budget.
    unapplied: bool,
    tap: Option<WireTap>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Running,
    /// A write has failed: what the peer has sent is read.
    FinalRead(FinalRead),
    /// The connection is over, and the peer is being told.
    Lingering(Linger),
    Ended,
}

/// What the core said when the driver was parked: until when it may sleep, and how the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ParkState {
    deadline: Option<Instant>,
    /// When the peer last gave a sign of life.
    heard: Instant,
    closing: bool,
    closed: bool,
    idle: bool,
}

impl ParkState {
    /// Also frees what an idle connection has no use for.
    fn of(inner: &mut Inner) -> Self {
        let idle = inner.mux.is_idle();
        if idle {
            inner.shrink();
        }
        let (closing, closed) = (inner.mux.is_closing(), inner.mux.closed().is_some());
        Self { deadline: inner.mux.poll_timeout(), heard: inner.mux.heard_at(), closing, closed, idle }
    }
}

/// Why one direction has stopped in a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It waits to be woken.
    Pending,
    /// It has done as much as one poll may do, and goes on in the next.
    BudgetSpent,
    /// It waits for the transport to take what is owed to the peer.
    TransportFull,
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
            stall: None,
            close_timeout: CloseTimeout::default(),
            accept_pause: AcceptPause::default(),
            credit: None,
            opening: None,
            postponed: None,
            report: WriteReport::default(),
            flush_awaited: false,
            flush_pending: None,
            unapplied: false,
            phase: Phase::Running,
            config,
        }
    }

    pub(crate) const fn io(&self) -> &T {
        &self.io
    }

    /// Drives the connection until it is over. From then on every poll returns the reason.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionError> {
        loop {
            let now = self.shared.now();
            let changed = match &self.phase {
                Phase::Running => self.poll_running(now, cx),
                Phase::FinalRead(_) => self.poll_final_read(now, cx),
                Phase::Lingering(_) => self.poll_lingering(now, cx),
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
        // Timeouts are checked after what had arrived is read: a task that slept is not a peer that was silent.
        let (closed, asks, lacks) = self.shared.with(|inner| {
            inner.mux.handle_timeout(now);
            let asks = inner.mux.has_window_requests() || inner.mux.first_waiting_credit().is_some();
            (inner.mux.closed().is_some(), asks, inner.lacks_memory())
        });
        if closed || !matches!(self.phase, Phase::Running) {
            self.start_linger(now);
            return Poll::Ready(());
        }
        if asks || self.credit.is_some() {
            self.request_windows(now, cx);
        }
        if lacks || self.opening.is_some() {
            self.wait_to_open(lacks, cx);
        }
        let (write, parked) = self.poll_write(now, cx);
        // Reading that had to wait for the transport continues when that has taken something.
        let unblocked =
            read == Stop::TransportFull && (!self.is_full() || !self.shared.with(|inner| inner.mux.must_write()));
        if read == Stop::BudgetSpent || write == Stop::BudgetSpent || unblocked {
            cx.waker().wake_by_ref();
        }
        let parked = parked.unwrap_or_else(|| self.park_writing(cx));
        match self.check_timeouts(parked, now, cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Parks the task, which waits for the transport or continues in a moment: the other things that it waits for may change
    /// while the transport takes nothing.
    fn park_writing(&self, cx: &Context<'_>) -> ParkState {
        let (parked, outdated) = self.shared.with(|inner| {
            inner.park_writing_driver(cx);
            (ParkState::of(inner), Self::waits_are_outdated(self.credit.as_deref(), self.opening.is_some(), inner))
        });
        if outdated {
            cx.waker().wake_by_ref();
        }
        parked
    }

    /// Checks the timeouts and sets the timer, by what was seen when the task was parked. Returns whether the phase has changed.
    fn check_timeouts(&mut self, parked: ParkState, now: Instant, cx: &mut Context<'_>) -> bool {
        let timeout = self.config.connection_write_timeout();
        let ParkState { deadline, heard, closing, closed, idle } = parked;
        if closed || !matches!(self.phase, Phase::Running) {
            self.start_linger(now);
            return true;
        }
        if idle {
            self.shrink();
        }
        // Y-CLOSE-5: in that time the transport has taken nothing, and the peer has given no sign of life.
        let ours = if closing {
            self.close_timeout.deadline(timeout, self.config.close_timeout(), now)
        } else {
            self.stall.and_then(|stall| stall.since.max(heard).checked_add(timeout))
        };
        if ours.is_some_and(|deadline| now >= deadline) {
            // Y-CLOSE-1.
            self.end(ConnectionError::WriteTimeout);
            return true;
        }
        // A deadline that passes while it is being set is checked in the next poll.
        if self.timer.poll(
            self.shared.time(),
            deadline.into_iter().chain(ours).chain(self.accept_pause.deadline()).min(),
            now,
            cx,
        ) {
            cx.waker().wake_by_ref();
        }
        false
    }

    /// Frees the storage that an idle connection has no use for. A read that finds nothing takes some, too.
    fn shrink(&mut self) {
        self.reader.shrink();
        self.writer.shrink();
        self.batch.release_if_idle();
    }

    /// The connection is over for its streams: tells the peer, unless there is no use in that.
    fn start_linger(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        match self.reason() {
            ConnectionError::KeepAliveTimeout | ConnectionError::WriteTimeout | ConnectionError::Io(_) => self.ended(),
            _ => {
                // The go-away with the reason, behind what is half written.
                let batch = &mut self.batch;
                let (left, confirmation) = self.shared.with(|inner| {
                    inner.mux.poll_transmit(batch, BATCH_BYTES, now);
                    // After a clean close the peer may still answer ours: only after an error is its go-away its last frame.
                    let clean = inner.mux.closed().is_some_and(ConnectionError::is_clean);
                    (inner.mux.peer_has_left() && !clean, inner.mux.confirmation())
                });
                self.load();
                (self.credit, self.opening) = (None, None);
                let peer = if left { Peer::GoneAway } else { Peer::Open };
                self.phase = Phase::Lingering(Linger::new(peer, now).confirmed_by(confirmation));
            }
        }
    }

    fn poll_lingering(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Phase::Lingering(linger) = &mut self.phase else { return Poll::Ready(()) };
        match linger.poll(&mut self.io, &mut self.reader, &mut self.writer, now, cx) {
            Poll::Ready(Done) => {
                self.ended();
                Poll::Ready(())
            }
            Poll::Pending => {
                let deadline = linger.deadline();
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
        self.shared.with(|inner| inner.mux.fail(reason, now));
        self.ended();
    }

    fn ended(&mut self) {
        (self.credit, self.opening) = (None, None);
        self.phase = Phase::Ended;
        self.shared.with(Inner::end);
        self.shrink();
    }
}
