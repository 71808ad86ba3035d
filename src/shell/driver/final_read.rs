//! Owns [`FinalRead`]: what the driver still reads after a write has failed. The peer may have answered before it left, and
//! may have said why.
//!
//! It holds Y-CLOSE-6 on any link: without it an answer, or the reason in a go-away, that arrived before the write failed is lost.

use super::{Driver, Phase, Stop};
use crate::error::ConnectionError;
use crate::proto::limits::{FINAL_READ_BYTES, FINAL_READ_QUIET, FINAL_READ_TIME};
use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use web_time::Instant;

/// Reads what the peer has sent until there is nothing more, within bounds (Y-CLOSE-6).
#[derive(Debug)]
pub(super) struct FinalRead {
    error: Arc<io::Error>,
    /// How many bytes may still be read.
    left: usize,
    started: Instant,
    /// When bytes last arrived.
    last_read: Instant,
}

#[expect(clippy::arithmetic_side_effects, reason = "an instant a second from now can be represented")]
impl FinalRead {
    pub(super) fn new(error: io::Error, now: Instant) -> Self {
        Self { error: Arc::new(error), left: FINAL_READ_BYTES, started: now, last_read: now }
    }

    pub(super) const fn left(&self) -> usize {
        self.left
    }

    pub(super) const fn read(&mut self, bytes: usize, now: Instant) {
        self.left = self.left.saturating_sub(bytes);
        self.last_read = now;
    }

    /// When it ends if nothing more arrives: at once after the last byte that may be read. While something that was read is
    /// still to be `applied`, it has its whole time.
    fn deadline(&self, applied: bool, now: Instant) -> Instant {
        let quiet = if self.left > 0 { self.last_read + FINAL_READ_QUIET } else { now };
        let latest = self.started + FINAL_READ_TIME;
        if applied { latest.min(quiet) } else { latest }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Starts it: a write has failed.
    pub(super) fn start_final_read(&mut self, error: io::Error, now: Instant) {
        (self.credit, self.opening) = (None, None);
        // What was written before the failure counts as sent.
        self.report(now);
        // Nothing that is owed can be written, so reading does not wait for that.
        self.shared.with(|inner| inner.mux.drop_owed_control());
        self.phase = Phase::FinalRead(FinalRead::new(error, now));
    }

    pub(super) fn poll_final_read(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let read = self.poll_read(now, cx);
        let closed = self.shared.with(|inner| inner.mux.closed().is_some());
        let Phase::FinalRead(reading) = &mut self.phase else { return Poll::Ready(()) };
        let pause = self.accept_pause.deadline();
        let deadline = reading.deadline(!self.unapplied && pause.is_none(), now);
        if closed || now >= deadline {
            self.end_final_read(now);
            return Poll::Ready(());
        }
        let wake_at = pause.map_or(deadline, |pause| pause.min(deadline));
        if read == Stop::BudgetSpent || self.timer.poll(self.shared.time(), Some(wake_at), now, cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// There is nothing more to read. A go-away that was found is the reason that is reported.
    pub(super) fn end_final_read(&mut self, now: Instant) {
        if let Phase::FinalRead(reading) = &self.phase {
            let error = ConnectionError::Io(reading.error.clone());
            self.shared.with(|inner| inner.mux.handle_write_error(error, now));
            self.ended();
        }
    }
}
