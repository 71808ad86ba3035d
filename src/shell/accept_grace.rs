//! Owns [`AcceptGrace`]: how long a libp2p connection keeps its end to itself while streams wait to be accepted, since a swarm
//! drops a connection as soon as it learns of its end.
//!
//! It holds Y-CLOSE-10 on any link: without it the last streams of a peer that closed in good order are lost in a swarm.

use super::shared::Shared;
use super::timer::Timer;
use crate::proto::limits::ACCEPT_GRACE;
use std::task::{Context, Poll};
use web_time::Instant;

/// A wait for the streams that arrived before the end of a connection to be accepted.
#[derive(Debug, Default)]
pub(crate) struct AcceptGrace {
    until: Option<Instant>,
    timer: Timer,
}

#[expect(clippy::arithmetic_side_effects, reason = "an instant a second from now can be represented")]
impl AcceptGrace {
    /// Ready when no stream waits to be accepted, or when none has been accepted for a while (Y-CLOSE-10).
    pub(crate) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<()> {
        if shared.with(|inner| inner.mux.waiting()) == 0 {
            return Poll::Ready(());
        }
        let now = shared.now();
        let until = *self.until.get_or_insert(now + ACCEPT_GRACE);
        if self.timer.poll(shared.time(), Some(until), now, cx) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// A stream was accepted: the grace period starts again, and the task looks again.
    pub(crate) fn accepted(&mut self, cx: &Context<'_>) {
        if self.until.take().is_some() {
            cx.waker().wake_by_ref();
        }
    }
}
