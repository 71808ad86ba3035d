//! Owns [`Salvage`]: what is still read after a write has failed. The peer may have answered before it left, and said why.

use super::{Driver, Phase, Stop};
use crate::error::ConnectionError;
use crate::proto::limits::{SALVAGE_BYTES, SALVAGE_QUIET, SALVAGE_TIME};
use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use web_time::Instant;

/// What the peer has sent is read until there is nothing more, within bounds (Y-CLOSE-6).
#[derive(Debug)]
pub(super) struct Salvage {
    error: Arc<io::Error>,
    /// Bytes that are still read at most.
    left: usize,
    since: Instant,
    /// When something has come last.
    heard: Instant,
}

#[expect(clippy::arithmetic_side_effects, reason = "an instant a second from now can be told")]
impl Salvage {
    pub(super) fn new(error: io::Error, now: Instant) -> Self {
        Self { error: Arc::new(error), left: SALVAGE_BYTES, since: now, heard: now }
    }

    pub(super) const fn left(&self) -> usize {
        self.left
    }

    pub(super) const fn took(&mut self, bytes: usize, now: Instant) {
        self.left = self.left.saturating_sub(bytes);
        self.heard = now;
    }

    /// When it is over, where nothing comes before; at once where enough has come. What is still to be `applied` has the
    /// whole time.
    fn ends(&self, applied: bool, now: Instant) -> Instant {
        let quiet = if self.left > 0 { self.heard + SALVAGE_QUIET } else { now };
        let most = self.since + SALVAGE_TIME;
        if applied { most.min(quiet) } else { most }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Writing has failed.
    pub(super) fn salvage(&mut self, error: io::Error, now: Instant) {
        (self.credit, self.opening) = (None, None);
        // What was written before.
        self.report();
        // Nothing that is owed can be written, so reading does not wait for that.
        self.shared.with(|inner| inner.mux.forget_debts());
        self.phase = Phase::Salvaging(Salvage::new(error, now));
    }

    pub(super) fn poll_salvaging(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let read = self.poll_read(now, cx);
        let closed = self.shared.with(|inner| inner.mux.closed().is_some());
        let Phase::Salvaging(salvage) = &mut self.phase else { return Poll::Ready(()) };
        let waits = self.patience.deadline();
        let ends = salvage.ends(!self.unapplied && waits.is_none(), now);
        if closed || now >= ends {
            self.give_up();
            return Poll::Ready(());
        }
        let wakes = waits.map_or(ends, |waits| waits.min(ends));
        if read == Stop::Yields || self.timer.poll(self.shared.time(), Some(wakes), now, cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// There is nothing more to read. A go-away that was found is the reason that is reported.
    pub(super) fn give_up(&mut self) {
        if let Phase::Salvaging(salvage) = &self.phase {
            let error = ConnectionError::Io(salvage.error.clone());
            self.shared.with(|inner| inner.mux.handle_write_error(error));
            self.ended();
        }
    }
}
