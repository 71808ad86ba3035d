//! Owns [`Hold`]: how long the end of a connection is kept from who would drop it for streams that nobody has accepted.

use super::shared::Shared;
use super::timer::Timer;
use crate::proto::limits::BACKLOG_HOLD;
use std::task::{Context, Poll};
use web_time::Instant;

/// A wait for streams that came before the end of a connection to be accepted.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    until: Option<Instant>,
    alarm: Timer,
}

#[expect(clippy::arithmetic_side_effects, reason = "an instant a second from now can be told")]
impl Hold {
    /// Ready when there are none, or when none has been accepted for a while (Y-CLOSE-10).
    pub(crate) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<()> {
        if shared.with(|inner| inner.mux.waiting()) == 0 {
            return Poll::Ready(());
        }
        let now = shared.now();
        let until = *self.until.get_or_insert(now + BACKLOG_HOLD);
        if self.alarm.poll(shared.time(), Some(until), now, cx) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// A stream was accepted: the task looks again.
    pub(crate) fn moves(&mut self, cx: &Context<'_>) {
        if self.until.take().is_some() {
            cx.waker().wake_by_ref();
        }
    }
}
